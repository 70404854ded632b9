/* SPDX-License-Identifier: MIT */
#include "answer/place.h"

#include "base/json.h"

#define ALL (IN_ANSWER | IN_EVENT | IN_LINE | IN_ELEMENT | IN_MESSAGE | IN_CHUNK)
#define STREAM (IN_EVENT | IN_LINE | IN_ELEMENT | IN_CHUNK)

/* A bit that depends on a name's length and first letter. Most names of most events have no bit among the marks. */
#define MARK_OF(letter, len) (UINT64_C(1) << (((unsigned)(unsigned char)(letter)*5u + (unsigned)(len)*11u) % 64u))

#define AS_ROW(name_, in_, what_, rank_, list_, inside_) { SLICE_INIT(name_), what_, in_, rank_, list_, inside_ },
#define AS_MARK(name_, in_, what_, rank_, list_, inside_) | MARK_OF(("" name_)[0], sizeof(name_) - 1)
#define PLACES(list) \
	{ \
		0 list(AS_MARK), sizeof((const place[]){ list(AS_ROW) }) / sizeof(place), (const place[]) \
		{ \
			list(AS_ROW) \
		} \
	}

/* clang-format off */

/* The rows: a member's name; in which objects it counts (ALL: wherever the table around it counts); what it is; of two
 * usages in one object, the one of the higher rank counts; whether it is a list of objects; what is inside. */

#define EMBEDDINGS(X)	/* Vertex AI */ \
	X("statistics",			ALL,	PLACE_PATH,		0, false, &statistics)
#define STATISTICS(X) \
	X("token_count",		ALL,	PLACE_VERTEX,		0, false, NULL)
#define PREDICTIONS(X)	/* Vertex AI */ \
	X("bytesBase64Encoded",		ALL,	PLACE_PICTURE,		0, false, NULL) \
	X("embeddings",			ALL,	PLACE_PATH,		0, false, &embeddings)
#define RESULTS(X)	/* Titan */ \
	X("tokenCount",			ALL,	PLACE_TITAN_OUT,	0, false, NULL)
#define DATA(X)		/* images */ \
	X("b64_json",			ALL,	PLACE_PICTURE,		0, false, NULL) \
	X("url",			ALL,	PLACE_PICTURE,		0, false, NULL)
#define SERVICE_TIER(X)	/* Bedrock */ \
	X("type",			ALL,	PLACE_TIER,		0, false, NULL)
