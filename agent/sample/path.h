/* SPDX-License-Identifier: MIT
 *
 * Models that stand in the path, and percent-encoding. */
#ifndef SAMPLE_PATH_H
#define SAMPLE_PATH_H

#include "sample/name.h"

/* Decodes %XX (and '+' to a space, if `plus`) into `buf`. False: a '%' without two hex digits behind it. A text longer
 * than `cap` is cut there: *len is then cap, and `*longer` true. */
bool percent_decode(slice s, bool plus, char *buf, size_t cap, size_t *len, bool *longer);

/* Adds the model that the path names, if it does:
 *   .../models/M:method, .../tunedModels/M:method   Gemini, Vertex (.../publishers/P/models/M:method); a tuned model
 * keeps its prefix, as the API's own clients name it: "tunedModels/M" /openai/deployments/NAME/... Azure
 *   /model/ID/OPERATION                             Bedrock; only its ID may hold an encoded slash (an ARN does)
 * Prefixes before these are passed over. `GET /v1/models/gpt-4o` has no method and names none. A path that would name a
 * model only after dot segments, empty segments or encoded slashes are resolved is a faulty mention, because upstreams
 * resolve them differently. Says whether the operation asks for a stream. */
void path_model(slice path, named *n);

/* Azure's path names a deployment, and its body may still say `stream`. */
bool path_body_matters(slice path);

#endif
