/* SPDX-License-Identifier: MIT
 *
 * UNUSED stands behind a parameter that a callback gets and does not need. */
#ifndef BASE_UNUSED_H
#define BASE_UNUSED_H

#define UNUSED __attribute__((unused))

#endif
