/* SPDX-License-Identifier: MIT */
#include "net/conn.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/unused.h"
#include "net/conn_impl.h"

/* Seconds until a connection that says nothing has to have said HELLO. */
static const double HELLO_TIMEOUT = 10.;
/* Seconds that a connection that was told to go may take to read it. */
static const double LINGER_TIMEOUT = 1.;

/* The spare buffer for answers that a worker keeps: a turn's answers seldom need more. */
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

static void give_back(spop_thread *w, unsigned char *data, size_t cap)
{
	if (w->spare.data || cap > SPARE_MAX) {
		free(data);
		return;
	}
	w->spare.data = data;
	w->spare.cap = cap;
}

/* After the answers were written: `out` is no longer the worker's spare buffer, and no larger than what is left needs.
 */
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

void conn_set_limits(conn *c)
{
	size_t largest = FRAME_PREFIX + (size_t)c->session.max_frame;

	c->in.limit = largest + SPOP_SCRATCH + CONN_KEEP;
	/* One answer may begin just below the mark and be as large as a frame. */
	c->out.limit = CONN_OUT_HIGH + 2 * largest + CREDENTIAL_MAX + CONTROL_ROOM;
}

void conn_close(conn *c)
{
	spop_thread *w = c->spop_thread;

	ev_io_stop(w->loop, &c->readable);
	ev_io_stop(w->loop, &c->writable);
	ev_timer_stop(w->loop, &c->timer);
	close(c->fd);
	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		w->conns = c->next;
	buf_deinit(&c->in);
	buf_deinit(&c->out);
	conn_account(c);
	free(c);
	atomic_fetch_sub(&w->shared->loads[w->index].conns, 1);
	atomic_fetch_sub(&w->shared->connections, 1);
	counter_add(&w->counters.connections_closed, 1);
	spop_thread_end_if_done(w);
}

static void set_timer(conn *c, double seconds)
{
	ev_timer_stop(c->spop_thread->loop, &c->timer);
	ev_timer_set(&c->timer, seconds, 0.);
	ev_timer_start(c->spop_thread->loop, &c->timer);
}

/* ---- writing */

/* The peer takes nothing more for now: until it does, nothing more is read. False: the connection is gone. */
static bool hold(conn *c, bool progress)
{
	spop_thread *w = c->spop_thread;

	settle(c);
	if (!conn_account(c) && !c->leaving) {
		/* Within a frame that it does not read, it can be told nothing. */
		counter_add(&w->counters.refused_memory, 1);
		log_event(memory_limit, LOG_I("fd", c->fd), LOG_I("max_memory", w->shared->limits.max_memory),
			  LOG_C("instead", "a connection that does not read its answers is closed"));
		conn_close(c);
		return false;
	}
	if (!ev_is_active(&c->writable)) {
		counter_add(&w->counters.backpressure, 1);
		if (c->waiting >= w->shared->limits.max_in_flight) {
			counter_add(&w->counters.in_flight_limited, 1);
			log_event(in_flight_limit, LOG_I("fd", c->fd),
				  LOG_I("max_in_flight", w->shared->limits.max_in_flight),
				  LOG_C("problem", "the peer asks on and does not take its answers"),
				  LOG_C("instead", "no more is read from it until it has taken them"));
		}
		ev_io_start(w->loop, &c->writable);
		ev_io_stop(w->loop, &c->readable);
		progress = true;
	}
	if (progress && !c->leaving)
		set_timer(c, w->shared->stall_seconds);
	return true;
}

/* Writes what it can. False: the connection is gone. */
static bool flush(conn *c)
{
	spop_thread *w = c->spop_thread;
	bool progress = false;

	/* The time that it has to read the DISCONNECT begins with the first try to write it. */
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
		counter_add(&w->counters.bytes_out, (uint64_t)n);
		buf_consume(&c->out, (size_t)n, SIZE_MAX);
	}
	settle(c);
	conn_account(c);
	if (ev_is_active(&c->writable)) {
		ev_io_stop(w->loop, &c->writable);
		if (!c->leaving)
			ev_timer_stop(w->loop, &c->timer);
	}
	ev_io_start(w->loop, &c->readable);
	/* The peer sees the end after the DISCONNECT; closing with bytes unread would throw the DISCONNECT away. */
	if (c->leaving)
		shutdown(c->fd, SHUT_WR);
	return true;
}

/* False: the connection is gone. */
static bool refuse_memory(conn *c)
{
	spop_thread *w = c->spop_thread;

	counter_add(&w->counters.refused_memory, 1);
	log_event(memory_limit, LOG_I("fd", c->fd), LOG_I("max_memory", w->shared->limits.max_memory),
		  LOG_C("instead", "a connection that needs more is closed"));
	buf_deinit(&c->in);
	conn_account(c);
	if (!c->leaving)
		conn_leave(c, SPOP_NO_RESOURCE, SLICE("the buffers of all connections hold max_memory bytes"));
	return flush(c);
}

/* ---- reading */

