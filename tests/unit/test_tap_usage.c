/* SPDX-License-Identifier: MIT
 *
 * The reader of answers that pass. Each answer is fed at once, byte by byte, and in pieces of other sizes: the result
 * is the same. */
#include "unit.h"

#include "answer/answer.h"
#include "base/json.h"
#include "tap/usage.h"

#define SSE "text/event-stream; charset=utf-8"
#define NDJSON "application/x-ndjson"
#define JSON "application/json"
#define BEDROCK "application/vnd.amazon.eventstream"

typedef struct told {
	char first[ANSWER_USAGE_MAX + 1], last[ANSWER_USAGE_MAX + 1], tier[ANSWER_TIER_MAX + 1];
	uint64_t events, content;
	bool final, lost;
} told;

static void copy(char *to, slice s)
{
	if (s.len)
		memcpy(to, s.ptr, s.len);
	to[s.len] = '\0';
}

/* Copies a piece so that reading one byte past it is a fault, to the same place each time. */
static slice guarded(slice piece)
{
	enum { ROOM = 65536 };
	static const char zeros[ROOM];
	static char *room;

	if (!room)
		room = (char *)unit_guarded(zeros, ROOM);
	if (piece.len > ROOM)
		return piece;
	memmove(room + ROOM - piece.len, piece.ptr, piece.len);
	return slice_of(room + ROOM - piece.len, piece.len);
}

/* Reads `body` in pieces of `step` bytes. */
static told read_in(const char *type, slice body, size_t step, bool whole)
{
	tap_usage u;
	tap_usage_told t;
	told out;

	memset(&out, 0, sizeof out);
	tap_usage_begin(&u, slice_cstr(type), slice_cstr(""));
	for (size_t at = 0; at < body.len; at += step) {
		tap_usage_feed(&u, guarded(slice_first(slice_from(body, at), step)));
		CHECK(tap_usage_memory(&u) <= TAP_USAGE_MEMORY_MAX);
	}
	tap_usage_end(&u, whole, &t);
	copy(out.first, t.first);
	copy(out.last, t.last);
	copy(out.tier, t.tier);
	out.events = t.events;
	out.content = t.content;
	out.final = t.final;
	out.lost = t.lost;
	tap_usage_free(&u);
	CHECK(tap_usage_memory(&u) == 0);
	return out;
}

static told read_bytes(const char *type, slice body, bool whole)
{
	static const size_t steps[] = { 1, 2, 3, 7, 16, 61 };
	told all = read_in(type, body, body.len ? body.len : 1, whole);

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		told t = read_in(type, body, steps[i], whole);
		CHECK(memcmp(&t, &all, sizeof t) == 0 ||
		      !printf("  in pieces of %zu: %.*s\n", steps[i], (int)body.len, body.ptr));
	}
	return all;
}

typedef struct row {
	const char *body;
	const char *first, *last; /* `first` NULL: the same */
	unsigned events, content;
	bool final, lost;
	const char *tier;
} row;

static bool is(const told *t, const row *r)
{
	const char *last = r->last ? r->last : "", *first = r->first ? r->first : last;

	if (strcmp(t->first, first) == 0 && strcmp(t->last, last) == 0 && t->events == r->events &&
	    t->content == r->content && t->final == r->final && t->lost == r->lost &&
	    strcmp(t->tier, r->tier ? r->tier : "") == 0)
		return true;
	printf("  %s\n  first %s last %s events %d content %d final %d lost %d tier %s\n", r->body, t->first, t->last,
	       (int)t->events, (int)t->content, t->final, t->lost, t->tier);
	return false;
}

static void check(const char *type, const row *rows, size_t n, bool whole)
{
	for (size_t i = 0; i < n; i++) {
		told t = read_bytes(type, slice_cstr(rows[i].body), whole);
		CHECK(is(&t, &rows[i]));
	}
}

#define CHECK_ROWS(type, whole, ...) \
	do { \
		static const row rows[] = { __VA_ARGS__ }; \
		check(type, rows, sizeof rows / sizeof rows[0], whole); \
	} while (0)

#define U "{\"prompt_tokens\":3,\"completion_tokens\":2}"
#define MORE \
	"{\"prompt_tokens\":3,\"completion_tokens\":2,\"cost\":0.1,\"prompt_tokens_details\":{\"cached_tokens\":1}}"
#define LESS "{\"completion_tokens\":2,\"prompt_tokens_details\":{\"cached_tokens\":0}}"
#define V "{\"prompt_tokens\":3,\"completion_tokens\":1}"
#define CHUNK(delta, finish, more) \
	"data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":" delta ",\"finish_reason\":" finish "}]" more "}\n\n"
#define SECOND(delta, finish, more) \
	"data: {\"choices\":[{\"index\":1,\"delta\":" delta ",\"finish_reason\":" finish "}]" more "}\n\n"
#define TEXT(text, more) CHUNK("{\"content\":\"" text "\"}", "null", more)
#define STOP(more) CHUNK("{}", "\"stop\"", more)
#define ROLE(more) CHUNK("{\"role\":\"assistant\",\"content\":\"\"}", "null", more)
#define LAST "data: {\"choices\":[],\"usage\":" U "}\n\n"
#define DONE "data: [DONE]\n\n"
#define NIL ",\"usage\":null"

