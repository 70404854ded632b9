/* SPDX-License-Identifier: MIT
 *
 * The journal: what is cut, damaged, refused or taken away, and what comes back of it. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "ledger/journal.h"
#include "ledger/journal_entry.h"

enum { SEGMENT = 64 << 10, PLENTY = 64 << 20 };

static char base[] = "/tmp/test_journal.XXXXXX";
static char dir[128];

/* ---- helpers */

static record record_number(int64_t n)
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

static bool same(const record *a, const record *b)
{
	unsigned char x[RECORD_ENCODED_MAX], y[RECORD_ENCODED_MAX];
	size_t len = record_encode(a, x);
	return record_encode(b, y) == len && memcmp(x, y, len) == 0;
}

/* What a replay gave: each has to be the record of its number, in rising order. */
typedef struct seen {
	int64_t count, sum, last, stop_after;
	bool odd;
	journal_mark mark;
	journal *release_in;
} seen;

static bool see(void *ctx, const record *r, journal_mark after)
{
	seen *s = ctx;
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

static void empty_dir(void)
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

static int files(void)
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

static const char *segment_path(int number)
{
	static char path[200];
	snprintf(path, sizeof path, "%s/%016x.journal", dir, (unsigned)number);
	return path;
}

static journal *open_journal(uint64_t segment_bytes, uint64_t max_bytes)
{
	err e = { 0 };
	journal *j = journal_open(dir, segment_bytes, max_bytes, &e);
	if (!j) {
		printf("%s\n", e.text);
		abort();
	}
	return j;
}

static journal_mark append(journal *j, int64_t from, int64_t to)
{
	journal_mark mark = { 0 };
	for (int64_t n = from; n <= to; n++) {
		record r = record_number(n);
		journal_append(j, &r, &mark);
	}
	return mark;
}

static seen replay(journal *j)
{
	seen s = { .last = INT64_MIN };
	err e = { 0 };
	CHECK(journal_replay(j, see, &s, &e));
	CHECK(!s.odd);
	return s;
}

/* A process that appends and flushes `from`..`to` and is killed. */
static void killed(int64_t from, int64_t to, uint64_t segment_bytes)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		journal *j = open_journal(segment_bytes, PLENTY);
		for (int64_t n = from; n <= to; n++) {
			append(j, n, n);
			if (n % 10 == 0 || n == to)
				CHECK(journal_flush(j));
		}
		append(j, to + 1, to + 5); /* never flushed */
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
}

static void write_file(const char *path, const unsigned char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	close(fd);
}

/* ---- records as bytes */

