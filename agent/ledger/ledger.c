/* SPDX-License-Identifier: MIT */
#include "ledger/ledger_impl.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "ledger/unknown.h"

enum { SEGMENT_BYTES = 16 << 20 };

/* ---- taking in */

static slice reference_of(const ledger *l, const char *route)
{
	for (size_t i = 0; i < l->references_count; i++)
		if (strcmp(l->references[i].route, route) == 0)
			return slice_cstr(l->references[i].model);
	return (slice){ NULL, 0 };
}

/* Queues a record or a report for the store's thread. l->lock has to be held. */
static void enqueue(ledger *l, const record *r, const tap_report *report, journal_mark after)
{
	tap_report *own = report && l->count < LEDGER_QUEUE && !l->missed ? malloc(sizeof *own) : NULL;

	if (l->count == LEDGER_QUEUE || l->missed || (report && !own)) {
		/* After one missed entry the queue takes none until the store's thread has read the journal, so that
		 * entries keep their order. */
		l->missed = true;
		return;
	}
	item *it = &l->queue[(l->head + l->count) % LEDGER_QUEUE];
	if (r)
		it->record = *r;
	if (own)
		*own = *report;
	it->report = own;
	it->after = after;
	l->count++;
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
	end_refusal why = ends_add(&l->ends, r, p->named, p->refused ? AGENT_REFUSED : AGENT_LET_IN, &backend);
	pthread_mutex_unlock(&l->ends_lock);
	if (why != END_NOT_REFUSED)
		log_event(refused_by_haproxy, LOG_C("id", r->id), LOG_I("status", r->status),
			  LOG_C("code", end_refusals[why].code), LOG_C("route", r->route), LOG_C("backend", backend),
			  LOG_C("member", r->member), LOG_C("model", r->model), LOG_C("term", r->termination),
			  LOG_C("problem", end_refusals[why].problem));
}

void ledger_take(ledger *l, slice line)
{
	journal_mark after;
	logline *p = &l->line;
	usage_parts parts;
	slice object, key = slice_cstr(l->key);
	bool ours = logline_is_ours(line, key, &object);
	slice id = ours ? logline_id(object) : slice_of(NULL, 0);
	uint64_t hash = id.len ? recent_hash(id) : 0;

	if (id.len && recent_has(&l->ids, hash)) {
		count_line(l, LOGLINE_OK, true);
		return;
	}
	logline_result result = ours ? logline_parse_next(l->last, line, object, p) : LOGLINE_FOREIGN;
	bool duplicate = false;
	if (result == LOGLINE_OK && id.len && slice_eq(id, slice_cstr(p->record.id)))
		recent_add(&l->ids, hash);
	else if (result == LOGLINE_OK)
		duplicate = recent_seen(&l->ids, slice_cstr(p->record.id));
	if (result != LOGLINE_OK || duplicate)
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
	if (usage_needs_limits(&p->record, &p->hints))
		p->hints.most = price_limits_of(l->prices, slice_cstr(p->record.model));
	usage_apply(&p->record, p->usage, &p->hints, &parts);
	unknown_apply(&p->record, p->metered);
	price_apply(l->prices, &p->record, &parts, reference_of(l, p->record.route));
	pthread_mutex_unlock(&l->settings_lock);
	/* A journal without room counts the record as dropped; the store may still get it by the queue. */
	journal_append(l->journal, &p->record, &after);
	pthread_mutex_lock(&l->lock);
	l->stats.lines++;
	l->stats.records++;
	l->stats.fallbacks += p->fallback;
	enqueue(l, &p->record, NULL, after);
	pthread_mutex_unlock(&l->lock);
}

void ledger_join(void *ctx, record *r, const tap_report *report)
{
	ledger *l = ctx;
	usage_parts parts;

	if (!usage_apply_report(r, report, &parts))
		return;
	pthread_mutex_lock(&l->settings_lock);
	price_apply(l->prices, r, &parts, reference_of(l, r->route));
	pthread_mutex_unlock(&l->settings_lock);
}

