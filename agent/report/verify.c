/* SPDX-License-Identifier: MIT */
#include "report/verify.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/list.h"
#include "report/ledger_store.h"
#include "report/period.h"
#include "report/print.h"

enum { GAPS_SHOWN = 3 };

/* A stretch of hours without a request. */
typedef struct gap {
	int64_t from_ms, to_ms;
} gap;

typedef struct verify {
	bool json;
	size_t problems;
	gap *gaps;
	size_t count, room;
	int64_t first_ms, last_ms; /* the first and the last hour that have a request; -1: no hour has */
	bool out_of_memory;
} verify;

static void on_problem(void *ctx, const char *problem)
{
	verify *v = ctx;
	terminal plain = { .utf8 = terminal_of(stdout).utf8 };
	char text[PRINT_LABEL];

	if (v->json) {
		fputs(v->problems++ ? "," : "", stdout);
		json_write_text(stdout, problem);
		return;
	}
	v->problems++;
	/* A problem quotes names that clients chose. */
	print_label(text, &plain, problem, PRINT_LABEL);
	printf("problem: %s\n", text);
}

static bool add_gap(verify *v, int64_t from_ms, int64_t to_ms)
{
	gap *gaps = list_grow(v->gaps, &v->room, v->count, sizeof *gaps);

	if (!gaps) {
		v->out_of_memory = true;
		return false;
	}
	v->gaps = gaps;
	v->gaps[v->count++] = (gap){ from_ms, to_ms };
	return true;
}

static bool on_hour(void *ctx, const store_sums *sums)
{
	verify *v = ctx;
	int64_t at;
	err e;

	if (!period_point(sums->label, 0, false, &at, &e))
		return true;
	if (v->first_ms < 0)
		v->first_ms = at;
	else if (at - v->last_ms > HOUR_MS && !add_gap(v, v->last_ms + HOUR_MS, at))
		return false;
	v->last_ms = at;
	return true;
}

static int longest_first(const void *a, const void *b)
{
	const gap *x = a, *y = b;
	int64_t x_len = x->to_ms - x->from_ms, y_len = y->to_ms - y->from_ms;
	return x_len != y_len ? (x_len < y_len) - (x_len > y_len) :
				(x->from_ms > y->from_ms) - (x->from_ms < y->from_ms);
}

/* Ends the JSON object that verify_print() began. */
static void write_gaps(const verify *v)
{
	char from[PRINT_NUMBER], to[PRINT_NUMBER];

	printf("],\"first_hour\":");
	printf(v->first_ms < 0 ? "null" : "\"%s\"", print_time(from, v->first_ms));
	printf(",\"last_hour\":");
	printf(v->first_ms < 0 ? "null" : "\"%s\"", print_time(to, v->last_ms));
	printf(",\"gaps\":[");
	for (size_t i = 0; i < v->count; i++)
		printf("%s{\"from\":\"%s\",\"to\":\"%s\"}", i ? "," : "", print_time(from, v->gaps[i].from_ms),
		       print_time(to, v->gaps[i].to_ms));
	printf("]}\n");
}

static void print_gaps(verify *v, bool all)
{
	char from[PRINT_NUMBER], to[PRINT_NUMBER];

	if (v->first_ms < 0) {
		printf("no request is recorded yet\n");
		return;
	}
	printf("requests from %s", print_minute(from, v->first_ms));
	printf(" to %s UTC\n", print_minute(to, v->last_ms + HOUR_MS));
	if (!v->count) {
		printf("requests came in every hour between them\n");
		return;
	}
	if (!all) /* else in order of time */
		qsort(v->gaps, v->count, sizeof *v->gaps, longest_first);
	printf("quiet hours, in which no request came (as at night; nothing is missing from the ledger): %zu %s%s\n",
	       v->count, v->count == 1 ? "time" : "times",
	       all || v->count <= GAPS_SHOWN ? "" : "; the longest (--gaps lists all)");
	for (size_t i = 0; i < v->count && (all || i < GAPS_SHOWN); i++)
		printf("  %s to %s  %" PRId64 " h\n", print_minute(from, v->gaps[i].from_ms),
		       print_minute(to, v->gaps[i].to_ms), (v->gaps[i].to_ms - v->gaps[i].from_ms) / HOUR_MS);
}

store_result verify_print(store *s, bool json, bool all_gaps, size_t *problems, err *e)
{
	verify v = { .json = json, .first_ms = -1 };
	int tries = 0;

	if (json)
		printf("{\"problems\":[");
	store_result result = store_verify(s, on_problem, &v, problems, e);
	/* The sums of a damaged file say nothing about gaps. */
	if (result == STORE_OK) {
		do {
			v.count = 0;
			v.first_ms = -1;
			result = store_report(s, GROUP_HOUR, 0, INT64_MAX, on_hour, &v, e);
		} while (ledger_store_retry(result, &tries));
	}
	if (v.out_of_memory) {
		result = STORE_ERROR;
		err_memory(e);
	}
	if (result == STORE_CORRUPT) {
		++*problems;
		on_problem(&v, e->text);
		result = STORE_OK;
	}
	if (result != STORE_OK && json) {
		printf("],\"incomplete\":true}\n"); /* the caller says why */
	} else if (result == STORE_OK && json) {
		write_gaps(&v);
	} else if (result == STORE_OK) {
		printf(*problems ? "%zu problems\n" : "ok: the file is whole, and the sums equal the rows\n",
		       *problems);
		print_gaps(&v, all_gaps);
	}
	free(v.gaps);
	return result;
}
