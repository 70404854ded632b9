/* SPDX-License-Identifier: MIT
 *
 * The small helpers of agent/base: clock, thread, bytes, buf, slice, err. */
#include "unit.h"

#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/rfc3339.h"
#include "base/thread.h"

/* ---- clock */

static void test_clock(void)
{
	int64_t ms = clock_mono_ms(), wall = clock_wall_ms();
	uint64_t ns = clock_mono_ns();

	/* Both read the same clock, in other units. */
	CHECK(ns / 1000000 >= (uint64_t)ms && ns / 1000000 < (uint64_t)ms + 5000);
	/* 2023 to 2200: milliseconds, not seconds or microseconds. */
	CHECK(wall > 1672531200000 && wall < 7258118400000);
	struct timespec t = clock_timespec(12345);
	CHECK(t.tv_sec == 12 && t.tv_nsec == 345000000);
}

/* ---- rfc3339 */

static void test_rfc3339(void)
{
	static const struct {
		const char *text, *utc;
		int64_t ms;
	} good[] = {
		{ "1970-01-01T00:00:00Z", NULL, 0 },
		{ "2026-11-29T01:23:45Z", NULL, 1795915425000 },
		{ "2026-11-29t01:23:45z", "2026-11-29T01:23:45Z", 1795915425000 },
		{ "2026-11-29 02:23:45.25+01:00", "2026-11-29T01:23:45Z", 1795915425250 },
		{ "2026-11-28T17:38:45.123456789-07:45", "2026-11-29T01:23:45Z", 1795915425123 },
		{ "2024-02-29T23:59:60Z", "2024-03-01T00:00:00Z", 1709251200000 },
		{ "2000-02-29T00:00:00-00:00", "2000-02-29T00:00:00Z", 951782400000 },
		{ "9999-12-31T23:59:59Z", NULL, 253402300799000 },
		{ "0000-01-01T00:00:00Z", NULL, -62167219200000 },
		{ "0001-01-01T00:00:00Z", NULL, -62135596800000 },
		{ "0004-03-01T00:00:00Z", NULL, -62035804800000 },
		{ "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59Z", -1 },
	};
	static const char *const bad[] = {
		"",
		"2026-11-29",
		"2026-11-29T01:23:45",
		"2026-11-29T01:23Z",
		"2026-11-29T01:23:45+0100",
		"2026-11-29T01:23:45+01",
		"2026-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-11-29T24:00:00Z",
		"2026-11-29T01:60:00Z",
		"2026-11-29T01:23:61Z",
		"2026-11-29T01:23:45.Z",
		"2026-11-29T01:23:45Z ",
		" 2026-11-29T01:23:45Z",
		"2026-11-29T01:23:45ZZ",
		"2026-11-29T01:23:45+24:00",
		"2026-11-29T01:23:45+01:60",
		"20261129T012345Z",
		"26-11-29T01:23:45Z",
		"1795915425",
		"2026-11-29T01:23:4aZ",
		"+026-11-29T01:23:45Z",
		"2026-11-29T01:23:45Z\n",
	};
	char text[RFC3339_TEXT];
	int64_t ms = 7;

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		CHECK(rfc3339_read(slice_cstr(good[i].text), &ms));
		CHECK(ms == good[i].ms);
		rfc3339_write(ms, text);
		CHECK(strcmp(text, good[i].utc ? good[i].utc : good[i].text) == 0);
	}
	ms = 7;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		CHECK(!rfc3339_read(slice_cstr(bad[i]), &ms) && ms == 7);
	CHECK(!rfc3339_read(slice_of("2026-11-29T01:23:45\0", 20), &ms));
	rfc3339_write(INT64_MAX, text);
	CHECK(strcmp(text, "9999-12-31T23:59:59Z") == 0);
	rfc3339_write(INT64_MIN, text);
	CHECK(strcmp(text, "0000-01-01T00:00:00Z") == 0);
}

/* ---- thread */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *read_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
	return arg;
}

static bool blocks_all(const sigset_t *mask)
{
	return sigismember(mask, SIGTERM) == 1 && sigismember(mask, SIGHUP) == 1 && sigismember(mask, SIGINT) == 1 &&
	       sigismember(mask, SIGUSR1) == 1 && sigismember(mask, SIGCHLD) == 1;
}

static void test_thread_blocks_signals(void)
{
	sigset_t in_thread, before, after;
	pthread_t thread;
	void *result = NULL;

	sigemptyset(&in_thread);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	CHECK(!blocks_all(&before));
	CHECK(thread_start(&thread, read_mask, &in_thread) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == &in_thread);
	CHECK(blocks_all(&in_thread));
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK(!sigismember(&after, SIGTERM) && !sigismember(&after, SIGHUP));

	sigset_t old = thread_block_signals();
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK(blocks_all(&after) && !blocks_all(&old));
	thread_restore_signals(&old);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK(!sigismember(&after, SIGTERM));
}

