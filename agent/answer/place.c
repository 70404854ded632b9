/* SPDX-License-Identifier: MIT */
#include "answer/place.h"

#include "base/json.h"

#define AS_ROW(name_, what_, rank_, list_, inside_) { SLICE_INIT(name_), what_, rank_, list_, inside_ },
#define AS_MARK(name_, what_, rank_, list_, inside_) | PLACE_MARK(("" name_)[0], sizeof(name_) - 1)
#define PLACES(rows) \
	{ \
		0 rows(AS_MARK), sizeof((const place[]){ rows(AS_ROW) }) / sizeof(place), (const place[]) \
		{ \
			rows(AS_ROW) \
		} \
	}

/* clang-format off */

/* The rows: a member's name; what it is; of two usages in one object, the one of the higher rank counts; whether it is
 * a list of objects; what is inside. */

#define EMBEDDINGS(X)	/* Vertex AI */ \
	X("statistics",			PLACE_PATH,		0, false, &statistics)
#define STATISTICS(X) \
	X("token_count",		PLACE_VERTEX,		0, false, NULL)
#define PREDICTIONS(X)	/* Vertex AI */ \
	X("bytesBase64Encoded",		PLACE_PICTURE,		0, false, NULL) \
	X("embeddings",			PLACE_PATH,		0, false, &embeddings)
#define RESULTS(X)	/* Titan */ \
	X("tokenCount",			PLACE_TITAN_OUT,	0, false, NULL)
#define DATA(X)		/* images */ \
	X("b64_json",			PLACE_PICTURE,		0, false, NULL) \
	X("url",			PLACE_PICTURE,		0, false, NULL)
#define SERVICE_TIER(X)	/* Bedrock */ \
	X("type",			PLACE_TIER,		0, false, NULL)
#define DELTA(X)	/* chat */ \
	X("content",			PLACE_CONTENT,		0, false, NULL) \
	X("reasoning_content",		PLACE_CONTENT,		0, false, NULL) \
	X("reasoning",			PLACE_CONTENT,		0, false, NULL) \
	X("refusal",			PLACE_CONTENT,		0, false, NULL) \
	X("tool_calls",			PLACE_CONTENT,		0, true,  NULL) \
	X("function_call",		PLACE_CONTENT,		0, false, NULL) \
	X("audio",			PLACE_CONTENT,		0, false, NULL)
#define CHOICES(X)	/* chat, completions */ \
	X("delta",			PLACE_PATH,		0, false, &delta) \
	X("text",			PLACE_CONTENT,		0, false, NULL) \
	X("index",			PLACE_INDEX,		0, false, NULL) \
	X("finish_reason",		PLACE_FINISH,		0, false, NULL) \
	X("usage",			PLACE_USAGE,		2, false, NULL)	/* Moonshot */
#define GEMINI_CONTENT(X) \
	X("parts",			PLACE_CONTENT,		0, true,  NULL)
#define CANDIDATES(X)	/* Gemini */ \
	X("content",			PLACE_PATH,		0, false, &gemini_content) \
	X("finishReason",		PLACE_STOP,		0, false, NULL)
#define OUTPUTS(X)	/* Mistral on Bedrock */ \
	X("text",			PLACE_CONTENT,		0, false, NULL)
#define LINE_MESSAGE(X)	/* Ollama */ \
	X("content",			PLACE_CONTENT,		0, false, NULL) \
	X("thinking",			PLACE_CONTENT,		0, false, NULL) \
	X("tool_calls",			PLACE_CONTENT,		0, true,  NULL)
#define HAS_USAGE(X) \
	X("usage",			PLACE_USAGE,		3, false, NULL)
#define EVENT_DELTA(X)	/* Cohere v2; Anthropic */ \
	HAS_USAGE(X) \
	X("stop_reason",		PLACE_STOPPED,		0, false, NULL)
#define GROQ(X) \
	X("usage",			PLACE_USAGE,		2, false, NULL)
#define RESPONSE(X)	/* Responses; Cohere v1; Gemini behind Code Assist */ \
	X("usage",			PLACE_USAGE,		3, false, NULL) \
	X("usageMetadata",		PLACE_USAGE,		3, false, NULL) \
	X("meta",			PLACE_META,		1, false, NULL) \
	X("candidates",			PLACE_CHOICE,		0, true,  &candidates) \
	X("service_tier",		PLACE_TIER,		0, false, NULL)

/* The outermost objects. */
#define USAGE(X) \
	X("usage",			PLACE_USAGE,		4, false, NULL)
#define GEMINI(X) \
	X("usageMetadata",		PLACE_USAGE,		4, false, NULL)
#define TIER(X) \
	X("service_tier",		PLACE_TIER,		0, false, NULL)
#define BEDROCK_TIER(X) \
	X("serviceTier",		PLACE_PATH,		0, false, &service_tier)
#define OLLAMA_COUNTS(X) \
	X("prompt_eval_count",		PLACE_OLLAMA_IN,	0, false, NULL) \
	X("eval_count",			PLACE_OLLAMA_OUT,	0, false, NULL)
#define LLAMA_COUNTS(X) \
	X("prompt_token_count",		PLACE_LLAMA_IN,		0, false, NULL) \
	X("generation_token_count",	PLACE_LLAMA_OUT,	0, false, NULL)
