/* SPDX-License-Identifier: MIT */
#include "tap/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/unused.h"
#include "tap/relay_impl.h"

enum {
	ROOM_PERCENT = 90, /* of its limits that a relay may use to have room again */
	HANGUPS_AT_ONCE = 64,
};

void relay_account(relay *r, size_t before, size_t now)
{
	r->counts.memory = r->counts.memory - before + now;
}

/* ---- bytes that wait */

static void drop(relay *r, pending *q)
{
	relay_account(r, q->start + q->len, 0);
	free(q->data);
	*q = (pending){ .data = NULL };
}

/* Adds `bytes`. False: out of memory, and errno is ENOMEM. */
static bool keep(relay *r, pending *q, slice bytes)
{
	size_t held = q->len;
	unsigned char *data = malloc(held + bytes.len);

	if (!data) {
		errno = ENOMEM;
		return false;
	}
	if (held)
		memcpy(data, q->data + q->start, held);
	memcpy(data + held, bytes.ptr, bytes.len);
	drop(r, q);
	*q = (pending){ .data = data, .len = held + bytes.len };
	relay_account(r, 0, q->len);
	return true;
}

/* Sends what `fd` takes of `*bytes`, and takes it off. False: nobody is there any more. */
static bool send_some(int fd, slice *bytes)
{
	ssize_t n;

	do
		n = send(fd, bytes->ptr, bytes->len, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN || errno == ENOBUFS;
	*bytes = slice_from(*bytes, (size_t)n);
	return true;
}

/* Sends `bytes`, and keeps what is not taken; sends nothing now if there are some that wait, or if `fd` is -1. False:
 * nobody is there any more, or errno is ENOMEM. */
static bool pass_on(relay *r, pending *q, int fd, slice bytes)
{
	if (fd >= 0 && !q->len && !send_some(fd, &bytes))
		return false;
	return !bytes.len || keep(r, q, bytes);
}

/* Sends what waits. False: nobody is there any more. */
static bool flush(relay *r, pending *q, int fd)
{
	slice left = slice_of(q->data + q->start, q->len);

	if (!q->len)
		return true;
	if (!send_some(fd, &left))
		return false;
	q->start += q->len - left.len;
	q->len = left.len;
	if (!q->len)
		drop(r, q);
	return true;
}

/* How many bytes to read. Where memory is used up it is little, but never nothing, because streams have to go on. */
static size_t room(const relay *r)
{
	size_t used = r->counts.memory, most = r->settings->memory;
	size_t left = used < most ? most - used : 0;

	return left > RELAY_READ ? RELAY_READ : left < RELAY_READ_LEAST ? RELAY_READ_LEAST : left;
}

/* ---- what to wait for */

static void want(relay *r, ev_io *io, int events)
{
	int now = ev_is_active(io) ? io->events & (EV_READ | EV_WRITE) : 0;

	if (io->fd < 0 || now == events)
		return;
	ev_io_stop(r->loop, io);
	ev_io_modify(io, events);
	if (events)
		ev_io_start(r->loop, io);
}

/* Waits, or not, for the client's hangup alone. */
static void watch_hangup(pair *p, bool on)
{
	struct epoll_event e = { .events = EPOLLRDHUP, .data.ptr = p };

	if (p->stalled != on)
		epoll_ctl(p->r->hangups.fd, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, p->client.fd, &e);
	p->stalled = on;
}

void pair_update(pair *p)
{
	if (p->dead)
		return;
	if (p->closing && !p->to_client.len) {
		pair_close(p);
		return;
	}
	/* What is thrown away is read all the same. */
	bool read = p->closing || p->deaf || !p->named || !p->to_leg.len;
	want(p->r, &p->client, (read ? EV_READ : 0) | (p->to_client.len ? EV_WRITE : 0));
	want(p->r, &p->leg,
	     p->closing ? 0 : (p->to_client.len ? 0 : EV_READ) | (p->named && p->to_leg.len ? EV_WRITE : 0));
	watch_hangup(p, !read);
}

/* ---- ends */

void pair_close_leg(pair *p)
{
	if (p->leg.fd < 0)
		return;
	ev_io_stop(p->r->loop, &p->leg);
	close(p->leg.fd);
	p->leg.fd = -1;
}

void pair_close(pair *p)
{
	relay *r = p->r;

	/* The bytes behind a request whose refusal closed the pair may bring us here again. */
	if (p->dead)
		return;
	connect_forget(p);
	watch_hangup(p, false);
	pair_close_leg(p);
	ev_io_stop(r->loop, &p->client);
	close(p->client.fd);
	drop(r, &p->to_leg);
	drop(r, &p->to_client);
	if (p->next)
		p->next->prev = p->prev;
	if (p->prev)
		p->prev->next = p->next;
	else
		r->pairs = p->next;
	p->dead = true;
	p->next = r->dead;
	r->dead = p;
	r->counts.connections--;
	relay_account(r, sizeof *p, 0);
}

static void client_left(pair *p)
{
	exchange_cut(p, "client");
	pair_close(p);
}

/* The tap itself cannot go on. */
static void give_up(pair *p)
{
	exchange_cut(p, "lost");
	pair_close(p);
}

/* The leg takes nothing more. It may have answered before the request was complete: the answer is still read. */
static void leg_is_deaf(pair *p)
{
	p->deaf = true;
	drop(p->r, &p->to_leg);
}

static void leg_left(pair *p, bool in_order)
{
	bool between = exchange_answer_eof(p, in_order);

	pair_close_leg(p);
	p->deaf = false;
	/* The next request gets another connection to the leg. */
	if (between)
		return;
	drop(p->r, &p->to_leg);
	p->closing = true;
}

void pair_refuse(pair *p)
{
	/* HAProxy takes the code for the ledger from x-llm-leg. */
	static const slice text = SLICE_INIT(
		"HTTP/1.1 503 Service Unavailable\r\nx-llm-leg: upstream_unavailable\r\ncontent-type: application/json\r\n"
		"content-length: 132\r\nconnection: close\r\n\r\n"
		"{\"type\":\"error\",\"error\":{\"message\":\"The upstream cannot be reached.\",\"type\":\"api_error\","
		"\"param\":null,\"code\":\"upstream_unavailable\"}}");

	exchange_cut(p, "upstream");
	drop(p->r, &p->to_leg);
	p->closing = true;
	if (!pass_on(p->r, &p->to_client, p->client.fd, text))
		pair_close(p);
}

/* ---- bytes that come */

static void read_client(pair *p)
{
	relay *r = p->r;
	ssize_t n = recv(p->client.fd, r->scratch, room(r), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_left(p);
		return;
	}
	slice bytes = slice_of(r->scratch, (size_t)n);
	if (p->closing)
		return;
	if (!exchange_request(p, bytes)) {
		give_up(p);
		return;
	}
	if (p->closing || p->dead || p->deaf)
		return;
	if (pass_on(r, &p->to_leg, p->named ? p->leg.fd : -1, bytes))
		return;
	if (errno == ENOMEM)
		give_up(p);
	else
		leg_is_deaf(p);
}

static void read_leg(pair *p)
{
	relay *r = p->r;
	ssize_t n = recv(p->leg.fd, r->scratch, room(r), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leg_left(p, n == 0);
		return;
	}
	slice bytes = slice_of(r->scratch, (size_t)n);
	r->counts.bytes += (uint64_t)n;
	/* First pass the bytes on, then read them. */
	bool there = pass_on(r, &p->to_client, p->client.fd, bytes);
	exchange_answer(p, bytes);
	if (!there)
		client_left(p);
}

static void on_client(struct ev_loop *loop UNUSED, ev_io *io, int events)
{
	pair *p = io->data;

	if ((events & EV_WRITE) && !flush(p->r, &p->to_client, io->fd))
		client_left(p);
	if (!p->dead && (events & EV_READ))
		read_client(p);
	pair_update(p);
}

static void on_leg(struct ev_loop *loop UNUSED, ev_io *io, int events)
{
	pair *p = io->data;

	if ((events & EV_WRITE) && !flush(p->r, &p->to_leg, io->fd))
		leg_is_deaf(p);
	if (events & EV_READ)
		read_leg(p);
	pair_update(p);
}

void pair_connected(pair *p)
{
	ev_set_cb(&p->leg, on_leg);
	p->deaf = false;
	if (!flush(p->r, &p->to_leg, p->leg.fd))
		leg_is_deaf(p);
}

static void on_hangup(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	struct epoll_event gone[HANGUPS_AT_ONCE];
	int n = epoll_wait(io->fd, gone, HANGUPS_AT_ONCE, 0);

	for (int i = 0; i < n; i++)
		client_left(gone[i].data.ptr);
}

/* ---- life */

relay *relay_new(struct ev_loop *loop, const relay_settings *settings, reports *out, err *e)
{
	relay *r = calloc(1, sizeof *r);
	int fd = r ? epoll_create1(EPOLL_CLOEXEC) : -1;

	if (!r) {
		err_memory(e);
		return NULL;
	}
	if (fd < 0) {
		err_set(e, "epoll_create1: %s", strerror(errno));
		free(r);
		return NULL;
	}
	r->loop = loop;
	r->settings = settings;
	r->out = out;
	ev_timer_init(&r->retry, connect_on_retry, 0., 0.);
	ev_io_init(&r->hangups, on_hangup, fd, EV_READ);
	r->retry.data = r->hangups.data = r;
	ev_io_start(loop, &r->hangups);
	return r;
}

void relay_cut(relay *r)
{
	while (r->pairs)
		give_up(r->pairs);
}

void relay_free(relay *r)
{
	relay_cut(r);
	relay_reap(r);
	ev_timer_stop(r->loop, &r->retry);
	ev_io_stop(r->loop, &r->hangups);
	close(r->hangups.fd);
	free(r);
}

void relay_take(relay *r, int fd)
{
	pair *p = calloc(1, sizeof *p);

	if (!p) {
		log_event(connection_refused, LOG_C("problem", "out of memory"));
		close(fd);
		return;
	}
	p->r = r;
	p->idle_since = clock_mono_ms();
	http_init(&p->flow);
	ev_io_init(&p->client, on_client, fd, EV_READ);
	ev_io_init(&p->leg, on_leg, -1, EV_READ);
	p->client.data = p->leg.data = p;
	p->next = r->pairs;
	if (p->next)
		p->next->prev = p;
	r->pairs = p;
	r->counts.connections++;
	relay_account(r, 0, sizeof *p);
	/* The request is there already as a rule. */
	read_client(p);
	pair_update(p);
}

void relay_close_used(relay *r)
{
	r->close_used = true;
}

void relay_close_idle(relay *r, int64_t since)
{
	char first;

	for (pair *p = r->pairs, *after; p; p = after) {
		after = p->next;
		/* A request that has come is served. */
		if (!p->named && p->idle_since <= since && !p->to_leg.len && !p->to_client.len &&
		    recv(p->client.fd, &first, 1, MSG_PEEK) <= 0)
			pair_close(p);
	}
}

void relay_reap(relay *r)
{
	for (pair *p = r->dead, *after; p; p = after) {
		after = p->next;
		free(p);
	}
	r->dead = NULL;
}

const relay_counts *relay_count(const relay *r)
{
	return &r->counts;
}

static bool is_below(const relay *r, size_t percent)
{
	return r->counts.connections < r->settings->connections * percent / 100 &&
	       r->counts.memory < r->settings->memory / 100 * percent;
}

bool relay_is_full(const relay *r)
{
	return !is_below(r, 100);
}

bool relay_has_room(const relay *r)
{
	return is_below(r, ROOM_PERCENT);
}