/* By the wall clock this deadline passed decades ago, and the wait would end at once. */
static void test_thread_cond(void)
{
	pthread_cond_t cond;
	int64_t began = clock_mono_ms();
	struct timespec until = clock_timespec(began + 30);

	thread_cond_init(&cond);
	pthread_mutex_lock(&lock);
	int rc = 0;
	while (rc == 0)
		rc = pthread_cond_timedwait(&cond, &lock, &until);
	pthread_mutex_unlock(&lock);
	pthread_cond_destroy(&cond);
	CHECK(rc == ETIMEDOUT && clock_mono_ms() >= began + 30);
}

/* ---- bytes */

static void test_bytes(void)
{
	unsigned char b[4];
	buf out;

	put_u32be(b, 0x01020304);
	CHECK(memcmp(b, "\1\2\3\4", 4) == 0 && get_u32be(b) == 0x01020304);
	put_u32be(b, UINT32_MAX - 1);
	CHECK(memcmp(b, "\xff\xff\xff\xfe", 4) == 0 && get_u32be(b) == UINT32_MAX - 1);

	buf_init(&out, 8);
	CHECK(buf_append_u32be(&out, 7) && buf_append_u32be(&out, 0xfffefdfc));
	CHECK(!buf_append_u32be(&out, 1) && buf_len(&out) == 8);
	cursor c = cursor_of(buf_slice(&out));
	CHECK(cursor_u32be(&c) == 7 && cursor_u32be(&c) == 0xfffefdfc && cursor_done(&c) && !c.failed);
	buf_deinit(&out);
}

/* ---- buf */

static void a_buffer_keeps_to_its_limit(void)
{
	buf b;
	char bytes[3000];

	memset(bytes, 'x', sizeof bytes);
	buf_init(&b, 5000);
	CHECK(buf_append(&b, bytes, 3000));
	CHECK(!buf_append(&b, bytes, 2001));
	CHECK(buf_len(&b) == 3000);
	CHECK(buf_append(&b, bytes, 2000) && b.cap == 5000);
	buf_consume(&b, 4999, 100);
	CHECK(buf_len(&b) == 1);
	/* The room of consumed bytes is used again. */
	CHECK(buf_append(&b, bytes, 3000) && buf_len(&b) == 3001 && b.cap == 5000);
	buf_consume(&b, 3001, 100);
	CHECK(!b.data && b.cap == 0);
	buf_deinit(&b);
}

/* ---- slice */

static void test_contains(void)
{
	slice s = slice_of(unit_guarded("/v1/Models", 10), 10);

	CHECK(slice_contains(s, SLICE("/v1/")) && slice_contains(s, SLICE("Models")) && slice_contains(s, s));
	CHECK(!slice_contains(s, SLICE("models")) && !slice_contains(s, SLICE("/v1/Models/")));
	CHECK(slice_icontains(s, SLICE("models")) && slice_icontains(s, SLICE("/V1")) && slice_icontains(s, s));
	CHECK(!slice_icontains(s, SLICE("modelsx")) && !slice_icontains(s, SLICE("1models")));
	CHECK(slice_contains(s, SLICE("")) && slice_icontains(s, SLICE("")));
	CHECK(!slice_contains(slice_of(NULL, 0), SLICE("x")) && !slice_icontains(slice_of(NULL, 0), SLICE("x")));
}

/* ---- err */

static void test_err(void)
{
	err e = { 0 }, outer = { 0 };

	CHECK(!err_memory(&e) && e.kind == ERR_MEMORY && strcmp(e.text, "out of memory") == 0);
	CHECK(!err_set_kind(&outer, e.kind, "variable X: %s", e.text));
	CHECK(outer.kind == ERR_MEMORY && strcmp(outer.text, "variable X: out of memory") == 0);
	/* The text decides nothing, and an error that is written again has the new kind. */
	CHECK(!err_set(&e, "the model is named \"out of memory\""));
	CHECK(e.kind == ERR_OTHER);
	CHECK(!err_set(&e, "%s", "out of memory") && e.kind == ERR_OTHER);
}

int main(void)
{
	RUN(test_clock);
	RUN(test_rfc3339);
	RUN(test_thread_blocks_signals);
	RUN(test_thread_cond);
	RUN(test_bytes);
	RUN(a_buffer_keeps_to_its_limit);
	RUN(test_contains);
	RUN(test_err);
	return unit_end();
}
