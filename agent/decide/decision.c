/* SPDX-License-Identifier: MIT */
#include "decide/decision.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "decide/models.h"

const char *const stripped_headers[] = { "authorization",       "x-api-key", "api-key", "x-goog-api-key",
					 "proxy-authorization", "cookie",    NULL };

static const refusal_info refusals[REFUSALS] = {
	[REFUSE_NOT] = { 0, "", "" },
	[REFUSE_AUTH_UNAVAILABLE] = { 502, "upstream_auth_unavailable",
				      "The gateway has no usable credential for the upstream of this model." },
	[REFUSE_NO_BACKEND] = { 502, "no_backend", "The gateway has no backend for this model." },
	[REFUSE_MODEL_NOT_IN_SAMPLE] = { 413, "model_not_in_sample",
					 "The gateway could not see which model the request names: put model first "
					 "or last in a JSON body, or send a smaller or uncompressed one." },
	[REFUSE_AMBIGUOUS_MODEL] = { 400, "ambiguous_model",
				     "The request can be read in more than one way, so that it may name more than one model." },
	[REFUSE_INVALID_MODEL] = { 400, "invalid_model",
				   "The model is not a string of 1 to 256 bytes without control characters, and without blanks or "
				   "invisible characters at its ends." },
	[REFUSE_INVALID_JSON] = { 400, "invalid_json", "The request body is not valid JSON." },
	[REFUSE_INVALID_FORM] = { 400, "invalid_form",
				  "The form in the request body is malformed, or can be read in more than one way." },
	[REFUSE_INVALID_CODING] = { 400, "invalid_encoding",
				    "The request body is not compressed as its content-encoding says." },
	[REFUSE_WEBSOCKET] = { 426, "websocket_without_model",
			       "The WebSocket handshake names no model; use HTTP, or name it in ?model=." },
	[REFUSE_WEBSOCKET_HTTP] = { 426, "websocket_not_allowed",
				    "This gateway takes requests to this endpoint by HTTP, not by WebSocket." },
	[REFUSE_ENDPOINT] = { 403, "endpoint_not_allowed",
			      "This gateway's credential does not go along with this method and path." },
	[REFUSE_PATH] = { 400, "invalid_path",
			  "The path has a dot segment, an empty segment, a semicolon or an encoded separator in it." },
	[REFUSE_CONTRACT] = { 503, "contract_outdated",
			      "The gateway's HAProxy files do not fit its agent; its operator has to update them." },
	[REFUSE_NO_MODEL] = { 404, "model_not_found", "The gateway does not list this model." },
	[REFUSE_STREAM_USAGE] = { 400, "stream_usage_required",
				  "This gateway takes only streams that report their usage. Add this line to the request: "
				  "\"stream_options\": {\"include_usage\": true}" },
	[REFUSE_RESTING] = { 503, "upstream_resting",
			     "The upstreams of this model rest, because they declined the last requests." },
	[REFUSE_KEY] = { 401, "invalid_api_key",
			 "The request has no valid key of this gateway: it is missing, unknown, expired or disabled." },
	[REFUSE_KEYS] = { 400, "ambiguous_api_key", "The request has two different keys of this gateway." },
	[REFUSE_CLIENT_MODEL] = { 403, "model_not_allowed", "The key of this request does not allow this model." },
	[REFUSE_QUOTA] = { 429, "insufficient_quota",
			   "What is left of this key's budget does not suffice for this request. A shorter answer (max_tokens) may fit." },
	[REFUSE_RATE] = { 429, "rate_limit_exceeded",
			  "This key has too few tokens left in this minute for this request." },
	[REFUSE_TOKENS] = { 429, "request_too_large",
			    "The request takes more tokens than this key has in a minute: send a shorter one, or ask for a shorter answer." },
	[REFUSE_UNPRICED] = { 403, "model_not_priced",
			      "The gateway has no price for what this request asks for, and this key has a budget." },
	[REFUSE_LEDGER_OFF] = { 503, "ledger_off",
				"This key has a budget or tokens a minute, which the gateway cannot count while its ledger is off; "
				"its operator has to switch it on." },
	[REFUSE_GATEWAY] = { 503, "gateway_unavailable", "The gateway could not decide where to send the request." },
};

const refusal_info *refusal_describe(refusal r)
{
	assert(r < REFUSALS);
	return &refusals[r];
}

