/* SPDX-License-Identifier: MIT
 *
 * The savings for a person: totals, then a table with as many columns as the terminal has room for. */
#include "report/savings.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/sum.h"

enum {
	ROWS_SHOWN = 30,  /* models, routes ...; the others are added up in one row */
	MODELS_SHOWN = 6, /* names of models whose requests are in doubt */
	/* in columns of the terminal */
	BAR = 10,       /* of the table: a column is 10 % of the whole, whatever the terminal and the table */
	BAR_MAX = 24,   /* of the totals */
	LABEL_MIN = 22, /* names take at least this, or what they need, before there is a bar */
	LABEL_MAX = 44,
};

static int64_t tokens_in(const store_sums *s)
{
	return add_capped(add_capped(s->input, s->cache_read), s->cache_write);
}

static void spaces(int n)
{
	printf("%*s", n > 0 ? n : 0, "");
}

/* Text that is wrapped at `columns`; further lines are indented by `indent`. */
typedef struct flow {
	int at, indent, columns;
	bool begun;
} flow;

static void flow_word(flow *f, const char *word, int width)
{
	if (f->begun && f->at + 1 + width > f->columns) {
		putchar('\n');
		spaces(f->indent);
		f->at = f->indent;
	} else if (f->begun) {
		putchar(' ');
		f->at++;
	}
	fputs(word, stdout);
	f->at += width;
	f->begun = true;
}

/* Prints `text`, ASCII only, word by word. */
static void flow_text(flow *f, const char *text)
{
	char word[64];

	while (*text) {
		size_t len = strcspn(text, " ");
		snprintf(word, sizeof word, "%.*s", (int)len, text);
		flow_word(f, word, (int)strlen(word));
		text += len + (text[len] == ' ');
	}
}

/* ---- the table */

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

