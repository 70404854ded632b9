/* SPDX-License-Identifier: MIT
 *
 * The budgets of a fleet: tells PostgreSQL what clients and projects spent on this gateway, reads from there what they
 * spent on the others, and tells that to the agent. All of it is absolute sums, so that whatever is lost is mended by
 * the next message. */
#ifndef SHIP_SPENT_H
#define SHIP_SPENT_H

#include "base/buf.h"
#include "ledger/store.h"
#include "ship/pq.h"

enum {
	SPENT_EVERY_MS = 1000,
	SPENT_TOLD = 20000, /* accounts that the agent is told at a time; if there are more, it takes several turns */
	SPENT_MESSAGE_MAX = 16000, /* bytes of a datagram to the agent, which takes up to LOGSOCK_LINE_MAX */
};

/* What an account spent on the other gateways, in the periods of spent.day, by period_kind. */
typedef struct spent_account {
	bool project;
	char name[RECORD_LABEL_MAX + 1];
	int64_t nano[3];
} spent_account;

/* How far the changes of another gateway were read. */
typedef struct spent_mark {
	int64_t gateway, sequence;
} spent_mark;

typedef struct spent {
	/* Here. */
	int64_t after; /* the sequence of the ledger up to which all was told; -1: nothing was */
	/* Elsewhere. */
	int64_t day; /* since 1970 */
	spent_mark *marks;
	size_t marks_count, marks_room;
	spent_account *items; /* by kind and name */
	size_t count;
	int64_t gateways; /* seen in the last minute, this one included */
	bool read;        /* in this session */
	/* The agent. */
	size_t next;   /* the item that it is told next */
	uint32_t pass; /* its number; each pass begins at the first item */
} spent;

void spent_init(spent *s);
void spent_deinit(spent *s);
/* Begins a session: PostgreSQL is told everything, and everything is read from it. */
void spent_begin(spent *s);
/* Tells PostgreSQL what was spent on this gateway, number `no`, since the last call, and reads what was spent on the
 * others. */
MUST_CHECK pq_result spent_exchange(spent *s, pq *c, const char *no, store *db, int64_t now_ms, err *e);
/* Has `say` tell the agent what others spent: SPENT_TOLD accounts, in messages that have no more bytes than
 * SPENT_MESSAGE_MAX, and at least one; the next call goes on where `say` returned false. */
void spent_tell(spent *s, bool (*say)(void *ctx, slice message), void *ctx);

#endif
