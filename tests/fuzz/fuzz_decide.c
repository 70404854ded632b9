/* SPDX-License-Identifier: MIT
 *
 * From a request's arguments to the ACK. The input chooses a policy, which arguments there are, and their bytes.
 * Checked, by reading the ACK as HAProxy would: the ACK is whole, fits the frame size, and sets `deny` once and last.
 * For an allowed request it names a backend of the policy, and a credential only together with the backend of that
 * credential's route, and only where the path has one reading and the method and path run a model, ask about one, or
 * are in the route's `paths`; the route is the first one that matches model and path. And from the question of a leg to
 * its ACK: a leg gets no credential but its own. */
#include "fuzz.h"

#include "decide/leg.h"
#include "decide/response.h"
#include "fuzz_ack.h"
#include "spop/varint.h"

enum { FRAME_MAX = 1 << 17 };

static const struct {
	const char *prefix, *url, *variable, *secret;
	auth_header header;
	const char *path_prefix; /* beside it, `paths` has "GET " and the same prefix */
} table_rows[] = {
	{ NULL, "https://files.test", "FUZZ_FILES", "sk-files-0123456789", HEADER_AUTHORIZATION, "/v1/files" },
	{ "claude-", "https://chat.test", "FUZZ_CHAT", "sk-chat-0123456789", HEADER_API_KEY, "/v1/chat" },
	{ "glm-", "https://glm.test", "FUZZ_GLM", "sk-glm-0123456789", HEADER_AUTHORIZATION, NULL },
	{ "claude-", "https://claude.test/v1", "FUZZ_CLAUDE", "sk-claude-0123456789", HEADER_X_API_KEY, NULL },
	{ "dead-", "https://dead.test", "FUZZ_UNSET", "", HEADER_AUTHORIZATION, NULL },
	{ "broken-", "no url", "FUZZ_GLM", "", HEADER_AUTHORIZATION, NULL },
	{ "*", "https://star.test", NULL, NULL, HEADER_AUTHORIZATION, NULL },
};

enum { ROWS = sizeof table_rows / sizeof table_rows[0] };

static policy *policies[8];

/* Makes a policy. Bits of `which`: 1 no catch-all, and streams go through the tap, 2 unresolved requests fall through,
 * 4 a WebSocket goes to the catch-all. */
static policy *make(unsigned which)
{
	static const char *const targets[PROTOCOLS] = { "https://openai.test/v1", "https://anthropic.test",
							"https://gemini.test" };
	route_table *t = route_table_new();
	err e;

	HOLDS(t);
	for (size_t i = 0; i < ROWS - (which & 1); i++) {
		route *r = route_table_add(t);
		HOLDS(r);
		r->name = strdup(table_rows[i].url);
		r->prefix = table_rows[i].prefix ? strdup(table_rows[i].prefix) : NULL;
		if (table_rows[i].path_prefix) {
			r->path_prefix = strdup(table_rows[i].path_prefix);
			r->paths = calloc(1, sizeof *r->paths);
			HOLDS(r->paths);
			r->paths[r->paths_count++] = (path_rule){ strdup("GET"), strdup(r->path_prefix) };
		}
		r->upstream_given = strdup(table_rows[i].url);
		bool broken = strcmp(table_rows[i].url, "no url") == 0;
		HOLDS(upstream_parse(&r->own, slice_cstr(table_rows[i].url), &e) == !broken);
		if (table_rows[i].variable) {
			r->auth = (credential){ AUTH_ENV, strdup(table_rows[i].variable), table_rows[i].header };
			if (table_rows[i].secret[0])
				setenv(table_rows[i].variable, table_rows[i].secret, 1);
		}
		t->enabled++;
	}
	for (size_t i = 0; i < PROTOCOLS; i++)
		HOLDS(upstream_parse(&t->targets[i], slice_cstr(targets[i]), &e));
	t->tap = (which & 1) != 0;
	HOLDS(legs_name(t));
	t->unresolved_falls_through = (which & 2) != 0;
	t->websocket_to_catch_all = t->websocket_allowed = (which & 4) != 0;
	return policy_new(t, NULL);
}

/* Writes the message that the input chooses to `room`, and returns its size. The body is the rest of the input; bytes
 * in its middle may be missing. */