static void chat(void)
{
	CHECK_ROWS(
		SSE, false,
		/* OpenAI, with include_usage and without. */
		{ ROLE(NIL) TEXT("a", NIL) TEXT("b", NIL) STOP(NIL) LAST DONE, NULL, U, 5, 2, true, false, NULL },
		{ TEXT("a", NIL) STOP(NIL) LAST DONE TEXT("", ",\"usage\":" V), NULL, U, 4, 1, true, false, NULL },
		{ ROLE("") TEXT("a", "") TEXT("b", "") STOP("") DONE, NULL, NULL, 4, 2, false, false, NULL },
		{ ROLE(NIL) TEXT("a", NIL) STOP(NIL) LAST, NULL, U, 4, 1, true, false, NULL },
		{ TEXT("a", ",\"service_tier\":\"flex\"") STOP(NIL) LAST, NULL, U, 3, 1, true, false, "flex" },
		/* Not behind the end of a choice: more may come. */
		{ TEXT("a", "") LAST, NULL, U, 2, 1, false, false, NULL },
		{ TEXT("a", "") LAST DONE, NULL, U, 2, 1, true, false, NULL },
		{ TEXT("a", "") LAST TEXT("b", "") DONE, NULL, U, 3, 2, false, false, NULL },
		{ LAST TEXT("b", "") STOP("") LAST, U, U, 4, 1, true, false, NULL },
		/* Without the blank line behind it, and without any line end. */
		{ TEXT("a", "") STOP("") "data: {\"choices\":[],\"usage\":" U "}\n", NULL, U, 3, 1, true, false, NULL },
		{ TEXT("a", "") STOP("") "data: {\"choices\":[],\"usage\":" U "}", NULL, U, 3, 1, true, false, NULL },
		{ TEXT("a", "") STOP("") "data: {\"choices\":[],\"usage\":" U, NULL, U, 3, 1, false, false, NULL },
		/* Two for the whole answer: they differ; they differ in what is no count; content stands between them.
		 */
		{ TEXT("a", "") STOP("") LAST "data: {\"choices\":[],\"usage\":" V "}\n\n" DONE, U, V, 4, 1, false,
		  false, NULL },
		{ TEXT("a", "") STOP("") LAST "data: {\"choices\":[],\"usage\":" MORE "}\n\n" DONE, U, MORE, 4, 1, true,
		  false, NULL },
		{ TEXT("a", "") STOP("") "data: {\"choices\":[],\"usage\":" MORE
					 "}\n\ndata: {\"choices\":[],\"usage\":" LESS "}\n\n",
		  MORE, LESS, 4, 1, false, false, NULL },
		{ TEXT("a", "") STOP("") LAST TEXT("b", "") STOP("") LAST DONE, U, U, 6, 2, false, false, NULL },
		/* In the last chunk with choices: Mistral, DeepSeek, and others. */
		{ TEXT("a", "") STOP(",\"usage\":" U) DONE, NULL, U, 2, 1, true, false, NULL },
		{ "data: {\"usage\":" U
		  ",\"choices\":[{\"finish_reason\":\"length\",\"delta\":{\"content\":\"b\"}}]}\n\n" DONE,
		  NULL, U, 1, 1, true, false, NULL },
		/* In a chunk with an empty delta that comes after it: OpenRouter. */
		{ ": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" TEXT("a", "") STOP("") ROLE(",\"usage\":" U)
			  DONE,
		  NULL, U, 3, 1, true, false, NULL },
		/* A sum that runs. */
		{ TEXT("a", ",\"usage\":" V) TEXT("b", ",\"usage\":" U), V, U, 2, 2, false, false, NULL },
		{ TEXT("a", ",\"usage\":" V) TEXT("b", ",\"usage\":" V) STOP(",\"usage\":" U) DONE, V, U, 3, 2, true,
		  false, NULL },
		/* A choice ends with it: another one may begin yet. */
		{ TEXT("a", "") STOP(",\"usage\":" U), NULL, U, 2, 1, false, false, NULL },
		{ TEXT("a", "") STOP("") ROLE(",\"usage\":" U), NULL, U, 3, 1, false, false, NULL },
		{ TEXT("a", ",\"usage\":" V) TEXT("b", ",\"usage\":" U) DONE, V, U, 2, 2, true, false, NULL },
		{ TEXT("a", ",\"usage\":" V) TEXT("b", "") DONE, NULL, V, 2, 2, false, false, NULL },
		{ STOP("") TEXT("b", ",\"usage\":" V), NULL, V, 2, 1, false, false, NULL },
		{ STOP(",\"usage\":" V) TEXT("b", ""), NULL, V, 2, 1, false, false, NULL },
		{ "data: {\"choices\":[],\"usage\":" V "}\n\n", NULL, V, 1, 0, false, false, NULL },
		/* One of two choices ends, and the other one goes on. */
		{ TEXT("a", "") SECOND("{\"content\":\"b\"}", "null", "") STOP(",\"usage\":" V), NULL, V, 3, 2, false,
		  false, NULL },
		{ SECOND("{\"content\":\"b\"}", "\"stop\"", ",\"usage\":" V) ROLE(",\"usage\":" V), V, V, 2, 1, false,
		  false, NULL },
		{ TEXT("a", "") SECOND("{\"content\":\"b\"}", "null", "") STOP("")
			  SECOND("{}", "\"stop\"", ",\"usage\":" U) DONE,
		  NULL, U, 4, 2, true, false, NULL },
		{ TEXT("a", "") SECOND("{\"content\":\"b\"}", "\"stop\"", "") STOP("") LAST, NULL, U, 4, 2, true, false,
		  NULL },
		/* Two choices, each with its own usage; one for both at the end. */
		{ TEXT("a", "") STOP(",\"usage\":" V) SECOND("{\"content\":\"b\"}", "null", "")
			  SECOND("{}", "\"stop\"", ",\"usage\":" U) DONE,
		  V, U, 4, 2, false, false, NULL },
		{ TEXT("a", "") STOP(",\"usage\":" V) SECOND("{\"content\":\"b\"}", "null", "")
			  SECOND("{}", "\"stop\"", ",\"usage\":" V) LAST,
		  V, U, 5, 2, true, false, NULL },
		/* Groq, Moonshot. */
		{ TEXT("a", "") STOP(",\"x_groq\":{\"id\":\"r\",\"usage\":" U "}") DONE, NULL, U, 2, 1, true, false,
		  NULL },
		{ "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\",\"usage\":" U "}]}\n\n" DONE, NULL, U,
		  1, 0, true, false, NULL },
		{ STOP(",\"x_groq\":{\"usage\":" V "}" NIL) DONE, NULL, V, 1, 0, true, false, NULL },
		{ STOP(",\"x_groq\":{\"usage\":" V "},\"usage\":" U) DONE, NULL, U, 1, 0, true, false, NULL },
		{ STOP(",\"usage\":" U ",\"x_groq\":{\"usage\":" V "}") DONE, NULL, U, 1, 0, true, false, NULL },
		/* Reasoning, tools, refusals, sound, completions. */
		{ CHUNK("{\"reasoning_content\":\"a\"}", "null", "") CHUNK("{\"reasoning\":\"a\"}", "null", "") CHUNK(
			  "{\"refusal\":\"a\"}", "\"\"",
			  "") CHUNK("{\"audio\":{\"data\":\"a\"}}", "null",
				    "") CHUNK("{\"tool_calls\":[{\"function\":{\"arguments\":\"{\"}}]}", "null",
					      "") CHUNK("{\"function_call\":{\"arguments\":\"{\"}}", "null", "")
			  CHUNK("{\"content\":[{\"type\":\"text\",\"text\":\"a\"}]}", "null", "") CHUNK(
				  "{\"content\":null,\"tool_calls\":[],\"reasoning\":\"\",\"content\":[]}", "null",
				  "") "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\n" LAST DONE,
		  NULL, U, 10, 8, true, false, NULL },
		/* An error in the middle. */
		{ TEXT("a", ",\"usage\":" V) "data: {\"error\":{\"message\":\"overloaded\"}}\n\n" DONE, NULL, V, 2, 1,
		  false, false, NULL }, );
	/* The end of the connection is no end of a choice. */
	CHECK_ROWS(SSE, true, { TEXT("a", ",\"usage\":" V) TEXT("b", ",\"usage\":" U), V, U, 2, 2, false, false, NULL },
		   { TEXT("a", ",\"usage\":" V) STOP(",\"usage\":" U), V, U, 2, 1, true, false, NULL },
		   { TEXT("a", "") TEXT("b", ""), NULL, NULL, 2, 2, false, false, NULL },
		   { "data: {\"response\":\"a\"}\n\ndata: {\"response\":\"\",\"usage\":" U "}\n\n", NULL, U, 2, 1, true,
		     false, NULL }, );
}