static void a_record_comes_back_as_it_was(void)
{
	record rows[3] = { { .time_ms = 0 }, record_number(-77), { .time_ms = INT64_MIN } };
	record *full = &rows[2];
	memset(full->id, 'i', RECORD_ID_MAX);
	memset(full->route, 'r', RECORD_LABEL_MAX);
	memset(full->backend, 'b', RECORD_BACKEND_MAX);
	memset(full->protocol, 'p', sizeof full->protocol - 1);
	memset(full->model, 'm', RECORD_MODEL_MAX);
	memset(full->project, 'j', RECORD_LABEL_MAX);
	memset(full->client, 'c', RECORD_LABEL_MAX);
	memset(full->code, 'x', RECORD_LABEL_MAX);
	memset(full->termination, 't', sizeof full->termination - 1);
	full->status = INT32_MIN;
	full->stream = true;
	full->bytes_in = full->bytes_out = full->ttfb_ms = full->total_ms = INT64_MIN;
	full->input = full->output = full->cache_read = full->cache_write = full->saved = INT64_MAX;
	full->cost = full->saved_compression = full->saved_cache = full->saved_routing = INT64_MIN;
	full->usage = USAGE_ESTIMATED;
	full->price = PRICE_UNPRICED;

	for (size_t i = 0; i < 3; i++) {
		unsigned char bytes[RECORD_ENCODED_MAX];
		size_t len = record_encode(&rows[i], bytes);
		record back;
		CHECK(i != 0 || len == RECORD_ENCODED_MIN);
		CHECK(record_decode(slice_of(unit_guarded(bytes, len), len), &back));
		CHECK(strcmp(back.id, rows[i].id) == 0 && strcmp(back.route, rows[i].route) == 0);
		CHECK(strcmp(back.backend, rows[i].backend) == 0 && strcmp(back.protocol, rows[i].protocol) == 0);
		CHECK(strcmp(back.model, rows[i].model) == 0 && strcmp(back.project, rows[i].project) == 0);
		CHECK(strcmp(back.client, rows[i].client) == 0 && strcmp(back.code, rows[i].code) == 0);
		CHECK(strcmp(back.termination, rows[i].termination) == 0 && back.time_ms == rows[i].time_ms);
		CHECK(back.status == rows[i].status && back.stream == rows[i].stream);
		CHECK(back.bytes_in == rows[i].bytes_in && back.bytes_out == rows[i].bytes_out);
		CHECK(back.ttfb_ms == rows[i].ttfb_ms && back.total_ms == rows[i].total_ms);
		CHECK(back.input == rows[i].input && back.output == rows[i].output && back.saved == rows[i].saved);
		CHECK(back.cache_read == rows[i].cache_read && back.cache_write == rows[i].cache_write);
		CHECK(back.usage == rows[i].usage && back.price == rows[i].price && back.cost == rows[i].cost);
		CHECK(back.saved_compression == rows[i].saved_compression && back.saved_cache == rows[i].saved_cache);
		CHECK(back.saved_routing == rows[i].saved_routing);
		/* Any shorter is none, and nothing is read behind the end. */
		for (size_t cut = 0; cut < len; cut++)
			CHECK(!record_decode(slice_of(unit_guarded(bytes, cut), cut), &back) && back.id[0] == '\0');
		/* What a later version adds at the end is ignored; another version is refused. */
		CHECK(len + 1 < sizeof bytes);
		bytes[len] = 7;
		CHECK(record_decode(slice_of(bytes, len + 1), &back) && same(&back, &rows[i]));
		bytes[0]++;
		CHECK(!record_decode(slice_of(bytes, len), &back));
	}
}

static void what_is_no_record_is_refused(void)
{
	record r = record_number(1), back;
	unsigned char good[RECORD_ENCODED_MAX], bad[RECORD_ENCODED_MAX];
	size_t len = record_encode(&r, good);

	memcpy(bad, good, len);
	bad[3] = '\0'; /* in the id */
	CHECK(!record_decode(slice_of(bad, len), &back));
	memcpy(bad, good, len);
	bad[1] = 65; /* the id's length */
	CHECK(!record_decode(slice_of(bad, len), &back));
	/* An id one byte too long, and all of it there. */
	size_t id = strlen(r.id);
	bad[0] = RECORD_CODEC_VERSION;
	bad[1] = RECORD_ID_MAX + 1;
	memset(bad + 2, 'i', RECORD_ID_MAX + 1);
	memcpy(bad + 2 + RECORD_ID_MAX + 1, good + 2 + id, len - 2 - id);
	CHECK(!record_decode(slice_of(bad, len + RECORD_ID_MAX + 1 - id), &back));
	bad[1]--;
	memcpy(bad + 2 + RECORD_ID_MAX, good + 2 + id, len - 2 - id);
	CHECK(record_decode(slice_of(bad, len + RECORD_ID_MAX - id), &back) && strlen(back.id) == RECORD_ID_MAX);
	/* A usage_from that is none, where another one makes a difference. */
	r.usage = USAGE_ESTIMATED;
	CHECK(record_encode(&r, bad) == len);
	size_t at = 0;
	while (at < len && bad[at] == good[at])
		at++;
	CHECK(record_decode(slice_of(bad, len), &back) && back.usage == USAGE_ESTIMATED);
	bad[at] = USAGE_ESTIMATED + 1;
	CHECK(!record_decode(slice_of(bad, len), &back));
	memcpy(bad, good, len);
	bad[len - 1] = 3; /* a price_from that is none */
	CHECK(!record_decode(slice_of(bad, len), &back));
	memset(bad, 0xff, sizeof bad);
	bad[0] = RECORD_CODEC_VERSION;
	CHECK(!record_decode(slice_of(bad, sizeof bad), &back));
	CHECK(strcmp(usage_from_name(USAGE_ESTIMATED), "estimated") == 0);
	CHECK(strcmp(price_from_name(PRICE_UNPRICED), "unpriced") == 0);
}