static size_t question(cursor *c, unsigned char *room, slice *given_model)
{
	static const slice paths[] = { SLICE_INIT("/v1/chat/completions"),
				       SLICE_INIT("/v1/messages"),
				       SLICE_INIT("/v1beta/models/glm-1:generateContent"),
				       SLICE_INIT("/openai/deployments/claude-1/chat/completions"),
				       SLICE_INIT("/model/dead-1/invoke"),
				       SLICE_INIT("/") };
	static const slice more[] = { SLICE_INIT("/v1/files"),
				      SLICE_INIT("/v1/files/f/content"),
				      SLICE_INIT("/v1/filesystem"),
				      SLICE_INIT("/v1/models/glm-1"),
				      SLICE_INIT("/v1/responses"),
				      SLICE_INIT("/v1/responses/r"),
				      SLICE_INIT("/v1/realtime"),
				      SLICE_INIT("/v1/messages/batches"),
				      SLICE_INIT("/v1/chat/completions/"),
				      SLICE_INIT("/v1/chat//completions"),
				      SLICE_INIT("/v1/files/..%2fresponses"),
				      SLICE_INIT("/v1/files/%2e%2e/responses"),
				      SLICE_INIT("/v1/files;x"),
				      SLICE_INIT("/v1/threads/t/messages"),
				      SLICE_INIT("/model/arn%3Aaws%2Fglm-1/converse"),
				      SLICE_INIT("/v1beta/models/glm-1:batchGenerateContent") };
	static const slice methods[] = { SLICE_INIT("POST"), SLICE_INIT("GET"),  SLICE_INIT("DELETE"),
					 SLICE_INIT("PUT"),  SLICE_INIT("HEAD"), SLICE_INIT("OPTIONS"),
					 SLICE_INIT("POST"), SLICE_INIT("") };
	static const slice types[] = { SLICE_INIT("application/json"), SLICE_INIT("multipart/form-data; boundary=b"),
				       SLICE_INIT("application/x-www-form-urlencoded"), SLICE_INIT("") };
	static const slice codings[] = { SLICE_INIT("gzip"),   SLICE_INIT("deflate"), SLICE_INIT("br"),
					 SLICE_INIT("zstd"),   SLICE_INIT("lzw"),     SLICE_INIT("identity"),
					 SLICE_INIT("x-gzip"), SLICE_INIT(" , gzip,") };
	static const slice flags[] = { SLICE_INIT("x_api_key"),      SLICE_INIT("api_key"),
				       SLICE_INIT("x_goog_api_key"), SLICE_INIT("anthropic_version"),
				       SLICE_INIT("bearer_sk_ant"),  SLICE_INIT("upgrade") };
	uint8_t which = cursor_u8(c), bits = cursor_u8(c), shape = cursor_u8(c);
	slice path = which < 192 ? paths[which % 6] : which < 224 ? more[which % 16] : cursor_take(c, cursor_u8(c));
	slice param = bits & 1 ? cursor_take(c, cursor_u8(c)) : slice_of(NULL, 0);
	slice hint = bits & 2 ? cursor_take(c, cursor_u8(c)) : slice_of(NULL, 0);
	slice agent = bits & 4 ? SLICE("claude-cli/2") : SLICE("curl/8");
	uint8_t said = cursor_u8(c);
	unsigned count = 0, cut = cursor_u8(c), tail = cursor_u8(c);
	slice body = cursor_take(c, cursor_left(c));
	spop_writer w = { room, room, room + FRAME_MAX, false };

	bool older = bits & 128;
	spop_put_name(&w, older                       ? SLICE("llm-request") :
			  shape & 64 && cut % 16 == 7 ? SLICE("llm-request-3") :
							SLICE(REQUEST_MESSAGE));
	unsigned char *args = w.pos;
	spop_put_u8(&w, 0);
	put_arg(&w, &count, SLICE("id"), SLICE("fuzz-1"));
	put_arg(&w, &count, SLICE("method"), methods[shape >> 3 & 7]);
	put_arg(&w, &count, SLICE("path"), path);
	if (bits & 1)
		put_arg(&w, &count, SLICE("model_param"), param);
	put_arg(&w, &count, SLICE("ctype"), types[bits >> 3 & 3]);
	if (bits & 32)
		put_arg(&w, &count, SLICE("cenc"), codings[shape % 8]);
	put_arg(&w, &count, SLICE("ua"), agent);
	if (bits & 2)
		put_arg(&w, &count, SLICE("model_hint"), hint);
	for (unsigned i = 0; i < 6 && older; i++)
		if (said & 1u << i) {
			spop_put_name(&w, flags[i]);
			spop_put_bool(&w, true);
			count++;
		}
	if (bits & 64) { /* head and tail of the body */
		size_t head = body.len * cut / 255, last = body.len * tail / 255;
		put_arg(&w, &count, SLICE("body"), slice_first(body, head));
		put_arg(&w, &count, SLICE("tail"), slice_from(body, body.len - last));
	} else {
		put_arg(&w, &count, SLICE("body"), body);
	}
	put_number(&w, &count, SLICE("buffered"), said & 64 ? body.len + cut : body.len);
	put_number(&w, &count, SLICE("length"), said & 128 ? body.len + tail : body.len);
	if (older) {
		spop_put_name(&w, SLICE("sized"));
		spop_put_bool(&w, !(shape & 128));
		count++;
		if (!(shape & 64))
			put_number(&w, &count, SLICE("contract"), cut % 16 == 7 ? 2 : 1);
	} else {
		static const slice names[] = { SLICE_INIT("x-api-key"), SLICE_INIT("api-key"),
					       SLICE_INIT("x-goog-api-key"), SLICE_INIT("anthropic-version"),
					       SLICE_INIT("content-encoding") };
		char headers[256] = "content-type";
		if (!(shape & 128))
			strcat(headers, ",content-length");
		for (unsigned i = 0; i < 5; i++)
			if (said & 1u << i)
				strcat(strcat(headers, ","), names[i].ptr);
		put_arg(&w, &count, SLICE("headers"), slice_cstr(headers));
		if (!(shape & 64) || cut & 1)
			put_number(&w, &count, SLICE("flags"),
				   (said >> 5 & 1) | (said >> 4 & 1) * 2 | (tail & 4) | (tail == 255) * 8);
	}
	HOLDS(!w.overflow);
	*args = (unsigned char)count;
	*given_model = param;
	return (size_t)(w.pos - room);
}

