/* SPDX-License-Identifier: MIT */
#include "net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/unused.h"
#include "decide/leg.h"
#include "net/conn_impl.h"

/* Seconds within which a new connection has to say HELLO. */
static const double HELLO_TIMEOUT = 10.;
/* Seconds that the peer has to read a DISCONNECT before the connection is closed. */
static const double LINGER_TIMEOUT = 1.;

/* The largest buffer that a thread keeps as its spare: the answers of an event loop iteration seldom need more. */
enum { SPARE_MAX = 2 * CONN_OUT_HIGH };

conn *conn_next(conn *c)
{
	return c->next;
}

/* ---- memory */

bool conn_account(conn *c)
{
	spop_shared *s = c->spop_thread->shared;
	size_t now = c->in.cap + c->out.cap, before = c->held;

	if (now == before)
		return true;
	c->held = now;
	if (now < before) {
		atomic_fetch_sub_explicit(&s->memory, before - now, memory_order_relaxed);
		return true;
	}
	return atomic_fetch_add_explicit(&s->memory, now - before, memory_order_relaxed) + (now - before) <=
	       s->limits.max_memory;
}

/* Makes the buffer the thread's spare if there is none, else frees it. */
static void give_back(spop_thread *t, unsigned char *data, size_t cap)
{
	if (t->spare.data || cap > SPARE_MAX) {
		free(data);
		return;
	}
	t->spare.data = data;
	t->spare.cap = cap;
}

/* Gives the thread's spare buffer back after answers were written. Bytes that are left move to a buffer of just their
 * size. */
static void settle(conn *c)
{
	size_t left = buf_len(&c->out);
	unsigned char *own = NULL;

	if (c->out.cap == 0 || left > c->out.cap / 2)
		return;
	if (left) {
		own = malloc(left);
		if (!own)
			return;
		memcpy(own, c->out.data + c->out.start, left);
	}
	give_back(c->spop_thread, c->out.data, c->out.cap);
	c->out.data = own;
	c->out.cap = c->out.end = left;
	c->out.start = 0;
}

/* ---- life */

/* The room that `in` has beside the largest frame. */
enum { IN_ROOM = FRAME_PREFIX + SPOP_SCRATCH + SPOP_FRONT };

uint32_t conn_largest_frame(uint32_t max_frame, uint64_t max_memory)
{
	return max_frame + (uint64_t)IN_ROOM <= max_memory ? max_frame : (uint32_t)(max_memory - IN_ROOM);
}

void conn_set_limits(conn *c)
{
	size_t largest = FRAME_PREFIX + (size_t)c->session.max_frame;

	c->in.limit = IN_ROOM + (size_t)c->session.max_frame;
	/* An answer may begin just below CONN_OUT_HIGH, and need room for a whole frame, or for a leg's ACK, for which
	 * more is reserved than a small frame takes. A DISCONNECT may follow. */
	c->out.limit = CONN_OUT_HIGH + largest + LEG_ACK_MAX + CONTROL_ROOM;
}

void conn_close(conn *c)
{
	spop_thread *t = c->spop_thread;

	ev_io_stop(t->loop, &c->readable);
	ev_io_stop(t->loop, &c->writable);
	ev_timer_stop(t->loop, &c->timer);
	close(c->fd);
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		t->conns = c->next;
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	conn_account(c);
	free(c);
	atomic_fetch_sub(&t->shared->loads[t->index].conns, 1);
	atomic_fetch_sub(&t->shared->connections, 1);
	counter_add(&t->counters.connections_closed, 1);
	spop_thread_end_if_done(t);
}

static void set_timer(conn *c, double seconds)
{
	ev_timer_stop(c->spop_thread->loop, &c->timer);
	ev_timer_set(&c->timer, seconds, 0.);
	ev_timer_start(c->spop_thread->loop, &c->timer);
}

/* ---- writing */

/* The peer takes no more bytes for now: waits until it does, and reads nothing meanwhile. `progress`: it took some just
 * now. False: the connection is gone. */
static bool hold(conn *c, bool progress)
{
	spop_thread *t = c->spop_thread;

	settle(c);
	if (!conn_account(c) && !c->leaving) {
		/* The peer stopped reading inside a frame, so no DISCONNECT can be sent. */
		counter_add(&t->counters.refused_memory, 1);
		log_event(memory_limit, LOG_I("fd", c->fd), LOG_I("max_memory", t->shared->limits.max_memory),
			  LOG_C("instead", "a connection that does not read its answers is closed"));
		conn_close(c);
		return false;
	}
	if (!ev_is_active(&c->writable)) {
		counter_add(&t->counters.backpressure, 1);
		if (c->waiting >= t->shared->limits.max_in_flight) {
			counter_add(&t->counters.in_flight_limited, 1);
			log_event(in_flight_limit, LOG_I("fd", c->fd),
				  LOG_I("max_in_flight", t->shared->limits.max_in_flight),
				  LOG_C("problem", "the peer sends questions and does not read the answers"),
				  LOG_C("instead", "nothing more is read from it until it has read them"));
		}
		ev_io_start(t->loop, &c->writable);
		ev_io_stop(t->loop, &c->readable);
		progress = true;
	}
	if (progress && !c->leaving)
		set_timer(c, t->shared->stall_seconds);
	return true;
}

