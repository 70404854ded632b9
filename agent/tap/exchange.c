/* SPDX-License-Identifier: MIT
 *
 * Follows the exchanges of a pair, and reports each answer when it ends. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "tap/relay_impl.h"

/* Writes `,"name":` and an object, or nothing if there is none. */
static size_t put_object(char *out, size_t cap, const char *name, slice object)
{
	if (!object.len)
		return 0;
	int n = snprintf(out, cap, ",\"%s\":%.*s", name, (int)object.len, object.ptr);
	return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

/* No text in it needs to be escaped: http.h and usage.h promise that. */
static void report(const pair *p, const char *end, const tap_usage_told *told)
{
	const http_flow *f = &p->flow;
	char text[REPORT_MAX];

	size_t len = (size_t)snprintf(
		text, sizeof text,
		"{\"v\":1,\"kind\":\"stream\",\"id\":\"%s\",\"end\":\"%s\",\"status\":%u,\"ctype\":\"%s\",\"coding\":\"%s\","
		"\"bytes\":%llu,\"events\":%llu,\"content\":%llu,\"final\":%s",
		f->id, end, f->status, f->type, f->coding, (unsigned long long)p->body,
		(unsigned long long)told->events, (unsigned long long)told->content, told->final ? "true" : "false");
	len += put_object(text + len, sizeof text - 1 - len, "first", told->first);
	len += put_object(text + len, sizeof text - 1 - len, "last", told->last);
	if (told->tier.len)
		len += (size_t)snprintf(text + len, sizeof text - 1 - len, ",\"tier\":\"%.*s\"", (int)told->tier.len,
					told->tier.ptr);
	text[len++] = '}';
	reports_send(p->r->out, slice_of(text, len));
}

/* The answer, or the request that got none, has ended. `end`: "whole", "client", "upstream" or "lost". */
static void finish(pair *p, const char *end)
{
	relay *r = p->r;
	tap_usage_told told = { .events = 0 };
	bool whole = *end == 'w';

	if (!p->counted)
		return;
	p->counted = false;
	r->counts.streams--;
	tap_usage_end(&p->usage, whole, &told);
	if (*end == 'c')
		r->counts.cut_client++;
	else if (*end == 'u')
		r->counts.cut_upstream++;
	if (told.lost)
		r->counts.unreadable++;
	report(p, whole && told.lost ? "lost" : end, &told);
	tap_usage_free(&p->usage);
	relay_account(r, p->usage_memory, 0);
	p->usage_memory = 0;
}

/* An answer or a request has ended: looks whether the exchange has, too. */
static void look_idle(pair *p)
{
	if (!http_idle(&p->flow))
		return;
	p->named = false;
	p->idle_since = clock_mono_ms();
	if (p->r->close_used)
		p->closing = true;
}

/* ---- requests */

static void begin(pair *p)
{
	p->named = true;
	p->body = 0;
	/* A reader without a content-type reads nothing. answer_begins() begins the one that reads. */
	tap_usage_begin(&p->usage, SLICE(""), SLICE(""));
	if (*p->flow.id) {
		p->counted = true;
		p->r->counts.streams++;
		p->r->counts.streams_total++;
	}
	connect_leg(p);
}

bool exchange_request(pair *p, slice bytes)
{
	for (;;) {
		http_event e = http_request_next(&p->flow, &bytes);
		switch (e.type) {
		case HTTP_HEAD:
			begin(p);
			break;
		case HTTP_END:
			look_idle(p);
			break;
		case HTTP_BODY:
		case HTTP_BLIND:
			break;
		case HTTP_MORE:
			return true;
		case HTTP_WAIT:
		case HTTP_BAD:
			log_event(tap_request_refused,
				  LOG_C("problem", e.type == HTTP_BAD ?
							   e.why :
							   "a request came before the answer to the one before it"));
			return false;
		}
	}
}

/* ---- answers */

static void answer_begins(pair *p)
{
	const http_flow *f = &p->flow;

	if (f->status == 200)
		tap_usage_begin(&p->usage, slice_cstr(f->type), slice_cstr(f->coding));
}

static void answer_goes_on(pair *p, slice bytes)
{
	p->body += bytes.len;
	if (!p->counted)
		return;
	tap_usage_feed(&p->usage, bytes);
	size_t now = tap_usage_memory(&p->usage);
	relay_account(p->r, p->usage_memory, now);
	p->usage_memory = now;
}

void exchange_answer(pair *p, slice bytes)
{
	for (;;) {
		http_event e = http_answer_next(&p->flow, &bytes);
		switch (e.type) {
		case HTTP_HEAD:
			answer_begins(p);
			break;
		case HTTP_BODY:
			answer_goes_on(p, e.bytes);
			break;
		case HTTP_END:
			finish(p, "whole");
			look_idle(p);
			break;
		case HTTP_BLIND:
			break;
		case HTTP_BAD:
			/* It is relayed all the same, until somebody closes. */
			if (p->counted)
				log_event(tap_answer_unreadable, LOG_C("id", p->flow.id), LOG_C("problem", e.why));
			finish(p, "lost");
			return;
		case HTTP_WAIT:
		case HTTP_MORE:
			return;
		}
	}
}

bool exchange_answer_eof(pair *p, bool in_order)
{
	http_event_type end = in_order ? http_answer_eof(&p->flow) : HTTP_BAD;

	p->usage.unframed = true;
	finish(p, end == HTTP_END ? "whole" : "upstream");
	return end != HTTP_END && !p->named;
}

void exchange_cut(pair *p, const char *how)
{
	finish(p, how);
}
