/* SPDX-License-Identifier: MIT
 *
 * For unit tests: a journal (ledger/journal.h) in a folder of its own, and numbered records, of which a replay has to
 * give each as it was appended. */
#ifndef JOURNAL_RIG_H
#define JOURNAL_RIG_H

#include <dirent.h>
#include <fcntl.h>

#include "ledger/journal.h"
#include "ledger/record_codec.h"
#include "unit.h"

enum { SEGMENT = 64 << 10, PLENTY = 64 << 20 };

static char base[] = "/tmp/test_journal.XXXXXX";
static char dir[128]; /* the journal's */

static inline record record_number(int64_t n)
{
	record r = { .time_ms = 1700000000000 + n,
		     .status = 200,
		     .stream = n & 1,
		     .usage = USAGE_REPORTED,
		     .price = PRICE_TABLE,
		     .input = n,
		     .output = 2 * n,
		     .cache_read = -1,
		     .cache_write = -1,
		     .saved = -1,
		     .bytes_in = 1000,
		     .bytes_out = 20000,
		     .ttfb_ms = -1,
		     .total_ms = 5,
		     .cost = -n * 1000000000 };
	snprintf(r.id, sizeof r.id, "6741F3A2-%lld", (long long)n);
	snprintf(r.model, sizeof r.model, "claude-%lld", (long long)n % 7);
	snprintf(r.termination, sizeof r.termination, "--");
	return r;
}

static inline bool same(const record *a, const record *b)
{
	unsigned char x[RECORD_ENCODED_MAX], y[RECORD_ENCODED_MAX];
	size_t len = record_encode(a, x);
	return record_encode(b, y) == len && memcmp(x, y, len) == 0;
}

static inline tap_report report_number(int64_t n)
{
	tap_report r = {
		.time_ms = n, .end = (tap_end)(n & 3), .status = (int32_t)(n % 1000), .final = n & 1, .content = n
	};

	snprintf(r.id, sizeof r.id, "6741F3A2-%lld", (long long)n);
	snprintf(r.last, sizeof r.last, "{\"output_tokens\":%lld}", (long long)n);
	return r;
}

static inline bool same_report(const tap_report *a, const tap_report *b)
{
	unsigned char x[TAP_REPORT_ENCODED_MAX], y[TAP_REPORT_ENCODED_MAX];
	size_t len = tap_report_encode(a, x);
	return tap_report_encode(b, y) == len && memcmp(x, y, len) == 0;
}

/* What a replay gave. `odd`: a record was not the one of its number, or did not come in rising order. */
typedef struct seen {
	int64_t count, sum, last, stop_after;
	int64_t reports;
	bool odd;
	journal_mark mark;
	journal *release_in;
} seen;

/* A report stands behind the record of its number. */
static inline bool see_report(seen *s, const tap_report *report, journal_mark after)
{
	tap_report want = report_number(report->content);

	if (!same_report(report, &want) || report->content != s->last || after.position <= s->mark.position)
		s->odd = true;
	s->reports++;
	s->mark = after;
	return true;
}

static inline bool see(void *ctx, const record *r, const tap_report *report, journal_mark after)
{
	seen *s = ctx;
	if (report)
		return see_report(s, report, after);
	record want = record_number(r->input);

	if (!same(r, &want) || r->input <= s->last || after.position <= s->mark.position)
		s->odd = true;
	s->last = r->input;
	s->sum += r->input;
	s->mark = after;
	if (s->release_in)
		journal_release(s->release_in, after);
	return ++s->count != s->stop_after;
}

static inline void empty_dir(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[500];

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static inline int files(void)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

static inline const char *segment_path(int number)
{
	static char path[200];
	snprintf(path, sizeof path, "%s/%016x.journal", dir, (unsigned)number);
	return path;
}

static inline journal *open_journal(uint64_t segment_bytes, uint64_t max_bytes)
{
	err e = { 0 };
	journal *j = journal_open(dir, segment_bytes, max_bytes, &e);
	if (!j) {
		printf("%s\n", e.text);
		abort();
	}
	return j;
}

static inline journal_mark append(journal *j, int64_t from, int64_t to)
{
	journal_mark mark = { 0 };
	for (int64_t n = from; n <= to; n++) {
		record r = record_number(n);
		journal_append(j, &r, &mark);
	}
	return mark;
}

static inline seen replay(journal *j)
{
	seen s = { .last = INT64_MIN };
	err e = { 0 };
	CHECK(journal_replay(j, see, &s, &e));
	CHECK(!s.odd);
	return s;
}

static inline void write_file(const char *path, const unsigned char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	close(fd);
}

static inline void journal_rig_init(void)
{
	if (!mkdtemp(base))
		abort();
	snprintf(dir, sizeof dir, "%s/journal", base);
	/* The tests make the journal log faults, which nobody has to see. */
	if (!getenv("UNIT_LOG") && !freopen("/dev/null", "w", stderr))
		abort();
}

/* Removes what the tests left, and returns the program's exit code. */
static inline int journal_rig_end(void)
{
	empty_dir();
	rmdir(base);
	return unit_end();
}

#endif
