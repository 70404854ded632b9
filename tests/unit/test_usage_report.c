/* SPDX-License-Identifier: MIT
 *
 * What a report of the tap makes of a record's tokens. */
#include "unit.h"

#include "ledger/usage.h"

#define FIRST \
	"{\"input_tokens\":10,\"cache_creation_input_tokens\":300,\"cache_read_input_tokens\":2000," \
	"\"cache_creation\":{\"ephemeral_5m_input_tokens\":100,\"ephemeral_1h_input_tokens\":200},\"output_tokens\":3," \
	"\"service_tier\":\"priority\"}"
#define CHAT \
	"{\"prompt_tokens\":100,\"completion_tokens\":50,\"total_tokens\":150,\"prompt_tokens_details\":{\"cached_tokens\":80}}"
#define RESPONSES \
	"{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":80},\"output_tokens\":50,\"output_tokens_details\":{\"reasoning_tokens\":20},\"total_tokens\":150}"
#define GEMINI \
	"{\"promptTokenCount\":100,\"candidatesTokenCount\":30,\"thoughtsTokenCount\":20,\"totalTokenCount\":150,\"cachedContentTokenCount\":80}"
#define ANTHROPIC "anthropic", FIRST

/* The record before: its usage, status and counts; the report; the record after. */
typedef struct row {
	const char *protocol, *first, *last;
	usage_from before;
	tap_end end;
	bool final;
	int64_t content;
	usage_from after;
	tap_state tap;
	int64_t input, output, read, write;
} row;

static record before(const char *protocol, usage_from usage)
{
	record r = { .status = 200,
		     .usage = usage,
		     .input = 77,
		     .output = 66,
		     .cache_read = 5,
		     .cache_write = 4,
		     .tap = TAP_MISSING };

	snprintf(r.protocol, sizeof r.protocol, "%s", protocol);
	if (usage == USAGE_UNKNOWN)
		r.input = r.output = r.cache_read = r.cache_write = -1;
	if (usage == USAGE_NONE)
		r.input = r.output = r.cache_read = r.cache_write = 0;
	return r;
}

static tap_report report_of(const row *w)
{
	tap_report p = { .id = "x", .end = w->end, .status = 200, .final = w->final, .content = w->content };

	snprintf(p.first, sizeof p.first, "%s", w->first);
	snprintf(p.last, sizeof p.last, "%s", w->last);
	return p;
}

static bool is(const record *r, const row *w)
{
	bool right = r->usage == w->after && r->tap == w->tap && r->input == w->input && r->output == w->output &&
		     r->cache_read == w->read && r->cache_write == w->write;
	if (!right)
		printf("%s %s %s: usage %s tap %s input %lld output %lld read %lld write %lld\n", w->protocol, w->first,
		       w->last, usage_from_name(r->usage), tap_state_name(r->tap), (long long)r->input,
		       (long long)r->output, (long long)r->cache_read, (long long)r->cache_write);
	return right;
}

#define NONE USAGE_NONE
#define REPORTED USAGE_REPORTED
#define PARTIAL USAGE_PARTIAL
#define ESTIMATED USAGE_ESTIMATED
#define UNKNOWN USAGE_UNKNOWN
#define STREAM USAGE_STREAM
#define WHOLE TAP_END_WHOLE
#define CLIENT TAP_END_CLIENT
#define UPSTREAM TAP_END_UPSTREAM
#define LOST TAP_END_LOST

