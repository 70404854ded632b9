/* SPDX-License-Identifier: MIT
 *
 * Segments of the journal that are torn, damaged or of a newer version, and which records still come back. */
#include "journal_rig.h"

#include <sys/stat.h>

#include "ledger/journal_entry.h"

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
			/* Another replay gives the same marks, though the first one ended at the last good entry. */
			seen again = replay(j);
			CHECK(again.count == 9 && again.mark.position == s.mark.position);
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

/* Writes `version`, with the right CRC, to the header of the segment in `whole`. */
static void set_version(unsigned char version)
{
	uint32_t crc = 0xffffffff;

	whole[11] = version;
	for (int i = 0; i < 16; i++) {
		crc ^= whole[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	crc = ~crc;
	for (int i = 0; i < 4; i++)
		whole[16 + i] = (unsigned char)(crc >> (24 - 8 * i));
}

static void what_an_older_version_wrote_is_read(void)
{
	size_t ends[11], len = make_segment(ends);

	for (unsigned char version = 1; version < SEGMENT_VERSION; version++) {
		set_version(version);
		empty_dir();
		mkdir(dir, 0700);
		write_file(segment_path(1), whole, len);
		journal *j = open_journal(SEGMENT, PLENTY);
		seen s = replay(j);
		CHECK(s.count == 10 && !s.odd && journal_get_stats(j).corrupt == 0);
		journal_close(j);
	}
}

static void what_a_newer_version_wrote_is_kept(void)
{
	size_t ends[11], len = make_segment(ends);

	set_version(SEGMENT_VERSION + 1);
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

int main(void)
{
	journal_rig_init();
	RUN(a_torn_end_is_cut_at_every_byte);
	RUN(damage_costs_one_entry_and_invents_none);
	RUN(a_damaged_stretch_is_one_place);
	RUN(an_entry_inside_a_record_is_none);
	RUN(what_an_older_version_wrote_is_read);
	RUN(what_a_newer_version_wrote_is_kept);
	return journal_rig_end();
}
