/* SPDX-License-Identifier: MIT
 *
 * Models in the path, and percent-decoding. */
#ifndef SAMPLE_PATH_H
#define SAMPLE_PATH_H

#include "sample/name.h"

/* Decodes %XX (and with `plus` '+' to a space) into `buf`. False: a '%' without two hex digits behind it. A text longer
 * than `cap` is cut: then *len is `cap`, and *longer is true. */
bool percent_decode(slice s, bool plus, char *buf, size_t cap, size_t *len, bool *longer);

/* Adds the model that the path names, if it names one:
 *   .../models/M:method, .../tunedModels/M:method   Gemini, Vertex (.../publishers/P/models/M:method); a tuned model
 *                                                   keeps its prefix, as Google's clients name it: "tunedModels/M"
 *   /openai/deployments/NAME/...                    Azure
 *   /model/ID/OPERATION                             Bedrock; only its ID may hold an encoded slash (an ARN does)
 * Segments before these are skipped. `GET /v1/models/gpt-4o` has no method and names no model. A path with dot
 * segments, empty segments or encoded slashes that may name a model is a faulty mention, because upstreams resolve such
 * paths differently. Also sets found->stream if the operation asks for a stream. */
void path_model(slice path, mentions *found);

/* True if the body has to be read although the path names the model: Azure's path names a deployment, and its body may
 * say `stream`. */
bool path_body_matters(slice path);

#endif