/* Chooses the target by what the client sent, for a request without a route (legacy resolution). */
static protocol legacy_target(const llm_request *r)
{
	if (r->x_api_key || r->anthropic_version || r->bearer_sk_ant ||
	    slice_istarts(r->user_agent, SLICE("claude-code/")) || slice_istarts(r->user_agent, SLICE("claude-cli/")))
		return PROTOCOL_ANTHROPIC;
	return r->x_goog_api_key ? PROTOCOL_GEMINI : PROTOCOL_OPENAI;
}

/* Works out which error format the caller understands: from the endpoint if that belongs to one provider, otherwise
 * from the headers. */
static protocol caller_protocol(const llm_request *r, bool frequent)
{
	slice path = r->sample.path;

	/* Of the frequent paths all but /v1/embeddings tell; the tests below would say the same. */
	if (frequent && path.ptr[4] != 'e')
		return path.ptr[4] == 'm' ? PROTOCOL_ANTHROPIC : PROTOCOL_OPENAI;
	if (slice_contains(path, SLICE("/chat/completions")) || slice_contains(path, SLICE("/responses")))
		return PROTOCOL_OPENAI;
	if (slice_contains(path, SLICE("/v1/messages")))
		return PROTOCOL_ANTHROPIC;
	/* .../models/NAME:METHOD: Google's newer clients use /v1, the older ones /v1beta. */
	if (slice_contains(path, SLICE("/v1beta/")) ||
	    (slice_contains(path, SLICE("/models/")) && slice_contains(path, SLICE(":"))))
		return PROTOCOL_GEMINI;
	return legacy_target(r);
}

static void refuse(decision *d, refusal why, const char *problem)
{
	d->refusal = why;
	d->status = refusal_describe(why)->status;
	d->problem = problem;
	d->backend = (slice){ NULL, 0 };
	d->credential = (slice){ NULL, 0 };
}

/* True for a request whose answer is a stream, or may be larger than HAProxy's buffer: only the tap sees all of it. */
static bool answers_at_length(const llm_request *r, const decision *d)
{
	slice path = r->sample.path;

	if (r->sample.upgrade)
		return false;
	return d->model.stream ||
	       (d->endpoint == ENDPOINT_RUNS && (endpoint_long(path, slice_of(d->model.name, d->model.len)) ||
						 (endpoint_streams(path) && !d->model.whole)));
}

/* Sends a request that is not refused by `leg`, unless `leg` is NULL, HAProxy sends no records, for which alone the tap
 * reads, or the answer is none for the tap. */
static void use_leg(const llm_request *r, const char *leg, decision *d)
{
	if (leg && d->refusal == REFUSE_NOT && !r->no_records && answers_at_length(r, d))
		d->leg = slice_cstr(leg);
}

static void use_target(const policy *p, const llm_request *r, protocol target, chosen_by why, decision *d)
{
	d->chosen_by = why;
	d->upstream = &p->table->targets[target];
	d->backend = slice_cstr(d->upstream->backend);
	d->route_name = SLICE("legacy");
	use_leg(r, p->table->target_legs[target], d);
}

/* Says why the credential of `to`, a route or a pool's member, goes along with a request to the endpoint `e`, if it
 * does. */
static inline __attribute__((always_inline)) released_by release(const policy *p, endpoint e, slice method, slice path,
								 const route *to)
{
	if (e == ENDPOINT_RUNS || (e == ENDPOINT_HTTP_TOO && p->table->websocket_allowed))
		return RELEASED_BY_ENDPOINT;
	if (e == ENDPOINT_MODEL)
		return RELEASED_BY_ASKING;
	return route_releases(to, method, path) ? RELEASED_BY_PATHS : RELEASED_NOT;
}

bool member_releases(const policy *p, const route *to, slice method, slice path, bool websocket)
{
	return path_clear(path) && release(p, endpoint_find(method, path, websocket), method, path, to) != RELEASED_NOT;
}

/* Refuses a request that would take something of the operator's along, if HAProxy's files are too old, or if the
 * request's path is unclear. `clear`: path_clear() is known to hold. Returns whether the request is refused. */
static inline __attribute__((always_inline)) bool refuse_to_lend(const policy *p, const llm_request *r, bool clear,
								 decision *d)
{
	if (!policy_allows_contract(p, r->contract))
		refuse(d, REFUSE_CONTRACT, "haproxy.cfg or spoe.conf is from before contract 1");
	else if (!clear && !path_clear(r->sample.path))
		refuse(d, REFUSE_PATH,
		       "upstreams may read this path in another way, so the credential does not go along");
	return d->refusal != REFUSE_NOT;
}