#define EVENT(type, more) "event: " type "\ndata: {\"type\":\"" type "\"" more "}\n\n"
#define A_IN "{\"input_tokens\":95,\"cache_read_input_tokens\":5,\"output_tokens\":1}"
#define A_OUT "{\"output_tokens\":13}"
#define START EVENT("message_start", ",\"message\":{\"id\":\"m\",\"content\":[],\"usage\":" A_IN "}")
#define A_TEXT EVENT("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}")
#define A_LAST EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":" A_OUT)
#define A_SUM EVENT("message_delta", ",\"delta\":{\"stop_reason\":null},\"usage\":" A_OUT)
#define A_OUT_2 "{\"output_tokens\":19}"
#define A_OTHER EVENT("message_delta", ",\"usage\":" A_OUT_2 ",\"delta\":{\"stop_reason\":\"max_tokens\"}")
#define PING EVENT("ping", "")

static void anthropic(void)
{
	CHECK_ROWS(SSE, true,
		   { START PING EVENT("content_block_start",
				      ",\"content_block\":{\"type\":\"tool_use\",\"input\":{\"usage\":" A_OUT "}}")
			     A_TEXT A_TEXT A_LAST EVENT("message_stop", ""),
		     A_IN, A_OUT, 7, 2, true, false, NULL },
		   { START A_TEXT EVENT("error", ",\"error\":{\"type\":\"overloaded_error\"}"), NULL, A_IN, 3, 1, false,
		     false, NULL },
		   { START, NULL, A_IN, 1, 0, false, false, NULL },
		   { START A_TEXT A_LAST A_TEXT, A_IN, A_OUT, 4, 2, false, false, NULL },
		   /* Claude 2. */
		   { EVENT("completion", ",\"completion\":\" Hi\""), NULL, NULL, 1, 1, false, false, NULL }, );
	CHECK_ROWS(SSE, false, { START A_TEXT, NULL, A_IN, 2, 1, false, false, NULL },
		   { START A_TEXT A_LAST, A_IN, A_OUT, 3, 1, true, false, NULL },
		   /* The output so far: the answer goes on, was cut, or ended all the same. */
		   { START A_TEXT A_SUM, A_IN, A_OUT, 3, 1, false, false, NULL },
		   { START A_TEXT A_SUM A_TEXT A_LAST, A_IN, A_OUT, 5, 2, true, false, NULL },
		   { START A_TEXT A_SUM EVENT("message_stop", ""), A_IN, A_OUT, 4, 1, true, false, NULL },
		   { START A_TEXT A_SUM A_TEXT EVENT("message_stop", ""), A_IN, A_OUT, 5, 2, false, false, NULL },
		   { START A_TEXT EVENT("message_stop", ""), NULL, A_IN, 3, 1, false, false, NULL },
		   /* Two ends of one answer. */
		   { START A_TEXT A_LAST A_OTHER, A_IN, A_OUT_2, 4, 1, false, false, NULL },
		   { START A_TEXT A_LAST A_TEXT A_OTHER, A_IN, A_OUT_2, 5, 2, false, false, NULL }, );
}

#define R_USAGE \
	"{\"input_tokens\":26,\"input_tokens_details\":{\"cached_tokens\":6},\"output_tokens\":7,\"total_tokens\":33}"
#define ECHO \
	"\"tools\":[{\"name\":\"f\",\"usage\":{\"input_tokens\":9}}],\"metadata\":{\"usage\":\"{}\",\"response\":{\"usage\":{\"input_tokens\":9}}},\"instructions\":\"\\\"usage\\\":{\\\"input_tokens\\\":9}\""