void ledger_take_report(ledger *l, slice datagram)
{
	const char *problem;
	tap_report report;
	journal_mark after = { 0 };
	bool ok = tap_report_parse(datagram, clock_wall_ms(), &report, &problem);

	if (ok)
		journal_append_report(l->journal, &report, &after);
	pthread_mutex_lock(&l->lock);
	l->stats.reports += ok;
	l->stats.reports_malformed += !ok;
	if (ok)
		enqueue(l, NULL, &report, after);
	pthread_mutex_unlock(&l->lock);
	if (!ok)
		log_event(tap_report_malformed, LOG_C("problem", problem), LOG_I("bytes", datagram.len));
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
	char text[sizeof((err){ 0 }).text];

	journal_flush(l->journal);
	pthread_mutex_lock(&l->lock);
	l->flush_ms = clock_mono_ms();
	if (l->count >= l->wanted || l->missed)
		pthread_cond_signal(&l->wake);
	pthread_mutex_unlock(&l->lock);
	ledger_look_for_a_hang(l, text, sizeof text);
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
	logline_last_free(l->last);
	price_table_unref(l->prices);
	free_references(l->references, l->references_count);
	for (; l->count; l->count--) {
		free(l->queue[l->head].report);
		l->head = (l->head + 1) % LEDGER_QUEUE;
	}
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
	l->round_ms = l->flush_ms = clock_mono_ms();
	l->backlog = o->backlog;
	l->budgets = l->next_budgets = o->budgets;
	l->key = strdup(o->key);
	l->queue = malloc(LEDGER_QUEUE * sizeof *l->queue);
	snprintf(path, sizeof path, "%s/ledger.db", o->dir);
	l->db_path = strdup(path);
	snprintf(path, sizeof path, "%s/journal", o->dir);
	l->last = logline_last_new();
	if (!l->key || !l->queue || !l->db_path || !l->last || !recent_init(&l->ids, LEDGER_RECENT)) {
		err_memory(e);
		ledger_free(l);
		return NULL;
	}
	l->journal = journal_open(path, SEGMENT_BYTES, o->journal_max, e);
	if (!l->journal) {
		ledger_free(l);
		return NULL;
	}
	int rc = thread_start(&l->sync_thread, ledger_sync_main, l);
	if (rc != 0) {
		err_set(e, "the thread that syncs the journal: %s", strerror(rc));
		ledger_free(l);
		return NULL;
	}
	rc = thread_start(&l->store_thread, ledger_store_main, l);
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

void ledger_set_budgets(ledger *l, ledger_budgets budgets)
{
	pthread_mutex_lock(&l->settings_lock);
	l->next_budgets = budgets;
	pthread_mutex_unlock(&l->settings_lock);
}

void ledger_set_settings(ledger *l, const store_settings *settings)
{
	pthread_mutex_lock(&l->settings_lock);
	l->settings = *settings;
	pthread_mutex_unlock(&l->settings_lock);
}

void ledger_shipped(ledger *l, const char *uuid, const char *epoch, int64_t position)
{
	pthread_mutex_lock(&l->settings_lock);
	snprintf(l->shipped.uuid, sizeof l->shipped.uuid, "%s", uuid);
	snprintf(l->shipped.epoch, sizeof l->shipped.epoch, "%s", epoch);
	l->shipped.sequence = position;
	pthread_mutex_unlock(&l->settings_lock);
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
	char text[sizeof((err){ 0 }).text];
	bool hangs = ledger_look_for_a_hang(l, text, sizeof text);

	pthread_mutex_lock(&l->lock);
	ledger_stats stats = l->stats;
	stats.queued = l->count;
	pthread_mutex_unlock(&l->lock);
	if (hangs) {
		stats.state = LEDGER_BEHIND;
		snprintf(stats.problem, sizeof stats.problem, "%s", text);
	}
	stats.journal = journal_get_stats(l->journal);
	return stats;
}

void ledger_get_ends(ledger *l, ends *out)
{
	pthread_mutex_lock(&l->ends_lock);
	*out = l->ends;
	pthread_mutex_unlock(&l->ends_lock);
}

uint64_t ledger_refused(ledger *l, end_refusal why)
{
	pthread_mutex_lock(&l->ends_lock);
	uint64_t n = ends_refused(&l->ends, why);
	pthread_mutex_unlock(&l->ends_lock);
	return n;
}
