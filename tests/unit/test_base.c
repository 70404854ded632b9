/* SPDX-License-Identifier: MIT
 *
 * The small helpers of agent/base: clock, thread, bytes, buf, slice, err. */
#include "unit.h"

#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/cursor.h"
#include "base/err.h"
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
	RUN(test_thread_blocks_signals);
	RUN(test_thread_cond);
	RUN(test_bytes);
	RUN(a_buffer_keeps_to_its_limit);
	RUN(test_contains);
	RUN(test_err);
	return unit_end();
}
