/* SPDX-License-Identifier: MIT
 *
 * The savings for a person: totals, what is in doubt, then the table. */
#include "report/savings_impl.h"

#include "base/sum.h"

enum {
	NARROWEST = 60,   /* columns; names are not cut further for a narrower terminal */
	MODELS_SHOWN = 6, /* names of models whose requests are in doubt */
	BAR_MAX = 24,     /* columns of the terminal */
};

/* Text that is wrapped at `columns`; further lines are indented by `indent`. */
typedef struct flow {
	int at, indent, columns;
	bool begun;
} flow;

static void flow_word(flow *f, const char *word, int width)
{
	if (f->begun && f->at + 1 + width > f->columns) {
		putchar('\n');
		printf("%*s", f->indent, "");
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
	int64_t in = savings_tokens_in(s), saved = savings_all(s), would = add_capped(s->cost, saved);
	int64_t gateway = savings_gateway(s), doubted[] = { savings_estimated_gateway(s), s->estimated_saved_cache };
	int64_t parts = add_capped(add_capped(absolute(s->saved_compression), absolute(s->saved_cache)),
				   absolute(s->saved_routing));
	unsigned decimals = savings_decimals(absolute(s->cost) > parts ? absolute(s->cost) : parts);
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
		{ "cost", savings_money(n[6], decimals, s->cost), "", 0, 0, 0 },
		{ "saved", savings_money(n[7], decimals, saved), "", 0, 0, 0 },
		{ r->fleet ? "by the gateways" : "by this gateway", savings_money(n[8], decimals, gateway), "", gateway,
		  whole, 1 },
		{ "compression", savings_money(n[9], decimals, s->saved_compression), "", s->saved_compression, whole,
		  2 },
		{ "routing", savings_money(n[10], decimals, s->saved_routing), "", s->saved_routing, whole, 2 },
		{ "by providers' caches", savings_money(n[11], decimals, s->saved_cache), "", s->saved_cache, whole,
		  1 },
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
		snprintf(lines[6].note, room, "%s without estimates",
			 savings_money(a, decimals, s->cost - s->estimated_cost));
	if (would > 0 && saved)
		snprintf(lines[7].note, room, "%s of the %s it would have cost", print_share(a, saved, would),
			 savings_money(b, decimals, would));
	for (size_t i = 0; i < 2; i++)
		if (doubted[i])
			snprintf(by[i]->note, room, "%s without estimates",
				 savings_money(a, decimals, (i ? s->saved_cache : gateway) - doubted[i]));
	print_total_lines(r, lines, sizeof lines / sizeof lines[0]);
}

/* ---- which requests are not exact */

/* A row of the table of what is not exact. */
typedef struct doubt_row {
	const char *name;
	int64_t requests; /* 0: there is no row */
	int doubt;        /* of savings_doubts, whose models are named; DOUBT_NONE: no models are */
	char note[128];
} doubt_row;

enum { DOUBT_NONE = -1 };

/* Prints `what` and the names in `l` that have requests of the doubt `d`, and `end` behind the last one. */
static void flow_named(flow *f, const savings_report *r, const char *what, const savings_list *l,
		       const savings_doubt *d, const char *end)
{
	char label[PRINT_LABEL + 2], more[64];
	size_t count = savings_order(l, d);
	int room = (f->columns > NARROWEST ? f->columns : NARROWEST) - f->indent - 1;

	flow_text(f, what);
	for (size_t i = 0; i < count && i < MODELS_SHOWN; i++) {
		const char *mark = i + 1 == count ? end : i + 1 < MODELS_SHOWN ? "," : "";
		int width = print_label(label, &r->terminal, savings_label(&l->items[i]),
					room < SAVINGS_LABEL_MAX ? room : SAVINGS_LABEL_MAX);
		size_t len = strlen(label);
		snprintf(label + len, sizeof label - len, "%.1s", mark);
		flow_word(f, label, width + (*mark != '\0'));
	}
	if (count > MODELS_SHOWN) {
		snprintf(more, sizeof more, "and %zu more%.1s", count - MODELS_SHOWN, end);
		flow_text(f, more);
	}
}

static void print_doubt(const savings_report *r, const doubt_row *row, int width)
{
	const int at = TOTAL_LABEL + width + 2;
	char count[PRINT_NUMBER];
	flow f = { at, at, r->terminal.columns, false };

	printf("  %-*s%*s  ", TOTAL_LABEL - 2, row->name, width, print_count(count, row->requests));
	flow_text(&f, row->note);
	if (row->doubt != DOUBT_NONE)
		flow_named(&f, r, "models:", &r->models, &savings_doubts[row->doubt],
			   row->doubt == DOUBT_UNTOLD ? ";" : "");
	if (row->doubt == DOUBT_UNTOLD)
		flow_named(&f, r, "clients:", &r->clients, &savings_doubts[DOUBT_UNTOLD], "");
	putchar('\n');
}

/* Prints a table of the requests that are estimated, partial, unknown or unpriced; nothing if there are none. */
static void print_doubts(const savings_report *r)
{
	const store_sums *s = &r->total;
	char a[PRINT_NUMBER], b[PRINT_NUMBER];
	int width = (int)strlen("requests");
	doubt_row rows[] = {
		{ "estimated", s->estimated_requests, DOUBT_NONE, "" },
		{ "untold", s->untold_requests, DOUBT_UNTOLD, "streams whose requests did not ask for usage;" },
		{ "partial", s->partial_requests, DOUBT_NONE, "their output tokens are a lower bound" },
		{ "unknown", s->unknown_requests, DOUBT_UNKNOWN,
		  "nobody reported their tokens, so tokens, cost and saved are too low;" },
		{ "partly priced", s->partly_priced_requests, DOUBT_PARTLY_PRICED, "their cost is rough;" },
		{ "unpriced", s->unpriced_requests, DOUBT_UNPRICED, "" },
	};
	const size_t count = sizeof rows / sizeof rows[0];
	bool any = false;

	snprintf(rows[0].note, sizeof rows[0].note, "streams that did not report usage: %s tokens out, %s",
		 print_count(a, s->estimated_output),
		 savings_money(b, savings_decimals(absolute(s->estimated_cost)), s->estimated_cost));
	snprintf(rows[count - 1].note, sizeof rows[0].note, "%s tokens without a price (see the option prices);",
		 print_count(a, s->unpriced_tokens));
	for (size_t i = 0; i < count; i++) {
		int len = (int)strlen(print_count(a, rows[i].requests));
		width = len > width ? len : width;
		any = any || rows[i].requests;
	}
	if (any)
		printf("\n%-*s%*s\n", TOTAL_LABEL, "not exact", width, "requests");
	for (size_t i = 0; i < count; i++)
		if (rows[i].requests)
			print_doubt(r, &rows[i], width);
}

/* Says which requests the report is about, if not about all, and which of them it cannot know. */
static void print_filter(const savings_report *r)
{
	const struct {
		const char *name, *value;
	} labels[] = {
		{ "model", r->only.model },   { "route", r->only.route },   { "project", r->only.project },
		{ "client", r->only.client }, { "member", r->only.member }, { "code", r->only.code },
		{ "id", r->only.id },
	};
	char text[PRINT_LABEL], number[PRINT_NUMBER];

	if (filter_is_empty(&r->only))
		return;
	fputs("only", stdout);
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		if (!labels[i].value)
			continue;
		print_label(text, &r->terminal, *labels[i].value ? labels[i].value : "(none)", SAVINGS_LABEL_MAX);
		printf(" %s %s", labels[i].name, text);
	}
	if (r->only.status_to == 1)
		fputs(" without a status", stdout);
	else if (r->only.status_to)
		printf(r->only.status_to - r->only.status_from > 1 ? " status %dxx" : " status %d",
		       r->only.status_to - r->only.status_from > 1 ? r->only.status_from / 100 : r->only.status_from);
	putchar('\n');
	if (r->missing_ms)
		printf("Requests before %s UTC were pruned, and are missing here; without a filter they are counted.\n",
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
	savings_print_compared(r);
	print_doubts(r);
	putchar('\n');
	savings_print_table(r);
}
