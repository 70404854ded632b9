/* SPDX-License-Identifier: MIT */
#include "report/explain_pool.h"

#include "base/clock.h"

static const char *const balance_names[] = {
	[BALANCE_FIRST] = "first", [BALANCE_WEIGHTED] = "weighted", [BALANCE_LEAST] = "least"
};

/* What is said of one member. */
typedef struct told {
	const route *member;
	char url[UPSTREAM_URL_MAX * 4], auth[CREDENTIAL_SOURCE_MAX];
	char passed_over[200]; /* why the request is not offered to the member; "": it is offered */
} told;

/* Sets `*to` to what is said of the pool's `i`th member for a request for `path`. */
static void ask(const policy *p, const decision *d, slice path, size_t i, told *to)
{
	size_t m = d->route->pool->first + i;
	const upstream *u = route_upstream(p->table, &p->table->members[m]);
	int64_t now_ms = clock_mono_ms();
	const char *problem = "";
	decision own = *d;

	to->member = &p->table->members[m];
	upstream_url_for(u, path, to->url, sizeof to->url);
	credential_describe(&to->member->auth, to->auth, sizeof to->auth);
	to->passed_over[0] = '\0';
	refusal why = member_passed_over(p, m, now_ms, &own);
	if (why == REFUSE_AUTH_UNAVAILABLE) {
		(void)credential_read(&to->member->auth, &p->secrets[p->table->count + m], &problem);
		snprintf(to->passed_over, sizeof to->passed_over, "no credential: %s", problem);
	} else if (why == REFUSE_RESTING) {
		snprintf(to->passed_over, sizeof to->passed_over,
			 "rests for %lld more seconds, because its upstream answered %d",
			 (long long)(rest_left(to->member->rest, now_ms) + 999) / 1000, rest_status(to->member->rest));
	} else if (why != REFUSE_NOT) {
		snprintf(to->passed_over, sizeof to->passed_over,
			 "this method and path run no model, and its \"paths\" does not name them");
	}
}

/* Returns how many members a request may try after the first one. */
static unsigned further(const pool *of)
{
	return of->retries < of->count ? of->retries : (unsigned)of->count - 1;
}

void explain_pool_json(cJSON *json, const policy *p, const decision *d, slice path)
{
	const pool *of = d->route->pool;
	cJSON *out = cJSON_AddObjectToObject(json, "pool"), *members, *statuses;
	told to;

	cJSON_AddStringToObject(out, "balance", balance_names[of->balance]);
	statuses = cJSON_AddArrayToObject(out, "retry_on");
	for (unsigned i = 0; i < POOL_STATUSES; i++)
		if (of->retry_on & 1u << i)
			cJSON_AddItemToArray(statuses, cJSON_CreateNumber(pool_statuses[i]));
	cJSON_AddNumberToObject(out, "retries", further(of));
	members = cJSON_AddArrayToObject(out, "members");
	for (size_t i = 0; i < of->count; i++) {
		cJSON *one = cJSON_CreateObject();
		ask(p, d, path, i, &to);
		cJSON_AddStringToObject(one, "name", to.member->member);
		cJSON_AddStringToObject(one, "backend", route_backend(p->table, to.member));
		cJSON_AddStringToObject(one, "upstream", to.url);
		cJSON_AddStringToObject(one, "auth", to.auth);
		cJSON_AddStringToObject(one, "auth_header", auth_header_name(to.member->auth.header));
		cJSON_AddNumberToObject(one, "weight", to.member->weight);
		cJSON_AddBoolToObject(one, "offered", !*to.passed_over);
		if (*to.passed_over)
			cJSON_AddStringToObject(one, "passed_over", to.passed_over);
		cJSON_AddItemToArray(members, one);
	}
}

void explain_pool_text(FILE *f, const policy *p, const decision *d, slice path)
{
	static const char *const how[] = { [BALANCE_FIRST] = "the first of",
					   [BALANCE_WEIGHTED] = "by weight, one of",
					   [BALANCE_LEAST] = "the least busy of" };
	const pool *of = d->route->pool;
	told to;

	fprintf(f, "pool:      %s these %zu", how[of->balance], of->count);
	if (further(of)) {
		fprintf(f, "; if it cannot be reached%s", of->retry_on ? " or answers" : "");
		for (unsigned i = 0; i < POOL_STATUSES; i++)
			if (of->retry_on & 1u << i)
				fprintf(f, " %d", pool_statuses[i]);
		fprintf(f, ", another one, at most %u in all", further(of) + 1);
	}
	fprintf(f, "\n");
	for (size_t i = 0; i < of->count; i++) {
		ask(p, d, path, i, &to);
		fprintf(f, "           %-16s %s %s", to.member->member, to.url, to.auth);
		if (of->balance != BALANCE_FIRST)
			fprintf(f, ", weight %u", to.member->weight);
		fprintf(f, "%s%s\n", *to.passed_over ? ": PASSED OVER, " : "", to.passed_over);
	}
}