/* Lets the operator's credential or client certificate go along, where it may. `clear`: path_clear() is known to hold.
 */
static void lend(const policy *p, const llm_request *r, bool clear, decision *d)
{
	const credential *auth = &d->route->auth;
	const char *problem;

	d->replace = auth->kind != AUTH_PASSTHROUGH;
	d->header = auth->header;
	if (refuse_to_lend(p, r, clear, d))
		return;
	d->released_by = release(p, d->endpoint, r->sample.method, r->sample.path, d->route);
	if (d->released_by == RELEASED_NOT) {
		refuse(d, REFUSE_ENDPOINT,
		       "this method and path run no model, and the route's \"paths\" does not name them");
		return;
	}
	if (!d->replace)
		return;
	d->credential = credential_read(auth, &p->secrets[d->route - p->table->routes], &problem);
	if (d->credential.len == 0) {
		refuse(d, REFUSE_AUTH_UNAVAILABLE, problem);
		d->status = p->table->refusal_status;
	}
}

/* ---- pools */

refusal member_passed_over(const policy *p, size_t m, int64_t now_ms, decision *d)
{
	const route *member = &p->table->members[m];
	const char *problem;

	if (route_lends(member)) {
		released_by why = release(p, d->endpoint, d->request->sample.method, d->request->sample.path, member);
		if (why == RELEASED_NOT)
			return REFUSE_ENDPOINT;
		d->released_by = why;
	}
	if (member->auth.kind != AUTH_PASSTHROUGH &&
	    credential_read(&member->auth, &p->secrets[p->table->count + m], &problem).len == 0)
		return REFUSE_AUTH_UNAVAILABLE;
	return rest_left(member->rest, now_ms) ? REFUSE_RESTING : REFUSE_NOT;
}

/* Refuses the request because each member that could serve it rests (bit i of `resting`: member i). The status and
 * retry-after are those of the member that is back first. */
static void refuse_resting(const pool *of, uint32_t resting, int64_t now_ms, decision *d)
{
	int64_t least = INT64_MAX;

	refuse(d, REFUSE_RESTING, "the members of the pool that could serve the request rest");
	for (size_t i = 0; i < of->count; i++) {
		const member_rest *one = of->members[i].rest;
		int64_t left = rest_left(one, now_ms);
		if (!(resting & 1u << i) || left >= least)
			continue;
		least = left;
		d->status = rest_status(one);
	}
	d->retry_after = (int)(least == INT64_MAX ? 1 : (least + 999) / 1000);
}

/* Adds the name of a member that must not get the request to d->passed_over. */
static void pass_over(const route *member, decision *d)
{
	size_t len = strlen(member->member);

	if (d->passed_over_len)
		d->passed_over[d->passed_over_len++] = ',';
	memcpy(d->passed_over + d->passed_over_len, member->member, len);
	d->passed_over_len += len;
}

/* Sends the request to the pool's backend, and tells that backend which members cannot serve the request now. Refuses
 * the request if no member can. */
static __attribute__((noinline)) void use_pool(const policy *p, const llm_request *r, bool clear, decision *d)
{
	const pool *of = d->route->pool;
	int64_t now_ms = clock_mono_ms();
	uint32_t resting = 0;
	bool lends = false, missing = false, offered = false;

	d->replace = of->replaces;
	for (size_t i = 0; i < of->count; i++)
		lends |= route_lends(&of->members[i]);
	if (lends && refuse_to_lend(p, r, clear, d))
		return;
	for (size_t i = 0; i < of->count; i++) {
		refusal why = member_passed_over(p, of->first + i, now_ms, d);
		if (why == REFUSE_NOT)
			offered = true;
		else
			pass_over(&of->members[i], d);
		resting |= why == REFUSE_RESTING ? 1u << i : 0;
		missing |= why == REFUSE_AUTH_UNAVAILABLE;
	}
	if (offered) {
		d->credential = of->replaces ? SLICE("pool") : (slice){ NULL, 0 };
	} else if (resting) {
		refuse_resting(of, resting, now_ms, d);
	} else if (missing) {
		refuse(d, REFUSE_AUTH_UNAVAILABLE, "no member of the pool has a usable credential");
		d->status = p->table->refusal_status;
	} else {
		refuse(d, REFUSE_ENDPOINT,
		       "this method and path run no model, and the \"paths\" of no member names them");
	}
}