/* Works through `bytes`, which are all that was read and not answered, and keeps the rest in `in`. `own`: they are
 * there already. False: the connection is gone. */
static bool work(conn *c, slice bytes, bool own)
{
	spop_thread *w = c->spop_thread;
	bool greeting = c->session.state == SPOP_AWAIT_HELLO;
	slice rest = bytes;
	size_t need;

	for (;;) {
		need = conn_answer(c, &rest);
		/* The last ACK and the DISCONNECT in one write: HAProxy then loses nothing. */
		if (need && !c->leaving && (w->stopping || (c->answered && rest.len == 0)))
			conn_leave(c, SPOP_OK, SLICE("the agent goes away"));
		if (greeting && c->session.state != SPOP_AWAIT_HELLO) {
			greeting = false;
			ev_timer_stop(w->loop, &c->timer);
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
	bool ok = true;
	if (own)
		buf_consume(&c->in, bytes.len - rest.len, CONN_KEEP);
	else
		ok = buf_append(&c->in, rest.ptr, rest.len);
	/* A frame of known length gets all its room at once. */
	if (ok && need > buf_len(&c->in))
		ok = buf_len(&c->in) == 0 || buf_reserve(&c->in, need - buf_len(&c->in));
	return (ok && conn_account(c)) || refuse_memory(c);
}

/* One read. 0: nothing there now; -1: the connection is gone. */
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

/* Reads, and works through what is there. False: there was nothing, or the connection is gone; `*gone` says which. */
static bool read_and_work(conn *c, bool *gone)
{
	spop_thread *w = c->spop_thread;
	size_t had = buf_len(&c->in);
	ssize_t n;

	*gone = false;
	/* The beginning of a small frame goes in front of the next read; only a large frame is read where it stays. */
	if (c->leaving || c->in.cap <= CONN_KEEP) {
		unsigned char *room = w->scratch + CONN_KEEP;
		n = take(c, room, SPOP_SCRATCH);
		if (n > 0 && c->leaving)
			return true;
		if (n > 0) {
			if (had)
				memcpy(room - had, c->in.data + c->in.start, had);
			buf_consume(&c->in, had, CONN_KEEP);
			*gone = !work(c, slice_of(room - had, had + (size_t)n), false);
		}
	} else {
		if (c->in.cap == c->in.end && !buf_reserve(&c->in, 1)) {
			*gone = !refuse_memory(c);
			return !*gone;
		}
		n = take(c, c->in.data + c->in.end, c->in.cap - c->in.end);
		if (n > 0) {
			c->in.end += (size_t)n;
			*gone = !work(c, buf_slice(&c->in), true);
		}
	}
	if (n < 0)
		*gone = true;
	return n > 0 && !*gone;
}

static void on_readable(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	bool gone;

	read_and_work(io->data, &gone);
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

conn *conn_new(spop_thread *w, int fd)
{
	spop_shared *s = w->shared;
	conn *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		atomic_fetch_sub(&s->connections, 1);
		return NULL;
	}
	c->spop_thread = w;
	c->fd = fd;
	/* say_hello() takes pipelining back where the option is off. */
	spop_session_init(&c->session, s->limits.max_frame, true);
	conn_set_limits(c);
	ev_io_init(&c->readable, on_readable, fd, EV_READ);
	ev_io_init(&c->writable, on_writable, fd, EV_WRITE);
	ev_timer_init(&c->timer, on_timer, 0., 0.);
	c->readable.data = c->writable.data = c->timer.data = c;
	c->next = w->conns;
	if (c->next)
		c->next->prev = c;
	w->conns = c;
	atomic_fetch_add(&s->loads[w->index].conns, 1);
	counter_add(&w->counters.connections_opened, 1);
	return c;
}

void conn_open(spop_thread *w, int fd)
{
	conn *c = conn_new(w, fd);

	if (!c) {
		log_event(connection_refused, LOG_C("problem", "out of memory"));
		return;
	}
	ev_io_start(w->loop, &c->readable);
	set_timer(c, HELLO_TIMEOUT);
	log_event(connection, LOG_I("fd", fd), LOG_I("thread", w->index),
		  LOG_I("connections", atomic_load(&w->shared->connections)));
}

void conn_resume(conn *c)
{
	/* One of another process: its time begins anew. */
	if (c->session.state == SPOP_AWAIT_HELLO && !c->leaving && !ev_is_active(&c->timer))
		set_timer(c, HELLO_TIMEOUT);
	/* Nothing will say that there is something to read where everything has been read. */
	if (flush(c) && buf_len(&c->out) == 0 && !c->leaving && buf_len(&c->in) > 0)
		work(c, buf_slice(&c->in), true);
}

void conn_finish(conn *c)
{
	bool gone = false;

	if (c->leaving)
		return;
	/* What HAProxy has sent by now is answered in the same write as the DISCONNECT: work() knows that we stop. */
	if (buf_len(&c->out) == 0)
		read_and_work(c, &gone);
	if (gone || c->leaving)
		return;
	conn_leave(c, SPOP_OK, SLICE("the agent stops"));
	flush(c);
}
