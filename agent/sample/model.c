/* SPDX-License-Identifier: MIT */
#include "sample/body.h"
#include "sample/decode.h"
#include "sample/multipart.h"
#include "sample/path.h"
#include "sample/plain.h"

#include <stdlib.h>

/* A body whose head and tail touch or overlap is joined and read as a whole, if it is not longer than this: twice the
 * largest sample that is worth configuring. A longer body is treated as if bytes were missing. */
#define JOIN_MAX ((size_t)128 * 1024)

typedef enum body_kind { KIND_OTHER, KIND_JSON, KIND_MULTIPART, KIND_URLENCODED } body_kind;

static body_kind kind_of(slice ctype)
{
	size_t end = slice_find(ctype, 0, ';');
	slice type = slice_trim(slice_first(ctype, end));
	slice suffix = type.len >= 5 ? slice_from(type, type.len - 5) : type;

	if (slice_ieq(type, SLICE("application/json")) || slice_ieq(type, SLICE("text/json")) ||
	    slice_ieq(suffix, SLICE("+json")))
		return KIND_JSON;
	if (slice_ieq(type, SLICE("multipart/form-data")))
		return KIND_MULTIPART;
	if (slice_ieq(type, SLICE("application/x-www-form-urlencoded")))
		return KIND_URLENCODED;
	return KIND_OTHER;
}

/* Works out which bytes of the body are known, and where they are. */
static void view_of(const model_sample *s, body_view *view)
{
	static _Thread_local char joined[JOIN_MAX];
	uint64_t buffered = s->buffered > s->body.len ? s->buffered : s->body.len;
	bool tail_ok = s->tail.len > 0 && s->buffered == buffered && s->tail.len <= buffered;
	uint64_t tail_at = tail_ok ? buffered - s->tail.len : buffered;

	*view = (body_view){ .head = s->body };
	view->ended = s->sized && s->length == buffered && s->buffered == buffered;
	view->gap = s->length > buffered;
	if (s->body.len == buffered)
		return;
	if (tail_ok && tail_at <= s->body.len && buffered <= JOIN_MAX) {
		memcpy(joined, s->body.ptr, s->body.len);
		memcpy(joined + tail_at, s->tail.ptr, s->tail.len);
		view->head = slice_of(joined, (size_t)buffered);
		return;
	}
	view->gap = true;
	if (tail_ok && view->ended)
		view->tail = tail_at >= s->body.len ? s->tail : slice_from(s->tail, s->body.len - (size_t)tail_at);
	else
		view->ended = false;
}

/* True if the body begins as an object, behind white space. `blank`: what is returned where it is all white space. */
static bool begins_object(slice head, bool blank)
{
	size_t at = json_skip_space(head, slice_starts(head, SLICE("\xef\xbb\xbf")) ? 3 : 0);

	return at < head.len ? head.ptr[at] == '{' : blank;
}

static bool json_like(slice head)
{
	return begins_object(head, false);
}

/* Reads JSON whose content-type says that it is a form, because `curl -d` says so of whatever it sends. An upstream
 * that believes the header could find a field in the middle of a JSON string: the model is clear only if both readings
 * name the same one. */
static body_result read_json_sent_as_form(const body_view *view, mentions *found, const char **detail)
{
	static const char sent_as_form[] = "the body is JSON, its content-type is a form's, and both name a model";
	mentions MENTIONS_LAZY form;
	const char *fault = NULL;

	mentions_init(&form);
	bool unclear = body_urlencoded(view, &form, &fault) == BODY_BAD;
	body_result end = body_json(view, true, found, detail);
	if (unclear || form.open || (form.any && !found->any))
		found->differ = sent_as_form;
	mentions_merge(found, &form, sent_as_form);
	return end;
}

static body_result read_body(const body_view *view, body_kind kind, slice ctype, mentions *found, model_from *from,
			     const char **detail)
{
	*from = MODEL_FROM_BODY;
	if (kind == KIND_MULTIPART) {
		*from = MODEL_FROM_FORM;
		return body_multipart(view, ctype, found, detail);
	}
	if (kind != KIND_URLENCODED)
		return body_json(view, kind == KIND_JSON, found, detail);
	if (!json_like(view->head)) {
		*from = MODEL_FROM_FORM;
		*detail = BODY_HIDDEN;
		return body_hidden(view->head) ? BODY_BAD : body_urlencoded(view, found, detail);
	}
	return read_json_sent_as_form(view, found, detail);
}

