/* SPDX-License-Identifier: MIT */
#include "decide/endpoint.h"

enum {
	SEGMENTS_MAX = 16, /* of a path; the longest in use, Vertex AI's behind a base path, has 13 */
	FRONT_MAX = 4,     /* segments in front of the version */
};

/* What is known of an endpoint. HTTP, SOCKET: a request by HTTP runs a model there; a WebSocket does. DEPLOYED: it may
 * also stand behind one of `containers`. ASKS, LISTS: GET asks about one model; about all. LIVE: a WebSocket does
 * something else there than HTTP. QUERY: the upstream takes the model from the query. FILES: the endpoint runs no
 * model, and its body is a file, whatever the file holds, or a batch of requests that name a model each. LONG: an
 * answer may be larger than HAProxy's buffer. OPTION: a stream tells its usage only if stream_options asks for it.
 * INSIDE: a client names the model inside the WebSocket. TOLD: the answer is a thing that an earlier request made, with
 * the usage of that request. */
enum {
	HTTP = 1,
	SOCKET = 2,
	DEPLOYED = 4,
	ASKS = 8,
	LISTS = 16,
	LIVE = 32,
	QUERY = 64,
	FILES = 128,
	LONG = 256,
	OPTION = 512,
	INSIDE = 1024,
	TOLD = 2048
};

/* `*` stands for one segment, `*:` for one of the form NAME:METHOD, with a method that runs a model. */
typedef struct row {
	const char *tail;
	uint16_t how;
} row;

/* clang-format off */
static const row rows[] = {
	/* OpenAI's, which most others speak too */
	{ "chat/completions", HTTP | DEPLOYED | OPTION },
	{ "completions", HTTP | DEPLOYED | OPTION },
	{ "responses", HTTP | SOCKET },
	{ "responses/compact", HTTP },
	{ "responses/input_tokens", HTTP },
	{ "embeddings", HTTP | DEPLOYED | LONG },
	{ "images/generations", HTTP | DEPLOYED | LONG },
	{ "images/edits", HTTP | DEPLOYED | LONG },
	{ "images/variations", HTTP | DEPLOYED | LONG },
	{ "audio/speech", HTTP | DEPLOYED },
	{ "audio/transcriptions", HTTP | DEPLOYED },
	{ "audio/translations", HTTP | DEPLOYED },
	{ "moderations", HTTP },
	{ "realtime", SOCKET },
	/* Anthropic's */
	{ "messages", HTTP },
	{ "messages/count_tokens", HTTP },
	{ "complete", HTTP },
	/* Gemini's and Vertex AI's */
	{ "models/*:", HTTP },
	{ "interactions", HTTP },
	{ "tunedModels/*:", HTTP },
	{ "publishers/*/models/*:", HTTP },
	{ "projects/*/locations/*/publishers/*/models/*:", HTTP },
	{ "projects/*/locations/*/endpoints/*:", HTTP },
	{ "ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent", SOCKET | INSIDE },
	{ "ws/google.ai.generativelanguage.v1alpha.GenerativeService.BidiGenerateContent", SOCKET | INSIDE },
	{ "ws/google.cloud.aiplatform.v1.LlmBidiService/BidiGenerateContent", SOCKET | INSIDE },
	{ "ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent", SOCKET | INSIDE },
	/* Bedrock's */
	{ "model/*/invoke", HTTP },
	{ "model/*/invoke-with-response-stream", HTTP },
	{ "model/*/invoke-with-bidirectional-stream", HTTP },
	{ "model/*/converse", HTTP },
	{ "model/*/converse-stream", HTTP },
	{ "model/*/count-tokens", HTTP },
	/* Cohere's (behind a version), Ollama's (behind /api), TGI's and TEI's */
	{ "chat", HTTP },
	{ "generate", HTTP },
	{ "embed", HTTP | LONG },
	{ "rerank", HTTP | DEPLOYED },
	/* vLLM's, Mistral's */
	{ "score", HTTP },
	{ "pooling", HTTP },
	{ "classify", HTTP },
	{ "fim/completions", HTTP },
	{ "ocr", HTTP },
	{ "chat/moderations", HTTP },
	{ "classifications", HTTP },
	{ "chat/classifications", HTTP },
	/* Deepgram's */
	{ "listen", HTTP | LIVE | QUERY },
	{ "speak", HTTP | LIVE | QUERY },
	/* everybody's; GET */
	{ "models/*", ASKS },
	{ "models", LISTS },
	/* what is stored: an answer to a POST that changes or cancels it */
	{ "chat/completions/*", TOLD },
	{ "responses/*/cancel", TOLD },
	{ "interactions/*/cancel", TOLD },
	{ "threads/*/runs/*", TOLD },
	{ "threads/*/runs/*/cancel", TOLD },
	{ "batches", TOLD },
	{ "batches/*", TOLD },
	{ "batches/*/cancel", TOLD },
	/* uploads */
	{ "files", FILES },
	{ "files/upload", FILES },
	{ "uploads", FILES },
	{ "uploads/*/parts", FILES },
	{ "containers/*/files", FILES },
	{ "fileSearchStores/*", FILES },
	{ "skills", FILES },
	{ "skills/*/versions", FILES },
	{ "messages/batches", FILES },
};