static void responses(void)
{
	CHECK_ROWS(
		SSE, false,
		{ EVENT("response.created", ",\"response\":{\"id\":\"r\"," ECHO ",\"usage\":null}") EVENT(
			  "response.output_text.delta",
			  ",\"delta\":\"usage\"") EVENT("response.reasoning_summary_text.delta", ",\"delta\":\"b\"")
			  EVENT("response.function_call_arguments.delta",
				",\"delta\":\"{\\\"usage\\\":{\\\"input_tokens\\\":9}}\"")
				  EVENT("response.output_item.done",
					",\"item\":{\"usage\":{\"input_tokens\":9},\"content\":[{\"usage\":{}}]}")
					  EVENT("response.completed",
						",\"sequence_number\":9,\"response\":{" ECHO ",\"usage\":" R_USAGE
						",\"service_tier\":\"priority\"," ECHO "}"),
		  NULL, R_USAGE, 6, 3, true, false, "priority" },
		{ EVENT("response.incomplete", ",\"response\":{\"usage\":" R_USAGE "}"), NULL, R_USAGE, 1, 0, true,
		  false, NULL },
		{ EVENT("response.failed", ",\"response\":{\"usage\":null,\"error\":{}}"), NULL, NULL, 1, 0, false,
		  false, NULL },
		{ EVENT("response.in_progress", ",\"response\":{\"usage\":" R_USAGE "}"), NULL, R_USAGE, 1, 0, false,
		  false, NULL },
		/* Sound and pictures. */
		{ EVENT("speech.audio.delta", ",\"audio\":\"AAAA\"") EVENT("speech.audio.done", ",\"usage\":" U), NULL,
		  U, 2, 1, true, false, NULL },
		{ EVENT("transcript.text.delta", ",\"delta\":\"Hi\"")
			  EVENT("transcript.text.done", ",\"text\":\"Hi\",\"usage\":" U),
		  NULL, U, 2, 1, true, false, NULL },
		{ EVENT("image_generation.partial_image", ",\"b64_json\":\"AAAA\"")
			  EVENT("image_generation.completed", ",\"b64_json\":\"AAAA\",\"usage\":" U),
		  NULL, U, 2, 0, true, false, NULL },
		{ EVENT("image_edit.completed", ",\"usage\":" U), NULL, U, 1, 0, true, false, NULL },
		/* Mistral's conversations, Gemini's interactions. */
		{ EVENT("message.output.delta", ",\"content\":\"a\"")
			  EVENT("conversation.response.done", ",\"usage\":" U),
		  NULL, U, 2, 1, true, false, NULL },
		{ "event: interaction.start\ndata: {\"event_type\":\"interaction.start\",\"interaction\":{\"id\":\"v1\"}}\n\n"
		  "data: {\"event_type\":\"step.delta\",\"delta\":{\"type\":\"text\",\"text\":\"a\"}}\n\n"
		  "data: {\"interaction\":{\"usage\":" U "},\"event_type\":\"interaction.completed\"}\n\n",
		  NULL, U, 3, 1, true, false, NULL }, );
}

#define G1 "{\"promptTokenCount\":8,\"candidatesTokenCount\":1}"
#define G2 "{\"promptTokenCount\":8,\"candidatesTokenCount\":5}"
#define PARTS(text, more) \
	"{\"candidates\":[{\"content\":{\"parts\":[" text "],\"role\":\"model\"}" more "}],\"usageMetadata\":"
#define CALL \
	"{\"functionCall\":{\"name\":\"f\",\"args\":{\"usageMetadata\":{\"promptTokenCount\":9},\"usage\":{\"prompt_tokens\":9}}}}"

static void gemini(void)
{
	CHECK_ROWS(SSE, false,
		   { "data: " PARTS("{\"text\":\"a\"}", "") G1
		     "}\r\n\r\ndata: " PARTS(CALL, ",\"finishReason\":\"STOP\"") G2 "}\r\n\r\n",
		     G1, G2, 2, 2, false, false, NULL },
		   { "data: " PARTS("{\"text\":\"a\"}", "") G1 "}\r\n\r\ndata: " PARTS("{\"text\":\"b\"}", "") G2
		     "}\r\n\r\n",
		     G1, G2, 2, 2, false, false, NULL },
		   { "data: " PARTS("", ",\"finishReason\":\"STOP\"") G2 "}\n\n", NULL, G2, 1, 0, false, false, NULL },
		   { "data: {\"response\":" PARTS("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\"") G2 "}}\n\n", NULL,
		     G2, 1, 1, false, false, NULL }, );
	CHECK_ROWS(SSE, true,
		   { "data: " PARTS("{\"text\":\"a\"}", "") G1 "}\r\n\r\ndata: " PARTS("{\"text\":\"b\"}", "") G2
		     "}\r\n\r\n",
		     G1, G2, 2, 2, false, false, NULL }, );
	CHECK_ROWS(SSE, true,
		   { "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"usageMetadata\":" G1 "}\n\n", NULL, G1,
		     1, 0, true, false, NULL }, );
	CHECK_ROWS(JSON, false,
		   { "[" PARTS("{\"text\":\"a\"}", "") G1 "}\n,\r\n" PARTS(CALL, ",\"finishReason\":\"STOP\"") G2 "}\n",
		     G1, G2, 2, 2, false, false, NULL },
		   { "[" PARTS("{\"text\":\"a\"}", "") G1 "}\n,\r\n" PARTS("{\"text\":\"b\"}", "") G2 "}\n", G1, G2, 2,
		     2, false, false, NULL },
		   { "[" PARTS("{\"text\":\"a\"}", "") G1 "}\n,\r\n{\"usageMetadata\":" G2 ",\"x\":", G1, G2, 2, 1,
		     false, false, NULL },
		   { " [ {\"usageMetadata\":" G1 "}]", NULL, G1, 1, 0, true, false, NULL }, );
	CHECK_ROWS(SSE, true,
		   { "data: " PARTS("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\"") G1
		     "}\r\n\r\ndata: " PARTS("{\"text\":\"b\"}", ",\"finishReason\":\"STOP\"") G2 "}\r\n\r\n",
		     G1, G2, 2, 2, true, false, NULL }, );
	CHECK_ROWS(JSON, true,
		   { "\xef\xbb\xbf [{\"usageMetadata\":" G1 "},{\"usageMetadata\":" G2 "}] ", G1, G2, 2, 0, true, false,
		     NULL },
		   { "[{\"usageMetadata\":" G1 "}", NULL, G1, 1, 0, false, true, NULL },
		   { "[{\"usageMetadata\":" G1 "},]", NULL, G1, 1, 0, false, true, NULL },
		   { "[{\"usageMetadata\":" G1 "}]]", NULL, G1, 1, 0, false, true, NULL },
		   { "[{\"usageMetadata\":" G1 "},[]]", NULL, G1, 1, 0, false, true, NULL },
		   { "[{\"usageMetadata\":" G1 "} {\"usageMetadata\":" G2 "}]", NULL, G1, 1, 0, false, true, NULL },
		   { "[{\"usage\":" U "},{\"usage\":" U "}]", NULL, NULL, 2, 0, false, false, NULL },
		   { "[[0.1,0.2],{\"usageMetadata\":" G1 "}]", NULL, NULL, 0, 0, false, false, NULL },
		   { "[]", NULL, NULL, 0, 0, false, false, NULL }, );
}