/* Writes as much of `out` as the peer takes. False: the connection is gone. */
static bool flush(conn *c)
{
	spop_thread *t = c->spop_thread;
	bool progress = false;

	/* The peer's time to read the DISCONNECT begins with the first try to write it. */
	if (c->leaving && !c->said)
		set_timer(c, LINGER_TIMEOUT);
	c->said = c->leaving;
	while (buf_len(&c->out) > 0) {
		ssize_t n = send(c->fd, c->out.data + c->out.start, buf_len(&c->out), MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return hold(c, progress);
		if (n < 0) {
			log_event(connection_lost, LOG_I("fd", c->fd), LOG_C("problem", strerror(errno)));
			conn_close(c);
			return false;
		}
		progress = true;
		counter_add(&t->counters.bytes_out, (uint64_t)n);
		buf_consume(&c->out, (size_t)n, SIZE_MAX);
	}
	settle(c);
	conn_account(c);
	if (ev_is_active(&c->writable)) {
		ev_io_stop(t->loop, &c->writable);
		if (!c->leaving)
			ev_timer_stop(t->loop, &c->timer);
	}
	ev_io_start(t->loop, &c->readable);
	/* Not close(): while bytes are unread here, that would reset the connection and discard the DISCONNECT. */
	if (c->leaving)
		shutdown(c->fd, SHUT_WR);
	return true;
}

/* The connection cannot have the memory that it needs: sends DISCONNECT. False: the connection is gone. */
static bool refuse_memory(conn *c)
{
	spop_thread *t = c->spop_thread;

	counter_add(&t->counters.refused_memory, 1);
	log_event(memory_limit, LOG_I("fd", c->fd), LOG_I("max_memory", t->shared->limits.max_memory),
		  LOG_C("instead", "a connection that needs more is closed"));
	buf_deinit(&c->in);
	conn_account(c);
	if (!c->leaving)
		conn_leave(c, SPOP_NO_RESOURCE, SLICE("the buffers of all connections hold max_memory bytes"));
	return flush(c);
}

/* ---- reading */

/* Makes room for `len` more bytes in `in`, in a kept buffer if there is one that fits. False: over the limit, or out of
 * memory. */
static bool in_room(conn *c, size_t len)
{
	if (len > c->in.cap - buf_len(&c->in) && kept_take(&c->spop_thread->kept, &c->in, len))
		return true;
	return buf_reserve(&c->in, len);
}

/* Answers the frames in `bytes`, which are all that was read and not answered yet, and keeps the rest in `in`. `own`:
 * `bytes` is in `in` already. False: the connection is gone. */
static bool work(conn *c, slice bytes, bool own)
{
	spop_thread *t = c->spop_thread;
	bool greeting = c->session.state == SPOP_AWAIT_HELLO;
	slice rest = bytes;
	size_t need;

	for (;;) {
		need = conn_answer(c, &rest);
		/* The last ACK and the DISCONNECT go in one write, so that HAProxy sends no request between them. */
		if (need && !c->leaving && (t->stopping || (c->answered && rest.len == 0)))
			conn_leave(c, SPOP_OK, SLICE("the agent goes away"));
		if (greeting && c->session.state != SPOP_AWAIT_HELLO) {
			greeting = false;
			ev_timer_stop(t->loop, &c->timer);
		}
		if (!flush(c))
			return false;
		if (need || c->leaving || buf_len(&c->out) > 0)
			break;
	}
	if (c->leaving) {
		buf_deinit(&c->in);
		conn_account(c);
		return true;
	}
	/* Reserve the room for a whole large frame at once where its length is known. */
	bool ok = true;
	if (own && need <= SPOP_FRONT && rest.len <= SPOP_FRONT && c->in.cap > SPOP_FRONT) {
		buf large = c->in;
		c->in = (buf){ .limit = large.limit };
		ok = buf_append(&c->in, rest.ptr, rest.len);
		kept_give(&t->kept, &large);
	} else if (own) {
		buf_consume(&c->in, bytes.len - rest.len, CONN_KEEP);
	}
	if (need > SPOP_FRONT) {
		c->large = need;
		ok = in_room(c, own ? need - rest.len : need);
	}
	if (ok && !own)
		ok = buf_append(&c->in, rest.ptr, rest.len);
	return (ok && conn_account(c)) || refuse_memory(c);
}

/* Reads once. 0: nothing is there; -1: the connection is gone. */
static ssize_t take(conn *c, unsigned char *room, size_t len)
{
	ssize_t n;

	do
		n = recv(c->fd, room, len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		counter_add(&c->spop_thread->counters.bytes_in, (uint64_t)n);
		return n;
	}
	if (n < 0 && errno == EAGAIN)
		return 0;
	log_event(connection_closed, LOG_I("fd", c->fd), LOG_C("by", n == 0 ? "HAProxy" : strerror(errno)));
	conn_close(c);
	return -1;
}

/* Reads once, and works through what is there. False: the connection is gone. */
static bool read_and_work(conn *c)
{
	spop_thread *t = c->spop_thread;
	size_t had = buf_len(&c->in);
	ssize_t n;

	/* If the last frame was large, reads into a kept buffer with room for one like it, so that its beginning need
	 * not be copied. */
	bool whole = c->large && !had && !c->leaving && kept_take(&t->kept, &c->in, c->large);
	/* Read into the thread's scratch, with the bytes of an incomplete frame copied in front; only an incomplete
	 * frame that is larger than SPOP_FRONT is read into the connection's own buffer. */
	if (c->leaving || c->in.cap <= SPOP_FRONT) {
		unsigned char *room = t->scratch + SPOP_FRONT;
		n = take(c, room, SPOP_SCRATCH);
		if (n <= 0 || c->leaving)
			return n >= 0;
		if (had)
			memcpy(room - had, c->in.data + c->in.start, had);
		buf_consume(&c->in, had, CONN_KEEP);
		return work(c, slice_of(room - had, had + (size_t)n), false);
	}
	if (c->in.cap == c->in.end && !buf_reserve(&c->in, 1))
		return refuse_memory(c);
	n = take(c, c->in.data + c->in.end, c->in.cap - c->in.end);
	if (n == 0 && whole)
		kept_give(&t->kept, &c->in);
	if (n <= 0)
		return n == 0;
	c->in.end += (size_t)n;
	if (whole && n <= SPOP_FRONT)
		c->large = 0;
	return work(c, buf_slice(&c->in), true);
}

static void on_readable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	read_and_work(io->data);
}

