/* SPDX-License-Identifier: MIT */
#include "decide/decision.h"

#include <assert.h>

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
	[REFUSE_WEBSOCKET] = { 426, "websocket_without_model",
			       "The WebSocket handshake names no model; use HTTP, or name it in ?model=." },
	[REFUSE_WEBSOCKET_HTTP] = { 426, "websocket_not_allowed",
				    "This gateway takes requests to this endpoint by HTTP, not by WebSocket." },
	[REFUSE_ENDPOINT] = { 403, "endpoint_not_allowed",
			      "This gateway's credential does not go along with this method and path." },
	[REFUSE_PATH] = { 400, "invalid_path",
			  "The path has a dot segment, an empty segment, a semicolon or an encoded separator in it." },
	[REFUSE_CONTRACT] = { 503, "contract_outdated",
			      "The gateway's HAProxy files are older than its agent; its operator has to update them." },
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
static protocol caller_protocol(const llm_request *r)
{
	slice path = r->sample.path;

	/* Most requests go to these paths; the tests below would say the same. */
	if (slice_eq(path, SLICE("/v1/chat/completions")) || slice_eq(path, SLICE("/v1/responses")))
		return PROTOCOL_OPENAI;
	if (slice_eq(path, SLICE("/v1/messages")))
		return PROTOCOL_ANTHROPIC;
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
	d->problem = problem;
	d->backend = (slice){ NULL, 0 };
	d->credential = (slice){ NULL, 0 };
}

static void use_target(const policy *p, const llm_request *r, decision *d)
{
	d->upstream = &p->table->targets[legacy_target(r)];
	d->backend = slice_cstr(d->upstream->backend);
	d->route_name = SLICE("legacy");
}

static void use_route(const policy *p, const llm_request *r, const route *chosen, decision *d)
{
	const char *problem;

	d->route = chosen;
	d->route_name = slice_cstr(chosen->name);
	d->upstream = route_upstream(p->table, chosen);
	d->backend = slice_cstr(route_backend(p->table, chosen));
	if (d->backend.len == 0) {
		refuse(d, REFUSE_NO_BACKEND, "the route's upstream is not a valid URL");
		return;
	}
	if (chosen->auth.kind == AUTH_PASSTHROUGH)
		return;
	d->replace = true;
	if (!policy_allows_contract(p, r->contract)) {
		refuse(d, REFUSE_CONTRACT, "haproxy.cfg or spoe.conf is older than the agent");
		return;
	}
	d->header = chosen->auth.header;
	d->credential = credential_read(&chosen->auth, &p->files[chosen - p->table->routes], &problem);
	if (d->credential.len == 0)
		refuse(d, REFUSE_AUTH_UNAVAILABLE, problem);
}

/* Chooses the route by what d->model says. NULL: the request has none, or it is refused (d->refusal). */
static inline __attribute__((always_inline)) const route *choose(const policy *p, const llm_request *r, decision *d)
{
	switch (d->model.status) {
	case MODEL_UNKNOWN:
		/* Running out of memory is our fault, so refuse: the fall-through is what the operator wants for
		 * requests whose model is out of reach. */
		if (d->model.no_memory) {
			refuse(d, REFUSE_GATEWAY, d->model.detail);
			return NULL;
		}
		/* HAProxy asks once more with all bytes that it holds; only then is the model out of reach. */
		d->ask_again = r->sample.body.len < r->sample.buffered;
		if (d->ask_again || !p->table->unresolved_falls_through) {
			refuse(d, REFUSE_MODEL_NOT_IN_SAMPLE, d->model.detail);
			return NULL;
		}
		return route_catch_all(p->table);
	case MODEL_AMBIGUOUS:
		refuse(d, REFUSE_AMBIGUOUS_MODEL, d->model.detail);
		return NULL;
	case MODEL_INVALID:
		refuse(d, REFUSE_INVALID_MODEL, d->model.detail);
		return NULL;
	case MODEL_MALFORMED:
		refuse(d, REFUSE_INVALID_JSON, d->model.detail);
		return NULL;
	case MODEL_FOUND:
		return route_match(p->table, slice_of(d->model.name, d->model.len));
	case MODEL_NONE:
		/* A WebSocket may name its model after the handshake, when the upstream is chosen already. */
		if (r->sample.upgrade && !p->table->websocket_to_catch_all) {
			refuse(d, REFUSE_WEBSOCKET, "a WebSocket names its model by ?model= or x-codex-turn-metadata");
			return NULL;
		}
		/* A body without a model goes to the catch-all; a request without a body to the legacy target. */
		if (r->sample.upgrade || r->sample.buffered > 0 || r->sample.length > 0 || r->sample.body.len > 0)
			return route_catch_all(p->table);
		break;
	}
	return NULL;
}

void decide(const policy *p, const llm_request *r, decision *d)
{
	d->refusal = REFUSE_NOT;
	d->route = NULL;
	d->route_name = (slice){ NULL, 0 };
	d->upstream = NULL;
	d->backend = d->credential = (slice){ NULL, 0 };
	d->caller = caller_protocol(r);
	d->replace = false;
	d->header = HEADER_AUTHORIZATION;
	d->problem = NULL;
	d->ask_again = false;
	model_find(&r->sample, &d->model);

	/* Without routes nothing depends on the model, so no request is refused for its model. */
	if (p->table->enabled == 0) {
		use_target(p, r, d);
		return;
	}
	const route *chosen = choose(p, r, d);
	if (d->refusal != REFUSE_NOT)
		return;
	if (chosen)
		use_route(p, r, chosen, d);
	else
		use_target(p, r, d);
}
