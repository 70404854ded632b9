/* SPDX-License-Identifier: MIT
 *
 * All that is wrong with a configuration. */
#ifndef CONFIG_ERR_LIST_H
#define CONFIG_ERR_LIST_H

#include <stddef.h>

#include "base/err.h"

enum { ERRORS_MAX = 50 };

/* Errors, in the order in which they were found, and one for each place. */
typedef struct err_list {
	err *items; /* owned */
	size_t count;
	bool failed; /* out of memory: some are missing */
} err_list;

void err_list_add(err_list *all, const err *e);
void err_list_deinit(err_list *all);

/* Writes the first error to `e`, and how many there are beside it. Leaves `e` as it is if there are none. */
void err_list_sum(const err_list *all, err *e);

/* Returns how many bytes of `text` are NAME:LINE:COLUMN: in front of a message, and fills the length of the name, line
 * and column. 0: there is no such place. */
size_t err_place(const char *text, size_t *name, size_t *line, size_t *column);

#endif
