/* SPDX-License-Identifier: MIT
 *
 * Pools. The input is a list of steps: a request, the question of a member's leg, a member that declines, a credential
 * that comes or goes. Checked: no answer to a request has an operator's credential in it; the members that are passed
 * over are those that rest, lack their credential or do not release the request, and no others; a request is refused if
 * and only if no member is left, and by the reason that counts most; a leg gets its member's own credential, or none
 * and a refusal; what declines rests for a time that has bounds, and no other member does. */
#include <stdatomic.h>

#include "base/clock.h"
#include "decide/decision.h"
#include "decide/leg.h"
#include "fuzz_ack.h"

enum { POOLS = 4, MANY = 16, MEMBERS = 3 + 2 + 2 + MANY, LONGEST = 300000 };

/* The members of the first three pools; those of the last one have the longest names. */
static const struct {
	const char *name, *variable;
	auth_header header;
	bool files; /* `paths` has "GET /v1/files" */
} named[MEMBERS - MANY] = {
	{ "a", "FUZZ_POOL_A", HEADER_AUTHORIZATION, false },
	{ "b", "FUZZ_POOL_B", HEADER_API_KEY, true },
	{ "c", "FUZZ_POOL_C", HEADER_X_API_KEY, false },
	{ "x", NULL, HEADER_AUTHORIZATION, false },
	{ "y", NULL, HEADER_AUTHORIZATION, false },
	{ "one", "FUZZ_POOL_A", HEADER_AUTHORIZATION, true },
	{ "two", "FUZZ_POOL_D", HEADER_AUTHORIZATION, false },
};

static const struct {
	const char *prefix;
	size_t first, count;
} pools[POOLS] = { { "gpt-", 0, 3 }, { "own-", 3, 2 }, { "two-", 5, 2 }, { "many-", 7, MANY } };

/* What is asked, and along with what an operator's credential goes. */
static const struct {
	const char *method, *path;
	enum { ALWAYS, BY_PATHS, NEVER } goes;
} requests[] = {
	{ "POST", "/v1/chat/completions", ALWAYS },
	{ "POST", "/v1/messages", ALWAYS },
	{ "GET", "/v1/models/gpt-1", ALWAYS },
	{ "GET", "/v1/files/f", BY_PATHS },
	{ "POST", "/v1/files", NEVER },
	{ "DELETE", "/v1/chat/completions", NEVER },
};

static route_table *table;
static policy *the_policy;

static void secret_of(size_t member, char out[64])
{
	snprintf(out, 64, "sk-secret-of-member-%02zu-0123456789", member);
}

static bool has_variable(size_t m)
{
	return m >= MEMBERS - MANY || named[m].variable;
}

/* The variables of two members with one variable are the same one, and so is its value. */
static const char *variable_of(size_t m, char room[32])
{
	if (m < MEMBERS - MANY)
		return named[m].variable;
	snprintf(room, 32, "FUZZ_POOL_MANY_%zu", m);
	return room;
}

static size_t owner_of(size_t m)
{
	return m == 5 ? 0 : m; /* `one` has the variable of `a` */
}

static void set_credential(size_t m, bool there)
{
	char room[32], secret[64];

	if (!has_variable(m))
		return;
	secret_of(owner_of(m), secret);
	if (there)
		HOLDS(setenv(variable_of(m, room), secret, 1) == 0);
	else
		HOLDS(unsetenv(variable_of(m, room)) == 0);
	/* As a policy reads it, and for each member that has this variable. */
	for (size_t i = 0; i < MEMBERS; i++)
		if (has_variable(i) && owner_of(i) == owner_of(m))
			secret_variable(&the_policy->secrets[table->count + i], variable_of(i, room));
}

static void add_member(size_t m, size_t pool_at)
{
	route *r = route_table_add_member(table);
	char url[64], room[32], name[64];
	err e;

	HOLDS(r);
	snprintf(name, sizeof name, "a-name-of-thirty-two-bytes-%05zu", m);
	snprintf(url, sizeof url, "https://u%zu.test", m);
	r->member = strdup(m < MEMBERS - MANY ? named[m].name : name);
	r->name = strdup(r->member);
	r->owner = pool_at;
	r->weight = 1;
	r->upstream_given = strdup(url);
	HOLDS(strlen(r->member) <= MEMBER_NAME_MAX && upstream_parse(&r->own, slice_cstr(url), &e));
	if (has_variable(m))
		r->auth = (credential){ AUTH_ENV, strdup(variable_of(m, room)),
					m < MEMBERS - MANY ? named[m].header : HEADER_AUTHORIZATION };
	if (m < MEMBERS - MANY && named[m].files) {
		r->paths = calloc(1, sizeof *r->paths);
		HOLDS(r->paths);
		r->paths[r->paths_count++] = (path_rule){ strdup("GET"), strdup("/v1/files") };
	}
}