/* Says, in another way than path_clear(), whether a path has one reading. */
static bool one_reading(slice path)
{
	char text[FRAME_MAX] = "/";
	size_t len = 0;
	bool arn = slice_starts(path, SLICE("/model/arn"));

	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.ptr[i];
		if (c == '%') {
			if (path.len - i < 3)
				return false;
			int value = ascii_hex_digit(path.ptr[i + 1]) * 16 + ascii_hex_digit(path.ptr[i + 2]);
			if (value < 0x20 || strchr(".\\;%\x7f", value) || (value == '/' && !arn))
				return false;
			c = (unsigned char)value;
			i += 2;
		} else if (c < 0x20 || strchr("\\;\x7f", c)) {
			return false;
		}
		text[len++] = (char)c;
	}
	text[len] = '\0';
	return text[0] == '/' && !strstr(text, "//") && !strstr(text, "/./") && !strstr(text, "/../") &&
	       !slice_ends(slice_of(text, len), SLICE("/.")) && !slice_ends(slice_of(text, len), SLICE("/.."));
}

/* Says, in another way than endpoint_find(), whether the last words of a path can be those of an endpoint that runs a
 * model. */
static bool may_run(slice path)
{
	static const char *const last[] = {
		"completions",
		"responses",
		"compact",
		"input_tokens",
		"embeddings",
		"generations",
		"edits",
		"variations",
		"speech",
		"transcriptions",
		"translations",
		"moderations",
		"rerank",
		"messages",
		"count_tokens",
		"complete",
		"chat",
		"generate",
		"embed",
		"score",
		"pooling",
		"classify",
		"ocr",
		"invoke",
		"invoke-with-response-stream",
		"invoke-with-bidirectional-stream",
		"converse",
		"converse-stream",
		"count-tokens",
		"listen",
		"speak",
	};
	if (path.len > 1 && path.ptr[path.len - 1] == '/')
		path.len--;
	const char *slash = memrchr(path.ptr, '/', path.len);
	slice word = slash ? slice_from(path, (size_t)(slash + 1 - path.ptr)) : path;
	for (size_t i = 0; i < sizeof last / sizeof last[0]; i++)
		if (slice_eq(word, slice_cstr(last[i])))
			return true;
	slice verb = slice_from(word, slice_find(word, 0, ':') + 1);
	return slice_icontains(verb, SLICE("generate")) || slice_icontains(verb, SLICE("predict")) ||
	       slice_icontains(verb, SLICE("count")) || slice_icontains(verb, SLICE("embed")) ||
	       slice_icontains(verb, SLICE("computeTokens"));
}