static void use_route(const policy *p, const llm_request *r, const route *chosen, bool clear, decision *d)
{
	d->route = chosen;
	d->route_name = slice_cstr(chosen->name);
	d->upstream = route_upstream(p->table, chosen);
	d->backend = slice_cstr(route_backend(p->table, chosen));
	if (!d->upstream) {
		if (chosen->pool)
			use_pool(p, r, clear, d);
		else
			refuse(d, REFUSE_NO_BACKEND, "the route's upstream is not a valid URL");
	} else if (route_lends(chosen)) {
		lend(p, r, clear, d);
	}
	use_leg(r, chosen->leg, d);
}

/* Chooses the route of a request that names no model, or whose model does not count. NULL: it has none. */
static const route *without_model(const policy *p, const llm_request *r, decision *d)
{
	d->chosen_by = CHOSEN_WITHOUT;
	return route_without_model(p->table, r->sample.path, d->endpoint != ENDPOINT_RUNS && !r->sample.upgrade);
}

/* True if HAProxy, when it is told that the model is not in the sample, asks once more with all bytes that it holds. */
static bool can_ask_again(const llm_request *r)
{
	return r->sample.body.len < r->sample.buffered && r->sample.between == BETWEEN_LATER;
}

/* Chooses the route of a request whose model is not in the sample. NULL: it has none, or it is refused. */
static const route *out_of_reach(const policy *p, const llm_request *r, decision *d)
{
	const route *chosen = route_whatever_model(p->table, r->sample.path);

	if (chosen) {
		d->chosen_by = CHOSEN_BY_PATH;
		return chosen;
	}
	if (endpoint_takes_files(r->sample.method, r->sample.path))
		return without_model(p, r, d);
	/* Running out of memory is our fault, so refuse: the fall-through is what the operator wants for requests whose
	 * model is out of reach. */
	if (d->model.no_memory) {
		refuse(d, REFUSE_GATEWAY, d->model.detail);
		return NULL;
	}
	/* The model is out of reach only if none of the bytes that HAProxy holds names it: ask for all of them. */
	d->ask_again = can_ask_again(r);
	if (d->ask_again || !p->table->unresolved_falls_through) {
		refuse(d, REFUSE_MODEL_NOT_IN_SAMPLE, d->model.detail);
		return NULL;
	}
	return without_model(p, r, d);
}

/* Chooses the route of a WebSocket that names no model. It may name one after the handshake, when the upstream is
 * chosen already. NULL: it has none, or it is refused. */
static const route *nameless_websocket(const policy *p, const llm_request *r, decision *d)
{
	const route *chosen = route_whatever_model(p->table, r->sample.path);

	if (chosen) {
		d->chosen_by = CHOSEN_BY_PATH;
		return chosen;
	}
	if (!p->table->websocket_to_catch_all) {
		refuse(d, REFUSE_WEBSOCKET, "a WebSocket names its model by ?model= or x-codex-turn-metadata");
		return NULL;
	}
	return without_model(p, r, d);
}

/* Chooses the route of a request whose body cannot be read. Uploads go on, because a file may hold anything. NULL: the
 * request has no route, or is refused. */
static __attribute__((noinline)) const route *malformed(const policy *p, const llm_request *r, decision *d)
{
	if (endpoint_takes_files(r->sample.method, r->sample.path))
		return without_model(p, r, d);
	refuse(d,
	       d->model.status == MODEL_BAD_FORM   ? REFUSE_INVALID_FORM :
	       d->model.status == MODEL_BAD_CODING ? REFUSE_INVALID_CODING :
						     REFUSE_INVALID_JSON,
	       d->model.detail);
	return NULL;
}

