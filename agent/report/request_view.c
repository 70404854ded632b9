/* SPDX-License-Identifier: MIT */
#include "report/request_view.h"

#include <inttypes.h>
#include <stdlib.h>

#include "ledger/tried.h"
#include "report/explain.h"
#include "report/export.h"
#include "report/print.h"
#include "report/refusal_words.h"

/* ---- words */

/* HAProxy's two letters: who ended the request, and what it was at then. */
static void write_termination(FILE *f, const char *state)
{
	static const struct {
		char letter;
		const char *words;
	} ends[] = {
		{ 'C', "the client broke off the connection" },
		{ 'c', "the client's time was over: it sent or took nothing for too long" },
		{ 'S', "the upstream refused or broke off the connection" },
		{ 's', "the upstream's time was over: it answered too slowly" },
		{ 'P', "HAProxy ended it: a rule refused it, or what came is not HTTP" },
		{ 'L', "HAProxy answered it by itself" },
		{ 'R', "HAProxy lacked a resource: memory, sockets or connections" },
		{ 'I', "HAProxy found a fault of its own" },
		{ 'D', "HAProxy ended it because its health checks marked the upstream down" },
		{ 'U', "HAProxy ended it because a preferred upstream is there again" },
		{ 'K', "an operator ended it" },
	}, phases[] = {
		{ 'R', "while the request was still arriving" },
		{ 'Q', "while it waited for its turn" },
		{ 'C', "while HAProxy connected to the upstream" },
		{ 'H', "while HAProxy waited for the head of the answer" },
		{ 'D', "while the answer was on its way" },
		{ 'L', "while the client took the last of the answer" },
		{ 'T', "while HAProxy held it back on purpose" },
	};
	const char *end = NULL, *phase = NULL;
	char text[200];

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		end = ends[i].letter == state[0] ? ends[i].words : end;
	for (size_t i = 0; state[0] && i < sizeof phases / sizeof phases[0]; i++)
		phase = phases[i].letter == state[1] ? phases[i].words : phase;
	if (state[0] == '-' && !phase)
		json_write_text(f, "it ended as it should");
	else if (!state[0] || (state[0] != '-' && !end))
		json_write_text(f, state[0] ? "this version does not know these letters" : "HAProxy did not say");
	else {
		snprintf(text, sizeof text, "%s%s%s", end ? end : "it ended", phase ? ", " : "", phase ? phase : "");
		json_write_text(f, text);
	}
}

static const char *usage_words(const record *r)
{
	switch (r->usage) {
	case USAGE_NONE:
		return "no tokens are expected: it was refused, got no answer, or asked for something without tokens";
	case USAGE_REPORTED:
		return "the upstream reported the tokens, in what HAProxy saw of the answer";
	case USAGE_PARTIAL:
		return "the upstream reported a part of the tokens; the output is at least this";
	case USAGE_ESTIMATED:
		return "the tokens are estimated from bytes, because the upstream's count was not seen";
	case USAGE_UNKNOWN:
		return "nobody reported how many tokens it used, so its cost is not known";
	case USAGE_STREAM:
		break;
	}
	return "the upstream reported the tokens at the end of the answer, which the tap has read";
}

static const char *price_words(const record *r)
{
	switch (r->price) {
	case PRICE_NONE:
		return r->usage == USAGE_UNKNOWN ? "it is not known how many tokens there are to be priced" :
						   "there is nothing to be priced";
	case PRICE_TABLE:
		return "by the price table, or what the provider said it asks for";
	case PRICE_UNPRICED:
		return "the price table has no price for this model: add one to the file that `prices` names";
	case PRICE_PARTIAL:
		break;
	}
	return "rough: the price table has no price for a part of it, which price_missing names";
}

static const char *tap_words(const record *r)
{
	switch (r->tap) {
	case TAP_NOT:
		return "the answer did not go through the tap";
	case TAP_TOLD:
		return "the tap has read how many tokens the answer used";
	case TAP_UNTOLD:
		return "the tap has read the whole answer, which does not say how many tokens it used";
	case TAP_MISSING:
		return "the answer went through the tap, whose report has not come";
	case TAP_NOTHING:
		break;
	}
	return "the tap has read no count of tokens: the answer broke off, could not be read, or is empty";
}

