/* SPDX-License-Identifier: MIT */
#include "ledger/ledger.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "ledger/logline.h"
#include "ledger/recent.h"
#include "ledger/unknown.h"

enum {
	SEGMENT_BYTES = 16 << 20,
	RETRY_MS = 200,             /* between attempts while the database is locked */
	RETRY_SLOW_MS = 1000,       /* after any other failure of the database */
	LINGER_MS = 50,             /* how long the store's thread waits for a batch to become larger */
	SYNC_MS = 700,              /* between syncs: with the sync itself, a loss of power costs less than a second */
	PRUNE_MS = 3600 * 1000,     /* between rounds of removing old rows */
	PRUNE_STEP_MS = 100,        /* between transactions of one round, so that new records come in between */
	PRUNE_RETRY_MS = 60 * 1000, /* after a failure */
	PRUNE_KEEP = 8,             /* a round leaves 1/8 of the file free, because the next hour's rows need room */
};

typedef struct item {
	record record;
	journal_mark after;
} item;

struct ledger {
	char *db_path;
	char *key;
	int64_t retention_ms;
	journal *journal;
	recent ids, lines;
	logline line; /* for ledger_take(); too large for a stack */

	pthread_mutex_t settings_lock; /* guards the three below */
	price_table *prices;
	ledger_reference *references;
	size_t references_count;

	pthread_mutex_t ends_lock; /* guards `ends`; a mutex of its own, because copying them takes a while */
	ends ends;

	pthread_t store_thread, sync_thread;
	pthread_mutex_t lock;   /* guards everything below */
	pthread_cond_t wake;    /* something is queued, or `stop` is set */
	pthread_cond_t stopped; /* `stop` is set; apart from `wake`, so that a queued record does not end a pause */
	item *queue;
	size_t head, count;
	bool missed; /* the journal has records that the queue had no room for */
	bool stop;
	ledger_stats stats;
};

/* ---- taking in */

static slice reference_of(const ledger *l, const char *route)
{
	for (size_t i = 0; i < l->references_count; i++)
		if (strcmp(l->references[i].route, route) == 0)
			return slice_cstr(l->references[i].model);
	return (slice){ NULL, 0 };
}

static void enqueue(ledger *l, const record *r, journal_mark after)
{
	pthread_mutex_lock(&l->lock);
	l->stats.records++;
	l->stats.usage[r->usage]++;
	if (l->count == LEDGER_QUEUE || l->missed) {
		/* After one missed record the queue takes none until the store's thread has read the journal, so that
		 * records keep their order. */
		l->missed = true;
	} else {
		l->queue[(l->head + l->count) % LEDGER_QUEUE] = (item){ *r, after };
		l->count++;
	}
	pthread_mutex_unlock(&l->lock);
}

static void count_line(ledger *l, logline_result result, bool duplicate)
{
	pthread_mutex_lock(&l->lock);
	l->stats.lines++;
	l->stats.duplicates += duplicate;
	l->stats.foreign += result == LOGLINE_FOREIGN;
	l->stats.malformed += result == LOGLINE_MALFORMED;
	pthread_mutex_unlock(&l->lock);
}

static void take_end(ledger *l, const logline *p)
{
	const record *r = &p->record;
	const char *backend = "";

	pthread_mutex_lock(&l->ends_lock);
	end_refusal why = ends_add(&l->ends, r, p->named, p->decided, &backend);
	pthread_mutex_unlock(&l->ends_lock);
	if (why != END_NOT_REFUSED)
		log_event(refused_by_haproxy, LOG_C("id", r->id), LOG_I("status", r->status),
			  LOG_C("code", end_refusals[why].code), LOG_C("route", r->route), LOG_C("backend", backend),
			  LOG_C("model", r->model), LOG_C("term", r->termination),
			  LOG_C("problem", end_refusals[why].problem));
}

