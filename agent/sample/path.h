/* SPDX-License-Identifier: MIT
 *
 * Models in the path, and percent-decoding. */
#ifndef SAMPLE_PATH_H
#define SAMPLE_PATH_H

#include "sample/name.h"

/* Decodes %XX (and with `plus` '+' to a space) into `buf`. False: a '%' without two hex digits behind it. A text longer
 * than `cap` is cut: then *len is `cap`, and *longer is true. */
bool percent_decode(slice s, bool plus, char *buf, size_t cap, size_t *len, bool *longer);

/* Adds the model that the path names, if it names one. Each segment is decoded once before it is looked at; words are
 * compared without regard to case, and what stands in front of them does not matter:
 *   .../models/M:method, .../tunedModels/M:method   Gemini, Vertex (.../publishers/P/models/M:method); a tuned model
 *                                                   keeps its prefix, as Google's clients name it: "tunedModels/M"
 *   .../deployments/NAME/..., .../engines/NAME/...  Azure, OpenAI's older endpoints
 *   .../model/ID/OPERATION                          Bedrock; only an ID that is an ARN may hold slashes, encoded or not
 *   .../models/M                                    only with the method GET
 * Vertex's count-tokens:rawPredict names no model. If such words stand in a path of which servers could read another
 * model, found->differ is set: .../models/M/chat/completions; dot segments, empty segments, encoded slashes, parameters
 * behind a `;`. Also sets found->stream if the operation asks for a stream. */
void path_model(slice path, slice method, bool upgrade, mentions *found);

#endif
