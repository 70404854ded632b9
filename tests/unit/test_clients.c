/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <malloc.h>

#include "decide/decision.h"
#include "decide/leg.h"
#include "decide/models.h"

enum { NOW = 1000 };

/* Makes a hash that is as random as SHA-256, and another for each `i`. */
static void hash_for(uint64_t i, unsigned char out[CLIENT_HASH_LEN])
{
	for (size_t at = 0; at < CLIENT_HASH_LEN; at += 8) {
		uint64_t x = (i * 4 + at / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15);
		x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
		x ^= x >> 31;
		memcpy(out + at, &x, 8);
	}
}

static void add_key(client_table *t, uint64_t i, int64_t expires_ms)
{
	client_key *k = client_table_add_key(t);

	if (!k)
		abort();
	hash_for(i, k->sha256);
	k->expires_ms = expires_ms;
}

static client *add_client(client_table *t, const char *name, const char *project)
{
	client *c = client_table_add(t);

	if (!c)
		abort();
	c->name = client_table_text(t, slice_cstr(name));
	c->project = project ? client_table_text(t, slice_cstr(project)) : NULL;
	return c;
}

static const char *const *list(client_table *t, const char *one, const char *two)
{
	const char **all = client_table_list(t, 2);

	if (!all)
		abort();
	all[0] = client_table_text(t, slice_cstr(one));
	all[1] = client_table_text(t, slice_cstr(two));
	return all;
}

/* alice: keys 1 and 2, which expires; bob: key 3, some models and routes; carol: key 4, disabled. */
static client_table *some(void)
{
	client_table *t = client_table_new();

	if (!t)
		abort();
	add_client(t, "alice", "search");
	add_key(t, 1, KEY_FOR_EVER);
	add_key(t, 2, NOW);
	client *bob = add_client(t, "bob", NULL);
	bob->models = list(t, "gpt-*", "claude-5");
	bob->routes = list(t, "gpt", "legacy");
	bob->models_count = bob->routes_count = 2;
	add_key(t, 3, INT64_MAX - 1);
	add_client(t, "carol", NULL)->enabled = false;
	add_key(t, 4, KEY_FOR_EVER);
	if (!client_table_finish(t))
		abort();
	return t;
}

static const client *find(const client_table *t, uint64_t i, int64_t now, key_problem *why)
{
	unsigned char hash[CLIENT_HASH_LEN];

	hash_for(i, hash);
	return client_find(t, unit_guarded(hash, sizeof hash), now, why);
}

static void a_key_finds_its_client(void)
{
	client_table *t = some();
	key_problem why;

	const client *c = find(t, 1, NOW, &why);
	CHECK(c && strcmp(c->name, "alice") == 0 && why == KEY_GOOD);
	CHECK(find(t, 2, NOW - 1, &why) == c && why == KEY_GOOD);
	CHECK(!find(t, 2, NOW, &why) && why == KEY_EXPIRED);
	c = find(t, 3, INT64_MAX - 2, &why);
	CHECK(c && strcmp(c->name, "bob") == 0 && !c->project);
	CHECK(!find(t, 4, NOW, &why) && why == KEY_DISABLED);
	CHECK(!find(t, 5, NOW, &why) && why == KEY_UNKNOWN);
	client_table_unref(t);
	t = client_table_new();
	CHECK(t && client_table_finish(t) && !find(t, 1, NOW, &why) && why == KEY_UNKNOWN);
	client_table_unref(t);
}

