/* SPDX-License-Identifier: MIT
 *
 * agent/ledger/ends.h: what a line of HAProxy says about the end of a request. */
#include "unit.h"

#include "ledger/ends.h"

static record ended(const char *code, int status, const char *termination, int64_t ttfb_ms)
{
	record r = { .status = status, .ttfb_ms = ttfb_ms, .total_ms = ttfb_ms > 0 ? 2 * ttfb_ms : 1 };

	snprintf(r.id, sizeof r.id, "id");
	snprintf(r.route, sizeof r.route, "glm-");
	snprintf(r.backend, sizeof r.backend, "llm-ollama.com");
	snprintf(r.code, sizeof r.code, "%s", code);
	snprintf(r.termination, sizeof r.termination, "%s", termination);
	return r;
}

static void a_line_says_who_refused(void)
{
	static const struct {
		const char *code, *termination;
		int status, ttfb_ms;
		const char *named;
		end_refusal why;
		end_agent agent;
	} rows[] = {
		{ "", "--", 200, 5, "llm-a", END_NOT_REFUSED, AGENT_LET_IN },
		{ "", "--", 503, 5, "llm-a", END_NOT_REFUSED, AGENT_LET_IN }, /* the upstream said so */
		{ "", "SC", 503, -1, "llm-a", END_UPSTREAM_UNAVAILABLE, AGENT_LET_IN },
		{ "", "sC", 503, -1, "llm-a", END_UPSTREAM_UNAVAILABLE, AGENT_LET_IN },
		{ "", "sQ", 503, -1, "llm-a", END_UPSTREAM_UNAVAILABLE, AGENT_LET_IN },
		{ "", "sH", 504, -1, "llm-a", END_UPSTREAM_TIMEOUT, AGENT_LET_IN },
		{ "", "SH", 502, -1, "llm-a", END_UPSTREAM_ERROR, AGENT_LET_IN },
		{ "", "PH", 502, -1, "llm-a", END_UPSTREAM_ERROR, AGENT_LET_IN },
		{ "", "PH", 502, 5, "llm-a", END_UPSTREAM_ERROR, AGENT_LET_IN }, /* a 101 that nobody asked for */
		{ "", "SD", 200, 5, "llm-a", END_NOT_REFUSED, AGENT_LET_IN },
		{ "", "CH", 400, -1, "llm-a", END_NOT_REFUSED, AGENT_LET_IN }, /* the client left */
		{ "", "CD", 200, 5, "llm-a", END_NOT_REFUSED, AGENT_LET_IN },
		{ "", "CH", -1, -1, "llm-a", END_NOT_REFUSED, AGENT_LET_IN },
		{ "", "cR", 408, -1, "", END_REQUEST_TIMEOUT, AGENT_LET_IN },
		{ "", "PR", 400, -1, "", END_BAD_REQUEST, AGENT_LET_IN },
		{ "", "LR", 405, -1, "", END_METHOD_NOT_ALLOWED, AGENT_LET_IN },
		{ "", "LR", 204, -1, "", END_NOT_REFUSED, AGENT_LET_IN },
		{ "", "RC", 503, -1, "llm-a", END_GATEWAY_ERROR, AGENT_LET_IN },
		{ "", "IR", 500, -1, "", END_GATEWAY_ERROR, AGENT_LET_IN },
		{ "gateway_unavailable", "LR", 503, -1, "", END_GATEWAY_UNAVAILABLE, AGENT_LET_IN },
		{ "no_backend", "LR", 502, -1, "llm-a", END_NO_BACKEND, AGENT_LET_IN },
		{ "no_backend", "LR", 502, -1, "", END_NOT_REFUSED, AGENT_LET_IN }, /* the agent said so */
		{ "upstream_auth_unavailable", "LR", 502, -1, "", END_NOT_REFUSED, AGENT_LET_IN },
		{ "ambiguous_model", "LR", 400, -1, "", END_NOT_REFUSED, AGENT_LET_IN },
		{ "model_not_in_sample", "LR", 413, -1, "", END_TOO_LARGE, AGENT_LET_IN },
		{ "model_not_in_sample", "LR", 413, -1, "", END_NOT_REFUSED, AGENT_REFUSED }, /* the agent said so */
		{ "origin_not_allowed", "LR", 403, -1, "", END_ORIGIN, AGENT_LET_IN },
		{ "invalid_query", "LR", 400, -1, "", END_INVALID_QUERY, AGENT_LET_IN },
		{ "invalid_upgrade", "LR", 400, -1, "", END_INVALID_UPGRADE, AGENT_LET_IN },
		{ "model_not_in_sample", "LR", 413, -1, "", END_NOT_REFUSED, AGENT_UNKNOWN },
		{ "gateway_unavailable", "LR", 503, -1, "", END_NOT_REFUSED,
		  AGENT_REFUSED }, /* budgets that are not known yet */
		{ "gateway_unavailable", "LR", 503, -1, "", END_GATEWAY_UNAVAILABLE, AGENT_UNKNOWN },
		{ "no_backend", "LR", 502, -1, "llm-a", END_NO_BACKEND, AGENT_UNKNOWN },
		{ "rate_limit_exceeded", "LR", 429, -1, "", END_RATE, AGENT_LET_IN },
		{ "rate_limit_exceeded", "LR", 429, -1, "", END_NOT_REFUSED,
		  AGENT_REFUSED }, /* for the tokens of a minute */
		{ "rate_limit_exceeded", "LR", 429, -1, "", END_NOT_REFUSED, AGENT_UNKNOWN },
		{ "invalid_api_key", "LR", 401, -1, "", END_NO_KEY, AGENT_LET_IN },
		{ "invalid_api_key", "LR", 401, -1, "", END_NOT_REFUSED, AGENT_REFUSED },
		{ "ambiguous_api_key", "LR", 400, -1, "", END_KEYS, AGENT_LET_IN },
		{ "ambiguous_api_key", "LR", 400, -1, "", END_NOT_REFUSED, AGENT_REFUSED },
		{ "misplaced_api_key", "LR", 400, -1, "", END_MISPLACED_KEY, AGENT_LET_IN },
		{ "misplaced_api_key", "LR", 400, -1, "", END_MISPLACED_KEY, AGENT_UNKNOWN },
		{ "insufficient_quota", "LR", 429, -1, "", END_NOT_REFUSED, AGENT_REFUSED },
	};
	static ends e;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *backend = "none";
		record r = ended(rows[i].code, rows[i].status, rows[i].termination, rows[i].ttfb_ms);
		end_refusal why = ends_add(&e, &r, rows[i].named, rows[i].agent, &backend);
		if (why != rows[i].why)
			printf("%s %s %d: %d\n", rows[i].code, rows[i].termination, rows[i].status, (int)why);
		CHECK(why == rows[i].why);
		if (why != END_NOT_REFUSED)
			CHECK(strcmp(backend, end_refusals[why].upstream ? "llm-ollama.com" : rows[i].named) == 0);
	}
	CHECK(ends_refused(&e, END_UPSTREAM_UNAVAILABLE) == 3 && ends_refused(&e, END_NO_BACKEND) == 2);
	CHECK(e.places[0].answers[1] == 3 && e.places[0].answers[4] == 1 && e.places[0].cut == 1);
}

