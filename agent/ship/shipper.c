/* SPDX-License-Identifier: MIT */
#include "ship/shipper.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ship/batch.h"
#include "ship/fleet_schema.h"
#include "ship/fleet_sql.h"
#include "ship/spent.h"

enum {
	LOOK_MS = 500,  /* between two looks whether rows have come */
	FOLD_MS = 1000, /* for sums by all labels, each time */
	FOLD_EVERY_MS = 10 * 1000,
	SEEN_MS = 10 * 1000, /* between two signs of life in PostgreSQL, with which the gateways are compared */
	RETRY_MS = 1000,     /* after the first failure; twice as long after each further one */
	RETRY_MOST_MS = 30 * 1000,
	MONTHS = 64, /* whose partitions this session has seen to */
};

typedef struct shipper {
	const shipper_settings *set;
	store *store;
	batch batch, next; /* that is sent; that was read while it was */
	pq *c;
	place at;
	store_id of; /* the ledger that this session ships */
	ship_status status;
	int64_t even_ms; /* when PostgreSQL had all rows last, by the monotonic clock; 0: not yet */
	int64_t seen_ms, folded_ms;
	store_settings told; /* to PostgreSQL, with the last sign of life */
	int64_t retry_ms;
	bool said; /* the failure that lasts was logged */
	spent spent;
	int64_t spent_ms; /* when the budgets are looked at again */
	bool spent_said;  /* a failure of that was logged */
	int64_t months[MONTHS];
	size_t months_count;
} shipper;

const char *ship_state_name(ship_state state)
{
	static const char *const names[] = { "connecting", "refused", "behind", "ok" };
	return names[state];
}

void ship_plain(char *out, size_t room, const char *text)
{
	size_t i = 0;

	for (; i < room - 1 && text[i]; i++)
		out[i] = (char)(text[i] < ' ' || text[i] > '~'    ? '?' :
				text[i] == '"' || text[i] == '\\' ? '\'' :
								    text[i]);
	out[i] = '\0';
}

/* ---- status */

int64_t ship_lag_ms(const ship_status *status)
{
	int64_t lag = status->behind ? clock_mono_ms() - status->since_ms : 0;
	return lag > 0 ? lag : 0;
}

/* Notes which ledger it is now. The position is that of the ledger of this session: of another one nothing is known. */
static void take_identity(shipper *s, const store_id *id)
{
	if (strcmp(id->uuid, s->of.uuid) != 0 || strcmp(id->epoch, s->of.epoch) != 0 || id->sequence < s->at.position)
		s->status.epoch = 0;
	s->status.ledger = *id;
}

/* Reads how far the ledger is ahead of PostgreSQL, and tells the status. */
static void look(shipper *s)
{
	ship_status *is = &s->status;
	int64_t now = clock_mono_ms();
	store_place here;
	store_id id;
	err e;

	if (s->store && store_identity(s->store, &id, &e) == STORE_OK)
		take_identity(s, &id);
	if (s->store && store_at(s->store, is->position, "", &here, &e) == STORE_OK) {
		bool even = here.last <= is->position;
		if (even)
			s->even_ms = now;
		is->behind = even ? 0 : is->ledger.sequence - is->position;
		/* A process that never had PostgreSQL up to date goes by the row's own time. */
		is->since_ms = s->even_ms ? s->even_ms : now - (clock_wall_ms() - here.next_ms);
	}
	s->set->tell(s->set->ctx, is);
}

static void set_state(shipper *s, ship_state state, const char *problem)
{
	ship_status *is = &s->status;

	is->state = state;
	snprintf(is->problem, sizeof is->problem, "%s", problem);
	look(s);
}

static bool stopping(const shipper *s)
{
	struct pollfd fd = { .fd = s->set->stop_fd, .events = POLLIN };
	return poll(&fd, 1, 0) > 0;
}