static void write_words(FILE *f, const char *name, const char *words)
{
	fprintf(f, "\"%s\":", name);
	json_write_text(f, words);
	fputc(',', f);
}

/* Writes what became of the request, and what to do, which is null if there is nothing to do. */
static void write_outcome(FILE *f, const record *r)
{
	const refusal_words *refusal = *r->code ? refusal_words_find(r->code) : NULL;
	const char *todo = NULL;
	char what[200];
	int status = (int)r->status;

	if (*r->code) {
		snprintf(what, sizeof what, "The gateway refused it: %s.", r->code);
	} else if (status <= 0) {
		snprintf(what, sizeof what, "The client got no answer.");
	} else if (status == 401 || status == 403) {
		snprintf(what, sizeof what, "The upstream did not accept the credential (%d).", status);
		todo = "Look at the route's credential: `spoa-llm check`. If the client's own credential went along, the client has to correct it.";
	} else if (status == 429 || status == 529) {
		snprintf(what, sizeof what,
			 "The upstream declined it (%d): it has too many requests, or the account is at its limit.",
			 status);
		todo = "Raise the limit at the provider, or give the route a pool with more members.";
	} else if (status >= 500) {
		snprintf(what, sizeof what, "The upstream failed (%d).", status);
		todo = "If this happens often, look at the provider's status page; Operation shows whether others failed too.";
	} else if (status >= 400) {
		snprintf(what, sizeof what, "The upstream refused it (%d).", status);
		todo = "Look at what the client sent: the upstream's answer says why, and the gateway keeps no bodies.";
	} else {
		bool here = r->termination[0] == 'L', cut = *r->termination && strcmp(r->termination, "--") != 0;
		snprintf(what, sizeof what, "%s",
			 here ? "The gateway answered it by itself." :
			 cut  ? "The answer did not come to its end." :
				"It was answered.");
	}
	write_words(f, "what", refusal ? refusal->what : what);
	fputs("\"todo\":", f);
	if (refusal || todo)
		json_write_text(f, refusal ? refusal->todo : todo);
	else
		fputs("null", f);
	fputc(',', f);
}

/* Writes the members of a pool that did not serve, and why. */
static void write_tried(FILE *f, const record *r)
{
	slice rest = slice_cstr(r->tried), member, why;
	char name[RECORD_MEMBER_MAX + 1], text[100];
	const char *comma = "";

	fputs("\"tried\":[", f);
	while (tried_next(&rest, &member, &why)) {
		snprintf(name, sizeof name, "%.*s", (int)member.len, member.ptr);
		snprintf(text, sizeof text, "answered %.*s, so the next one was asked", (int)why.len, why.ptr);
		fprintf(f, "%s{", comma);
		write_words(f, "member", name);
		fputs("\"why\":", f);
		json_write_text(
			f, slice_eq(why, slice_cstr("unreachable")) ? "could not be connected to" :
			   slice_eq(why, slice_cstr("resting"))    ? "rested, because it had declined another request" :
			   slice_eq(why, slice_cstr("credential")) ? "had no usable credential" :
								     text);
		fputc('}', f);
		comma = ",";
	}
	fputs("],", f);
}

/* ---- the cost */

/* Today's prices explain a cost only if they make the same one: the ledger keeps what it was when the request ended. */
static void write_cost(FILE *f, const record *r, const price_table *prices)
{
	price_item items[PRICE_ITEMS_MAX];
	int64_t cost = 0;

	fputs("\"cost\":", f);
	if (r->price != PRICE_TABLE && r->price != PRICE_PARTIAL) {
		json_write_text(f, price_words(r));
		return;
	}
	size_t count = price_bill(prices, r, items, &cost);
	if (!count || cost != r->cost) {
		json_write_text(
			f, "The cost is what the request cost by the prices of the time when it ended, and by parts of "
			   "its usage that the ledger does not keep. The prices of today give another cost.");
		return;
	}
	fputc('[', f);
	for (size_t i = 0; i < count; i++) {
		fprintf(f,
			"%s{\"what\":\"%s\",\"tokens\":%" PRId64 ",\"price_nanodollars_per_million\":%" PRId64
			",\"amount_nanodollars\":%" PRId64 "}",
			i ? "," : "", items[i].what, items[i].count, items[i].million, items[i].nano);
	}
	fputc(']', f);
}

/* ---- times */

