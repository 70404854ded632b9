/* SPDX-License-Identifier: MIT
 *
 * Connections on their way from one set of threads to another, by the messages that go between processes; and what
 * happens when those messages are not what they should be. */
#include "base/fdpass.h"
#include "net/handover.h"
#include "spop_threads_rig.h"

typedef struct parcel {
	int sock;
	unsigned count;
} parcel;

static bool send_on(void *ctx, int fd, slice state)
{
	parcel *p = ctx;
	err e = { 0 };

	p->count++;
	return fdpass_send(p->sock, HANDOVER_CONN, state, &fd, 1, SOON, &e);
}

/* Hands all connections of `from` to `to` and frees `from`. Returns how many. */
static unsigned hand_over(rig *from, rig *to)
{
	int s[2], room = 8 << 20;
	fdpass_message m;
	err e = { 0 };
	parcel p = { .count = 0 };
	unsigned adopted = 0;

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	setsockopt(s[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room);
	p.sock = s[0];
	spop_threads_freeze(from->threads);
	CHECK(spop_threads_export(from->threads, send_on, &p));
	close(s[0]);
	while (fdpass_receive(s[1], &m, SOON, &e) == FDPASS_OK) {
		CHECK(m.type == HANDOVER_CONN && m.fds_count == 1);
		bool ok = spop_threads_adopt(to->threads, m.fds[0], buf_slice(&m.body), &e);
		if (!ok)
			printf("adopt: %s\n", e.text);
		CHECK(ok);
		m.fds[0] = -1;
		adopted += ok;
		fdpass_deinit(&m);
	}
	CHECK(adopted == p.count);
	close(s[1]);
	rig_free(from);
	return adopted;
}

enum { STAYS, MOVES };

/* Opens connections in every state, freezes the threads, and goes on with the same or with other threads. */
static void interrupt(int how)
{
	peer idle, half, fresh, greeting, choked, leaving;
	unsigned char half_q[4096], half_h[512];
	rig r, other, *now_at = &r;

	rig_new(&r, 2, limits_of(10));
	rig_start(&r);
	peer_greet(&idle);
	peer_greet(&half);
	slice q = question(half_q, sizeof half_q, 40, "one-x", 700);
	say(half.fd, slice_first(q, 300));
	peer_open(&fresh);
	peer_open(&greeting);
	slice h = hello(half_h, SLICE("pipelining"), false);
	say(greeting.fd, slice_first(h, 20));
	peer_greet(&choked);
	uint64_t count = choke(&choked, &r, true);
	peer_greet(&leaving);
	say(leaving.fd, SLICE("\xff\xff\xff\xff"));
	CHECK(hear(&leaving, SOON).type == FRAME_AGENT_DISCONNECT);
	ask(&idle, 1, "one-x");
	CHECK(acked(&idle, 1));
	CHECK(UNTIL(SUM(&r, connections_opened) == 6));
	sleep_ms(50);

	if (how == MOVES) {
		rig_new(&other, 3, limits_of(10));
		CHECK(hand_over(&r, &other) == 5);
		CHECK(spop_threads_connections(other.threads) == 5 && spop_threads_memory(other.threads) > count);
		now_at = &other;
	} else {
		spop_threads_freeze(r.threads);
	}
	/* Nobody answers now: questions wait. */
	ask(&idle, 2, "one-x");
	CHECK(silent(&idle));
	say(half.fd, slice_from(q, 300));
	CHECK(silent(&half));
	rig_start(now_at);

	CHECK(acked(&idle, 2) && acked(&half, 40));
	say(greeting.fd, slice_from(h, 20));
	CHECK(hear(&greeting, SOON).type == FRAME_AGENT_HELLO);
	say(fresh.fd, hello(fresh.out, SLICE(""), false));
	CHECK(hear(&fresh, SOON).type == FRAME_AGENT_HELLO);
	for (uint64_t i = 0; i < count; i++)
		CHECK(acked(&choked, i));
	CHECK(silent(&choked));
	ask(&choked, 9, "one-x");
	CHECK(acked(&choked, 9));
	CHECK(UNTIL(spop_threads_connections(now_at->threads) == 5));
	for (unsigned i = 0; how == MOVES && i < 3; i++)
		CHECK(counter_get(&spop_threads_counters(other.threads, i)->connections_opened) >= 1);
	peer_close(&idle);
	peer_close(&half);
	peer_close(&fresh);
	peer_close(&greeting);
	peer_close(&choked);
	peer_close(&leaving);
	rig_end(now_at);
}

static void frozen_threads_go_on_as_if_nothing_had_happened(void)
{
	interrupt(STAYS);
}

static void connections_go_on_in_another_process(void)
{
	int before = open_fds();
	interrupt(MOVES);
	CHECK(open_fds() == before);
}

static void connections_move_under_load_again_and_again(void)
{
	enum { PEERS = 4, ROUNDS = 30, AT_ONCE = 20 };
	peer p[PEERS];
	uint64_t next = 0;
	rig r[2], *here = &r[0], *there = &r[1];

	rig_new(here, 2, limits_of(10));
	rig_start(here);
	for (size_t i = 0; i < PEERS; i++)
		peer_greet(&p[i]);
	for (int round = 0; round < ROUNDS; round++, next += AT_ONCE) {
		for (size_t i = 0; i < PEERS; i++)
			for (uint64_t k = 0; k < AT_ONCE; k++)
				ask(&p[i], next + k, "one-x");
		if (round % 2) {
			rig_new(there, 2, limits_of(10));
			CHECK(hand_over(here, there) == PEERS);
			rig *was = here;
			here = there;
			there = was;
		} else {
			spop_threads_freeze(here->threads);
		}
		rig_start(here);
		for (size_t i = 0; i < PEERS; i++)
			for (uint64_t k = 0; k < AT_ONCE; k++)
				CHECK(acked(&p[i], next + k));
	}
	for (size_t i = 0; i < PEERS; i++) {
		CHECK(hear(&p[i], 10).type == 0);
		peer_close(&p[i]);
	}
	rig_end(here);
}

/* ---- errors */

static bool refuse_second(void *ctx, int fd, slice state)
{
	unsigned *count = ctx;
	(void)fd;
	CHECK(state.len > 0);
	return ++*count < 2;
}

static void a_failed_export_leaves_the_connections_here(void)
{
	unsigned count = 0;
	peer p[3];
	rig r;

	rig_new(&r, 1, limits_of(10));
	rig_start(&r);
	for (size_t i = 0; i < 3; i++)
		peer_greet(&p[i]);
	spop_threads_freeze(r.threads);
	CHECK(!spop_threads_export(r.threads, refuse_second, &count) && count == 2);
	/* The connections go on here. */
	rig_start(&r);
	for (uint64_t i = 0; i < 3; i++) {
		ask(&p[i], i, "one-x");
		CHECK(acked(&p[i], i));
		peer_close(&p[i]);
	}
	rig_end(&r);
}

static void a_policy_that_was_set_while_frozen_is_used(void)
{
	peer p;
	rig r;

	rig_new(&r, 1, limits_of(10));
	rig_start(&r);
	peer_greet(&p);
	spop_threads_freeze(r.threads);
	spop_threads_set_policy(r.threads, make_policy("https://another.test"));
	ask(&p, 1, "one-x");
	rig_start(&r);
	got g = hear(&p, SOON);
	CHECK(g.type == FRAME_ACK && memmem(g.payload.ptr, g.payload.len, "another.test", 12));
	peer_close(&p);
	rig_end(&r);
}

static size_t put_state(unsigned char *out, unsigned what, unsigned flags, uint32_t max_frame, slice in, slice to_write)
{
	size_t at = 0;
	const slice texts[3] = { { "", 0 }, in, to_write };
	const uint32_t words[3] = { max_frame, (uint32_t)in.len, (uint32_t)to_write.len };

	out[at++] = (unsigned char)what;
	out[at++] = (unsigned char)flags;
	for (size_t i = 0; i < 3; i++) {
		for (int shift = 24; shift >= 0; shift -= 8)
			out[at++] = (unsigned char)(words[i] >> shift);
		memcpy(out + at, texts[i].ptr, texts[i].len);
		at += texts[i].len;
	}
	return at;
}

/* Has `r` adopt one end of a new connection; the peer's end is `*end`. */
static bool adopt(rig *r, slice state, int *end, err *e)
{
	int s[2];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	e->text[0] = '\0';
	bool ok = spop_threads_adopt(r->threads, s[0], state, e);
	CHECK(ok || e->text[0]);
	*end = s[1];
	return ok;
}

static bool adopt_and_hang_up(rig *r, slice state)
{
	err e;
	int end;
	bool ok = adopt(r, state, &end, &e);

	close(end);
	return ok;
}

static void whole_frames_that_were_read_are_answered_at_once(void)
{
	unsigned char q[4096], state[8192];
	peer p;
	err e;
	rig r;

	rig_new(&r, 1, limits_of(1));
	buf_init(&p.in, 1 << 20);
	slice one = question(q, sizeof q, 1, "one-x", 0);
	slice two = question(q + one.len, sizeof q - one.len, 2, "one-x", 0);
	slice all = slice_of(q, one.len + two.len), in = slice_first(all, all.len - 5);
	/* With the rest of an ACK to write, and beyond max_connections. */
	size_t len = put_state(state, 1, 7, 16380, in, SLICE("\0\0\0\x07\x67\0\0\0\1\x09\1"));
	CHECK(adopt(&r, slice_of(state, len), &p.fd, &e));
	CHECK(spop_threads_connections(r.threads) == 1 && spop_threads_memory(r.threads) >= in.len);
	/* The answer is by the policy of now, not by the first one. */
	spop_threads_set_policy(r.threads, make_policy("https://another.test"));
	rig_start(&r);
	CHECK(acked(&p, 9));
	got g = hear(&p, SOON);
	CHECK(g.type == FRAME_ACK && g.stream == 1 && memmem(g.payload.ptr, g.payload.len, "another.test", 12));
	CHECK(silent(&p));
	say(p.fd, slice_from(all, in.len));
	CHECK(acked(&p, 2));
	peer_close(&p);
	rig_end(&r);
}

static void a_malformed_state_is_refused(void)
{
	static const struct {
		unsigned what, flags;
		uint32_t max_frame;
		bool out, ok;
	} rows[] = {
		{ 1, 15, 16380, true, true },       { 0, 1, 16380, false, true },
		{ 1, 0, 256, false, true },         { 1, 0, CONN_FRAME_MAX, false, true },
		{ 2, 0, 16380, false, false },      { 255, 0, 16380, false, false },
		{ 1, 16, 16380, false, false },     { 1, 128, 16380, false, false },
		{ 1, 0, 255, false, false },        { 1, 0, CONN_FRAME_MAX + 1, false, false },
		{ 1, 0, UINT32_MAX, false, false }, { 0, 1, 16380, true, false },
		{ 0, 2, 16380, false, false },
	};
	unsigned char q[4096], state[16384], *big = calloc(1, 2 << 20);
	int before = open_fds();
	rig r;
	err e;

	if (!big)
		abort();
	rig_new(&r, 2, limits_of(10));
	slice in = slice_first(question(q, sizeof q, 1, "one-x", 0), 100), none = { "", 0 };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = put_state(state, rows[i].what, rows[i].flags, rows[i].max_frame, in,
				       rows[i].out ? SLICE("xyz") : none);
		CHECK(adopt_and_hang_up(&r, slice_of(unit_guarded(state, len), len)) == rows[i].ok);
	}
	/* The state cut at every byte, and with one byte too many. */
	size_t len = put_state(state, 1, 3, 16380, in, SLICE("pending"));
	for (size_t cut = 0; cut < len + 2; cut++)
		CHECK(adopt_and_hang_up(&r, slice_of(unit_guarded(state, cut), cut)) == (cut == len));
	/* Wrong lengths. */
	for (size_t at = 6; at < 10; at++) {
		for (unsigned value = 0; value < 256; value++) {
			unsigned char *copy = unit_guarded(state, len);
			copy[at] = (unsigned char)value;
			CHECK(adopt_and_hang_up(&r, slice_of(copy, len)) == (state[at] == value));
		}
	}
	/* More bytes than the limits of a connection allow. */
	static unsigned char much[1 << 20];
	len = put_state(big, 1, 0, 256, slice_of(much, sizeof much), none);
	CHECK(!adopt_and_hang_up(&r, slice_of(big, len)));
	len = put_state(big, 1, 0, 256, none, slice_of(much, sizeof much));
	CHECK(!adopt_and_hang_up(&r, slice_of(big, len)));
	free(big);
	/* Descriptors that are not connections. */
	len = put_state(state, 1, 0, 16380, none, none);
	CHECK(!spop_threads_adopt(r.threads, open("/dev/null", O_RDWR | O_CLOEXEC), slice_of(state, len), &e));
	CHECK(!spop_threads_adopt(r.threads, fcntl(rig_socks[0].fd, F_DUPFD_CLOEXEC, 0), slice_of(state, len), &e));
	CHECK(!spop_threads_adopt(r.threads, socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), slice_of(state, len), &e));

	/* The peers of the adopted connections are gone: the connections end, and the threads go on. */
	rig_start(&r);
	peer p;
	CHECK(UNTIL(spop_threads_connections(r.threads) == 0));
	peer_greet(&p);
	ask(&p, 1, "one-x");
	CHECK(acked(&p, 1));
	peer_close(&p);
	rig_end(&r);
	CHECK(open_fds() == before);
}