/* Waits, and tells the status once a second. False: the process has to stop. */
static bool pause_ms(shipper *s, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	struct pollfd fd = { .fd = s->set->stop_fd, .events = POLLIN };

	for (int64_t left = ms; left > 0; left = until - clock_mono_ms()) {
		if (poll(&fd, 1, left < 1000 ? (int)left : 1000) > 0)
			return false;
		look(s);
	}
	return !stopping(s);
}

/* ---- a session */

/* A failure that ends the session. */
static pq_result fail(shipper *s, pq_result result, const err *e)
{
	if (result == PQ_STOPPED)
		return result;
	bool refused = result == PQ_REFUSED || result == PQ_SETTING;
	if (result == PQ_FAILED && s->c) {
		/* The schema's own refusals, missing rights, and what is not there: time alone does not mend them. */
		const char *state = pq_sqlstate(s->c);
		refused = strncmp(state, "SL", 2) == 0 || strncmp(state, "42", 2) == 0 ||
			  strncmp(state, "3F", 2) == 0 || strncmp(state, "28", 2) == 0 || batch_is_rows_fault(state);
	}
	if (!s->said) {
		if (refused)
			log_event(ship_refused, LOG_C("problem", e->text));
		else
			log_event(ship_waits, LOG_C("problem", e->text), LOG_C("instead", "the ledger keeps the rows"));
	}
	s->said = true;
	set_state(s, refused ? SHIP_REFUSED : SHIP_CONNECTING, e->text);
	return result;
}

static void take_place(place *at, const pq_rows *row)
{
	snprintf(at->no, sizeof at->no, "%s", pq_text(row, 0, 0));
	at->epoch = pq_int(row, 0, 1);
	at->position = pq_int(row, 0, 2);
	snprintf(at->id, sizeof at->id, "%s", pq_text(row, 0, 3));
	at->time_ms = pq_int(row, 0, 4);
}

/* True if the ledger is another copy than the one whose rows PostgreSQL has up to `at`: some of these rows are gone, or
 * other rows have their sequences. */
static bool is_other_copy(const place *at, const store_id *id, const char *known_epoch, const store_place *here)
{
	char there[RECORD_ID_MAX + 1];

	if (strcmp(known_epoch, id->epoch) != 0)
		return true;
	if (at->position == 0)
		return false;
	batch_id(there, here->id);
	if (id->sequence < at->position || (*there && strcmp(there, at->id) != 0))
		return true;
	if (*there)
		return false;
	/* No row has this sequence any more. In the same copy its row has changed, and so has a higher sequence, or was
	 * pruned. */
	return here->of_id ? here->of_id < at->position : at->time_ms >= here->pruned_ms;
}

/* Begins at the first row again if the ledger is another copy. */
static pq_result check_copy(shipper *s, const char *known_epoch, err *e)
{
	const store_id *id = &s->status.ledger;
	char epoch[24];
	const char *values[] = { s->at.no, id->epoch, epoch };
	store_place here;
	pq_rows *rows = NULL;

	if (store_at(s->store, s->at.position, s->at.id, &here, e) != STORE_OK)
		return PQ_LOST;
	if (!is_other_copy(&s->at, id, known_epoch, &here))
		return PQ_OK;
	snprintf(epoch, sizeof epoch, "%" PRId64, s->at.epoch);
	pq_result result = pq_run(s->c,
				  "UPDATE spoa_llm.gateways SET epoch = epoch + 1, position = 0, position_id = '',"
				  " position_ms = 0, ledger_epoch = $2 WHERE no = $1::int AND epoch = $3::int"
				  " RETURNING no, epoch, position, position_id, position_ms",
				  3, values, &rows, e);
	if (result != PQ_OK)
		return result;
	if (pq_rows_count(rows) == 1) {
		log_event(ship_epoch, LOG_I("epoch", pq_int(rows, 0, 1)), LOG_I("position", s->at.position));
		take_place(&s->at, rows);
	} else {
		err_set(e, "another process has written for this gateway");
		result = PQ_LOST;
	}
	pq_rows_free(rows);
	return result;
}