/* ---- the life of a journal */

static void what_was_flushed_survives_a_kill(void)
{
	empty_dir();
	for (int life = 0; life < 5; life++)
		killed(life * 100 + 1, life * 100 + 100, 4096);
	journal *j = open_journal(4096, PLENTY);
	CHECK(journal_get_stats(j).segments > 5);
	seen s = replay(j);
	CHECK(s.count == 500 && s.sum == 500 * 501 / 2);
	/* A second look shows the same; new records come behind. */
	journal_mark after = append(j, 501, 520);
	CHECK(after.position > s.mark.position);
	CHECK(journal_flush(j));
	s = replay(j);
	CHECK(s.count == 520 && s.mark.position == after.position);

	struct stat st;
	CHECK(stat(dir, &st) == 0 && (st.st_mode & 0777) == 0700);
	CHECK(stat(segment_path(1), &st) == 0 && (st.st_mode & 0777) == 0600);

	/* What is released is gone, what is not is there again. */
	seen part = { .last = INT64_MIN, .stop_after = 400 };
	err e;
	CHECK(journal_replay(j, see, &part, &e) && part.count == 400);
	uint64_t before = journal_get_stats(j).segments;
	journal_release(j, part.mark);
	CHECK(journal_get_stats(j).segments < before);
	CHECK((uint64_t)files() == journal_get_stats(j).segments);
	s = replay(j);
	CHECK(s.count >= 120 && s.count < 220 && s.last == 520);
	journal_close(j);

	j = open_journal(4096, PLENTY);
	s = replay(j);
	CHECK(s.count >= 120 && s.count < 220 && s.last == 520);
	CHECK(journal_sync(j));
	journal_release(j, s.mark);
	journal_close(j);
	CHECK(files() == 0);
}

static void a_replay_may_release_as_it_goes(void)
{
	empty_dir();
	killed(1, 300, 4096);
	journal *j = open_journal(4096, PLENTY);
	seen s = { .last = INT64_MIN, .release_in = j };
	err e;
	CHECK(journal_replay(j, see, &s, &e) && s.count == 300 && !s.odd);
	CHECK(journal_get_stats(j).segments == 0 && journal_get_stats(j).bytes == 0);
	CHECK(journal_get_stats(j).torn == 0 && journal_get_stats(j).corrupt == 0);
	journal_close(j);
}

static void only_one_process_has_it(void)
{
	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	err e;
	CHECK(!journal_open(dir, SEGMENT, PLENTY, &e) && strstr(e.text, "another process"));
	journal_close(j);
	j = open_journal(SEGMENT, PLENTY);
	journal_close(j);
	CHECK(!journal_open("/nonexistent/journal", SEGMENT, PLENTY, &e) && strstr(e.text, "No such file"));
}

/* ---- torn and damaged */

static unsigned char whole[SEGMENT];

/* A segment of ten records in `whole`, with the end of each in `ends`. */
static size_t make_segment(size_t ends[11])
{
	size_t len = SEGMENT_HEADER;
	segment_header(whole, 0x12345678);
	ends[0] = len;
	for (int i = 1; i <= 10; i++) {
		record r = record_number(i);
		len += entry_encode(&r, 0x12345678, whole + len);
		ends[i] = len;
	}
	return len;
}

