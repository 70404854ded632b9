/* SPDX-License-Identifier: MIT
 *
 * A route's pool: its members, and the keys that say how HAProxy chooses among them. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/hash.h"
#include "config/routes_impl.h"
#include "decide/backend_name.h"

/* Returns the default of `retry_on`: the statuses with which an upstream says that it ran no model. */
static unsigned usual_statuses(void)
{
	return pool_status_bit(429) | pool_status_bit(503) | pool_status_bit(529);
}

/* Returns the pool of the route, and makes it when the first key about a pool is read. NULL: out of memory. */
static pool *pool_of(route *r)
{
	if (!r->pool && (r->pool = calloc(1, sizeof *r->pool))) {
		r->pool->retry_on = usual_statuses();
		r->pool->retries = POOL_MEMBERS_MAX;
	}
	return r->pool;
}

bool read_pool(const problems *to, route *r, const cJSON *item, place p)
{
	int members = cJSON_IsArray(item) ? cJSON_GetArraySize(item) : 0;

	if (!to->strict)
		return problem(to, p, "it is ignored", "\"pool\" is for routes in the configuration file");
	if (!pool_of(r))
		return err_memory(to->e);
	if (members < 1 || members > POOL_MEMBERS_MAX)
		return problem(to, p, "", "\"pool\" must be an array of 1 to %d members", POOL_MEMBERS_MAX);
	return true;
}

bool read_balance(const problems *to, route *r, const cJSON *item, place p)
{
	static const char *const names[] = {
		[BALANCE_FIRST] = "first", [BALANCE_WEIGHTED] = "weighted", [BALANCE_LEAST] = "least"
	};

	if (!pool_of(r))
		return err_memory(to->e);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (cJSON_IsString(item) && strcmp(item->valuestring, names[i]) == 0) {
			r->pool->balance = (balance)i;
			return true;
		}
	return problem(to, p, "first is used", "\"balance\" must be \"first\", \"weighted\" or \"least\"");
}

bool read_retry_on(const problems *to, route *r, const cJSON *item, place p)
{
	int index = 0;

	if (!pool_of(r))
		return err_memory(to->e);
	if (!cJSON_IsArray(item))
		return problem(to, p, "it is ignored", "\"retry_on\" must be an array of statuses");
	r->pool->retry_on = 0;
	for (const cJSON *one = item->child; one; one = one->next, index++) {
		double value = cJSON_IsNumber(one) ? one->valuedouble : 0;
		unsigned bit = value == (double)(int)value ? pool_status_bit((int)value) : 0;
		if (!bit && !problem(to, place_child(p, index, false), "it is ignored",
				     "\"retry_on\" takes 429, 500, 502, 503, 504 and 529"))
			return false;
		r->pool->retry_on |= bit;
	}
	return true;
}

bool read_retries(const problems *to, route *r, const cJSON *item, place p)
{
	return pool_of(r) ? read_number(to, &r->pool->retries, item, p,
					(number_range){ "retries", "further members", 0, POOL_MEMBERS_MAX - 1 }) :
			    err_memory(to->e);
}

bool read_pool_header(const problems *to, route *r, const cJSON *item, place p)
{
	if (!pool_of(r))
		return err_memory(to->e);
	if (!cJSON_IsBool(item))
		return problem(to, p, "it is ignored", "\"pool_header\" must be true or false");
	r->pool->tells_client = cJSON_IsTrue(item);
	return true;
}

bool read_weight(const problems *to, route *r, const cJSON *item, place p)
{
	return read_number(to, &r->weight, item, p, (number_range){ "weight", "", 1, MEMBER_WEIGHT_MAX });
}

bool read_member_name(const problems *to, route *r, const cJSON *item, place p)
{
	const char *text = cJSON_IsString(item) ? item->valuestring : "";
	size_t len = strlen(text);

	if (len == 0 || len > MEMBER_NAME_MAX || *text == '-' ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len)
		return problem(
			to, p, "the upstream's host is used",
			"the \"name\" of a member must be 1 to %d lower-case letters, digits and dashes, and no dash first",
			MEMBER_NAME_MAX);
	free(r->member);
	r->member = strdup(text);
	return r->member ? true : err_memory(to->e);
}

/* ---- the members */

/* Returns the position of `key` in the object; -1: the object does not have it. */
static int index_of(const cJSON *object, const char *key)
{
	int index = 0;

	for (const cJSON *item = object->child; item; item = item->next, index++)
		if (strcmp(item->string, key) == 0)
			return index;
	return -1;
}

