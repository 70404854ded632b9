/* SPDX-License-Identifier: MIT
 *
 * Connecting to one server of several. libpq alone would try them in a call that blocks: here each address of each host
 * is tried by itself, without blocking, so that a process that has to stop need not wait for a server that is silent.
 * Only the lookup of a name blocks. */
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>

#include "base/clock.h"
#include "ship/pq_impl.h"

enum { CONNECT_LEAST_S = 2, CONNECT_MOST_S = 600 };

/* A server to try. `address` "": `host` is the directory of a unix socket. */
typedef struct server {
	char host[256], address[64], port[32];
} server;

typedef struct connecting {
	pq *c;
	const pq_target *t;
	const char *attributes; /* target_session_attrs */
	int64_t patience_ms;    /* for each server */
	bool refused;           /* a server was there and did not let this role in */
	err *e;
} connecting;

/* Copies the `i`th element of a list with commas. False: it has no such element, or one that is too long. */
static bool element(char *out, size_t room, const char *list, size_t i)
{
	for (; i; i--) {
		list += strcspn(list, ",");
		if (!*list++)
			return false;
	}
	size_t len = strcspn(list, ",");
	if (len >= room)
		return false;
	memcpy(out, list, len);
	out[len] = '\0';
	return true;
}

static size_t count_of(const char *list)
{
	size_t count = 1;

	for (; *list; list++)
		count += *list == ',';
	return count;
}

/* Returns the SQLSTATE that follows the colon at `at`; empty: none does. */
static slice state_at(const char *at)
{
	const char *state = at + 1 + strspn(at + 1, " ");
	size_t len = strcspn(state, ": ");

	return len == 5 && state[len] == ':' ? slice_of(state, len) : slice_of(state, 0);
}

/* True if `text` has the SQLSTATE of a server that is there, and lets this role in neither now nor later: of class 28
 * if something is wrong with the role or its password, 3D000 if there is no such database, 42501 if a right is missing.
 * An error of a server comes as "FATAL:  28P01: ...", where the first word may be of another language. Sets `*todo` to
 * what a person can do about it. */
static bool is_refusal(const char *text, const char **todo)
{
	static const struct {
		const char *state, *todo;
	} states[] = {
		{ "28P01",
		  "is this the password of this role? `spoa-llm fleet add NAME --replace` gives a gateway or a "
		  "reader another one" },
		{ "28", "see that pg_hba.conf there lets this role in from this host by a password (scram-sha-256)" },
		{ "3D000", "see the database in fleet_uri: postgresql://USER@HOST:PORT/DATABASE" },
		{ "42501", "`spoa-llm fleet init` gives gateways and readers the right to connect to its database" },
	};

	for (const char *at = strchr(text, ':'); at; at = strchr(at + 1, ':')) {
		slice state = state_at(at);
		for (size_t i = 0; state.len && i < sizeof states / sizeof states[0]; i++)
			if (slice_starts(state, slice_cstr(states[i].state))) {
				*todo = states[i].todo;
				return true;
			}
	}
	return false;
}

/* Returns what a person can do about a failure of TLS, which libpq tells by its text alone; NULL: it is none. The text
 * is English in every environment, because this program sets no locale. */
static const char *tls_todo(const char *text)
{
	if (strstr(text, "does not support SSL"))
		return "turn on TLS there (ssl = on): without it nothing is sent beyond this host";
	if (strstr(text, "certificate"))
		return "sslrootcert=FILE in fleet_uri names the authority of the server's certificate; HOST is to be a "
		       "name in it";
	return NULL;
}

/* Notes why a server was not connected to, after what the servers before it said. */
static void note(connecting *k, const char *text, const char *todo)
{
	char line[400]; /* the first: what follows says where in PostgreSQL's code that was */
	size_t len = strlen(k->e->text);
	err one = { .kind = ERR_OTHER };

	snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
	pq_say(&one, k->c->where, line, todo);
	if (len)
		snprintf(k->e->text + len, sizeof k->e->text - len, "; %s", one.text);
	else
		*k->e = one;
}

/* Has libpq connect to `s`, as far as `deadline`. */
static pq_result drive(connecting *k, int64_t deadline)
{
	pq *c = k->c;
	PostgresPollingStatusType next = PGRES_POLLING_WRITING;
	err e = { .kind = ERR_OTHER };

	while (pq_lib.PQstatus(c->conn) != CONNECTION_BAD && next != PGRES_POLLING_OK) {
		pq_result result = pq_wait(c, next == PGRES_POLLING_WRITING ? POLLOUT : POLLIN, deadline, &e);
		if (result == PQ_STOPPED)
			*k->e = e;
		else if (result != PQ_OK)
			note(k, "no answer in time", NULL);
		if (result != PQ_OK)
			return result;
		next = pq_lib.PQconnectPoll(c->conn);
	}
	if (next == PGRES_POLLING_OK && pq_lib.PQsetnonblocking(c->conn, 1) == 0)
		return PQ_OK;
	const char *text = pq_lib.PQerrorMessage(c->conn), *todo = tls_todo(text);
	bool refused = is_refusal(text, &todo) || todo;
	if (pq_lib.PQconnectionNeedsPassword(c->conn)) {
		refused = true;
		todo = "fleet_password_file names the file with the password of this role";
	}
	k->refused = k->refused || refused;
	note(k, text, todo);
	return PQ_LOST;
}

