/* SPDX-License-Identifier: MIT */
#include "serve/takeover.h"

#include "base/cursor.h"
#include "base/log.h"
#include "net/handover.h"

/* How long the new worker waits for BEGIN and for COMMIT. The master ends the new worker earlier if the handover takes
 * longer than 10 seconds. */
enum { WORD_TIMEOUT_MS = 60000 };

static const unsigned char version[4] = { 0, 0, 0, HANDOVER_VERSION };

/* Says what happens if the new worker does not get a message. */
static const char *instead_of(handover_type type)
{
	if (type == HANDOVER_LOG_STREAM)
		return "this worker reads the log streams to their end, and HAProxy's ring connects again";
	if (type == HANDOVER_END)
		return "the new worker opens the ledger when this one has ended";
	return "the old worker goes on";
}

static bool give(int sock, handover_type type, slice body, const int *fds, size_t count)
{
	err e;

	if (fdpass_send(sock, (uint8_t)type, body, fds, count, HANDOVER_PAUSE_MS, &e))
		return true;
	log_event(handover_failed, LOG_C("problem", e.text), LOG_C("instead", instead_of(type)));
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

/* Receives a message and returns its type; 0: none came. */
static uint8_t hear(int sock, int timeout_ms)
{
	fdpass_message m;
	err e;

	if (fdpass_receive(sock, &m, timeout_ms, &e) != FDPASS_OK)
		return 0;
	uint8_t type = m.type;
	fdpass_deinit(&m);
	return type;
}

static bool says_version(const fdpass_message *m, handover_type type)
{
	cursor c = cursor_of(buf_slice(&m->body));
	uint32_t said = cursor_u32be(&c);
	return m->type == type && !c.failed && said == HANDOVER_VERSION;
}

takeover_given takeover_greeted(int sock)
{
	fdpass_message m;
	err e;

	if (fdpass_receive(sock, &m, HANDOVER_GREET_MS, &e) != FDPASS_OK) {
		log_event(handover_failed, LOG_C("problem", "the new worker says nothing"),
			  LOG_C("instead", "the old worker goes on"));
		return TAKEOVER_FAILED;
	}
	bool known = says_version(&m, HANDOVER_HELLO);
	fdpass_deinit(&m);
	return known ? TAKEOVER_TAKEN : TAKEOVER_REFUSED;
}

takeover_given takeover_give(int sock, spop_threads *ts)
{
	giving g = { sock, 0 };

	if (!give(sock, HANDOVER_BEGIN, slice_of(version, sizeof version), NULL, 0) ||
	    !spop_threads_export(ts, give_connection, &g) ||
	    !give(sock, HANDOVER_CONNS_END, (slice){ NULL, 0 }, NULL, 0))
		return TAKEOVER_FAILED;
	if (hear(sock, HANDOVER_PAUSE_MS) != HANDOVER_TAKEN ||
	    !give(sock, HANDOVER_COMMIT, (slice){ NULL, 0 }, NULL, 0))
		return TAKEOVER_FAILED;
	log_event(handed_over, LOG_I("connections", g.count));
	return TAKEOVER_TAKEN;
}

bool takeover_give_stream(void *ctx, int fd, slice begun)
{
	return give(*(const int *)ctx, HANDOVER_LOG_STREAM, begun, &fd, 1);
}

void takeover_give_end(int sock)
{
	give(sock, HANDOVER_END, (slice){ NULL, 0 }, NULL, 0);
}

/* Adopts connections until CONNS_END. HALF: the old worker is gone or sent something else. */
static takeover_taken take_connections(int sock, spop_threads *ts)
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
			ok = spop_threads_adopt(ts, fd, buf_slice(&m.body), &e);
			if (!ok)
				log_event_at(LOG_ERROR, handover_failed, LOG_C("problem", e.text),
					     LOG_C("instead", "the old worker goes on"));
		}
		fdpass_deinit(&m);
		if (!ok)
			return TAKEOVER_HALF;
		if (end)
			return TAKEOVER_ALL;
	}
}

takeover_taken takeover_take(int sock, spop_threads *ts)
{
	fdpass_message m;
	err e;

	/* BEGIN takes a while, because the old worker hears of this one only when the master has read PREPARED. */
	if (!fdpass_send(sock, HANDOVER_HELLO, slice_of(version, sizeof version), NULL, 0, HANDOVER_TIMEOUT_MS, &e) ||
	    fdpass_receive(sock, &m, WORD_TIMEOUT_MS, &e) != FDPASS_OK)
		return TAKEOVER_NONE;
	bool known = says_version(&m, HANDOVER_BEGIN);
	fdpass_deinit(&m);
	if (!known)
		return TAKEOVER_HALF;
	takeover_taken taken = take_connections(sock, ts);
	if (taken != TAKEOVER_ALL)
		return taken;
	/* Without COMMIT the connections are not ours: the old worker may have gone on, because we took too long. */
	if (!fdpass_send(sock, HANDOVER_TAKEN, (slice){ NULL, 0 }, NULL, 0, HANDOVER_TIMEOUT_MS, &e) ||
	    hear(sock, WORD_TIMEOUT_MS) != HANDOVER_COMMIT)
		return TAKEOVER_HALF;
	return TAKEOVER_ALL;
}
