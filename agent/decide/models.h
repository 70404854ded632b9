/* SPDX-License-Identifier: MIT
 *
 * The models that routes list (`models`), and the answers to GET /v1/models and GET /v1/models/NAME, in the shape of
 * each API. All texts are made when the routes are read, so that a decision only points to one of them. */
#ifndef DECIDE_MODELS_H
#define DECIDE_MODELS_H

#include "decide/policy.h"

/* Makes t->listed of the models of the enabled routes; a model that two routes list stands there once. False: out of
 * memory. */
MUST_CHECK bool models_list(route_table *t);
void models_deinit(model_list *l);

/* Finds the model of that name, in upper or lower case; NULL: no route lists it. */
const listed_model *models_find(const model_list *l, slice name);

/* True if the client may use the model, on the route that lists it. `m` may be NULL: it may not. */
bool models_allowed(const listed_model *m, const client *c);

/* Writes the answer about the models that the client may use to `out` and returns its length. `out` NULL: writes
 * nothing. */
size_t models_write(const model_list *l, protocol p, const client *c, char *out);

/* Returns the answer about `m`, in the shape of API `p`; about all models if `m` is NULL. */
slice models_answer(const model_list *l, protocol p, const listed_model *m);

/* What a request asks about. */
typedef enum models_question { MODELS_NOTHING, MODELS_ALL, MODELS_ONE } models_question;

/* Reads the path of a GET. MODELS_ONE: `buf`, which has room for MODEL_MAX bytes, gets the model's name,
 * percent-decoded, and `*name` points to it; a name may have slashes. */
models_question models_asked(slice path, char *buf, slice *name);

#endif
