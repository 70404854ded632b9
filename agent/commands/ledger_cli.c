/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger export`, `verify` and `prune`. */
#include "commands/ledger_cli.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sysexits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "commands/cli.h"
#include "report/period.h"
#include "report/print.h"

/* ---- opening it */

/* What stands in the way before SQLite is asked. EX_OK: nothing; else `e` says what. */
static int look(const char *ledger, const char *path, bool writer, bool make, err *e)
{
	struct stat dir;

	const char *problem = stat(ledger, &dir) != 0 ? strerror(errno) :
			      S_ISDIR(dir.st_mode)    ? NULL :
							"it is no directory";
	if (problem) {
		err_set(e, "ledger directory %.200s: %s; `ledger` in the configuration, or --ledger DIR, names it",
			ledger, problem);
		return EX_NOINPUT;
	}
	if (access(path, F_OK) != 0 && errno == EACCES) {
		err_set(e, "ledger directory %.200s: %s; read it as its owner (uid %u)", ledger, strerror(errno),
			(unsigned)dir.st_uid);
		return EX_NOPERM;
	}
	if (access(path, F_OK) == 0) {
		if (access(path, writer ? R_OK | W_OK : R_OK) == 0)
			return EX_OK;
		err_set(e, "ledger %.200s: %s; use it as its owner (uid %u)", path, strerror(errno),
			(unsigned)dir.st_uid);
		return EX_NOPERM;
	}
	if (!make) {
		err_set(e,
			"there is no ledger at %.120s yet: the agent makes it when it runs with --ledger %.120s, and "
			"`spoa-llm ledger import FILE` makes it from HAProxy's log files",
			path, ledger);
		return EX_NOINPUT;
	}
	/* A database of root's would lock the agent out. */
	if (geteuid() == 0 && dir.st_uid != 0) {
		err_set(e,
			"there is no ledger at %.200s yet, and one that root makes could not be written by the agent: import as "
			"the owner of the directory (uid %u)",
			path, (unsigned)dir.st_uid);
		return EX_NOPERM;
	}
	return EX_OK;
}

static atomic_bool hurried;

void ledger_hurry(void)
{
	atomic_store(&hurried, true);
}

bool ledger_again(store_result result, int *tries)
{
	const struct timespec pause = { 0, LEDGER_PAUSE_MS * 1000000L };

	if (result != STORE_BUSY || ++*tries > LEDGER_PATIENCE || atomic_load(&hurried))
		return false;
	nanosleep(&pause, NULL);
	return true;
}

static int exit_code(store_result result)
{
	switch (result) {
	case STORE_BUSY:
		return EX_TEMPFAIL;
	case STORE_CORRUPT:
		return EX_DATAERR;
	case STORE_OK:
	case STORE_FULL:
	case STORE_ERROR:
		break;
	}
	return EX_IOERR;
}

int ledger_failed(store_result result, const err *e)
{
	fprintf(stderr, "spoa-llm: %s\n", e->text);
	return exit_code(result);
}

store *ledger_try_open(const char *ledger, bool writer, bool make, int *code, err *e)
{
	store_result result = STORE_OK;
	store *s = NULL;
	int tries = 0;
	char *path;

	if (!*ledger) {
		err_set(e,
			"no ledger is configured: `ledger` in the configuration, or --ledger DIR, names its directory");
		*code = EX_CONFIG;
		return NULL;
	}
	if (asprintf(&path, "%s/ledger.db", ledger) < 0) {
		err_set(e, "out of memory");
		*code = EX_OSERR;
		return NULL;
	}
	*code = look(ledger, path, writer, make, e);
	if (*code == EX_OK) {
		do
			s = store_open(path, writer, &result, e);
		while (!s && ledger_again(result, &tries));
		if (!s)
			*code = exit_code(result);
	}
	free(path);
	return s;
}

store *ledger_open_store(const config *c, bool writer, bool make, int *code)
{
	err e = { "" };

	/* Written to a pipe that is closed, the rest of the work is not done, and the exit code says so. */
	signal(SIGPIPE, SIG_IGN);
	store *s = ledger_try_open(c->ledger, writer, make, code, &e);
	if (!s)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	return s;
}

/* ---- export */

/* The columns, in order. Their names are for programs: they stay. */
typedef enum column_kind { TEXT, COUNT, MONEY, OTHER } column_kind;

static const struct {
	const char *name; /* of a MONEY column without its unit: _nanodollars in JSON, _usd in CSV */
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

typedef struct export
{
	bool csv;
	int64_t last_ms;
	uint64_t at_last,
		skip; /* rows of last_ms that were written; those to leave out after a beginning in the middle */
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
		/* Of these only HAProxy's own termination state begins like a formula, "--". */
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
		/* What has no price has no cost, which is not a cost of nothing. */
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

int command_ledger_export(const config *c, const ledger_request *ask)
{
	export x = { .csv = ask->csv, .last_ms = -1 };
	store_result result;
	period p;
	int code, tries = 0;
	err e = { "" };

	if (ask->csv && ask->jsonl) {
		fprintf(stderr, "spoa-llm: give --csv or --jsonl\n");
		return EX_USAGE;
	}
	if (!period_parse(ask->since, ask->until, "all", &p, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	store *s = ledger_open_store(c, false, false, &code);
	if (!s)
		return code;
	for (size_t i = 0; x.csv && i < COLUMNS; i++)
		printf("%s%s%s", i ? "," : "", columns[i].name, columns[i].kind == MONEY ? "_usd" : "");
	if (x.csv)
		fputs("\r\n", stdout);
	for (;;) {
		result = store_export(s, p.from_ms, p.to_ms, write_row, &x, &e);
		if (!ledger_again(result, &tries))
			break;
		/* Rows that are new have later numbers, so those that were written come first again. */
		if (x.rows)
			p.from_ms = x.last_ms;
		x.skip = x.rows ? x.at_last : 0;
	}
	store_close(s);
	code = finish_output();
	return result == STORE_OK ? code : ledger_failed(result, &e);
}

/* ---- verify */

enum { GAPS_SHOWN = 3 };

typedef struct gap {
	int64_t from_ms, to_ms;
} gap;

typedef struct verify {
	bool json;
	size_t problems;
	gap *gaps;
	size_t count, room;
	int64_t first_ms, last_ms; /* hours with requests; -1: none */
	bool out_of_memory;
} verify;

static void on_problem(void *ctx, const char *problem)
{
	verify *v = ctx;
	terminal plain = { false, true, 0 };
	char text[PRINT_LABEL];

	if (v->json) {
		fputs(v->problems++ ? "," : "", stdout);
		json_write_text(stdout, problem);
		return;
	}
	v->problems++;
	/* It quotes names. */
	plain.utf8 = terminal_of(stdout).utf8;
	print_label(text, &plain, problem, PRINT_LABEL);
	printf("problem: %s\n", text);
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
	else if (at - v->last_ms > 3600000) {
		if (v->count == v->room) {
			size_t room = v->room ? v->room * 2 : 64;
			gap *gaps = realloc(v->gaps, room * sizeof *gaps);
			if (!gaps) {
				v->out_of_memory = true;
				return false;
			}
			v->gaps = gaps;
			v->room = room;
		}
		v->gaps[v->count++] = (gap){ v->last_ms + 3600000, at };
	}
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

static void print_gaps(verify *v, bool all)
{
	char from[PRINT_NUMBER], to[PRINT_NUMBER];

	if (v->json) {
		printf("],\"first_hour\":");
		printf(v->first_ms < 0 ? "null" : "\"%s\"", print_time(from, v->first_ms));
		printf(",\"last_hour\":");
		printf(v->first_ms < 0 ? "null" : "\"%s\"", print_time(to, v->last_ms));
		printf(",\"gaps\":[");
		for (size_t i = 0; i < v->count; i++)
			printf("%s{\"from\":\"%s\",\"to\":\"%s\"}", i ? "," : "", print_time(from, v->gaps[i].from_ms),
			       print_time(to, v->gaps[i].to_ms));
		printf("]}\n");
		return;
	}
	if (v->first_ms < 0) {
		printf("no request is recorded yet\n");
		return;
	}
	printf("requests from %s", print_minute(from, v->first_ms));
	printf(" to %s UTC\n", print_minute(to, v->last_ms + 3600000));
	if (!v->count) {
		printf("no hour between them is without one\n");
		return;
	}
	/* In order of time, or the few that say most. */
	if (!all)
		qsort(v->gaps, v->count, sizeof *v->gaps, longest_first);
	printf("%zu %s without a request between them%s\n", v->count, v->count == 1 ? "stretch" : "stretches",
	       all || v->count <= GAPS_SHOWN ? ":" : "; the longest (--gaps lists all):");
	for (size_t i = 0; i < v->count && (all || i < GAPS_SHOWN); i++)
		printf("  %s to %s  %" PRId64 " h\n", print_minute(from, v->gaps[i].from_ms),
		       print_minute(to, v->gaps[i].to_ms), (v->gaps[i].to_ms - v->gaps[i].from_ms) / 3600000);
}

int command_ledger_verify(const config *c, const ledger_request *ask)
{
	verify v = { .json = ask->json, .first_ms = -1 };
	store_result result;
	size_t problems = 0;
	int code, tries = 0;
	err e = { "" };

	store *s = ledger_open_store(c, false, false, &code);
	if (!s)
		return code == EX_DATAERR ? 1 : code; /* so damaged that it cannot be opened */
	if (v.json)
		printf("{\"problems\":[");
	result = store_verify(s, on_problem, &v, &problems, &e);
	/* The sums of a file that is damaged say nothing about gaps. */
	if (result == STORE_OK) {
		do {
			v.count = 0;
			v.first_ms = -1;
			result = store_report(s, GROUP_HOUR, 0, INT64_MAX, on_hour, &v, &e);
		} while (ledger_again(result, &tries));
	}
	store_close(s);
	if (v.out_of_memory) {
		result = STORE_ERROR;
		err_set(&e, "out of memory");
	}
	if (result != STORE_OK && result != STORE_CORRUPT) {
		free(v.gaps);
		finish_output();
		return ledger_failed(result, &e);
	}
	if (result == STORE_CORRUPT) {
		problems++;
		on_problem(&v, e.text);
	}
	if (!v.json)
		printf(problems ? "%zu problems\n" : "ok: the file is whole, and the sums equal the rows\n", problems);
	print_gaps(&v, ask->gaps);
	free(v.gaps);
	code = finish_output();
	return code == EX_OK && problems ? 1 : code;
}

/* ---- prune */

int command_ledger_prune(const config *c, const ledger_request *ask)
{
	int64_t now = period_now(), before = 0, removed = 0, total = 0;
	store_result result;
	char *end = NULL, text[PRINT_NUMBER], count[PRINT_NUMBER];
	int code, tries = 0;
	err e = { "" };

	if (ask->before && ask->days) {
		fprintf(stderr, "spoa-llm: give --before or --days\n");
		return EX_USAGE;
	}
	if (ask->before) {
		if (!period_point(ask->before, now, false, &before, &e) || strcmp(ask->before, "all") == 0) {
			fprintf(stderr, "spoa-llm: --before %s\n",
				e.text[0] ? e.text : "all: a day, a time or a span is expected");
			return EX_USAGE;
		}
	} else {
		long days = ask->days ? strtol(ask->days, &end, 10) : (long)c->retention_days;
		if (ask->days && (*ask->days < '0' || *ask->days > '9' || *end || days < 1 || days > 36500)) {
			fprintf(stderr, "spoa-llm: --days \"%s\": a whole number from 1 to 36500 is expected\n",
				ask->days);
			return EX_USAGE;
		}
		if (!days) {
			fprintf(stderr,
				"spoa-llm: retention_days is 0, so rows are kept for ever; give --days or --before to remove some\n");
			return EX_USAGE;
		}
		before = now - days * INT64_C(86400000);
	}
	store *s = ledger_open_store(c, true, false, &code);
	if (!s)
		return code;
	do {
		result = store_prune(s, before, &removed, &e);
		total += removed;
	} while ((result == STORE_OK && removed > 0) || ledger_again(result, &tries));
	store_close(s);
	if (ask->json)
		printf("{\"before\":\"%s\",\"removed\":%" PRId64 "}\n", print_time(text, before), total);
	else
		printf("%s rows older than %s removed; the sums by hour and day stay\n", print_count(count, total),
		       print_time(text, before));
	code = finish_output();
	return result == STORE_OK ? code : ledger_failed(result, &e);
}