static void times_go_into_buckets(void)
{
	static ends e;
	const char *backend;

	for (int64_t ms = 0; ms <= 700000; ms = ms ? ms * 10 : 50) {
		record r = ended("", 200, "--", ms);
		CHECK(ends_add(&e, &r, "", AGENT_LET_IN, &backend) == END_NOT_REFUSED);
	}
	CHECK(e.places_count == 1);
	/* 0, 50, 500, 5000, 50000, 500000: a bound belongs to its bucket */
	CHECK(e.places[0].first_byte.buckets[0] == 2 && e.places[0].first_byte.buckets[3] == 1);
	CHECK(e.places[0].first_byte.sum_ms == 555550);
	CHECK(e.places[0].whole.buckets[ENDS_BUCKETS] == 1);
}

static void many_routes_share_a_place(void)
{
	static ends e;
	const char *backend;

	for (int i = 0; i < ENDS_PLACES + 30; i++) {
		record r = ended("", 200, "--", 1);
		snprintf(r.route, sizeof r.route, "r%d", i);
		CHECK(ends_add(&e, &r, "", AGENT_LET_IN, &backend) == END_NOT_REFUSED);
	}
	CHECK(e.places_count == ENDS_PLACES + 1 && strcmp(e.places[ENDS_PLACES].route, "other") == 0);
	CHECK(e.places[ENDS_PLACES].answers[1] == 30 && e.places[ENDS_PLACES - 1].answers[1] == 1);
	record r = ended("", 200, "--", 1);
	snprintf(r.route, sizeof r.route, "r7");
	CHECK(ends_add(&e, &r, "", AGENT_LET_IN, &backend) == END_NOT_REFUSED && e.places[7].answers[1] == 2);
	for (int i = 0; i < ENDS_NOTES + 5; i++) {
		r = ended("no_backend", 502, "LR", -1);
		r.time_ms = i;
		CHECK(ends_add(&e, &r, "llm-x", AGENT_LET_IN, &backend) == END_NO_BACKEND);
	}
	CHECK(e.notes_taken == ENDS_NOTES + 5 && e.notes[4].time_ms == ENDS_NOTES + 4 && e.notes[5].time_ms == 5);
	CHECK(strcmp(e.notes[4].backend, "llm-x") == 0 && strcmp(e.notes[4].route, "glm-") == 0);
}

