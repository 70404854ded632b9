/* SPDX-License-Identifier: MIT
 *
 * The threads that bring records to the disk: into the database, and the journal's own bytes. */
#include "ledger/ledger_impl.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "ledger/store.h"

enum {
	RETRY_MS = 200,       /* between attempts while the database is locked */
	RETRY_SLOW_MS = 1000, /* after any other failure of the database */
	LINGER_MS = 50, /* how long the first entry of a batch waits for others: more share a transaction, and most log
			   lines meet the report of the tap in it */
	LINGER_BUSY_MS = 250, /* the same under load: a transaction has a cost of its own, which more entries share */
	BUSY = 16,            /* a batch of so many entries tells of load */
	SYNC_MS = 700,        /* between syncs: with the sync itself, a loss of power costs less than a second */
	SYNC_MOST_MS = 30 * 1000,   /* the same while the disk refuses them; each refusal doubles the time, because the
				     * next try writes everything again */
	PRUNE_MS = 3600 * 1000,     /* between rounds of removing old rows */
	PRUNE_STEP_MS = 100,        /* between transactions of one round, so that new records come in between */
	PRUNE_RETRY_MS = 60 * 1000, /* after a failure */
	TIDY_MS = 3600 * 1000,      /* between rounds over the reports that wait for their log lines */
	REPORT_MS = 24 * 3600 * 1000, /* how long a report waits */
	HANG_MS = 30 * 1000,          /* without a sign of the store's thread: it hangs */
	PRUNE_KEEP = 8,               /* a round leaves 1/8 of the file free, because the next hour's rows need room */
};