/* Names a member that has no `name` after its upstream's host. */
static bool name_by_host(const problems *to, route *r)
{
	r->member = strndup(r->own.host ? r->own.host : "unnamed", MEMBER_NAME_MAX);
	if (!r->member)
		return err_memory(to->e);
	for (char *c = r->member; *c; c++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-", *c))
			*c = '-';
	if (*r->member == '-') /* of ::1 */
		*r->member = '0';
	return true;
}

/* Reads `item`, an entry of the owner's `pool`, into a new member at the end of t's members. */
static bool add_member(const problems *to, route_table *t, const route *owner, const cJSON *item, place p)
{
	route *r = route_table_add_member(t);
	pool *of = owner->pool;

	if (!r)
		return err_memory(to->e);
	of->count++;
	r->owner = (size_t)(owner - t->routes);
	if (!cJSON_IsObject(item)) {
		r->enabled = false;
		return problem(to, p, "", "a member of a pool must be an object");
	}
	if (!read_member(to, t, owner, r, item, p) || (!r->member && !name_by_host(to, r)))
		return false;
	if (asprintf(&r->name, "%s/%s", owner->name, r->member) < 0) {
		r->name = NULL;
		return err_memory(to->e);
	}
	if (!r->upstream_given && !problem(to, p, "", "a member of a pool needs an \"upstream\""))
		return false;
	bool replaces = r->auth.kind != AUTH_PASSTHROUGH;
	if (of->count == 1)
		of->replaces = replaces;
	if (of->replaces != replaces &&
	    !problem(
		    to, p, "",
		    "the members of a pool must all replace the client's credential (\"auth\" is env: or file:), or must all "
		    "pass it through: this member differs from the first one"))
		return false;
	for (size_t i = of->first; i + 1 < of->first + of->count; i++)
		if (t->members[i].member && strcmp(t->members[i].member, r->member) == 0)
			return problem(to, p, "",
				       "the pool has another member named \"%s\": give this one a \"name\" of its own",
				       r->member);
	return true;
}

/* Makes the name of the pool's backend: pool.ROUTE, or pool.ROUTE-HASH if the route's name has characters that HAProxy
 * does not take, each of which becomes a dash. */
static bool name_backend(const problems *to, route *r)
{
	static const hash_key fixed; /* the same name at each start, because `spoa-llm backends` prints it */
	char shown[ROUTE_NAME_MAX + 1];
	pool *of = r->pool;

	snprintf(shown, sizeof shown, "%s", r->name);
	for (char *c = shown; *c; c++)
		if (!backend_name_valid(slice_of(c, 1)))
			*c = '-';
	bool same = strcmp(shown, r->name) == 0;
	uint32_t hash = (uint32_t)hash_of(&fixed, 0, slice_cstr(r->name));
	int len = same ? asprintf(&of->backend, "pool.%s", shown) :
			 asprintf(&of->backend, "pool.%s-%08" PRIx32, shown, hash);
	if (len < 0)
		of->backend = NULL;
	return of->backend ? true : err_memory(to->e);
}

bool read_members(const problems *to, route_table *t, route *r, const cJSON *object, place where)
{
	static const char *const of_pool[] = { "balance", "retry_on", "retries", "pool_header" };
	int at = index_of(object, "pool"), index = 0;

	if (!r->pool)
		return true;
	for (size_t i = 0; i < sizeof of_pool / sizeof of_pool[0] && at < 0; i++)
		if (index_of(object, of_pool[i]) >= 0 &&
		    !problem(to, place_child(where, index_of(object, of_pool[i]), true), "it is ignored",
			     "\"%s\" is for a route with a \"pool\"", of_pool[i]))
			return false;
	const cJSON *array = at < 0 ? NULL : cJSON_GetArrayItem(object, at);
	if (!cJSON_IsArray(array) || !to->strict) {
		free(r->pool);
		r->pool = NULL;
		return true;
	}
	free(r->upstream_given); /* an "upstream" beside "pool" is an error, which was reported before */
	upstream_deinit(&r->own);
	r->upstream_given = strdup("");
	r->pool->first = t->members_count;
	if (!r->upstream_given)
		return err_memory(to->e);
	if (!name_backend(to, r))
		return false;
	for (const cJSON *item = array->child; item && index < POOL_MEMBERS_MAX; item = item->next, index++)
		if (!add_member(to, t, r, item, place_child(place_child(where, at, false), index, false)))
			return false;
	return true;
}

/* ---- checks that need the whole table */

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* True if the two members would ask one upstream with one credential. */
static bool same_member(const route_table *t, const route *a, const route *b)
{
	return strcmp(route_backend(t, a), route_backend(t, b)) == 0 && a->auth.kind == b->auth.kind &&
	       a->auth.header == b->auth.header && same_text(a->auth.source, b->auth.source);
}

/* Sets the backend of the member of index `m`, and checks the member. `p`: the place of its route. */
static bool check_member(route_table *t, size_t m, const problems *to, place p)
{
	route *r = &t->members[m];
	const pool *of = t->routes[r->owner].pool;

	if (!set_own_backend(t, r, to->e) || !check_backend(t, t->count + m, to, p))
		return false;
	warn_cleartext(t, r);
	for (size_t i = of->first; i < m; i++)
		if (route_upstream(t, r) && route_upstream(t, &t->members[i]) && same_member(t, r, &t->members[i]))
			return problem(to, p, "", "the members \"%s\" and \"%s\" have the same upstream and credential",
				       t->members[i].member, r->member);
	return true;
}

bool check_members(route_table *t, place where, const problems *to)
{
	for (size_t m = 0; m < t->members_count; m++) {
		const route *owner = &t->routes[t->members[m].owner];
		if (t->members[m].enabled && !check_member(t, m, to, place_child(where, (int)owner->entry - 1, false)))
			return false;
	}
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		for (size_t n = 0; r->enabled && r->pool && n < routes_total(t); n++) {
			const route *other = routes_at(t, n);
			const char *name = other->enabled && !other->pool ? route_backend(t, other) : NULL;
			if (name && strcmp(name, r->pool->backend) == 0 &&
			    !problem(to, place_child(where, (int)r->entry - 1, false), "",
				     "\"%s\" is the backend of this route's pool: give %s another \"backend\"", name,
				     other->name))
				return false;
		}
	}
	return true;
}