/* Behind these stand the rows that are DEPLOYED. */
static const char *const containers[] = { "deployments/*", "engines/*", "projects/*/locations/*/endpoints/*" };

/* The words that may stand in front instead of a version. */
static const char *const words[] = { "openai", "api", "inference", "models", "azure", "bedrock", "beta" };

/* Methods of Google's models whose answer is the model's. Not here: what makes a job (batchGenerateContent,
 * predictLongRunning), reads one (fetchPredictOperation), or changes something. */
static const char *const verbs[] = {
	"generateContent", "streamGenerateContent", "countTokens", "computeTokens", "embedContent", "batchEmbedContents",
	"predict", "rawPredict", "streamRawPredict", "serverStreamingPredict", "directPredict", "directRawPredict",
	"generateText", "generateMessage", "generateAnswer", "embedText", "batchEmbedText", "countTextTokens",
	"countMessageTokens",
};
/* clang-format on */

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool among(slice text, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(text, slice_cstr(list[i])))
			return true;
	return false;
}

/* True for "v" and a number, and then perhaps "alpha" or "beta" and a number: v1, v4, v1beta, v1alpha1. */
static bool is_version(slice s)
{
	size_t i = 1;

	if (s.len < 2 || s.ptr[0] != 'v')
		return false;
	while (i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9')
		i++;
	if (i == 1)
		return false;
	slice rest = slice_from(s, i);
	rest = slice_from(rest, slice_starts(rest, SLICE("alpha")) ? 5 : slice_starts(rest, SLICE("beta")) ? 4 : 0);
	for (i = 0; i < rest.len && rest.ptr[i] >= '0' && rest.ptr[i] <= '9';)
		i++;
	return i == rest.len;
}

static bool is_plain(slice s)
{
	size_t dots = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (!ascii_is_alnum(s.ptr[i]) && !strchr("._-", s.ptr[i]))
			return false;
		dots += s.ptr[i] == '.';
	}
	return s.len > dots;
}

/* True for NAME:METHOD with a method that runs a model. */
static bool runs_by_verb(slice s)
{
	size_t colon = slice_find(s, 0, ':');

	return colon > 0 && among(slice_from(s, colon + 1), verbs, COUNT(verbs));
}

/* True if the `n` segments are as `pattern` says. */
static bool fits(const slice *s, size_t n, const char *pattern)
{
	slice all = slice_cstr(pattern);
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (at > all.len)
			return false;
		size_t slash = slice_find(all, at, '/');
		slice want = slice_of(all.ptr + at, slash - at);
		bool ok = slice_eq(want, SLICE("*:")) ? runs_by_verb(s[i]) :
			  slice_eq(want, SLICE("*"))  ? s[i].len > 0 :
							slice_eq(want, s[i]);
		if (!ok)
			return false;
		at = slash + 1;
	}
	return at > all.len;
}

