/* SPDX-License-Identifier: MIT
 *
 * The SPOP threads, tested by raw SPOP bytes over a unix socket within one process. */
#include "spop_threads_rig.h"

/* ---- connections spread over the threads */

enum { SPREAD_THREADS = 3, SPREAD_EACH = 20 };

/* Opens SPREAD_EACH connections for each thread, has a question answered on each, and closes them. Returns by how many
 * connections the thread that is furthest from SPREAD_EACH missed it. */
static long long spread_error(void)
{
	peer p[SPREAD_THREADS * SPREAD_EACH];
	long long worst = 0;
	rig r;

	rig_new(&r, SPREAD_THREADS, limits_of(100));
	rig_start(&r);
	for (size_t i = 0; i < SPREAD_THREADS * SPREAD_EACH; i++)
		peer_greet(&p[i]);
	for (size_t i = 0; i < SPREAD_THREADS * SPREAD_EACH; i++) {
		ask(&p[i], i, "one-x");
		CHECK(acked(&p[i], i));
	}
	CHECK(spop_threads_connections(r.threads) == SPREAD_THREADS * SPREAD_EACH);
	for (unsigned i = 0; i < SPREAD_THREADS; i++) {
		const net_counters *n = spop_threads_counters(r.threads, i);
		long long opened = (long long)counter_get(&n->connections_opened), error = llabs(opened - SPREAD_EACH);

		CHECK((long long)counter_get(&n->decisions[1][PROTOCOL_OPENAI][OUTCOME_PASSTHROUGH]) == opened);
		worst = error > worst ? error : worst;
	}
	for (size_t i = 0; i < SPREAD_THREADS * SPREAD_EACH; i++)
		peer_close(&p[i]);
	CHECK(UNTIL(spop_threads_connections(r.threads) == 0));
	CHECK(SUM(&r, connections_closed) == SPREAD_THREADS * SPREAD_EACH);
	rig_end(&r);
	return worst;
}

/* A busy machine may leave a thread without a CPU while connections come, so half of the attempts have to be even. If
 * the threads did not spread their connections, about 1 attempt in 30 would be. */
static void connections_spread_over_the_threads(void)
{
	enum { ATTEMPTS = 8, BOUND = 1 };
	int even = 0;

	for (int i = 0; i < ATTEMPTS && even < ATTEMPTS / 2; i++)
		even += spread_error() <= BOUND;
	CHECK(even == ATTEMPTS / 2);
}

static void max_connections_is_of_all_threads(void)
{
	peer p[6], one;
	rig r;

	rig_new(&r, 3, limits_of(4));
	rig_start(&r);
	for (size_t i = 0; i < 4; i++)
		peer_greet(&p[i]);
	for (size_t i = 4; i < 6; i++) {
		peer_open(&p[i]);
		CHECK(hear(&p[i], SOON).type == -1);
	}
	CHECK(SUM(&r, refused_connections) == 2 && spop_threads_connections(r.threads) == 4);
	peer_close(&p[0]);
	CHECK(UNTIL(spop_threads_connections(r.threads) == 3));
	peer_greet(&one);
	peer_close(&one);
	for (size_t i = 1; i < 6; i++)
		peer_close(&p[i]);
	rig_end(&r);
}

/* ---- counters */

static uint64_t all_decisions(const net_counters *n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < COUNTER_ROUTES; i++)
		for (size_t k = 0; k < PROTOCOLS; k++)
			for (size_t o = 0; o < OUTCOMES; o++)
				sum += counter_get(&n->decisions[i][k][o]);
	return sum;
}

static uint64_t all_latencies(const net_counters *n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= LATENCY_BUCKETS; i++)
		sum += counter_get(&n->latency[i]);
	return sum;
}