/* Checks that the operator's credential goes along with `r`. */
static void check_released(const llm_request *r, const decision *d, size_t row)
{
	slice path = r->sample.path, method = r->sample.method;
	const char *prefix = table_rows[row].path_prefix;
	bool get = slice_eq(method, SLICE("GET"));
	bool listed = prefix && get && slice_starts(path, slice_cstr(prefix));

	HOLDS(r->contract == 1 || r->contract == CONTRACT);
	HOLDS(one_reading(path));
	HOLDS(!slice_contains(path, SLICE("batch")) || slice_contains(path, SLICE(":batchEmbed")) || listed ||
	      slice_contains(path, SLICE("/models/")));
	if (r->sample.upgrade)
		HOLDS(listed ||
		      (get && (slice_contains(path, SLICE("realtime")) || slice_contains(path, SLICE("Bidi")) ||
			       slice_contains(path, SLICE("responses")))));
	else if (get)
		HOLDS(listed || slice_contains(path, SLICE("models/")));
	else
		HOLDS(slice_eq(method, SLICE("POST")) && may_run(path));
	HOLDS(d->released_by != RELEASED_NOT);
}

static void check_allowed(const policy *p, const llm_request *q, const decision *d, const answer *a)
{
	bool known = false;

	HOLDS(q->contract <= CONTRACT);
	HOLDS(d->backend.len > 0 && slice_eq(a->backend, d->backend) && a->code.len == 0);
	for (size_t i = 0; i < p->table->count; i++) {
		const char *name = route_backend(p->table, &p->table->routes[i]);
		known = known || (name && slice_eq(a->backend, slice_cstr(name)));
	}
	for (size_t i = 0; i < PROTOCOLS; i++)
		known = known || slice_eq(a->backend, slice_cstr(p->table->targets[i].backend));
	HOLDS(known);
	/* Through the tap goes what streams or may be long, and no WebSocket; without the option, nothing. */
	HOLDS(!d->leg.len || (p->table->tap && !q->sample.upgrade && (d->model.stream || may_run(q->sample.path))));
	HOLDS(d->leg.len || !p->table->tap || !d->model.stream || q->sample.upgrade);
	if (slice_eq(a->auth, SLICE("passthrough"))) {
		HOLDS(a->auth_value.len == 0 && a->auth_header.len == 0);
		HOLDS(!d->route || d->route->auth.kind == AUTH_PASSTHROUGH);
	} else {
		HOLDS(slice_eq(a->auth, SLICE("replace")) && d->route);
		size_t row = (size_t)(d->route - p->table->routes);
		slice secret = slice_cstr(table_rows[row].secret);
		HOLDS(secret.len > 0 && slice_ends(a->auth_value, secret));
		HOLDS(slice_eq(a->auth_header, slice_cstr(auth_header_name(table_rows[row].header))));
		HOLDS(slice_eq(a->backend, slice_cstr(d->route->own.backend)));
		check_released(q, d, row);
	}
	/* The route is the first that the model begins with, and that takes the path. */
	if (d->model.status == MODEL_FOUND) {
		HOLDS(d->model.len > 0 && d->model.len <= MODEL_MAX);
		const route *first = NULL;
		for (size_t i = 0; i < p->table->count && !first; i++) {
			const char *prefix = p->table->routes[i].prefix, *of_path = p->table->routes[i].path_prefix;
			slice path = q->sample.path;
			size_t under = of_path ? strlen(of_path) : 0;
			if (of_path &&
			    !(slice_starts(path, slice_cstr(of_path)) && (path.len == under || path.ptr[under] == '/')))
				continue;
			if (!prefix || strcmp(prefix, "*") == 0 ||
			    (d->model.len >= strlen(prefix) && strncasecmp(d->model.name, prefix, strlen(prefix)) == 0))
				first = &p->table->routes[i];
		}
		HOLDS(d->route == first);
	} else {
		HOLDS(!d->route || !d->route->prefix || route_is_catch_all(d->route));
		HOLDS(!d->route || d->route->path_prefix || d->endpoint == ENDPOINT_RUNS || q->sample.upgrade);
	}
	/* A query decides only where a model is run, or for a WebSocket. */
	HOLDS(d->model.from != MODEL_FROM_QUERY || d->endpoint == ENDPOINT_RUNS || q->sample.upgrade);
}

