/* SPDX-License-Identifier: MIT
 *
 * Which client asks. */
#include "base/clock.h"
#include "decide/decision.h"

static const char *const key_problems[] = {
	[KEY_GOOD] = "",
	[KEY_UNKNOWN] = "no client has the key",
	[KEY_EXPIRED] = "the key expired",
	[KEY_DISABLED] = "the key's client is disabled",
};

/* Notes whose request `r` is, instead of what its headers say. `c` NULL: a stranger's, who may not choose a name. */
static void attribute(llm_request *r, const client *c)
{
	r->client = slice_cstr(c ? c->name : NULL);
	r->project = slice_cstr(c ? c->project : NULL);
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
	if (r->key.len == 0 && (!p->table->require_client || r->preflight))
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
