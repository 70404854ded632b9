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
/* These three are a store_progress; `ctx` is the progress. Show a share and what is done in a second, of bytes or of
 * requests; or the time that has passed. */
void progress_bytes(void *ctx, int64_t done, int64_t all);
void progress_requests(void *ctx, int64_t done, int64_t all);
void progress_time(void *ctx, int64_t done, int64_t all);
/* Shows how many requests are done, how many a second that is, and the share `part` of `whole` if that is not 0. */
void progress_rate(progress *p, int64_t requests, int64_t part, int64_t whole);
/* Removes the line, so that what the command prints does not stand behind it. */
void progress_end(progress *p);

#endif