static void what_happens_is_counted(void)
{
	unsigned char bytes[8192];
	peer p;
	rig r;

	rig_new(&r, 1, limits_of(10));
	rig_start(&r);
	rig_said = rig_heard = 0;
	peer_greet(&p);
	ask(&p, 1, "one-x");
	ask(&p, 2, "key-x");
	ask(&p, 3, "bad-x");
	ask(&p, 4, "far-x");
	ask(&p, 5, "other");
	for (uint64_t i = 1; i <= 5; i++)
		CHECK(acked(&p, i));
	/* The body is cut and HAProxy holds more of it: the agent asks for the whole body and decides nothing. Files of
	 * a contract that it does not know are refused all the same. */
	spop_writer w;
	for (uint64_t i = 6; i <= 7; i++) {
		w = frame_begin(bytes, sizeof bytes, 65536, FRAME_NOTIFY, i, 1);
		spop_put_name(&w, i == 6 ? SLICE("llm-request") : SLICE("llm-request-99"));
		spop_put_u8(&w, 4);
		spop_put_name(&w, SLICE("path"));
		spop_put_str(&w, SLICE("/v1/chat/completions"));
		spop_put_name(&w, SLICE("ctype"));
		spop_put_str(&w, SLICE("application/json"));
		spop_put_name(&w, SLICE("body"));
		spop_put_str(&w, SLICE("{\"messages\":[\"x"));
		spop_put_name(&w, SLICE("buffered"));
		spop_put_int64(&w, 70000);
		say(p.fd, slice_of(bytes, frame_end(&w)));
		CHECK(acked(&p, i));
	}
	w = frame_begin(bytes, sizeof bytes, 65536, FRAME_NOTIFY, 8, 1);
	spop_put_name(&w, SLICE("llm-response"));
	spop_put_u8(&w, 0);
	say(p.fd, slice_of(bytes, frame_end(&w)));
	CHECK(acked(&p, 8));
	size_t sent = rig_said, heard = rig_heard;

	const net_counters *n = spop_threads_counters(r.threads, 0);
	CHECK(counter_get(&n->decisions[1][PROTOCOL_OPENAI][OUTCOME_PASSTHROUGH]) == 1);
	CHECK(counter_get(&n->decisions[2][PROTOCOL_OPENAI][OUTCOME_REPLACE]) == 1);
	CHECK(counter_get(&n->decisions[3][PROTOCOL_OPENAI][OUTCOME_REFUSED]) == 1);
	CHECK(counter_get(&n->decisions[COUNTER_ROUTES - 1][PROTOCOL_OPENAI][OUTCOME_PASSTHROUGH]) == 1);
	CHECK(counter_get(&n->decisions[0][PROTOCOL_OPENAI][OUTCOME_PASSTHROUGH]) == 1);
	CHECK(counter_get(&n->refusals[REFUSE_AUTH_UNAVAILABLE]) == 1);
	CHECK(counter_get(&n->refusals[REFUSE_MODEL_NOT_IN_SAMPLE]) == 0 && counter_get(&n->asked_for_more) == 1);
	CHECK(counter_get(&n->refusals[REFUSE_CONTRACT]) == 1);
	CHECK(counter_get(&n->responses) == 1 && counter_get(&n->hellos) == 1 && counter_get(&n->healthchecks) == 0);
	CHECK(all_decisions(n) == 6 && all_latencies(n) == 6);
	CHECK(counter_get(&n->latency_sum_ns) > 0 && counter_get(&n->latency_sum_ns) < 5000000000u);
	CHECK(counter_get(&n->frames_in) == 9 && counter_get(&n->frames_out) == 9);
	CHECK(UNTIL(counter_get(&n->bytes_in) == sent && counter_get(&n->bytes_out) == heard));
	for (size_t i = 1; i < LATENCY_BUCKETS; i++)
		CHECK(latency_bounds_ns[i] > latency_bounds_ns[i - 1]);

	/* The event loop runs on even if there is nothing to do. */
	uint64_t iterations = counter_get(&n->iterations);
	sleep_ms(1200);
	CHECK(UNTIL(counter_get(&n->iterations) >= iterations + 2));
	CHECK(counter_get(&n->iterations) < iterations + 20);
	peer_close(&p);
	rig_end(&r);
}