/* A connection that closes may have broken, which it does not say. Only what the answer itself says counts then. */
static void until_the_connection_ends(void)
{
	static const struct {
		const char *type, *body;
		bool final;
	} rows[] = {
		{ SSE, "data: " PARTS("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\"") G1 "}\r\n\r\n", false },
		{ JSON, "[{\"usageMetadata\":" G1 "}]", true },
		{ JSON, "{\"usage\":" U "}", true },
		{ SSE, TEXT("a", ",\"usage\":" U), false },
		{ SSE, TEXT("a", ",\"usage\":" U) DONE, true },
		{ SSE, STOP(",\"usage\":" U), false },
		{ SSE, STOP(",\"usage\":" U) DONE, true },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		tap_usage u;
		tap_usage_told t;
		tap_usage_begin(&u, slice_cstr(rows[i].type), slice_cstr(""));
		tap_usage_feed(&u, slice_cstr(rows[i].body));
		u.unframed = true;
		tap_usage_end(&u, true, &t);
		CHECK(t.final == rows[i].final || !printf("  %s\n", rows[i].body));
		tap_usage_free(&u);
	}
}

static void lines(void)
{
	CHECK_ROWS(
		NDJSON, false,
		{ "{\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n"
		  "{\"message\":{\"content\":\"\",\"thinking\":\"b\"},\"done\":false}\r\n"
		  "{\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{\"arguments\":{\"usage\":{\"x\":1},\"eval_count\":9}}}]},\"done\":false}\n\n"
		  "{\"message\":{\"content\":\"\"},\"done\":true,\"prompt_eval_count\":26,\"eval_count\":298}\n",
		  NULL, "{\"prompt_eval_count\":26,\"eval_count\":298}", 4, 3, true, false, NULL },
		{ "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"thinking\":\"a\",\"done\":false}\n{\"response\":\"\",\"context\":[1,2],\"done\":true,\"eval_count\":2}",
		  NULL, "{\"eval_count\":2}", 3, 2, true, false, NULL },
		{ "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true,\"eval_count\":2", NULL, NULL,
		  2, 1, false, false, NULL },
		{ "{\"error\":\"out of memory\"}\n", NULL, NULL, 1, 0, false, false, NULL }, );
	CHECK_ROWS(
		"application/stream+json", false,
		{ "{\"is_finished\":false,\"event_type\":\"text-generation\",\"text\":\"a\"}\n"
		  "{\"is_finished\":true,\"event_type\":\"stream-end\",\"response\":{\"text\":\"a\",\"tool_calls\":[{\"parameters\":{\"meta\":{\"tokens\":{}}}}],\"meta\":{\"billed_units\":{\"input_tokens\":3}}}}\n",
		  NULL, "{\"billed_units\":{\"input_tokens\":3}}", 2, 1, true, false, NULL },
		{ "{\"event_type\":\"stream-end\",\"response\":{\"meta\":{\"api_version\":{}}}}\n", NULL, NULL, 1, 0,
		  false, false, NULL }, );
	/* Cohere v2. */
	CHECK_ROWS(SSE, false,
		   { EVENT("message-start", ",\"delta\":{\"message\":{\"role\":\"assistant\"}}")
			     EVENT("content-delta", ",\"delta\":{\"message\":{\"content\":{\"text\":\"a\"}}}")
				     EVENT("tool-call-delta", ",\"delta\":{}")
					     EVENT("message-end",
						   ",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":" U "}"),
		     NULL, U, 4, 2, true, false, NULL }, );
}

static void one_object(void)
{
	CHECK_ROWS(
		JSON, true,
		{ "{\"object\":\"list\",\"data\":[{\"embedding\":[0.1,-2e-5,3]}],\"usage\":" U "}", NULL, U, 1, 0, true,
		  false, NULL },
		{ "{\"created\":1,\"data\":[{\"b64_json\":\"AAAA\"},{\"url\":\"x\",\"b64_json\":null}]}\n", NULL,
		  "{\"images\":2}", 1, 0, true, false, NULL },
		{ "{\"data\":[{\"b64_json\":\"AAAA\"}],\"usage\":" U ",\"service_tier\":\"default\"}", NULL, U, 1, 0,
		  true, false, "default" },
		{ "{\"predictions\":[{\"embeddings\":{\"statistics\":{\"token_count\":6.0},\"values\":[1]}},{\"embeddings\":{\"statistics\":{\"token_count\":2}}}]}",
		  NULL, "{\"prompt_tokens\":8,\"total_tokens\":8}", 1, 0, true, false, NULL },
		{ "{\"predictions\":[{\"embeddings\":{\"statistics\":{\"token_count\":6}}},{\"embeddings\":{}}]}", NULL,
		  NULL, 1, 0, false, false, NULL },
		{ "{\"inputTextTokenCount\":5,\"results\":[{\"tokenCount\":7},{\"tokenCount\":1}]}", NULL,
		  "{\"inputTextTokenCount\":5,\"outputTextTokenCount\":8}", 1, 0, true, false, NULL },
		{ "{\"meta\":{\"billed_units\":{\"input_tokens\":3}}}", NULL, "{\"billed_units\":{\"input_tokens\":3}}",
		  1, 0, true, false, NULL },
		{ "{\"meta\":{\"version\":1},\"eval_count\":2}", NULL, "{\"eval_count\":2}", 1, 0, true, false, NULL },
		{ "{\"usage\":" U ",\"text\":\"hi\",\"duration\":8.47}", NULL, U, 1, 0, true, false, NULL },
		{ "{\"text\":\"hi\",\"duration\":8.47}", NULL, "{\"type\":\"duration\",\"seconds\":8.47}", 1, 0, true,
		  false, NULL },
		{ "{\"usage\":" U "", NULL, U, 1, 0, false, true, NULL },
		{ "{\"usage\":" U "}}", NULL, NULL, 1, 0, false, true, NULL },
		{ "{\"\\u0069\\u006e\\u0070\\u0075\\u0074\\u0054\\u0065\\u0078\\u0074TokenCount\":5}", NULL,
		  "{\"inputTextTokenCount\":5}", 1, 0, true, false, NULL },
		{ "{\"\\u0069\\u006e\\u0070\\u0075\\u0074\\u0054\\u0065\\u0078\\u0074TokenCounts\":5}", NULL, NULL, 1,
		  0, false, false, NULL },
		{ "{\"usage\":" U ",}", NULL, NULL, 1, 0, false, true, NULL },
		{ "", NULL, NULL, 0, 0, false, false, NULL }, { " \n", NULL, NULL, 0, 0, false, false, NULL },
		{ "\"usage\":" U, NULL, NULL, 0, 0, false, true, NULL }, );
	CHECK_ROWS(JSON, false, { "{\"usage\":" U ",\"data\":[{\"b64_json\":\"AA", NULL, U, 1, 0, false, false, NULL },
		   { "{\"data\":[{\"b64_json\":\"AA\"},", NULL, NULL, 1, 0, false, false, NULL },
		   { "{\"usage\":{\"prompt_tokens\":3", NULL, NULL, 1, 0, false, false, NULL },
		   { "{\"usage\":" U "}", NULL, U, 1, 0, true, false, NULL }, );
	/* Of other types nothing is read. */
	CHECK_ROWS("audio/mpeg", true, { "{\"usage\":" U "}", NULL, NULL, 0, 0, false, false, NULL }, );
	CHECK_ROWS("application/jsonp", true, { "{\"usage\":" U "}", NULL, NULL, 0, 0, false, false, NULL }, );
}