void ledger_take(ledger *l, slice line)
{
	journal_mark after;
	logline *p = &l->line;
	usage_parts parts;
	slice object, key = slice_cstr(l->key);
	bool ours = logline_is_ours(line, key, &object);
	uint64_t hash = ours ? recent_hash(object) : 0;

	if (ours && recent_has(&l->lines, hash)) {
		count_line(l, LOGLINE_OK, true);
		return;
	}
	/* The key was checked above: tell logline_parse() that there is none to check. */
	logline_result result = ours ? logline_parse(line, slice_of(NULL, 0), p) : LOGLINE_FOREIGN;
	bool duplicate = result == LOGLINE_OK && recent_seen(&l->ids, slice_cstr(p->record.id));
	if (result == LOGLINE_OK)
		recent_add(&l->lines, hash);
	count_line(l, result, duplicate);
	/* HAProxy's messages about itself (a server is down) come here too. They have no object in them: no warning. */
	if (result == LOGLINE_FOREIGN && slice_find(line, 0, '{') < line.len)
		log_event(log_line_foreign, LOG_C("problem", "the line does not carry SPOA_LLM_LOG_KEY"));
	if (result == LOGLINE_MALFORMED)
		log_event(log_line_malformed, LOG_C("problem", p->problem), LOG_S("member", p->member),
			  LOG_I("bytes", line.len));
	if (result != LOGLINE_OK || duplicate)
		return;
	take_end(l, p);
	pthread_mutex_lock(&l->settings_lock);
	p->hints.most = price_limits_of(l->prices, slice_cstr(p->record.model));
	usage_apply(&p->record, p->usage, &p->hints, &parts);
	unknown_apply(&p->record, p->metered);
	price_apply(l->prices, &p->record, &parts, reference_of(l, p->record.route));
	pthread_mutex_unlock(&l->settings_lock);
	/* A journal without room counts the record as dropped; the store may still get it by the queue. */
	journal_append(l->journal, &p->record, &after);
	enqueue(l, &p->record, after);
}

void ledger_bad_framing(ledger *l)
{
	count_line(l, LOGLINE_MALFORMED, false);
	log_event(log_line_malformed,
		  LOG_C("problem", "a message has no octet count; HAProxy's ring needs log-proto octet-count"));
}

void ledger_dropped(ledger *l, uint64_t count)
{
	pthread_mutex_lock(&l->lock);
	l->stats.dropped += count;
	pthread_mutex_unlock(&l->lock);
	log_event(log_lines_dropped, LOG_I("datagrams", count), LOG_C("problem", "the socket's buffer was full"),
		  LOG_C("hint", "raise net.core.rmem_max, or use unix sockets"));
}

void ledger_flush(ledger *l)
{
	journal_flush(l->journal);
	pthread_mutex_lock(&l->lock);
	pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
}

/* ---- the store's thread */

typedef struct store_thread {
	ledger *l;
	store *store;  /* NULL: to be opened */
	record *batch; /* room for LEDGER_BATCH */
	size_t count;
	journal_mark after;        /* the journal up to the end of the batch */
	journal_mark replayed;     /* the journal up to the last record that the replay has read */
	journal_mark committed;    /* the journal up to the last record that SQLite has committed */
	bool unsynced;             /* SQLite has committed something that may not be on the disk yet */
	bool stopped_early;        /* the agent stopped while the database still refused what was replayed */
	bool caught_up;            /* store_catch_up() has nothing left to do */
	int64_t sync_at, prune_at; /* when to sync and to prune next (monotonic clock, ms) */
	int64_t catch_up_at;
	int64_t pruned; /* rows that this round has removed */
} store_thread;

static void set_state(ledger *l, ledger_state state, const char *problem)
{
	pthread_mutex_lock(&l->lock);
	bool changed = l->stats.state != state;
	l->stats.state = state;
	snprintf(l->stats.problem, sizeof l->stats.problem, "%s", problem);
	pthread_mutex_unlock(&l->lock);
	if (changed && state == LEDGER_OK)
		log_event(ledger_ok, LOG_C("database", l->db_path));
	else if (changed && state == LEDGER_BEHIND)
		log_event(ledger_behind, LOG_C("problem", problem), LOG_C("instead", "the journal keeps the records"));
	else if (changed)
		log_event(ledger_failing, LOG_C("problem", problem), LOG_C("instead", "the journal keeps the records"));
}

/* Sleeps for `ms`, or until `stop` is set. */
static void pause_ms(ledger *l, int64_t ms)
{
	struct timespec until = clock_timespec(clock_mono_ms() + ms);

	pthread_mutex_lock(&l->lock);
	while (!l->stop && pthread_cond_timedwait(&l->stopped, &l->lock, &until) == 0)
		;
	pthread_mutex_unlock(&l->lock);
}

static bool stopping(ledger *l)
{
	pthread_mutex_lock(&l->lock);
	bool stop = l->stop;
	pthread_mutex_unlock(&l->lock);
	return stop;
}

/* Closes the database, for store_batch() to open it again. */
static void drop_store(store_thread *t)
{
	store_close(t->store);
	t->store = NULL;
}

/* Brings to the disk what SQLite has committed, and then lets the journal forget it: SQLite itself syncs only when its
 * write-ahead log is full. If the disk refuses, the records are read from the journal again. */
