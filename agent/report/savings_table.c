/* SPDX-License-Identifier: MIT
 *
 * The table of the savings, with as many columns as the terminal has room for. */
#include "report/savings_impl.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/sum.h"

enum {
	ROWS_SHOWN = 30, /* models, routes ...; the others are added up in one row */
	/* in columns of the terminal */
	BAR = 10,       /* a column is 10 % of the whole, whatever the terminal and the table */
	LABEL_MIN = 22, /* names take at least this, or what they need, before there is a bar */
};

int64_t savings_tokens_in(const store_sums *s)
{
	return add_capped(add_capped(s->input, s->cache_read), s->cache_write);
}

static void spaces(int n)
{
	printf("%*s", n > 0 ? n : 0, "");
}

typedef enum column {
	COL_LABEL,
	COL_REQUESTS,
	COL_TOKENS,
	COL_INPUT,
	COL_CACHED,
	COL_OUTPUT,
	COL_COST,
	COL_MARK,
	COL_SHARE,
	COL_BAR,
	COL_COMPRESSION,
	COL_ROUTING,
	COL_GATEWAY, /* compression and routing together */
	COL_CACHING,
	COL_SAVED,
	COLUMNS,
} column;

static const char *const titles[COLUMNS] = {
	[COL_LABEL] = "",
	[COL_REQUESTS] = "requests",
	[COL_TOKENS] = "tokens",
	[COL_INPUT] = "input",
	[COL_CACHED] = "cached",
	[COL_OUTPUT] = "output",
	[COL_COST] = "cost",
	[COL_MARK] = "",
	[COL_SHARE] = "share",
	[COL_BAR] = "",
	[COL_COMPRESSION] = "compression",
	[COL_ROUTING] = "routing",
	[COL_GATEWAY] = "gateway",
	[COL_CACHING] = "caching",
	[COL_SAVED] = "saved",
};

typedef struct table {
	const savings_report *report;
	const store_sums *rows;
	size_t count;
	int width[COLUMNS];  /* 0: not shown */
	unsigned decimals;   /* of money, in all rows */
	bool by_cost;        /* share and bar show the cost; else the requests */
	int64_t whole;       /* cost or requests of all rows */
	bool totalled;       /* there is a row with the totals at the end */
	bool rough, too_low; /* some cost in the table has the mark ~; the mark + */
} table;

static int64_t weight(const table *t, const store_sums *s)
{
	return t->by_cost ? s->cost : s->requests;
}

const char *savings_money(char *out, unsigned decimals, int64_t nano)
{
	char digits[PRINT_NUMBER];

	/* An amount that would round to 0 has more digits than the others. */
	for (; decimals <= 9; decimals++) {
		print_money(digits, nano, decimals);
		if (!nano || strpbrk(digits, "123456789"))
			break;
	}
	snprintf(out, PRINT_NUMBER, "%.40s", digits);
	return out;
}

static bool nothing_priced(const store_sums *s)
{
	return s->unpriced_requests && !s->cost;
}

/* Some requests did not tell their tokens, and no other request used any. */
static bool nothing_known(const store_sums *s)
{
	return s->unknown_requests && !savings_tokens_in(s) && !s->output && !s->cost;
}

static bool is_rough(const store_sums *s)
{
	return s->estimated_cost || s->partly_priced_requests;
}

static bool is_too_low(const store_sums *s)
{
	return (s->unpriced_requests || s->unknown_requests) && !nothing_priced(s) && !nothing_known(s);
}