static void only_its_own_place_counts(void)
{
	CHECK_ROWS(
		SSE, true,
		{ "data: {\"tools\":[{\"usage\":" U "}],\"metadata\":{\"usage\":" U "},\"x\":{\"message\":{\"usage\":" U
		  "}}}\n\n",
		  NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"text\":\"\\\"usage\\\":{}\",\"a\":[\"usage\",{\"usage\":{}}],\"usage \":" U "}\n\n", NULL,
		  NULL, 1, 0, false, false, NULL },
		{ "data: {\"us\\u0061ge\":" U "}\n\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"choices\":{\"usage\":" U "},\"response\":[{\"usage\":" U "}],\"message\":[{\"usage\":" U
		  "}]}\n\n",
		  NULL, NULL, 1, 1, false, false, NULL },
		{ "data: [{\"usage\":" U "}]\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "data: \"usage\":" U "\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "data: x {\"usage\":" U "}\n\n", NULL, NULL, 0, 0, false, false, NULL },
		{ "usage: {\"usage\":" U "}\n\nevent: {\"usage\":" U "}\n\ndatas: {\"usage\":" U
		  "}\n\n: data: {\"usage\":" U "}\n\n",
		  NULL, NULL, 0, 0, false, false, NULL },
		/* Two that differ, and two that do not. */
		{ "data: {\"usage\":" U ",\"usage\":" V "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":null}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":null,\"usage\":" U "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":{\"prompt_tokens\":3}}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":{\"prompt_tokens\":3},\"usage\":" U "}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":" U ",\"usage\":" U "}\n\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":[1],\"a\":1}\n\n", NULL, NULL, 1, 0, false, false, NULL },
		{ "data: {\"usage\":12}\n\n", NULL, NULL, 1, 0, false, false, NULL }, );
}

static void framings(void)
{
	CHECK_ROWS(
		SSE, true,
		{ "\xef\xbb\xbf"
		  "data:{\"usage\":" U "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "\xef\xbb"
		  "data:{\"usage\":" U "}\n\n",
		  NULL, NULL, 0, 0, false, false, NULL },
		{ "data: {\"usage\":" U "}\r\rid: 1\rdata: {\"usage\":" V "}\r\r", U, V, 2, 0, true, false, NULL },
		{ "id: 1\r\ndata: {\"usage\":" U "}\r\nretry: 3\r\n\r\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":\ndata: {\"prompt_tokens\":3,\r\ndata:\ndata\ndata:  \"completion_tokens\":2}}\n\n",
		  NULL, "{\"prompt_tokens\":3,\n\n\n \"completion_tokens\":2}", 1, 0, true, false, NULL },
		{ "data: {\"a\":\"b\ndata: c\"}\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\ndata: {\"usage\":" V "}\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\n", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":" U "}", NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":" U ",", NULL, U, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U ",\n\n", NULL, NULL, 1, 0, false, true, NULL },
		{ "data: {\"usage\":" U ",\"a\":1,\n\ndata: {\"usage\":" V "}\n\n", NULL, V, 2, 0, false, true, NULL },
		{ "data: {\"usage\":" U "}\n\ndata: {oops}\n\n", NULL, U, 2, 0, false, true, NULL },
		{ "data: {oops}\n\n" STOP(",\"usage\":" U), NULL, U, 2, 0, false, true, NULL },
		{ "data: {oops}\n\n" STOP("") LAST, NULL, U, 3, 0, true, true, NULL },
		{ "data\n\ndata:\n\n\n\n:\n\ndat", NULL, NULL, 0, 0, false, false, NULL }, );
	CHECK_ROWS(SSE, false, { TEXT("a", ",\"usage\":" V) "data: [DONE]", NULL, V, 1, 1, true, false, NULL },
		   { TEXT("a", ",\"usage\":" V) "data: [DONE] \r\n\r\n", NULL, V, 1, 1, true, false, NULL },
		   { TEXT("a", ",\"usage\":" V) "data: [DON]\n\ndata: x[DONE]\n\ndata: [DONE]x\n\ndata: [DONE", NULL, V,
		     1, 1, false, false, NULL },
		   { "data: {\"usage\":" U ",\"a\":\"", NULL, U, 1, 0, false, false, NULL },
		   { "data: {\"usage\":" U, NULL, U, 1, 0, false, false, NULL },
		   { "data: {\"usage\":{\"a\":", NULL, NULL, 1, 0, false, false, NULL }, );
}

static void grammar(void)
{
	static const char *const bad[] = { "01",    "1.",      "1e",          "-",           "+1",    ".5",  "1.e1",
					   "tru",   "nul",     "nulls",       "truee",       "Inf",   "-I",  "Na",
					   "'a'",   "\"\\x\"", "\"\\u12g4\"", "\"\t\"",      "[}",    "{]",  "[\"\t\"]",
					   "[\"a]", "[1]]",    "1 2",         "\"a\" \"b\"", "/**/1", "\x01" };
	/* Of what is skipped, only strings and brackets are looked at. */
	static const char *const inside[] = { "[1,]",        "[,1]",       "{\"a\":1,}", "{,}",
					      "{a:1}",       "{\"a\" 1}",  "{\"a\":}",   "[1 2]",
					      "{\"a\":tru}", "{\"a\":01}", "[\"\\x\"]",  "{[]:{}}" };

	CHECK_ROWS(
		SSE, true,
		{ "data: {\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,NaN,Infinity,-Infinity,\"\\u00e9\\n\\\\\\\"]}\",{},[],[[{}]]],\"usage\":" U
		  "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"a\":-0 ,\"b\":-1.5e+7,\"c\":1E9,\"d\":true ,\"e\":NaN,\"f\":-Infinity,\"g\":Infinity,\"h\":\"\\ud83d\\/\\\"\",\"usage\":" U
		  "}\n\n",
		  NULL, U, 1, 0, true, false, NULL },
		{ "data: {\"usage\":{\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,\"\\u00e9\\\"]}\",{},[],[[{}]]]}}\n\n",
		  NULL, "{\"a\":[1,-0,0.5,1e3,-2.5E-7,true,false,null,\"\\u00e9\\\"]}\",{},[],[[{}]]]}", 1, 0, true,
		  false, NULL }, );
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char body[256];
		int len = snprintf(body, sizeof body, "data: {\"usage\":" U ",\"x\":%s}\n\n", bad[i]);
		told t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((t.lost && t.last[0] == '\0') || !printf("  %s\n", bad[i]));
	}
	for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
		char body[256];
		int len = snprintf(body, sizeof body, "data: {\"usage\":" U ",\"x\":%s}\n\n", inside[i]);
		told t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((!t.lost && strcmp(t.last, U) == 0) || !printf("  %s\n", inside[i]));
		len = snprintf(body, sizeof body, "data: {\"usage\":{\"x\":%s}}\n\n", inside[i]);
		t = read_bytes(SSE, slice_of(body, (size_t)len), true);
		CHECK((t.lost && t.last[0] == '\0') || !printf("  %s\n", inside[i]));
	}
}

static void limits(void)
{
	size_t room = 4 << 20;
	char *body = malloc(room);

	/* A usage object that is as large as may be, and one byte larger. */
	for (int more = 0; more < 2; more++) {
		int n = snprintf(body, room, "data: {\"usage\":{\"a\":\"%*s\"}}\n\n", ANSWER_USAGE_MAX - 8 + more, "");
		told t = read_bytes(SSE, slice_of(body, (size_t)n), true);
		CHECK(strlen(t.last) == (more ? 0 : ANSWER_USAGE_MAX) && t.lost == more && t.final == !more);
	}
	/* Brackets as deep as json.h reads them. */
	for (int more = 0; more < 2; more++) {
		int n = snprintf(body, room, "data: {\"x\":");
		memset(body + n, '[', (size_t)(JSON_DEPTH_MAX + more));
		memset(body + n + JSON_DEPTH_MAX + more, ']', (size_t)(JSON_DEPTH_MAX + more));
		n += 2 * (JSON_DEPTH_MAX + more);
		n += snprintf(body + n, room - (size_t)n, ",\"usage\":" U "}\n\n");
		told t = read_in(SSE, slice_of(body, (size_t)n), 7, true);
		CHECK(t.lost == more && (strcmp(t.last, U) == 0) == !more);
	}
	/* A picture of megabytes. */
	int n = snprintf(body, room, "{\"data\":[{\"b64_json\":\"");
	memset(body + n, 'A', 3 << 20);
	n += 3 << 20;
	n += snprintf(body + n, room - (size_t)n, "\"}],\"usage\":" U "}");
	static const size_t steps[] = { 16384, 1000, 4 << 20 };
	for (size_t i = 0; i < 3; i++) {
		told t = read_in(JSON, slice_of(body, (size_t)n), steps[i], true);
		CHECK(t.final && strcmp(t.last, U) == 0);
	}
	/* No UTF-8. */
	told t = read_bytes(SSE, SLICE("data: {\"usage\":{\"a\":\"\xff\"}}\n\n"), true);
	CHECK(t.lost && t.last[0] == '\0');
	free(body);
}

static void what_is_coded_is_lost(void)
{
	static const struct {
		const char *coding;
		bool lost;
	} rows[] = { { "gzip", true },
		     { "identity", false },
		     { " Identity ", false },
		     { "identity, br", true },
		     { "", false } };

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		tap_usage u;
		tap_usage_told t;
		tap_usage_begin(&u, SLICE(SSE), slice_cstr(rows[i].coding));
		tap_usage_feed(&u, SLICE("data: {\"usage\":" U "}\n\n"));
		tap_usage_end(&u, true, &t);
		CHECK(t.lost == rows[i].lost && (t.last.len == 0) == rows[i].lost);
		tap_usage_free(&u);
	}
}