/* Returns why parsers could read the body in different ways because of its content-type; NULL: they could not. */
static const char *ctype_unclear(const body_view *view, body_kind kind, slice ctype)
{
	bool form = kind == KIND_MULTIPART || kind == KIND_URLENCODED;

	if (form || slice_icontains(ctype, SLICE("json")) || json_like(view->head))
		return content_type_fault(ctype, form);
	if (slice_icontains(ctype, SLICE("urlencoded")) || slice_icontains(ctype, SLICE("form-data")))
		return "the content-type is a form's to some parsers only";
	if (slice_icontains(ctype, SLICE("multipart/")) &&
	    (slice_icontains(view->head, SLICE("form-data")) || slice_icontains(view->tail, SLICE("form-data"))))
		return "the body is a form, and its content-type is not";
	return NULL;
}

static model_status body_status(const body_view *view, slice ctype, mentions *found, model_result *r)
{
	model_from from = MODEL_FROM_NONE;
	const char *detail = NULL, *fault = NULL;
	bool plain = slice_eq(ctype,
			      SLICE("application/json")); /* the most frequent one, in its most frequent spelling */
	body_kind kind = plain ? KIND_JSON : kind_of(ctype);

	if (!plain && (r->detail = ctype_unclear(view, kind, ctype)))
		return MODEL_AMBIGUOUS;
	body_result end = read_body(view, kind, ctype, found, &from, &detail);
	model_status status = mentions_status(found, &fault);

	r->looked = view->head.len + view->tail.len;
	found->read_all = end == BODY_ALL;
	if (end == BODY_BAD) {
		r->detail = detail;
		return from == MODEL_FROM_FORM ? MODEL_BAD_FORM : MODEL_MALFORMED;
	}
	if ((status == MODEL_FOUND && (end == BODY_CUT || found->open)) || (end != BODY_ALL && status == MODEL_NONE)) {
		r->detail = "the bytes that could name the model are not in the sample";
		return MODEL_UNKNOWN;
	}
	r->detail = fault;
	if (status == MODEL_FOUND)
		r->from = from;
	return status;
}

static model_status coded_status(const model_sample *s, const body_view *view, decode_coding coding, mentions *found,
				 model_result *r)
{
	char *out = NULL;
	size_t len = 0;
	model_status status = MODEL_UNKNOWN;
	decode_status decoded = decode_body(coding, view->head, DECODE_OUT_MAX, &out, &len);
	bool whole = view->ended && !view->gap;

	if (decoded == DECODE_BAD || (decoded == DECODE_CUT && whole)) {
		status = MODEL_BAD_CODING;
		r->detail = "the body is not what its content-encoding says";
	} else if (decoded == DECODE_FAILED) {
		r->detail = "no memory to decode the body";
		r->no_memory = true;
	} else {
		body_view plain = { .head = slice_of(out, len),
				    .ended = decoded == DECODE_COMPLETE,
				    .gap = decoded != DECODE_COMPLETE };
		status = body_status(&plain, s->ctype, found, r);
	}
	r->looked = view->head.len;
	free(out);
	return status;
}

/* Returns any status. For FOUND and NONE r->detail is NULL, otherwise it says what is wrong. */
static model_status find_in_body(const model_sample *s, mentions *found, model_result *r)
{
	body_view view;
	decode_coding coding = decode_coding_of(s->cenc);

	if (s->body.len == 0 && s->tail.len == 0 && s->buffered == 0 && s->length == 0)
		return MODEL_NONE;
	if (s->headers_unclear) {
		r->detail = "more than one content-type or content-encoding header";
		return MODEL_AMBIGUOUS;
	}
	if (s->body.len == 0) {
		r->detail = "the body was not sent";
		return MODEL_UNKNOWN;
	}
	if (coding == DECODE_UNKNOWN) {
		r->detail = "the content-encoding is not known";
		return MODEL_UNKNOWN;
	}
	view_of(s, &view);
	if (coding != DECODE_IDENTITY)
		return coded_status(s, &view, coding, found, r);
	model_status status = body_status(&view, s->ctype, found, r);
	if (s->between < BETWEEN_UNCLEAR || (status != MODEL_FOUND && status != MODEL_NONE) ||
	    !begins_object(view.head, true))
		return status;
	r->detail = "a model may stand in the middle of the body, which is too large to be seen whole";
	return MODEL_UNKNOWN;
}

/* Adds the model that one parameter of the query names. A plus sign means a space in a query that is still encoded, and
 * itself in a decoded one. Refuse it: no model's name has a space or a plus sign. */
static void query_param(slice param, mentions *found)
{
	char buf[MODEL_MAX];
	size_t len = 0;
	bool longer = false;
	const char *why = NULL;

	if (param.len == 0)
		return;
	if (!percent_decode(param, false, buf, sizeof buf, &len, &longer))
		why = "bad percent-encoding in the query's model";
	else if (longer)
		why = "the model's name is too long";
	else if (slice_find(param, 0, '+') < param.len)
		why = "a plus sign in the query's model";
	mentions_add(found, true, slice_of(buf, len), why);
}

