/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger import`: what a HAProxy log file knows of requests that the ledger does not. A line needs no key:
 * who reads a file says that it is to be trusted. Prices and reference models are those of now. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>
#include <zlib.h>

#include "commands/ledger_command.h"
#include "ledger/logline.h"
#include "ledger/price.h"
#include "report/ledger_store.h"
#include "report/print.h"

enum {
	BATCH = 1000,              /* records in one transaction */
	LINE_MAX_BYTES = 64 << 10, /* what is longer is no line of ours, whatever precedes it */
	SHOWN = 5,                 /* malformed lines that are named */
};

/* How every line of ours begins, behind whatever a syslog daemon puts in front. */
static const slice MARK = SLICE_INIT("{\"v\":");

typedef struct import {
	const char *name;
	const config *config;
	store *store;
	price_table *prices;
	record *batch;
	size_t count;
	uint64_t line, records, other, malformed;
	uint64_t stored, added; /* handed to the store, new there */
	struct {
		uint64_t line;
		const char *problem;
	} shown[SHOWN];
	logline parsed;
	store_result result;
	err e;
} import;

static bool flush(import *in)
{
	size_t added = 0;
	int tries = 0;

	do
		in->result = store_insert(in->store, in->batch, in->count, &added, &in->e);
	while (ledger_store_retry(in->result, &tries));
	if (in->result == STORE_OK) {
		in->stored += in->count;
		in->added += added;
	}
	in->count = 0;
	return in->result == STORE_OK;
}

/* As the agent has them, run.c. */
static slice reference_of(const config *c, const char *route_name)
{
	const route_table *t = c->table;

	for (size_t i = 0; i < t->count; i++)
		if (t->routes[i].enabled && t->routes[i].reference_model && strcmp(t->routes[i].name, route_name) == 0)
			return slice_cstr(t->routes[i].reference_model);
	return (slice){ NULL, 0 };
}

static void bad_line(import *in, const char *problem)
{
	if (in->malformed < SHOWN) {
		in->shown[in->malformed].line = in->line;
		in->shown[in->malformed].problem = problem;
	}
	in->malformed++;
}

/* A line without its end. False: the store refuses. */
static bool take_line(import *in, slice line)
{
	const char *at = line.len ? memmem(line.ptr, line.len, MARK.ptr, MARK.len) : NULL;
	logline *p = &in->parsed;

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
	usage_apply(&p->record, p->usage, &p->hints);
	price_apply(in->prices, &p->record, reference_of(in->config, p->record.route));
	in->records++;
	in->batch[in->count++] = p->record;
	return in->count < BATCH || flush(in);
}

/* The beginning of a line that is too long to be one. */
static void take_long_line(import *in, slice begin)
{
	if (memmem(begin.ptr, begin.len, MARK.ptr, MARK.len))
		bad_line(in, "the line is too long");
	else
		in->other++;
}

/* False: the file or the store fails; in->e says why. */
static bool read_lines(import *in, gzFile file)
{
	char *buf = malloc(LINE_MAX_BYTES);
	size_t held = 0;
	bool skipping = false, ok = buf != NULL;
	int got = 0;

	if (!ok)
		err_memory(&in->e);
	while (ok && (got = gzread(file, buf + held, (unsigned)(LINE_MAX_BYTES - held))) > 0) {
		size_t begin = 0;
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
	if (ok && got == 0 && held && !skipping) {
		in->line++;
		ok = take_line(in, slice_of(buf, held));
	}
	free(buf);
	int rc = Z_OK;
	const char *why = gzerror(file, &rc);
	/* A file that ends within a compressed block is a Z_BUF_ERROR only. */
	if (ok && (got < 0 || rc == Z_BUF_ERROR))
		return err_set(&in->e, "%s: %s; the lines before that are in", in->name,
			       rc == Z_ERRNO     ? strerror(errno) :
			       rc == Z_BUF_ERROR ? "the compressed file is cut off" :
						   why);
	return ok;
}

/* A kind of compression that zlib does not know; NULL: none. Leaves the file where it was, if it can. */
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
		{ known, "known already" },     { skipped, "older than what was pruned, skipped" },
		{ in->malformed, "malformed" }, { in->other, "of other kinds" },
	};
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (i < 3 || lines[i].n)
			printf("%14s %s\n", print_count(n, (int64_t)lines[i].n), lines[i].what);
	fflush(stdout);
	for (uint64_t i = 0; i < in->malformed && i < SHOWN; i++)
		fprintf(stderr, "spoa-llm: %s:%" PRIu64 ": %s\n", in->name, in->shown[i].line, in->shown[i].problem);
	if (in->malformed > SHOWN)
		fprintf(stderr, "spoa-llm: %s: and %" PRIu64 " more\n", in->name, in->malformed - SHOWN);
}

int command_ledger_import(const config *c, const ledger_request *ask)
{
	bool from_stdin = strcmp(ask->file, "-") == 0;
	import *in = calloc(1, sizeof *in);
	gzFile file = NULL;
	int code = EX_OSERR, fd = -1;

	if (!in || !(in->batch = malloc(BATCH * sizeof *in->batch))) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		goto out;
	}
	in->name = from_stdin ? "standard input" : ask->file;
	in->config = c;
	fd = from_stdin ? dup(STDIN_FILENO) : open(ask->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		fprintf(stderr, "spoa-llm: %s: %s\n", in->name, strerror(errno));
		code = EX_NOINPUT;
		goto out;
	}
	const char *foreign = foreign_compression(fd);
	if (foreign) {
		fprintf(stderr,
			"spoa-llm: %s: compressed by %s, and only gzip is known here: %s -dc FILE | spoa-llm ledger import -\n",
			in->name, foreign, foreign);
		code = EX_DATAERR;
		goto out;
	}
	in->prices = price_table_load(*c->prices ? c->prices : NULL, &in->e);
	if (!in->prices) {
		fprintf(stderr, "spoa-llm: %s\n", in->e.text);
		code = EX_CONFIG;
		goto out;
	}
	in->store = ledger_command_open(c, true, true, &code);
	if (!in->store)
		goto out;
	file = gzdopen(fd, "rb");
	if (!file) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		code = EX_OSERR;
		goto out;
	}
	fd = -1; /* the file's now */
	bool read = read_lines(in, file);
	err problem = in->e;
	if (in->result == STORE_OK && in->count && !flush(in))
		problem = in->e;
	print_result(in, store_skipped(in->store), ask->json);
	code = finish_output();
	if (in->result != STORE_OK) {
		code = ledger_command_failed(in->result, &problem);
	} else if (!read) {
		fprintf(stderr, "spoa-llm: %s\n", problem.text);
		code = EX_DATAERR;
	} else if (in->line && !in->records) {
		fprintf(stderr,
			"spoa-llm: %s: no line of it is one of the gateway's log lines, as haproxy.cfg.example writes them\n",
			in->name);
		code = EX_DATAERR;
	}
out:
	if (file)
		gzclose_r(file);
	if (fd >= 0)
		close(fd);
	if (in) {
		store_close(in->store);
		price_table_unref(in->prices);
		free(in->batch);
	}
	free(in);
	return code;
}
