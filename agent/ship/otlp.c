/* SPDX-License-Identifier: MIT */
#include "ship/otlp.h"

#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "ship/batch.h"
#include "ship/otlp_place.h"
#include "ship/post.h"

enum {
	LOOK_MS = 500,   /* between two looks whether rows have come */
	RETRY_MS = 1000, /* after the first failure; twice as long after each further one */
	RETRY_MOST_MS = 30 * 1000,
	RETRY_AFTER_MOST_S = 3600, /* of what a collector asks for */
	/* A row whose report of the tap has not come waits so long for it, because the report changes the span. */
	REPORT_MS = 10 * 1000,
	/* A ledger of which nothing is known begins so long before its last request that was sent, or before now. */
	BEGIN_MS = 3600 * 1000,
	HEAD_BYTES = 8192, /* of a request without its spans */
};

typedef enum sent { SENT, SENT_LATER, SENT_REFUSED, SENT_STOPPED } sent;

typedef struct row {
	size_t begin; /* of its span in `spans` */
	int64_t sequence, end_ms;
} row;

struct otlp {
	const otlp_settings *set;
	pthread_t thread;
	pthread_mutex_t lock; /* guards `told`, which is `status` as of the last look */
	struct status {
		ship_state state;
		char problem[sizeof((err){ 0 }).text];
		char uuid[sizeof((store_id){ .sequence = 0 }).uuid];
		int64_t position, behind, since_ms;
		int64_t sent, dropped, unsampled;
	} status, told;

	/* of the thread */
	store *store;
	post *post;
	post_settings posting;
	char url[1100], agent[64];
	span_source from;
	otlp_place place;
	bool placed; /* `place` is that of this ledger */
	row rows[OTLP_ROWS];
	size_t count;
	bool more; /* there may be rows behind these */
	bool held; /* the next row waits for the tap's report */
	size_t read, unsampled;
	int64_t skipped; /* the sequence of the last row, where no span was made of it; 0: it was */
	buf spans, packed;
	int64_t even_ms; /* when the collector had all rows last, by the monotonic clock; 0: not yet */
	int64_t retry_ms, retry_after_s;
	bool said; /* the failure that lasts was logged */
};

/* ---- status */

static bool stopping(const otlp *o)
{
	struct pollfd fd = { .fd = o->set->stop_fd, .events = POLLIN };
	return poll(&fd, 1, 0) > 0;
}

/* Reads how far the ledger is ahead, and tells the status. */
static void look(otlp *o)
{
	int64_t now = clock_mono_ms();
	store_id id;
	err e;

	if (o->store && o->placed && store_identity(o->store, &id, &e) == STORE_OK) {
		o->status.behind = id.sequence > o->place.position ? id.sequence - o->place.position : 0;
		if (!o->status.behind)
			o->even_ms = now;
		if (o->status.behind && o->status.state == SHIP_OK)
			o->status.state = SHIP_BEHIND;
	}
	o->status.position = o->place.position;
	o->status.since_ms = o->even_ms;
	pthread_mutex_lock(&o->lock);
	o->told = o->status;
	pthread_mutex_unlock(&o->lock);
}

static void set_state(otlp *o, ship_state state, const char *problem)
{
	o->status.state = state;
	snprintf(o->status.problem, sizeof o->status.problem, "%s", problem);
	look(o);
}

/* Waits, and tells the status once a second. False: the thread has to end. */
static bool pause_ms(otlp *o, int64_t ms)
{
	int64_t until = clock_mono_ms() + ms;
	struct pollfd fd = { .fd = o->set->stop_fd, .events = POLLIN };

	for (int64_t left = ms; left > 0; left = until - clock_mono_ms()) {
		if (poll(&fd, 1, left < 1000 ? (int)left : 1000) > 0)
			return false;
		look(o);
	}
	return !stopping(o);
}

static void fail(otlp *o, bool refused, const err *e)
{
	bool known = o->said && strcmp(o->status.problem, e->text) == 0;

	if (!known && refused)
		log_event(otlp_refused, LOG_C("problem", e->text));
	else if (!known)
		log_event(otlp_waits, LOG_C("problem", e->text), LOG_C("instead", "the ledger keeps the rows"));
	o->said = true;
	set_state(o, refused ? SHIP_REFUSED : SHIP_CONNECTING, e->text);
}

