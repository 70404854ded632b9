/* SPDX-License-Identifier: MIT */
#include "report/export.h"

#include <inttypes.h>

#include "report/ledger_store.h"
#include "report/print.h"
#include "ship/fleet_read.h"

/* Where the export is, so that it can go on after the database was locked. */
typedef struct export
{
	bool csv;
	int64_t last_ms;  /* the last row's time */
	uint64_t at_last; /* rows of that time that were written */
	uint64_t skip;    /* rows still to leave out, because they were written before the lock */
	uint64_t rows;
	export_told told;
	void *ctx;
}
export;

static void write_time(FILE *f, bool csv, int64_t time_ms)
{
	char text[PRINT_NUMBER];

	/* The milliseconds go before the Z with which the text ends. */
	print_time(text, time_ms);
	size_t len = strlen(text);
	fprintf(f, "%s%.*s.%03dZ%s", csv ? "" : "\"", (int)len - 1, text, (int)(time_ms % 1000), csv ? "" : "\"");
}

static bool is_money(const record_column *c)
{
	return c->kind == COLUMN_MONEY || c->kind == COLUMN_COST;
}

static void write_money(FILE *f, bool csv, int64_t nano)
{
	char number[PRINT_NUMBER];

	if (csv)
		fputs(print_dollars(number, nano, 9), f);
	else
		fprintf(f, "%" PRId64, nano);
}

static void write_column(FILE *f, const record *r, const record_column *c, bool csv)
{
	const void *field = column_of(r, c);
	const char *quote = csv ? "" : "\"";

	switch (c->kind) {
	case COLUMN_TEXT:
		/* HAProxy writes the termination state, so "--" in it is no formula. */
		if (csv)
			csv_write_text(f, field, field != (const void *)r->termination);
		else
			json_write_text(f, field);
		break;
	case COLUMN_TIME:
		write_time(f, csv, r->time_ms);
		break;
	case COLUMN_STATUS:
		fprintf(f, "%" PRId32, r->status);
		break;
	case COLUMN_FLAG:
		fputs(*(const bool *)field ? "true" : "false", f);
		break;
	case COLUMN_COUNT:
		if (*(const int64_t *)field >= 0)
			fprintf(f, "%" PRId64, *(const int64_t *)field);
		else if (!csv)
			fputs("null", f);
		break;
	case COLUMN_NUMBER:
		fprintf(f, "%" PRId64, *(const int64_t *)field);
		break;
	case COLUMN_MONEY:
		write_money(f, csv, *(const int64_t *)field);
		break;
	case COLUMN_COST:
		/* A request without a price has an unknown cost, not a cost of 0. */
		if (r->price == PRICE_TABLE || r->price == PRICE_PARTIAL)
			write_money(f, csv, *(const int64_t *)field);
		else
			fputs(csv ? "" : "null", f);
		break;
	case COLUMN_USAGE:
		fprintf(f, "%s%s%s", quote, usage_from_name(r->usage), quote);
		break;
	case COLUMN_PRICE:
		fprintf(f, "%s%s%s", quote, price_from_name(r->price), quote);
		break;
	case COLUMN_TAP:
		fprintf(f, "%s%s%s", quote, tap_state_name(r->tap), quote);
		break;
	}
}

void export_write_row(FILE *f, const record *r, const char *gateway, bool csv)
{
	for (size_t i = 0; i < RECORD_COLUMNS; i++) {
		const record_column *c = &record_columns[i];
		if (csv)
			fputs(i ? "," : "", f);
		else
			fprintf(f, "%s\"%s%s\":", i ? "," : "{", c->name, is_money(c) ? "_nanodollars" : "");
		write_column(f, r, c, csv);
	}
	if (gateway && csv) {
		fputs(",", f);
		csv_write_text(f, gateway, true);
	} else if (gateway) {
		fputs(",\"gateway\":", f);
		json_write_text(f, gateway);
	}
	fputs(csv ? "\r\n" : "}\n", f);
}

void export_write_head(FILE *f, bool gateway)
{
	for (size_t i = 0; i < RECORD_COLUMNS; i++)
		fprintf(f, "%s%s%s", i ? "," : "", record_columns[i].name, is_money(&record_columns[i]) ? "_usd" : "");
	fputs(gateway ? ",gateway\r\n" : "\r\n", f);
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
	export_write_row(stdout, r, NULL, x->csv);
	return !output_failed() && x->told(x->ctx, r);
}

store_result export_print(store *s, period p, const row_filter *only, bool csv, export_told told, void *ctx, err *e)
{
	export x = { .csv = csv, .last_ms = -1, .told = told, .ctx = ctx };
	store_result result;
	int tries = 0;

	if (csv)
		export_write_head(stdout, false);
	for (;;) {
		result = store_find(s, p.from_ms, p.to_ms, only, write_row, &x, e);
		if (!ledger_store_retry(result, &tries))
			return result;
		/* Rows of one time come in the order they were stored, so the ones already written come first again. */
		if (x.rows)
			p.from_ms = x.last_ms;
		x.skip = x.rows ? x.at_last : 0;
	}
}

void export_column(const record *r, const record_column *c)
{
	write_column(stdout, r, c, true);
}

static bool write_fleet_row(void *ctx, const record *r, const char *gateway)
{
	export *x = ctx;

	export_write_row(stdout, r, gateway, x->csv);
	return !output_failed() && x->told(x->ctx, r);
}

pq_result export_print_fleet(pq *c, period p, const row_filter *only, bool csv, export_told told, void *ctx, err *e)
{
	export x = { .csv = csv, .told = told, .ctx = ctx };

	if (csv)
		export_write_head(stdout, true);
	return fleet_export(c, p.from_ms, p.to_ms, only, write_fleet_row, &x, e);
}
