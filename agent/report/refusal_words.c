/* SPDX-License-Identifier: MIT */
#include "report/refusal_words.h"

#include <stddef.h>
#include <string.h>

/* `make lint` asks for a row for each refusal that spoa-llm-events(7) names. */
/* clang-format off */
static const refusal_words rows[] = {
	{ "upstream_auth_unavailable", "The credential of the route, or of each member of its pool, is missing, blank or unusable.",
	  "Set it. `spoa-llm check` says which one it is, and why it cannot be used. A file is read again within two seconds; a variable needs a restart." },
	{ "no_backend", "HAProxy has no backend with the name that the agent gave, or the route's upstream is not a valid URL.",
	  "Make the backends again with `spoa-llm backends`, and reload HAProxy. `spoa-llm check` says whether the upstream is valid." },
	{ "gateway_unavailable", "HAProxy got no decision from the agent in time, or the agent had no memory.",
	  "Look whether the agent runs and whether HAProxy reaches it: `spoa-llm status`, and \"NO EVENT\" in `man spoa-llm-events`." },
	{ "model_not_in_sample", "The agent could not see which model the request names, because the body is too large, or is encoded in a way that the agent does not decode.",
	  "Have the client put its model first, raise LLM_BUFSIZE in HAProxy's environment, or let such requests fall through (the option unresolved)." },
	{ "ambiguous_model", "The request can be read in more than one way, so that it may name more than one model.",
	  "The client has to name its model once. The event `refused` in the agent's log says where the two stand." },
	{ "invalid_model", "The name of the model is empty, longer than 256 bytes, no string, or has characters that nobody sees.",
	  "The client has to send a valid name." },
	{ "invalid_json", "The body is not valid JSON, so that another reader could find another model in it.",
	  "The client has to send valid JSON. The event `refused` in the agent's log says what is wrong." },
	{ "invalid_form", "The form in the body is malformed, or can be read in more than one way.",
	  "The client has to send a valid form. The event `refused` in the agent's log says what is wrong." },
	{ "invalid_encoding", "The body is not compressed as its content-encoding says.",
	  "The client has to name the encoding that it used, or to send the body uncompressed." },
	{ "websocket_without_model", "A WebSocket handshake named no model.",
	  "Use HTTP, as Codex then does by itself, or name the model as ?model= in the address. The option websocket can let such handshakes through." },
	{ "websocket_not_allowed", "A WebSocket handshake came for an endpoint that also speaks HTTP, where each request is decided and metered.",
	  "Use HTTP, as Codex then does by itself. The option websocket lets such handshakes through." },
	{ "invalid_upgrade", "The header Upgrade mentions a WebSocket, but the request is no valid handshake.",
	  "The client has to send a GET without a body, with the header Upgrade once and the value websocket." },
	{ "upstream_resting", "All members of the pool that could serve the request rested, because they had declined requests before.",
	  "The client can try again when a member is back. If this happens often, add members, or raise their limits at the provider." },
	{ "stream_usage_required", "The request asked for a stream without its usage, and the option require_stream_usage is set.",
	  "The client has to add \"stream_options\": {\"include_usage\": true}. Many clients have a setting for that." },
	{ "model_not_found", "The request asked about a model that no route lists in its `models`.",
	  "Add the model to its route if it should be found." },
	{ "invalid_api_key", "The request had no valid key of this gateway: it was missing, unknown, expired, or its client is disabled.",
	  "The event `refused` in the agent's log says which of these. `spoa-llm client list` shows the clients; `spoa-llm client rotate` gives one a new key." },
	{ "ambiguous_api_key", "The request had two different keys of this gateway.",
	  "The client has to send one." },
	{ "misplaced_api_key", "A key of this gateway stood where no such key is looked for, so that an upstream might have got it.",
	  "The client has to send it once, as a bearer token or in the header x-llm-key. If others may have seen it: `spoa-llm client rotate`." },
	{ "rate_limit_exceeded", "The client, or its project, was at a limit: requests a minute, requests in parallel, or tokens a minute.",
	  "The client can try again after the time in the header Retry-After. The limits stand in the file of clients." },
	{ "request_too_large", "The request, with the longest answer that it asked for, takes more tokens than the client, or its project, has in a whole minute.",
	  "To wait does not help: the client has to send a shorter request, or ask for a shorter answer (max_tokens), or needs a higher tokens_per_minute." },
	{ "insufficient_quota", "What was left of the budget of the client, or of its project, did not suffice for what the request might cost.",
	  "Ask for a shorter answer (max_tokens), wait for the next period, or raise the budget in the file of clients." },
	{ "model_not_priced", "The client, or its project, has a budget, and the gateway has no price for what the request asks for.",
	  "Add the price of the model to the file that the option prices names, or set allow_unpriced for the client." },
	{ "ledger_off", "The client, or its project, has a budget or tokens a minute, which nobody can count, because LLM_LEDGER of HAProxy is off.",
	  "Set LLM_LEDGER=on in HAProxy's environment and restart HAProxy, or take the limits out of the file of clients." },
	{ "model_not_allowed", "The request's client may not use this model, or not this route.",
	  "The client's `models` and `routes` in the file of clients say what is allowed. The event `refused` in the agent's log says which of the two it was." },
	{ "endpoint_not_allowed", "The gateway's credential does not go along with this method and path, because they run no model.",
	  "If the credential may be used for it, name the path in the route's `paths`." },
	{ "invalid_path", "The path has a dot segment, an empty segment, a semicolon or an encoded separator, which upstreams read in more than one way.",
	  "The client has to send a plain path." },
	{ "contract_outdated", "HAProxy runs with files that lack rules on which the agent relies, or that the agent does not know.",
	  "Install haproxy.cfg (llm.cfg) and spoe.conf of the agent's version, and reload HAProxy. `spoa-llm check` says which files are there. If there are clients, LLM_CLIENTS of HAProxy must be on or required." },
	{ "invalid_query", "The query has a parameter that, decoded more than once, has the name of a key. HAProxy cannot take it out.",
	  "The client has to send its key in a header." },
	{ "method_not_allowed", "The request was a CONNECT or a TRACE, which are not served.",
	  "The client has to use another method." },
	{ "origin_not_allowed", "A web page of an origin that LLM_CORS_ORIGINS does not name asked whether it may send a request.",
	  "To let the page in, add its origin to LLM_CORS_ORIGINS in HAProxy's environment, and restart HAProxy." },
	{ "bad_request", "HAProxy could not parse the request.",
	  "The client has to send valid HTTP. HAProxy's `show errors` has what it sent." },
	{ "client_closed", "The client left, or ended its side of the connection, before the gateway had decided. No upstream was asked.",
	  "A client has to keep both sides of its connection open until the answer is there: `nc -N` and `socat` do not." },
	{ "request_timeout", "The client did not send its whole request in time.",
	  "Look at the client's connection. The headers may take 30 seconds, the body five minutes." },
	{ "gateway_error", "HAProxy itself failed.",
	  "HAProxy's log says how." },
	{ "upstream_unavailable", "HAProxy could not connect to the upstream, or its health check said that the upstream was down.",
	  "Look at the provider, at DNS, and at the certificates (ca_file)." },
	{ "upstream_error", "The upstream closed the connection without an answer, or sent an answer that is no valid HTTP.",
	  "The request has reached the upstream, and may have been billed. If this happens often, look at the provider." },
	{ "upstream_timeout", "The upstream was silent for longer than the backend's `timeout server`.",
	  "The request has reached the upstream, and may have been billed. Raise `timeout server` of the backend if the model takes so long." },
};
/* clang-format on */

const refusal_words *refusal_words_find(const char *code)
{
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(rows[i].code, code) == 0)
			return &rows[i];
	return NULL;
}