/* The first four bytes choose the place in the table: keys that share them are told apart by the rest. */
static void keys_that_begin_alike_are_told_apart(void)
{
	client_table *t = client_table_new();
	unsigned char hash[CLIENT_HASH_LEN] = { 0xff, 0xff, 0xff, 0xff };
	key_problem why;

	for (unsigned char i = 0; t && i < 9; i++) {
		char name[2] = { (char)('a' + i), '\0' };
		add_client(t, name, NULL);
		client_key *k = client_table_add_key(t);
		if (!k)
			abort();
		hash[CLIENT_HASH_LEN - 1] = i;
		memcpy(k->sha256, hash, sizeof hash);
	}
	CHECK(t && client_table_finish(t));
	for (unsigned char i = 0; i < 10; i++) {
		hash[CLIENT_HASH_LEN - 1] = i;
		const client *c = client_find(t, hash, NOW, &why);
		CHECK(i < 9 ? c && c->name[0] == 'a' + i : !c && why == KEY_UNKNOWN);
	}
	client_table_unref(t);
}

static void a_hundred_thousand_clients_take_little_room(void)
{
	enum { MANY = 100000, ROOM = 64 << 20 };
	size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
	client_table *t = client_table_new();
	key_problem why;

	for (uint64_t i = 0; t && i < MANY; i++) {
		char name[32];
		snprintf(name, sizeof name, "client-%llu-of-a-large-company", (unsigned long long)i);
		client *c = add_client(t, name, "project-with-a-name");
		c->models = list(t, "gpt-*", "claude-sonnet-*");
		c->models_count = 2;
		add_key(t, i, KEY_FOR_EVER);
		add_key(t, i + MANY, KEY_FOR_EVER);
	}
	CHECK(t && client_table_finish(t));
	size_t used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
	printf("  %d clients with two keys each: %zu KiB\n", MANY, used >> 10);
	CHECK(used < ROOM);
	for (uint64_t i = 0; i < MANY; i += 997)
		CHECK(find(t, i, NOW, &why) == &t->clients[i] && find(t, i + MANY, NOW, &why) == &t->clients[i]);
	CHECK(!find(t, 2 * MANY, NOW, &why));
	client_table_unref(t);
}

static void a_client_may_use_what_its_lists_say(void)
{
	static const struct {
		const char *model;
		bool bob;
	} rows[] = { { "gpt-9", true },    { "GPT-9-mini", true }, { "gpt-", true },       { "gpt", false },
		     { "claude-5", true }, { "Claude-5", true },   { "claude-5x", false }, { "", false } };
	client_table *t = some();
	const client *alice = &t->clients[0], *bob = &t->clients[1];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(client_allows_model(bob, slice_cstr(rows[i].model)) == rows[i].bob);
		CHECK(client_allows_model(alice, slice_cstr(rows[i].model)));
	}
	CHECK(client_allows_route(bob, "gpt") && client_allows_route(bob, "legacy") && !client_allows_route(bob, "gp"));
	CHECK(client_allows_route(alice, "anything"));
	client_table_unref(t);
}

/* ---- decisions */

static policy *gateway(bool required)
{
	route_table *t = route_table_new();
	static char gpt5[] = "gpt-5", claude5[] = "claude-5", claude6[] = "claude-6";
	char *models[] = { gpt5, claude5, claude6 };
	static const char *const names[] = { "gpt", "claude" };
	err e;

	if (!t)
		abort();
	for (size_t i = 0; i < 2; i++) {
		route *r = route_table_add(t);
		if (!r)
			abort();
		r->name = strdup(names[i]);
		r->prefix = strdup(i ? "claude-" : "gpt-");
		r->upstream_given = strdup("https://up.test");
		r->models = calloc(2, sizeof *r->models);
		if (!r->models || !upstream_parse(&r->own, slice_cstr(r->upstream_given), &e))
			abort();
		for (size_t n = 0; n <= i; n++)
			r->models[r->models_count++] = strdup(models[i + n]);
		t->enabled++;
	}
	for (size_t i = 0; i < PROTOCOLS; i++)
		if (!upstream_parse(&t->targets[i], SLICE("https://target.test"), &e))
			abort();
	t->require_client = required;
	if (!legs_name(t) || !models_list(t))
		abort();
	policy *p = policy_new(t, some());
	if (!p)
		abort();
	return p;
}

