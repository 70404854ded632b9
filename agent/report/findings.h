/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm check` found: lines for a person, or JSON for a program. */
#ifndef REPORT_FINDINGS_H
#define REPORT_FINDINGS_H

#include <cjson/cJSON.h>
#include <stdio.h>

/* How bad it is. Only a problem makes `check` fail. */
typedef enum finding_state { FOUND_OK, FOUND_WARNING, FOUND_OLDER, FOUND_UNKNOWN, FOUND_PROBLEM } finding_state;

typedef struct findings {
	FILE *f;     /* NULL: for JSON */
	cJSON *rows; /* for JSON; owned by the caller */
	size_t problems, warnings;
} findings;

/* Says how it stands with one thing: a route, a target, a file ... */
__attribute__((format(printf, 5, 6))) void finding(findings *to, finding_state state, const char *part,
						   const char *name, const char *fmt, ...);
/* Says more about the thing that finding() was called for last. */
__attribute__((format(printf, 2, 3))) void finding_more(findings *to, const char *fmt, ...);
/* Says something about all of them. */
__attribute__((format(printf, 2, 3))) void finding_note(findings *to, const char *fmt, ...);

#endif
