/* SPDX-License-Identifier: MIT */
#include "ops/http.h"

#include <stdlib.h>

#include "base/text.h"
#include "ops/access.h"
#include "ops/admin_impl.h"
#include "ops/job_url.h"
#include "ops/metrics.h"
#include "ops/page.h"

enum { PATH_ROOM = 64 };

/* One request, from its first line to its end. */
typedef struct request {
	http_listener *listener;
	char path[PATH_ROOM]; /* as written, without the query; "": longer than any path that is served */
	bool begun, too_large;
	access_role role;
	char *body;
	size_t body_len;
	answer answer; /* of a job */
} request;

/* ---- answers */

static void add_headers(struct MHD_Response *r, const char *type, const char *cache)
{
	MHD_add_response_header(r, "Content-Type", type);
	MHD_add_response_header(r, "Cache-Control", cache);
	MHD_add_response_header(r, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(r, "Cross-Origin-Resource-Policy", "same-origin");
	MHD_add_response_header(r, "Referrer-Policy", "no-referrer");
}

/* Answers with the body `text`, which is from malloc() and taken over. `name` and `value`: a further header; NULL:
 * none.
 */
static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type, char *text, size_t len,
			     const char *name, const char *value)
{
	struct MHD_Response *r;
	enum MHD_Result rc = MHD_NO;

	if (!text)
		return MHD_NO;
	r = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!r) {
		free(text);
		return MHD_NO;
	}
	add_headers(r, type, "no-store");
	MHD_add_response_header(r, "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'");
	if (name)
		MHD_add_response_header(r, name, value);
	rc = MHD_queue_response(c, status, r);
	MHD_destroy_response(r);
	return rc;
}

/* Answers {"error": TEXT}. */
static enum MHD_Result reply_error(struct MHD_Connection *c, unsigned status, const char *text, const char *name,
				   const char *value)
{
	char *body = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&body, &len);

	if (!f)
		return MHD_NO;
	fputs("{\"error\":", f);
	json_write_text(f, text);
	fputs("}\n", f);
	fclose(f);
	return reply(c, status, "application/json", body, len, name, value);
}

/* Tells whether the client takes gzip, as browsers say it: by its name, without a weight of 0. */
static bool takes_gzip(struct MHD_Connection *c)
{
	const char *codings = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept-Encoding");
	const char *gzip = codings ? strcasestr(codings, "gzip") : NULL;

	return gzip && strncmp(gzip + strlen("gzip"), ";q=0", strlen(";q=0")) != 0;
}

static enum MHD_Result reply_file(struct MHD_Connection *c, const page_file *p)
{
	const char *known = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "If-None-Match");
	bool same = known && strstr(known, p->etag), packed = takes_gzip(c);
	void *bytes; /* not const, as libmicrohttpd's parameter, though libmicrohttpd does not change the bytes */
	memcpy(&bytes, packed ? &p->packed : &p->bytes, sizeof bytes);
	struct MHD_Response *r = MHD_create_response_from_buffer(same   ? 0 :
								 packed ? p->packed_len :
									  p->len,
								 bytes, MHD_RESPMEM_PERSISTENT);

	if (!r)
		return MHD_NO;
	/* no-cache: the browser asks each time and gets 304, so that page and data fit together after an upgrade. */
	add_headers(r, p->type, "no-cache");
	MHD_add_response_header(r, "ETag", p->etag);
	MHD_add_response_header(r, "Vary", "Accept-Encoding");
	if (packed && !same)
		MHD_add_response_header(r, "Content-Encoding", "gzip");
	MHD_add_response_header(
		r, "Content-Security-Policy",
		"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
		"base-uri 'none'; frame-ancestors 'none'; form-action 'none'");
	enum MHD_Result rc = MHD_queue_response(c, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	return rc;
}

/* ---- paths */

typedef enum target_id { LIVEZ, READYZ, METRICS, STATS, EVENTS, JOB } target_id;