/* A request that went to a pool. */
static record pooled(const char *code, int status, int64_t ttfb_ms, const char *member, const char *tried)
{
	record r = ended(code, status, "--", ttfb_ms);

	snprintf(r.member, sizeof r.member, "%s", member);
	snprintf(r.tried, sizeof r.tried, "%s", tried);
	return r;
}

static void attempts_count_for_each_member(void)
{
	const record rows[] = {
		pooled("", 200, 5, "a", ""),
		pooled("", 200, 5, "c", "a:429,b:unreachable"),
		pooled("", 200, 5, "c", "a:429,b:529"),
		pooled("", 429, 5, "b", "a:resting,c:credential"), /* the last one's own answer */
		pooled("", 502, -1, "b", "a:418"),
		pooled("upstream_resting", 429, 5, "c", "a:503,b:504"),
		pooled("upstream_auth_unavailable", 502, 5, "c", "a:500,b:502"),
	};
	static ends e;
	const char *backend;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		(void)ends_add(&e, &rows[i], "", AGENT_LET_IN, &backend);
	CHECK(e.members_count == 3);
	const end_member *a = &e.members[0], *b = &e.members[1], *c = &e.members[2];
	if (strcmp(b->member, "b") != 0) {
		b = &e.members[2];
		c = &e.members[1];
	}
	CHECK(strcmp(a->member, "a") == 0 && strcmp(b->member, "b") == 0 && strcmp(c->member, "c") == 0);
	CHECK(strcmp(a->route, "glm-") == 0);
	CHECK(a->answers[1] == 1 && a->declined[END_WHY_429] == 2 && a->declined[END_WHY_RESTING] == 1);
	CHECK(a->declined[END_WHY_OTHER] == 1 && a->declined[END_WHY_503] == 1 && a->declined[END_WHY_500] == 1);
	CHECK(b->declined[END_WHY_UNREACHABLE] == 1 && b->declined[END_WHY_529] == 1 && b->answers[3] == 1);
	CHECK(b->unanswered == 1 && b->declined[END_WHY_504] == 1 && b->declined[END_WHY_502] == 1);
	CHECK(c->answers[1] == 2 && c->declined[END_WHY_CREDENTIAL] == 2 && c->declined[END_WHY_RESTING] == 1);
	CHECK(ends_attempts(a) == 7 && ends_attempts(b) == 6 && ends_attempts(c) == 5);
	/* Beyond the limit they share a place. */
	for (int i = 0; i < ENDS_MEMBERS + 10; i++) {
		record r = pooled("", 200, 5, "m", "");
		snprintf(r.route, sizeof r.route, "r%d", i);
		(void)ends_add(&e, &r, "", AGENT_LET_IN, &backend);
	}
	CHECK(e.members_count == ENDS_MEMBERS + 1 && strcmp(e.members[ENDS_MEMBERS].route, "other") == 0);
	CHECK(strcmp(e.members[ENDS_MEMBERS].member, "other") == 0 && e.members[ENDS_MEMBERS].answers[1] == 13);
}

