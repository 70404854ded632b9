/* SPDX-License-Identifier: MIT
 *
 * What the files of pq.h share: libpq's functions, and a connection. */
#ifndef SHIP_PQ_IMPL_H
#define SHIP_PQ_IMPL_H

#include <poll.h>
#include <postgresql/libpq-fe.h>

#include "ship/pq_target.h"

/* clang-format off */
#define PQ_FUNCTIONS(X) \
	X(PQconnectStartParams) X(PQconnectPoll) X(PQfinish) X(PQstatus) X(PQsocket) X(PQerrorMessage) \
	X(PQsetErrorVerbosity) X(PQsetnonblocking) X(PQsetNoticeProcessor) X(PQsendQueryParams) X(PQsendQuery) \
	X(PQsetSingleRowMode) X(PQflush) X(PQisBusy) X(PQconsumeInput) X(PQgetResult) X(PQputCopyData) \
	X(PQputCopyEnd) X(PQresultStatus) X(PQresultErrorField) X(PQclear) X(PQntuples) X(PQnfields) X(PQgetvalue) \
	X(PQgetisnull) X(PQcmdTuples) X(PQgetCancel) X(PQcancel) X(PQfreeCancel) X(PQconninfoParse) \
	X(PQconninfoFree) X(PQconnectionNeedsPassword) X(PQfreemem) X(PQencryptPasswordConn) X(PQlibVersion)
/* clang-format on */

/* libpq's functions, once pq_open() has loaded it. */
typedef struct pq_library {
#define PQ_MEMBER(name) __typeof__(&(name)) name;
	PQ_FUNCTIONS(PQ_MEMBER)
#undef PQ_MEMBER
} pq_library;
extern pq_library pq_lib;

struct pq {
	PGconn *conn;
	int stop_fd;
	int64_t statement_ms;
	void (*waiting)(void *ctx); /* NULL: none */
	void *waiting_ctx;
	char where[300];
	char sqlstate[6];
};

/* Writes what the server or libpq says to `e`, as one line; `hint`, which may be NULL, says what to do. */
void pq_say(err *e, const char *where, const char *text, const char *hint);
/* Waits until the connection has one of `events`, POLLIN and POLLOUT, or `stop_fd` can be read. */
MUST_CHECK pq_result pq_wait(pq *c, short events, int64_t deadline, err *e);
/* Connects `c` to the first server of `t` that does. */
MUST_CHECK pq_result pq_connect(pq *c, const pq_target *t, err *e);

#endif
