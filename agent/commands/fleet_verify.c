/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm fleet verify` and `fleet resend`: is in PostgreSQL what is in the ledgers? And if not: send it again. */
#include "ship/fleet_verify.h"

#include <inttypes.h>
#include <sysexits.h>

#include "base/clock.h"
#include "commands/fleet_command.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "report/ledger_store.h"
#include "report/period.h"
#include "report/print.h"
#include "ship/fleet_sql.h"

/* ---- what both share */

/* Reads the period as whole hours, in seconds. */
static bool read_hours(const ledger_request *ask, const char *fallback, int64_t *from_s, int64_t *to_s)
{
	period p;
	err e;

	if (!period_parse(ask->since, ask->until, fallback, &p, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return false;
	}
	*from_s = p.from_ms / HOUR_MS * 3600;
	*to_s = p.to_ms / HOUR_MS * 3600 + (p.to_ms % HOUR_MS ? 3600 : 0);
	if (*to_s > FLEET_HOURS_END)
		*to_s = FLEET_HOURS_END;
	return true;
}

/* Returns the first hour that has all its rows both in the ledger and in PostgreSQL, if that is after `from_s`. */
static int64_t first_whole(int64_t from_s, int64_t pruned_ms, const fleet_place *place)
{
	int64_t kept_ms = pruned_ms > place->kept_since_ms ? pruned_ms : place->kept_since_ms;
	int64_t first = kept_ms <= 0 ? from_s : (kept_ms + HOUR_MS - 1) / HOUR_MS * 3600;

	return first > from_s ? first : from_s;
}

/* Says why the ledger and what PostgreSQL has of it cannot be compared. True: they can. */
static bool same_copy(const fleet_place *place, const store_id *id)
{
	if (!place->found)
		fprintf(stderr,
			"spoa-llm: PostgreSQL has no gateway of this ledger (%s), or this role may not see it: `spoa-llm ship` "
			"registers it, and `spoa-llm fleet list` shows all\n",
			id->uuid);
	else if (strcmp(place->ledger_epoch, id->epoch) != 0)
		fprintf(stderr,
			"spoa-llm: this ledger is another copy than the one whose rows PostgreSQL has of %s, because it was "
			"restored: let `spoa-llm ship` send it first\n",
			place->name);
	else
		return true;
	return false;
}

/* ---- verify */

typedef struct verify {
	progress progress;
	bool json;
	size_t problems, compared, waiting;
	fleet_lost lost;
} verify;

static void on_difference(void *ctx, const char *gateway, int64_t hour_s, const char *problem)
{
	verify *v = ctx;
	terminal plain = { .utf8 = terminal_of(stdout).utf8 };
	char name[PRINT_LABEL], hour[PRINT_NUMBER];

	progress_end(&v->progress);
	print_time(hour, hour_s * 1000);
	if (v->json) {
		printf("%s\n{\"gateway\":", v->problems ? "," : "");
		json_write_text(stdout, gateway);
		printf(",\"hour\":\"%s\",\"problem\":", hour);
		json_write_text(stdout, problem);
		printf("}");
	} else {
		print_label(name, &plain, gateway, PRINT_LABEL);
		printf("gateway %s, hour %s: %s\n", name, hour, problem);
	}
	v->problems++;
}

/* Compares the ledger with what PostgreSQL has of it. Returns the exit code. */
static int verify_ledger(const config *c, pq *conn, verify *v, int64_t from_s, int64_t to_s)
{
	fleet_hours here = { .items = NULL }, there = { .items = NULL }, earlier = { .items = NULL };
	int64_t pruned = 0;
	fleet_place place;
	store_id id;
	int code = EX_OK, tries = 0;
	err e = { 0 };

	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	store_result result = store_identity(s, &id, &e);
	pq_result got = PQ_OK;
	if (result == STORE_OK)
		got = fleet_hours_there(conn, id.uuid, from_s, to_s, &place, &there, &earlier, &e);
	if (result == STORE_OK && got == PQ_OK && !same_copy(&place, &id)) {
		code = EX_DATAERR;
	} else if (result == STORE_OK && got == PQ_OK) {
		do {
			here.count = 0;
			result = fleet_hours_here(s, from_s, to_s, place.position, &here, &e);
		} while (ledger_store_retry(result, &tries));
		if (result == STORE_OK)
			result = store_pruned(s, &pruned, &e);
	}
	store_close(s);
	if (here.failed || there.failed || earlier.failed) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		code = EX_OSERR;
	} else if (result != STORE_OK) {
		code = ledger_command_failed(result, &e);
	} else if (got != PQ_OK) {
		code = fleet_command_failed(got, &e);
	} else if (code == EX_OK) {
		from_s = first_whole(from_s, pruned, &place);
		v->waiting = fleet_hours_compare(&here, &there, from_s, place.name, on_difference, v, &v->compared);
		v->lost = fleet_hours_lost(&here, &earlier, from_s);
	}
	fleet_hours_free(&earlier);
	fleet_hours_free(&here);
	fleet_hours_free(&there);
	return code;
}

/* Says what only PostgreSQL has. That is no problem: the ledger was restored, and the fleet's history is whole. */
static void print_lost(const fleet_lost *lost)
{
	char count[PRINT_NUMBER], first[PRINT_NUMBER], last[PRINT_NUMBER];

	printf("PostgreSQL has %s requests (hours %s to %s) that this ledger lost when a backup took its place; they "
	       "stay, and count in reports with --fleet: there is nothing to do\n",
	       print_count(count, lost->requests), print_time(first, lost->first_s * 1000),
	       print_time(last, lost->last_s * 1000));
}

int command_fleet_verify(const config *c, const ledger_request *ask)
{
	verify v = { .json = ask->json };
	int64_t from_s, to_s;
	int code = EX_OK;
	err e = { 0 };

	if (!read_hours(ask, "all", &from_s, &to_s))
		return EX_USAGE;
	v.progress = progress_begin("verifying");
	pq *conn = fleet_command_open_long(c, FLEET_EXPORT_S, &v.progress, &code);
	if (!conn)
		return code;
	if (v.json)
		printf("{\"problems\":[");
	pq_result result = fleet_check_sums(conn, from_s, to_s, on_difference, &v, &e);
	if (result != PQ_OK)
		code = fleet_command_failed(result, &e);
	else if (*c->ledger)
		code = verify_ledger(c, conn, &v, from_s, to_s);
	pq_close(conn);
	progress_end(&v.progress);
	if (v.json)
		printf("%s],\"hours\":%zu,\"hours_not_shipped_yet\":%zu,\"lost_by_the_ledger\":%" PRId64 "%s}\n",
		       v.problems ? "\n" : "", v.compared, v.waiting, v.lost.requests,
		       code == EXIT_INTERRUPTED ? ",\"incomplete\":true" : "");
	else if (code == EX_OK && *c->ledger)
		printf("%zu hours of this ledger compared%s%.0zu%s; %s\n", v.compared, v.waiting ? ", " : "", v.waiting,
		       v.waiting ? " wait for `spoa-llm ship`" : "",
		       v.problems ? "fix it by `spoa-llm fleet resend --since TIME`" : "no difference");
	else if (code == EX_OK)
		printf("the sums of all gateways compared with their rows, and no ledger, because none is configured here; %s\n",
		       v.problems ? "fix it by `spoa-llm fleet resend --since TIME` on the gateway" : "no difference");
	if (!v.json && v.lost.requests)
		print_lost(&v.lost);
	int output = finish_output();
	return code != EX_OK ? code : output != EX_OK ? output : v.problems ? 1 : EX_OK;
}

/* ---- resend */

static int print_resent(const fleet_resent *sent, bool json)
{
	char n[PRINT_NUMBER];

	if (json) {
		printf("{\"rows\":%" PRId64 ",\"new\":%" PRId64 ",\"again\":%" PRId64 ",\"dropped\":%" PRId64 "}\n",
		       sent->rows, sent->added, sent->replaced, sent->dropped);
		return finish_output();
	}
	printf("%14s requests of this ledger sent\n", print_count(n, sent->rows));
	printf("%14s of them PostgreSQL did not have\n", print_count(n, sent->added));
	if (sent->dropped)
		printf("%14s of them are of a time whose requests were dropped there\n", print_count(n, sent->dropped));
	printf("the sums of these hours are made anew from the requests that PostgreSQL has now\n");
	return finish_output();
}

typedef struct resending {
	progress progress;
} resending;

static bool goes_on(void *ctx, int64_t rows)
{
	resending *r = ctx;

	progress_rate(&r->progress, rows, 0, 0);
	return !interrupted();
}

int command_fleet_resend(const config *c, const ledger_request *ask)
{
	int64_t from_s, to_s, pruned = 0;
	fleet_place place;
	fleet_resent sent = { .rows = 0 };
	resending r = { .progress = progress_begin("sending") };
	store_id id;
	int code = EX_OK;
	err e = { 0 };

	if (!ask->since) {
		fprintf(stderr, "spoa-llm: --since TIME is needed: from when requests are sent again, or all\n");
		return EX_USAGE;
	}
	if (!read_hours(ask, "all", &from_s, &to_s))
		return EX_USAGE;
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	pq *conn = fleet_command_open(c, true, FLEET_REPORT_S, &code);
	if (!conn) {
		store_close(s);
		return code;
	}
	store_result result = store_identity(s, &id, &e);
	if (result == STORE_OK)
		result = store_pruned(s, &pruned, &e);
	pq_result got = result == STORE_OK ? fleet_place_of(conn, id.uuid, &place, &e) : PQ_OK;
	if (result == STORE_OK && got == PQ_OK) {
		if (same_copy(&place, &id)) {
			/* If an hour is not whole here, its sums made anew would lack what only PostgreSQL has had. */
			from_s = first_whole(from_s, pruned, &place);
			interrupt_begin();
			result = fleet_resend(conn, s, &place, from_s, to_s, goes_on, &r, &sent, &e);
			got = sent.result;
		} else {
			code = EX_DATAERR;
		}
	}
	store_close(s);
	pq_close(conn);
	progress_end(&r.progress);
	if (got != PQ_OK)
		return fleet_command_failed(got, &e);
	if (result != STORE_OK)
		return ledger_command_failed(result, &e);
	if (code == EX_OK)
		code = print_resent(&sent, ask->json);
	if (code == EX_OK && sent.next_s != FLEET_RESENT_ALL) {
		char from[PRINT_NUMBER];
		fprintf(stderr, "spoa-llm: stopped; what is before %s is sent; --since %s goes on\n",
			print_time(from, sent.next_s * 1000), print_time(from, sent.next_s * 1000));
		code = EXIT_INTERRUPTED;
	}
	return code;
}
