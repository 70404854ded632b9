/* SPDX-License-Identifier: MIT
 *
 * How far a long command is, on standard error if that is a terminal; nothing otherwise. */
#ifndef COMMANDS_PROGRESS_H
#define COMMANDS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
	const char *doing;
	bool shown; /* there is a line to remove */
	int64_t began_ms, next_ms;
} progress;

/* Begins to show `doing` ("verifying"). */
progress progress_begin(const char *doing);
/* Shows a share, or the time that has passed if `all` is 0; a store_progress, whose `ctx` is the progress. */
void progress_show(void *ctx, int64_t done, int64_t all);
/* Shows how many requests are done, how many a second that is, and the share `part` of `whole` if that is not 0. */
void progress_rate(progress *p, int64_t requests, int64_t part, int64_t whole);
/* Removes the line, so that what the command prints does not stand behind it. */
void progress_end(progress *p);

#endif