static void refusals_are_noted(void)
{
	enum { THREADS = 2, MANY = REFUSALS_KEPT + 8 };
	refusal_note notes[2 * THREADS * REFUSALS_KEPT];
	peer p[THREADS];
	rig r;

	rig_new(&r, THREADS, limits_of(10));
	rig_start(&r);
	CHECK(spop_threads_notes(r.threads, notes, 10) == 0);
	for (size_t i = 0; i < THREADS; i++)
		peer_greet(&p[i]);
	for (uint64_t i = 0; i < MANY; i++) {
		ask(&p[0], i, "bad-old");
		CHECK(acked(&p[0], i));
	}
	sleep_ms(5);
	ask(&p[1], 1, "bad-new");
	CHECK(acked(&p[1], 1));
	size_t count = spop_threads_notes(r.threads, notes, sizeof notes / sizeof notes[0]);
	/* One note less if both connections happen to be of the same thread. */
	CHECK(count == REFUSALS_KEPT + 1 || count == REFUSALS_KEPT);
	CHECK(strcmp(notes[0].model, "bad-new") == 0 && strcmp(notes[1].model, "bad-old") == 0);
	CHECK(strcmp(notes[0].id, "unit-1") == 0 && strcmp(notes[0].route, "bad-") == 0);
	CHECK(notes[0].why == REFUSE_AUTH_UNAVAILABLE &&
	      strcmp(notes[0].problem, "env:UNIT_NO_KEY: the variable is not set") == 0);
	for (size_t i = 1; i < count; i++)
		CHECK(notes[i].time_ms > 0 && notes[i].time_ms <= notes[i - 1].time_ms);
	CHECK(spop_threads_notes(r.threads, notes, 1) == 1 && strcmp(notes[0].model, "bad-new") == 0);
	/* Notes are sorted by time, not by thread: now the other thread has the newest. */
	sleep_ms(5);
	ask(&p[0], 99, "bad-newer");
	CHECK(acked(&p[0], 99) && spop_threads_notes(r.threads, notes, 2) == 2);
	CHECK(strcmp(notes[0].model, "bad-newer") == 0 && strcmp(notes[1].model, "bad-new") == 0);
	for (size_t i = 0; i < THREADS; i++)
		peer_close(&p[i]);
	rig_end(&r);
}

/* ---- limits */

static void a_connection_beyond_max_memory_is_told_to_go(void)
{
	spop_limits limits = limits_of(10);
	unsigned char *big = malloc(1 << 20);
	peer p[2];
	char why[200] = "";
	rig r;

	limits.max_memory = 1 << 20;
	rig_new(&r, 2, limits);
	rig_start(&r);
	CHECK(big != NULL);
	slice q = question(big, 1 << 20, 9, "one-x", 600 * 1024);
	peer_greet(&p[0]);
	peer_greet(&p[1]);
	say(p[0].fd, slice_first(q, 1000));
	CHECK(UNTIL(spop_threads_memory(r.threads) >= q.len));
	say(p[1].fd, slice_first(q, 1000));
	CHECK(told_to_go(&p[1], SOON, why, sizeof why) == SPOP_NO_RESOURCE && strstr(why, "max_memory"));
	CHECK(SUM(&r, refused_memory) == 1 && spop_threads_memory(r.threads) <= limits.max_memory);
	/* The other connection goes on, and its memory is given back. */
	say(p[0].fd, slice_from(q, 1000));
	CHECK(acked(&p[0], 9));
	CHECK(UNTIL(spop_threads_memory(r.threads) <= 2 * CONN_KEEP));
	/* The beginning of a small frame behind a large one does not take the large one's memory. */
	uint64_t read = SUM(&r, bytes_in);
	unsigned char room[400];
	slice small = question(room, sizeof room, 10, "one-x", 100);
	say(p[0].fd, q);
	say(p[0].fd, slice_first(small, 10));
	CHECK(acked(&p[0], 9) && UNTIL(SUM(&r, bytes_in) == read + q.len + 10));
	CHECK(UNTIL(spop_threads_memory(r.threads) <= 2 * CONN_KEEP));
	say(p[0].fd, slice_from(small, 10));
	CHECK(acked(&p[0], 10));
	peer_close(&p[0]);
	peer_close(&p[1]);
	free(big);
	rig_end(&r);
}

static void answers_that_are_not_taken_count_for_max_memory(void)
{
	spop_limits limits = limits_of(10);
	peer p, other;
	rig r;

	limits.max_memory = 4096;
	rig_new(&r, 1, limits);
	rig_start(&r);
	peer_greet(&p);
	peer_greet(&other);
	choke(&p, &r, false);
	CHECK(UNTIL(SUM(&r, refused_memory) == 1 && spop_threads_connections(r.threads) == 1));
	ask(&other, 1, "one-x");
	CHECK(acked(&other, 1) && spop_threads_memory(r.threads) <= limits.max_memory);
	peer_close(&p);
	peer_close(&other);
	rig_end(&r);
}