size_t otlp_report(otlp *o, char out[OTLP_REPORT_MAX])
{
	char problem[sizeof o->told.problem];

	pthread_mutex_lock(&o->lock);
	struct status st = o->told;
	pthread_mutex_unlock(&o->lock);
	ship_plain(problem, sizeof problem, st.problem);
	int64_t lag = st.behind && st.since_ms ? clock_mono_ms() - st.since_ms : 0;
	int len = snprintf(
		out, OTLP_REPORT_MAX,
		"{\"v\":1,\"kind\":\"otlp\",\"pid\":%d,\"behind\":%" PRId64 ",\"lag_ms\":%" PRId64 ",\"sent\":%" PRId64
		",\"dropped\":%" PRId64 ",\"unsampled\":%" PRId64 ",\"state\":\"%s\",\"problem\":\"%s\"}",
		(int)getpid(), st.behind, lag, st.sent, st.dropped, st.unsampled, ship_state_name(st.state), problem);
	return len > 0 && len < OTLP_REPORT_MAX ? (size_t)len : 0;
}

/* ---- the place */

/* Finds out where to go on in this ledger. */
static bool find_place(otlp *o, const store_id *id, err *e)
{
	otlp_place *p = &o->place;
	int64_t since = clock_wall_ms(), first;

	if (!*p->uuid && !otlp_place_read(p, o->set->dir, e)) {
		log_event(otlp_anew, LOG_C("problem", e->text));
		memset(p, 0, sizeof *p);
	}
	bool same = strcmp(p->uuid, id->uuid) == 0;
	if (same && strcmp(p->epoch, id->epoch) == 0 && p->position <= id->sequence) {
		o->placed = true;
		return true;
	}
	/* Another copy of the ledger has other sequences. What it has of the time that was sent is sent already; one
	 * hour of it comes again, because requests end in another order than they begin. */
	if (same && p->time_ms < since)
		since = p->time_ms;
	if (store_first_since(o->store, since - BEGIN_MS, &first, e) != STORE_OK)
		return false;
	p->position = first - 1;
	if (p->time_ms == 0 && since > BEGIN_MS)
		p->time_ms = since - BEGIN_MS;
	memcpy(p->uuid, id->uuid, sizeof p->uuid);
	memcpy(p->epoch, id->epoch, sizeof p->epoch);
	o->placed = otlp_place_keep(p, o->set->dir, e);
	if (!o->placed)
		*p->uuid = '\0'; /* to be read again */
	return o->placed;
}

static bool add_requests(void *ctx, int64_t time_ms, const store_sums *sums)
{
	(void)time_ms;
	*(int64_t *)ctx += sums->requests;
	return true;
}

/* Counts the requests that retention has removed before they were sent: by the ledger's sums, those of whole hours
 * after the last request that was sent. All of these had not been sent. */
static bool count_removed(otlp *o, err *e)
{
	otlp_place next = o->place;
	int64_t before, removed = 0;

	if (store_pruned(o->store, &before, e) != STORE_OK)
		return false;
	next.time_ms = before - before % HOUR_MS - 1;
	/* Which of them had to be sent is not known if some are left out. */
	if (o->set->sampled_only || next.time_ms <= o->place.time_ms)
		return true;
	if (store_series(o->store, GROUP_NONE, false, o->place.time_ms + 1, next.time_ms + 1, add_requests, &removed,
			 e) != STORE_OK ||
	    !otlp_place_keep(&next, o->set->dir, e))
		return false;
	if (removed)
		log_event(otlp_removed, LOG_I("spans", removed));
	o->status.dropped += removed;
	o->place = next;
	return true;
}

/* ---- reading */

/* True if the tap's report of `r` may still come. */
static bool may_change(const record *r, int64_t end_ms)
{
	int64_t age = clock_wall_ms() - end_ms;
	return r->tap == TAP_MISSING && age >= 0 && age < REPORT_MS;
}

static bool take(void *ctx, const record *r)
{
	otlp *o = ctx;
	size_t begin = buf_len(&o->spans);
	int64_t end_ms;

	if (__builtin_add_overflow(r->time_ms, r->total_ms > 0 ? r->total_ms : 0, &end_ms))
		end_ms = INT64_MAX;
	o->held = may_change(r, end_ms);
	if (o->held)
		return false;
	o->more = ++o->read > OTLP_ROWS;
	if (o->set->sampled_only && span_unsampled(r)) {
		o->unsampled++;
		o->skipped = r->sequence;
		return true;
	}
	o->more = o->more || o->count == OTLP_ROWS || !span_append(&o->spans, r);
	if (o->more)
		return false;
	o->rows[o->count++] = (row){ .begin = begin, .sequence = r->sequence, .end_ms = end_ms };
	o->skipped = 0;
	return true;
}

static bool read_rows(otlp *o, err *e)
{
	o->count = 0;
	o->more = o->held = false;
	o->read = o->unsampled = 0;
	o->skipped = 0;
	o->spans.start = o->spans.end = 0;
	if (store_changes(o->store, o->place.position, OTLP_ROWS + 1, take, o, e) != STORE_OK)
		return false;
	return !o->count || batch_settle(o->set->db, e);
}