static void check_response(cursor c)
{
	static unsigned char room[FRAME_MAX], out[8192];
	static const slice codings[] = { SLICE_INIT(""),     SLICE_INIT("gzip"),    SLICE_INIT("br"),
					 SLICE_INIT("zstd"), SLICE_INIT("deflate"), SLICE_INIT("x") };
	uint8_t which = cursor_u8(&c);
	spop_session s;
	spop_message m;
	unsigned count = 0;
	spop_writer w = { room, room, room + FRAME_MAX, false };

	spop_put_name(&w, SLICE("llm-response"));
	spop_put_u8(&w, 4);
	put_arg(&w, &count, SLICE("ctype"),
		which & 128 ? SLICE("text/event-stream") :
		which & 32  ? SLICE("application/x-ndjson") :
			      SLICE("application/json"));
	put_arg(&w, &count, SLICE("seen"), which & 16 ? SLICE("first") : SLICE("all"));
	put_arg(&w, &count, SLICE("cenc"), codings[which % 6]);
	put_arg(&w, &count, SLICE("body"), cursor_take(&c, cursor_left(&c)));
	cursor messages = cursor_of(slice_of(room, (size_t)(w.pos - room)));
	HOLDS(spop_message_next(&messages, &m));
	spop_session_init(&s, which & 64 ? 256 : 8000, false);
	size_t len = response_ack(&m, &s, out, sizeof out, 300, 1);
	frame f;
	size_t used;
	HOLDS(len > 0 && frame_decode(slice_of(out, len), s.max_frame, &f, &used) == FRAME_OK && used == len);
}

/* Reads the input itself as messages: request_read() has to find them as malformed as spop_messages_skip() does, and
 * must not read past them. */
static void check_arguments(cursor c)
{
	size_t len = cursor_left(&c);
	unsigned char *exact = malloc(len + 1);
	spop_message m;
	llm_request r;

	HOLDS(exact);
	if (len)
		memcpy(exact, c.pos, len);
	cursor messages = cursor_of(slice_of(exact, len)), again = messages;
	bool begun = spop_message_next(&messages, &m);
	if (begun)
		request_read(&r, &m);
	HOLDS(!begun || m.args == 0 || messages.failed);
	HOLDS(spop_messages_skip(&messages) == spop_messages_skip(&again));
	free(exact);
}

