/* SPDX-License-Identifier: MIT */
#include "report/export.h"

#include <inttypes.h>
#include <stddef.h>

#include "report/ledger_store.h"
#include "report/print.h"

/* In the order of the output. Programs read the names: never change one. */
typedef enum column_kind { TEXT, COUNT, MONEY, OTHER } column_kind;

static const struct {
	const char *name; /* for MONEY without the unit: JSON appends _nanodollars, CSV _usd */
	column_kind kind;
	size_t offset;
} columns[] = {
	{ "id", TEXT, offsetof(record, id) },
	{ "time", OTHER, offsetof(record, time_ms) },
	{ "route", TEXT, offsetof(record, route) },
	{ "backend", TEXT, offsetof(record, backend) },
	{ "protocol", TEXT, offsetof(record, protocol) },
	{ "model", TEXT, offsetof(record, model) },
	{ "project", TEXT, offsetof(record, project) },
	{ "client", TEXT, offsetof(record, client) },
	{ "status", OTHER, offsetof(record, status) },
	{ "code", TEXT, offsetof(record, code) },
	{ "termination", TEXT, offsetof(record, termination) },
	{ "stream", OTHER, offsetof(record, stream) },
	{ "bytes_in", COUNT, offsetof(record, bytes_in) },
	{ "bytes_out", COUNT, offsetof(record, bytes_out) },
	{ "ttfb_ms", COUNT, offsetof(record, ttfb_ms) },
	{ "total_ms", COUNT, offsetof(record, total_ms) },
	{ "input", COUNT, offsetof(record, input) },
	{ "output", COUNT, offsetof(record, output) },
	{ "cache_read", COUNT, offsetof(record, cache_read) },
	{ "cache_write", COUNT, offsetof(record, cache_write) },
	{ "saved", OTHER, offsetof(record, saved) },
	{ "usage_from", OTHER, offsetof(record, usage) },
	{ "price_from", OTHER, offsetof(record, price) },
	{ "cost", MONEY, offsetof(record, cost) },
	{ "saved_compression", MONEY, offsetof(record, saved_compression) },
	{ "saved_cache", MONEY, offsetof(record, saved_cache) },
	{ "saved_routing", MONEY, offsetof(record, saved_routing) },
};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

/* Where the export is, so that it can go on after the database was locked. */
typedef struct export
{
	bool csv;
	int64_t last_ms;  /* the last row's time */
	uint64_t at_last; /* rows of that time that were written */
	uint64_t skip;    /* rows still to leave out, because they were written before the lock */
	uint64_t rows;
}
export;

static void write_time(bool csv, int64_t time_ms)
{
	char text[PRINT_NUMBER];

	print_time(text, time_ms);
	size_t len = strlen(text);
	printf("%s%.*s.%03dZ%s", csv ? "" : "\"", (int)len - 1, text, (int)(time_ms % 1000), csv ? "" : "\"");
}

static void write_column(const record *r, size_t i, bool csv)
{
	const void *at = (const char *)r + columns[i].offset;
	char number[PRINT_NUMBER];

	switch (columns[i].kind) {
	case TEXT:
		/* HAProxy writes the termination state, so "--" in it is no formula. */
		if (csv)
			csv_write_text(stdout, at, at != (const void *)r->termination);
		else
			json_write_text(stdout, at);
		return;
	case COUNT:
		if (*(const int64_t *)at >= 0)
			printf("%" PRId64, *(const int64_t *)at);
		else if (!csv)
			fputs("null", stdout);
		return;
	case MONEY:
		/* A request without a price has an unknown cost, not a cost of 0. */
		if (r->price != PRICE_TABLE)
			fputs(csv ? "" : "null", stdout);
		else if (csv)
			fputs(print_dollars(number, *(const int64_t *)at, 9), stdout);
		else
			printf("%" PRId64, *(const int64_t *)at);
		return;
	case OTHER:
		break;
	}
	const char *quote = csv ? "" : "\"";
	if (at == (const void *)&r->time_ms)
		write_time(csv, r->time_ms);
	else if (at == (const void *)&r->status)
		printf("%" PRId32, r->status);
	else if (at == (const void *)&r->saved)
		printf("%" PRId64, r->saved);
	else if (at == (const void *)&r->stream)
		fputs(r->stream ? "true" : "false", stdout);
	else if (at == (const void *)&r->usage)
		printf("%s%s%s", quote, usage_from_name(r->usage), quote);
	else
		printf("%s%s%s", quote, price_from_name(r->price), quote);
}

static bool write_row(void *ctx, const record *r)
{
	export *x = ctx;

	if (x->skip) {
		x->skip--;
		return true;
	}
	x->at_last = r->time_ms == x->last_ms ? x->at_last + 1 : 1;
	x->last_ms = r->time_ms;
	x->rows++;
	for (size_t i = 0; i < COLUMNS; i++) {
		if (x->csv)
			fputs(i ? "," : "", stdout);
		else
			printf("%s\"%s%s\":", i ? "," : "{", columns[i].name,
			       columns[i].kind == MONEY ? "_nanodollars" : "");
		write_column(r, i, x->csv);
	}
	fputs(x->csv ? "\r\n" : "}\n", stdout);
	return !output_failed();
}

store_result export_print(store *s, period p, bool csv, err *e)
{
	export x = { .csv = csv, .last_ms = -1 };
	store_result result;
	int tries = 0;

	for (size_t i = 0; csv && i < COLUMNS; i++)
		printf("%s%s%s", i ? "," : "", columns[i].name, columns[i].kind == MONEY ? "_usd" : "");
	if (csv)
		fputs("\r\n", stdout);
	for (;;) {
		result = store_export(s, p.from_ms, p.to_ms, write_row, &x, e);
		if (!ledger_store_retry(result, &tries))
			return result;
		/* Rows of one time come in the order they were stored, so the ones already written come first again. */
		if (x.rows)
			p.from_ms = x.last_ms;
		x.skip = x.rows ? x.at_last : 0;
	}
}