static void settle(store_thread *t)
{
	err e = { 0 };

	if (!t->unsynced || !t->store)
		return;
	if (store_sync(t->store, &e) == STORE_OK) {
		t->unsynced = false;
		journal_release(t->l->journal, t->committed);
		return;
	}
	set_state(t->l, LEDGER_FAILING, e.text);
	drop_store(t);
	pthread_mutex_lock(&t->l->lock);
	t->l->missed = true;
	pthread_mutex_unlock(&t->l->lock);
}

/* Removes a batch of rows that are older than the retention; once there are none, a batch of the pages that they leave
 * free. Sets when to go on: at once while there is more to do, else in an hour. */
static void prune(store_thread *t, int64_t now)
{
	int64_t removed = 0;
	bool more = false;
	err e = { 0 };

	store_result result = store_prune(t->store, clock_wall_ms() - t->l->retention_ms, &removed, &e);
	t->pruned += removed;
	if (result == STORE_OK && removed == 0) {
		if (t->pruned > 0)
			log_event(pruned, LOG_I("rows", t->pruned));
		t->pruned = 0;
		result = store_shrink(t->store, PRUNE_KEEP, &more, &e);
	}
	if (result != STORE_OK && result != STORE_BUSY)
		log_event(prune_failed, LOG_C("problem", e.text));
	t->prune_at = now + (result == STORE_BUSY || removed > 0 || more ? PRUNE_STEP_MS :
			     result == STORE_OK                          ? PRUNE_MS :
									   PRUNE_RETRY_MS);
}

/* Counts a day of a ledger that an older version made. */
static void catch_up(store_thread *t, int64_t now)
{
	bool more = false;
	err e = { 0 };

	store_result result = store_catch_up(t->store, &more, &e);
	t->caught_up = result == STORE_OK && !more;
	t->catch_up_at = now + (result == STORE_OK || result == STORE_BUSY ? PRUNE_STEP_MS : PRUNE_RETRY_MS);
}

/* Does what is due by the clock, whether or not there are records to store. */
static void keep_up(store_thread *t)
{
	int64_t now = clock_mono_ms();

	if (now >= t->sync_at) {
		t->sync_at = now + SYNC_MS;
		settle(t);
	}
	if (t->store && t->l->retention_ms > 0 && now >= t->prune_at)
		prune(t, now);
	if (t->store && !t->caught_up && now >= t->catch_up_at)
		catch_up(t, now);
}

/* Tries once to store the batch. False: the state says why not. */
static bool store_batch(store_thread *t)
{
	ledger *l = t->l;
	size_t inserted = 0;
	store_result result = STORE_OK;
	err e = { 0 };

	if (t->count == 0)
		return true;
	if (!t->store) {
		t->store = store_open(l->db_path, true, &result, &e);
		if (!t->store) {
			set_state(l, result == STORE_BUSY ? LEDGER_BEHIND : LEDGER_FAILING, e.text);
			return false;
		}
	}
	uint64_t began = clock_mono_ns();
	result = store_insert(t->store, t->batch, t->count, &inserted, &e);
	uint64_t us = (clock_mono_ns() - began) / 1000;
	if (result != STORE_OK) {
		set_state(l, result == STORE_BUSY ? LEDGER_BEHIND : LEDGER_FAILING, e.text);
		/* Only opening the database again finds a file that was replaced or repaired. */
		if (result != STORE_BUSY)
			drop_store(t);
		return false;
	}
	pthread_mutex_lock(&l->lock);
	l->stats.stored += inserted;
	l->stats.commits++;
	l->stats.commit_us_last = us;
	if (us > l->stats.commit_us_max)
		l->stats.commit_us_max = us;
	pthread_mutex_unlock(&l->lock);
	t->count = 0;
	if (t->after.position > t->committed.position)
		t->committed = t->after;
	t->unsynced = true;
	keep_up(t);
	return true;
}

/* Tries until the batch is stored. False: the agent stops, and the database still refuses. */
static bool store_batch_surely(store_thread *t)
{
	while (!store_batch(t)) {
		if (stopping(t->l))
			return false;
		pause_ms(t->l, t->l->stats.state == LEDGER_BEHIND ? RETRY_MS : RETRY_SLOW_MS);
	}
	return true;
}

static bool on_replayed(void *ctx, const record *r, journal_mark after)
{
	store_thread *t = ctx;

	t->batch[t->count++] = *r;
	t->replayed = after;
	if (t->count < LEDGER_BATCH)
		return true;
	t->stopped_early = !store_batch_surely(t);
	return !t->stopped_early;
}