/* Writes the text of a cell of any column but label and bar. */
static const char *cell(const table *t, const store_sums *s, column c, char *out)
{
	if (nothing_known(s) && c >= COL_TOKENS && c <= COL_COST) {
		snprintf(out, PRINT_NUMBER, "unknown");
		return out;
	}
	/* What requests without a price have saved is not known, which is not $0.00. */
	if ((nothing_known(s) || nothing_priced(s)) && c >= COL_COMPRESSION && c <= COL_SAVED) {
		snprintf(out, PRINT_NUMBER, "-");
		return out;
	}
	switch (c) {
	case COL_REQUESTS:
		return print_count(out, s->requests);
	case COL_TOKENS:
		return print_short(out, add_capped(savings_tokens_in(s), s->output));
	case COL_INPUT:
		return print_short(out, s->input);
	case COL_CACHED:
		return print_short(out, add_capped(s->cache_read, s->cache_write));
	case COL_OUTPUT:
		return print_short(out, s->output);
	case COL_COST:
		if (!nothing_priced(s))
			return savings_money(out, t->decimals, s->cost);
		snprintf(out, PRINT_NUMBER, "unpriced");
		return out;
	case COL_MARK:
		snprintf(out, PRINT_NUMBER, "%s%s", is_rough(s) ? "~" : "", is_too_low(s) ? "+" : "");
		return out;
	case COL_SHARE:
		return print_share(out, weight(t, s),
				   (nothing_priced(s) || nothing_known(s)) && t->by_cost ? 0 : t->whole);
	case COL_COMPRESSION:
		return savings_money(out, t->decimals, s->saved_compression);
	case COL_ROUTING:
		return savings_money(out, t->decimals, s->saved_routing);
	case COL_GATEWAY:
		return savings_money(out, t->decimals, savings_gateway(s));
	case COL_CACHING:
		return savings_money(out, t->decimals, s->saved_cache);
	case COL_SAVED:
		return savings_money(out, t->decimals, savings_all(s));
	case COL_LABEL:
	case COL_BAR:
	case COLUMNS:
		break;
	}
	*out = '\0';
	return out;
}

const char *savings_label(const store_sums *s)
{
	return *s->label ? s->label : "(none)";
}

unsigned savings_decimals(int64_t most)
{
	return most >= 1000000000 || !most ? 2 : most >= 10000000 ? 4 : 6;
}

/* Sets the widths of the columns `shown`. Returns the sum; label and bar are not in it. */
static int measure(table *t, const column *shown)
{
	char text[PRINT_LABEL];
	int used = 0;

	memset(t->width, 0, sizeof t->width);
	for (size_t i = 0; shown[i] != COLUMNS; i++) {
		column c = shown[i];
		int width = (int)strlen(titles[c]);
		for (size_t row = 0; row < t->count; row++) {
			int len = (int)strlen(cell(t, &t->rows[row], c, text));
			width = len > width ? len : width;
		}
		if (t->totalled) {
			int len = (int)strlen(cell(t, &t->report->total, c, text));
			width = len > width ? len : width;
		}
		t->width[c] = width;
		/* Two spaces between columns; none between the cost and its mark. */
		used += width + (c == COL_MARK ? 0 : 2);
	}
	return used;
}

/* Takes the layout with the most columns that leaves room for names and a bar. */
static void lay_out(table *t)
{
	static const column all[] = { COL_REQUESTS, COL_INPUT,       COL_CACHED,  COL_OUTPUT,  COL_COST,  COL_MARK,
				      COL_SHARE,    COL_COMPRESSION, COL_ROUTING, COL_CACHING, COL_SAVED, COLUMNS };
	static const column some[] = { COL_REQUESTS,    COL_TOKENS,  COL_COST,    COL_MARK,  COL_SHARE,
				       COL_COMPRESSION, COL_ROUTING, COL_CACHING, COL_SAVED, COLUMNS };
	static const column few[] = { COL_REQUESTS, COL_TOKENS,  COL_COST,  COL_MARK,
				      COL_SHARE,    COL_GATEWAY, COL_SAVED, COLUMNS };
	static const column least[] = { COL_REQUESTS, COL_TOKENS, COL_COST, COL_MARK, COL_SHARE, COL_SAVED, COLUMNS };
	static const column *const layouts[] = { all, some, few, least };
	const terminal *term = &t->report->terminal;
	char text[PRINT_LABEL];
	int label = (int)strlen(t->report->by), rest = 0;

	for (size_t row = 0; row < t->count; row++) {
		int width = print_label(text, term, savings_label(&t->rows[row]), SAVINGS_LABEL_MAX);
		label = width > label ? width : label;
	}
	for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
		rest = term->columns - measure(t, layouts[i]);
		if (rest >= (label < LABEL_MIN ? label : LABEL_MIN) + 2 + BAR)
			break;
	}
	t->width[COL_BAR] = rest >= (label < LABEL_MIN ? label : LABEL_MIN) + 2 + BAR ? BAR : 0;
	rest -= t->width[COL_BAR] ? t->width[COL_BAR] + 2 : 0;
	t->width[COL_LABEL] = label <= rest ? label : rest > 8 ? rest : 8;
}