static void a_torn_end_is_cut_at_every_byte(void)
{
	size_t ends[11], len = make_segment(ends);

	for (size_t cut = 0; cut <= len; cut++) {
		int want = 0;
		while (want < 10 && ends[want + 1] <= cut)
			want++;
		bool clean = cut == 0 || (cut >= SEGMENT_HEADER && cut == ends[want]);
		empty_dir();
		mkdir(dir, 0700);
		write_file(segment_path(1), whole, cut);
		journal *j = open_journal(SEGMENT, PLENTY);
		seen s = replay(j);
		journal_stats stats = journal_get_stats(j);
		CHECK(s.count == want && stats.torn == !clean && stats.corrupt == 0);
		/* It is cut off: the next one finds nothing torn. */
		s = replay(j);
		CHECK(s.count == want && journal_get_stats(j).torn == !clean);
		CHECK(append(j, 11, 11).position > s.mark.position && journal_flush(j));
		s = replay(j);
		CHECK(s.count == want + 1 && s.last == 11);
		journal_release(j, s.mark);
		journal_close(j);
		CHECK(files() == 0);
	}
}

static void damage_costs_one_entry_and_invents_none(void)
{
	static unsigned char bad[SEGMENT];
	size_t ends[11], len = make_segment(ends);

	for (size_t at = 0; at < len; at++) {
		int hit = 0;
		while (hit < 10 && ends[hit] <= at)
			hit++;
		memcpy(bad, whole, len);
		bad[at] ^= (unsigned char)(1u << (at % 8));
		empty_dir();
		mkdir(dir, 0700);
		write_file(segment_path(3), bad, len);
		journal *j = open_journal(SEGMENT, PLENTY);
		seen s = replay(j);
		journal_stats stats = journal_get_stats(j);
		CHECK(stats.torn + stats.corrupt == 1 && stats.problem[0]);
		if (hit == 0) { /* the header: nothing can be read, and the file stays */
			CHECK(s.count == 0);
			journal_release(j, append(j, 1, 1));
			journal_close(j);
			CHECK(files() == 1);
		} else {
			CHECK(s.count == 9 && s.sum == 55 - hit);
			/* Whole in its length: not torn, though nothing follows. */
			CHECK(stats.corrupt == 1 || (hit == 10 && at < ends[9] + 4));
			journal_release(j, s.mark);
			journal_close(j);
			CHECK(files() == 0);
		}
	}
}

static void a_damaged_stretch_is_one_place(void)
{
	size_t ends[11], len = make_segment(ends);

	/* Zeros over entries 3 to 5, as a lost block leaves them; another file is not touched by it. */
	memset(whole + ends[2] + 3, 0, ends[5] - ends[2] - 9);
	empty_dir();
	mkdir(dir, 0700);
	write_file(segment_path(1), whole, len);
	make_segment(ends);
	write_file(segment_path(2), whole, len);
	journal *j = open_journal(SEGMENT, PLENTY);
	seen s = { .last = INT64_MIN };
	err e;
	CHECK(journal_replay(j, see, &s, &e) && s.count == 7 + 10 && s.sum == 55 - 12 + 55);
	CHECK(journal_get_stats(j).corrupt == 1 && journal_get_stats(j).torn == 0);
	journal_close(j);
}

/* A model's name that looks like an entry does not become one when the entry around it is damaged. */
static void an_entry_inside_a_record_is_none(void)
{
	record inner = { .input = 5 }, outer = record_number(1), next = record_number(2);
	unsigned char forged[ENTRY_MAX];
	size_t len = SEGMENT_HEADER;
	uint32_t salt = 0xdeadbeef;

	/* NUL bytes end a label, so that no real record could carry this; make it one by hand. */
	size_t forged_len = entry_encode(&inner, salt + 1, forged);
	segment_header(whole, salt);
	len += entry_encode(&outer, salt, whole + len);
	whole[len - 1] ^= 1;
	memcpy(whole + len, forged, forged_len);
	len += forged_len;
	len += entry_encode(&next, salt, whole + len);
	empty_dir();
	mkdir(dir, 0700);
	write_file(segment_path(1), whole, len);
	journal *j = open_journal(SEGMENT, PLENTY);
	seen s = replay(j);
	CHECK(s.count == 1 && s.last == 2 && journal_get_stats(j).corrupt == 1);
	journal_close(j);
}