static void a_peer_that_takes_nothing_is_closed(void)
{
	peer p, other;
	rig r;

	rig_new(&r, 1, limits_of(10));
	spop_threads_set_stall(r.threads, 0.5);
	rig_start(&r);
	peer_greet(&p);
	peer_greet(&other);
	choke(&p, &r, false);
	CHECK(SUM(&r, backpressure) == 1 && spop_threads_memory(r.threads) > 0);
	/* Another connection of the same thread goes on. */
	ask(&other, 1, "one-x");
	CHECK(acked(&other, 1));
	CHECK(UNTIL(SUM(&r, stalled) == 1));
	CHECK(UNTIL(spop_threads_connections(r.threads) == 1) && spop_threads_memory(r.threads) <= 2 * CONN_KEEP);
	/* An idle connection does not count as stalled. */
	sleep_ms(700);
	ask(&other, 2, "one-x");
	CHECK(acked(&other, 2) && SUM(&r, stalled) == 1);
	peer_close(&p);
	peer_close(&other);
	rig_end(&r);
}

static void a_peer_that_takes_late_loses_nothing(void)
{
	peer p;
	rig r;

	rig_new(&r, 1, limits_of(10));
	spop_threads_set_stall(r.threads, 1.5);
	rig_start(&r);
	peer_greet(&p);
	uint64_t count = choke(&p, &r, true);
	for (uint64_t i = 0; i < count; i++)
		CHECK(acked(&p, i));
	CHECK(silent(&p) && SUM(&r, stalled) == 0);
	/* The timer has stopped: idle for longer than the limit, the connection stays. */
	sleep_ms(1600);
	ask(&p, 7, "one-x");
	CHECK(acked(&p, 7) && SUM(&r, stalled) == 0);
	peer_close(&p);
	rig_end(&r);
}