static const char *money_cell(const table *t, char *out, int64_t nano)
{
	char digits[PRINT_NUMBER];

	/* An amount that would round to 0 has more digits than the others. */
	for (unsigned decimals = t->decimals; decimals <= 9; decimals++) {
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

/* No request told its tokens, or none that used any. */
static bool nothing_known(const store_sums *s)
{
	return s->unknown_requests && !tokens_in(s) && !s->output && !s->cost;
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
	/* What has no price has saved nobody knows how much, which is not $0.00. */
	if ((nothing_known(s) || nothing_priced(s)) && c >= COL_COMPRESSION && c <= COL_SAVED) {
		snprintf(out, PRINT_NUMBER, "-");
		return out;
	}
	switch (c) {
	case COL_REQUESTS:
		return print_count(out, s->requests);
	case COL_TOKENS:
		return print_short(out, add_capped(tokens_in(s), s->output));
	case COL_INPUT:
		return print_short(out, s->input);
	case COL_CACHED:
		return print_short(out, add_capped(s->cache_read, s->cache_write));
	case COL_OUTPUT:
		return print_short(out, s->output);
	case COL_COST:
		if (!nothing_priced(s))
			return money_cell(t, out, s->cost);
		snprintf(out, PRINT_NUMBER, "unpriced");
		return out;
	case COL_MARK:
		snprintf(out, PRINT_NUMBER, "%s%s", is_rough(s) ? "~" : "", is_too_low(s) ? "+" : "");
		return out;
	case COL_SHARE:
		return print_share(out, weight(t, s),
				   (nothing_priced(s) || nothing_known(s)) && t->by_cost ? 0 : t->whole);
	case COL_COMPRESSION:
		return money_cell(t, out, s->saved_compression);
	case COL_ROUTING:
		return money_cell(t, out, s->saved_routing);
	case COL_GATEWAY:
		return money_cell(t, out, savings_gateway(s));
	case COL_CACHING:
		return money_cell(t, out, s->saved_cache);
	case COL_SAVED:
		return money_cell(t, out, savings_all(s));
	case COL_LABEL:
	case COL_BAR:
	case COLUMNS:
		break;
	}
	*out = '\0';
	return out;
}

static const char *label_of(const store_sums *s)
{
	return *s->label ? s->label : "(none)";
}

/* Returns how many decimals money has in a table whose largest amount is `most`. */
static unsigned decimals_for(int64_t most)
{
	return most >= 1000000000 || !most ? 2 : most >= 10000000 ? 4 : 6;
}

static int64_t absolute(int64_t n)
{
	return n < 0 ? n == INT64_MIN ? INT64_MAX : -n : n;
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
		int width = print_label(text, term, label_of(&t->rows[row]), LABEL_MAX);
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

	int width = print_label(text, term, s == &t->report->total ? "total" : label_of(s), t->width[COL_LABEL]);
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

static void print_table(savings_report *r)
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
	t.decimals = decimals_for(most_money);
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
		printf("+ too low: some tokens have no price, or are not known\n");
	if (!t.by_cost)
		printf("share: of the requests, because there is no cost\n");
	if (shown < r->rows.count)
		printf("--csv or --json has every row\n");
}

/* ---- the totals */

enum { TOTAL_LABEL = 23 };

static void print_title(const savings_report *r)
{
	char from[PRINT_NUMBER], to[PRINT_NUMBER];
	const period *p = &r->period;
	int64_t end = p->to_ms < r->now_ms ? p->to_ms : r->now_ms;

	const char *of = r->fleet ? " of the fleet" : "";

	if (p->from_ms == 0 && p->to_ms == INT64_MAX)
		printf("Savings%s, all recorded requests up to %s UTC\n\n", of, print_minute(to, end));
	else if (p->from_ms == 0)
		printf("Savings%s, all recorded requests before %s UTC\n\n", of, print_minute(to, p->to_ms));
	else
		printf("Savings%s, %s to %s UTC\n\n", of, print_minute(from, p->from_ms),
		       print_minute(to, p->to_ms == INT64_MAX ? end : p->to_ms));
}

typedef struct total_line {
	const char *name, *value;
	char note[160];
	int64_t part, whole; /* shown as a share if `whole` is not 0, with a bar if there is no note */
	int depth;           /* 1: a part of the last line of depth 0; 2: of the last one of depth 1 */
} total_line;

static void print_total_lines(const savings_report *r, const total_line *lines, size_t count)
{
	int width = 0, bar;
	char share[PRINT_NUMBER];

	for (size_t i = 0; i < count; i++)
		width = (int)strlen(lines[i].value) > width ? (int)strlen(lines[i].value) : width;
	bar = r->terminal.columns - TOTAL_LABEL - width - 12;
	bar = bar > BAR_MAX ? BAR_MAX : bar;
	for (size_t i = 0; i < count; i++) {
		const total_line *l = &lines[i];
		printf("%*s%-*s%*s", 2 * l->depth, "", TOTAL_LABEL - 2 * l->depth, l->name, width, l->value);
		if (l->whole > 0)
			printf("  %6s", print_share(share, l->part, l->whole));
		if (l->note[0]) {
			int at = TOTAL_LABEL + width + (l->whole > 0 ? 8 : 0) + 2;
			flow f = { at, at, r->terminal.columns, false };
			printf("  ");
			flow_text(&f, l->note);
		} else if (l->whole > 0 && l->part > 0 && bar > 0) {
			printf("  ");
			print_bar(stdout, &r->terminal, l->part, l->whole, bar);
		}
		putchar('\n');
	}
}

static void print_totals(const savings_report *r)
{
	const store_sums *s = &r->total;
	char n[13][PRINT_NUMBER], a[PRINT_NUMBER], b[PRINT_NUMBER];
	int64_t in = tokens_in(s), saved = savings_all(s), would = add_capped(s->cost, saved);
	int64_t gateway = savings_gateway(s), doubted[] = { savings_estimated_gateway(s), s->estimated_saved_cache };
	int64_t parts = add_capped(add_capped(absolute(s->saved_compression), absolute(s->saved_cache)),
				   absolute(s->saved_routing));
	unsigned decimals = decimals_for(absolute(s->cost) > parts ? absolute(s->cost) : parts);
	table t = { .decimals = decimals };
	/* Shares make sense only if no part is negative. */
	bool shares = saved > 0 && s->saved_compression >= 0 && s->saved_cache >= 0 && s->saved_routing >= 0;
	int64_t whole = shares ? saved : 0;
	total_line lines[] = {
		{ "requests", print_count(n[0], s->requests), "", 0, 0, 0 },
		{ "tokens in", print_count(n[1], in), "", 0, 0, 0 },
		{ "uncached", print_count(n[2], s->input), "", s->input, in, 1 },
		{ "cache read", print_count(n[3], s->cache_read), "", s->cache_read, in, 1 },
		{ "cache write", print_count(n[4], s->cache_write), "", s->cache_write, in, 1 },
		{ "tokens out", print_count(n[5], s->output), "", 0, 0, 0 },
		{ "cost", money_cell(&t, n[6], s->cost), "", 0, 0, 0 },
		{ "saved", money_cell(&t, n[7], saved), "", 0, 0, 0 },
		{ r->fleet ? "by the gateways" : "by this gateway", money_cell(&t, n[8], gateway), "", gateway, whole,
		  1 },
		{ "compression", money_cell(&t, n[9], s->saved_compression), "", s->saved_compression, whole, 2 },
		{ "routing", money_cell(&t, n[10], s->saved_routing), "", s->saved_routing, whole, 2 },
		{ "by providers' caches", money_cell(&t, n[11], s->saved_cache), "", s->saved_cache, whole, 1 },
	};
	total_line *by[] = { &lines[8], &lines[11] };

	char *note = lines[0].note;
	size_t len = 0, room = sizeof lines[0].note;
	const struct {
		int64_t n;
		const char *what;
	} kinds[] = { { s->streams, "streamed" }, { s->refused, "refused" }, { s->failed, "failed" } };
	for (size_t i = 0; i < 3; i++)
		if (kinds[i].n)
			len += (size_t)snprintf(note + len, room - len, "%s%s %s", len ? ", " : "",
						print_count(a, kinds[i].n), kinds[i].what);
	if (s->saved)
		snprintf(lines[1].note, room, "compression removed %s more", print_count(a, s->saved));
	if (s->estimated_output)
		snprintf(lines[5].note, room, "%s without estimates", print_count(a, s->output - s->estimated_output));
	if (s->estimated_cost)
		snprintf(lines[6].note, room, "%s without estimates", money_cell(&t, a, s->cost - s->estimated_cost));
	if (would > 0 && saved)
		snprintf(lines[7].note, room, "%s of the %s it would have cost", print_share(a, saved, would),
			 money_cell(&t, b, would));
	for (size_t i = 0; i < 2; i++)
		if (doubted[i])
			snprintf(by[i]->note, room, "%s without estimates",
				 money_cell(&t, a, (i ? s->saved_cache : gateway) - doubted[i]));
	print_total_lines(r, lines, sizeof lines / sizeof lines[0]);
}

/* Prints the names in `l` that have requests of the doubt `d`, and `end` behind the last one. */
static void flow_named(flow *f, const savings_report *r, const savings_list *l, const savings_doubt *d, char end)
{
	char label[PRINT_LABEL + 2], more[64];
	size_t count = savings_order(l, d);

	for (size_t i = 0; i < count && i < MODELS_SHOWN; i++) {
		int width = print_label(label, &r->terminal, label_of(&l->items[i]), LABEL_MAX);
		bool last = i + 1 == count;
		size_t len = strlen(label);
		snprintf(label + len, sizeof label - len, "%.1s", last ? &end : i + 1 < MODELS_SHOWN ? "," : "");
		flow_word(f, label, width + (last || i + 1 < MODELS_SHOWN));
	}
	if (count > MODELS_SHOWN) {
		snprintf(more, sizeof more, "and %zu more%c", count - MODELS_SHOWN, end);
		flow_text(f, more);
	}
}

/* Prints `text` and then the names of the models that have requests of the doubt `d`; for DOUBT_UNTOLD of the clients,
 * too. */
static void print_named(const savings_report *r, const char *text, unsigned d)
{
	flow f = { 0, 2, r->terminal.columns, false };

	flow_text(&f, text);
	flow_named(&f, r, &r->models, &savings_doubts[d], d == DOUBT_UNTOLD ? ';' : ')');
	if (d == DOUBT_UNTOLD) {
		flow_text(&f, "clients:");
		flow_named(&f, r, &r->clients, &savings_doubts[d], ')');
	}
	putchar('\n');
}

/* Prints which requests are estimated, partial, unknown or unpriced. */
static void print_doubts(const savings_report *r)
{
	const store_sums *s = &r->total;
	char a[PRINT_NUMBER], b[PRINT_NUMBER], c[PRINT_NUMBER], text[256];
	table t = { .decimals = decimals_for(absolute(s->estimated_cost)) };

	if (s->estimated_requests || s->untold_requests || s->partial_requests || s->unknown_requests ||
	    s->partly_priced_requests || s->unpriced_requests)
		putchar('\n');
	if (s->estimated_requests) {
		flow f = { 0, 2, r->terminal.columns, false };
		snprintf(text, sizeof text,
			 "estimated: %s requests, %s tokens out, %s: streams that did not report their usage",
			 print_count(a, s->estimated_requests), print_count(b, s->estimated_output),
			 money_cell(&t, c, s->estimated_cost));
		flow_text(&f, text);
		putchar('\n');
	}
	if (s->untold_requests) {
		snprintf(text, sizeof text,
			 "untold: %s streams, which told no usage because they did not ask for it (models:",
			 print_count(a, s->untold_requests));
		print_named(r, text, DOUBT_UNTOLD);
	}
	if (s->partial_requests)
		printf("partial: %s requests, whose output tokens are a lower bound\n",
		       print_count(a, s->partial_requests));
	if (s->unknown_requests) {
		snprintf(text, sizeof text,
			 "unknown: %s requests, whose tokens nobody told: tokens, cost and saved are too low (models:",
			 print_count(a, s->unknown_requests));
		print_named(r, text, DOUBT_UNKNOWN);
	}
	if (s->partly_priced_requests) {
		snprintf(text, sizeof text, "partly priced: %s requests, whose cost is rough (models:",
			 print_count(a, s->partly_priced_requests));
		print_named(r, text, DOUBT_PARTLY_PRICED);
	}
	if (s->unpriced_requests) {
		snprintf(text, sizeof text,
			 "unpriced: %s requests, %s tokens (models:", print_count(a, s->unpriced_requests),
			 print_count(b, s->unpriced_tokens));
		print_named(r, text, DOUBT_UNPRICED);
	}
}

/* Says which requests the report is about, if not about all, and which of them it cannot know. */
static void print_filter(const savings_report *r)
{
	const struct {
		const char *name, *value;
	} labels[] = {
		{ "model", r->only.model },   { "route", r->only.route }, { "project", r->only.project },
		{ "client", r->only.client }, { "id", r->only.id },
	};
	char text[PRINT_LABEL], number[PRINT_NUMBER];

	if (filter_is_empty(&r->only))
		return;
	fputs("only", stdout);
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		if (!labels[i].value)
			continue;
		print_label(text, &r->terminal, *labels[i].value ? labels[i].value : "(none)", LABEL_MAX);
		printf(" %s %s", labels[i].name, text);
	}
	if (r->only.status_to == 1)
		fputs(" without a status", stdout);
	else if (r->only.status_to)
		printf(r->only.status_to - r->only.status_from > 1 ? " status %dxx" : " status %d",
		       r->only.status_to - r->only.status_from > 1 ? r->only.status_from / 100 : r->only.status_from);
	putchar('\n');
	if (r->missing_ms)
		printf("Requests before %s UTC were pruned, and are not in it; without a filter they are.\n",
		       print_minute(number, r->missing_ms));
	putchar('\n');
}

void savings_print(savings_report *r)
{
	print_title(r);
	print_filter(r);
	if (!r->total.requests) {
		printf("No requests in this period.%s\n", r->period.from_ms ?
								  " --since all shows every recorded request." :
								  " The agent records a request when it ends.");
		return;
	}
	print_totals(r);
	print_doubts(r);
	putchar('\n');
	print_table(r);
}