static void ignore_notice(void *ctx, const char *text)
{
	(void)ctx;
	(void)text;
}

static pq_result try_server(connecting *k, const server *s)
{
	const struct {
		const char *name, *value;
	} mine[] = {
		{ "host", s->host },
		{ "hostaddr", s->address },
		{ "port", s->port },
		{ "target_session_attrs", k->attributes },
	};
	enum { MINE = sizeof mine / sizeof mine[0] };
	const char *names[PQ_TARGET_MAX + MINE + 1] = { NULL }, *values[PQ_TARGET_MAX + MINE + 1] = { NULL };
	size_t count = k->t->count;

	memcpy(names, k->t->names, count * sizeof *names);
	memcpy(values, k->t->values, count * sizeof *values);
	/* Of several values of a parameter libpq takes the last one, and it passes over empty ones. */
	for (size_t i = 0; i < count; i++)
		for (size_t m = 0; m < MINE; m++)
			if (strcmp(names[i], mine[m].name) == 0)
				values[i] = "";
	for (size_t m = 0; m < MINE; m++) {
		names[count] = mine[m].name;
		values[count++] = mine[m].value;
	}
	snprintf(k->c->where, sizeof k->c->where, "%s:%s", *s->host ? s->host : s->address, s->port);
	k->c->conn = pq_lib.PQconnectStartParams(names, values, 0);
	if (!k->c->conn) {
		err_memory(k->e);
		return PQ_LOST;
	}
	pq_lib.PQsetNoticeProcessor(k->c->conn, ignore_notice, NULL);
	pq_lib.PQsetErrorVerbosity(k->c->conn, PQERRORS_VERBOSE); /* for is_refusal() */
	pq_result result = drive(k, clock_mono_ms() + k->patience_ms);
	if (result == PQ_OK) {
		pq_lib.PQsetErrorVerbosity(k->c->conn, PQERRORS_DEFAULT);
		return PQ_OK;
	}
	pq_lib.PQfinish(k->c->conn);
	k->c->conn = NULL;
	return result;
}

/* Tries each address that the name `s->host` has. */
static pq_result try_name(connecting *k, server *s)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	struct addrinfo *found = NULL;
	pq_result result = PQ_LOST;

	int rc = getaddrinfo(s->host, NULL, &hints, &found);
	if (rc != 0) {
		snprintf(k->c->where, sizeof k->c->where, "%s:%s", s->host, s->port);
		note(k, rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc), NULL);
		return PQ_LOST;
	}
	for (const struct addrinfo *a = found; a && result == PQ_LOST; a = a->ai_next)
		if (getnameinfo(a->ai_addr, a->ai_addrlen, s->address, sizeof s->address, NULL, 0, NI_NUMERICHOST) == 0)
			result = try_server(k, s);
	freeaddrinfo(found);
	return result;
}

/* Tries one server after the other. */
static pq_result try_all(connecting *k)
{
	const char *hosts = pq_target_value(k->t, "host"), *addresses = pq_target_value(k->t, "hostaddr");
	const char *ports = pq_target_value(k->t, "port");
	size_t count = count_of(*addresses ? addresses : hosts), ports_count = count_of(ports);
	pq_result result = PQ_LOST;

	if ((*addresses && count_of(hosts) != count && *hosts) || (ports_count != count && ports_count != 1)) {
		err_set(k->e, "fleet_uri: it names %zu hosts, %zu addresses and %zu ports", count_of(hosts),
			count_of(addresses), ports_count);
		return PQ_SETTING;
	}
	for (size_t i = 0; i < count && result == PQ_LOST; i++) {
		server s = { .host = "" };
		if ((*hosts && !element(s.host, sizeof s.host, hosts, i)) ||
		    !element(s.port, sizeof s.port, ports, ports_count > 1 ? i : 0) ||
		    (*addresses && !element(s.address, sizeof s.address, addresses, i))) {
			err_set(k->e, "fleet_uri: the name of a host, an address or a port is too long");
			return PQ_SETTING;
		}
		if (!*s.port)
			snprintf(s.port, sizeof s.port, PQ_PORT);
		if (!*s.host && !*s.address)
			snprintf(s.host, sizeof s.host, PQ_SOCKET_DIR);
		result = *s.address || *s.host == '/' || *s.host == '@' ? try_server(k, &s) : try_name(k, &s);
	}
	return result;
}

pq_result pq_connect(pq *c, const pq_target *t, err *e)
{
	connecting k = { .c = c, .t = t, .attributes = pq_target_value(t, "target_session_attrs"), .e = e };
	bool prefers = strcmp(k.attributes, "prefer-standby") == 0;
	long seconds = strtol(pq_target_value(t, "connect_timeout"), NULL, 10);

	if (seconds < CONNECT_LEAST_S || seconds > CONNECT_MOST_S)
		seconds = PQ_CONNECT_S;
	k.patience_ms = seconds * 1000;
	*e = (err){ .kind = ERR_OTHER };
	if (prefers)
		k.attributes = "standby";
	pq_result result = try_all(&k);
	if (prefers && result == PQ_LOST) {
		k.attributes = "any";
		*e = (err){ .kind = ERR_OTHER };
		result = try_all(&k);
	}
	return result == PQ_LOST && k.refused ? PQ_REFUSED : result;
}
