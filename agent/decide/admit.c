/* SPDX-License-Identifier: MIT
 *
 * Which client asks, and whether it may have what was decided. */
#include "base/clock.h"
#include "decide/decision.h"
#include "decide/endpoint.h"
#include "decide/models.h"

static const char *const key_problems[] = {
	[KEY_GOOD] = "",
	[KEY_UNKNOWN] = "no client has the key",
	[KEY_EXPIRED] = "the key expired",
	[KEY_DISABLED] = "the key's client is disabled",
};

/* Replaces what the headers of `r` say about project and client by the client `c`. NULL: by nothing, because a stranger
 * may not choose a name. */
static void attribute(llm_request *r, const client *c)
{
	r->client = slice_cstr(c ? c->name : NULL);
	r->project = slice_cstr(c ? c->project : NULL);
}

/* True for a browser's question about what its page may send. Only without a body, which some server could take for a
 * request. (Over HTTP/2, HAProxy learns that there is a body only when the body comes.) */
static bool is_preflight(const llm_request *r)
{
	return r->preflight && r->sample.buffered == 0 && r->sample.length == 0 && r->sample.body.len == 0;
}

refusal admit(const policy *p, llm_request *r, const client **asks, const char **problem)
{
	key_problem why;

	*asks = NULL;
	*problem = NULL;
	if (!p->clients && !r->key.len && !r->keys_differ)
		return REFUSE_NOT;
	/* With the rules off, a passthrough route would forward a client's key. */
	if (!r->clients_guarded) {
		*problem = "HAProxy's rules about clients' keys are off: set LLM_CLIENTS for HAProxy";
		return REFUSE_CONTRACT;
	}
	if (r->keys_differ) {
		attribute(r, NULL);
		*problem = "two different keys of clients";
		return REFUSE_KEYS;
	}
	if (r->key.len == 0 && (!p->table->require_client || is_preflight(r)))
		return REFUSE_NOT;
	if (r->key.len == 0) {
		*problem = "the request has no key of a client, and require_client is set";
		return REFUSE_KEY;
	}
	if (p->clients && p->clients->missing) {
		*problem = "the file of clients cannot be read";
		return REFUSE_GATEWAY;
	}
	const client *whose = NULL;
	if (p->clients && r->key.len == CLIENT_HASH_LEN)
		whose = client_of_key(p->clients, (const unsigned char *)r->key.ptr, clock_wall_ms(), &why);
	else
		why = KEY_UNKNOWN;
	attribute(r, whose);
	if (why == KEY_GOOD)
		*asks = whose;
	else
		*problem = key_problems[why];
	return why == KEY_GOOD ? REFUSE_NOT : REFUSE_KEY;
}

/* Lets the client of `d` see only what it may use, in an answer about models. */
static void answer_client(const policy *p, const llm_request *r, decision *d)
{
	const model_list *listed = &p->table->listed;
	char buf[MODEL_MAX];
	slice name;

	if (!d->client->models && !d->client->routes)
		return;
	if (models_asked(r->sample.path, buf, &name) == MODELS_ALL) {
		d->listed = listed;
		d->answer = slice_of(NULL, models_write(listed, d->caller, d->client, NULL));
	} else if (!models_allowed(models_find(listed, name), d->client)) {
		decision_refuse(d, REFUSE_NO_MODEL, "the client may not use this model");
	}
}

/* True for a method with which an upstream obeys a model of the body. */
static bool takes_body(slice method)
{
	return slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT")) || slice_eq(method, SLICE("PATCH"));
}

bool decision_model_open(const decision *d)
{
	const model_sample *s = &d->request->sample;
	model_from from = d->model.from;
	bool runs = d->endpoint == ENDPOINT_RUNS;

	if (s->path_names_none) /* the frequent paths */
		return from == MODEL_FROM_QUERY;
	if (endpoint_takes_query(s->path)) /* whatever a body, a header or another parameter says */
		return !runs || s->model_param.len == 0;
	if (s->upgrade)
		return !runs || from == MODEL_FROM_HEADER || endpoint_names_inside(s->path);
	if (from == MODEL_FROM_PATH)
		return !runs && endpoint_takes_files(s->method, s->path);
	if (endpoint_names_deployment(s->path))
		return true;
	if (runs)
		return from == MODEL_FROM_QUERY;
	return endpoint_takes_files(s->method, s->path) || !takes_body(s->method) || endpoint_hides_model(s->path);
}

/* Says why the client may not do what is decided; NULL: it may. */
static const char *not_allowed(const client *c, const decision *d)
{
	if (!client_allows_route(c, d->route ? d->route->name : "legacy"))
		return "the client may not use this route";
	if (!c->models || d->endpoint == ENDPOINT_MODELS)
		return NULL;
	if (d->endpoint == ENDPOINT_MODEL && d->model.status != MODEL_FOUND)
		return NULL;
	if (d->model.status != MODEL_FOUND)
		return "the request names no model, and the client may use only some";
	if (decision_model_open(d))
		return "another model than the named one could run, and the client may use only some";
	return client_allows_model(c, slice_of(d->model.name, d->model.len)) ? NULL :
									       "the client may not use this model";
}

/* Refuses a request whose model is a client's key, which somebody put in the wrong place, and forgets the name: logs
 * and ledger have the names of models. */
static void refuse_key_as_model(decision *d)
{
	slice model = slice_of(d->model.name, d->model.status == MODEL_FOUND ? d->model.len : 0);

	if (!slice_icontains(model, SLICE(CLIENT_KEY_PREFIX)))
		return;
	d->model.status = MODEL_INVALID;
	d->model.len = 0;
	decision_refuse(d, REFUSE_INVALID_MODEL, "a client's key stands where the name of the model should");
}

void admit_decided(const policy *p, llm_request *r, decision *d)
{
	const char *problem = NULL;

	refuse_key_as_model(d);
	refusal why = admit(p, r, &d->client, &problem);

	d->left = (limits_left){ .used_percent = 0 };
	if (why == REFUSE_NOT && d->client && d->answer.len) {
		answer_client(p, r, d);
	} else if (why == REFUSE_NOT && d->client && (d->route || d->refusal == REFUSE_NOT)) {
		problem = not_allowed(d->client, d);
		why = problem ? REFUSE_CLIENT_MODEL : REFUSE_NOT;
	} else if (why == REFUSE_NOT && !d->client && p->table->require_client && d->released_by != RELEASED_NOT) {
		/* Some servers answer OPTIONS as they answer GET. */
		problem = "a preflight has no key, and the route's credential would go along";
		why = REFUSE_KEY;
	}
	if (why == REFUSE_NOT)
		return;
	decision_refuse(d, why, problem);
}