static const struct target {
	const char *path;
	target_id id;
	bool get, post;
	bool open;    /* served without a token, too */
	bool admin;   /* served for the admin's token only */
	job_kind job; /* of JOB */
} targets[] = {
	{ "/livez", LIVEZ, .get = true, .open = true },
	{ "/readyz", READYZ, .get = true, .open = true },
	{ "/metrics", METRICS, .get = true },
	{ "/stats", STATS, .get = true },
	{ "/events", EVENTS, .get = true },
	{ "/savings", JOB, .get = true, .job = JOB_FIGURES },
	{ "/operation", JOB, .get = true, .job = JOB_FIGURES },
	{ "/requests", JOB, .get = true, .job = JOB_FIGURES },
	{ "/request", JOB, .get = true, .job = JOB_FIGURES },
	{ "/gateways", JOB, .get = true, .job = JOB_FIGURES },
	{ "/stats-history", JOB, .get = true, .job = JOB_STATS_HISTORY },
	{ "/explain", JOB, .get = true, .post = true, .admin = true, .job = JOB_EXPLAIN },
	{ "/reload", JOB, .post = true, .admin = true, .job = JOB_RELOAD },
};

static const struct target *target_of(const char *path)
{
	for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++)
		if (strcmp(targets[i].path, path) == 0)
			return &targets[i];
	return NULL;
}

static const page_file *file_of(const char *path)
{
	for (size_t i = 0; i < page_files_count; i++)
		if (strcmp(page_files[i].path, path) == 0)
			return &page_files[i];
	return NULL;
}

/* ---- who may ask: see access.h */

