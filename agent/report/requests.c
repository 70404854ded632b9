/* SPDX-License-Identifier: MIT */
#include "report/requests.h"

#include <inttypes.h>

#include "ledger/columns.h"
#include "report/export.h"

typedef enum field {
	FIELD_TIME,
	FIELD_STATUS,
	FIELD_MODEL,
	FIELD_INPUT,
	FIELD_OUTPUT,
	FIELD_COST,
	FIELD_TOOK,
	FIELD_ROUTE,
	FIELD_PROJECT,
	FIELD_CLIENT,
	FIELD_ID,
	FIELDS,
} field;

/* A field is shown if the terminal has `from` columns. */
static const struct {
	const char *title;
	int width, from;
	bool number;
} fields[FIELDS] = {
	[FIELD_TIME] = { "time (UTC)", 19, 0, false },   [FIELD_STATUS] = { "status", 6, 0, true },
	[FIELD_MODEL] = { "model", 22, 0, false },       [FIELD_INPUT] = { "in", 7, 0, true },
	[FIELD_OUTPUT] = { "out", 7, 0, true },          [FIELD_COST] = { "cost", 10, 0, true },
	[FIELD_TOOK] = { "took", 8, 90, true },          [FIELD_ROUTE] = { "route", 14, 106, false },
	[FIELD_PROJECT] = { "project", 14, 122, false }, [FIELD_CLIENT] = { "client", 14, 138, false },
	[FIELD_ID] = { "id", 36, 176, false },
};

enum { GATEWAY_WIDTH = 12 };
enum { TIGHT = 80, TIGHT_MODEL = 19 }; /* a terminal of 80 columns has room for a shorter model */

static int width_of(const terminal *t, field f)
{
	return f == FIELD_MODEL && t->columns <= TIGHT + 1 ? TIGHT_MODEL : fields[f].width;
}

static bool is_shown(const terminal *t, field f)
{
	return !t->is_tty || t->columns >= fields[f].from;
}

/* Returns the terminal with the room that the gateway leaves. */
static terminal beside(const terminal *t, bool gateway)
{
	terminal rest = *t;

	rest.columns -= gateway ? GATEWAY_WIDTH + 2 : 0;
	return rest;
}

void requests_heading(const terminal *t, bool gateways)
{
	fputs(print_paint(t, PAINT_STRONG), stdout);
	terminal rest = beside(t, gateways);
	if (gateways)
		printf("%-*s  ", GATEWAY_WIDTH, "gateway");
	t = &rest;
	for (field f = 0; f < FIELDS; f++)
		if (is_shown(t, f))
			printf(fields[f].number ? "%s%*s" : "%s%-*s", f ? "  " : "", width_of(t, f), fields[f].title);
	fputs(print_paint(t, PAINT_NONE), stdout);
	putchar('\n');
}

static const char *count(char *out, int64_t n)
{
	if (n < 0)
		snprintf(out, PRINT_NUMBER, "?");
	else
		print_short(out, n);
	return out;
}

static bool is_priced(const record *r)
{
	return r->price == PRICE_TABLE || r->price == PRICE_PARTIAL;
}

static const char *cost(char *out, const record *r)
{
	char digits[PRINT_NUMBER];
	bool rough = r->usage == USAGE_ESTIMATED || r->usage == USAGE_PARTIAL || r->price == PRICE_PARTIAL;

	if (is_priced(r))
		snprintf(out, PRINT_NUMBER, "%s%.40s", rough ? "~" : "", print_amount(digits, r->cost));
	else
		snprintf(out, PRINT_NUMBER, "%s",
			 r->price == PRICE_UNPRICED ? "unpriced" :
			 r->usage == USAGE_UNKNOWN  ? "?" :
						      "-");
	return out;
}

static const char *took(char *out, int64_t ms)
{
	if (ms < 0)
		snprintf(out, PRINT_NUMBER, "-");
	else if (ms < 1000)
		snprintf(out, PRINT_NUMBER, "%" PRId64 " ms", ms);
	else
		snprintf(out, PRINT_NUMBER, "%" PRId64 ".%" PRId64 " s", ms / 1000, ms % 1000 / 100);
	return out;
}