static void make(void)
{
	static const char *const targets[PROTOCOLS] = { "https://o.test", "https://a.test", "https://g.test" };
	err e;

	table = route_table_new();
	HOLDS(table);
	for (size_t i = 0; i < POOLS; i++) {
		route *r = route_table_add(table);
		HOLDS(r);
		r->name = strdup(pools[i].prefix);
		r->prefix = strdup(pools[i].prefix);
		r->upstream_given = strdup(""); /* it has none of its own */
		r->pool = calloc(1, sizeof *r->pool);
		HOLDS(r->pool);
		*r->pool = (pool){
			.first = pools[i].first, .count = pools[i].count, .retry_on = 1, .replaces = i != 1
		};
		HOLDS(asprintf(&r->pool->backend, "pool.%zu", i) > 0);
		for (size_t m = 0; m < pools[i].count; m++)
			add_member(pools[i].first + m, i);
		table->enabled++;
	}
	HOLDS(table->members_count == MEMBERS);
	for (size_t i = 0; i < POOLS; i++)
		table->routes[i].pool->members = table->members + pools[i].first;
	for (size_t i = 0; i < PROTOCOLS; i++)
		HOLDS(upstream_parse(&table->targets[i], slice_cstr(targets[i]), &e));
	table->refusal_status = 502;
	HOLDS(legs_name(table));
	the_policy = policy_new(table, NULL);
	HOLDS(the_policy);
}

static spop_message message(unsigned char *room, spop_writer *w, unsigned char *count_at, unsigned count,
			    cursor *messages)
{
	spop_message m;

	HOLDS(!w->overflow);
	*count_at = (unsigned char)count;
	*messages = cursor_of(slice_of(room, (size_t)(w->pos - room)));
	HOLDS(spop_message_next(messages, &m));
	return m;
}

/* Says, in another way than member_passed_over(), why the member is not offered a request. */
static refusal why_not(size_t m, size_t asked, int64_t now)
{
	const route *r = &table->members[m];
	bool files = m < MEMBERS - MANY && named[m].files;
	char room[32];

	if (has_variable(m) && requests[asked].goes != ALWAYS && !(requests[asked].goes == BY_PATHS && files))
		return REFUSE_ENDPOINT;
	if (has_variable(m) && !getenv(variable_of(m, room)))
		return REFUSE_AUTH_UNAVAILABLE;
	return atomic_load(&r->rest->until_ms) > now ? REFUSE_RESTING : REFUSE_NOT;
}

static void check_refusal(const answer *a, const size_t reasons[REFUSALS])
{
	refusal most = reasons[REFUSE_RESTING]          ? REFUSE_RESTING :
		       reasons[REFUSE_AUTH_UNAVAILABLE] ? REFUSE_AUTH_UNAVAILABLE :
							  REFUSE_ENDPOINT;

	HOLDS(reasons[REFUSE_NOT] == 0 && slice_eq(a->code, slice_cstr(refusal_describe(most)->code)));
	HOLDS(a->auth_value.len == 0 && a->backend.len == 0 && a->rest.len == 0);
	if (most != REFUSE_RESTING)
		HOLDS(a->status == (uint64_t)refusal_describe(most)->status && a->retry_after == 0);
	else
		HOLDS((a->status == 429 || a->status == 503 || a->status == 529) && a->retry_after >= 1 &&
		      a->retry_after <= LONGEST / 1000);
}

