/* SPDX-License-Identifier: MIT
 *
 * What the tap reads of the answers of each API. */
#include "tap_usage_rig.h"

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

int main(void)
{
	RUN(chat);
	RUN(anthropic);
	RUN(responses);
	RUN(gemini);
	RUN(until_the_connection_ends);
	RUN(lines);
	RUN(one_object);
	return unit_end();
}
