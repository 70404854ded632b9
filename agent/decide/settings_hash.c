/* SPDX-License-Identifier: MIT */
#include "decide/settings_hash.h"

#include <inttypes.h>

#include "base/hash.h"

/* Known to everybody, so that all gateways and versions come to the same hash. */
static const hash_key fixed = { { UINT64_C(0x73706f612d6c6c6d), UINT64_C(0x6472696674) } };

static void add_bytes(uint64_t *hash, slice s)
{
	*hash = hash_of(&fixed, *hash, s);
}

static void add_number(uint64_t *hash, uint64_t n)
{
	unsigned char bytes[8];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (unsigned char)(n >> 8 * i);
	add_bytes(hash, slice_of(bytes, sizeof bytes));
}

/* A missing text does not count like an empty one. */
static void add_text(uint64_t *hash, const char *text)
{
	add_number(hash, text != NULL);
	if (text)
		add_bytes(hash, slice_cstr(text));
}

/* Adds texts whose order does not matter. */
static void add_set(uint64_t *hash, const char *const *texts, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		uint64_t one = 0;
		add_text(&one, texts[i]);
		sum += one;
	}
	add_number(hash, texts != NULL);
	add_number(hash, count);
	add_number(hash, sum);
}

static void write_hash(char out[SETTINGS_HASH_LEN + 1], uint64_t hash)
{
	snprintf(out, SETTINGS_HASH_LEN + 1, "%016" PRIx64, hash);
}

/* ---- routes */

static void add_connect(uint64_t *hash, const route_connect *c)
{
	const char *const texts[] = { c->ca_file, c->client_cert, c->alpn, c->sni };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		add_text(hash, texts[i]);
	add_number(hash, c->timeout);
	add_number(hash, c->max_connections);
}

/* Adds what a route and a member of a pool have. */
static void add_upstream(uint64_t *hash, const route *r)
{
	add_text(hash, r->name);
	add_text(hash, r->own.url ? r->own.url : r->upstream_given);
	add_number(hash, r->strip_v1);
	add_number(hash, r->auth.kind);
	add_text(hash, r->auth.source);
	add_number(hash, r->auth.header);
	add_number(hash, r->paths_any);
	add_number(hash, r->paths_count);
	for (size_t i = 0; i < r->paths_count; i++) {
		add_text(hash, r->paths[i].method);
		add_text(hash, r->paths[i].prefix);
	}
	add_connect(hash, &r->connect);
	add_number(hash, r->weight);
}

static void add_pool(uint64_t *hash, const pool *p)
{
	add_number(hash, p->balance);
	add_number(hash, p->retry_on);
	add_number(hash, p->retries);
	add_number(hash, p->tells_client);
	add_number(hash, p->count);
	for (size_t i = 0; i < p->count; i++)
		add_upstream(hash, &p->members[i]);
}

static void add_route(uint64_t *hash, const route *r)
{
	add_text(hash, r->prefix);
	add_text(hash, r->path_prefix);
	add_upstream(hash, r);
	add_text(hash, r->backend_given);
	add_text(hash, r->forward_names);
	add_text(hash, r->forward_prefixes);
	add_number(hash, r->protocol);
	add_text(hash, r->reference_model);
	add_number(hash, r->require_stream_usage);
	add_set(hash, (const char *const *)r->models, r->models_count);
	add_number(hash, r->pool != NULL);
	if (r->pool)
		add_pool(hash, r->pool);
}

uint64_t settings_hash_route(const route *r)
{
	uint64_t hash = 0;

	add_route(&hash, r);
	return hash;
}

void settings_hash_routes(const route_table *t, char out[SETTINGS_HASH_LEN + 1])
{
	uint64_t hash = 0;

	for (size_t i = 0; i < PROTOCOLS; i++)
		add_text(&hash, t->targets[i].url);
	const bool choices[] = { t->unresolved_falls_through, t->websocket_to_catch_all, t->older_contract_allowed,
				 t->require_stream_usage,     t->require_client,         t->websocket_allowed };
	for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++)
		add_number(&hash, choices[i]);
	add_number(&hash, (uint64_t)t->refusal_status);
	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].enabled)
			add_route(&hash, &t->routes[i]);
	write_hash(out, hash);
}

/* ---- clients */

static void add_limits(uint64_t *hash, const client_limits *l)
{
	add_number(hash, l->tokens_per_minute);
	add_number(hash, (uint64_t)l->budget_nano);
	add_number(hash, l->budget_nano == BUDGET_NONE ? 0 : l->period);
}

uint64_t settings_hash_client(const client_table *t, const client *c, uint64_t *keys)
{
	uint64_t hash = 0;

	*keys = 0;
	add_text(&hash, c->name);
	add_text(&hash, c->project);
	add_set(&hash, c->models, c->models_count);
	add_set(&hash, c->routes, c->routes_count);
	add_limits(&hash, &c->limits);
	add_number(&hash, c->requests_per_minute);
	add_number(&hash, c->parallel);
	add_number(&hash, c->allow_unpriced);
	add_number(&hash, c->enabled);
	for (uint32_t i = 0; i < c->keys_count; i++) {
		const client_key *k = &t->keys[c->first_key + i];
		uint64_t key = 0;
		add_bytes(&key, slice_of(k->sha256, sizeof k->sha256));
		add_number(&key, (uint64_t)k->expires_ms);
		*keys += key;
	}
	return hash;
}

uint64_t settings_hash_project(const client_project *p)
{
	uint64_t hash = 1; /* a project has another hash than a client that is set up like it */

	add_text(&hash, p->name);
	add_limits(&hash, &p->limits);
	return hash;
}

void settings_hash_clients(const client_table *t, char out[SETTINGS_HASH_LEN + 1])
{
	uint64_t sum = 0, hash = 0;

	add_number(&hash, t ? 1 + t->missing : 0);
	for (uint32_t i = 0; t && i < t->count; i++) {
		uint64_t keys, one = settings_hash_client(t, &t->clients[i], &keys);
		add_number(&one, keys);
		sum += one;
	}
	for (uint32_t i = 0; t && i < t->projects_count; i++)
		sum += settings_hash_project(&t->projects[i]);
	add_number(&hash, sum);
	write_hash(out, hash);
}
