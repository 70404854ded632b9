/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm status`: how the agent that runs here is, and what the ledger has of the last hour, today and 30
 * days. */
#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
#include "commands/admin_client.h"
#include "commands/cli.h"
#include "report/ledger_store.h"
#include "report/print.h"
#include "report/savings.h"

enum {
	NAME_COLUMNS = 12,
	UNHEARD_MS = 10000, /* HAProxy's health check asks the agent twice a second */
};

/* The exit codes of --check, as plugins for Nagios have them. */
typedef enum health { HEALTH_OK, HEALTH_WARNING, HEALTH_CRITICAL } health;

static const struct {
	const char *word;
	paint paint;
} healths[] = {
	[HEALTH_OK] = { "OK", PAINT_GOOD },
	[HEALTH_WARNING] = { "WARNING", PAINT_WARN },
	[HEALTH_CRITICAL] = { "CRITICAL", PAINT_BAD },
};

typedef struct status {
	terminal terminal;
	cJSON *stats; /* NULL: the agent gives no details */
	health health;
	char why[512];
} status;

static double number(const cJSON *of, const char *name)
{
	const cJSON *n = cJSON_GetObjectItemCaseSensitive(of, name);

	return cJSON_IsNumber(n) ? n->valuedouble : 0;
}

static const char *text(const cJSON *of, const char *name)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(of, name));

	return s ? s : "";
}

/* True if an alert that fires is about the check `part`; if `upto` is not NULL, one that stands before `upto`. An alert
 * and a check that fails for the same reason are told once. */
static bool alerted(const cJSON *stats, const char *part, const cJSON *upto)
{
	const cJSON *one;

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(stats, "alerts"))
	{
		if (one == upto)
			break;
		if (*part && strcmp(text(one, "check"), part) == 0)
			return true;
	}
	return false;
}

/* Raises the health to `h`, and adds the reason. */
static void worsen(status *s, health h, const char *part, const char *detail)
{
	size_t len = strlen(s->why);

	s->health = h > s->health ? h : s->health;
	snprintf(s->why + len, sizeof s->why - len, "%s%s%s%s", len ? "; " : "", part, *part ? ": " : "", detail);
}

static health health_of(const cJSON *check)
{
	if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(check, "ok")))
		return HEALTH_OK;
	return cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(check, "blocking")) ? HEALTH_CRITICAL : HEALTH_WARNING;
}

/* Returns how HAProxy is. Writes to `out` when HAProxy was last heard. */
static health haproxy_of(const cJSON *stats, char *out, size_t room)
{
	const cJSON *haproxy = cJSON_GetObjectItemCaseSensitive(stats, "haproxy");
	const cJSON *heard = cJSON_GetObjectItemCaseSensitive(haproxy, "heard_ms");

	if (!cJSON_IsNumber(heard)) {
		snprintf(out, room, "no HAProxy has asked yet");
		return HEALTH_WARNING;
	}
	snprintf(out, room, "last heard %.1f s ago", heard->valuedouble / 1000);
	return heard->valuedouble < UNHEARD_MS ? HEALTH_OK : HEALTH_CRITICAL;
}

/* Asks the agent. False: it does not answer. */
static bool ask(status *s, const config *c)
{
	int code = 0;
	err e;

	char *body = admin_get(c, "/stats", &code, &e);
	if (body && (code == 401 || code == 403)) {
		free(body);
		body = admin_get(c, "/readyz", &code, &e);
		if (body && code != 200)
			worsen(s, HEALTH_CRITICAL, "", "the agent is not ready");
		else if (body)
			snprintf(
				s->why, sizeof s->why,
				"ready; details need \"viewer_token\" or \"admin_token\", which this user cannot read");
		free(body);
		if (!body)
			worsen(s, HEALTH_CRITICAL, "", e.text);
		return body != NULL;
	}
	s->stats = body && code == 200 ? cJSON_Parse(body) : NULL;
	if (!s->stats)
		worsen(s, HEALTH_CRITICAL, "", body ? "what answers at \"admin_listen\" is no agent" : e.text);
	free(body);
	if (!s->stats)
		return false;
	char heard[64];
	const cJSON *one;
	health haproxy = haproxy_of(s->stats, heard, sizeof heard);
	if (haproxy != HEALTH_OK)
		worsen(s, haproxy, "HAProxy", heard);
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "checks"))
	{
		if (alerted(s->stats, text(one, "part"), NULL))
			s->health = health_of(one) > s->health ? health_of(one) : s->health;
		else if (health_of(one) != HEALTH_OK)
			worsen(s, health_of(one), text(one, "part"), text(one, "detail"));
	}
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "alerts"))
	{
		if (!alerted(s->stats, text(one, "check"), one))
			worsen(s, HEALTH_WARNING, text(one, "name"), text(one, "what"));
	}
	return true;
}

/* One line, with figures behind a bar as Nagios' plugins have them. */
static void print_line(const status *s)
{
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(s->stats, "now");

	printf("SPOA-LLM %s - %s", healths[s->health].word, *s->why ? s->why : "all checks are well");
	if (s->stats)
		printf(" | requests=%.0fc refused=%.0fc requests_per_s=%.1f connections=%.0f",
		       number(s->stats, "requests"), number(s->stats, "refused"), number(now, "requests_per_s"),
		       number(s->stats, "connections"));
	putchar('\n');
}

/* ---- the page for a person */

static void begin_row(const char *name)
{
	printf("%-*s  ", NAME_COLUMNS, name);
}

static void print_uptime(double seconds)
{
	int64_t s = (int64_t)seconds;

	if (s >= 2 * 86400)
		printf("%" PRId64 " days", s / 86400);
	else if (s >= 2 * 3600)
		printf("%" PRId64 " hours", s / 3600);
	else if (s >= 120)
		printf("%" PRId64 " minutes", s / 60);
	else
		printf("%" PRId64 " s", s);
}

/* Prints a line of the table, and below it what to do if that is known and something is wrong. */
static void print_finding(const status *s, health h, const char *name, const char *detail, const char *advice)
{
	printf("%s%-8s%s  %-*s  %s\n", print_paint(&s->terminal, healths[h].paint),
	       h == HEALTH_OK ? "ok" : healths[h].word, print_paint(&s->terminal, PAINT_NONE), NAME_COLUMNS, name,
	       detail);
	if (h != HEALTH_OK && *advice)
		printf("%*s%s\n", 8 + 2 + NAME_COLUMNS + 2, "", advice);
}

/* Prints an alert with what the other alerts and the check about the same part say. */
static void print_alert(const status *s, const cJSON *alert)
{
	const char *part = text(alert, "check"), *what = text(alert, "what");
	health worst = HEALTH_WARNING;
	const cJSON *one;
	char more[1024];
	size_t len = (size_t)snprintf(more, sizeof more, "%s", what);

	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "alerts"))
	{
		if (one != alert && *part && strcmp(text(one, "check"), part) == 0 && len < sizeof more)
			len += (size_t)snprintf(more + len, sizeof more - len, "; %s", text(one, "what"));
	}
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "checks"))
	{
		if (strcmp(text(one, "part"), part) != 0 || health_of(one) == HEALTH_OK)
			continue;
		worst = health_of(one) > worst ? health_of(one) : worst;
		if (strcmp(text(one, "detail"), what) != 0 && len < sizeof more)
			len += (size_t)snprintf(more + len, sizeof more - len, "; %s", text(one, "detail"));
	}
	print_finding(s, worst, text(alert, "name"), more, text(alert, "advice"));
}

static const char *plural(double count)
{
	return count == 1 ? "" : "s";
}

static void print_agent(const status *s)
{
	const cJSON *now = cJSON_GetObjectItemCaseSensitive(s->stats, "now"), *one;
	const cJSON *latency = cJSON_GetObjectItemCaseSensitive(now, "latency_us");
	char a[PRINT_NUMBER], b[PRINT_NUMBER], heard[64];

	health haproxy = haproxy_of(s->stats, heard, sizeof heard);
	begin_row("agent");
	printf("version %s, running for ", text(s->stats, "version"));
	print_uptime(number(s->stats, "uptime_s"));
	printf(", %.0f restart%s of its worker\n", number(s->stats, "restarts"), plural(number(s->stats, "restarts")));
	begin_row("HAProxy");
	printf("%.0f connection%s; %s request%s since the agent's start, %s of them refused\n",
	       number(s->stats, "connections"), plural(number(s->stats, "connections")),
	       print_count(a, (int64_t)number(s->stats, "requests")), plural(number(s->stats, "requests")),
	       print_count(b, (int64_t)number(s->stats, "refused")));
	begin_row("now");
	printf("%.1f requests/s, %.1f refused/s", number(now, "requests_per_s"), number(now, "refused_per_s"));
	if (number(latency, "p99") > 0)
		printf("; a decision takes %.0f us (p50), %.0f us (p99)", number(latency, "p50"),
		       number(latency, "p99"));
	printf("\n\n");
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "alerts"))
	{
		if (!alerted(s->stats, text(one, "check"), one))
			print_alert(s, one);
	}
	print_finding(
		s, haproxy, "HAProxy", heard,
		"Does HAProxy run with llm.cfg, and may it open the agent's socket? `spoa-llm check` looks at its "
		"files. Until HAProxy reaches an agent, it refuses every request with 503 gateway_unavailable.");
	cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(s->stats, "checks"))
	{
		if (health_of(one) == HEALTH_OK || !alerted(s->stats, text(one, "part"), NULL))
			print_finding(s, health_of(one), text(one, "part"), text(one, "detail"), text(one, "advice"));
	}
}

/* What the ledger has of a period. False: it cannot be read, which was said. */
static bool print_period(const char *name, store *ledger, const char *since)
{
	char n[6][PRINT_NUMBER];
	savings_report r;
	err e;

	if (!savings_prepare(&r, since, NULL, "model", false, &e) || savings_read(ledger, &r, &e) != STORE_OK) {
		begin_row(name);
		printf("%s\n", e.text);
		return false;
	}
	const store_sums *t = &r.total;
	begin_row(name);
	printf("%s request%s, %s failed (%s), %s refused; cost %s%s, saved by this gateway %s\n",
	       print_count(n[0], t->requests), plural((double)t->requests), print_count(n[1], t->failed),
	       print_share(n[2], t->failed, t->requests), print_count(n[3], t->refused), t->estimated_cost ? "~" : "",
	       print_amount(n[4], t->cost), print_amount(n[5], savings_gateway(t)));
	savings_deinit(&r);
	return true;
}

static void print_ledger(const config *c)
{
	int code;
	err e;

	putchar('\n');
	if (!*c->ledger) {
		begin_row("ledger");
		printf("none is kept: the option \"ledger\" names no directory\n");
		return;
	}
	store *s = ledger_store_open(c->ledger, false, false, &code, &e);
	if (!s) {
		begin_row("ledger");
		printf("%s\n", e.text);
	} else if (print_period("last hour", s, "1h") && print_period("today", s, "today")) {
		print_period("30 days", s, "30d");
	}
	store_close(s);
}

static void print_page(const status *s, const config *c)
{
	printf("%s%s%s", print_paint(&s->terminal, healths[s->health].paint), healths[s->health].word,
	       print_paint(&s->terminal, PAINT_NONE));
	printf("%s%s\n", *s->why ? ": " : "", s->why);
	if (s->stats) {
		putchar('\n');
		print_agent(s);
	}
	print_ledger(c);
}

int command_status(const config *c, const ledger_request *request)
{
	status s = { .terminal = terminal_of(stdout) };

	bool answered = ask(&s, c);
	if (request->check)
		print_line(&s);
	else
		print_page(&s, c);
	cJSON_Delete(s.stats);
	int code = finish_output();
	if (code != EX_OK)
		return code;
	return request->check ? (int)s.health : answered ? EX_OK : EX_UNAVAILABLE;
}