static void write_timings(FILE *f, const record *r)
{
	bool first = r->ttfb_ms >= 0, whole = r->total_ms >= 0;

	fputs("\"timings\":[", f);
	if (first)
		fprintf(f, "{\"name\":\"until the first byte of the answer\",\"ms\":%" PRId64 "}", r->ttfb_ms);
	if (whole && (!first || r->total_ms >= r->ttfb_ms))
		fprintf(f, "%s{\"name\":\"%s\",\"ms\":%" PRId64 "}", first ? "," : "",
			first ? "the rest of the answer" : "until the end, without an answer of the upstream",
			r->total_ms - (first ? r->ttfb_ms : 0));
	fputc(']', f);
}

/* ---- the route */

/* Writes a path by which requests like `r` come, because the ledger does not keep the path. */
static const char *path_like(const record *r, char *room, size_t len)
{
	if (strcmp(r->protocol, "anthropic") == 0)
		return "/v1/messages";
	if (strcmp(r->protocol, "gemini") == 0) {
		size_t at = (size_t)snprintf(room, len, "/v1beta/models/");
		for (const char *c = r->model; *c && at + 4 < len; c++)
			at += (size_t)snprintf(room + at, len - at, "%%%02X", (unsigned char)*c);
		snprintf(room + at, len - at, ":generateContent");
		return room;
	}
	return strcmp(r->operation, "embeddings") == 0      ? "/v1/embeddings" :
	       strcmp(r->operation, "text_completion") == 0 ? "/v1/completions" :
							      "/v1/chat/completions";
}

static void write_route(FILE *f, const record *r, const policy *p)
{
	char room[RECORD_MODEL_MAX * 3 + 64];
	explain_request ask = { .path = path_like(r, room, sizeof room), .method = "POST" };
	char *text = NULL;
	size_t len = 0;
	err e = { 0 };
	FILE *part = p ? open_memstream(&text, &len) : NULL;

	if (ask.path != room && *r->model)
		ask.model = r->model;
	if (strcmp(r->protocol, "anthropic") == 0)
		ask.headers[ask.headers_count++] = "anthropic-version: 2023-06-01";
	bool ok = part && explain_write(part, p, &ask, true, &e);
	if (part && fclose(part) != 0)
		ok = false;
	fputs(",\n\"route\":", f);
	if (ok) {
		fputs(text, f);
	} else if (p) {
		fputs("{\"error\":", f);
		json_write_text(f, e.text);
		fputc('}', f);
	} else {
		fputs("null", f);
	}
	free(text);
}

/* ---- */

typedef struct found {
	bool any;
	record record;
	char gateway[RECORD_LABEL_MAX + 1];
} found;

static bool keep(void *ctx, const record *r, const char *gateway)
{
	found *f = ctx;

	f->any = true;
	f->record = *r;
	snprintf(f->gateway, sizeof f->gateway, "%s", gateway ? gateway : "");
	return false;
}

static void forget(void *ctx)
{
	((found *)ctx)->any = false;
}

view_result request_view_answer(const view_question *q, const figures_source *source, const price_table *prices,
				const policy *decides, FILE *out, int *result, err *e)
{
	const store_page_question ask = { .to_ms = INT64_MAX, .only = &q->only, .limit = 1 };
	store_page_told told;
	found it = { .any = false };
	const record *r = &it.record;

	*result = source->page(source->from, &ask, keep, forget, &it, &told, e);
	if (*result)
		return VIEW_FAILED;
	if (!it.any) {
		err_set(e, "no request with the id \"%.64s\" is %s", q->only.id,
			told.stopped ?
				"among the newest ones, and there are too many to look through all" :
				"in the ledger: it has not ended yet, was never there, or was removed by its age");
		return VIEW_NONE;
	}
	fputs("{\"request\":", out);
	export_write_row(out, r, q->fleet ? it.gateway : NULL, false);
	fputs(",\"explained\":{\"termination\":", out);
	write_termination(out, r->termination);
	fputc(',', out);
	write_outcome(out, r);
	write_tried(out, r);
	write_words(out, "usage_from", usage_words(r));
	write_words(out, "price_from", price_words(r));
	write_words(out, "tap", tap_words(r));
	write_cost(out, r, prices);
	fputc(',', out);
	write_timings(out, r);
	fputc('}', out);
	write_route(out, r, decides);
	fputs("}\n", out);
	return VIEW_OK;
}