static void print_heading(const table *t)
{
	printf("%-*s", t->width[COL_LABEL], t->report->by);
	for (column c = COL_REQUESTS; c < COLUMNS; c++)
		if (t->width[c])
			printf("%s%*s", c == COL_MARK ? "" : "  ", t->width[c], titles[c]);
	putchar('\n');
}

static void print_row(const table *t, const store_sums *s)
{
	const terminal *term = &t->report->terminal;
	char text[PRINT_LABEL];

	int width = print_label(text, term, s == &t->report->total ? "total" : savings_label(s), t->width[COL_LABEL]);
	fputs(text, stdout);
	spaces(t->width[COL_LABEL] - width);
	for (column c = COL_REQUESTS; c < COLUMNS; c++) {
		if (!t->width[c])
			continue;
		if (c == COL_BAR) {
			printf("  ");
			bool row = s != &t->report->total;
			spaces(t->width[c] - (row ? print_bar(stdout, term, weight(t, s), t->whole, t->width[c]) : 0));
		} else if (c == COL_MARK) {
			printf("%-*s", t->width[c], cell(t, s, c, text));
		} else {
			paint p = c == COL_COST && nothing_priced(s)                       ? PAINT_WARN :
				  c == COL_SAVED && *cell(t, s, c, text) == '-' && text[1] ? PAINT_BAD :
											     PAINT_NONE;
			printf("  %s%*s%s", p ? print_paint(term, p) : "", t->width[c], cell(t, s, c, text),
			       p ? print_paint(term, PAINT_NONE) : "");
		}
	}
	putchar('\n');
}

/* Days or hours without a request have no row: prints a line that says how many are left out. */
static void print_pause(const savings_report *r, const char *before, const char *after)
{
	const int64_t unit = r->group == GROUP_DAY ? DAY_MS : HOUR_MS;
	int64_t from, to;
	err e;

	if (!period_point(before, 0, false, &from, &e) || !period_point(after, 0, false, &to, &e) || to - from <= unit)
		return;
	int64_t n = (to - from) / unit - 1;
	printf("%s %" PRId64 " %s%s without a request\n", r->terminal.utf8 ? "\xe2\x80\xa6" : "...", n,
	       r->group == GROUP_DAY ? "day" : "hour", n == 1 ? "" : "s");
}

void savings_print_table(savings_report *r)
{
	bool in_time = r->group == GROUP_DAY || r->group == GROUP_HOUR;
	table t = { .report = r, .rows = r->rows.items, .count = r->rows.count, .by_cost = r->total.cost > 0 };
	store_sums others;
	char label[64];
	size_t shown = t.count;
	int64_t most_money = 0;

	memset(&others, 0, sizeof others);
	if (!in_time && t.count > ROWS_SHOWN + 1) {
		shown = ROWS_SHOWN;
		for (size_t i = shown; i < t.count; i++)
			store_sums_merge(&others, &t.rows[i]);
		snprintf(label, sizeof label, "(%zu more)", t.count - shown);
		memcpy(others.label, label, sizeof label);
		r->rows.items[shown] = others; /* savings_print() may change the rows */
		t.count = shown + 1;
	}
	t.whole = t.by_cost ? r->total.cost : r->total.requests;
	for (size_t i = 0; i < t.count; i++) {
		const store_sums *s = &t.rows[i];
		int64_t money[] = { absolute(s->cost), absolute(savings_all(s)) };
		for (size_t m = 0; m < 2; m++)
			most_money = money[m] > most_money ? money[m] : most_money;
		t.rough = t.rough || is_rough(s);
		t.too_low = t.too_low || is_too_low(s);
	}
	t.decimals = savings_decimals(most_money);
	t.totalled = t.count > 1;
	lay_out(&t);
	print_heading(&t);
	for (size_t i = 0; i < t.count && !output_failed(); i++) {
		if (in_time && i)
			print_pause(r, t.rows[i - 1].label, t.rows[i].label);
		print_row(&t, &t.rows[i]);
	}
	if (t.totalled)
		print_row(&t, &r->total);
	putchar('\n');
	if (t.width[COL_TOKENS])
		printf("tokens: input, cached and output together\n");
	if (t.rough)
		printf("~ partly estimated, or partly priced\n");
	if (t.too_low)
		printf("+ too low: some tokens are unknown or have no price\n");
	if (!t.by_cost)
		printf("share: of the requests, because there is no cost\n");
	if (shown < r->rows.count)
		printf("--csv or --json has every row\n");
}
