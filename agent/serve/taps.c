/* SPDX-License-Identifier: MIT */
#include "serve/taps.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

static bool read_number(const json_member *m, uint64_t *out)
{
	int64_t number = 0;
	bool ok = json_int64(m->value, &number) && number >= 0;

	*out = ok ? (uint64_t)number : 0;
	return ok;
}

/* Reads {"kind":"tap","pid":N,...}. A number that is not there is 0. False: it is no such object, or a number is none.
 */
static bool read_status(slice datagram, tap_status *s)
{
	json_iter it;
	json_member m;
	json_step step;
	bool tap = false;

	*s = (tap_status){ .heard_ms = clock_mono_ms() };
	json_iter_init(&it, datagram);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		if (json_key_is(m.key, SLICE("kind")))
			tap = slice_eq(m.value, SLICE("\"tap\""));
		else if (json_key_is(m.key, SLICE("draining")))
			s->draining = m.type == JSON_TRUE;
		else if (json_key_is(m.key, SLICE("pid")) && !read_number(&m, &s->pid))
			return false;
		for (size_t i = 0; i < TAP_NUMBERS; i++)
			if (json_key_is(m.key, slice_cstr(tap_number_names[i])) && !read_number(&m, &s->numbers[i]))
				return false;
	}
	return step == JSON_DONE && tap && s->pid > 0;
}

/* Returns the place of the process: its own, a new one, or that of the process that is silent for longest. */
static tap_status *place_of(taps *t, uint64_t pid)
{
	tap_status *oldest = &t->seen[0];

	for (size_t i = 0; i < t->count; i++) {
		if (t->seen[i].pid == pid)
			return &t->seen[i];
		if (t->seen[i].heard_ms < oldest->heard_ms)
			oldest = &t->seen[i];
	}
	if (t->count < TAPS_MAX)
		oldest = &t->seen[t->count++];
	*oldest = (tap_status){ .heard_ms = 0 };
	return oldest;
}

void taps_init(taps *t)
{
	*t = (taps){ .began_ms = clock_mono_ms() };
	pthread_mutex_init(&t->lock, NULL);
}

void taps_deinit(taps *t)
{
	pthread_mutex_destroy(&t->lock);
}

bool taps_take(taps *t, slice datagram)
{
	tap_status s;

	if (!read_status(datagram, &s))
		return false;
	pthread_mutex_lock(&t->lock);
	tap_status *was = place_of(t, s.pid);
	/* If a number became smaller, this is a new process with an old one's id. */
	bool same = true;
	for (size_t i = 0; i < TAP_NOW; i++)
		same = same && s.numbers[i] >= was->numbers[i];
	for (size_t i = 0; i < TAP_NOW; i++)
		t->sums[i] += s.numbers[i] - (same ? was->numbers[i] : 0);
	*was = s;
	t->heard_ms = s.heard_ms;
	pthread_mutex_unlock(&t->lock);
	return true;
}

static bool speaks(const tap_status *s, int64_t now)
{
	return now - s->heard_ms <= TAP_SILENT_MS;
}

void taps_look(taps *t)
{
	int64_t now = clock_mono_ms();
	unsigned processes = 0;

	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < t->count; i++)
		processes += speaks(&t->seen[i], now);
	int64_t since = now - (t->heard_ms ? t->heard_ms : t->began_ms);
	bool silent = processes == 0 && since > TAP_SILENT_MS, before = t->silent;
	t->silent = silent;
	pthread_mutex_unlock(&t->lock);
	if (silent && !before)
		log_event(tap_silent, LOG_I("seconds", since / 1000),
			  LOG_C("instead", "streams go to their upstreams directly, and their usage is estimated"));
	if (!silent && before)
		log_event(tap_heard, LOG_I("processes", processes));
}

host_tap taps_tell(taps *t)
{
	host_tap tell = { .kept = true };
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&t->lock);
	tell.ever = t->heard_ms != 0;
	tell.silent_ms = now - (tell.ever ? t->heard_ms : t->began_ms);
	memcpy(tell.numbers, t->sums, sizeof t->sums);
	for (size_t i = 0; i < t->count; i++) {
		const tap_status *s = &t->seen[i];
		if (!speaks(s, now))
			continue;
		tell.processes++;
		tell.draining += s->draining;
		for (size_t n = TAP_NOW; n < TAP_NUMBERS; n++)
			tell.numbers[n] += s->numbers[n];
	}
	pthread_mutex_unlock(&t->lock);
	return tell;
}