/* One message of Bedrock's event stream. */
static size_t message(char *to, const char *payload)
{
	static const char headers[] = "\x0b:event-type\x07\x00\x05"
				      "chunk";
	size_t headers_len = sizeof headers - 1, len = strlen(payload), all = 16 + headers_len + len;
	unsigned char *p = (unsigned char *)to;

	memset(p, 0, 12);
	p[1] = (unsigned char)(all >> 16);
	p[2] = (unsigned char)(all >> 8);
	p[3] = (unsigned char)all;
	p[7] = (unsigned char)headers_len;
	memcpy(p + 12, headers, headers_len);
	memcpy(p + 12 + headers_len, payload, len);
	memset(p + 12 + headers_len + len, '{', 4);
	return all;
}

/* One message that has `event` in base64. */
static size_t wrapped(char *to, const char *event, const char *escape)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char payload[4096] = "{\"bytes\":\"";
	size_t n = strlen(payload), len = strlen(event);

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < len ? (unsigned char)event[i + k] : 0);
		for (size_t k = 0; k < 4; k++) {
			char c = i + k > len ? '=' : digits[bits >> (18 - 6 * k) & 63];
			if (c == '/')
				n += (size_t)snprintf(payload + n, sizeof payload - n, "%s", escape);
			payload[n++] = c;
		}
	}
	snprintf(payload + n, sizeof payload - n, "\",\"p\":\"abcdefgh\"}");
	return message(to, payload);
}