#define GEMINI_CANDIDATES(X) \
	X("candidates",			PLACE_CHOICE,		0, true,  &candidates)
#define STREAM(X)	/* a response may be a text, too: Ollama, Cloudflare */ \
	X("response",			PLACE_CONTENT,		0, false, &response) \
	X("error",			PLACE_ERROR,		0, false, NULL)
#define NAMED(X) \
	X("type",			PLACE_TYPE,		0, false, NULL) \
	X("event_type",			PLACE_TYPE,		0, false, NULL)	/* Cohere v1, Gemini interactions */
#define EVENTS(X) \
	X("choices",			PLACE_CHOICE,		0, true,  &choices) \
	X("message",			PLACE_PATH,		0, false, &has_usage)	/* Anthropic */ \
	X("delta",			PLACE_PATH,		0, false, &event_delta) \
	X("completion",			PLACE_CONTENT,		0, false, NULL)	/* Claude 2 */

#define ANSWER(X)	USAGE(X) GEMINI(X) TIER(X) BEDROCK_TIER(X) OLLAMA_COUNTS(X) LLAMA_COUNTS(X) \
	X("meta",			PLACE_META,		1, false, NULL)	/* Cohere v1, embed, rerank */ \
	X("inputTextTokenCount",	PLACE_TITAN_IN,		0, false, NULL) \
	X("results",			PLACE_PATH,		0, true,  &results) \
	X("predictions",		PLACE_PATH,		0, true,  &predictions) \
	X("data",			PLACE_PATH,		0, true,  &data) \
	X("text",			PLACE_TEXT,		0, false, NULL)	/* transcriptions */ \
	X("duration",			PLACE_SECONDS,		0, false, NULL)
#define EVENT(X)	USAGE(X) GEMINI(X) TIER(X) NAMED(X) EVENTS(X) STREAM(X) GEMINI_CANDIDATES(X) \
	X("interaction",		PLACE_PATH,		0, false, &has_usage)	/* Gemini interactions */ \
	X("x_groq",			PLACE_PATH,		0, false, &groq)
#define LINE(X)		USAGE(X) GEMINI(X) OLLAMA_COUNTS(X) STREAM(X) \
	X("event_type",			PLACE_TYPE,		0, false, NULL)	/* Cohere v1 */ \
	X("message",			PLACE_PATH,		0, false, &line_message)	/* Ollama */ \
	X("thinking",			PLACE_CONTENT,		0, false, NULL)	/* Ollama */ \
	X("done",			PLACE_DONE,		0, false, NULL)
#define ELEMENT(X)	GEMINI(X) STREAM(X) GEMINI_CANDIDATES(X)
#define MESSAGE(X)	USAGE(X) BEDROCK_TIER(X) \
	X("delta",			PLACE_CONTENT,		0, false, NULL)	/* Converse */ \
	X("message",			PLACE_ERROR,		0, false, NULL)	/* of an exception */ \
	X("bytes",			PLACE_BASE64,		0, false, NULL)
#define CHUNK(X)	USAGE(X) TIER(X) LLAMA_COUNTS(X) NAMED(X) EVENTS(X) STREAM(X) \
	X("amazon-bedrock-invocationMetrics", PLACE_METRICS,	1, false, NULL) \
	X("metadata",			PLACE_PATH,		0, false, &has_usage)	/* Nova */ \
	X("contentBlockDelta",		PLACE_CONTENT,		0, false, NULL)	/* Nova */ \
	X("generation",			PLACE_CONTENT,		0, false, NULL)	/* Llama */ \
	X("outputText",			PLACE_CONTENT,		0, false, NULL)	/* Titan */ \
	X("outputs",			PLACE_PATH,		0, true,  &outputs)

/* clang-format on */

static const places statistics = PLACES(STATISTICS);
static const places embeddings = PLACES(EMBEDDINGS);
static const places predictions = PLACES(PREDICTIONS);
static const places results = PLACES(RESULTS);
static const places data = PLACES(DATA);
static const places service_tier = PLACES(SERVICE_TIER);
static const places delta = PLACES(DELTA);
static const places choices = PLACES(CHOICES);
static const places gemini_content = PLACES(GEMINI_CONTENT);
static const places candidates = PLACES(CANDIDATES);
static const places outputs = PLACES(OUTPUTS);
static const places line_message = PLACES(LINE_MESSAGE);
static const places has_usage = PLACES(HAS_USAGE);
static const places event_delta = PLACES(EVENT_DELTA);
static const places groq = PLACES(GROQ);
static const places response = PLACES(RESPONSE);

static const places outermost[] = {
	[IN_ANSWER] = PLACES(ANSWER),   [IN_EVENT] = PLACES(EVENT),     [IN_LINE] = PLACES(LINE),
	[IN_ELEMENT] = PLACES(ELEMENT), [IN_MESSAGE] = PLACES(MESSAGE), [IN_CHUNK] = PLACES(CHUNK),
};

const places *place_outermost(place_in in)
{
	return &outermost[in];
}

const place *place_search(const places *table, slice key, bool escaped)
{
	for (size_t i = 0; i < table->count; i++) {
		const place *row = &table->rows[i];
		if (escaped ? json_key_is(key, row->name) : slice_eq(key, row->name))
			return row;
	}
	return NULL;
}