static bool is_get(const char *method)
{
	return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

/* `*refused` true: a refusal was queued, its result is returned. False: the request may go on. */
static enum MHD_Result refuse(request *q, struct MHD_Connection *c, const char *method, const char *version,
			      bool *refused)
{
	const struct target *t = target_of(q->path);
	bool file = !t && file_of(q->path);
	bool post = strcmp(method, MHD_HTTP_METHOD_POST) == 0;

	*refused = true;
	if (access_hosts(c) > 1)
		return reply_error(c, MHD_HTTP_BAD_REQUEST, "more than one Host", NULL, NULL);
	if (!access_host_allowed(q->listener, c, version))
		return reply_error(c, MHD_HTTP_MISDIRECTED_REQUEST, "this Host is not served here", NULL, NULL);
	q->role = access_role_of(q->listener->admin, c);
	/* Before 404, so that a client without a token does not learn which paths exist. */
	if (!file && !(t && t->open) && q->role == ACCESS_NONE)
		return reply_error(c, MHD_HTTP_UNAUTHORIZED, "a bearer token is needed", "WWW-Authenticate",
				   "Bearer realm=\"spoa-llm\"");
	if (!t && !file)
		return reply_error(c, MHD_HTTP_NOT_FOUND, "there is no such path", NULL, NULL);
	if (!(is_get(method) && (file || t->get)) && !(post && t && t->post))
		return reply_error(c, MHD_HTTP_METHOD_NOT_ALLOWED, "this method is not allowed here", "Allow",
				   file || !t->post ? "GET, HEAD" :
				   t->get           ? "GET, HEAD, POST" :
						      "POST");
	if (t && !t->open && access_is_foreign(c))
		return reply_error(c, MHD_HTTP_FORBIDDEN, "pages of other sites may not ask this", NULL, NULL);
	if (t && t->admin && q->role != ACCESS_ADMIN)
		return reply_error(
			c, MHD_HTTP_FORBIDDEN,
			q->listener->admin->admin_token.source ?
				"this needs the admin_token; the viewer_token only lets read" :
				"this needs an admin_token, and none is configured; the viewer_token only lets read",
			NULL, NULL);
	if (post && !access_is_own(c))
		return reply_error(
			c, MHD_HTTP_FORBIDDEN,
			"a POST needs the header X-Requested-With: spoa-llm, and must not have the Origin of another site",
			NULL, NULL);
	const char *length = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Content-Length");
	if (length && (strlen(length) > 9 || strtoul(length, NULL, 10) > ADMIN_BODY_MAX))
		return reply_error(c, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large", NULL, NULL);
	*refused = false;
	return MHD_NO;
}

/* ---- answers by a job */

static enum MHD_Result give_job(request *q, struct MHD_Connection *c, job_kind kind, const char *method)
{
	err e = { 0 };
	job *j = calloc(1, sizeof *j);

	if (!j)
		return MHD_NO;
	j->kind = kind;
	j->connection = c;
	j->answer = &q->answer;
	j->question.explain = q->role == ACCESS_ADMIN;
	if (!is_get(method)) {
		job_take_body(j, &q->body, q->body_len);
	} else if (!job_take_url(j, q->path + 1, c, &e)) {
		job_free(j);
		return reply_error(c, MHD_HTTP_BAD_REQUEST, e.text, NULL, NULL);
	}
	if (!jobs_add(admin_lane(q->listener->admin, j), j))
		return reply_error(c, MHD_HTTP_SERVICE_UNAVAILABLE, "too many requests wait already", "Retry-After",
				   "1");
	return MHD_YES;
}

static enum MHD_Result give_result(request *q, struct MHD_Connection *c)
{
	answer out = q->answer;
	char disposition[80];

	q->answer = (answer){ .status = 0 };
	if (out.status != MHD_HTTP_OK) {
		enum MHD_Result rc = reply_error(c, out.status, out.text ? out.text : "out of memory", NULL, NULL);
		free(out.text);
		return rc;
	}
	if (!out.filename)
		return reply(c, out.status, out.type, out.text, out.len, NULL, NULL);
	snprintf(disposition, sizeof disposition, "attachment; filename=\"%s\"", out.filename);
	return reply(c, out.status, out.type, out.text, out.len, "Content-Disposition", disposition);
}

/* ---- answers at once */

static enum MHD_Result give_health(request *q, struct MHD_Connection *c, bool live)
{
	admin *a = q->listener->admin;
	host_check checks[HOST_CHECKS_MAX];
	size_t count = a->host.checks(a->host.ctx, checks), len = 0;
	bool ok = checks_ready(checks, count);
	char *text = NULL;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return MHD_NO;
	/* /livez checks the SPOP threads only, because a restart would fix nothing else. */
	for (size_t i = 0; live && i < count; i++)
		if (strcmp(checks[i].part, "workers") == 0)
			ok = checks[i].ok;
	fprintf(f, "{\"status\":\"%s\",\"checks\":", ok ? "ok" : "failing");
	checks_write(f, checks, count, q->role != ACCESS_NONE, NULL);
	fputs("}\n", f);
	fclose(f);
	return reply(c, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", text, len, NULL, NULL);
}

static enum MHD_Result give_metrics(request *q, struct MHD_Connection *c)
{
	admin *a = q->listener->admin;
	host_check checks[HOST_CHECKS_MAX];
	host_snapshot s;
	size_t len = 0;
	char *text = NULL;

	if (!a->host.snapshot(a->host.ctx, &s))
		return MHD_NO;
	size_t count = a->host.checks(a->host.ctx, checks);
	FILE *f = open_memstream(&text, &len);
	if (f) {
		/* Sums that are not known yet are left out. If they were shown as 0, the counters would then jump by
		 * the whole ledger. */
		metrics_write(f, &s, checks, count, totals_lock(&a->totals), a->requests);
		totals_unlock(&a->totals);
		fclose(f);
	}
	host_snapshot_deinit(&s);
	return reply(c, MHD_HTTP_OK, METRICS_TYPE, text, len, NULL, NULL);
}

static enum MHD_Result give_stats(request *q, struct MHD_Connection *c)
{
	uint64_t version;
	size_t len;
	char *text = admin_stats(q->listener->admin, &len, &version), *out = NULL;
	size_t out_len = 0;
	FILE *f = text ? open_memstream(&out, &out_len) : NULL;

	if (f) {
		stats_write_role(f, text, len, access_role_name(q->role));
		fclose(f);
	}
	free(text);
	return reply(c, MHD_HTTP_OK, "application/json", out, out_len, NULL, NULL);
}

static const char *role_now(void *ctx, struct MHD_Connection *c)
{
	access_role role = access_role_of(ctx, c);

	return role == ACCESS_NONE ? NULL : access_role_name(role);
}

static enum MHD_Result give_events(request *q, struct MHD_Connection *c, const char *method)
{
	if (strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
		char *none = strdup("");
		return reply(c, MHD_HTTP_OK, "text/event-stream", none, 0, NULL, NULL);
	}
	admin *a = q->listener->admin;
	uint64_t version;
	size_t len;
	/* Publish, so that the new client has the first event at once. */
	char *text = admin_stats(a, &len, &version);
	if (text)
		events_publish(&a->events, text, len, version);
	const char *why;
	struct MHD_Response *r = events_open(&a->events, c, role_now, a, &why);
	if (!r)
		return reply_error(c, MHD_HTTP_SERVICE_UNAVAILABLE, why, "Retry-After", "5");
	add_headers(r, "text/event-stream", "no-store");
	/* Tells a proxy to pass each event on at once. */
	MHD_add_response_header(r, "X-Accel-Buffering", "no");
	enum MHD_Result rc = MHD_queue_response(c, MHD_HTTP_OK, r);
	MHD_destroy_response(r);
	if (rc == MHD_YES)
		connections_set_state(c, CONNECTION_EVENTS);
	return rc;
}

static enum MHD_Result give(request *q, struct MHD_Connection *c, const char *method)
{
	const struct target *t = target_of(q->path);

	if (!t) {
		const page_file *file = file_of(q->path);
		return file ? reply_file(c, file) : MHD_NO;
	}
	switch (t->id) {
	case LIVEZ:
		return give_health(q, c, true);
	case READYZ:
		return give_health(q, c, false);
	case METRICS:
		return give_metrics(q, c);
	case STATS:
		return give_stats(q, c);
	case EVENTS:
		return give_events(q, c, method);
	case JOB:
		break;
	}
	return give_job(q, c, t->job, method);
}

/* ---- libmicrohttpd */

void *http_begin(void *cls, const char *uri, struct MHD_Connection *connection)
{
	request *q = calloc(1, sizeof *q);
	size_t len = strcspn(uri, "?");

	if (!q || !connections_set_request(connection, q)) {
		free(q);
		return NULL;
	}
	q->listener = cls;
	/* Not decoded, so that each path can be written in one way only. */
	if (len < sizeof q->path)
		memcpy(q->path, uri, len);
	return q;
}

/* False: out of memory. */
static bool take_body(request *q, const char *bytes, size_t len)
{
	if (q->too_large || len > ADMIN_BODY_MAX - q->body_len) {
		q->too_large = true;
		return true;
	}
	char *more = realloc(q->body, q->body_len + len + 1);
	if (!more)
		return false;
	memcpy(more + q->body_len, bytes, len);
	q->body = more;
	q->body_len += len;
	more[q->body_len] = '\0';
	return true;
}

enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			    const char *version, const char *upload, size_t *upload_len, void **context)
{
	http_listener *l = cls;
	request *q = *context;

	(void)url;
	if (!q)
		return MHD_NO;
	if (!q->begun) {
		bool refused;
		q->begun = true;
		l->admin->requests++;
		enum MHD_Result rc = refuse(q, connection, method, version, &refused);
		if (refused)
			connections_set_state(connection, CONNECTION_ANSWERED);
		return refused ? rc : MHD_YES;
	}
	if (*upload_len) {
		if (!take_body(q, upload, *upload_len))
			return MHD_NO;
		*upload_len = 0;
		return MHD_YES;
	}
	if (q->answer.status)
		return give_result(q, connection);
	connections_set_state(connection, CONNECTION_ANSWERED);
	if (q->too_large)
		return reply_error(connection, MHD_HTTP_CONTENT_TOO_LARGE, "the body is too large", NULL, NULL);
	return give(q, connection, method);
}

void http_free(void *context)
{
	request *q = context;

	free(q->body);
	free(q->answer.text);
	free(q);
}

void http_end(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode how)
{
	request *q = *context;

	(void)cls;
	(void)how;
	connections_set_state(connection, CONNECTION_ASKING);
	if (!q)
		return;
	connections_set_request(connection, NULL);
	http_free(q);
	*context = NULL;
}
