/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger import`: adds the requests of a HAProxy log file to the ledger, without those that it has already. A
 * line needs no key, because whoever imports a file trusts it. Prices and reference models are those of the current
 * configuration. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>
#include <zlib.h>

#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "ledger/logline.h"
#include "ledger/price.h"
#include "ledger/unknown.h"
#include "report/ledger_store.h"
#include "report/print.h"

enum {
	BATCH = 1000,              /* records in one transaction */
	LINE_MAX_BYTES = 64 << 10, /* a longer line is not the gateway's, even with a syslog daemon's prefix */
	SHOWN = 5,                 /* malformed lines of which the problem is shown */
};

/* How every log line of the gateway begins, after whatever a syslog daemon puts in front. */
static const slice MARK = SLICE_INIT("{\"v\":");

typedef struct import {
	const char *name;
	const config *config;
	store *store;
	price_table *prices;
	record *batch;
	size_t count;
	uint64_t line;             /* lines read so far */
	uint64_t records;          /* log lines of the gateway */
	uint64_t malformed, other; /* other: not the gateway's */
	uint64_t stored, added;    /* records that the store took; those of them that are new in it */
	struct {
		uint64_t line;
		const char *problem;
	} shown[SHOWN];
	progress progress;
	int64_t size; /* of the file; 0: it has none, as a pipe */
	logline parsed;
	store_result result;
	err e;
} import;

/* The reference model of a route, as the agent finds it (serve/recording.c). */
static slice reference_of(const config *c, const char *route_name)
{
	const route_table *t = c->table;

	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].enabled && t->routes[i].reference_model && strcmp(t->routes[i].name, route_name) == 0)
			return slice_cstr(t->routes[i].reference_model);
	return (slice){ NULL, 0 };
}

/* A report of the tap waits in the ledger for the line that is imported now. */
static void on_report(void *ctx, record *r, const tap_report *report)
{
	const import *in = ctx;
	usage_parts parts;

	if (usage_apply_report(r, report, &parts))
		price_apply(in->prices, r, &parts, reference_of(in->config, r->route));
}

static bool flush(import *in)
{
	const store_batch batch = { .records = in->batch, .count = in->count };
	const store_join join = { .apply = on_report, .ctx = in };
	store_added added;
	int tries = 0;

	do
		in->result = store_add(in->store, &batch, &join, &added, &in->e);
	while (ledger_store_retry(in->result, &tries));
	if (in->result == STORE_OK) {
		in->stored += in->count;
		in->added += added.rows;
	}
	in->count = 0;
	return in->result == STORE_OK;
}

static void bad_line(import *in, const char *problem)
{
	if (in->malformed < SHOWN) {
		in->shown[in->malformed].line = in->line;
		in->shown[in->malformed].problem = problem;
	}
	in->malformed++;
}

/* Takes `line`, which has no newline. False: the store failed. */
static bool take_line(import *in, slice line)
{
	const char *at = line.len ? memmem(line.ptr, line.len, MARK.ptr, MARK.len) : NULL;
	logline *p = &in->parsed;
	usage_parts parts;

	if (!at) {
		in->other++;
		return true;
	}
	line = slice_from(line, (size_t)(at - line.ptr));
	while (line.len && strchr("\r\n \t", line.ptr[line.len - 1]))
		line.len--;
	if (logline_parse(line, slice_of(NULL, 0), p) != LOGLINE_OK) {
		bad_line(in, p->problem);
		return true;
	}
	p->hints.most = price_limits_of(in->prices, slice_cstr(p->record.model));
	usage_apply(&p->record, p->usage, &p->hints, &parts);
	unknown_apply(&p->record, p->metered);
	price_apply(in->prices, &p->record, &parts, reference_of(in->config, p->record.route));
	in->records++;
	in->batch[in->count++] = p->record;
	return in->count < BATCH || flush(in);
}

/* Takes the beginning of a line that is too long. */
static void take_long_line(import *in, slice begin)
{
	if (memmem(begin.ptr, begin.len, MARK.ptr, MARK.len))
		bad_line(in, "the line is too long");
	else
		in->other++;
}

/* False: the file or the store failed; in->e says why. */
static bool read_lines(import *in, gzFile file)
{
	char *buf = malloc(LINE_MAX_BYTES);
	size_t held = 0;
	bool skipping = false, ok = buf != NULL;
	int got = 0;

	if (!ok)
		err_memory(&in->e);
	while (ok && !interrupted() && (got = gzread(file, buf + held, (unsigned)(LINE_MAX_BYTES - held))) > 0) {
		size_t begin = 0;
		progress_rate(&in->progress, (int64_t)in->stored, in->size ? gzoffset(file) : 0, in->size);
		held += (size_t)got;
		for (char *end; ok && (end = memchr(buf + begin, '\n', held - begin));
		     begin = (size_t)(end - buf) + 1) {
			in->line += !skipping;
			if (!skipping)
				ok = take_line(in, slice_of(buf + begin, (size_t)(end - buf) - begin));
			skipping = false;
		}
		held -= begin;
		memmove(buf, buf + begin, held);
		if (held == LINE_MAX_BYTES) {
			in->line += !skipping;
			if (!skipping)
				take_long_line(in, slice_of(buf, held));
			skipping = true;
			held = 0;
		}
	}
	if (ok && !interrupted() && got == 0 && held && !skipping) {
		in->line++;
		ok = take_line(in, slice_of(buf, held));
	}
	free(buf);
	int rc = Z_OK;
	const char *why = gzerror(file, &rc);
	/* For a compressed file that is cut off gzread() returns no error: only gzerror() has Z_BUF_ERROR. */
	if (ok && !interrupted() && (got < 0 || rc == Z_BUF_ERROR))
		return err_set(&in->e, "%s: %s; the lines before that were imported", in->name,
			       rc == Z_ERRNO     ? strerror(errno) :
			       rc == Z_BUF_ERROR ? "the compressed file is cut off" :
						   why);
	return ok;
}

/* Returns which compression other than gzip the file has; NULL: none. Does not move the file's position. */
static const char *foreign_compression(int fd)
{
	unsigned char head[6] = { 0 };

	if (pread(fd, head, sizeof head, 0) < 4)
		return NULL;
	if (memcmp(head,
		   "\xfd"
		   "7zXZ",
		   5) == 0)
		return "xz";
	if (memcmp(head, "\x28\xb5\x2f\xfd", 4) == 0)
		return "zstd";
	return memcmp(head, "BZh", 3) == 0 ? "bzip2" : NULL;
}

static void print_result(const import *in, uint64_t skipped, bool json)
{
	uint64_t known = in->stored - in->added - skipped;
	char n[PRINT_NUMBER];

	if (json) {
		printf("{\"lines\":%" PRIu64 ",\"records\":%" PRIu64 ",\"new\":%" PRIu64 ",\"known\":%" PRIu64
		       ",\"pruned\":%" PRIu64 ",\"malformed\":%" PRIu64 ",\"other\":%" PRIu64 ",\"problems\":[",
		       in->line, in->records, in->added, known, skipped, in->malformed, in->other);
		for (uint64_t i = 0; i < in->malformed && i < SHOWN; i++)
			printf("%s{\"line\":%" PRIu64 ",\"problem\":\"%s\"}", i ? "," : "", in->shown[i].line,
			       in->shown[i].problem);
		printf("]}\n");
		return;
	}
	const struct {
		uint64_t n;
		const char *what;
	} lines[] = {
		{ in->line, "lines" },          { in->added, "new" },
		{ known, "known already" },     { skipped, "skipped, because older rows were pruned" },
		{ in->malformed, "malformed" }, { in->other, "not the gateway's" },
	};
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (i < 3 || lines[i].n)
			printf("%14s %s\n", print_count(n, (int64_t)lines[i].n), lines[i].what);
	fflush(stdout);
	for (uint64_t i = 0; i < in->malformed && i < SHOWN; i++)
		fprintf(stderr, "spoa-llm: %s:%" PRIu64 ": %s\n", in->name, in->shown[i].line, in->shown[i].problem);
	if (in->malformed > SHOWN)
		fprintf(stderr, "spoa-llm: %s: and %" PRIu64 " more malformed lines\n", in->name,
			in->malformed - SHOWN);
}

/* Opens the file `path`, or standard input. NULL: says why, and `*code` is the exit code. */
static gzFile open_log(import *in, const char *path, int *code)
{
	int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
	const char *foreign = fd < 0 ? NULL : foreign_compression(fd);
	gzFile file = NULL;

	if (fd < 0) {
		fprintf(stderr, "spoa-llm: %s: %s\n", in->name, strerror(errno));
		*code = EX_NOINPUT;
	} else if (foreign) {
		fprintf(stderr,
			"spoa-llm: %s: compressed with %s, but only gzip can be read: use %s -dc FILE | spoa-llm ledger import -\n",
			in->name, foreign, foreign);
		*code = EX_DATAERR;
	} else if (!(file = gzdopen(fd, "rb"))) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		*code = EX_OSERR;
	}
	struct stat st;
	if (file && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		in->size = st.st_size;
	if (fd >= 0 && !file)
		close(fd);
	return file;
}

/* Imports all lines of `file` and says what came of it. Returns the exit code. */
static int import_file(import *in, gzFile file, bool json)
{
	char count[PRINT_NUMBER];

	in->progress = progress_begin("importing");
	interrupt_begin();
	bool read = read_lines(in, file);
	err problem = in->e;

	if (in->result == STORE_OK && in->count && !flush(in))
		problem = in->e;
	progress_end(&in->progress);
	print_result(in, store_skipped(in->store), json);
	int code = finish_output();
	if (in->result != STORE_OK)
		return ledger_command_failed(in->result, &problem);
	if (!read) {
		fprintf(stderr, "spoa-llm: %s\n", problem.text);
		return EX_DATAERR;
	}
	if (interrupted()) {
		fprintf(stderr,
			"spoa-llm: stopped; %s requests are taken in, and the ledger is whole; run it again to go on, which passes "
			"over them\n",
			print_count(count, (int64_t)in->stored));
		return EXIT_INTERRUPTED;
	}
	if (in->line && !in->records) {
		fprintf(stderr,
			"spoa-llm: %s: no line is a log line of the gateway, as haproxy.cfg.example writes them\n",
			in->name);
		return EX_DATAERR;
	}
	return code;
}

int command_ledger_import(const config *c, const ledger_request *ask)
{
	import *in = calloc(1, sizeof *in);
	gzFile file = NULL;
	int code = EX_OSERR;

	if (!in || !(in->batch = malloc(BATCH * sizeof *in->batch))) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		goto out;
	}
	in->name = strcmp(ask->file, "-") == 0 ? "standard input" : ask->file;
	in->config = c;
	file = open_log(in, ask->file, &code);
	if (!file)
		goto out;
	in->prices = price_table_load(*c->prices ? c->prices : NULL, &in->e);
	if (!in->prices) {
		fprintf(stderr, "spoa-llm: %s\n", in->e.text);
		code = EX_CONFIG;
		goto out;
	}
	in->store = ledger_command_open(c, true, true, &code, &in->e);
	if (in->store)
		code = import_file(in, file, ask->json);
out:
	if (file)
		gzclose_r(file);
	if (in) {
		store_close(in->store);
		price_table_unref(in->prices);
		free(in->batch);
	}
	free(in);
	return code;
}
