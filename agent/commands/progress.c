/* SPDX-License-Identifier: MIT */
#include "commands/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/print.h"

enum { FIRST_MS = 150, EVERY_MS = 200 }; /* a short command shows nothing */

progress progress_begin(const char *doing)
{
	int64_t now = clock_mono_ms();
	return (progress){ isatty(STDERR_FILENO) ? doing : NULL, false, now, now + FIRST_MS };
}

/* Returns the time at which the line is to be written; 0: not now. */
static int64_t due(progress *p)
{
	int64_t now = p->doing ? clock_mono_ms() : 0;

	if (!p->doing || now < p->next_ms)
		return 0;
	p->next_ms = now + EVERY_MS;
	p->shown = true;
	return now;
}

static void show_rate(progress *p, const char *count, const char *rate, const char *of, int64_t part, int64_t whole)
{
	char share[16] = "";

	if (whole > 0)
		snprintf(share, sizeof share, "%d %%, ", (int)(part < whole ? part * 100 / whole : 99));
	fprintf(stderr, "\r%s: %s%s%s, %s a second\033[K", p->doing, share, count, of, rate);
	fflush(stderr);
}

/* Returns how many of `n` that is in a second. */
static int64_t a_second(const progress *p, int64_t n, int64_t now)
{
	int64_t ms = now > p->began_ms ? now - p->began_ms : 1;
	return n < INT64_MAX / 1000 ? n * 1000 / ms : 0;
}

void progress_rate(progress *p, int64_t requests, int64_t part, int64_t whole)
{
	char count[PRINT_NUMBER], rate[PRINT_NUMBER];
	int64_t now = due(p);

	if (now)
		show_rate(p, print_count(count, requests), print_count(rate, a_second(p, requests, now)), " requests",
			  part, whole);
}

void progress_requests(void *ctx, int64_t done, int64_t all)
{
	progress_rate(ctx, done, done, all);
}

void progress_bytes(void *ctx, int64_t done, int64_t all)
{
	progress *p = ctx;
	char count[PRINT_NUMBER], rate[PRINT_NUMBER];
	int64_t now = due(p);

	if (now)
		show_rate(p, print_bytes(count, done), print_bytes(rate, a_second(p, done, now)), "", done, all);
}

void progress_time(void *ctx, int64_t done, int64_t all)
{
	progress *p = ctx;
	int64_t now = due(p);

	(void)done;
	(void)all;
	if (!now)
		return;
	fprintf(stderr, "\r%s: %" PRId64 " s\033[K", p->doing, (now - p->began_ms) / 1000);
	fflush(stderr);
}

void progress_end(progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