/* The time of a request, in milliseconds. */
static record at(record r, int64_t time_ms)
{
	r.time_ms = time_ms;
	return r;
}

static void a_member_is_unreachable_until_it_answers(void)
{
	static ends e;
	const char *backend;
	record cut = at(pooled("", 200, 5, "b", ""), 900);
	const struct {
		record r;
		int64_t a, b; /* since when each could not be reached */
	} rows[] = {
		{ at(pooled("", 200, 5, "b", "a:unreachable"), 100), 100, 0 },
		{ at(pooled("", 200, 5, "b", "a:resting"), 200), 100, 0 }, /* nobody asked it */
		{ at(pooled("", 200, 5, "b", "a:credential"), 210), 100, 0 },
		{ at(pooled("", 200, 5, "b", "a:429"), 90), 100, 0 }, /* which arrived before */
		{ at(pooled("", 200, 5, "b", "a:429"), 300), 0, 0 },  /* declining is an answer */
		{ at(pooled("", 503, -1, "b", "a:unreachable"), 500), 500, 500 },
		{ at(pooled("", 200, 5, "a", ""), 600), 0, 500 },
		{ at(pooled("", 502, -1, "b", ""), 700), 0, 0 }, /* without an answer, but there was a connection */
	};

	CHECK(ends_member(&e, "glm-", slice_cstr("a"))->declined[END_WHY_UNREACHABLE] == 0 && e.members_count == 1);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = rows[i].r;
		if (r.ttfb_ms < 0)
			snprintf(r.termination, sizeof r.termination, r.status == 503 ? "SC" : "SH");
		(void)ends_add(&e, &r, "", AGENT_LET_IN, &backend);
		CHECK(ends_unreachable_at(ends_member(&e, "glm-", slice_cstr("a"))) == rows[i].a);
		CHECK(ends_unreachable_at(ends_member(&e, "glm-", slice_cstr("b"))) == rows[i].b);
	}
	CHECK(e.members_count == 2 && ends_attempts(&e.members[0]) == 7 && ends_attempts(&e.members[1]) == 7);
	/* The last refusal names the member that was asked last. */
	CHECK(e.notes_taken == 2 && strcmp(e.notes[1].member, "b") == 0);
	/* An answer that breaks off is an answer; the client's end is nobody's fault. */
	snprintf(cut.termination, sizeof cut.termination, "SD");
	(void)ends_add(&e, &cut, "", AGENT_LET_IN, &backend);
	snprintf(cut.termination, sizeof cut.termination, "CD");
	(void)ends_add(&e, &cut, "", AGENT_LET_IN, &backend);
	CHECK(e.members[1].cut == 1 && e.members[1].answers[1] == 7 && ends_unreachable_at(&e.members[1]) == 0);
}

int main(void)
{
	RUN(a_line_says_who_refused);
	RUN(times_go_into_buckets);
	RUN(many_routes_share_a_place);
	RUN(attempts_count_for_each_member);
	RUN(a_member_is_unreachable_until_it_answers);
	return unit_end();
}
