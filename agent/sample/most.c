/* SPDX-License-Identifier: MIT */
#include "sample/most.h"

#include <math.h>

#include "base/json.h"

/* The APIs that obey the same limits. */
enum {
	CHAT = 1 << 0,      /* OpenAI's .../chat/completions */
	TEXT = 1 << 1,      /* .../completions, whose `prompt` may be an array of prompts */
	RESPONSES = 1 << 2, /* OpenAI's .../responses */
	MESSAGES = 1 << 3,  /* Anthropic's .../messages, and what Vertex AI passes on as it is; Cohere's */
	COMPLETE = 1 << 4,  /* Anthropic's .../complete */
	GEMINI = 1 << 5,
	PREDICT = 1 << 6, /* Vertex AI's older models */
	OLLAMA = 1 << 7,
	GENERATE = 1 << 8, /* TGI's */
	CONVERSE = 1 << 9, /* Bedrock's */
	INVOKE = 1 << 10,  /* Bedrock's, with a body as the model's maker has it; Bedrock refuses the other makers' */
};

/* clang-format off */
static const struct {
	slice last; /* segment of the path, or METHOD of the segment NAME:METHOD */
	unsigned api;
} paths[] = {
	{ SLICE_INIT("completions"), TEXT }, /* chat/completions: see api_of() */
	{ SLICE_INIT("responses"), RESPONSES },
	{ SLICE_INIT("compact"), RESPONSES },
	{ SLICE_INIT("messages"), MESSAGES },
	{ SLICE_INIT("complete"), COMPLETE },
	{ SLICE_INIT("generateContent"), GEMINI },
	{ SLICE_INIT("streamGenerateContent"), GEMINI },
	{ SLICE_INIT("interactions"), GEMINI },
	{ SLICE_INIT("rawPredict"), MESSAGES },
	{ SLICE_INIT("streamRawPredict"), MESSAGES },
	{ SLICE_INIT("predict"), PREDICT },
	{ SLICE_INIT("serverStreamingPredict"), PREDICT },
	{ SLICE_INIT("chat"), MESSAGES }, /* Cohere's; api/chat and api/generate: see api_of() */
	{ SLICE_INIT("generate"), GENERATE },
	{ SLICE_INIT("converse"), CONVERSE },
	{ SLICE_INIT("converse-stream"), CONVERSE },
	{ SLICE_INIT("invoke"), INVOKE },
	{ SLICE_INIT("invoke-with-response-stream"), INVOKE },
};

typedef struct name {
	slice key;
	unsigned apis;
} name;

enum { MAX_TOKENS, MAX_COMPLETION_TOKENS };

/* Members of the body, and of the objects in it that are named below. */
static const name outputs[] = {
	[MAX_TOKENS] = { SLICE_INIT("max_tokens"), CHAT | TEXT | MESSAGES | INVOKE },
	[MAX_COMPLETION_TOKENS] = { SLICE_INIT("max_completion_tokens"), CHAT },
	{ SLICE_INIT("max_output_tokens"), RESPONSES },
	{ SLICE_INIT("max_tokens_to_sample"), COMPLETE | INVOKE },
	{ SLICE_INIT("max_gen_len"), INVOKE },
};

static const name inner_outputs[] = {
	{ SLICE_INIT("maxOutputTokens"), GEMINI | PREDICT },
	{ SLICE_INIT("max_output_tokens"), GEMINI },
	{ SLICE_INIT("num_predict"), OLLAMA },
	{ SLICE_INIT("max_new_tokens"), GENERATE | INVOKE },
	{ SLICE_INIT("maxTokens"), CONVERSE | INVOKE },
	{ SLICE_INIT("maxTokenCount"), INVOKE },
};

static const name inners[] = {
	{ SLICE_INIT("generationConfig"), GEMINI },
	{ SLICE_INIT("generation_config"), GEMINI },
	{ SLICE_INIT("options"), OLLAMA },
	{ SLICE_INIT("parameters"), GENERATE | PREDICT },
	{ SLICE_INIT("inferenceConfig"), CONVERSE | INVOKE },
	{ SLICE_INIT("textGenerationConfig"), INVOKE },
};
/* clang-format on */

/* The names of the number of answers that a request asks for. They count for each API and in any spelling: a number
 * that no server obeys only makes the estimate too high, which costs nothing. */
static const slice counts[] = { SLICE_INIT("n"), SLICE_INIT("best_of"), SLICE_INIT("candidateCount"),
				SLICE_INIT("candidate_count") };

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* What is known while a body is read. */
typedef struct reading {
	unsigned api;
	uint32_t seen;   /* bits of the names and objects that came: `outputs`, then `inner_outputs`, then `inners` */
	uint32_t limits; /* of those, the names that came with a limit */
	bool unsure;
	int64_t output, answers, prompts;
} reading;

_Static_assert(COUNT(outputs) + COUNT(inner_outputs) + COUNT(inners) <= 32, "a bit for each");

static unsigned api_of(slice path)
{
	if (path.len > 1 && slice_ends(path, SLICE("/")))
		path = slice_first(path, path.len - 1);
	size_t begin = path.len;
	while (begin > 0 && path.ptr[begin - 1] != '/' && path.ptr[begin - 1] != ':')
		begin--;
	slice last = slice_from(path, begin), before = slice_first(path, begin);
	if (slice_ends(before, SLICE("/chat/")) && slice_eq(last, SLICE("completions")))
		return CHAT;
	if (slice_ends(before, SLICE("/api/")) && (slice_eq(last, SLICE("chat")) || slice_eq(last, SLICE("generate"))))
		return OLLAMA;
	for (size_t i = 0; i < COUNT(paths); i++)
		if (slice_eq(last, paths[i].last))
			return paths[i].api;
	return 0;
}

