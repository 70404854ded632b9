/* SPDX-License-Identifier: MIT
 *
 * A connection to PostgreSQL by libpq, which is loaded when the first connection is opened, so that a process that
 * opens none never maps it. Each call waits for a limited time, and no longer than until `stop_fd` can be read.
 *
 * A connection is for one thread at a time. After PQ_LOST and PQ_STOPPED it is of no more use but for pq_close(). */
#ifndef SHIP_PQ_H
#define SHIP_PQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/must_check.h"

typedef enum pq_result {
	PQ_OK,
	PQ_LOST,    /* no server answers, or the connection broke or took too long: open another one later */
	PQ_REFUSED, /* the server does not let this role in, or is not the one of the URI: a person has to look at it */
	PQ_FAILED,  /* the server refuses the statement: pq_sqlstate() tells why */
	PQ_STOPPED, /* `stop_fd` can be read */
	PQ_SETTING, /* the URI, the password's file or libpq cannot be used */
} pq_result;

enum {
	PQ_CONNECT_S = 10,      /* for each address of each host of the URI */
	PQ_STATEMENT_S = 60,    /* for a statement; the server gives up a second earlier */
	PQ_IDLE_S = 60,         /* after which the server ends a transaction in which nothing happens */
	PQ_PARAMETERS_MAX = 16, /* of a statement */
};

typedef struct pq pq;
typedef struct pq_rows pq_rows;

typedef struct pq_settings {
	const char *uri;           /* without a password */
	const char *password_file; /* "": none; libpq looks for ~/.pgpass then */
	bool write;                /* only a server that takes writes will do */
	int stop_fd;               /* -1: none */
	int statement_s;           /* 0: PQ_STATEMENT_S */
	/* Called now and then while a statement is waited for, for a person who waits, too: the server is asked to end
	 * the statement when `stop_fd` can be read. NULL: for a process that has to end at once. */
	void (*waiting)(void *ctx);
	void *waiting_ctx;
} pq_settings;

/* Opens a connection. Anything but PQ_OK: `e` says why and what to do, and `*out` is NULL. */
MUST_CHECK pq_result pq_open(const pq_settings *s, pq **out, err *e);
/* Closes the connection, which ends an open transaction without effect. `c` may be NULL. */
void pq_close(pq *c);
/* Returns the host and port to which it is connected, as "db.example:5432". */
const char *pq_where(const pq *c);

/* Runs the statement `sql` with `count` parameters as texts, NULL for the value NULL. `rows` NULL: its rows are not
 * wanted; else free them by pq_rows_free(), which takes NULL too. */
MUST_CHECK pq_result pq_run(pq *c, const char *sql, size_t count, const char *const *values, pq_rows **rows, err *e);
/* The same, and calls `meanwhile` when the server has the statement and works on it. */
MUST_CHECK pq_result pq_run_beside(pq *c, const char *sql, size_t count, const char *const *values, pq_rows **rows,
				   void (*meanwhile)(void *ctx), void *ctx, err *e);
/* Runs statements without parameters, separated by semicolons, of which nothing is wanted back. */
MUST_CHECK pq_result pq_script(pq *c, const char *sql, err *e);
/* Runs the statement and calls `each` with one row at a time, as it comes, until `each` returns false; then the
 * statement is cancelled, and the result is PQ_OK. */
MUST_CHECK pq_result pq_each(pq *c, const char *sql, size_t count, const char *const *values,
			     bool (*each)(void *ctx, const pq_rows *row), void *ctx, err *e);
/* Begins `sql`, a COPY ... FROM STDIN; gives it bytes; ends it. After PQ_FAILED of any of them the COPY has ended. */
MUST_CHECK pq_result pq_copy_begin(pq *c, const char *sql, err *e);
MUST_CHECK pq_result pq_copy_put(pq *c, const char *bytes, size_t len, err *e);
MUST_CHECK pq_result pq_copy_end(pq *c, err *e);

void pq_rows_free(pq_rows *r);
size_t pq_rows_count(const pq_rows *r);
/* Returns how many rows an INSERT, UPDATE or DELETE has touched. */
int64_t pq_rows_touched(const pq_rows *r);
/* Return a value: "" and 0 for NULL, and for a row or column that the server did not send. A number that does not fit
 * becomes the nearest int64_t. */
const char *pq_text(const pq_rows *r, size_t row, size_t column);
int64_t pq_int(const pq_rows *r, size_t row, size_t column);
bool pq_is_null(const pq_rows *r, size_t row, size_t column);

/* Returns the SQLSTATE of the last PQ_FAILED, five characters; "": the server told none. */
const char *pq_sqlstate(const pq *c);
/* True if the last PQ_FAILED tells that the server is a standby, or that it takes no writes: another host may. */
bool pq_read_only(const pq *c);

/* Makes of `password` what the server stores of it, so that it never has the password itself. NULL: `e` says why. The
 * caller frees the text. */
char *pq_verifier(pq *c, const char *role, const char *password, err *e);
/* Writes `name` with double quotes around it, for a statement. `out` has 2 * strlen(name) + 3 bytes. */
void pq_quote(char *out, const char *name);

#endif