static void ask(cursor *c, bool small)
{
	static unsigned char room[1024], out[1 << 16];
	size_t pool_at = cursor_u8(c) % POOLS, asked = cursor_u8(c) % (sizeof requests / sizeof requests[0]);
	const pool *of = table->routes[pool_at].pool;
	char body[64], expected[POOL_MEMBERS_MAX * (MEMBER_NAME_MAX + 1)] = "", secret[64];
	size_t reasons[REFUSALS] = { 0 };
	unsigned count = 0;
	cursor messages;
	spop_session s;
	llm_request r;
	decision d;
	answer a;
	bool fell_back;
	spop_writer w = { room, room, room + sizeof room, false };

	snprintf(body, sizeof body, "{\"model\":\"%s1\"}", pools[pool_at].prefix);
	spop_put_name(&w, SLICE(REQUEST_MESSAGE));
	unsigned char *count_at = w.pos;
	spop_put_u8(&w, 0);
	put_arg(&w, &count, SLICE("method"), slice_cstr(requests[asked].method));
	put_arg(&w, &count, SLICE("path"), slice_cstr(requests[asked].path));
	put_arg(&w, &count, SLICE("ctype"), SLICE("application/json"));
	put_arg(&w, &count, SLICE("body"), slice_cstr(body));
	put_arg(&w, &count, SLICE("headers"), SLICE("host,content-type"));
	put_number(&w, &count, SLICE("flags"), 0);
	spop_message m = message(room, &w, count_at, count, &messages);
	request_read(&r, &m);

	int64_t before = clock_mono_ms();
	decide(the_policy, &r, &d);
	int64_t after = clock_mono_ms();
	spop_session_init(&s, small ? 256 : 16384, true);
	size_t cap = decision_ack_room(&d);
	HOLDS(cap <= sizeof out);
	size_t wrote = decision_ack(&d, &s, out, cap, 300, 1, &fell_back);
	HOLDS(wrote > 0 && wrote <= cap && (small || !fell_back));
	for (size_t i = 0; i < MEMBERS; i++) {
		secret_of(i, secret);
		HOLDS(!memmem(out, wrote, secret, strlen(secret)));
	}
	if (d.route != &table->routes[pool_at] || fell_back) /* GET .../models/gpt-1 names a model of another pool */
		return;
	for (size_t i = 0; i < of->count; i++) {
		refusal why = why_not(of->first + i, asked, before);
		if (why != why_not(of->first + i, asked, after)) /* a rest ended just now */
			return;
		reasons[why]++;
		if (why != REFUSE_NOT)
			snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%s",
				 *expected ? "," : "", of->members[i].member);
	}
	read_ack(out, wrote, s.max_frame, &a);
	if (a.denied) {
		check_refusal(&a, reasons);
		return;
	}
	HOLDS(reasons[REFUSE_NOT] > 0 && slice_eq(a.rest, slice_cstr(expected)));
	HOLDS(slice_eq(a.backend, slice_cstr(of->backend)) && a.code.len == 0);
	HOLDS(slice_eq(a.auth, of->replaces ? SLICE("replace") : SLICE("passthrough")));
	HOLDS(of->replaces ? slice_eq(a.auth_value, SLICE("Bearer pool")) : a.auth_value.len == 0);
}

/* The name of a member's leg, or nearly. Returns the member that has it; MEMBERS: none has. */
static size_t leg_name(cursor *c, char name[LEG_NAME_MAX + 1])
{
	size_t m = cursor_u8(c) % MEMBERS;
	uint8_t change = cursor_u8(c);

	snprintf(name, LEG_NAME_MAX + 1, "%s", table->members[m].leg);
	if (change & 128)
		name[change % strlen(name)] ^= 1;
	return change & 128 ? MEMBERS : m;
}