static const row rows[] = {
	/* clang-format off */
	/* Exact: the last usage of the answer, whatever the ledger knew before, and whoever ended the connection after it. */
	{ "openai", "", CHAT, ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", CHAT, CHAT, ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", CHAT, "", ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", CHAT, CHAT, REPORTED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", CHAT, CHAT, UNKNOWN, CLIENT, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", CHAT, CHAT, NONE, LOST, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "openai", "", RESPONSES, ESTIMATED, UPSTREAM, true, 9, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "gemini", "{\"promptTokenCount\":100,\"candidatesTokenCount\":2,\"totalTokenCount\":102}", GEMINI, PARTIAL, WHOLE, true, 2, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ "gemini", GEMINI, GEMINI, PARTIAL, CLIENT, true, 2, STREAM, TAP_TOLD, 20, 50, 80, 0 },
	{ ANTHROPIC, "{\"output_tokens\":500}", ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 10, 500, 2000, 300 },
	{ ANTHROPIC, "{\"input_tokens\":10,\"cache_creation_input_tokens\":300,\"cache_read_input_tokens\":2000,\"output_tokens\":500}", ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 10, 500, 2000, 300 },
	/* A search made the prompt larger. */
	{ ANTHROPIC, "{\"input_tokens\":4000,\"cache_read_input_tokens\":2100,\"output_tokens\":500}", ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 4000, 500, 2100, 300 },
	/* Servers that speak Anthropic's protocol may know the input only at the end. */
	{ "anthropic", "{\"input_tokens\":0,\"output_tokens\":0}", "{\"input_tokens\":9,\"cache_read_input_tokens\":3,\"output_tokens\":8}", ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 9, 8, 3, 0 },
	{ "openai", "", "{\"prompt_eval_count\":5,\"eval_count\":6}", ESTIMATED, WHOLE, true, 6, STREAM, TAP_TOLD, 5, 6, 0, 0 },
	/* Its counts contradict each other, or one is missing: not exact. */
	{ "openai", "", "{\"prompt_tokens\":5,\"completion_tokens\":6,\"total_tokens\":20}", ESTIMATED, WHOLE, true, 6, PARTIAL, TAP_TOLD, 5, 6, 0, 0 },
	{ "openai", "", "{\"prompt_tokens\":5,\"completion_tokens\":-6}", ESTIMATED, WHOLE, true, 7, PARTIAL, TAP_TOLD, 5, 7, 0, 0 },
	{ "openai", "", "{\"completion_tokens\":6}", ESTIMATED, WHOLE, true, 6, ESTIMATED, TAP_TOLD, 77, 6, 5, 4 },
	{ "openai", "", "{\"completion_tokens\":6}", UNKNOWN, WHOLE, true, 6, PARTIAL, TAP_TOLD, 0, 6, 0, 0 },
	/* The end was not seen: Anthropic's first count of the output does not count. */
	{ ANTHROPIC, FIRST, ESTIMATED, CLIENT, false, 48, PARTIAL, TAP_TOLD, 10, 48, 2000, 300 },
	{ ANTHROPIC, FIRST, ESTIMATED, WHOLE, false, 48, PARTIAL, TAP_TOLD, 10, 48, 2000, 300 },
	{ ANTHROPIC, FIRST, ESTIMATED, UPSTREAM, false, 0, PARTIAL, TAP_TOLD, 10, 3, 2000, 300 },
	{ ANTHROPIC, FIRST, UNKNOWN, LOST, false, 48, PARTIAL, TAP_TOLD, 10, 48, 2000, 300 },
	{ "openai", CHAT, CHAT, ESTIMATED, WHOLE, false, 60, PARTIAL, TAP_TOLD, 20, 60, 80, 0 }, /* an error ended a stream whose usage ran along */
	{ "gemini", GEMINI, GEMINI, ESTIMATED, CLIENT, false, 3, PARTIAL, TAP_TOLD, 20, 50, 80, 0 },
	/* content, and no output told */
	{ "openai", "", "{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}", ESTIMATED, WHOLE, true, 48, ESTIMATED, TAP_UNTOLD, 77, 48, 5, 4 },
	{ "openai", "", "{\"prompt_tokens\":9,\"completion_tokens\":0,\"total_tokens\":9}", ESTIMATED, WHOLE, true, 48, PARTIAL, TAP_TOLD, 9, 48, 0, 0 },
	{ "openai", "", "{\"prompt_tokens\":9,\"completion_tokens\":0,\"total_tokens\":9}", ESTIMATED, WHOLE, true, 0, STREAM, TAP_TOLD, 9, 0, 0, 0 },
	/* What the upstream reported all of stays. */
	{ ANTHROPIC, FIRST, REPORTED, CLIENT, false, 48, REPORTED, TAP_TOLD, 77, 66, 5, 4 },
	{ "openai", "", "", REPORTED, WHOLE, false, 48, REPORTED, TAP_UNTOLD, 77, 66, 5, 4 },
	/* No usage was told: events are counted. */
	{ "openai", "", "", ESTIMATED, WHOLE, false, 48, ESTIMATED, TAP_UNTOLD, 77, 48, 5, 4 },
	{ "openai", "", "", ESTIMATED, CLIENT, false, 48, ESTIMATED, TAP_NOTHING, 77, 48, 5, 4 },
	{ "openai", "", "", UNKNOWN, WHOLE, false, 48, PARTIAL, TAP_UNTOLD, 0, 48, 0, 0 },
	{ "openai", "{\"x\":1}", "{\"x\":1}", ESTIMATED, WHOLE, true, 48, ESTIMATED, TAP_UNTOLD, 77, 48, 5, 4 },
	/* As without the tap. */
	{ "openai", "", "", ESTIMATED, WHOLE, false, 0, ESTIMATED, TAP_NOTHING, 77, 66, 5, 4 },
	{ "openai", "", "", ESTIMATED, LOST, false, 48, ESTIMATED, TAP_NOTHING, 77, 66, 5, 4 },
	{ "openai", "", "", UNKNOWN, LOST, false, 48, UNKNOWN, TAP_NOTHING, -1, -1, -1, -1 },
	{ "openai", "", "", NONE, WHOLE, false, 48, NONE, TAP_UNTOLD, 0, 0, 0, 0 },
	/* clang-format on */
};

static void a_report_changes_a_record(void)
{
	usage_parts parts;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = before(rows[i].protocol, rows[i].before), was = r;
		tap_report p = report_of(&rows[i]);
		bool changed = usage_apply_report(&r, &p, &parts);
		CHECK(is(&r, &rows[i]));
		CHECK(changed || (r.usage == was.usage && r.input == was.input && r.output == was.output));
		/* A second time nothing changes. */
		CHECK(!usage_apply_report(&r, &p, &parts) && is(&r, &rows[i]));
		/* If the answer did not go through the tap, the report is not its own. */
		r = was;
		r.tap = TAP_NOT;
		CHECK(!usage_apply_report(&r, &p, &parts) && r.usage == was.usage && r.tap == TAP_NOT);
	}
}