/* What one request is: its key (0: none), method, path and body, and what becomes of it. */
typedef struct asked {
	uint64_t key;
	const char *method, *path, *body;
	refusal refused;
	const char *client; /* NULL: no client's */
} asked;

static void decide_row(const policy *p, const asked *row, llm_request *r, decision *d)
{
	static unsigned char hash[CLIENT_HASH_LEN];
	slice body = slice_cstr(row->body);

	*r = (llm_request){ .sample = { .method = slice_cstr(row->method),
					.path = slice_cstr(row->path),
					.ctype = SLICE_INIT("application/json"),
					.body = body,
					.buffered = body.len,
					.length = body.len,
					.sized = true },
			    .project = SLICE_INIT("forged"),
			    .client = SLICE_INIT("forged"),
			    .contract = CONTRACT,
			    .clients_guarded = true };
	if (row->key) {
		hash_for(row->key, hash);
		r->key = slice_of(hash, sizeof hash);
	}
	decide(p, r, d);
}

static void check_rows(const policy *p, const asked *rows, size_t count)
{
	llm_request r;
	decision d;

	for (size_t i = 0; i < count; i++) {
		const asked *row = &rows[i];
		decide_row(p, row, &r, &d);
		bool good = row->refused == REFUSE_NOT;
		bool ok = d.refusal == row->refused && !d.ask_again &&
			  d.status == refusal_describe(row->refused)->status &&
			  (good ? d.backend.len > 0 || d.answer.len > 0 : d.problem && !d.backend.len) &&
			  (row->client ? slice_eq(r.client, slice_cstr(row->client)) :
			   row->key    ? r.client.len == 0 && r.project.len == 0 :
					 slice_eq(r.client, SLICE("forged")));
		if (!ok)
			printf("  key %d, %s %s %s: %s, client %.*s\n", (int)row->key, row->method, row->path,
			       row->body ? row->body : "", refusal_describe(d.refusal)->code, (int)r.client.len,
			       r.client.ptr);
		CHECK(ok);
		/* Before its body is there, only the key counts. */
		decide_key(p, &r, &d);
		CHECK(d.refusal == (row->refused == REFUSE_KEY ? REFUSE_KEY : REFUSE_NOT));
		CHECK(!d.client == (d.refusal != REFUSE_NOT || !row->key));
	}
}

#define CHAT "POST", "/v1/chat/completions"

static void a_key_decides_who_asks(void)
{
	static const asked rows[] = {
		{ 0, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_NOT, NULL },
		{ 1, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_NOT, "alice" },
		{ 1, CHAT, "{\"model\":\"unrouted\"}", REFUSE_NOT, "alice" },
		{ 2, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_KEY, "alice" }, /* the wall clock is far beyond NOW */
		{ 3, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_NOT, "bob" },
		{ 3, CHAT, "{\"model\":\"claude-5\"}", REFUSE_CLIENT_MODEL, "bob" }, /* of another route */
		{ 3, CHAT, "{\"model\":\"claude-6\"}", REFUSE_CLIENT_MODEL, "bob" },
		{ 3, CHAT, "{\"model\":\"unrouted\"}", REFUSE_CLIENT_MODEL, "bob" },
		{ 3, CHAT, "{}", REFUSE_CLIENT_MODEL, "bob" },
		{ 3, CHAT, "{", REFUSE_INVALID_JSON, "bob" },
		{ 3, "POST", "/v1/files", "x", REFUSE_CLIENT_MODEL, "bob" },
		{ 4, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_KEY, "carol" },
		{ 5, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_KEY, NULL },
		{ 5, CHAT, "{", REFUSE_KEY, NULL },
		{ 5, "GET", "/v1/models", NULL, REFUSE_KEY, NULL },
		{ 1, "GET", "/v1/models", NULL, REFUSE_NOT, "alice" },
		{ 3, "GET", "/v1/models", NULL, REFUSE_NOT, "bob" },
		{ 3, "GET", "/v1/models/gpt-5", NULL, REFUSE_NOT, "bob" },
		{ 3, "GET", "/v1/models/claude-5", NULL, REFUSE_NO_MODEL, "bob" },
		{ 3, "GET", "/v1/models/nothing", NULL, REFUSE_NO_MODEL, "bob" },
	};
	static const asked keyless[] = {
		{ 0, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_KEY, NULL },    { 0, CHAT, "{", REFUSE_KEY, NULL },
		{ 0, "GET", "/v1/models", NULL, REFUSE_KEY, NULL },        { 0, "GET", "/", NULL, REFUSE_KEY, NULL },
		{ 1, CHAT, "{\"model\":\"gpt-5\"}", REFUSE_NOT, "alice" },
	};
	policy *p = gateway(false), *required = gateway(true);

	check_rows(p, rows, sizeof rows / sizeof rows[0]);
	check_rows(required, keyless, sizeof keyless / sizeof keyless[0]);
	policy_unref(p);
	policy_unref(required);
}