/* Takes the lock of this gateway for the session. */
static pq_result lock_gateway(shipper *s, err *e)
{
	const char *values[] = { s->at.no };
	pq_rows *rows = NULL;

	pq_result result = pq_run(
		s->c,
		"SELECT pg_try_advisory_lock(" FLEET_LOCK ", $1::int), coalesce(max(coalesce(host(a.client_addr),"
		" 'the same host')) FILTER (WHERE a.usename = session_user), 'an unknown host'),"
		" coalesce(bool_and(a.usename <> session_user), false)"
		" FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory'"
		" AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
		" AND l.classid = " FLEET_LOCK
		" AND l.objid = $1::int::oid AND l.granted AND l.pid <> pg_backend_pid()",
		1, values, &rows, e);
	if (result != PQ_OK)
		return result;
	/* Another role may take this lock, to keep this gateway out. It keeps two shippers from taking turns, and no
	 * more: each transaction takes the gateway's row, which is this role's alone. */
	if (*pq_text(rows, 0, 0) != 't' && *pq_text(rows, 0, 2) != 't') {
		err_set(e,
			"another `spoa-llm ship` writes for the gateway %s, from %s; if a copy of this ledger is used "
			"there, give one of the two a UUID of its own (docs/fleet.md)",
			s->set->name, pq_text(rows, 0, 1));
		result = PQ_REFUSED;
	}
	pq_rows_free(rows);
	return result;
}

/* The server ends a session of which it hears nothing: one whose host is gone would keep its successor out. A commit is
 * on the disk when it is told, because the ledger removes what it was told. */
#define SESSION \
	"SET idle_session_timeout = '30s';" \
	"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"

/* Connects, registers this gateway, and reads its epoch and position. */
static pq_result begin(shipper *s, err *e)
{
	char schema[24], known_epoch[64];
	const store_id *id = &s->status.ledger;
	const char *values[] = { id->uuid, s->set->name, id->epoch, s->set->version, schema };
	pq_rows *rows = NULL;

	snprintf(schema, sizeof schema, "%d", FLEET_SCHEMA_VERSION);
	pq_result result = pq_open(&s->set->server, &s->c, e);
	if (result == PQ_OK)
		result = pq_run(s->c,
				"SELECT no, epoch, position, position_id, position_ms, ledger_epoch"
				" FROM spoa_llm.register($1::uuid, $2, $3, $4, $5::int)",
				5, values, &rows, e);
	if (result != PQ_OK)
		return result;
	take_place(&s->at, rows);
	snprintf(known_epoch, sizeof known_epoch, "%s", pq_text(rows, 0, 5));
	pq_rows_free(rows);
	s->months_count = 0;
	s->seen_ms = s->folded_ms = INT64_MIN / 2;
	s->next.after = -1;
	spent_begin(&s->spent);
	result = pq_script(s->c, SESSION, e);
	if (result == PQ_OK)
		result = lock_gateway(s, e);
	if (result == PQ_OK)
		result = check_copy(s, known_epoch, e);
	return result == PQ_OK ? pq_script(s->c, fleet_statements()->stage, e) : result;
}

/* Sees to it that the months of the batch have partitions. */
static pq_result make_months(shipper *s, err *e)
{
	for (size_t i = 0; i < s->batch.count; i++) {
		int64_t day = s->batch.rows[i].time_ms / DAY_MS;
		size_t k = 0;
		/* By the day, because that tells whether a month is known without a calendar. */
		while (k < s->months_count && s->months[k] != day)
			k++;
		if (k < s->months_count)
			continue;
		s->months[s->months_count < MONTHS ? s->months_count++ : (size_t)day % MONTHS] = day;
		char text[24];
		const char *value = text;
		snprintf(text, sizeof text, "%" PRId64, s->batch.rows[i].time_ms);
		pq_result result = pq_run(s->c, "SELECT spoa_llm.ensure_partition($1::bigint)", 1, &value, NULL, e);
		/* Without it, rows go to the default partition. */
		if (result != PQ_OK && (result != PQ_FAILED || strncmp(pq_sqlstate(s->c), "42", 2) == 0))
			return result;
	}
	return PQ_OK;
}