/* ---- sending */

/* Packs a request of the spans [begin, end) into `packed`. */
static bool pack(otlp *o, size_t begin, size_t end, err *e)
{
	z_stream z = { .zalloc = NULL };
	buf head;

	buf_init(&head, HEAD_BYTES);
	o->packed.start = o->packed.end = 0;
	bool ok = span_request_head(&head, &o->from, end - begin) &&
		  deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK;
	if (ok) {
		ok = buf_reserve(&o->packed, deflateBound(&z, (uLong)(buf_len(&head) + end - begin)));
		z.next_out = o->packed.data;
		z.avail_out = ok ? (uInt)(o->packed.cap) : 0;
		z.next_in = head.data;
		z.avail_in = (uInt)buf_len(&head);
		ok = ok && deflate(&z, Z_NO_FLUSH) == Z_OK;
		z.next_in = o->spans.data + o->spans.start + begin;
		z.avail_in = (uInt)(end - begin);
		ok = ok && deflate(&z, Z_FINISH) == Z_STREAM_END;
		o->packed.end = z.total_out;
		deflateEnd(&z);
	}
	buf_deinit(&head);
	return ok || err_memory(e);
}

/* Notes that the collector has, or will never have, the first `count` rows. */
static bool move(otlp *o, size_t count, err *e)
{
	otlp_place next = o->place;

	next.position = o->rows[count - 1].sequence;
	for (size_t i = 0; i < count; i++)
		if (o->rows[i].end_ms > next.time_ms)
			next.time_ms = o->rows[i].end_ms;
	if (!otlp_place_keep(&next, o->set->dir, e))
		return false;
	o->place = next;
	return true;
}

static void drop(otlp *o, size_t from, size_t to, int64_t count, const char *problem)
{
	o->status.dropped += count;
	log_event(otlp_dropped, LOG_I("spans", count), LOG_I("from_sequence", o->rows[from].sequence),
		  LOG_I("to_sequence", o->rows[to - 1].sequence), LOG_C("problem", problem));
}

/* Does what the collector's answer asks for. `*halve`: the request is too large. */
static sent take_answer(otlp *o, size_t from, size_t to, const post_answer *a, bool *halve, err *e)
{
	char why[256];
	int64_t count = (int64_t)(to - from);

	snprintf(why, sizeof why, "the collector at %.150s answers %d", o->url, a->status);
	if (a->status >= 200 && a->status < 300) {
		int64_t rejected = span_rejected(slice_of(a->body, a->body_len), a->cut);
		if (rejected > count)
			rejected = count;
		if (rejected)
			drop(o, from, to, rejected, "the collector took only the others of this request");
		o->status.sent += count - rejected;
		return SENT;
	}
	switch (a->status) {
	case 413:
		*halve = count > 1;
		if (!*halve)
			drop(o, from, to, count, why);
		return SENT;
	case 429:
	case 502:
	case 503:
	case 504:
		o->retry_after_s = a->retry_s < RETRY_AFTER_MOST_S ? a->retry_s : RETRY_AFTER_MOST_S;
		err_set(e, "%s", why);
		return SENT_LATER;
	case 401:
	case 403:
		err_set(e, "%s: look at the key in otlp_headers_file", why);
		return SENT_REFUSED;
	case 404:
	case 405:
		err_set(e, "%s: look at the path in otlp_endpoint", why);
		return SENT_REFUSED;
	case 407:
		err_set(e, "%s: look at the proxy, which https_proxy names", why);
		return SENT_REFUSED;
	default:
		break;
	}
	if (a->status < 400) { /* a redirection, or what is no answer of a collector */
		err_set(e, "%s: look at otlp_endpoint, because redirections are not followed", why);
		return SENT_REFUSED;
	}
	drop(o, from, to, count, why);
	return SENT;
}

/* Sends the rows [from, to). All before them are settled. */
static sent send_rows(otlp *o, size_t from, size_t to, err *e)
{
	size_t begin = o->rows[from].begin, end = to < o->count ? o->rows[to].begin : buf_len(&o->spans);
	post_answer answer;
	bool halve = false;

	if (!pack(o, begin, end, e))
		return SENT_LATER;
	post_result result = post_send(o->post, buf_slice(&o->packed), &answer, e);
	if (result == POST_STOPPED)
		return SENT_STOPPED;
	if (result != POST_ANSWERED)
		return result == POST_LOST ? SENT_LATER : SENT_REFUSED;
	sent done = take_answer(o, from, to, &answer, &halve, e);
	if (halve) {
		size_t middle = from + (to - from) / 2;
		done = send_rows(o, from, middle, e);
		return done == SENT ? send_rows(o, middle, to, e) : done;
	}
	/* Without the position, spans would be sent again after a restart, and for ever if the disk stays full. */
	if (done == SENT && !move(o, to, e))
		return SENT_REFUSED;
	return done;
}

