/* SPDX-License-Identifier: MIT
 *
 * A connection as bytes, the body of HANDOVER_CONN:
 *   u8 state (0: HELLO is awaited, 1: agreed), u8 flags, u32 max-frame-size,
 *   u32 length and bytes read and not answered, u32 length and bytes not written yet */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/conn_impl.h"

enum { STATE_AWAIT_HELLO, STATE_READY };
enum { FLAG_ALLOW_PIPELINING = 1, FLAG_PIPELINING = 2, FLAG_ASYNC = 4, FLAG_HEALTHCHECK = 8, FLAGS = 15 };

int conn_fd(const conn *c)
{
	return c->fd;
}

static bool put_bytes(buf *out, slice bytes)
{
	return buf_append_u32be(out, (uint32_t)bytes.len) && buf_append(out, bytes.ptr, bytes.len);
}

bool conn_can_go(const conn *c)
{
	return !c->leaving && c->session.state != SPOP_ENDED;
}

bool conn_export(const conn *c, buf *out)
{
	const spop_session *s = &c->session;
	unsigned char head[2] = {
		s->state == SPOP_READY ? STATE_READY : STATE_AWAIT_HELLO,
		(unsigned char)((s->allow_pipelining ? FLAG_ALLOW_PIPELINING : 0) |
				(s->pipelining ? FLAG_PIPELINING : 0) | (s->async ? FLAG_ASYNC : 0) |
				(s->healthcheck ? FLAG_HEALTHCHECK : 0)),
	};

	return buf_append(out, head, sizeof head) && buf_append_u32be(out, s->max_frame) &&
	       put_bytes(out, buf_slice(&c->in)) && put_bytes(out, buf_slice(&c->out));
}

typedef struct adopted {
	spop_session session;
	slice in, out;
} adopted;

static bool parse(slice state, adopted *a, err *e)
{
	cursor c = cursor_of(state);
	uint8_t what = cursor_u8(&c), flags = cursor_u8(&c);
	uint32_t max_frame = cursor_u32be(&c);

	a->in = cursor_take(&c, cursor_u32be(&c));
	a->out = cursor_take(&c, cursor_u32be(&c));
	if (c.failed || cursor_left(&c) > 0)
		return err_set(e, "a connection's state is cut, or longer than it says");
	if (what > STATE_READY || flags & ~FLAGS)
		return err_set(e, "a connection's state %u or flags %#x are not known", what, flags);
	if (max_frame < FRAME_SIZE_MIN || max_frame > CONN_FRAME_MAX)
		return err_set(e, "a connection's max-frame-size is %lu", (unsigned long)max_frame);
	if (what == STATE_AWAIT_HELLO && (a->out.len || flags & ~FLAG_ALLOW_PIPELINING))
		return err_set(e, "a connection has answers before its HELLO");
	a->session = (spop_session){
		.state = what == STATE_READY ? SPOP_READY : SPOP_AWAIT_HELLO,
		.max_frame = max_frame,
		.allow_pipelining = flags & FLAG_ALLOW_PIPELINING,
		.pipelining = flags & FLAG_PIPELINING,
		.async = flags & FLAG_ASYNC,
		.healthcheck = flags & FLAG_HEALTHCHECK,
	};
	return true;
}

/* Makes `fd` non-blocking and close-on-exec. False: it is not a connected stream socket. */
static bool usable(int fd, err *e)
{
	int type = 0, listens = 0;
	socklen_t len = sizeof type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0)
		return err_set(e, "a connection's descriptor: %s", strerror(errno));
	len = sizeof listens;
	if (type != SOCK_STREAM || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) != 0 || listens)
		return err_set(e, "a connection's descriptor is not a connected stream socket");
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
		return err_set(e, "a connection's descriptor: %s", strerror(errno));
	return true;
}

bool conn_adopt(spop_thread *t, int fd, slice state, err *e)
{
	spop_shared *s = t->shared;
	adopted a;

	if (!parse(state, &a, e) || !usable(fd, e)) {
		close(fd);
		return false;
	}
	atomic_fetch_add(&s->connections, 1);
	conn *c = conn_new(t, fd);
	if (!c)
		return err_memory(e);
	/* What HELLO agreed on stays; before HELLO, the limits of this process hold. */
	if (a.session.state == SPOP_AWAIT_HELLO)
		a.session = c->session;
	c->session = a.session;
	conn_set_limits(c);
	if (!buf_append(&c->in, a.in.ptr, a.in.len) || !buf_append(&c->out, a.out.ptr, a.out.len)) {
		conn_close(c);
		return err_set(e, "a connection has %zu bytes to answer and %zu to write, more than its limits allow",
			       a.in.len, a.out.len);
	}
	conn_account(c);
	return true;
}