/* Now and then adds what waits of the sums by all labels to them, and makes those of days that are over, for a second
 * at the most. */
static pq_result fold(shipper *s, err *e)
{
	int64_t now = clock_mono_ms();
	pq_result result = PQ_OK;
	bool more = now - s->folded_ms >= FOLD_EVERY_MS;

	while (more && result == PQ_OK && clock_mono_ms() - now < FOLD_MS) {
		pq_rows *rows = NULL;
		result = pq_run(s->c, "SELECT name FROM spoa_llm.fold()", 0, NULL, &rows, e);
		more = result == PQ_OK && pq_rows_count(rows) && !pq_is_null(rows, 0, 0);
		pq_rows_free(rows);
		s->folded_ms = clock_mono_ms();
	}
	return result;
}

/* Tells PostgreSQL now and then that this gateway is there, and asks whether others have other routes or clients; at
 * once if its own have changed. `even`: PostgreSQL has all rows. */
static pq_result compare(shipper *s, bool even, err *e)
{
	const drift was = s->status.drift;
	drift *is = &s->status.drift;
	int64_t now = clock_mono_ms();
	store_settings own;

	if (store_settings_read(s->store, &own, e) != STORE_OK)
		return PQ_LOST;
	bool same = strcmp(own.routes, s->told.routes) == 0 && strcmp(own.clients, s->told.clients) == 0;
	if (same && now - s->seen_ms < SEEN_MS)
		return PQ_OK;
	pq_result result = drift_compare(s->c, &own, even, is, e);
	if (result != PQ_OK)
		return result;
	s->seen_ms = now;
	s->told = own;
	s->status.compared = true;
	if (is->routes + is->clients && !(was.routes + was.clients))
		log_event(ship_drift, LOG_I("gateways", is->gateways), LOG_I("routes", is->routes),
			  LOG_I("clients", is->clients));
	if (was.routes + was.clients && !(is->routes + is->clients))
		log_event(ship_alike, LOG_I("gateways", is->gateways));
	return PQ_OK;
}

/* Reads the rows after those that are being sent. If that fails, step() reads them, and says why. */
static void read_next(void *ctx)
{
	shipper *s = ctx;
	err ignored;

	if (batch_read(&s->next, s->store, s->set->db, s->batch.rows[s->batch.count - 1].sequence, &ignored) !=
	    STORE_OK)
		s->next.after = -1;
}

/* Once a second tells PostgreSQL what was spent here, and the agent what was spent elsewhere. Rows do not wait for what
 * is wrong with it. */
static pq_result tell_spent(shipper *s, err *e)
{
	int64_t now = clock_mono_ms();

	if (now < s->spent_ms)
		return PQ_OK;
	s->spent_ms = now + SPENT_EVERY_MS;
	pq_result result = spent_exchange(&s->spent, s->c, s->at.no, s->store, clock_wall_ms(), e);
	if (result == PQ_OK) {
		spent_tell(&s->spent, s->set->say, s->set->ctx);
		s->spent_said = false;
	} else if (result == PQ_FAILED && !pq_read_only(s->c)) {
		if (!s->spent_said)
			log_event(ship_spent_failed, LOG_C("problem", e->text));
		s->spent_said = true;
		result = PQ_OK;
	}
	return result;
}

/* Sends one batch. Sets `*moved` if PostgreSQL has another epoch or position than this session knows, or if the ledger
 * was replaced: the next session reads them again. */