static void what_is_no_single_hash_lets_nobody_in(void)
{
	static const unsigned char zeros[2 * CLIENT_HASH_LEN];
	policy *p = gateway(false);
	const client *c;
	const char *problem;

	for (size_t len = 0; len <= sizeof zeros; len++) {
		llm_request r = { .clients_guarded = true, .key = slice_of(unit_guarded(zeros, len), len) };
		refusal why = admit(p, &r, &c, &problem);
		CHECK(why == (len ? REFUSE_KEY : REFUSE_NOT) && !c);
	}
	unsigned char hash[CLIENT_HASH_LEN];
	hash_for(1, hash);
	llm_request r = { .clients_guarded = true, .keys_differ = true, .key = slice_of(hash, sizeof hash) };
	CHECK(admit(p, &r, &c, &problem) == REFUSE_KEYS && !c && problem);
	r.keys_differ = r.clients_guarded = false;
	CHECK(admit(p, &r, &c, &problem) == REFUSE_CONTRACT && !c && problem);
	r.key = (slice){ NULL, 0 };
	CHECK(admit(p, &r, &c, &problem) == REFUSE_CONTRACT && !c && problem);
	policy_unref(p);
}

static void a_client_sees_the_models_that_it_may_use(void)
{
	static const char *const paths[] = { "/v1/models", "/v1/models", "/v1beta/models" };
	policy *p = gateway(true);
	const model_list *l = &p->table->listed;
	llm_request r;
	decision d;
	char out[1024];

	for (size_t i = 0; i < PROTOCOLS; i++) {
		asked bob = { 3, "GET", paths[i], NULL, REFUSE_NOT, "bob" },
		      alice = { 1, "GET", paths[i], NULL, REFUSE_NOT, "alice" };
		decide_row(p, &alice, &r, &d);
		CHECK(d.answer.ptr && slice_eq(d.answer, models_answer(l, d.caller, NULL)));
		decide_row(p, &bob, &r, &d);
		CHECK(!d.answer.ptr && d.answer.len < sizeof out && d.listed == l);
		size_t len = models_write(l, (protocol)i, d.client, out);
		out[len] = '\0';
		CHECK(len == models_write(l, (protocol)i, d.client, NULL));
		CHECK(strstr(out, "gpt-5") && !strstr(out, "claude-"));
		client nobody = *d.client;
		nobody.models_count = 0;
		len = models_write(l, (protocol)i, &nobody, out);
		out[len] = '\0';
		CHECK(strstr(out, "[]") && len == models_write(l, (protocol)i, &nobody, NULL));
	}
	policy_unref(p);
}

int main(void)
{
	RUN(a_key_finds_its_client);
	RUN(keys_that_begin_alike_are_told_apart);
	RUN(a_hundred_thousand_clients_take_little_room);
	RUN(a_client_may_use_what_its_lists_say);
	RUN(a_key_decides_who_asks);
	RUN(what_is_no_single_hash_lets_nobody_in);
	RUN(a_client_sees_the_models_that_it_may_use);
	return unit_end();
}