/* Bytes from another process that are not SPOP end only the connection that they came with. */
static void adopted_bytes_are_checked_like_all_others(void)
{
	unsigned char state[4096], noise[600];
	peer p;
	err e;
	rig r;

	srand(1);
	for (unsigned round = 0; round < 50; round++) {
		rig_new(&r, 1, limits_of(10));
		buf_init(&p.in, 1 << 20);
		for (size_t i = 0; i < sizeof noise; i++)
			noise[i] = (unsigned char)rand();
		noise[0] = noise[1] = noise[2] = 0;
		noise[3] = (unsigned char)(round + 1);
		size_t len = put_state(state, round & 1, round & 1 ? 3 : 1, 16380, slice_of(noise, sizeof noise),
				       (slice){ "", 0 });
		CHECK(adopt(&r, slice_of(state, len), &p.fd, &e));
		rig_start(&r);
		CHECK(told_to_go(&p, SOON, NULL, 0) > 0);
		peer_close(&p);
		rig_end(&r);
	}
}

int main(void)
{
	rig_listen();
	RUN(frozen_threads_go_on_as_if_nothing_had_happened);
	RUN(connections_go_on_in_another_process);
	RUN(connections_move_under_load_again_and_again);
	RUN(a_failed_export_leaves_the_connections_here);
	RUN(a_policy_that_was_set_while_frozen_is_used);
	RUN(whole_frames_that_were_read_are_answered_at_once);
	RUN(a_malformed_state_is_refused);
	RUN(adopted_bytes_are_checked_like_all_others);
	rig_unlisten();
	return unit_end();
}
