/* SPDX-License-Identifier: MIT
 *
 * Checks everything that was read, and makes a config of it. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/config.h"
#include "config/read.h"

/* Fills `c`, which is zeroed. Warnings go to the log. False: `all` says what is wrong, where, and what to do, or `e`
 * says "out of memory"; `c` may be filled in part, and is to be released by config_deinit(). */
bool settings_check(const settings *s, config *c, err_list *all, err *e);

#endif