/* Writes the text of a field of numbers, or of the time. */
static const char *text_of(const record *r, field f, char *out)
{
	switch (f) {
	case FIELD_TIME:
		print_time(out, r->time_ms);
		out[strcspn(out, "T")] = ' ';
		out[strcspn(out, "Z")] = '\0';
		return out;
	case FIELD_STATUS:
		snprintf(out, PRINT_NUMBER, r->status > 0 ? "%d" : "-", (int)r->status);
		return out;
	case FIELD_INPUT:
		return count(out, r->input < 0 ? -1 :
						 r->input + (r->cache_read > 0 ? r->cache_read : 0) +
							 (r->cache_write > 0 ? r->cache_write : 0));
	case FIELD_OUTPUT:
		return count(out, r->output);
	case FIELD_COST:
		return cost(out, r);
	case FIELD_TOOK:
		return took(out, r->total_ms);
	case FIELD_MODEL:
	case FIELD_ROUTE:
	case FIELD_PROJECT:
	case FIELD_CLIENT:
	case FIELD_ID:
	case FIELDS:
		break;
	}
	*out = '\0';
	return out;
}

static const char *label_of(const record *r, field f)
{
	return f == FIELD_MODEL   ? r->model :
	       f == FIELD_ROUTE   ? r->route :
	       f == FIELD_PROJECT ? r->project :
	       f == FIELD_CLIENT  ? r->client :
				    r->id;
}

static paint paint_of(const record *r)
{
	return r->status >= 500 || r->status <= 0 ? PAINT_BAD : r->status >= 400 ? PAINT_WARN : PAINT_NONE;
}

void requests_line(const terminal *t, const record *r, const char *gateway)
{
	char text[PRINT_LABEL];

	if (gateway) {
		int len = print_label(text, t, gateway, GATEWAY_WIDTH);
		printf("%s%*s  ", text, GATEWAY_WIDTH - len, "");
	}
	terminal rest = beside(t, gateway != NULL);
	t = &rest;
	for (field f = 0; f < FIELDS; f++) {
		if (!is_shown(t, f))
			continue;
		int width = width_of(t, f), used = 0;
		fputs(f ? "  " : "", stdout);
		/* What was refused has used nothing: the reason stands in the place of tokens and cost. */
		if (f == FIELD_INPUT && r->code[0]) {
			width = fields[FIELD_INPUT].width + fields[FIELD_OUTPUT].width + fields[FIELD_COST].width + 4;
			used = print_label(text, t, r->code, width);
			printf("%s%*s", text, width - used, "");
			f = FIELD_COST;
			continue;
		}
		if (fields[f].number || f == FIELD_TIME) {
			bool painted = f == FIELD_STATUS && paint_of(r) != PAINT_NONE;
			text_of(r, f, text);
			printf("%s%*s%s", painted ? print_paint(t, paint_of(r)) : "", width, text,
			       painted ? print_paint(t, PAINT_NONE) : "");
		} else {
			used = print_label(text, t, *label_of(r, f) ? label_of(r, f) : "-", width);
			printf("%s%*s", text, f == FIELD_ID ? 0 : width - used, "");
		}
	}
	putchar('\n');
}

void requests_one(const terminal *t, const record *r, const char *gateway)
{
	char name[PRINT_LABEL];

	if (gateway) {
		print_label(name, t, gateway, PRINT_LABEL);
		printf("%-18s  %s\n", "gateway", name);
	}
	for (size_t i = 0; i < RECORD_COLUMNS; i++) {
		const record_column *c = &record_columns[i];
		char text[PRINT_LABEL], number[PRINT_NUMBER];
		printf("%-18s  ", c->name);
		if (c->kind == COLUMN_TEXT) {
			const char *label = column_of(r, c);
			print_label(text, t, *label ? label : "-", PRINT_LABEL);
			fputs(text, stdout);
		} else if (c->kind == COLUMN_MONEY || (c->kind == COLUMN_COST && is_priced(r))) {
			fputs(print_money(number, *(const int64_t *)column_of(r, c), 9), stdout);
		} else if (c->kind == COLUMN_COST ||
			   (c->kind == COLUMN_COUNT && *(const int64_t *)column_of(r, c) < 0)) {
			fputs("not known", stdout);
		} else if (c->kind == COLUMN_COUNT || c->kind == COLUMN_NUMBER) {
			fputs(print_count(number, *(const int64_t *)column_of(r, c)), stdout);
		} else {
			export_column(r, c);
		}
		putchar('\n');
	}
}
