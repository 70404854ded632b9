/* SPDX-License-Identifier: MIT
 *
 * Which headers of a request are forwarded where the operator's credential goes along. Every other header stays behind,
 * because it could carry a credential, choose an account, or tell the upstream to send the request elsewhere. Names are
 * compared in any case, and as a whole. Names and prefixes stand between bars, as in a regular expression. */
#ifndef DECIDE_FORWARD_H
#define DECIDE_FORWARD_H

#include "base/slice.h"

/* HTTP itself, what the body is and how the answer may be, WebSocket, CORS, traces and what SDKs say about themselves.
 * Those that most requests have stand first, because PCRE tries one after the other. */
#define FORWARD_NAMES \
	"host|content-type|content-length|user-agent|accept|accept-encoding|connection|x-request-id|" \
	"anthropic-version|anthropic-beta|x-stainless-lang|x-stainless-os|x-stainless-arch|x-stainless-runtime|" \
	"x-stainless-runtime-version|x-stainless-package-version|x-stainless-retry-count|x-stainless-timeout|" \
	"x-stainless-read-timeout|x-stainless-async|accept-language|accept-charset|transfer-encoding|te|trailer|" \
	"upgrade|expect|date|cache-control|pragma|priority|range|origin|openai-beta|x-goog-api-client|" \
	"idempotency-key|x-idempotency-key|traceparent|tracestate|x-client-request-id|sec-websocket-key|" \
	"sec-websocket-version|sec-websocket-protocol|sec-websocket-extensions"

/* A name that begins so and goes on with letters, digits and dashes is forwarded too, unless it holds one of the words
 * of FORWARD_NEVER. */
#define FORWARD_PREFIXES "content-|x-stainless-|anthropic-|if-|access-control-request-"
#define FORWARD_NEVER \
	"key|token|secret|auth|cookie|account|org|project|workspace|tenant|billing|subscription|customer|user|profile|behalf|" \
	"admin|credential|password|session|bearer|jwt|url|uri|host|base|target|upstream|endpoint|proxy|redirect|forward|" \
	"callback|webhook|gateway|route|backend|override"

/* The regular expression (PCRE) of the names that stay behind; HAProxy has names in lower case. haproxy.cfg.example has
 * FORWARD_STAYS once, and tests compare the two. It removes these headers before it sets the credential, unless the
 * agent said txn.llm.forward: then it removes the stripped_headers (decision.h) only, and the backend of the route,
 * which `spoa-llm backends` wrote, removes what its own expression says. In that one, `names` are those of the route's
 * forward_headers and the headers that may carry the credential, and `prefixes` those of forward_headers; each is "" or
 * "|" and more of them. */
#define FORWARD_STAYS_WITH(names, prefixes) \
	"^(?!(?:" FORWARD_NAMES names "|(?:" FORWARD_PREFIXES prefixes ")(?!.*(?:" FORWARD_NEVER "))[a-z0-9-]+)$)"
#define FORWARD_STAYS FORWARD_STAYS_WITH("", "")

/* Returns the next name of `*list` and moves `*list` behind it; empty: there is none left. NULL counts as "". */
slice forward_next(const char **list);

/* True if a header `name` is forwarded. `names` and `prefixes` are those of the route's forward_headers, as above;
 * NULL: none. */
bool header_forwarded(slice name, const char *names, const char *prefixes);

#endif