static uint16_t row_of(const slice *s, size_t n)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		if (fits(s, n, rows[i].tail))
			return rows[i].how;
	return 0;
}

/* Looks up the segments that stand behind a version, or behind one of `words`. Returns what the table says of the
 * endpoint; 0: it is not there. */
static uint16_t tail_of(const slice *s, size_t n)
{
	static const uint8_t depth[] = { 2, 2, 6 }; /* segments of each container */
	uint16_t how = row_of(s, n);

	_Static_assert(COUNT(depth) == COUNT(containers), "each container has its depth");
	for (size_t i = 0; i < COUNT(containers) && !how; i++)
		if (n > depth[i] && fits(s, depth[i], containers[i])) {
			uint16_t inside = row_of(s + depth[i], n - depth[i]);
			how = inside & DEPLOYED ? inside & (HTTP | LONG | OPTION) : 0;
		}
	return how;
}

static uint16_t how_spoken(const slice *s, size_t n)
{
	size_t version = 0;
	uint16_t how = tail_of(s, n);

	if (!how && among(s[0], words, COUNT(words)))
		how = tail_of(s + 1, n - 1);
	if (how)
		return how;
	while (version < n && version < FRONT_MAX && !is_version(s[version]) && is_plain(s[version]))
		version++;
	if (version == n || !is_version(s[version]))
		return 0;
	how = tail_of(s + version + 1, n - version - 1);
	if (!how && version + 1 < n && slice_eq(s[version + 1], SLICE("openai")))
		how = tail_of(s + version + 2, n - version - 2);
	return how;
}

/* Returns `path` without one slash at its end. */
static slice trimmed(slice path)
{
	return slice_first(path, path.len - (path.len > 1 && path.ptr[path.len - 1] == '/'));
}

/* Returns the byte at s[*i], percent-decoded if it can be, and moves *i behind it. */
static char decoded_at(slice s, size_t *i)
{
	size_t at = (*i)++;
	int high = s.ptr[at] == '%' && s.len - at > 2 ? ascii_hex_digit(s.ptr[at + 1]) : -1;
	int low = high >= 0 ? ascii_hex_digit(s.ptr[at + 2]) : -1;

	if (low < 0)
		return s.ptr[at];
	*i = at + 3;
	return (char)(unsigned char)(high << 4 | low);
}

/* True if the last segment of the path is `responses` for some server: in any case, percent-encoded, with a parameter
 * or slashes behind it. Whatever stands in front of it, as in /backend-api/codex/responses, the endpoint speaks HTTP
 * too. In a path with two readings any segment may be the last one: /v1/responses/x/.. */
static bool names_responses(slice path)
{
	static const char word[] = "responses";
	const size_t len = sizeof word - 1, other = sizeof word;
	const bool clear = path_clear(path);
	size_t matched = other; /* letters of the word that the segment begins with */

	for (size_t i = 0; i < path.len;) {
		char c = ascii_lower(decoded_at(path, &i));
		bool slash = c == '/' || c == '\\', part = ascii_is_alnum(c) || c == '-' || c == '_' || c == '.';
		if (matched == len && !part && !clear)
			return true;
		if (slash && matched != len)
			matched = 0;
		else if (matched < len)
			matched = c == word[matched] ? matched + 1 : other;
		else if (matched == len && part)
			matched = other;
		else if (matched == len && !slash)
			i = slice_find(path, i, '/');
	}
	return matched == len;
}

/* What the table says of a path; 0: nothing. */
static uint16_t how_of(slice path)
{
	slice segments[SEGMENTS_MAX];
	size_t n = 0;

	path = trimmed(path);
	if (path.len < 2 || path.ptr[0] != '/')
		return 0;
	for (size_t at = 1; at <= path.len;) {
		size_t slash = slice_find(path, at, '/');
		if (n == SEGMENTS_MAX)
			return 0;
		segments[n++] = slice_of(path.ptr + at, slash - at);
		at = slash + 1;
	}
	return how_spoken(segments, n);
}