static void on_writable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	conn *c = io->data;

	if (flush(c) && buf_len(&c->out) == 0 && !c->leaving && buf_len(&c->in) > 0)
		work(c, buf_slice(&c->in), true);
}

static void on_timer(struct ev_loop *loop UNUSED, ev_timer *timer, int events UNUSED)
{
	conn *c = timer->data;
	net_counters *n = &c->spop_thread->counters;

	if (c->leaving) {
		conn_close(c);
		return;
	}
	if (c->session.state == SPOP_AWAIT_HELLO) {
		counter_add(&n->hello_timeouts, 1);
		log_event(hello_timeout, LOG_I("fd", c->fd), LOG_C("instead", "the connection is closed"));
	} else {
		counter_add(&n->stalled, 1);
		log_event(connection_stalled, LOG_I("fd", c->fd), LOG_I("bytes", buf_len(&c->out)),
			  LOG_C("problem", "the peer does not read its answers"),
			  LOG_C("instead", "the connection is closed"));
	}
	conn_close(c);
}

/* ---- beginning and end */

conn *conn_new(spop_thread *t, int fd)
{
	spop_shared *s = t->shared;
	conn *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		atomic_fetch_sub(&s->connections, 1);
		return NULL;
	}
	c->spop_thread = t;
	c->fd = fd;
	/* say_hello() switches pipelining off if the option is off. */
	spop_session_init(&c->session, conn_largest_frame(s->limits.max_frame, s->limits.max_memory), true);
	conn_set_limits(c);
	ev_io_init(&c->readable, on_readable, fd, EV_READ);
	ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
	ev_timer_init(&c->timer, on_timer, 0., 0.);
	c->readable.data = c->writable.data = c->timer.data = c;
	c->next = t->conns;
	if (c->next)
		c->next->prev = c;
	t->conns = c;
	atomic_fetch_add(&s->loads[t->index].conns, 1);
	counter_add(&t->counters.connections_opened, 1);
	return c;
}

void conn_open(spop_thread *t, int fd)
{
	conn *c = conn_new(t, fd);

	if (!c) {
		log_event(connection_refused, LOG_C("problem", "out of memory"));
		return;
	}
	ev_io_start(t->loop, &c->readable);
	set_timer(c, HELLO_TIMEOUT);
	log_event(connection, LOG_I("fd", fd), LOG_I("thread", t->index),
		  LOG_I("connections", atomic_load(&t->shared->connections)));
}

void conn_resume(conn *c)
{
	/* A connection from another process has no timer yet: its time begins anew. */
	if (c->session.state == SPOP_AWAIT_HELLO && !c->leaving && !ev_is_active(&c->timer))
		set_timer(c, HELLO_TIMEOUT);
	/* Answer what was read before: the socket is not readable again for bytes that are in `in` already. */
	if (flush(c) && buf_len(&c->out) == 0 && !c->leaving && buf_len(&c->in) > 0)
		work(c, buf_slice(&c->in), true);
}

void conn_finish(conn *c)
{
	if (c->leaving)
		return;
	/* What HAProxy has sent by now is answered in the same write as the DISCONNECT, because work() sees that the
	 * thread is stopping. */
	if (buf_len(&c->out) == 0 && !read_and_work(c))
		return;
	if (c->leaving)
		return;
	conn_leave(c, SPOP_OK, SLICE("the agent stops"));
	flush(c);
}