typedef struct bedrock_row {
	const char *messages[5];
	bool wrapped;
	row want;
} bedrock_row;

#define METRICS \
	"\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":3,\"outputTokenCount\":13,\"invocationLatency\":3037,\"cacheReadInputTokenCount\":0,\"cacheWriteInputTokenCount\":25}"
#define MADE "{\"inputTokens\":3,\"outputTokens\":13,\"cacheReadInputTokens\":0,\"cacheWriteInputTokens\":25}"
#define CONVERSE "{\"inputTokens\":30,\"outputTokens\":7,\"totalTokens\":37}"

static void bedrock(void)
{
	static const bedrock_row rows[] = {
		{ { "{\"role\":\"assistant\"}", "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}",
		    "{\"contentBlockIndex\":1,\"delta\":{\"toolUse\":{\"input\":\"{\\\"usage\\\":\"}}}",
		    "{\"stopReason\":\"end_turn\"}",
		    "{\"metrics\":{\"latencyMs\":1},\"usage\":" CONVERSE ",\"serviceTier\":{\"type\":\"flex\"}}" },
		  false,
		  { "converse", NULL, CONVERSE, 5, 2, true, false, "flex" } },
		{ { "{\"contentBlockIndex\":0,\"delta\":{\"text\":\"a\"}}",
		    "{\"message\":\"The model is overloaded\"}" },
		  false,
		  { "converse, an exception", NULL, NULL, 2, 1, false, false, NULL } },
		{ { "{\"type\":\"message_start\",\"message\":{\"usage\":" A_IN "}}",
		    "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"???\"}}",
		    "{\"type\":\"message_delta\",\"usage\":" A_OUT "}", "{\"type\":\"message_stop\"," METRICS "}" },
		  true,
		  { "Anthropic", A_IN, A_OUT, 4, 1, true, false, NULL } },
		{ { "{\"generation\":\"a\",\"prompt_token_count\":3,\"generation_token_count\":1}",
		    "{\"generation\":\"b\",\"prompt_token_count\":null,\"generation_token_count\":2}" },
		  true,
		  { "Llama, cut", "{\"prompt_token_count\":3,\"generation_token_count\":1}",
		    "{\"generation_token_count\":2}", 2, 2, false, false, NULL } },
		{ { "{\"generation\":\"a\",\"generation_token_count\":1}",
		    "{\"generation\":\"\",\"generation_token_count\":2,\"stop_reason\":\"stop\"," METRICS "}" },
		  true,
		  { "Llama", "{\"generation_token_count\":1}", MADE, 2, 1, true, false, NULL } },
		{ { "{\"outputText\":\"a\",\"inputTextTokenCount\":3," METRICS "}" },
		  true,
		  { "Titan", NULL, MADE, 1, 1, true, false, NULL } },
		{ { "{\"outputs\":[{\"text\":\"a\"}]}",
		    "{\"outputs\":[{\"text\":\"\",\"stop_reason\":\"stop\"}]," METRICS "}" },
		  true,
		  { "Mistral", NULL, MADE, 2, 1, true, false, NULL } },
		{ { "{\"contentBlockDelta\":{\"delta\":{\"text\":\"a\"}}}",
		    "{\"metadata\":{\"usage\":" CONVERSE "}," METRICS "}" },
		  true,
		  { "Nova", NULL, CONVERSE, 2, 1, true, false, NULL } },
		{ { "{\"type\":\"message_delta\",\"usage\":" A_OUT },
		  true,
		  { "a chunk that is cut", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"type\":\"message_delta\",\"usage\":" A_OUT "}}" },
		  true,
		  { "a chunk with more", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":\"e30!\"}" }, false, { "no base64", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":{}}" }, false, { "no string", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "{\"bytes\":\"e30=\",\"bytes\":\"e30=\"}" },
		  false,
		  { "two", NULL, NULL, 1, 0, false, true, NULL } },
		{ { "text", "" }, false, { "no JSON", NULL, NULL, 0, 0, false, false, NULL } },
	};
	static char body[16384];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (int escaped = 0; escaped < 2; escaped++) {
			size_t n = 0;
			for (size_t k = 0; k < 5 && rows[i].messages[k]; k++)
				n += rows[i].wrapped ? wrapped(body + n, rows[i].messages[k], escaped ? "\\" : "") :
						       message(body + n, rows[i].messages[k]);
			told t = read_bytes(BEDROCK, slice_of(body, n), false);
			CHECK(is(&t, &rows[i].want));
			if (n > 20 &&
			    !rows[i].want.lost) { /* cut in the last message's checksum, and before its payload */
				t = read_bytes(BEDROCK, slice_of(body, n - 1), true);
				CHECK(t.lost);
				t = read_bytes(BEDROCK, slice_of(body, 20), false);
				CHECK(!t.lost && t.events == 0);
			}
		}
	/* Lengths that cannot be. */
	size_t n = message(body, "{}");
	body[0] = 2;
	told t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
	n = message(body, "{}");
	body[5] = 8;
	t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
	n = message(body, "{}");
	body[3] = 15;
	t = read_bytes(BEDROCK, slice_of(body, n), false);
	CHECK(t.lost);
}

int main(void)
{
	RUN(chat);
	RUN(anthropic);
	RUN(responses);
	RUN(gemini);
	RUN(until_the_connection_ends);
	RUN(lines);
	RUN(one_object);
	RUN(only_its_own_place_counts);
	RUN(framings);
	RUN(grammar);
	RUN(limits);
	RUN(what_is_coded_is_lost);
	RUN(bedrock);
	return unit_end();
}