/* Only Codex writes this header, and no upstream reads it: if it cannot be read, it is ignored. */
static void hint_model(slice hint, mentions *found)
{
	body_view view = { .head = hint, .ended = true };
	const char *detail = NULL;

	if (hint.len > 0 && body_json(&view, true, found, &detail) == BODY_BAD)
		mentions_init(found);
}

/* Adds what the query and, for a handshake, the header say to what the path says. Returns the place that decides if all
 * agree. */
static __attribute__((noinline)) model_from add_others(const model_sample *s, mentions *found)
{
	model_from from = found->any ? MODEL_FROM_PATH : MODEL_FROM_NONE;
	mentions MENTIONS_LAZY query, MENTIONS_LAZY hint;

	mentions_init(&query);
	query_param(s->model_param, &query);
	query_param(s->deployment_param, &query);
	if (query.differ)
		query.differ = "the query's model and deployment differ";
	if (s->query_unclear)
		query.differ = "the query names a model in more than one way";
	mentions_merge(found, &query, "the path and the query name different models");
	if (from == MODEL_FROM_NONE && query.any)
		from = MODEL_FROM_QUERY;
	if (!s->upgrade)
		return from;
	mentions_init(&hint);
	hint_model(s->model_hint, &hint);
	if (s->headers_unclear)
		hint.differ = "more than one x-codex-turn-metadata header";
	mentions_merge(found, &hint, "the header x-codex-turn-metadata names another model than path or query");
	return from == MODEL_FROM_NONE && hint.any ? MODEL_FROM_HEADER : from;
}

static void settle(const mentions *found, model_status status, model_from from, model_result *r)
{
	r->status = status;
	r->stream = found->stream;
	r->whole = found->said == STREAM_NO;
	r->stream_usage = found->usage == STREAM_USAGE_UNSEEN && found->read_all ? STREAM_USAGE_NOT_ASKED :
										   (stream_usage)found->usage;
	r->from = status == MODEL_FOUND ? from : MODEL_FROM_NONE;
	if (status != MODEL_FOUND)
		return;
	r->len = found->len;
	memcpy(r->name, found->name, found->len);
}

/* Settles a request whose path, query or header name a model, or may: `named` is what they say. */
static __attribute__((noinline)) void settle_named(const model_sample *s, mentions *named, model_from from,
						   model_result *r)
{
	mentions MENTIONS_LAZY body;
	model_status status = mentions_status(named, &r->detail);

	if (status == MODEL_AMBIGUOUS || status == MODEL_INVALID || s->upgrade) {
		settle(named, status, from, r);
		return;
	}
	mentions_init(&body);
	model_status in_body = find_in_body(s, &body, r);
	/* A body that cannot be seen whole: the upstream obeys the path, or at some endpoints the query. */
	bool decides = from == MODEL_FROM_PATH || (from == MODEL_FROM_QUERY && s->query_decides);
	bool unseen = in_body == MODEL_UNKNOWN && decides;
	if (in_body != MODEL_FOUND && in_body != MODEL_NONE && !unseen) {
		settle(&body, in_body, MODEL_FROM_NONE, r);
		return;
	}
	if (from == MODEL_FROM_QUERY && in_body == MODEL_FOUND)
		from = r->from;
	mentions_merge(named, &body,
		       from == MODEL_FROM_PATH ? "the path and the body name different models" :
						 "the query and the body name different models");
	r->no_memory = false;
	settle(named, mentions_status(named, &r->detail), from, r);
}

void model_find(const model_sample *s, model_result *r)
{
	mentions MENTIONS_LAZY found;

	r->status = MODEL_NONE;
	r->from = MODEL_FROM_NONE;
	r->stream = r->whole = false;
	r->stream_usage = STREAM_USAGE_UNSEEN;
	r->no_memory = false;
	r->len = 0;
	r->looked = 0;
	r->detail = NULL;
	mentions_init(&found);

	if (!s->path_names_none)
		path_model(s->path, s->method, s->upgrade, &found);
	if (found.any || s->model_param.len > 0 || s->deployment_param.len > 0 || s->query_unclear || s->upgrade) {
		model_from from = add_others(s, &found);
		settle_named(s, &found, from, r);
		return;
	}
	model_status status = find_in_body(s, &found, r);
	settle(&found, status, r->from, r);
}

bool model_plain(const model_sample *s)
{
	return s->cenc.len == 0 &&
	       (slice_eq(s->ctype, SLICE("application/json")) || slice_icontains(s->ctype, SLICE("json"))) &&
	       plain_text(s->body, s->tail, s->buffered);
}

const char *model_from_name(model_from from)
{
	switch (from) {
	case MODEL_FROM_BODY:
		return "body";
	case MODEL_FROM_PATH:
		return "path";
	case MODEL_FROM_QUERY:
		return "query";
	case MODEL_FROM_HEADER:
		return "header";
	case MODEL_FROM_FORM:
		return "form";
	case MODEL_FROM_NONE:
		break;
	}
	return "none";
}
