/* SPDX-License-Identifier: MIT
 *
 * The journal: records as bytes, and what a journal keeps from its opening to its release. */
#include "journal_rig.h"

#include "ledger/codec.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
	full->stream = full->keyed = true;
	full->bytes_in = full->bytes_out = full->ttfb_ms = full->total_ms = INT64_MIN;
	full->input = full->output = full->cache_read = full->cache_write = full->saved = INT64_MAX;
	full->cost = full->saved_compression = full->saved_cache = full->saved_routing = INT64_MIN;
	full->usage = USAGE_STREAM;
	full->price = PRICE_PARTIAL;
	memset(full->price_missing, 'k', RECORD_LABEL_MAX);
	full->tap = TAP_NOTHING;
	memset(full->member, 'a', RECORD_MEMBER_MAX);
	memset(full->tried, 'b', RECORD_TRIED_MAX);
	full->attempts = RECORD_ATTEMPTS_MAX;
	memset(full->operation, 'o', RECORD_OPERATION_MAX);
	memset(full->traceparent, 't', TRACEPARENT_LEN);

	for (size_t i = 0; i < 3; i++) {
		unsigned char bytes[RECORD_ENCODED_MAX];
		size_t len = record_encode(&rows[i], bytes);
		record back;
		CHECK(i != 0 || len == RECORD_ENCODED_MIN + 7);
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
		CHECK(strcmp(back.price_missing, rows[i].price_missing) == 0 && back.tap == rows[i].tap);
		CHECK(strcmp(back.member, rows[i].member) == 0 && strcmp(back.tried, rows[i].tried) == 0);
		CHECK(back.attempts == rows[i].attempts && back.keyed == rows[i].keyed);
		CHECK(strcmp(back.operation, rows[i].operation) == 0);
		CHECK(strcmp(back.traceparent, rows[i].traceparent) == 0);
		/* Any shorter is none, and nothing is read behind the end. */
		for (size_t cut = 0; cut < len; cut++)
			CHECK(!record_decode(slice_of(unit_guarded(bytes, cut), cut), &back) && back.id[0] == '\0');
		/* What a later version adds at the end is ignored; another version is refused. */
		CHECK(len + 1 < sizeof bytes);
		bytes[len] = 7;
		CHECK(record_decode(slice_of(bytes, len + 1), &back) && same(&back, &rows[i]));
		bytes[0]++;
		CHECK(!record_decode(slice_of(bytes, len), &back));
		/* Version 4 has no operation and no traceparent, version 3 nothing of pools and keys, version 2 no tap,
		 * and version 1 no price_missing. Lengths from 128 on take two bytes. */
		bytes[0] = 4;
		len -= strlen(rows[i].operation) + strlen(rows[i].traceparent) + 2;
		rows[i].operation[0] = rows[i].traceparent[0] = '\0';
		CHECK(record_decode(slice_of(unit_guarded(bytes, len), len), &back) && same(&back, &rows[i]));
		bytes[0] = 3;
		len -= strlen(rows[i].member) + strlen(rows[i].tried) + (strlen(rows[i].tried) > 127 ? 2 : 1) + 2;
		rows[i].member[0] = rows[i].tried[0] = '\0';
		rows[i].attempts = 0;
		if (rows[i].keyed) { /* a byte that no version before 4 wrote */
			CHECK(!record_decode(slice_of(bytes, len), &back));
			rows[i].keyed = false;
			unsigned char *flags = memchr(bytes, 3, len);
			while (flags && flags == bytes)
				flags = memchr(bytes + 1, 3, len - 1);
			if (!flags)
				abort();
			*flags = 1;
		}
		CHECK(record_decode(slice_of(unit_guarded(bytes, len), len), &back) && same(&back, &rows[i]));
		bytes[0] = 2;
		len--;
		rows[i].tap = TAP_NOT;
		CHECK(record_decode(slice_of(unit_guarded(bytes, len), len), &back) && same(&back, &rows[i]));
		bytes[0] = 1;
		len -= strlen(rows[i].price_missing) + 1;
		rows[i].price_missing[0] = '\0';
		CHECK(record_decode(slice_of(unit_guarded(bytes, len), len), &back) && same(&back, &rows[i]));
		bytes[0] = 0;
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
	/* A usage_from beyond the last one; its byte is where two records that differ in it alone differ. */
	r.usage = USAGE_ESTIMATED;
	CHECK(record_encode(&r, bad) == len);
	size_t at = 0;
	while (at < len && bad[at] == good[at])
		at++;
	CHECK(record_decode(slice_of(bad, len), &back) && back.usage == USAGE_ESTIMATED);
	bad[at] = USAGE_STREAM + 1;
	CHECK(!record_decode(slice_of(bad, len), &back));
	/* Without what version 5 added, the end is price, an empty price_missing, tap, an empty member, attempts, and
	 * an empty `tried`. */
	good[0] = 4;
	len -= 2;
	memcpy(bad, good, len);
	bad[len - 6] = PRICE_PARTIAL + 1;
	CHECK(!record_decode(slice_of(bad, len), &back));
	memcpy(bad, good, len);
	bad[len - 4] = TAP_NOTHING + 1;
	CHECK(!record_decode(slice_of(bad, len), &back));
	memcpy(bad, good, len);
	bad[len - 2] = RECORD_ATTEMPTS_MAX << 1; /* zigzag */
	CHECK(record_decode(slice_of(bad, len), &back) && back.attempts == RECORD_ATTEMPTS_MAX);
	bad[len - 2] = (RECORD_ATTEMPTS_MAX + 1) << 1;
	CHECK(!record_decode(slice_of(bad, len), &back));
	bad[len - 2] = 1; /* -1 */
	CHECK(!record_decode(slice_of(bad, len), &back));
	/* Names that are too long, and all of each is there. */
	memcpy(bad, good, len);
	bad[len - 3] = RECORD_MEMBER_MAX + 1;
	memset(bad + len - 2, 'a', RECORD_MEMBER_MAX + 1);
	memset(bad + len - 2 + RECORD_MEMBER_MAX + 1, 0, 2);
	CHECK(!record_decode(slice_of(bad, len + RECORD_MEMBER_MAX + 1), &back));
	memcpy(bad, good, len);
	unsigned char *end = put_varint(bad + len - 1, RECORD_TRIED_MAX + 1);
	memset(end, 'a', RECORD_TRIED_MAX + 1);
	CHECK(!record_decode(slice_of(bad, (size_t)(end - bad) + RECORD_TRIED_MAX + 1), &back));
	end = put_varint(bad + len - 1, RECORD_TRIED_MAX);
	CHECK(record_decode(slice_of(bad, (size_t)(end - bad) + RECORD_TRIED_MAX), &back) &&
	      strlen(back.tried) == RECORD_TRIED_MAX);
	memset(bad, 0xff, sizeof bad);
	bad[0] = RECORD_CODEC_VERSION;
	CHECK(!record_decode(slice_of(bad, sizeof bad), &back));
	CHECK(strcmp(usage_from_name(USAGE_STREAM), "stream") == 0);
	CHECK(strcmp(tap_state_name(TAP_NOTHING), "nothing") == 0);
	CHECK(strcmp(price_from_name(PRICE_PARTIAL), "partial") == 0);
}