/* Chooses the route by what d->model says. NULL: the request has none, or it is refused (d->refusal). */
static inline __attribute__((always_inline)) const route *choose(const policy *p, const llm_request *r, decision *d)
{
	const route_table *t = p->table;

	switch (d->model.status) {
	case MODEL_UNKNOWN:
		return out_of_reach(p, r, d);
	case MODEL_AMBIGUOUS:
		refuse(d, REFUSE_AMBIGUOUS_MODEL, d->model.detail);
		return NULL;
	case MODEL_INVALID:
		refuse(d, REFUSE_INVALID_MODEL, d->model.detail);
		return NULL;
	case MODEL_MALFORMED:
	case MODEL_BAD_FORM:
	case MODEL_BAD_CODING:
		return malformed(p, r, d);
	case MODEL_FOUND:
		d->chosen_by = CHOSEN_BY_MODEL;
		return route_match(t, slice_of(d->model.name, d->model.len), r->sample.path);
	case MODEL_NONE:
		return r->sample.upgrade ? nameless_websocket(p, r, d) : without_model(p, r, d);
	}
	return NULL;
}

/* Finds the model of a request whose query does not count: its path is that of no endpoint that runs a model. */
static __attribute__((noinline)) void find_without_query(const llm_request *r, model_result *result)
{
	model_sample sample = r->sample;

	sample.model_param = sample.deployment_param = (slice){ NULL, 0 };
	sample.query_unclear = false;
	model_find(&sample, result);
}

/* True for a request that some upstream may answer as a POST that runs a model: by PUT or PATCH, a method in lower
 * case, or a path in another spelling. It gets a credential of the operator's only where "paths" says so. */
static __attribute__((noinline)) bool is_metered_as_post(const model_sample *s)
{
	if (s->upgrade || slice_eq(s->method, SLICE("GET")) || slice_eq(s->method, SLICE("HEAD")) ||
	    slice_eq(s->method, SLICE("DELETE")) || slice_eq(s->method, SLICE("OPTIONS")))
		return false;
	return endpoint_metered_loosely(s->path);
}

/* Finds the model of a request whose query decides. */
static __attribute__((noinline)) void find_by_query(const llm_request *r, model_result *result)
{
	model_sample sample = r->sample;

	sample.query_decides = endpoint_takes_query(sample.path);
	model_find(&sample, result);
}

/* Finds the endpoint and the model. True: the endpoint is a frequent one. */
static inline __attribute__((always_inline)) bool find(llm_request *r, decision *d)
{
	model_sample *s = &r->sample;
	bool frequent = !s->upgrade && endpoint_frequent(r->sample.method, s->path);

	d->endpoint = frequent ? ENDPOINT_RUNS : endpoint_find(r->sample.method, s->path, s->upgrade);
	d->metered = frequent || endpoint_metered(d->endpoint, s->path) || is_metered_as_post(s);
	d->told_before = !d->metered && endpoint_told_before(s->path);
	/* Of the frequent paths this is the one with 14 bytes: /v1/embeddings. */
	d->operation = frequent   ? s->path.len == 14 ? SLICE("embeddings") : slice_of(NULL, 0) :
		       d->metered ? endpoint_operation(s->path) :
				    slice_of(NULL, 0);
	s->path_names_none = frequent;
	bool query = s->model_param.len > 0 || s->deployment_param.len > 0 || s->query_unclear;
	if (query && d->endpoint != ENDPOINT_RUNS && !s->upgrade)
		find_without_query(r, &d->model);
	else if (query)
		find_by_query(r, &d->model);
	else
		model_find(s, &d->model);
	return frequent;
}

/* Answers a question about models, because a route lists some. False: it is no such question, or its
 * path goes on behind a name that no route lists. */
static __attribute__((noinline)) bool answer_about_models(const policy *p, const llm_request *r, decision *d)
{
	const model_list *listed = &p->table->listed;
	const listed_model *one = NULL;
	char buf[MODEL_MAX];
	slice name;

	if (!slice_eq(r->sample.method, SLICE("GET")) || r->sample.upgrade)
		return false;
	models_question asked = models_asked(r->sample.path, buf, &name);
	if (asked == MODELS_ONE)
		one = models_find(listed, name);
	if (asked == MODELS_NOTHING || (asked == MODELS_ONE && !one && d->endpoint != ENDPOINT_MODEL))
		return false;
	/* Google has OpenAI's API below /v1beta/openai. */
	if (slice_contains(r->sample.path, SLICE("/openai/")))
		d->caller = PROTOCOL_OPENAI;
	if (asked == MODELS_ONE && !one)
		refuse(d, REFUSE_NO_MODEL, "some routes list models, and none lists this one");
	else
		d->answer = models_answer(listed, d->caller, one);
	return true;
}

