/* SPDX-License-Identifier: MIT
 *
 * What relay.c, exchange.c and connect.c share. */
#ifndef TAP_RELAY_IMPL_H
#define TAP_RELAY_IMPL_H

#include "tap/http.h"
#include "tap/leg.h"
#include "tap/relay.h"
#include "tap/usage.h"

/* Bytes that a connection has not taken yet. */
typedef struct pending {
	unsigned char *data;
	size_t start, len; /* [data + start, data + start + len) */
} pending;

/* A connection of HAProxy's backend (the client) and the one to a leg. */
typedef struct pair {
	relay *r;
	struct pair *prev, *next;                 /* of the relay's, or of the dead ones */
	struct pair *waits_before, *waits_behind; /* of those that wait for a leg */
	ev_io client, leg;                        /* leg.fd -1: there is none */
	pending to_leg, to_client;
	http_flow flow;
	tap_usage usage;
	size_t usage_memory;
	uint64_t body;                     /* bytes of the answer's body */
	int64_t idle_since;                /* milliseconds; if no request is under way */
	int64_t waits_since;               /* milliseconds; for a leg that cannot be connected to */
	char leg_name[LEG_NAME_TAKEN + 1]; /* the leg that is connected, or is to be */
	bool named;                        /* the request's head has ended, so that its bytes may go to the leg */
	bool waits;
	bool counted; /* as a stream */
	bool stalled; /* nothing is read from the client; it is in relay.hangups */
	bool deaf;    /* the leg takes nothing more: what the client sends is thrown away */
	bool closing; /* the client's connection is closed when it has taken what waits for it */
	bool dead;
} pair;

struct relay {
	struct ev_loop *loop;
	const relay_settings *settings;
	reports *out;
	relay_counts counts;
	pair *pairs, *dead;
	pair *waiting, *waiting_last;
	ev_timer retry;
	/* An epoll set of the clients from which nothing is read because their legs take nothing. libev cannot wait for
	 * a hangup alone. */
	ev_io hangups;
	bool close_used; /* a connection is closed when its answer has ended */
	unsigned char scratch[RELAY_READ];
};

/* ---- relay.c */

void relay_account(relay *r, size_t before, size_t now);
void pair_close(pair *p);
void pair_close_leg(pair *p);
/* Sends what waits for the leg, which is connected now. */
void pair_connected(pair *p);
/* Answers the request in the place of a leg that cannot be reached, as a leg whose upstream cannot, and closes. */
void pair_refuse(pair *p);
/* Chooses what to wait for next. */
void pair_update(pair *p);

/* ---- connect.c */

/* Connects to the leg that the request names, unless the pair is connected to it. If that is not possible now,
 * the pair waits; if it never will be, the request is refused. */
void connect_leg(pair *p);
void connect_forget(pair *p);
void connect_on_retry(struct ev_loop *loop, ev_timer *timer, int events);

/* ---- exchange.c: what the bytes mean */

/* Follows what the client sent. False: it is not what HAProxy sends; the pair has to be closed. */
MUST_CHECK bool exchange_request(pair *p, slice bytes);
/* Follows what the leg sent. */
void exchange_answer(pair *p, slice bytes);
/* The leg has closed its connection; `in_order`: not by an error. True: between two requests, which breaks nothing. */
MUST_CHECK bool exchange_answer_eof(pair *p, bool in_order);
/* Ends the exchange, if one is under way, and reports how: "client", "upstream", "lost". */
void exchange_cut(pair *p, const char *how);

#endif