static void what_a_newer_version_wrote_is_kept(void)
{
	size_t ends[11], len = make_segment(ends);
	/* Version 2, with the right CRC. */
	static const unsigned char v2[SEGMENT_HEADER] = {
		'S', 'P', 'O', 'A', 'L', 'L', 'M', 'J', 0, 0, 0, 2, 0, 0, 0, 0
	};
	uint32_t crc = 0xffffffff;
	memcpy(whole, v2, sizeof v2);
	for (int i = 0; i < 16; i++) {
		crc ^= v2[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	crc = ~crc;
	for (int i = 0; i < 4; i++)
		whole[16 + i] = (unsigned char)(crc >> (24 - 8 * i));
	empty_dir();
	mkdir(dir, 0700);
	write_file(segment_path(1), whole, len);
	journal *j = open_journal(SEGMENT, PLENTY);
	seen s = replay(j);
	CHECK(s.count == 0 && journal_get_stats(j).corrupt == 1 && strstr(journal_get_stats(j).problem, "newer"));
	journal_release(j, append(j, 1, 3));
	journal_close(j);
	CHECK(files() == 1);
	/* Files of other names are nobody's business. */
	write_file(segment_path(1), whole, 0);
	char other[200];
	snprintf(other, sizeof other, "%s/README", dir);
	write_file(other, whole, len);
	j = open_journal(SEGMENT, PLENTY);
	s = replay(j);
	CHECK(s.count == 0 && journal_get_stats(j).corrupt == 0 && journal_get_stats(j).segments == 1);
	journal_close(j);
	CHECK(files() == 1);
}

/* ---- the disk refuses */

static void the_size_limit_is_a_full_disk(void)
{
	empty_dir();
	journal *j = open_journal(8192, 32768);
	journal_mark mark = { 0 }, half = { 0 };
	int64_t n = 0;
	while (journal_flush(j)) {
		n++;
		mark = append(j, n, n);
		if (n == 150)
			half = mark;
	}
	journal_stats stats = journal_get_stats(j);
	CHECK(stats.failing && strstr(stats.problem, "limit") && stats.failed == 1 && stats.bytes <= 32768);
	CHECK(stats.bytes > 32768 - 2 * 1024 && stats.waiting > 0 && stats.dropped == 0);
	mark = append(j, n + 1, n + 50);
	CHECK(!journal_flush(j));
	journal_release(j, half);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing && journal_get_stats(j).waiting == 0);
	seen s = replay(j);
	CHECK(s.last == n + 50 && s.mark.position == mark.position);
	journal_release(j, mark);
	CHECK(journal_get_stats(j).bytes <= 8192 + 1024);
	journal_close(j);
	CHECK(files() == 0);
}

static void memory_is_bounded_and_the_newest_are_dropped(void)
{
	empty_dir();
	journal *j = open_journal(8192, 16384);
	record r = record_number(1);
	journal_mark mark = { 0 }, last = { 0 };
	int64_t n = 0, kept = 0, dropped = 0;
	while (journal_flush(j)) {
		n++;
		append(j, n, n);
	}
	kept = n;
	while (dropped < 1000) {
		r = record_number(++n);
		if (journal_append(j, &r, &mark)) {
			kept++;
			last = mark;
			CHECK(dropped == 0);
		} else {
			dropped++;
		}
	}
	journal_stats stats = journal_get_stats(j);
	CHECK(stats.dropped == 1000 && stats.waiting <= JOURNAL_MEMORY_MAX &&
	      stats.waiting > JOURNAL_MEMORY_MAX - 4096);
	CHECK(kept > 20000 && mark.position == last.position);
	/* What the store has meanwhile need not be written any more. */
	journal_release(j, last);
	CHECK(journal_get_stats(j).waiting == 0 && journal_get_stats(j).bytes == 0);
	mark = append(j, n + 1, n + 1);
	CHECK(mark.position > last.position && journal_flush(j) && !journal_get_stats(j).failing);
	seen s = replay(j);
	CHECK(s.count == 1 && s.last == n + 1);
	journal_close(j);
}

/* RLIMIT_FSIZE makes a write end in the middle of an entry and the next one fail: a disk that fills, for any user. */
static void a_write_that_ends_in_an_entry_is_made_good(void)
{
	for (rlim_t limit = 1; limit < 1500; limit += 37) {
		struct rlimit old, small;
		empty_dir();
		journal *j = open_journal(SEGMENT, PLENTY);
		signal(SIGXFSZ, SIG_IGN);
		getrlimit(RLIMIT_FSIZE, &old);
		small = (struct rlimit){ limit, old.rlim_max };
		setrlimit(RLIMIT_FSIZE, &small);
		append(j, 1, 30);
		CHECK(!journal_flush(j));
		CHECK(!journal_flush(j));
		journal_stats stats = journal_get_stats(j);
		setrlimit(RLIMIT_FSIZE, &old);
		CHECK(stats.failing && stats.failed == 2 && stats.waiting > 0 && stats.bytes <= limit);
		struct stat st;
		CHECK(stats.bytes == 0 || (stat(segment_path(1), &st) == 0 && (uint64_t)st.st_size == stats.bytes));
		/* A kill now would leave only whole entries. */
		seen s = { .last = INT64_MIN };
		err e;
		CHECK(journal_replay(j, see, &s, &e) && !s.odd && journal_get_stats(j).torn == 0);
		append(j, 31, 40);
		CHECK(journal_flush(j) && !journal_get_stats(j).failing);
		s = replay(j);
		CHECK(s.count == 40 && s.sum == 40 * 41 / 2);
		CHECK(journal_get_stats(j).torn + journal_get_stats(j).corrupt == 0);
		journal_close(j);
	}
}

/* What the store has makes room, even in a segment that is not full. */
static void releasing_makes_room(void)
{
	struct rlimit old, small;

	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small = (struct rlimit){ 1000, old.rlim_max };
	setrlimit(RLIMIT_FSIZE, &small);
	append(j, 1, 5);
	CHECK(journal_flush(j));
	journal_mark mark = append(j, 6, 30);
	CHECK(!journal_flush(j) && journal_get_stats(j).segments == 1);
	journal_release(j, mark);
	CHECK(journal_get_stats(j).segments == 0 && journal_get_stats(j).waiting == 0 && files() == 0);
	append(j, 31, 33);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	setrlimit(RLIMIT_FSIZE, &old);
	seen s = replay(j);
	CHECK(s.count == 3 && s.last == 33);
	journal_close(j);
}

static void a_full_disk_is_waited_out(void)
{
	char filler[200], tmpfs[64];

	snprintf(tmpfs, sizeof tmpfs, "%s/tmpfs", base);
	mkdir(tmpfs, 0700);
	if (geteuid() != 0 || mount("tmpfs", tmpfs, "tmpfs", 0, "size=256k") != 0) {
		printf("skipped: needs root and mount(2) for a small tmpfs\n");
		return;
	}
	char saved[sizeof dir];
	memcpy(saved, dir, sizeof dir);
	snprintf(dir, sizeof dir, "%s/j", tmpfs);
	journal *j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 100);
	CHECK(journal_flush(j));
	snprintf(filler, sizeof filler, "%s/filler", tmpfs);
	int fd = open(filler, O_WRONLY | O_CREAT, 0600);
	char block[4096] = { 1 };
	while (write(fd, block, sizeof block) > 0)
		;
	close(fd);
	append(j, 101, 2000);
	CHECK(!journal_flush(j) && journal_get_stats(j).failing);
	CHECK(strstr(journal_get_stats(j).problem, "No space"));
	append(j, 2001, 2100);
	CHECK(!journal_flush(j));
	seen s = replay(j);
	CHECK(s.count >= 100 && journal_get_stats(j).torn == 0);
	unlink(filler);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing && journal_get_stats(j).dropped == 0);
	s = replay(j);
	CHECK(s.count == 2100 && s.sum == 2100 * 2101 / 2 && journal_get_stats(j).torn == 0);
	journal_close(j);
	CHECK(umount2(tmpfs, MNT_DETACH) == 0);
	memcpy(dir, saved, sizeof dir);
}

