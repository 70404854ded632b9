/* SPDX-License-Identifier: MIT */
#include "commands/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

enum { FIRST_MS = 150, EVERY_MS = 200 }; /* a short command shows nothing */

progress progress_begin(const char *doing)
{
	int64_t now = clock_mono_ms();
	return (progress){ isatty(STDERR_FILENO) ? doing : NULL, false, now, now + FIRST_MS };
}

void progress_show(void *ctx, int64_t done, int64_t all)
{
	progress *p = ctx;
	int64_t now;

	if (!p->doing || (now = clock_mono_ms()) < p->next_ms)
		return;
	p->next_ms = now + EVERY_MS;
	p->shown = true;
	if (all > 0)
		fprintf(stderr, "\r%s: %" PRId64 " %%\033[K", p->doing, done < all ? done * 100 / all : 99);
	else
		fprintf(stderr, "\r%s: %" PRId64 " s\033[K", p->doing, (now - p->began_ms) / 1000);
	fflush(stderr);
}

void progress_end(progress *p)
{
	if (p->shown)
		fputs("\r\033[K", stderr);
	p->shown = false;
}
