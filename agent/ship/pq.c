/* SPDX-License-Identifier: MIT */
#include "ship/pq.h"

#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/text.h"
#include "ship/pq_impl.h"

/* ---- libpq */

pq_library pq_lib;
static bool lib_loaded;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void load(void)
{
	void *so = dlopen("libpq.so.5", RTLD_NOW | RTLD_LOCAL);
	void *found;

	if (!so)
		return;
	lib_loaded = true;
#define PQ_FIND(name) \
	found = dlsym(so, #name); \
	memcpy(&pq_lib.name, &found, sizeof found); \
	lib_loaded = lib_loaded && found;
	PQ_FUNCTIONS(PQ_FIND)
}

/* ---- a connection */

void pq_say(err *e, const char *where, const char *text, const char *hint)
{
	char line[300], advice[201];

	text_plain(line, sizeof line, text);
	for (size_t len = strlen(line); len && line[len - 1] == ' ';)
		line[--len] = '\0';
	text_plain(advice, sizeof advice, hint ? hint : "");
	err_set(e, "PostgreSQL at %.80s: %s%s%s", where, line, *advice ? "; " : "", advice);
}

static pq_result lost(pq *c, err *e)
{
	const char *text = pq_lib.PQerrorMessage(c->conn);

	pq_say(e, c->where, *text ? text : "the connection broke", NULL);
	return PQ_LOST;
}

enum { WAITING_MS = 200 }; /* between two calls of pq_settings.waiting */

pq_result pq_wait(pq *c, short events, int64_t deadline, err *e)
{
	for (;;) {
		struct pollfd fds[2] = {
			{ .fd = pq_lib.PQsocket(c->conn), .events = events },
			{ .fd = c->stop_fd, .events = POLLIN },
		};
		int64_t left = deadline - clock_mono_ms();
		bool looks = c->waiting && left > WAITING_MS;
		if (fds[0].fd < 0)
			return lost(c, e);
		int n = left > 0 ? poll(fds, 2, looks ? WAITING_MS : (int)left) : 0;
		if (looks && n == 0)
			c->waiting(c->waiting_ctx);
		if ((n < 0 && errno == EINTR) || (looks && n == 0))
			continue;
		if (n > 0 && fds[1].revents) {
			err_set(e, "stopped");
			return PQ_STOPPED;
		}
		if (n > 0)
			return PQ_OK;
		pq_say(e, c->where, "no answer in time", NULL);
		return PQ_LOST;
	}
}

/* Sends what libpq has kept. */
static pq_result flush(pq *c, int64_t deadline, err *e)
{
	int kept;

	while ((kept = pq_lib.PQflush(c->conn)) > 0) {
		pq_result result = pq_wait(c, POLLIN | POLLOUT, deadline, e);
		if (result != PQ_OK)
			return result;
		/* A server that has something to say may read nothing until that is read. */
		if (!pq_lib.PQconsumeInput(c->conn))
			return lost(c, e);
	}
	return kept < 0 ? lost(c, e) : PQ_OK;
}

/* Sets `*r` to the next result of the statement; NULL: there is no more. */
static pq_result next(pq *c, int64_t deadline, PGresult **r, err *e)
{
	*r = NULL;
	while (pq_lib.PQisBusy(c->conn)) {
		pq_result result = pq_wait(c, POLLIN, deadline, e);
		if (result != PQ_OK)
			return result;
		if (!pq_lib.PQconsumeInput(c->conn))
			return lost(c, e);
	}
	*r = pq_lib.PQgetResult(c->conn);
	return PQ_OK;
}

/* Returns what a person can do about a statement that failed with `state`; `hint`: what the server says about that. */
static const char *todo_of(const char *state, const char *hint)
{
	static const struct {
		const char *state, *todo;
	} known[] = {
		/* There is no such schema, table, function, role or column. */
		{ "3F000", "`spoa-llm fleet init` makes the schema, or brings it to this version" },
		{ "42P01", "`spoa-llm fleet init` makes the schema, or brings it to this version" },
		{ "42883", "`spoa-llm fleet init` makes the schema, or brings it to this version" },
		{ "42704", "`spoa-llm fleet init` makes the schema, or brings it to this version" },
		{ "42703",
		  "the schema is of an older version: `spoa-llm fleet init` of this program brings it forward" },
		/* A right is missing. */
		{ "42501",
		  "the owner of the schema may do all, the role of a gateway sends its rows, and a reader reads "
		  "those of all gateways" },
	};

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (strcmp(state, known[i].state) == 0)
			return known[i].todo;
	return hint;
}

/* Notes why the statement failed. The message's DETAIL and CONTEXT are left out, because they quote rows. */
static pq_result failed(pq *c, const PGresult *r, err *e)
{
	const char *state = pq_lib.PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *text = pq_lib.PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	if (!state || pq_lib.PQstatus(c->conn) == CONNECTION_BAD)
		return lost(c, e);
	const char *hint = pq_lib.PQresultErrorField(r, PG_DIAG_MESSAGE_HINT);
	hint = todo_of(state, hint);
	snprintf(c->sqlstate, sizeof c->sqlstate, "%s", state);
	pq_say(e, c->where, text ? text : "the statement failed", hint);
	return PQ_FAILED;
}

typedef struct reading {
	bool (*each)(void *ctx, const pq_rows *row);
	void *ctx;
	PGresult **last;
} reading;

/* Asks the server to end the statement that runs, by a connection of its own. */
static void cancel(pq *c)
{
	PGcancel *way = pq_lib.PQgetCancel(c->conn);
	char ignored[256];

	if (way)
		pq_lib.PQcancel(way, ignored, sizeof ignored);
	pq_lib.PQfreeCancel(way);
}

/* Reads the results of the statement that was sent. `e` keeps the first failure. */
static pq_result finish(pq *c, const reading *to, err *e)
{
	int64_t deadline = clock_mono_ms() + c->statement_ms;
	bool more = true;
	PGresult *r;
	err later;

	pq_result result = flush(c, deadline, e);
	while (result == PQ_OK || result == PQ_FAILED) {
		pq_result got = next(c, deadline, &r, result == PQ_OK ? e : &later);
		if (got == PQ_STOPPED && c->waiting)
			cancel(c);
		if (got != PQ_OK)
			return got;
		if (!r)
			break;
		switch ((int)pq_lib.PQresultStatus(r)) {
		case PGRES_SINGLE_TUPLE:
			if (more && to->each && !to->each(to->ctx, (const pq_rows *)r)) {
				more = false;
				cancel(c);
			}
			deadline = clock_mono_ms() + c->statement_ms;
			break;
		case PGRES_COMMAND_OK:
		case PGRES_TUPLES_OK:
		case PGRES_EMPTY_QUERY:
			if (to->last) {
				pq_lib.PQclear(*to->last);
				*to->last = r;
				r = NULL;
			}
			break;
		case PGRES_COPY_IN: /* pq_copy_begin() */
			pq_lib.PQclear(r);
			return result;
		default:
			if (result == PQ_OK && more) /* else it is what cancel() asked for */
				result = failed(c, r, e);
		}
		pq_lib.PQclear(r);
	}
	if (result != PQ_OK && to->last) {
		pq_lib.PQclear(*to->last);
		*to->last = NULL;
	}
	return result;
}

static pq_result send(pq *c, const char *sql, size_t count, const char *const *values, err *e)
{
	assert(count <= PQ_PARAMETERS_MAX);
	return pq_lib.PQsendQueryParams(c->conn, sql, (int)count, NULL, values, NULL, NULL, 0) ? PQ_OK : lost(c, e);
}

pq_result pq_run_beside(pq *c, const char *sql, size_t count, const char *const *values, pq_rows **rows,
			void (*meanwhile)(void *ctx), void *ctx, err *e)
{
	PGresult *last = NULL;

	if (rows)
		*rows = NULL;
	pq_result result = send(c, sql, count, values, e);
	if (result == PQ_OK && meanwhile) {
		result = flush(c, clock_mono_ms() + c->statement_ms, e);
		meanwhile(ctx);
	}
	if (result == PQ_OK)
		result = finish(c, &(reading){ .last = &last }, e);
	if (result == PQ_OK && rows)
		*rows = (pq_rows *)last;
	else
		pq_lib.PQclear(last);
	return result;
}

pq_result pq_run(pq *c, const char *sql, size_t count, const char *const *values, pq_rows **rows, err *e)
{
	return pq_run_beside(c, sql, count, values, rows, NULL, NULL, e);
}

pq_result pq_script(pq *c, const char *sql, err *e)
{
	return pq_lib.PQsendQuery(c->conn, sql) ? finish(c, &(reading){ .each = NULL }, e) : lost(c, e);
}

pq_result pq_each(pq *c, const char *sql, size_t count, const char *const *values,
		  bool (*each)(void *ctx, const pq_rows *row), void *ctx, err *e)
{
	pq_result result = send(c, sql, count, values, e);

	if (result == PQ_OK && !pq_lib.PQsetSingleRowMode(c->conn))
		return lost(c, e);
	return result == PQ_OK ? finish(c, &(reading){ .each = each, .ctx = ctx }, e) : result;
}

pq_result pq_copy_begin(pq *c, const char *sql, err *e)
{
	return pq_script(c, sql, e);
}

pq_result pq_copy_put(pq *c, const char *bytes, size_t len, err *e)
{
	int64_t deadline = clock_mono_ms() + c->statement_ms;
	int put;

	while ((put = pq_lib.PQputCopyData(c->conn, bytes, (int)len)) == 0) {
		pq_result result = flush(c, deadline, e);
		if (result != PQ_OK)
			return result;
	}
	/* Not a failure of the connection: the server has ended the COPY, and pq_copy_end() reads why. */
	return put < 0 && pq_lib.PQstatus(c->conn) == CONNECTION_BAD ? lost(c, e) : PQ_OK;
}

pq_result pq_copy_end(pq *c, err *e)
{
	int64_t deadline = clock_mono_ms() + c->statement_ms;
	int put;

	while ((put = pq_lib.PQputCopyEnd(c->conn, NULL)) == 0) {
		pq_result result = flush(c, deadline, e);
		if (result != PQ_OK)
			return result;
	}
	if (put < 0 && pq_lib.PQstatus(c->conn) == CONNECTION_BAD)
		return lost(c, e);
	return finish(c, &(reading){ .each = NULL }, e);
}

/* ---- rows */

static const PGresult *result_of(const pq_rows *r)
{
	return (const PGresult *)(const void *)r;
}

void pq_rows_free(pq_rows *r)
{
	if (r)
		pq_lib.PQclear((PGresult *)r);
}

size_t pq_rows_count(const pq_rows *r)
{
	return (size_t)pq_lib.PQntuples(result_of(r));
}

int64_t pq_rows_touched(const pq_rows *r)
{
	/* PQcmdTuples() does not change what it takes. */
	union {
		const PGresult *in;
		PGresult *out;
	} same = { .in = result_of(r) };
	return strtoll(pq_lib.PQcmdTuples(same.out), NULL, 10);
}

const char *pq_text(const pq_rows *r, size_t row, size_t column)
{
	/* NULL: the server sent fewer rows or columns than it was asked for. */
	const char *value = pq_lib.PQgetvalue(result_of(r), (int)row, (int)column);
	return value ? value : "";
}

int64_t pq_int(const pq_rows *r, size_t row, size_t column)
{
	return strtoll(pq_text(r, row, column), NULL, 10);
}

bool pq_is_null(const pq_rows *r, size_t row, size_t column)
{
	return pq_lib.PQgetisnull(result_of(r), (int)row, (int)column);
}

const char *pq_sqlstate(const pq *c)
{
	return c->sqlstate;
}

bool pq_read_only(const pq *c)
{
	return strcmp(c->sqlstate, "25006") == 0; /* read_only_sql_transaction */
}

/* ---- opening and closing */

const char *pq_where(const pq *c)
{
	return c->where;
}

/* Sets what a session needs. */
static pq_result prepare(pq *c, err *e)
{
	char sql[640];

	snprintf(
		sql, sizeof sql,
		"SET statement_timeout = %lld; SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = '%ds';"
		"SET client_connection_check_interval = '10s'; SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10;"
		"SET tcp_keepalives_count = 3; SET tcp_user_timeout = 60000; SET search_path = pg_catalog, pg_temp;"
		"SET timezone = 'UTC'; SET datestyle = 'ISO'; SET standard_conforming_strings = on;"
		/* To compile a long list of sums takes longer than to add them up. */
		"SET jit = off",
		(long long)c->statement_ms - 1000, (long long)c->statement_ms / 2, PQ_IDLE_S);
	return pq_script(c, sql, e);
}

/* Says why libpq does not take the URI. Its `problem` may quote all of it, so of that only the name of a parameter that
 * this libpq does not know is passed on. */
static void bad_uri(const char *problem, err *e)
{
	static const char unknown[] = "invalid URI query parameter: \"";
	const char *name = problem ? strstr(problem, unknown) : NULL;
	char plain[41];

	text_plain(plain, sizeof plain, name ? name + sizeof unknown - 1 : "");
	plain[strcspn(plain, "\"\n")] = '\0';
	if (*plain)
		err_set(e, "fleet_uri: libpq %d knows no parameter \"%s\": leave it out, or install a newer libpq5",
			pq_lib.PQlibVersion() / 10000, plain);
	else
		err_set(e, "fleet_uri: it is no URI of PostgreSQL, which is postgresql://USER@HOST:PORT/DATABASE");
}

pq_result pq_open(const pq_settings *s, pq **out, err *e)
{
	PQconninfoOption *options = NULL;
	pq_target target = { .count = 0 };
	char *problem = NULL;
	pq_result result = PQ_SETTING;

	*out = NULL;
	pthread_once(&lib_once, load);
	if (!lib_loaded) {
		err_set(e, "libpq.so.5, by which PostgreSQL is reached, is not here: install Debian's package libpq5");
		return PQ_SETTING;
	}
	pq *c = calloc(1, sizeof *c);
	if (!c) {
		err_memory(e);
		return PQ_SETTING;
	}
	c->stop_fd = s->stop_fd;
	c->statement_ms = (s->statement_s ? s->statement_s : PQ_STATEMENT_S) * 1000LL;
	c->waiting = s->waiting;
	c->waiting_ctx = s->waiting_ctx;
	options = pq_lib.PQconninfoParse(s->uri, &problem);
	if (!options)
		bad_uri(problem, e);
	else if (pq_target_init(&target, options, s, e))
		result = pq_connect(c, &target, e);
	if (result == PQ_OK)
		result = prepare(c, e);
	pq_target_deinit(&target);
	pq_lib.PQconninfoFree(options);
	pq_lib.PQfreemem(problem);
	if (result == PQ_FAILED) /* a setting that this server does not have */
		result = PQ_REFUSED;
	if (result == PQ_OK)
		*out = c;
	else
		pq_close(c);
	return result;
}

void pq_close(pq *c)
{
	if (!c)
		return;
	if (c->conn)
		pq_lib.PQfinish(c->conn);
	free(c);
}

/* ---- roles */

char *pq_verifier(pq *c, const char *role, const char *password, err *e)
{
	char *made = pq_lib.PQencryptPasswordConn(c->conn, password, role, "scram-sha-256");
	char *copy = made ? strdup(made) : NULL;

	if (!made)
		pq_say(e, c->where, pq_lib.PQerrorMessage(c->conn), NULL);
	else if (!copy)
		err_memory(e);
	pq_lib.PQfreemem(made);
	return copy;
}

void pq_quote(char *out, const char *name)
{
	*out++ = '"';
	for (; *name; name++) {
		if (*name == '"')
			*out++ = '"';
		*out++ = *name;
	}
	*out++ = '"';
	*out = '\0';
}