/* Refuses a stream whose usage nobody will tell, where the operator requires that it is told. If bytes that could ask
 * for the usage are missing, and HAProxy has no more of them, the request goes on: the ledger estimates its usage. */
static __attribute__((noinline)) void require_usage(const llm_request *r, decision *d)
{
	if (!endpoint_takes_stream_options(d->endpoint, r->sample.path))
		return;
	if (d->model.stream_usage == STREAM_USAGE_NOT_ASKED) {
		refuse(d, REFUSE_STREAM_USAGE,
		       "the stream does not ask for its usage, and require_stream_usage is set");
	} else if (can_ask_again(r)) {
		d->ask_again = true;
		refuse(d, REFUSE_MODEL_NOT_IN_SAMPLE, "the bytes that could ask for the usage are not in the sample");
	}
}

void decision_refuse(decision *d, refusal why, const char *problem)
{
	refuse(d, why, problem);
	d->leg = d->answer = (slice){ NULL, 0 };
	d->ask_again = false;
}

/* Sets what is not known yet. */
static inline __attribute__((always_inline)) void begin(const llm_request *r, decision *d)
{
	d->request = r;
	d->client = NULL;
	d->refusal = REFUSE_NOT;
	d->status = 0;
	d->route = NULL;
	d->route_name = (slice){ NULL, 0 };
	d->chosen_by = CHOSEN_NONE;
	d->released_by = RELEASED_NOT;
	d->upstream = NULL;
	d->passed_over_len = 0;
	d->retry_after = 0;
	d->backend = d->leg = d->credential = d->answer = (slice){ NULL, 0 };
	d->replace = false;
	d->header = HEADER_AUTHORIZATION;
	d->problem = NULL;
	d->ask_again = false;
}

/* Decides everything but what require_usage() and admit_decided() do. */
static inline __attribute__((always_inline)) void find_upstream(const policy *p, llm_request *r, decision *d)
{
	begin(r, d);
	bool frequent = find(r, d);
	d->caller = caller_protocol(r, frequent);

	/* Without routes nothing depends on the model, so no request is refused for its model. */
	if (p->table->enabled == 0) {
		use_target(p, r, legacy_target(r), LEGACY_NO_ROUTES, d);
		return;
	}
	if (!frequent && p->table->listed.count && answer_about_models(p, r, d))
		return;
	const route *chosen = choose(p, r, d);
	if (d->refusal != REFUSE_NOT)
		return;
	/* Inside a WebSocket, requests would pass that nobody decides on. */
	if ((d->endpoint == ENDPOINT_HTTP_TOO || d->endpoint == ENDPOINT_HTTP) && !p->table->websocket_allowed)
		refuse(d, REFUSE_WEBSOCKET_HTTP,
		       "the endpoint speaks HTTP too, and the option \"websocket\" is not \"allow\"");
	else if (chosen)
		use_route(p, r, chosen, frequent, d);
	else if (d->endpoint == ENDPOINT_OTHER || d->endpoint == ENDPOINT_MODEL || d->endpoint == ENDPOINT_MODELS)
		use_target(p, r, d->caller, LEGACY_BY_PROTOCOL, d);
	else
		use_target(p, r, legacy_target(r), LEGACY_NO_MATCH, d);
}

void decide(const policy *p, llm_request *r, decision *d)
{
	find_upstream(p, r, d);
	if (d->model.stream && d->model.stream_usage != STREAM_USAGE_ASKED && d->refusal == REFUSE_NOT &&
	    (d->route ? d->route->require_stream_usage : p->table->require_stream_usage))
		require_usage(r, d);
	if (p->clients || r->key.len || r->keys_differ)
		admit_decided(p, r, d);
	if (r->contract > CONTRACT)
		decision_refuse(d, REFUSE_CONTRACT,
				"haproxy.cfg and spoe.conf are newer than the agent, or incomplete");
}

void decide_key(const policy *p, llm_request *r, decision *d)
{
	const char *problem;

	begin(r, d);
	d->left = (limits_left){ .used_percent = 0 };
	d->endpoint = ENDPOINT_OTHER;
	d->metered = false;
	d->operation = slice_of(NULL, 0);
	d->model = (model_result){ .status = MODEL_NONE };
	d->caller = caller_protocol(r, false);
	refusal why = admit(p, r, &d->client, &problem);
	if (why != REFUSE_NOT)
		refuse(d, why, problem);
}
