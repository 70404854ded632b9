/* SPDX-License-Identifier: MIT */
#include "takeover.h"

#include "base/cursor.h"
#include "base/log.h"
#include "net/handover.h"

/* The master ends a new worker that takes longer than 10 s, and then the socket ends; this is for a master that is stuck. */
enum { ANSWER_TIMEOUT_MS = 60000 };

static bool give(int sock, handover_type type, slice body, const int *fds, size_t count)
{
	err e;

	if (fdpass_send(sock, (uint8_t)type, body, fds, count, HANDOVER_TIMEOUT_MS, &e))
		return true;
	log_event(LOG_WARN, "handover_failed", LOG_C("problem", e.text), LOG_C("instead", "the old worker goes on"));
	return false;
}

typedef struct giving {
	int sock;
	unsigned count;
} giving;

static bool give_connection(void *ctx, int fd, slice state)
{
	giving *g = ctx;

	g->count++;
	return give(g->sock, HANDOVER_CONN, state, &fd, 1);
}

takeover_given takeover_give(int sock, workers *ws)
{
	static const unsigned char version[4] = { 0, 0, 0, HANDOVER_VERSION };
	giving g = { sock, 0 };
	fdpass_message m;
	err e;

	if (!give(sock, HANDOVER_BEGIN, slice_of(version, sizeof version), NULL, 0) || !workers_export(ws, give_connection, &g) ||
	    !give(sock, HANDOVER_CONNS_END, (slice){ NULL, 0 }, NULL, 0))
		return TAKEOVER_FAILED;
	fdpass_result result = fdpass_receive(sock, &m, ANSWER_TIMEOUT_MS, &e);
	if (result != FDPASS_OK)
		return TAKEOVER_FAILED;
	takeover_given given = m.type == HANDOVER_TAKEN ? TAKEOVER_TAKEN : TAKEOVER_REFUSED;
	fdpass_deinit(&m);
	if (given == TAKEOVER_TAKEN)
		log_event(LOG_INFO, "handed_over", LOG_I("connections", g.count));
	return given;
}

void takeover_give_stream(void *ctx, int fd, slice begun)
{
	give(*(const int *)ctx, HANDOVER_LOG_STREAM, begun, &fd, 1);
}

void takeover_give_end(int sock)
{
	give(sock, HANDOVER_END, (slice){ NULL, 0 }, NULL, 0);
}

static bool known_version(const fdpass_message *m)
{
	cursor c = cursor_of(buf_slice(&m->body));
	uint32_t version = cursor_u32be(&c);
	return m->type == HANDOVER_BEGIN && !c.failed && version == HANDOVER_VERSION;
}

/* Until CONNS_END. False: the old one is gone or says something else; what was adopted is of no use. */
static takeover_taken take_connections(int sock, workers *ws)
{
	fdpass_message m;
	err e;

	for (;;) {
		if (fdpass_receive(sock, &m, HANDOVER_TIMEOUT_MS, &e) != FDPASS_OK)
			return TAKEOVER_HALF;
		bool end = m.type == HANDOVER_CONNS_END;
		bool ok = end;
		if (m.type == HANDOVER_CONN && m.fds_count == 1) {
			int fd = m.fds[0];
			m.fds[0] = -1;
			ok = workers_adopt(ws, fd, buf_slice(&m.body), &e);
			if (!ok)
				log_event(LOG_ERROR, "handover_failed", LOG_C("problem", e.text), LOG_C("instead", "the old worker goes on"));
		}
		fdpass_deinit(&m);
		if (!ok)
			return TAKEOVER_HALF;
		if (end)
			return TAKEOVER_ALL;
	}
}

takeover_taken takeover_take(int sock, workers *ws)
{
	fdpass_message m;
	err e;

	/* The old one is told only when the master knows that we are prepared; the master guards the time. */
	if (fdpass_receive(sock, &m, ANSWER_TIMEOUT_MS, &e) != FDPASS_OK)
		return TAKEOVER_NONE;
	bool known = known_version(&m);
	fdpass_deinit(&m);
	if (!known) {
		fdpass_send(sock, HANDOVER_REFUSED, (slice){ NULL, 0 }, NULL, 0, HANDOVER_TIMEOUT_MS, &e);
		return TAKEOVER_NONE;
	}
	takeover_taken taken = take_connections(sock, ws);
	/* Where the old one cannot hear it any more it is dead, and they are ours all the same. */
	if (taken == TAKEOVER_ALL)
		fdpass_send(sock, HANDOVER_TAKEN, (slice){ NULL, 0 }, NULL, 0, HANDOVER_TIMEOUT_MS, &e);
	return taken;
}
