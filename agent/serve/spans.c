/* SPDX-License-Identifier: MIT */
#include "serve/spans.h"

#include "base/clock.h"
#include "base/sum.h"
#include "serve/said.h"

enum { SILENT_MS = 10 * 1000 }; /* a shipper that says nothing for so long is gone, or hangs */

/* Reads {"kind":"otlp",...}. False: it is no such object, or a number is none. */
static bool read_said(slice datagram, host_spans *s, int64_t *pid)
{
	char kind[16] = "";
	const said_number numbers[] = { { SLICE_INIT("pid"), pid },
					{ SLICE_INIT("behind"), &s->behind },
					{ SLICE_INIT("lag_ms"), &s->lag_ms },
					{ SLICE_INIT("sent"), &s->sent },
					{ SLICE_INIT("dropped"), &s->dropped },
					{ SLICE_INIT("unsampled"), &s->unsampled } };
	const said_text texts[] = { { SLICE_INIT("kind"), kind, sizeof kind },
				    { SLICE_INIT("state"), s->state, sizeof s->state },
				    { SLICE_INIT("problem"), s->problem, sizeof s->problem } };

	memset(s, 0, sizeof *s);
	*pid = 0;
	return said_read(datagram, numbers, sizeof numbers / sizeof numbers[0], texts,
			 sizeof texts / sizeof texts[0]) &&
	       strcmp(kind, "otlp") == 0;
}

void spans_init(spans *s)
{
	*s = (spans){ .began_ms = clock_mono_ms() };
	pthread_mutex_init(&s->lock, NULL);
}

void spans_deinit(spans *s)
{
	pthread_mutex_destroy(&s->lock);
}

void spans_take(spans *s, slice datagram)
{
	host_spans now;
	int64_t pid;

	if (!read_said(datagram, &now, &pid))
		return;
	pthread_mutex_lock(&s->lock);
	if (pid != s->pid) { /* another process counts from 0 */
		s->sent = add_capped(s->sent, s->last.sent);
		s->dropped = add_capped(s->dropped, s->last.dropped);
		s->unsampled = add_capped(s->unsampled, s->last.unsampled);
		s->pid = pid;
	}
	s->last = now;
	s->heard_ms = clock_mono_ms();
	pthread_mutex_unlock(&s->lock);
}

host_spans spans_tell(spans *s)
{
	pthread_mutex_lock(&s->lock);
	host_spans tell = s->last;
	tell.kept = true;
	tell.ever = s->heard_ms != 0;
	tell.silent_ms = clock_mono_ms() - (tell.ever ? s->heard_ms : s->began_ms);
	tell.silent = tell.silent_ms > SILENT_MS;
	tell.sent = add_capped(tell.sent, s->sent);
	tell.dropped = add_capped(tell.dropped, s->dropped);
	tell.unsampled = add_capped(tell.unsampled, s->unsampled);
	pthread_mutex_unlock(&s->lock);
	return tell;
}