static void a_directory_that_goes_away_is_made_again(void)
{
	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 10);
	CHECK(journal_flush(j));
	empty_dir();
	journal_mark mark = append(j, 11, 20);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	seen s = replay(j);
	CHECK(s.count == 10 && s.last == 20 && s.mark.position == mark.position);
	/* Only the file. */
	CHECK(unlink(segment_path(2)) == 0);
	append(j, 21, 30);
	CHECK(journal_flush(j));
	s = replay(j);
	CHECK(s.count == 10 && s.last == 30);
	journal_release(j, s.mark);
	journal_close(j);
	CHECK(files() == 0);

	/* It cannot be made: a file is in its place. Kept in memory until it can. */
	j = open_journal(SEGMENT, PLENTY);
	append(j, 1, 10);
	CHECK(journal_flush(j));
	empty_dir();
	write_file(dir, whole, 10);
	append(j, 11, 20);
	CHECK(!journal_flush(j) && journal_get_stats(j).failing && journal_get_stats(j).problem[0]);
	CHECK(!journal_flush(j));
	unlink(dir);
	CHECK(journal_flush(j) && !journal_get_stats(j).failing);
	s = replay(j);
	CHECK(s.count == 10 && s.last == 20);
	journal_close(j);
}

static void an_unwritable_directory_is_waited_out(void)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		int status;
		unit_bad = 0;
		empty_dir();
		mkdir(dir, 0700);
		if (geteuid() == 0 &&
		    (chown(base, 65534, 65534) != 0 || chown(dir, 65534, 65534) != 0 || setuid(65534) != 0))
			_exit(99);
		journal *j = open_journal(4096, PLENTY);
		append(j, 1, 10);
		CHECK(journal_flush(j));
		chmod(dir, 0500);
		append(j, 11, 200);
		CHECK(!journal_flush(j) && strstr(journal_get_stats(j).problem, "denied"));
		chmod(dir, 0700);
		CHECK(journal_flush(j) && !journal_get_stats(j).failing);
		seen s = replay(j);
		CHECK(s.count == 200 && s.sum == 200 * 201 / 2);
		/* A segment that cannot be read keeps the others from nobody, and is not removed. */
		chmod(segment_path(2), 0);
		s = (seen){ .last = INT64_MIN };
		err e;
		CHECK(!journal_replay(j, see, &s, &e) && strstr(e.text, "0000000000000002.journal"));
		CHECK(s.count > 100 && s.count < 200 && s.last == 200);
		journal_release(j, s.mark);
		CHECK(access(segment_path(2), F_OK) == 0 && files() < 4);
		journal_close(j);
		status = unit_bad;
		fflush(stdout);
		_exit(status > 90 ? 90 : status);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 99)
		printf("skipped: no other user to be\n");
	else
		CHECK(status == 0);
	CHECK(geteuid() != 0 || chown(base, 0, 0) == 0);
}