typedef struct store_thread {
	ledger *l;
	store *store;        /* NULL: to be opened */
	record *batch;       /* room for LEDGER_BATCH */
	tap_report *reports; /* room for LEDGER_REPORTS */
	size_t count, reports_count;
	bool fresh;                         /* the last replay has not read the batch: no row of it was there before */
	bool busy;                          /* the last batch from the queue had BUSY entries */
	journal_mark after;                 /* the journal up to the end of the batch */
	journal_mark replayed;              /* the journal up to the last record that the replay has read */
	journal_mark committed;             /* the journal up to the last record that SQLite has committed */
	bool unsynced;                      /* SQLite has committed something that may not be on the disk yet */
	bool doubtful;                      /* the disk refused a sync, and nothing was written again since */
	bool stopped_early;                 /* the agent stopped before all of the journal was replayed */
	bool caught_up;                     /* store_catch_up() has nothing left to do */
	int64_t sync_at, prune_at, tidy_at; /* when to do that next (monotonic clock, ms) */
	int64_t sync_ms;                    /* between the last sync and the next one */
	int64_t catch_up_at;
	int64_t pruned; /* rows that this round has removed */
	int64_t unshipped,
		excess; /* of them those that were not shipped; how many more have to go, -1: not counted yet */
	int64_t kept;   /* the sequence that store_keep_shipped() noted */
	store_settings settings; /* that the database has */
	int64_t due; /* the last sequence of the rows that waited to be shipped when the last round ended; 0: none did
		      */
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

bool ledger_look_for_a_hang(ledger *l, char *text, size_t room)
{
	pthread_mutex_lock(&l->lock);
	int64_t now = clock_mono_ms(), of_intake = now - l->flush_ms, of_store = now - l->round_ms;
	bool intake_hangs = of_intake > HANG_MS, store_hangs = of_store > HANG_MS && (l->count > 0 || l->missed);
	bool well = l->stats.state == LEDGER_OK, hangs = well && (intake_hangs || store_hangs);
	bool changed = hangs != l->hangs;
	l->hangs = hangs;
	pthread_mutex_unlock(&l->lock);
	if (hangs)
		snprintf(text, room, "%s has taken nothing for %d seconds: its disk hangs%s",
			 intake_hangs ? "the journal" : "the database",
			 (int)((intake_hangs ? of_intake : of_store) / 1000),
			 intake_hangs ? "" : ", or a large ledger is being migrated");
	if (changed && hangs)
		log_event(ledger_behind, LOG_C("problem", text),
			  LOG_C("instead",
				intake_hangs ? "lines wait in their sockets" : "the journal keeps the records"));
	else if (changed && well)
		log_event(ledger_ok, LOG_C("database", l->db_path));
	return hangs;
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

/* Closes the database, for try_batch() to open it again. */
static void drop_store(store_thread *t)
{
	store_close(t->store);
	t->store = NULL;
	t->kept = 0;
	t->settings = (store_settings){ .routes = "" };
}

/* Returns how long to wait after a sync that the disk took (`ok`) or refused. `last`: how long the wait before was. */
static int64_t sync_pause(int64_t last, bool ok)
{
	return ok ? SYNC_MS : last * 2 < SYNC_MOST_MS ? last * 2 : SYNC_MOST_MS;
}

static void say_well(store_thread *t)
{
	if (!t->doubtful)
		set_state(t->l, LEDGER_OK, "");
}

/* Brings to the disk what SQLite has committed, and then lets the journal forget it: SQLite itself syncs only when its
 * write-ahead log is full. If the disk refuses, the records are read from the journal again. Another sync would succeed
 * then without them, because the kernel takes for written what it failed to write: all that is in the write-ahead log
 * is written into the database instead. False: the disk refused. */
static bool settle(store_thread *t)
{
	err e = { 0 };

	if (!t->unsynced || !t->store)
		return true;
	store_result result = t->doubtful ? store_checkpoint(t->store, &e) : store_sync(t->store, &e);
	if (result == STORE_OK) {
		t->unsynced = false;
		journal_release(t->l->journal, t->committed);
		if (t->doubtful) {
			t->doubtful = false;
			say_well(t);
		}
		return true;
	}
	if (result == STORE_BUSY)
		return true;
	t->doubtful = true;
	set_state(t->l, LEDGER_FAILING, e.text);
	drop_store(t);
	pthread_mutex_lock(&t->l->lock);
	t->l->missed = true;
	pthread_mutex_unlock(&t->l->lock);
	return false;
}

/* Returns up to which sequence rows may be removed: where rows are shipped, only those that PostgreSQL has. */
static int64_t removable(store_thread *t)
{
	store_id own, told;
	err e;

	if (t->l->backlog < 0)
		return INT64_MAX;
	pthread_mutex_lock(&t->l->settings_lock);
	told = t->l->shipped;
	pthread_mutex_unlock(&t->l->settings_lock);
	if (store_identity(t->store, &own, &e) != STORE_OK || strcmp(own.uuid, told.uuid) != 0 ||
	    strcmp(own.epoch, told.epoch) != 0 || told.sequence > own.sequence)
		return 0;
	return told.sequence;
}

/* Logs how many rows were removed that were not shipped. */
static void say_unshipped(store_thread *t)
{
	if (t->unshipped)
		log_event(fleet_backlog_full, LOG_I("rows", t->unshipped), LOG_I("backlog", t->l->backlog));
	t->unshipped = 0;
}

/* Removes a batch of the oldest rows that were not shipped, if they take more than the backlog may. */
static store_result prune_backlog(store_thread *t, int64_t before_ms, int64_t upto, int64_t *removed, err *e)
{
	store_result result = STORE_OK;
	store_waits waits;

	if (t->excess < 0) {
		result = store_waiting(t->store, before_ms, upto, &waits, e);
		double keep = waits.bytes > t->l->backlog ? (double)t->l->backlog / (double)waits.bytes : 1;
		t->excess = (int64_t)((double)waits.rows * (1 - keep));
		t->due = waits.last;
		/* What is beyond the limit goes now. */
		pthread_mutex_lock(&t->l->lock);
		t->l->stats.backlog = (uint64_t)(waits.bytes < t->l->backlog ? waits.bytes : t->l->backlog);
		pthread_mutex_unlock(&t->l->lock);
	}
	if (result != STORE_OK || t->excess <= 0)
		return result;
	result = store_prune(t->store, before_ms, INT64_MAX, removed, e);
	t->excess = *removed ? t->excess - *removed : 0;
	t->unshipped += *removed;
	pthread_mutex_lock(&t->l->lock);
	t->l->stats.unshipped += (uint64_t)*removed;
	pthread_mutex_unlock(&t->l->lock);
	if (t->excess <= 0) {
		t->excess = 0;
		say_unshipped(t);
	}
	return result;
}

/* Removes a batch of rows that are older than the retention; once there are none, a batch of the pages that they leave
 * free. Sets when to go on: at once while there is more to do, else in an hour. */
static void prune(store_thread *t, int64_t now)
{
	int64_t removed = 0, before_ms = clock_wall_ms() - t->l->retention_ms, upto = removable(t);
	bool more = false;
	err e = { 0 };

	store_result result = upto == t->kept || upto == INT64_MAX ? STORE_OK : store_keep_shipped(t->store, upto, &e);
	if (result == STORE_OK) {
		t->kept = upto;
		result = store_prune(t->store, before_ms, upto, &removed, &e);
	}
	if (result == STORE_OK && removed == 0 && upto < INT64_MAX)
		result = prune_backlog(t, before_ms, upto, &removed, &e);
	t->pruned += removed;
	if (result == STORE_OK && removed == 0) {
		if (t->pruned > 0)
			log_event(pruned, LOG_I("rows", t->pruned));
		t->pruned = 0;
		t->excess = -1;
		result = store_shrink(t->store, PRUNE_KEEP, &more, &e);
	}
	if (result != STORE_OK && result != STORE_BUSY)
		log_event(prune_failed, LOG_C("problem", e.text));
	t->prune_at = now + (result == STORE_BUSY || removed > 0 || more ? PRUNE_STEP_MS :
			     result == STORE_OK                          ? PRUNE_MS :
									   PRUNE_RETRY_MS);
}

/* Begins another round of removing rows as soon as all those are shipped that waited for it at the end of the last
 * round. */
static void look_at_shipped(store_thread *t, int64_t now)
{
	if (!t->due || removable(t) < t->due)
		return;
	say_unshipped(t);
	t->due = 0;
	t->excess = -1;
	t->prune_at = now;
}

/* Keeps the hashes of routes and clients in the database. While it refuses, they are tried again. */
static void keep_settings(store_thread *t)
{
	err ignored;

	pthread_mutex_lock(&t->l->settings_lock);
	const store_settings now = t->l->settings;
	pthread_mutex_unlock(&t->l->settings_lock);
	if (strcmp(now.routes, t->settings.routes) == 0 && strcmp(now.clients, t->settings.clients) == 0)
		return;
	if (store_settings_keep(t->store, &now, &ignored) == STORE_OK)
		t->settings = now;
}

/* Counts some more rows of a ledger that an older version made. */
static void catch_up(store_thread *t, int64_t now)
{
	bool more = false;
	err e = { 0 };

	store_result result = store_catch_up(t->store, &more, &e);
	t->caught_up = result == STORE_OK && !more;
	t->catch_up_at = now + (result == STORE_OK || result == STORE_BUSY ? PRUNE_STEP_MS : PRUNE_RETRY_MS);
}

static int64_t join_reserved(void *ctx, const record *r)
{
	const ledger *l = ctx;
	return l->budgets.reserved ? l->budgets.reserved(l->budgets.ctx, r) : 0;
}

static void join_settled(void *ctx, const record *r, int64_t nano)
{
	const ledger *l = ctx;
	if (l->budgets.settled)
		l->budgets.settled(l->budgets.ctx, r, nano);
}

static void take_budgets(ledger *l)
{
	pthread_mutex_lock(&l->settings_lock);
	l->budgets = l->next_budgets;
	pthread_mutex_unlock(&l->settings_lock);
}

static store_join join_of(ledger *l)
{
	take_budgets(l);
	return (store_join){ ledger_join, join_reserved, join_settled, l };
}

static void count_added(ledger *l, const store_added *added)
{
	pthread_mutex_lock(&l->lock);
	l->stats.stored += added->rows;
	l->stats.joined += added->joined;
	l->stats.orphans += added->orphans;
	/* A row whose report comes late has been counted by its usage before, and a counter never falls. */
	for (usage_from u = USAGE_NONE; u <= USAGE_STREAM; u++)
		l->stats.usage[u] += added->usage[u] > 0 ? (uint64_t)added->usage[u] : 0;
	pthread_mutex_unlock(&l->lock);
}

/* Joins reports whose rows came by another way than this thread, and removes those that have waited for a day. */
static void tidy(store_thread *t, int64_t now)
{
	const store_join join = join_of(t->l);
	store_added added;
	bool more = false;
	err e = { 0 };

	store_result result = store_tidy(t->store, &join, clock_wall_ms() - REPORT_MS, &added, &more, &e);
	count_added(t->l, &added);
	if (added.joined) { /* so that whoever shows the sums reads them again */
		pthread_mutex_lock(&t->l->lock);
		t->l->stats.commits++;
		pthread_mutex_unlock(&t->l->lock);
	}
	t->tidy_at = now + (result == STORE_BUSY || more ? PRUNE_STEP_MS :
			    result == STORE_OK           ? TIDY_MS :
							   PRUNE_RETRY_MS);
}

/* Does what is due by the clock, whether or not there are records to store. */
static void keep_up(store_thread *t)
{
	int64_t now = clock_mono_ms();

	if (now >= t->sync_at) {
		t->sync_ms = sync_pause(t->sync_ms, settle(t));
		t->sync_at = clock_mono_ms() + t->sync_ms;
	}
	look_at_shipped(t, now);
	if (t->store && t->l->retention_ms > 0 && now >= t->prune_at)
		prune(t, now);
	if (t->store && !t->caught_up && now >= t->catch_up_at)
		catch_up(t, now);
	if (t->store && now >= t->tidy_at)
		tidy(t, now);
	if (t->store)
		keep_settings(t);
	take_budgets(t->l);
	if (t->store && t->l->budgets.look)
		t->l->budgets.look(t->l->budgets.ctx, t->store);
}

/* Opens the database. False: the state says why not. */
static bool open_store(store_thread *t)
{
	store_result result = STORE_OK;
	err e = { 0 };

	store_share(t->l->db_path);
	t->store = store_open(t->l->db_path, true, &result, &e);
	if (t->store && t->l->budgets.opened)
		t->l->budgets.opened(t->l->budgets.ctx);
	if (!t->store)
		set_state(t->l, result == STORE_BUSY ? LEDGER_BEHIND : LEDGER_FAILING, e.text);
	else if (store_migrated_from(t->store))
		log_event(ledger_migrated, LOG_C("database", t->l->db_path),
			  LOG_I("from_version", store_migrated_from(t->store)));
	return t->store != NULL;
}

/* Tries once to store the batch. False: the state says why not. */
static bool try_batch(store_thread *t)
{
	ledger *l = t->l;
	const store_join join = join_of(l);
	const store_batch batch = { t->batch, t->count, t->reports, t->reports_count, t->fresh };
	store_added added;
	store_result result = STORE_OK;
	err e = { 0 };

	if (t->count + t->reports_count == 0)
		return true;
	if (!t->store && !open_store(t))
		return false;
	uint64_t began = clock_mono_ns();
	result = store_add(t->store, &batch, &join, &added, &e);
	uint64_t us = (clock_mono_ns() - began) / 1000;
	if (result != STORE_OK) {
		set_state(l, result == STORE_BUSY ? LEDGER_BEHIND : LEDGER_FAILING, e.text);
		/* Only opening the database again finds a file that was replaced or repaired. */
		if (result != STORE_BUSY)
			drop_store(t);
		return false;
	}
	count_added(l, &added);
	pthread_mutex_lock(&l->lock);
	l->round_ms = clock_mono_ms();
	l->stats.commits++;
	l->stats.commit_us_last = us;
	if (us > l->stats.commit_us_max)
		l->stats.commit_us_max = us;
	pthread_mutex_unlock(&l->lock);
	t->count = t->reports_count = 0;
	if (t->after.position > t->committed.position)
		t->committed = t->after;
	t->unsynced = true;
	keep_up(t);
	return true;
}

/* Tries until the batch is stored. False: the agent stops, and the database still refuses. */
static bool store_batch_surely(store_thread *t)
{
	while (!try_batch(t)) {
		if (stopping(t->l))
			return false;
		pause_ms(t->l, t->l->stats.state == LEDGER_BEHIND ? RETRY_MS : RETRY_SLOW_MS);
	}
	return true;
}

static bool on_replayed(void *ctx, const record *r, const tap_report *report, journal_mark after)
{
	store_thread *t = ctx;

	if (r)
		t->batch[t->count++] = *r;
	if (report)
		t->reports[t->reports_count++] = *report;
	t->replayed = after;
	if (t->count < LEDGER_BATCH && t->reports_count < LEDGER_REPORTS)
		return true;
	t->stopped_early = !store_batch_surely(t);
	return !t->stopped_early;
}

/* Stores everything that the journal holds: at the start what the last process left, later what the queue had no room
 * for. The store skips the records that it has already. */
static void replay(store_thread *t)
{
	err e = { 0 };
	bool whole;

	t->stopped_early = t->fresh = false;
	t->count = t->reports_count = 0;
	t->after = t->replayed = (journal_mark){ 0 };
	/* Without memory nothing was read. Storing a newer record would release the journal up to it, and so what was
	 * not read: wait for memory, and store nothing more if the agent stops meanwhile. */
	while (!(whole = journal_replay(t->l->journal, on_replayed, t, &e)) && e.kind == ERR_MEMORY &&
	       !(t->stopped_early = stopping(t->l))) {
		set_state(t->l, LEDGER_FAILING, e.text);
		pause_ms(t->l, RETRY_MS);
	}
	if (!whole)
		log_event(journal_unreadable, LOG_C("problem", e.text),
			  LOG_C("instead", e.kind == ERR_MEMORY ? "none was read; the next start reads all of them" :
								  "the other files were read"));
	if (!t->stopped_early)
		t->stopped_early = !store_batch_surely(t);
	/* A mark covers everything before it, so release nothing while a file is left for a person to look at. */
	if (whole && !t->stopped_early) {
		t->committed = t->replayed;
		t->unsynced = true;
	}
	if (!t->stopped_early && t->store)
		say_well(t);
}

/* Waits up to `ms` for a whole batch; less if entries are missed or `stop` is set. l->lock has to be held. */
static void linger(ledger *l, int64_t ms)
{
	struct timespec until = clock_timespec(clock_mono_ms() + ms);

	l->wanted = LEDGER_BATCH;
	while (l->count < l->wanted && !l->missed && !l->stop &&
	       pthread_cond_timedwait(&l->wake, &l->lock, &until) == 0)
		;
}

/* Takes a batch from the queue, or none if a second brings none. `*missed`: the queue is empty, and the journal has
 * records that the queue had no room for. False: the agent stops, and nothing is left to store. */
static bool next_batch(store_thread *t, bool *missed)
{
	ledger *l = t->l;

	pthread_mutex_lock(&l->lock);
	l->round_ms = clock_mono_ms();
	if (l->count == 0 && !l->missed && !l->stop) {
		struct timespec until = clock_timespec(clock_mono_ms() + 1000);
		l->wanted = 0;
		pthread_cond_timedwait(&l->wake, &l->lock, &until);
	}
	if (l->count > 0)
		linger(l, t->busy ? LINGER_BUSY_MS : LINGER_MS);
	size_t n = 0;
	t->count = t->reports_count = 0;
	for (; n < l->count && t->count < LEDGER_BATCH && t->reports_count < LEDGER_REPORTS; n++) {
		item *it = &l->queue[(l->head + n) % LEDGER_QUEUE];
		bool fresh = it->after.position > t->replayed.position;
		if (n && fresh != t->fresh)
			break;
		t->fresh = fresh;
		if (it->report)
			t->reports[t->reports_count++] = *it->report;
		else
			t->batch[t->count++] = it->record;
		t->after = it->after;
		free(it->report);
		it->report = NULL;
	}
	l->head = (l->head + n) % LEDGER_QUEUE;
	l->count -= n;
	t->busy = n >= BUSY;
	*missed = n == 0 && l->missed;
	if (*missed)
		l->missed = false; /* the queue takes new records again; the replay brings the ones before them */
	bool go_on = n > 0 || *missed || !l->stop;
	pthread_mutex_unlock(&l->lock);
	return go_on;
}

/* Opens the database before there is anything to store, so that readers find a ledger, and so that the state says at
 * once what is wrong with it. */
static void open_early(store_thread *t)
{
	if (!t->store && open_store(t))
		say_well(t);
}

void *ledger_store_main(void *arg)
{
	store_thread t = { .l = arg, .excess = -1, .sync_ms = SYNC_MS };
	ledger *l = arg;
	bool missed;

	t.batch = malloc(LEDGER_BATCH * sizeof *t.batch);
	t.reports = malloc(LEDGER_REPORTS * sizeof *t.reports);
	if (!t.batch || !t.reports) {
		set_state(l, LEDGER_FAILING, "out of memory");
		free(t.batch);
		free(t.reports);
		return NULL;
	}
	open_early(&t);
	keep_up(&t);
	replay(&t);
	while (!t.stopped_early && next_batch(&t, &missed)) {
		if (missed) {
			/* Records that are queued meanwhile wait for the end of the replay: releasing their marks would
			 * release records that the replay has not stored yet. */
			journal_flush(l->journal);
			replay(&t);
			continue;
		}
		if (t.count + t.reports_count == 0) {
			open_early(&t);
			keep_up(&t);
			continue;
		}
		if (!store_batch_surely(&t))
			break;
		say_well(&t);
	}
	settle(&t);
	store_close(t.store);
	free(t.reports);
	free(t.batch);
	return NULL;
}

/* Syncs the journal by the clock, whatever the database does: while it refuses, the journal has the only copy. */
void *ledger_sync_main(void *arg)
{
	ledger *l = arg;
	int64_t ms = SYNC_MS;

	while (!stopping(l)) {
		pause_ms(l, ms);
		ms = sync_pause(ms, journal_sync(l->journal));
	}
	return NULL;
}