/* Stores everything that the journal holds: at the start what the last process left, later what the queue had no room
 * for. The store skips the records that it has already. */
static void replay(store_thread *t)
{
	err e = { 0 };

	t->stopped_early = false;
	t->count = 0;
	t->after = t->replayed = (journal_mark){ 0 };
	bool whole = journal_replay(t->l->journal, on_replayed, t, &e);
	if (!whole)
		log_event(journal_unreadable, LOG_C("problem", e.text), LOG_C("instead", "the other files were read"));
	if (!t->stopped_early)
		t->stopped_early = !store_batch_surely(t);
	/* A mark covers everything before it, so release nothing while a file is left for a person to look at. */
	if (whole && !t->stopped_early) {
		t->committed = t->replayed;
		t->unsynced = true;
	}
}

/* Takes a batch from the queue, or none if a second brings none. `*missed`: the queue is empty, and the journal has
 * records that the queue had no room for. False: the agent stops, and nothing is left to store. */
static bool next_batch(store_thread *t, bool *missed)
{
	ledger *l = t->l;

	pthread_mutex_lock(&l->lock);
	if (l->count == 0 && !l->missed && !l->stop) {
		struct timespec until = clock_timespec(clock_mono_ms() + 1000);
		pthread_cond_timedwait(&l->wake, &l->lock, &until);
	}
	size_t n = l->count < LEDGER_BATCH ? l->count : LEDGER_BATCH;
	for (size_t i = 0; i < n; i++) {
		item *it = &l->queue[(l->head + i) % LEDGER_QUEUE];
		t->batch[i] = it->record;
		t->after = it->after;
	}
	l->head = (l->head + n) % LEDGER_QUEUE;
	l->count -= n;
	t->count = n;
	*missed = n == 0 && l->missed;
	if (*missed)
		l->missed = false; /* the queue takes new records again; the replay brings the ones before them */
	bool go_on = n > 0 || *missed || !l->stop;
	pthread_mutex_unlock(&l->lock);
	return go_on;
}

/* Opens the database before there is anything to store, so that readers find a ledger, and so that the state says at
 * once what is wrong with it. */
static void open_store(store_thread *t)
{
	store_result result = STORE_OK;
	err e = { 0 };

	if (t->store)
		return;
	t->store = store_open(t->l->db_path, true, &result, &e);
	if (t->store && store_migrated_from(t->store))
		log_event(ledger_migrated, LOG_C("database", t->l->db_path),
			  LOG_I("from_version", store_migrated_from(t->store)));
	set_state(t->l,
		  t->store             ? LEDGER_OK :
		  result == STORE_BUSY ? LEDGER_BEHIND :
					 LEDGER_FAILING,
		  t->store ? "" : e.text);
}

static void *store_thread_main(void *arg)
{
	store_thread t = { .l = arg };
	ledger *l = arg;
	bool missed;

	t.batch = malloc(LEDGER_BATCH * sizeof *t.batch);
	if (!t.batch) {
		set_state(l, LEDGER_FAILING, "out of memory");
		return NULL;
	}
	open_store(&t);
	replay(&t);
	while (!t.stopped_early && next_batch(&t, &missed)) {
		if (missed) {
			/* Records that are queued meanwhile wait for the end of the replay: releasing their marks would
			 * release records that the replay has not stored yet. */
			journal_flush(l->journal);
			replay(&t);
			continue;
		}
		if (t.count == 0) {
			open_store(&t);
			keep_up(&t);
			continue;
		}
		if (!store_batch_surely(&t))
			break;
		set_state(l, LEDGER_OK, "");
		/* Wait a moment, so that more records share a transaction. */
		pthread_mutex_lock(&l->lock);
		bool few = l->count < LEDGER_BATCH / 4 && !l->missed;
		pthread_mutex_unlock(&l->lock);
		if (few)
			pause_ms(l, LINGER_MS);
	}
	settle(&t);
	store_close(t.store);
	free(t.batch);
	return NULL;
}

/* Syncs the journal by the clock, whatever the database does: while it refuses, the journal has the only copy. */
static void *sync_thread_main(void *arg)
{
	ledger *l = arg;

	while (!stopping(l)) {
		pause_ms(l, SYNC_MS);
		journal_sync(l->journal);
	}
	return NULL;
}

/* ---- life */

static void free_references(ledger_reference *references, size_t count)
{
	for (size_t i = 0; references && i < count; i++) {
		free(references[i].route);
		free(references[i].model);
	}
	free(references);
}