static pq_result step(shipper *s, bool *moved, err *e)
{
	ship_status *is = &s->status;
	batch_sent sent;
	pq_result result;

	store_id id;

	if (store_identity(s->store, &id, e) != STORE_OK)
		return PQ_LOST;
	take_identity(s, &id);
	*moved = is->epoch == 0;
	if (*moved)
		return PQ_OK;
	result = tell_spent(s, e);
	if (result != PQ_OK)
		return result;
	if (s->next.after == s->at.position) {
		batch read = s->next;
		s->next = s->batch;
		s->batch = read;
	} else if (batch_read(&s->batch, s->store, s->set->db, s->at.position, e) != STORE_OK) {
		return PQ_LOST;
	}
	s->next.after = -1;
	/* After the rows were read, so that they are of this copy. One that took the ledger's place may be as long. */
	store_place here;
	if (store_at(s->store, s->at.position, s->at.id, &here, e) != STORE_OK)
		return PQ_LOST;
	*moved = is_other_copy(&s->at, &id, id.epoch, &here);
	if (*moved) {
		is->epoch = 0; /* the agent is told no position */
		return PQ_OK;
	}
	result = compare(s, !s->batch.count, e);
	/* A shipper that is far behind leaves this to the triggers, which do it when much waits. */
	if (result == PQ_OK && !s->batch.more)
		result = fold(s, e);
	if (result != PQ_OK)
		return result;
	if (!s->batch.count) {
		s->retry_ms = RETRY_MS;
		set_state(s, SHIP_OK, "");
		return pause_ms(s, LOOK_MS) ? PQ_OK : PQ_STOPPED;
	}
	result = make_months(s, e);
	if (result != PQ_OK)
		return result;
	int64_t left = s->batch.more ? is->ledger.sequence - s->batch.rows[s->batch.count - 1].sequence : 0;
	const batch_beside beside = { .behind = left > 0 ? left : 0,
				      .lag_ms = ship_lag_ms(is),
				      .meanwhile = s->batch.more ? read_next : NULL,
				      .ctx = s };
	batch_result done = batch_send(&s->batch, s->c, &s->at, &beside, &sent, &result, e);
	*moved = done == BATCH_MOVED;
	if (s->at.position > is->position)
		s->retry_ms = RETRY_MS;
	is->position = s->at.position;
	is->sent += sent.added + sent.replaced;
	is->rejected += sent.rejected;
	if (done == BATCH_OK)
		set_state(s, SHIP_BEHIND, "");
	return result;
}

/* Ships until the connection breaks, or PostgreSQL refuses something. */
static void session(shipper *s)
{
	err e = { 0 };
	bool moved = false;
	store_result opened = STORE_OK;

	if (!s->store)
		s->store = store_open(s->set->db, false, &opened, &e);
	look(s);
	pq_result result = s->store && store_identity(s->store, &s->status.ledger, &e) == STORE_OK ? begin(s, &e) :
												     PQ_LOST;
	if (result == PQ_OK) {
		s->status.epoch = s->at.epoch;
		s->status.position = s->at.position;
		s->of = s->status.ledger;
		log_event(ship_connected, LOG_C("server", pq_where(s->c)), LOG_C("gateway", s->set->name),
			  LOG_I("epoch", s->at.epoch), LOG_I("position", s->at.position));
		s->said = false;
		set_state(s, SHIP_BEHIND, "");
	}
	while (result == PQ_OK && !moved)
		result = stopping(s) ? PQ_STOPPED : step(s, &moved, &e);
	if (result != PQ_OK)
		fail(s, result, &e);
	pq_close(s->c);
	s->c = NULL;
}

bool shipper_run(const shipper_settings *settings, err *e)
{
	shipper s = { .set = settings, .at.most = BATCH_ROWS, .retry_ms = RETRY_MS };

	spent_init(&s.spent);

	if (!batch_init(&s.batch, e) || !batch_init(&s.next, e)) {
		batch_deinit(&s.batch);
		return false;
	}
	while (!stopping(&s)) {
		session(&s);
		/* Twenty gateways that lost one server must not come back all at once. */
		int64_t wait = s.retry_ms / 2 + (int64_t)((uint64_t)clock_mono_ns() % (uint64_t)(s.retry_ms / 2));
		s.retry_ms = s.retry_ms * 2 < RETRY_MOST_MS ? s.retry_ms * 2 : RETRY_MOST_MS;
		if (!pause_ms(&s, wait))
			break;
	}
	store_close(s.store);
	batch_deinit(&s.batch);
	batch_deinit(&s.next);
	spent_deinit(&s.spent);
	return true;
}