/* Reads a number, or a text that is one, as lenient servers do. Rounds up. False: it is neither. */
static bool number_of(const json_member *m, int64_t *out)
{
	const double most = 4611686018427387904.; /* 2^62 */
	char buf[JSON_NUMBER_MAX];
	slice text = m->value;
	size_t len;
	double number;

	if (m->type == JSON_STRING) {
		if (json_text(m->value, buf, sizeof buf, &len) != JSON_TEXT_OK)
			return false;
		text = slice_trim(slice_of(buf, len));
	} else if (m->type != JSON_NUMBER) {
		return false;
	}
	if (json_whole(text, out))
		return true;
	if (!json_double(text, &number))
		return false;
	*out = number >= most ? (int64_t)most : number <= 0 ? 0 : (int64_t)ceil(number);
	return true;
}

/* Finds a key among names that the API obeys. Returns its index; `count`: it is none of them. Notes a key that only
 * some servers take for one of them. */
static size_t find(reading *r, slice key, const name *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_key_match match = names[i].apis & r->api ? json_key_like(key, names[i].key) : JSON_KEY_OTHER;
		r->unsure |= match == JSON_KEY_ALIKE || match == JSON_KEY_BAD;
		if (match == JSON_KEY_SAME || match == JSON_KEY_ALIKE)
			return i;
	}
	return count;
}

/* Notes that a name came. If it comes twice, a server obeys the last one, even if that sets no limit. */
static void note(reading *r, size_t bit)
{
	r->unsure |= (r->seen >> bit & 1) != 0;
	r->seen |= UINT32_C(1) << bit;
}

/* Takes the limit that the name number `bit` gives. */
static void take_output(reading *r, size_t bit, const json_member *m)
{
	int64_t value = 0;

	note(r, bit);
	if (m->type == JSON_NULL)
		return;
	/* For some servers 0 or a negative number means that there is no limit. */
	if (!number_of(m, &value) || value <= 0) {
		r->unsure = true;
		return;
	}
	r->limits |= UINT32_C(1) << bit;
	if (value > r->output)
		r->output = value;
}

static void take_count(reading *r, const json_member *m)
{
	int64_t value;

	for (size_t i = 0; i < COUNT(counts); i++)
		if (json_key_like(m->key, counts[i]) != JSON_KEY_OTHER && number_of(m, &value) && value > r->answers)
			r->answers = value;
}

/* Counts the prompts of an array of texts, or of arrays of tokens. */
static void take_prompts(reading *r, const json_member *m)
{
	int64_t prompts = 0;
	json_iter it;
	json_member one;

	json_iter_init(&it, m->value);
	while (json_next(&it, &one) == JSON_MEMBER)
		prompts += one.type != JSON_NUMBER;
	if (prompts > r->prompts)
		r->prompts = prompts;
}

static bool plain(slice key)
{
	for (size_t i = 0; i < key.len; i++)
		if ((unsigned char)key.ptr[i] >= 0x80 || key.ptr[i] == '\\')
			return false;
	return true;
}

static void take_inner(reading *r, slice object)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER) {
		size_t at = find(r, m.key, inner_outputs, COUNT(inner_outputs));
		if (at < COUNT(inner_outputs)) {
			take_output(r, COUNT(outputs) + at, &m);
		} else {
			r->unsure |= !plain(m.key);
			take_count(r, &m);
		}
	}
}

static void take(reading *r, const json_member *m)
{
	size_t output = find(r, m->key, outputs, COUNT(outputs));
	size_t inner = find(r, m->key, inners, COUNT(inners));

	if (output < COUNT(outputs)) {
		take_output(r, output, m);
	} else if (inner < COUNT(inners)) {
		note(r, COUNT(outputs) + COUNT(inner_outputs) + inner);
		if (m->type == JSON_OBJECT)
			take_inner(r, m->value);
	} else if (r->api == TEXT && m->type == JSON_ARRAY &&
		   json_key_like(m->key, SLICE("prompt")) != JSON_KEY_OTHER) {
		take_prompts(r, m);
	} else {
		/* Some servers take other characters for letters of such a name (U+212A for k). */
		r->unsure |= !plain(m->key);
		take_count(r, m);
	}
}

answer_most most_find(const model_sample *s)
{
	reading r = { .api = api_of(s->path), .output = -1, .answers = 1, .prompts = 1 };
	answer_most out = { -1, 1, false, false };
	json_iter it;
	json_back back;
	json_member m;
	json_step step;

	if (s->cenc.len > 0 && !slice_ieq(s->cenc, SLICE("identity")))
		return out;
	json_iter_init(&it, slice_trim(s->body));
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		take(&r, &m);
	/* The end may have what the beginning has too: the larger one counts. */
	if (step == JSON_CUT && s->sized && s->length == s->buffered && s->tail.len > 0) {
		json_back_init(&back, s->tail, false);
		while (json_back_next(&back, &m) == JSON_MEMBER)
			take(&r, &m);
	}
	out.output = r.output;
	out.newer = r.limits == UINT32_C(1) << MAX_COMPLETION_TOKENS;
	out.sure = step == JSON_DONE && !r.unsure && r.output > 0;
	if (__builtin_mul_overflow(r.answers, r.prompts, &out.answers))
		out.answers = INT64_MAX;
	return out;
}
