/* SPDX-License-Identifier: MIT
 *
 * Variables of the environment that look like those of options and are none. */
#ifndef CONFIG_VARIABLES_H
#define CONFIG_VARIABLES_H

#include "config/config.h"

/* Warns in the log of each variable whose name is similar to that of an option, so that it was probably mistyped and
 * has no effect. Those from which `c` takes credentials are left out; NULL: there is no configuration. `keys`: of the
 * options that count, ending with NULL; NULL: all count. */
void variables_check(const config *c, const char *const *keys);

#endif