static void ledger_free(ledger *l)
{
	journal_close(l->journal);
	recent_deinit(&l->ids);
	recent_deinit(&l->lines);
	price_table_unref(l->prices);
	free_references(l->references, l->references_count);
	free(l->queue);
	free(l->db_path);
	if (l->key)
		explicit_bzero(l->key, strlen(l->key));
	free(l->key);
	pthread_mutex_destroy(&l->lock);
	pthread_mutex_destroy(&l->settings_lock);
	pthread_mutex_destroy(&l->ends_lock);
	pthread_cond_destroy(&l->wake);
	pthread_cond_destroy(&l->stopped);
	free(l);
}

static void stop(ledger *l)
{
	pthread_mutex_lock(&l->lock);
	l->stop = true;
	pthread_cond_signal(&l->wake);
	pthread_cond_broadcast(&l->stopped);
	pthread_mutex_unlock(&l->lock);
}

ledger *ledger_open(const ledger_options *o, price_table *prices, err *e)
{
	ledger *l = calloc(1, sizeof *l);
	char path[4096];

	if (!l) {
		price_table_unref(prices);
		err_memory(e);
		return NULL;
	}
	pthread_mutex_init(&l->lock, NULL);
	pthread_mutex_init(&l->settings_lock, NULL);
	pthread_mutex_init(&l->ends_lock, NULL);
	thread_cond_init(&l->wake);
	thread_cond_init(&l->stopped);
	l->prices = prices;
	l->retention_ms = o->retention_ms;
	l->key = strdup(o->key);
	l->queue = malloc(LEDGER_QUEUE * sizeof *l->queue);
	snprintf(path, sizeof path, "%s/ledger.db", o->dir);
	l->db_path = strdup(path);
	snprintf(path, sizeof path, "%s/journal", o->dir);
	if (!l->key || !l->queue || !l->db_path || !recent_init(&l->ids, LEDGER_RECENT) ||
	    !recent_init(&l->lines, LEDGER_COPIES)) {
		err_memory(e);
		ledger_free(l);
		return NULL;
	}
	l->journal = journal_open(path, SEGMENT_BYTES, o->journal_max, e);
	if (!l->journal) {
		ledger_free(l);
		return NULL;
	}
	int rc = thread_start(&l->sync_thread, sync_thread_main, l);
	if (rc != 0) {
		err_set(e, "the thread that syncs the journal: %s", strerror(rc));
		ledger_free(l);
		return NULL;
	}
	rc = thread_start(&l->store_thread, store_thread_main, l);
	if (rc != 0) {
		err_set(e, "the ledger's thread: %s", strerror(rc));
		stop(l);
		pthread_join(l->sync_thread, NULL);
		ledger_free(l);
		return NULL;
	}
	return l;
}

void ledger_close(ledger *l)
{
	if (!l)
		return;
	ledger_flush(l);
	stop(l);
	pthread_join(l->store_thread, NULL);
	pthread_join(l->sync_thread, NULL);
	ledger_free(l);
}

void ledger_set_prices(ledger *l, price_table *prices)
{
	pthread_mutex_lock(&l->settings_lock);
	price_table *old = l->prices;
	l->prices = prices;
	pthread_mutex_unlock(&l->settings_lock);
	price_table_unref(old);
}

bool ledger_set_references(ledger *l, const ledger_reference *references, size_t count)
{
	ledger_reference *copy = count ? calloc(count, sizeof *copy) : NULL;
	bool ok = copy || !count;

	for (size_t i = 0; ok && i < count; i++) {
		copy[i].route = strdup(references[i].route);
		copy[i].model = strdup(references[i].model);
		ok = copy[i].route && copy[i].model;
	}
	ledger_reference *old = copy;
	size_t old_count = copy ? count : 0;
	if (ok) {
		pthread_mutex_lock(&l->settings_lock);
		old = l->references;
		old_count = l->references_count;
		l->references = copy;
		l->references_count = count;
		pthread_mutex_unlock(&l->settings_lock);
	}
	free_references(old, old_count);
	return ok;
}

ledger_stats ledger_get_stats(ledger *l)
{
	pthread_mutex_lock(&l->lock);
	ledger_stats stats = l->stats;
	stats.queued = l->count;
	pthread_mutex_unlock(&l->lock);
	stats.journal = journal_get_stats(l->journal);
	return stats;
}

void ledger_get_ends(ledger *l, ends *out)
{
	pthread_mutex_lock(&l->ends_lock);
	*out = l->ends;
	pthread_mutex_unlock(&l->ends_lock);
}