/* ---- the thread */

/* Reads and sends once. */
static sent step(otlp *o, err *e)
{
	store_result opened = STORE_OK;
	store_id id;

	if (!o->store)
		o->store = store_open(o->set->db, false, &opened, e);
	if (!o->store || store_identity(o->store, &id, e) != STORE_OK)
		return SENT_LATER;
	o->placed = o->placed && strcmp(id.uuid, o->place.uuid) == 0 && strcmp(id.epoch, o->place.epoch) == 0 &&
		    id.sequence >= o->place.position;
	if (!o->placed && !find_place(o, &id, e))
		return SENT_REFUSED;
	memcpy(o->status.uuid, id.uuid, sizeof id.uuid);
	o->from = o->set->from;
	o->from.uuid = o->status.uuid;
	if (!o->post && !(o->post = post_new(&o->posting, e)))
		return SENT_REFUSED;
	if (!count_removed(o, e) || !read_rows(o, e))
		return SENT_LATER;
	sent done = o->count ? send_rows(o, 0, o->count, e) : SENT;
	if (done != SENT)
		return done;
	/* Rows without a span, and sequences without a row, move the place in memory alone: they are passed over again
	 * after a restart. */
	o->status.unsampled += (int64_t)o->unsampled;
	if (o->skipped > o->place.position)
		o->place.position = o->skipped;
	if (!o->read && !o->held && id.sequence > o->place.position)
		o->place.position = id.sequence;
	return SENT;
}

static void *otlp_main(void *arg)
{
	otlp *o = arg;

	while (!stopping(o)) {
		err e = { 0 };
		sent done = step(o, &e);
		if (done == SENT_STOPPED)
			break;
		if (done == SENT) {
			o->said = false;
			o->retry_ms = RETRY_MS;
			set_state(o, o->more ? SHIP_BEHIND : SHIP_OK, "");
			if (!o->more && !pause_ms(o, LOOK_MS))
				break;
			continue;
		}
		fail(o, done == SENT_REFUSED, &e);
		int64_t wait = o->retry_ms / 2 + (int64_t)((uint64_t)clock_mono_ns() % (uint64_t)(o->retry_ms / 2));
		o->retry_ms = o->retry_ms * 2 < RETRY_MOST_MS ? o->retry_ms * 2 : RETRY_MOST_MS;
		if (o->retry_after_s * 1000 > wait)
			wait = o->retry_after_s * 1000;
		o->retry_after_s = 0;
		if (!pause_ms(o, wait))
			break;
	}
	store_close(o->store);
	post_free(o->post);
	buf_deinit(&o->spans);
	buf_deinit(&o->packed);
	return NULL;
}

otlp *otlp_start(const otlp_settings *settings, err *e)
{
	otlp *o = calloc(1, sizeof *o);

	if (!o) {
		err_memory(e);
		return NULL;
	}
	o->set = settings;
	o->retry_ms = RETRY_MS;
	o->even_ms = clock_mono_ms();
	pthread_mutex_init(&o->lock, NULL);
	buf_init(&o->spans, OTLP_BYTES);
	buf_init(&o->packed, 2 * OTLP_BYTES);
	size_t len = strlen(settings->endpoint);
	bool whole = len > 10 && strcmp(settings->endpoint + len - 10, "/v1/traces") == 0;
	snprintf(o->url, sizeof o->url, "%.*s%s", (int)(len - (len && settings->endpoint[len - 1] == '/')),
		 settings->endpoint, whole ? "" : "/v1/traces");
	snprintf(o->agent, sizeof o->agent, "spoa-llm/%s", settings->from.version);
	o->posting = (post_settings){ .url = o->url,
				      .headers_file = settings->headers_file,
				      .ca_file = settings->ca_file,
				      .agent = o->agent,
				      .stop_fd = settings->stop_fd };
	int rc = thread_start(&o->thread, otlp_main, o);
	if (rc == 0)
		return o;
	err_set(e, "the thread that sends spans: %s", strerror(rc));
	free(o);
	return NULL;
}

bool otlp_join(otlp *o, const struct timespec *until)
{
	if (pthread_timedjoin_np(o->thread, NULL, until) != 0)
		return false;
	log_event(otlp_ended, LOG_I("sent", o->status.sent), LOG_I("dropped", o->status.dropped));
	pthread_mutex_destroy(&o->lock);
	free(o);
	return true;
}
