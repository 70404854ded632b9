/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm client list` and `show`. */
#include "commands/client.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/sum.h"
#include "budget/period.h"
#include "report/ledger_store.h"
#include "report/print.h"

int client_read(const config *c, bool missing, client_table **t)
{
	err_list all = { .items = NULL };
	err e = { 0 };

	*t = NULL;
	if (!*c->clients) {
		fprintf(stderr, "spoa-llm: the option \"clients\" names no file: set it, or give --clients FILE\n");
		return EX_CONFIG;
	}
	if (missing && access(c->clients, F_OK) != 0 && errno == ENOENT) {
		*t = client_table_new();
		if (*t && client_table_finish(*t))
			return EX_OK;
		client_table_unref(*t);
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	*t = clients_load(c->clients, &all, &e);
	for (size_t i = 0; i < all.count; i++)
		fprintf(stderr, "spoa-llm: %s\n", all.items[i].text);
	if (!*t && all.count == 0)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	err_list_deinit(&all);
	return *t ? EX_OK : e.kind == ERR_MEMORY ? EX_OSERR : EX_CONFIG;
}

const client *client_named(const client_table *t, const char *name)
{
	err e;

	for (uint32_t i = 0; i < t->count; i++)
		if (strcmp(t->clients[i].name, name) == 0)
			return &t->clients[i];
	if (client_name_check(slice_cstr(name), &e)) /* a key in the place of a name is not repeated */
		err_set(&e, "there is no client \"%s\"; `spoa-llm client list` shows all", name);
	fprintf(stderr, "spoa-llm: %s\n", e.text);
	return NULL;
}

void client_expires(int64_t expires_ms, char out[RFC3339_TEXT])
{
	if (expires_ms == KEY_FOR_EVER)
		snprintf(out, RFC3339_TEXT, "never");
	else
		rfc3339_write(expires_ms, out);
}

/* Returns when the first of the keys that are still good expires; KEY_FOR_EVER: none of them does. */
static int64_t earliest(const client_table *t, const client *c, int64_t now)
{
	int64_t first = KEY_FOR_EVER;

	for (uint32_t i = 0; i < c->keys_count; i++) {
		int64_t one = t->keys[c->first_key + i].expires_ms;
		if (one > now && one < first)
			first = one;
	}
	return first;
}

/* Counts the keys that are still good. */
static uint32_t good_keys(const client_table *t, const client *c, int64_t now)
{
	uint32_t good = 0;

	for (uint32_t i = 0; i < c->keys_count; i++)
		good += t->keys[c->first_key + i].expires_ms > now;
	return good;
}

static const char *limit_text(char *out, uint64_t n)
{
	return n ? print_count(out, (int64_t)n) : "-";
}

/* Writes "$12.50/month", or "-". */
static const char *budget_text(char out[PRINT_NUMBER + 8], const client_limits *l)
{
	char money[PRINT_NUMBER];

	if (l->budget_nano == BUDGET_NONE)
		return "-";
	snprintf(out, PRINT_NUMBER + 8, "%s/%s", print_amount(money, l->budget_nano), client_periods[l->period]);
	return out;
}

/* ---- what was spent, by the ledger */

/* Opens the ledger; no agent need run. NULL: none is kept, or what was spent cannot be known, which was said. */
static store *open_ledger(const config *c)
{
	int code;
	err e;

	if (!*c->ledger)
		return NULL;
	store *s = ledger_store_open(c->ledger, false, false, &code, &e);
	if (!s)
		fprintf(stderr, "spoa-llm: what was spent is not known: %s\n", e.text);
	return s;
}

/* What a client or project spent in its period so far. */
typedef struct spending_view {
	int64_t here, elsewhere; /* on this gateway, and on the others of the fleet */
	int64_t withheld;        /* of the budget, because what others spend is not known */
} spending_view;

/* Reads what was spent. False: that is not known, which was said. */
static bool spent(store *s, bool fleet, bool project, const char *name, const client_limits *l, int64_t now,
		  spending_view *v)
{
	static const period_kind kinds[] = {
		[BUDGET_DAY] = PERIOD_DAY, [BUDGET_WEEK] = PERIOD_WEEK, [BUDGET_MONTH] = PERIOD_MONTH
	};
	int64_t first = period_first(kinds[l->period], period_day(now));
	store_elsewhere there = { project, name, period_next(kinds[l->period], first) * 86400, 0, 0 };
	store_result result;
	int tries = 0;
	err e;

	do {
		result = store_spent(s, project, slice_cstr(name), first * 86400, &v->here, &e);
		if (result == STORE_OK && fleet)
			result = store_elsewhere_of(s, &there, &e);
	} while (ledger_store_retry(result, &tries));
	v->elsewhere = there.nano;
	v->withheld = there.withheld;
	if (result != STORE_OK)
		fprintf(stderr, "spoa-llm: what was spent is not known: %s\n", e.text);
	return result == STORE_OK;
}

static int64_t left_of(const client_limits *l, const spending_view *v)
{
	int64_t gone = add_capped(add_capped(v->here, v->elsewhere), v->withheld);
	return gone < l->budget_nano ? l->budget_nano - gone : 0;
}

/* ---- list */

enum { COLUMNS = 12, COLUMN_SPENT = 8, COLUMN_ELSEWHERE, COLUMN_LEFT };

/* A cell that is NULL is not known. */
typedef struct row {
	const char *cells[COLUMNS];
} row;

static const int widths[COLUMNS] = { 24, 16, 4, 20, 7, 8, 10, 16, 12, 12, 12, 8 };

/* What the list is made of. */
typedef struct listing {
	const client_table *t;
	store *ledger; /* NULL: what was spent is not known */
	bool fleet;    /* other gateways spend of the same budgets */
	int64_t now;
	terminal term;
	bool unknown; /* reading the ledger failed, which was said: it is read no more */
} listing;

/* Sets `*v` to what a client or project spent. False: that is not known. */
static bool known_spent(listing *l, bool project, const char *name, const client_limits *limits, spending_view *v)
{
	bool ok = l->ledger && !l->unknown && spent(l->ledger, l->fleet, project, name, limits, l->now, v);

	l->unknown = !ok;
	return ok;
}

/* Fills the cells of what was spent, if that is known. */
static void fill_spent(listing *l, bool project, const char *name, const client_limits *limits, row *r,
		       char room[3][PRINT_NUMBER])
{
	spending_view v;

	if (!known_spent(l, project, name, limits, &v))
		return;
	r->cells[COLUMN_SPENT] = print_amount(room[0], v.here);
	r->cells[COLUMN_ELSEWHERE] = print_amount(room[2], v.elsewhere);
	r->cells[COLUMN_LEFT] = limits->budget_nano == BUDGET_NONE ? "-" : print_amount(room[1], left_of(limits, &v));
}

static void print_row(const listing *l, const row *r)
{
	char text[PRINT_LABEL];
	int blanks = 0; /* before the next text */

	for (size_t i = 0; i < COLUMNS; i++) {
		if ((!l->ledger && (i == COLUMN_SPENT || i == COLUMN_LEFT)) ||
		    (i == COLUMN_ELSEWHERE && (!l->ledger || !l->fleet)))
			continue;
		int used = print_label(text, &l->term, r->cells[i] ? r->cells[i] : "?", widths[i]);
		if (used > 0) {
			printf("%*s%s", blanks, "", text);
			blanks = 0;
		}
		blanks += widths[i] - used + 2;
	}
	putchar('\n');
}

static void print_client(listing *l, const client *c)
{
	char keys[PRINT_NUMBER], expires[RFC3339_TEXT], requests[PRINT_NUMBER], parallel[PRINT_NUMBER],
		tokens[PRINT_NUMBER], budget[PRINT_NUMBER + 8], money[3][PRINT_NUMBER];

	snprintf(keys, sizeof keys, "%" PRIu32, good_keys(l->t, c, l->now));
	client_expires(earliest(l->t, c, l->now), expires);
	row r = { { c->name, c->project ? c->project : "-", keys, expires, limit_text(requests, c->requests_per_minute),
		    limit_text(parallel, c->parallel), limit_text(tokens, c->limits.tokens_per_minute),
		    budget_text(budget, &c->limits), NULL, NULL, NULL, c->enabled ? "" : "disabled" } };
	fill_spent(l, false, c->name, &c->limits, &r, money);
	print_row(l, &r);
}

static void print_project(listing *l, const client_project *p)
{
	char tokens[PRINT_NUMBER], budget[PRINT_NUMBER + 8], money[3][PRINT_NUMBER];

	row r = { { "(all of the project)", p->name, "", "", "", "", limit_text(tokens, p->limits.tokens_per_minute),
		    budget_text(budget, &p->limits), NULL, NULL, NULL, "" } };
	fill_spent(l, true, p->name, &p->limits, &r, money);
	print_row(l, &r);
}

static void list_text(listing *l)
{
	l->term = terminal_of(stdout);
	print_row(l, &(row){ { "CLIENT", "PROJECT", "KEYS", "NEXT EXPIRES", "REQ/MIN", "PARALLEL", "TOKENS/MIN",
			       "BUDGET", "SPENT", "ELSEWHERE", "LEFT", "" } });
	for (uint32_t i = 0; i < l->t->count && !output_failed(); i++)
		print_client(l, &l->t->clients[i]);
	for (uint32_t i = 0; i < l->t->projects_count && !output_failed(); i++)
		if (l->t->projects[i].listed)
			print_project(l, &l->t->projects[i]);
}

static void add_limit(cJSON *json, const char *key, uint64_t n)
{
	cJSON_AddItemToObject(json, key, n ? cJSON_CreateNumber((double)n) : cJSON_CreateNull());
}

static void add_limits(cJSON *json, const client_limits *l)
{
	char usd[PRINT_NUMBER];

	add_limit(json, "tokens_per_minute", l->tokens_per_minute);
	if (l->budget_nano == BUDGET_NONE) {
		cJSON_AddNullToObject(json, "budget");
		return;
	}
	cJSON *budget = cJSON_AddObjectToObject(json, "budget");
	cJSON_AddStringToObject(budget, "usd", print_dollars(usd, l->budget_nano, 9));
	cJSON_AddStringToObject(budget, "per", client_periods[l->period]);
}

static void add_dollars(cJSON *json, const char *key, bool known, int64_t nano)
{
	char usd[PRINT_NUMBER];

	cJSON_AddItemToObject(json, key, known ? cJSON_CreateString(print_dollars(usd, nano, 9)) : cJSON_CreateNull());
}

/* Adds what was spent, and what is left of a budget; null where that is not known. */
static void add_spent(listing *l, cJSON *json, bool project, const char *name, const client_limits *limits)
{
	spending_view v = { .here = 0 };
	bool known = known_spent(l, project, name, limits, &v);

	add_dollars(json, "spent_usd", known, v.here);
	if (l->fleet) {
		add_dollars(json, "elsewhere_usd", known, v.elsewhere);
		add_dollars(json, "withheld_usd", known, v.withheld);
	}
	add_dollars(json, "left_usd", known && limits->budget_nano != BUDGET_NONE, left_of(limits, &v));
}

static cJSON *client_json(listing *l, const client *c)
{
	cJSON *json = cJSON_CreateObject();
	char expires[RFC3339_TEXT];
	int64_t first = earliest(l->t, c, l->now);

	client_expires(first, expires);
	cJSON_AddStringToObject(json, "name", c->name);
	cJSON_AddItemToObject(json, "project", c->project ? cJSON_CreateString(c->project) : cJSON_CreateNull());
	cJSON_AddBoolToObject(json, "enabled", c->enabled);
	cJSON_AddNumberToObject(json, "keys", good_keys(l->t, c, l->now));
	cJSON_AddItemToObject(json, "next_expires_at",
			      first == KEY_FOR_EVER ? cJSON_CreateNull() : cJSON_CreateString(expires));
	add_limit(json, "requests_per_minute", c->requests_per_minute);
	add_limit(json, "parallel", c->parallel);
	add_limits(json, &c->limits);
	add_spent(l, json, false, c->name, &c->limits);
	return json;
}

static void print_json(cJSON *json)
{
	char *text = cJSON_PrintUnformatted(json);

	puts(text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
}

/* Prints each client at once, on a line of its own, instead of making one JSON object, because there may be a hundred
 * thousand. */
static void list_json(listing *l)
{
	const client_table *t = l->t;
	bool any = false;

	fputs("{\"clients\":[", stdout);
	for (uint32_t i = 0; i < t->count && !output_failed(); i++) {
		fputs(i ? "," : "\n", stdout);
		print_json(client_json(l, &t->clients[i]));
	}
	fputs("],\"projects\":[", stdout);
	for (uint32_t i = 0; i < t->projects_count && !output_failed(); i++) {
		if (!t->projects[i].listed)
			continue;
		cJSON *json = cJSON_CreateObject();
		cJSON_AddStringToObject(json, "name", t->projects[i].name);
		add_limits(json, &t->projects[i].limits);
		add_spent(l, json, true, t->projects[i].name, &t->projects[i].limits);
		fputs(any ? "," : "\n", stdout);
		print_json(json);
		any = true;
	}
	puts("]}");
}

int command_client_list(const config *c, const client_flags *ask)
{
	client_table *t;
	int code = client_read(c, false, &t);

	if (code)
		return code;
	listing l = { .t = t, .ledger = open_ledger(c), .fleet = *c->fleet_uri != '\0', .now = clock_wall_ms() };
	if (ask->json)
		list_json(&l);
	else
		list_text(&l);
	store_close(l.ledger);
	client_table_unref(t);
	return finish_output();
}

/* ---- show */

static void show_names(const char *what, const char *const *names, uint32_t count)
{
	printf("%-21s", what);
	for (uint32_t i = 0; i < count; i++)
		printf("%s%s", i ? ", " : "", names[i]);
	puts(!names ? "all" : count ? "" : "none");
}

static void show_spent(listing *l, bool project, const char *name, const client_limits *limits)
{
	char money[PRINT_NUMBER], left[PRINT_NUMBER];
	bool budget = limits->budget_nano != BUDGET_NONE;
	spending_view v;

	if (!known_spent(l, project, name, limits, &v))
		return;
	printf("%-21s%s in this %s", project ? "" : "spent:", print_amount(money, v.here),
	       client_periods[budget ? limits->period : BUDGET_MONTH]);
	if (l->fleet)
		printf(", elsewhere in the fleet: %s", print_amount(money, v.elsewhere));
	if (v.withheld)
		printf(", withheld for the fleet: %s", print_amount(money, v.withheld));
	printf("%s%s\n", budget ? ", left: " : "", budget ? print_amount(left, left_of(limits, &v)) : "");
}

static void show_text(listing *l, const client *c)
{
	const client_table *t = l->t;
	char number[PRINT_NUMBER], budget[PRINT_NUMBER + 8], expires[RFC3339_TEXT];

	printf("client:              %s%s\n", c->name, c->enabled ? "" : " (disabled)");
	printf("project:             %s\n", c->project ? c->project : "-");
	for (uint32_t i = 0; i < c->keys_count; i++) {
		const client_key *k = &t->keys[c->first_key + i];
		client_expires(k->expires_ms, expires);
		printf("%-21s", i ? "" : "keys by SHA-256:");
		for (size_t at = 0; at < CLIENT_HASH_LEN; at++)
			printf("%02x", k->sha256[at]);
		printf(k->expires_ms > l->now ? "  expires: %s\n" : "  expired: %s\n", expires);
	}
	if (c->keys_count == 0)
		puts("keys:                none");
	show_names("models:", c->models, c->models_count);
	show_names("routes:", c->routes, c->routes_count);
	printf("requests per minute: %s\n", limit_text(number, c->requests_per_minute));
	printf("parallel:            %s\n", limit_text(number, c->parallel));
	printf("tokens per minute:   %s\n", limit_text(number, c->limits.tokens_per_minute));
	printf("budget:              %s\n", budget_text(budget, &c->limits));
	show_spent(l, false, c->name, &c->limits);
	if (c->limits.budget_nano != BUDGET_NONE)
		printf("models without price: %s\n", c->allow_unpriced ? "allowed" : "refused");
	const client_project *project = client_project_of(t, c);
	if (!project || !project->listed)
		return;
	const client_limits *all = &project->limits;
	printf("of the project:      %s tokens per minute, budget %s\n", limit_text(number, all->tokens_per_minute),
	       budget_text(budget, all));
	show_spent(l, true, c->project, all);
}

/* Prints the client as the file has it, with what it spent. Returns the exit code. */
static int show_json(listing *l, const client *c)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	if (f)
		client_write(f, l->t, c);
	cJSON *json = f && fclose(f) == 0 ? cJSON_Parse(text) : NULL;
	free(text);
	if (!json) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	add_spent(l, json, false, c->name, &c->limits);
	print_json(json);
	return finish_output();
}

int command_client_show(const config *c, const client_flags *ask)
{
	client_table *t;
	int code = client_read(c, false, &t);

	if (code)
		return code;
	const client *one = client_named(t, ask->name);
	listing l = {
		.t = t, .ledger = one ? open_ledger(c) : NULL, .fleet = *c->fleet_uri != '\0', .now = clock_wall_ms()
	};
	if (!one) {
		code = EX_DATAERR;
	} else if (ask->json) {
		code = show_json(&l, one);
	} else {
		show_text(&l, one);
		code = finish_output();
	}
	store_close(l.ledger);
	client_table_unref(t);
	return code;
}