static void pipelining_is_announced_by_the_option(void)
{
	static const struct {
		bool pipelining;
		const char *offered, *announced;
	} rows[] = {
		{ true, "pipelining,async", "pipelining" },
		{ true, "pipelining", "pipelining" },
		{ true, "", "" },
		{ true, "async", "" },
		{ false, "pipelining", "" },
		{ false, "pipelining,async", "" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		spop_limits limits = limits_of(10);
		slice announced = { NULL, 0 };
		peer p;
		rig r;
		limits.pipelining = rows[i].pipelining;
		rig_new(&r, 1, limits);
		rig_start(&r);
		peer_open(&p);
		say(p.fd, hello(p.out, slice_cstr(rows[i].offered), false));
		got g = hear(&p, SOON);
		CHECK(g.type == FRAME_AGENT_HELLO);
		cursor c = cursor_of(g.payload);
		while (!cursor_done(&c)) {
			slice name = spop_name_read(&c);
			spop_value v = spop_value_read(&c);
			if (slice_eq(name, SLICE("capabilities")))
				announced = v.bytes;
		}
		CHECK(slice_eq(announced, slice_cstr(rows[i].announced)));
		peer_close(&p);
		rig_end(&r);
	}
}

/* ---- draining and stopping */

static void draining_connections_go_with_their_next_answer(void)
{
	unsigned char many[5 * 1024];
	peer busy, idle, check, late, half;
	size_t len = 0;
	rig r;

	rig_new(&r, 2, limits_of(10));
	rig_start(&r);
	peer_greet(&busy);
	peer_greet(&idle);
	peer_greet(&half);
	spop_threads_drain(r.threads, 1.2, false);
	sleep_ms(50);
	for (uint64_t i = 0; i < 5; i++)
		len += question(many + len, sizeof many - len, i, "one-x", 0).len;
	unsigned writes = unit_sends();
	say(busy.fd, slice_of(many, len));
	for (uint64_t i = 0; i < 5; i++)
		CHECK(acked(&busy, i));
	CHECK(told_to_go(&busy, SOON, NULL, 0) == SPOP_OK);
	/* Five ACKs and the DISCONNECT. */
	CHECK(unit_sends() == writes + 1);

	/* A question of which a part has come is answered before the DISCONNECT. */
	slice one = question(many, sizeof many, 1, "one-x", 0);
	slice two = question(many + one.len, sizeof many - one.len, 2, "one-x", 0);
	say(half.fd, slice_of(many, one.len + two.len - 9));
	CHECK(acked(&half, 1) && silent(&half));
	say(half.fd, slice_from(two, two.len - 9));
	CHECK(acked(&half, 2) && told_to_go(&half, SOON, NULL, 0) == SPOP_OK);

	peer_open(&check);
	say(check.fd, hello(check.out, SLICE(""), true));
	CHECK(told_to_go(&check, SOON, NULL, 0) > 0);

	peer_greet(&late);
	ask(&late, 3, "one-x");
	CHECK(acked(&late, 3) && told_to_go(&late, SOON, NULL, 0) == SPOP_OK);
	CHECK(!r.has_ended && SUM(&r, healthchecks) == 1);

	CHECK(hear(&idle, 100).type == 0);
	CHECK(told_to_go(&idle, SOON, NULL, 0) == SPOP_OK);
	peer_close(&busy);
	peer_close(&half);
	peer_close(&check);
	peer_close(&late);
	peer_close(&idle);
	CHECK(rig_wait(&r, 5.));
	CHECK(spop_threads_connections(r.threads) == 0);
	rig_free(&r);
}

static void healthchecks_are_answered_before_draining(void)
{
	peer p;
	rig r;

	rig_new(&r, 1, limits_of(10));
	rig_start(&r);
	peer_open(&p);
	say(p.fd, hello(p.out, SLICE(""), true));
	CHECK(hear(&p, SOON).type == FRAME_AGENT_HELLO && SUM(&r, healthchecks) == 1);
	peer_close(&p);
	rig_end(&r);
}

static void stopping_answers_what_was_read(void)
{
	unsigned char many[3 * 1024];
	peer p[3];
	size_t len = 0;
	rig r;

	rig_new(&r, 2, limits_of(10));
	rig_start(&r);
	for (size_t i = 0; i < 3; i++)
		peer_greet(&p[i]);
	spop_threads_freeze(r.threads);
	for (uint64_t i = 0; i < 3; i++)
		len += question(many + len, sizeof many - len, i, "one-x", 0).len;
	say(p[0].fd, slice_of(many, len));
	say(p[1].fd, slice_first(slice_of(many, len), len - 7));
	/* Give the order while the threads are frozen, so that they see it before they read anything. */
	spop_threads_stop(r.threads);
	double began = now();
	rig_start(&r);
	for (uint64_t i = 0; i < 3; i++)
		CHECK(acked(&p[0], i));
	CHECK(told_to_go(&p[0], SOON, NULL, 0) == SPOP_OK);
	CHECK(acked(&p[1], 0) && acked(&p[1], 1) && told_to_go(&p[1], SOON, NULL, 0) == SPOP_OK);
	CHECK(told_to_go(&p[2], SOON, NULL, 0) == SPOP_OK);
	peer_close(&p[0]);
	peer_close(&p[1]);
	/* The threads end although a peer keeps its connection open. */
	CHECK(rig_wait(&r, 5.) && now() - began < 3.);
	peer_close(&p[2]);
	rig_free(&r);
}

static void threads_that_never_ran_can_be_freed(void)
{
	int before = open_fds();
	rig r;

	rig_new(&r, 4, limits_of(10));
	spop_threads_stop(r.threads);
	rig_free(&r);
	CHECK(open_fds() == before);
}

int main(void)
{
	rig_listen();
	RUN(connections_spread_over_the_threads);
	RUN(max_connections_is_of_all_threads);
	RUN(what_happens_is_counted);
	RUN(refusals_are_noted);
	RUN(a_connection_beyond_max_memory_is_told_to_go);
	RUN(answers_that_are_not_taken_count_for_max_memory);
	RUN(a_peer_that_takes_nothing_is_closed);
	RUN(a_peer_that_takes_late_loses_nothing);
	RUN(pipelining_is_announced_by_the_option);
	RUN(draining_connections_go_with_their_next_answer);
	RUN(healthchecks_are_answered_before_draining);
	RUN(stopping_answers_what_was_read);
	RUN(threads_that_never_ran_can_be_freed);
	rig_unlisten();
	return unit_end();
}