/* Of two reports the exact one stays, whichever comes first. */
static void the_exact_report_stays(void)
{
	static const row exact = { "openai", "", CHAT, ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 };
	usage_parts parts;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (rows[i].after == USAGE_STREAM || strcmp(rows[i].protocol, "openai") != 0)
			continue;
		for (int order = 0; order < 2; order++) {
			record r = before("openai", rows[i].before);
			tap_report a = report_of(&rows[i]), b = report_of(&exact);
			bool one = usage_apply_report(&r, order ? &a : &b, &parts);
			bool two = usage_apply_report(&r, order ? &b : &a, &parts);
			CHECK(is(&r, &exact) && (order ? two : one && !two));
		}
	}
}

static void an_error_has_no_usage(void)
{
	static const row w = { "openai", "", CHAT, ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 };
	static const struct {
		int32_t tap, haproxy;
		usage_from before;
		bool taken;
	} statuses[] = {
		{ 200, 200, USAGE_ESTIMATED, true },  { 206, 206, USAGE_ESTIMATED, true },
		{ 200, 0, USAGE_UNKNOWN, true },      { 200, 499, USAGE_UNKNOWN, true },
		{ 200, 0, USAGE_NONE, false },        { 200, 502, USAGE_NONE, false },
		{ 429, 200, USAGE_ESTIMATED, false }, { 429, 429, USAGE_NONE, false },
		{ 0, 200, USAGE_UNKNOWN, false },
	};
	usage_parts parts;

	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
		record r = before("openai", statuses[i].before);
		tap_report p = report_of(&w);
		r.status = statuses[i].haproxy;
		p.status = statuses[i].tap;
		CHECK(usage_apply_report(&r, &p, &parts) == statuses[i].taken);
		CHECK(r.usage == (statuses[i].taken ? USAGE_STREAM : statuses[i].before));
		CHECK(r.tap == (statuses[i].taken ? TAP_TOLD : TAP_NOTHING));
	}
}

/* What has a price of its own is read from both objects. */
static void parts_are_of_the_whole_stream(void)
{
	static const row w = { ANTHROPIC, "{\"output_tokens\":500,\"server_tool_use\":{\"web_search_requests\":2}}",
			       ESTIMATED, WHOLE,
			       true,      48,
			       STREAM,    TAP_TOLD,
			       10,        500,
			       2000,      300 };
	static const row chat = { "openai", "", CHAT, ESTIMATED, WHOLE, true, 48, STREAM, TAP_TOLD, 20, 50, 80, 0 };
	record r = before("anthropic", USAGE_ESTIMATED);
	tap_report p = report_of(&w);
	usage_parts parts;

	CHECK(usage_apply_report(&r, &p, &parts) && parts.write_1h == 200 && parts.searches == 2 &&
	      parts.tier == TIER_PRIORITY);
	r = before("openai", USAGE_ESTIMATED);
	p = report_of(&chat);
	snprintf(p.tier, sizeof p.tier, "flex");
	CHECK(usage_apply_report(&r, &p, &parts) && parts.tier == TIER_FLEX && parts.searches == -1);
}

int main(void)
{
	RUN(a_report_changes_a_record);
	RUN(the_exact_report_stays);
	RUN(an_error_has_no_usage);
	RUN(parts_are_of_the_whole_stream);
	return unit_end();
}