int main(void)
{
	if (!mkdtemp(base))
		return 1;
	snprintf(dir, sizeof dir, "%s/journal", base);
	/* What the journal logs is meant to be odd here. */
	if (!getenv("UNIT_LOG") && !freopen("/dev/null", "w", stderr))
		return 1;
	RUN(a_record_comes_back_as_it_was);
	RUN(what_is_no_record_is_refused);
	RUN(what_was_flushed_survives_a_kill);
	RUN(a_replay_may_release_as_it_goes);
	RUN(only_one_process_has_it);
	RUN(a_torn_end_is_cut_at_every_byte);
	RUN(damage_costs_one_entry_and_invents_none);
	RUN(a_damaged_stretch_is_one_place);
	RUN(an_entry_inside_a_record_is_none);
	RUN(what_a_newer_version_wrote_is_kept);
	RUN(the_size_limit_is_a_full_disk);
	RUN(memory_is_bounded_and_the_newest_are_dropped);
	RUN(a_write_that_ends_in_an_entry_is_made_good);
	RUN(releasing_makes_room);
	RUN(a_full_disk_is_waited_out);
	RUN(a_directory_that_goes_away_is_made_again);
	RUN(an_unwritable_directory_is_waited_out);
	empty_dir();
	char tmpfs[64];
	snprintf(tmpfs, sizeof tmpfs, "%s/tmpfs", base);
	rmdir(tmpfs);
	rmdir(base);
	return unit_end();
}