/* Asks for a leg whose name the input makes: that of a route or a target, or nearly. */
static void check_leg(cursor c)
{
	static unsigned char room[FRAME_MAX], out[LEG_ACK_MAX];
	uint8_t which = cursor_u8(&c), at = cursor_u8(&c), change = cursor_u8(&c);
	char name[LEG_NAME_MAX + 1] = "";
	unsigned count = 0;
	spop_session s;
	spop_message m;
	leg_answer a;
	answer told;
	spop_writer w = { room, room, room + FRAME_MAX, false };

	if (!policies[1])
		policies[1] = make(1);
	const route_table *t = policies[1]->table;
	const char *leg = which < t->count ? t->routes[which].leg : t->target_legs[which % PROTOCOLS];
	snprintf(name, sizeof name, "%s", leg ? leg : "");
	name[at % LEG_NAME_MAX] ^= (char)change;
	slice asked = change == 255 ? cursor_take(&c, cursor_left(&c)) : slice_cstr(name);

	spop_put_name(&w, SLICE("llm-member"));
	spop_put_u8(&w, 1);
	put_arg(&w, &count, SLICE("member"), asked);
	cursor messages = cursor_of(slice_of(room, (size_t)(w.pos - room)));
	HOLDS(spop_message_next(&messages, &m));
	leg_decide(policies[1], &m, &a);
	spop_session_init(&s, 16384, true);
	size_t len = leg_ack(&a, &s, out, sizeof out, 300, 1);
	HOLDS(len > 0);
	read_ack(out, len, s.max_frame, &told);
	if (told.denied) {
		HOLDS(told.auth_value.len == 0 && told.backend.len == 0 && (told.status == 502 || told.status == 403));
		return;
	}
	const char *backend = NULL, *secret = "";
	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].leg && slice_eq(asked, slice_cstr(t->routes[i].leg))) {
			backend = route_backend(t, &t->routes[i]);
			secret = table_rows[i].secret ? table_rows[i].secret : "";
		}
	for (size_t i = 0; i < PROTOCOLS; i++)
		if (slice_eq(asked, slice_cstr(t->target_legs[i])))
			backend = t->targets[i].backend;
	HOLDS(backend && slice_eq(told.backend, slice_cstr(backend)));
	HOLDS(slice_eq(told.auth, *secret ? SLICE("replace") : SLICE("passthrough")));
	HOLDS(slice_ends(told.auth_value, slice_cstr(secret)) && (*secret || told.auth_value.len == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char room[FRAME_MAX];
	static const uint32_t sizes[] = { 1048576, 256 };
	cursor c = cursor_of(slice_of(data, size));
	uint8_t mode = cursor_u8(&c);
	spop_session s;
	spop_message m;
	llm_request r;
	decision d;
	answer a;
	bool fell_back;
	slice param;

	if (mode & 128) {
		check_leg(c);
		return 0;
	}
	if (mode & 64) {
		check_response(c);
		return 0;
	}
	if (mode & 32) {
		check_arguments(c);
		return 0;
	}
	if (!policies[mode & 7])
		policies[mode & 7] = make(mode & 7);
	const policy *p = policies[mode & 7];
	size_t len = question(&c, room, &param);
	unsigned char *exact = malloc(len); /* of the exact size, so that a read past it is seen */
	HOLDS(p && exact);
	memcpy(exact, room, len);
	cursor messages = cursor_of(slice_of(exact, len));
	HOLDS(spop_message_next(&messages, &m));
	request_read(&r, &m);
	HOLDS(!messages.failed && cursor_done(&messages));
	decide(p, &r, &d);

	spop_session_init(&s, sizes[mode >> 3 & 1], true);
	size_t cap = decision_ack_room(&d);
	unsigned char *out = malloc(cap);
	HOLDS(out);
	size_t wrote = decision_ack(&d, &s, out, cap, 300, 1, &fell_back);
	HOLDS(wrote > 0 && wrote <= cap);
	HOLDS(s.max_frame == 256 || !fell_back);
	read_ack(out, wrote, s.max_frame, &a);
	if (a.denied) {
		HOLDS(a.backend.len == 0 && a.auth_value.len == 0 && a.code.len > 0);
		HOLDS(a.status == 400 || a.status == 403 || a.status == 413 || a.status == 426 || a.status == 502 ||
		      a.status == 503);
		for (size_t i = 0; i < ROWS; i++) {
			const char *secret = table_rows[i].secret;
			HOLDS(!secret || !*secret || !memmem(out, wrote, secret, strlen(secret)) ||
			      memmem(data, size, secret, strlen(secret)));
		}
	} else {
		HOLDS(d.refusal == REFUSE_NOT && !fell_back);
		check_allowed(p, &r, &d, &a);
	}
	/* A request whose credential is missing is not forwarded. */
	if (d.route && d.route->auth.kind == AUTH_ENV && strcmp(d.route->auth.source, "FUZZ_UNSET") == 0)
		HOLDS(a.denied);
	free(out);
	decide_key(p, &r, &d);
	cap = decision_ack_room(&d);
	out = malloc(cap);
	HOLDS(out && !d.backend.len && !d.credential.len);
	wrote = welcome_ack(&d, &s, out, cap, 300, 1, &fell_back);
	HOLDS(wrote > 0 && wrote <= cap);
	free(out);
	free(exact);
	return 0;
}