static void ask_leg(cursor *c)
{
	static unsigned char room[256], out[LEG_ACK_MAX];
	char name[LEG_NAME_MAX + 1], secret[64], variable[32];
	unsigned count = 0;
	cursor messages;
	spop_session s;
	leg_answer told;
	answer a;
	size_t m = leg_name(c, name);
	spop_writer w = { room, room, room + sizeof room, false };

	spop_put_name(&w, SLICE("llm-member"));
	unsigned char *count_at = w.pos;
	spop_put_u8(&w, 0);
	put_arg(&w, &count, SLICE("member"), slice_cstr(name));
	spop_message asked = message(room, &w, count_at, count, &messages);
	int64_t before = clock_mono_ms();
	leg_decide(the_policy, &asked, &told);
	int64_t after = clock_mono_ms();
	spop_session_init(&s, 16384, true);
	size_t len = leg_ack(&told, &s, out, sizeof out, 300, 1);
	HOLDS(len > 0);
	read_ack(out, len, s.max_frame, &a);
	for (size_t i = 0; i < MEMBERS; i++) {
		secret_of(i, secret);
		HOLDS((m < MEMBERS && owner_of(m) == i) || !memmem(out, len, secret, strlen(secret)));
	}
	if (m == MEMBERS) {
		HOLDS(a.denied && a.status == 502);
		return;
	}
	const route *r = &table->members[m];
	bool lacks = has_variable(m) && !getenv(variable_of(m, variable));
	int64_t until = atomic_load(&r->rest->until_ms);
	if (until > after) {
		HOLDS(a.denied && slice_eq(a.code, SLICE("upstream_resting")) && a.retry_after >= 1);
	} else if (until <= before && lacks) {
		HOLDS(a.denied && slice_eq(a.code, SLICE("upstream_auth_unavailable")));
	} else if (until <= before) {
		secret_of(owner_of(m), secret);
		HOLDS(!a.denied && slice_eq(a.backend, slice_cstr(route_backend(table, r))));
		HOLDS(slice_ends(a.auth_value, has_variable(m) ? slice_cstr(secret) : SLICE("")));
		HOLDS(has_variable(m) || a.auth_value.len == 0);
		HOLDS(!has_variable(m) || slice_eq(a.auth_header, slice_cstr(auth_header_name(r->auth.header))));
	}
	HOLDS(!a.denied || (a.auth_value.len == 0 && a.backend.len == 0));
}

static void decline(cursor *c)
{
	static const uint16_t statuses[] = { 429, 503, 529, 500, 200 };
	static unsigned char room[512];
	char name[LEG_NAME_MAX + 1];
	int64_t until[MEMBERS];
	unsigned count = 0;
	cursor messages;
	leg_decline d;
	size_t m = leg_name(c, name);
	int status = statuses[cursor_u8(c) % 5];
	slice retry_after = cursor_take(c, cursor_u8(c) & 63);
	spop_writer w = { room, room, room + sizeof room, false };

	spop_put_name(&w, SLICE("llm-declined"));
	unsigned char *count_at = w.pos;
	spop_put_u8(&w, 0);
	put_arg(&w, &count, SLICE("member"), slice_cstr(name));
	put_number(&w, &count, SLICE("status"), (uint64_t)status);
	put_arg(&w, &count, SLICE("retry_after"), retry_after);
	spop_message said = message(room, &w, count_at, count, &messages);
	const route *rests = leg_declined(the_policy, &said, &d);
	bool for_all = m < MEMBERS && (has_variable(m) || status != 429);
	HOLDS(rests == (for_all ? &table->members[m] : NULL));
	if (!rests)
		return;
	for (size_t i = 0; i < MEMBERS; i++)
		until[i] = atomic_load(&table->members[i].rest->until_ms);
	int64_t now = clock_mono_ms();
	bool rested = rest_left(rests->rest, now) > 0,
	     begins = rest_declined(rests->rest, status, d.retry_after, now, clock_wall_ms());
	int64_t left = rest_left(rests->rest, now);
	HOLDS(left > 0 && left <= LONGEST && (rested || left >= 1000) && begins == !rested);
	HOLDS(now + left >= until[m]); /* no rest becomes shorter */
	for (size_t i = 0; i < MEMBERS; i++)
		HOLDS(table->members[i].rest == rests->rest ||
		      atomic_load(&table->members[i].rest->until_ms) == until[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cursor c = cursor_of(slice_of(data, size));

	if (!the_policy)
		make();
	for (size_t m = 0; m < MEMBERS; m++) {
		member_rest *rest = table->members[m].rest;
		set_credential(m, true);
		atomic_store(&rest->until_ms, 0);
		atomic_store(&rest->guesses, 0);
		atomic_store(&rest->status, 0);
	}
	while (!c.failed && cursor_left(&c)) {
		uint8_t step = cursor_u8(&c);
		switch (step & 3) {
		case 0:
			ask(&c, step & 128);
			break;
		case 1:
			ask_leg(&c);
			break;
		case 2:
			decline(&c);
			break;
		case 3:
			set_credential(cursor_u8(&c) % MEMBERS, step & 4);
			break;
		}
	}
	return 0;
}
