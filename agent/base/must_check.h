/* SPDX-License-Identifier: MIT
 *
 * MUST_CHECK stands before a function that can fail, where a caller that ignores its result goes on with a wrong state:
 * the compiler refuses such a call. A function whose failure may be ignored, because it logs or counts the failure
 * itself, does not have it. */
#ifndef BASE_MUST_CHECK_H
#define BASE_MUST_CHECK_H

#define MUST_CHECK __attribute__((warn_unused_result))

#endif