/* ---- the life of a journal */

/* Runs a process that appends and flushes `from`..`to` and is killed. */
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

/* What was appended, and released while the rest of it was in memory, is released up to the same place. */
static void a_replay_gives_the_marks_of_the_entries(void)
{
	empty_dir();
	journal *j = open_journal(SEGMENT, PLENTY);
	journal_mark after[3];

	for (int64_t i = 0; i < 2; i++) {
		record r = record_number(i + 1);
		CHECK(journal_append(j, &r, &after[i]));
	}
	CHECK(journal_flush(j));
	seen s = replay(j);
	CHECK(s.count == 2 && s.mark.position == after[1].position);
	record third = record_number(3);
	CHECK(journal_append(j, &third, &after[2]));
	journal_release(j, s.mark);
	CHECK(journal_get_stats(j).waiting == after[2].position - after[1].position && journal_flush(j));
	s = replay(j);
	CHECK(s.last == 3 && !s.odd && journal_get_stats(j).corrupt == 0);
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

int main(void)
{
	journal_rig_init();
	RUN(a_record_comes_back_as_it_was);
	RUN(what_is_no_record_is_refused);
	RUN(what_was_flushed_survives_a_kill);
	RUN(a_replay_may_release_as_it_goes);
	RUN(a_replay_gives_the_marks_of_the_entries);
	RUN(only_one_process_has_it);
	return journal_rig_end();
}
