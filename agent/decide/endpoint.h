/* SPDX-License-Identifier: MIT
 *
 * The one table of endpoints that run a model. The operator's credential goes along with requests to them, and with few
 * others: files, stored responses, batches, keys and the like belong to whoever made them. A job whose result is
 * fetched later is such a thing too; "runs a model" means that the answer to the request itself is the model's.
 *
 * A path ends as a row of the table says, by whole segments. In front of that stands nothing, one known word (/openai,
 * /inference, ...), or up to four segments and a version (/v1, /api/paas/v4, /v1beta/openai). One slash at its end does
 * not matter. Nothing is decoded: an upstream may decode a letter of `chat` that is percent-encoded, or not. */
#ifndef DECIDE_ENDPOINT_H
#define DECIDE_ENDPOINT_H

#include "base/slice.h"

typedef enum endpoint {
	ENDPOINT_OTHER,
	ENDPOINT_RUNS,     /* runs a model; a WebSocket: the endpoint speaks nothing else */
	ENDPOINT_MODEL,    /* GET .../models/NAME asks about a model */
	ENDPOINT_MODELS,   /* GET .../models asks about all models */
	ENDPOINT_HTTP_TOO, /* a WebSocket where the same endpoint runs a model by HTTP */
	ENDPOINT_HTTP, /* a WebSocket where the endpoint speaks HTTP only, or is called `responses` behind any path */
} endpoint;

/* Finds the endpoint of a path without its query. `websocket`: the request is a WebSocket handshake. */
endpoint endpoint_find(slice method, slice path, bool websocket);

/* True if an answer costs tokens, so that one without usage has an unknown cost: `e`, which endpoint_find() gave for
 * `path`, runs a model, and does more than count the tokens of a prompt. */
bool endpoint_metered(endpoint e, slice path);

/* True if an answer tells the usage of an earlier request, whatever the method: a stored completion that is changed, a
 * batch or a run that is cancelled. */
bool endpoint_told_before(slice path);

/* Returns what the model is asked for, as OpenTelemetry's gen_ai.operation.name has it, where `path`, that of an
 * endpoint that is metered, says that it is neither chat nor Gemini's generate_content; else an empty slice. */
slice endpoint_operation(slice path);

/* True for an upload: the body names no model at its top level, whatever it holds and however large it is. */
bool endpoint_takes_files(slice method, slice path);

/* True if a stream of the endpoint `e`, which endpoint_find() gave for `path`, tells its usage only if the member
 * stream_options of the request asks for it: those of OpenAI's chat and completions. */
bool endpoint_takes_stream_options(endpoint e, slice path);

/* True if the upstream takes the model of a request by HTTP from the query. */
bool endpoint_takes_query(slice path);

/* True if a client names the model inside the WebSocket, whatever its handshake says: Gemini's Live API. */
bool endpoint_names_inside(slice path);

/* True if the path names a deployment of Vertex AI for some server; it runs its own model, whatever model the body
 * names. */
bool endpoint_names_deployment(slice path);

/* True if what is made at `path`, which runs no model, need not obey the member `model` of the body: a batch, whose
 * requests name a model each, a session of Realtime, an eval. Or some server may read such a path in it. */
bool endpoint_hides_model(slice path);

/* True if the request makes something that runs models later or elsewhere, so that nobody sees what it costs: a batch,
 * a fine tuning, a video, a session of Realtime. */
bool endpoint_costs_later(slice method, slice path);

/* True if some server may read the path of an endpoint in it whose answers cost tokens. It may decode it, drop empty
 * and dot segments, or not tell upper from lower case. */
bool endpoint_metered_loosely(slice path);

/* True if an answer may be larger than HAProxy's buffer, though it is no stream: embeddings, pictures and sound. The
 * endpoint says so, or the name of the `model`. `path` is that of an endpoint that runs a model; so it is for
 * endpoint_streams(). */
bool endpoint_long(slice path, slice model);

/* True if the endpoint streams unless the request says otherwise: Ollama's own. */
bool endpoint_streams(slice path);

/* True for the most frequent of the requests for which endpoint_find() gives ENDPOINT_RUNS; they are metered, and
 * their paths are clear and name no model. */
static inline bool endpoint_frequent(slice method, slice path)
{
	if (!slice_eq(method, SLICE("POST")))
		return false;
	return slice_eq(path, SLICE("/v1/chat/completions")) || slice_eq(path, SLICE("/v1/messages")) ||
	       slice_eq(path, SLICE("/v1/responses")) || slice_eq(path, SLICE("/v1/embeddings"));
}

/* True if every upstream reads the path in the same way. It has no segment that is empty (one slash at its end does not
 * matter), or made of dots and blanks alone; no semicolon, backslash or control character, and none of these, nor a
 * dot, slash or percent sign, percent-encoded. Each percent sign begins an escape. Decoded, each segment is strict
 * UTF-8, because old decoders make a dot or a slash of some other bytes (%c0%ae, %e0%80%ae). The one exception is an
 * ARN as Bedrock's model ID, in which AWS's SDKs encode slashes. */
bool path_clear(slice path);

/* True if `path` is `prefix`, or goes on behind it with a slash. `prefix` has no slash at its end; "" holds always. */
bool path_under(slice path, const char *prefix);

#endif