#define DELTA(X)	/* chat */ \
	X("content",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("reasoning_content",		ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("reasoning",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("refusal",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("tool_calls",			ALL,	PLACE_CONTENT,		0, true,  NULL) \
	X("function_call",		ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("audio",			ALL,	PLACE_CONTENT,		0, false, NULL)
#define CHOICES(X)	/* chat, completions */ \
	X("delta",			ALL,	PLACE_PATH,		0, false, &delta) \
	X("text",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("finish_reason",		ALL,	PLACE_FINISH,		0, false, NULL) \
	X("usage",			ALL,	PLACE_USAGE,		2, false, NULL) /* Moonshot */
#define GEMINI_CONTENT(X) \
	X("parts",			ALL,	PLACE_CONTENT,		0, true,  NULL)
#define CANDIDATES(X)	/* Gemini */ \
	X("content",			ALL,	PLACE_PATH,		0, false, &gemini_content) \
	X("finishReason",		ALL,	PLACE_FINISH,		0, false, NULL)
#define OUTPUTS(X)	/* Mistral on Bedrock */ \
	X("text",			ALL,	PLACE_CONTENT,		0, false, NULL)
#define LINE_MESSAGE(X)	/* Ollama */ \
	X("content",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("thinking",			ALL,	PLACE_CONTENT,		0, false, NULL) \
	X("tool_calls",			ALL,	PLACE_CONTENT,		0, true,  NULL)
#define HAS_USAGE(X) \
	X("usage",			ALL,	PLACE_USAGE,		3, false, NULL)
#define GROQ(X) \
	X("usage",			ALL,	PLACE_USAGE,		2, false, NULL)
#define RESPONSE(X)	/* Responses; Cohere v1; Gemini behind Code Assist */ \
	X("usage",			ALL,	PLACE_USAGE,		3, false, NULL) \
	X("usageMetadata",		ALL,	PLACE_USAGE,		3, false, NULL) \
	X("meta",			ALL,	PLACE_META,		1, false, NULL) \
	X("candidates",			ALL,	PLACE_CHOICE,		0, true,  &candidates) \
	X("service_tier",		ALL,	PLACE_TIER,		0, false, NULL)

#define OUTERMOST(X) \
	X("usage",			ALL & ~IN_ELEMENT, PLACE_USAGE,	4, false, NULL) \
	X("usageMetadata",		ALL,	PLACE_USAGE,		4, false, NULL) \
	X("service_tier",		IN_ANSWER | IN_EVENT | IN_CHUNK, PLACE_TIER, 0, false, NULL) \
	X("serviceTier",		IN_ANSWER | IN_MESSAGE, PLACE_PATH, 0, false, &service_tier) \
	/* whole answers */ \
	X("meta",			IN_ANSWER, PLACE_META,		1, false, NULL)	/* Cohere v1, embed, rerank */ \
	X("inputTextTokenCount",	IN_ANSWER, PLACE_TITAN_IN,	0, false, NULL) \
	X("results",			IN_ANSWER, PLACE_PATH,		0, true,  &results) \
	X("predictions",		IN_ANSWER, PLACE_PATH,		0, true,  &predictions) \
	X("data",			IN_ANSWER, PLACE_PATH,		0, true,  &data) \
	X("text",			IN_ANSWER, PLACE_TEXT,		0, false, NULL)	/* transcriptions */ \
	X("duration",			IN_ANSWER, PLACE_SECONDS,	0, false, NULL) \
	X("prompt_eval_count",		IN_ANSWER | IN_LINE, PLACE_OLLAMA_IN, 0, false, NULL) \
	X("eval_count",			IN_ANSWER | IN_LINE, PLACE_OLLAMA_OUT, 0, false, NULL) \
	X("prompt_token_count",		IN_ANSWER | IN_CHUNK, PLACE_LLAMA_IN, 0, false, NULL) \
	X("generation_token_count",	IN_ANSWER | IN_CHUNK, PLACE_LLAMA_OUT, 0, false, NULL) \
	/* streams */ \
	X("type",			IN_EVENT | IN_CHUNK, PLACE_TYPE, 0, false, NULL) \
	X("event_type",			IN_EVENT | IN_LINE | IN_CHUNK, PLACE_TYPE, 0, false, NULL) \
	X("choices",			IN_EVENT | IN_CHUNK, PLACE_CHOICE, 0, true, &choices) \
	X("candidates",			IN_EVENT | IN_ELEMENT, PLACE_CHOICE, 0, true, &candidates) \
	X("message",			IN_EVENT | IN_CHUNK, PLACE_PATH, 0, false, &has_usage)	/* Anthropic */ \
	X("message",			IN_LINE, PLACE_PATH,		0, false, &line_message) \
	X("message",			IN_MESSAGE, PLACE_ERROR,	0, false, NULL) \
	X("response",			STREAM,	PLACE_CONTENT,		0, false, &response) \
	X("delta",			IN_EVENT | IN_CHUNK, PLACE_PATH, 0, false, &has_usage)	/* Cohere v2 */ \
	X("delta",			IN_MESSAGE, PLACE_CONTENT,	0, false, NULL)	/* Converse */ \
	X("interaction",		IN_EVENT, PLACE_PATH,		0, false, &has_usage)	/* Gemini interactions */ \
	X("x_groq",			IN_EVENT, PLACE_PATH,		0, false, &groq) \
	X("thinking",			IN_LINE, PLACE_CONTENT,		0, false, NULL)	/* Ollama */ \
	X("done",			IN_LINE, PLACE_DONE,		0, false, NULL) \
	X("error",			STREAM,	PLACE_ERROR,		0, false, NULL) \
	X("completion",			IN_EVENT | IN_CHUNK, PLACE_CONTENT, 0, false, NULL)	/* Claude 2 */ \
	X("bytes",			IN_MESSAGE, PLACE_BASE64,	0, false, NULL) \
	X("amazon-bedrock-invocationMetrics", IN_CHUNK, PLACE_METRICS,	1, false, NULL) \
	X("metadata",			IN_CHUNK, PLACE_PATH,		0, false, &has_usage)	/* Nova */ \
	X("contentBlockDelta",		IN_CHUNK, PLACE_CONTENT,	0, false, NULL) \
	X("generation",			IN_CHUNK, PLACE_CONTENT,	0, false, NULL)	/* Llama */ \
	X("outputText",			IN_CHUNK, PLACE_CONTENT,	0, false, NULL)	/* Titan */ \
	X("outputs",			IN_CHUNK, PLACE_PATH,		0, true,  &outputs)

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
static const places groq = PLACES(GROQ);
static const places response = PLACES(RESPONSE);

const places place_outermost = PLACES(OUTERMOST);

const place *place_find(const places *table, unsigned in, slice key, bool escaped)
{
	if (key.len == 0 || (!escaped && !(table->marks & MARK_OF(key.ptr[0], key.len))))
		return NULL;
	for (size_t i = 0; i < table->count; i++) {
		const place *row = &table->rows[i];
		if ((row->in & in) && (escaped ? json_key_is(key, row->name) : slice_eq(key, row->name)))
			return row;
	}
	return NULL;
}