endpoint endpoint_find(slice method, slice path, bool websocket)
{
	bool get = slice_eq(method, SLICE("GET"));

	if (!get && !slice_eq(method, SLICE("POST")))
		return ENDPOINT_OTHER;
	uint16_t how = how_of(path);
	if (websocket) {
		if (!get || !(how & (HTTP | SOCKET)))
			return get && names_responses(trimmed(path)) ? ENDPOINT_HTTP : ENDPOINT_OTHER;
		if (how & LIVE)
			return ENDPOINT_RUNS;
		return how & HTTP ? how & SOCKET ? ENDPOINT_HTTP_TOO : ENDPOINT_HTTP : ENDPOINT_RUNS;
	}
	if (get)
		return how & ASKS ? ENDPOINT_MODEL : how & LISTS ? ENDPOINT_MODELS : ENDPOINT_OTHER;
	return how & HTTP ? ENDPOINT_RUNS : ENDPOINT_OTHER;
}

/* Returns what stands behind the last slash of `path`, without one at its end. */
static slice last_segment(slice path)
{
	path = trimmed(path);
	size_t begin = path.len;
	while (begin > 0 && path.ptr[begin - 1] != '/')
		begin--;
	return slice_from(path, begin);
}

slice endpoint_operation(slice path)
{
	/* The last segment of a path, or the method at its end. */
	static const struct {
		slice last, operation;
	} operations[] = {
		{ SLICE_INIT("completions"), SLICE_INIT("text_completion") },
		{ SLICE_INIT("complete"), SLICE_INIT("text_completion") },
		{ SLICE_INIT("generate"), SLICE_INIT("text_completion") },
		{ SLICE_INIT("generateText"), SLICE_INIT("text_completion") },
		{ SLICE_INIT("embeddings"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("embed"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("embedContent"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("batchEmbedContents"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("embedText"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("batchEmbedText"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("pooling"), SLICE_INIT("embeddings") },
		{ SLICE_INIT("generations"), SLICE_INIT("image_generation") },
		{ SLICE_INIT("edits"), SLICE_INIT("image_generation") },
		{ SLICE_INIT("variations"), SLICE_INIT("image_generation") },
		{ SLICE_INIT("speech"), SLICE_INIT("speech") },
		{ SLICE_INIT("speak"), SLICE_INIT("speech") },
		{ SLICE_INIT("transcriptions"), SLICE_INIT("transcription") },
		{ SLICE_INIT("translations"), SLICE_INIT("transcription") },
		{ SLICE_INIT("listen"), SLICE_INIT("transcription") },
		{ SLICE_INIT("ocr"), SLICE_INIT("transcription") },
		{ SLICE_INIT("rerank"), SLICE_INIT("rerank") },
		{ SLICE_INIT("score"), SLICE_INIT("rerank") },
		{ SLICE_INIT("moderations"), SLICE_INIT("classification") },
		{ SLICE_INIT("classify"), SLICE_INIT("classification") },
		{ SLICE_INIT("classifications"), SLICE_INIT("classification") },
	};
	path = trimmed(path);
	slice last = last_segment(path);
	slice front = slice_first(path, path.len - last.len);

	if (slice_eq(last, SLICE("completions")) && slice_eq(last_segment(front), SLICE("chat")))
		return slice_of(NULL, 0);
	last = slice_from(last, slice_find(last, 0, ':') < last.len ? slice_find(last, 0, ':') + 1 : 0);
	for (size_t i = 0; i < COUNT(operations); i++)
		if (slice_eq(last, operations[i].last))
			return operations[i].operation;
	return slice_of(NULL, 0);
}

bool endpoint_metered(endpoint e, slice path)
{
	static const char *const counting[] = { "count_tokens",  "input_tokens",    "count-tokens",      "countTokens",
						"computeTokens", "countTextTokens", "countMessageTokens" };

	if (e != ENDPOINT_RUNS && e != ENDPOINT_HTTP_TOO && e != ENDPOINT_HTTP)
		return false;
	slice last = last_segment(path);
	/* Vertex AI counts Claude's tokens by a model of the name count-tokens. */
	size_t colon = slice_find(last, 0, ':');
	return !among(slice_first(last, colon), counting, COUNT(counting)) &&
	       !among(slice_from(last, colon + 1), counting, COUNT(counting));
}

bool endpoint_told_before(slice path)
{
	return how_of(path) & TOLD;
}

bool endpoint_takes_files(slice method, slice path)
{
	return (slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT"))) && how_of(path) & FILES &&
	       path_clear(path);
}

bool endpoint_takes_stream_options(endpoint e, slice path)
{
	return e == ENDPOINT_RUNS && how_of(path) & OPTION;
}

bool endpoint_takes_query(slice path)
{
	return how_of(path) & QUERY && path_clear(path);
}

bool endpoint_names_inside(slice path)
{
	return how_of(path) & INSIDE;
}

/* ---- paths as some server may read them */

enum { LOOSE_MAX = 1024 };

/* Ends the segment at buf[begin]: takes it away if it is empty or a dot, and with it the one in front if it is two
 * dots. Returns the new length. */
static size_t end_segment(char *buf, size_t begin, size_t len)
{
	slice s = slice_of(buf + begin, len - begin);

	if (s.len == 0 || slice_eq(s, SLICE(".")))
		return begin;
	if (!slice_eq(s, SLICE(".."))) {
		buf[len] = '/';
		return len + 1;
	}
	len = begin > 1 ? begin - 1 : begin;
	while (buf[len - 1] != '/')
		len--;
	return len;
}

/* Writes `path` to `buf`, of LOOSE_MAX bytes, as a server may read it that decodes it once, and drops empty segments,
 * dot segments and parameters behind a semicolon. `lower`: and that passes over upper and lower case. An empty slice:
 * it is too long. */
static slice read_loosely(slice path, char *buf, bool lower)
{
	size_t len = 1, begin = 1;
	bool parameter = false;

	buf[0] = '/';
	for (size_t i = 0; i < path.len;) {
		char c = decoded_at(path, &i);
		if (c == '/' || c == '\\') {
			begin = len = end_segment(buf, begin, len);
			parameter = false;
			continue;
		}
		parameter |= c == ';';
		if (parameter)
			continue;
		buf[len++] = lower ? ascii_lower(c) : c;
		if (len >= LOOSE_MAX - 1) /* a slash needs room, too */
			return slice_of(NULL, 0);
	}
	return slice_of(buf, end_segment(buf, begin, len));
}

bool endpoint_metered_loosely(slice path)
{
	char buf[LOOSE_MAX];

	for (unsigned lower = 0; lower < 2; lower++) {
		slice read = read_loosely(path, buf, lower);
		if (read.len == 0 || (how_of(read) & HTTP && endpoint_metered(ENDPOINT_RUNS, read)))
			return true;
	}
	return false;
}

bool endpoint_names_deployment(slice path)
{
	static const slice word = SLICE_INIT("/endpoints/");
	char buf[LOOSE_MAX];
	slice read = read_loosely(path, buf, true);

	if (!slice_contains(read, SLICE("/locations/")))
		return read.len == 0;
	for (; read.len > word.len; read = slice_from(read, 1))
		if (slice_starts(read, word) && !slice_starts(slice_from(read, word.len), SLICE("openapi/")))
			return true;
	return false;
}

/* What is made by a POST, and runs models later or elsewhere. HIDES: the model need not be the body's `model`, because
 * it stands in requests of their own, an object (`session`, `data_source`, `grader`), or `modelId`. COSTS: nobody sees
 * what that costs. In lower case. */
enum { HIDES = 1, COSTS = 2 };

static const struct {
	const char *end;
	uint8_t how;
} jobs[] = {
	{ "/batches", HIDES | COSTS },
	{ "/realtime/client_secrets", HIDES | COSTS },
	{ "/realtime/calls", HIDES | COSTS },
	{ "/realtime/transcription_sessions", HIDES | COSTS },
	{ "/realtime/sessions", COSTS },
	{ "/evals", HIDES },
	{ "/graders/run", HIDES | COSTS },
	{ "/agents/completions", HIDES | COSTS },
	{ "/async-invoke", HIDES | COSTS },
	{ "/model-invocation-job", HIDES | COSTS },
	{ "/model-customization-jobs", COSTS },
	{ "/fine_tuning/jobs", COSTS },
	{ "/videos", COSTS },
	{ "/remix", COSTS },
	{ "/runs", COSTS },
	{ "/batch/jobs", COSTS },
	{ "/batchpredictionjobs", COSTS },
	{ ":batchgeneratecontent", COSTS },
	{ ":asyncbatchembedcontent", COSTS },
	{ ":predictlongrunning", COSTS },
};

/* Returns what `jobs` says of a path that was read loosely. */
static uint8_t job_of(slice read)
{
	read = trimmed(read);
	if (slice_ends(read, SLICE("/runs")) && slice_contains(read, SLICE("/evals/")))
		return HIDES | COSTS;
	for (size_t i = 0; i < COUNT(jobs); i++)
		if (slice_ends(read, slice_cstr(jobs[i].end)))
			return jobs[i].how;
	return 0;
}

bool endpoint_hides_model(slice path)
{
	char buf[LOOSE_MAX];
	slice read = read_loosely(path, buf, true);

	return read.len == 0 || !path_clear(path) || slice_contains(path, SLICE("%")) || job_of(read) & HIDES;
}

bool endpoint_costs_later(slice method, slice path)
{
	char buf[LOOSE_MAX];

	if (slice_eq(method, SLICE("GET")) || slice_eq(method, SLICE("HEAD")) || slice_eq(method, SLICE("DELETE")) ||
	    slice_eq(method, SLICE("OPTIONS")))
		return false;
	slice read = read_loosely(path, buf, true);
	return read.len == 0 || job_of(read) & COSTS;
}

/* True for gemini-2.5-flash-image, imagen-4.0, gpt-4o-audio-preview, amazon.nova-canvas-v1:0, cohere.embed-v4:0 and the
 * like. */
static bool answers_with_media(slice model)
{
	static const slice parts[] = { SLICE_INIT("image"), SLICE_INIT("audio"),  SLICE_INIT("-tts"),
				       SLICE_INIT("embed"), SLICE_INIT("canvas"), SLICE_INIT("banana") };

	for (size_t at = 0; at < model.len; at++)
		for (size_t i = 0; i < COUNT(parts); i++)
			if (ascii_lower(model.ptr[at]) == parts[i].ptr[0] &&
			    slice_istarts(slice_from(model, at), parts[i]))
				return true;
	return false;
}

bool endpoint_long(slice path, slice model)
{
	/* predict: Imagen, and Vertex AI's embeddings. */
	static const char *const verbs_long[] = { "embedContent", "batchEmbedContents", "predict" };

	path = trimmed(path);
	/* The answer of /speech is sound, not JSON, so it tells no usage. */
	if (!slice_ends(path, SLICE("/speech")) && answers_with_media(model))
		return true;
	size_t begin = path.len;
	while (begin > 0 && path.ptr[begin - 1] != ':' && path.ptr[begin - 1] != '/')
		begin--;
	return how_of(path) & LONG || among(slice_from(path, begin), verbs_long, COUNT(verbs_long));
}

bool endpoint_streams(slice path)
{
	path = trimmed(path);
	return slice_ends(path, SLICE("/api/chat")) || slice_ends(path, SLICE("/api/generate"));
}
