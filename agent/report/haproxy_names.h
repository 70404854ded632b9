/* SPDX-License-Identifier: MIT
 *
 * Mistyped variables of HAProxy's environment. HAProxy says nothing of a variable that no file uses, so
 * `LLM_CLIENT=required` would leave LLM_CLIENTS as it is. */
#ifndef REPORT_HAPROXY_NAMES_H
#define REPORT_HAPROXY_NAMES_H

#include "base/slice.h"
#include "report/findings.h"

enum { MISTYPED_MAX = 8, MISTYPED_NAME = 64 };

/* Names that are nearly those of variables which HAProxy's files use. */
typedef struct mistyped {
	char names[MISTYPED_MAX][MISTYPED_NAME];
	const char *meant[MISTYPED_MAX];
	size_t count;
} mistyped;

/* Adds `name` if it is nearly one of these variables, and not yet there. */
void mistyped_look(mistyped *to, slice name);
/* Does the same with the LLM_ variables of this process's environment. */
void mistyped_look_here(mistyped *to);
/* Writes a warning for each name; `where`: the file or environment that has it. */
void mistyped_write(findings *to, const mistyped *found, const char *where);

#endif
