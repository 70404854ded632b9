/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a journal reads a segment with any content. The first byte of the input chooses:
 *   even  the rest is the file, byte by byte
 *   odd   the rest describes a file with right headers and CRCs, so that the code after these checks is reached:
 *         entries with any payload, cut, with flipped bits, or followed by garbage
 * Checked: the journal does not crash, delivers only what was written, and works afterwards. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/journal.h"
#include "ledger/journal_entry.h"

#include <zlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_MAX = 256 << 10, ENTRIES_MAX = 4096 };

static char dir[64], segment[128];
static unsigned char file[FILE_MAX];
static size_t file_len;

/* The payloads that may come back, in order: not all have to. */
static struct {
	const uint8_t *at;
	size_t len;
} whole[ENTRIES_MAX];
static size_t whole_count, whole_next;
static bool any;

static void remove_dir(void)
{
	unlink(segment);
	rmdir(dir);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	snprintf(dir, sizeof dir, "%s/fuzz_journal.%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
		 (int)getpid());
	snprintf(segment, sizeof segment, "%s/0000000000000007.journal", dir);
	mkdir(dir, 0700);
	atexit(remove_dir);
	/* Writing what the journal logs would take most of the time of a run. */
	if (!getenv("FUZZ_LOG") && !freopen("/dev/null", "w", stdout))
		abort();
	return 0;
}

static void put_u32(unsigned char *at, uint32_t v)
{
	at[0] = (unsigned char)(v >> 24);
	at[1] = (unsigned char)(v >> 16);
	at[2] = (unsigned char)(v >> 8);
	at[3] = (unsigned char)v;
}

/* The bytes of a record or of a report, as the journal would write them. */
static size_t encode(const record *r, const tap_report *report, unsigned char out[PAYLOAD_MAX])
{
	return report ? tap_report_encode(report, out) : record_encode(r, out);
}

/* A payload that is a report with the bytes as its texts and numbers, so that most of them decode. */
static size_t report_from(const uint8_t *data, size_t size, unsigned char out[PAYLOAD_MAX])
{
	tap_report r;
	memset(&r, 0, sizeof r);
	memcpy(r.id, data, size < RECORD_ID_MAX ? size : RECORD_ID_MAX);
	memcpy(r.last, data, size);
	r.content = (int64_t)size * 12345678;
	r.end = (tap_end)(size & 3);
	r.status = (int32_t)size;
	return tap_report_encode(&r, out);
}

/* The same with a record. */
static size_t record_from(const uint8_t *data, size_t size, unsigned char out[PAYLOAD_MAX])
{
	record r;
	memset(&r, 0, sizeof r);
	memcpy(r.id, data, size < RECORD_ID_MAX ? size : RECORD_ID_MAX);
	if (size > RECORD_ID_MAX)
		memcpy(r.model, data + RECORD_ID_MAX,
		       size - RECORD_ID_MAX < RECORD_MODEL_MAX ? size - RECORD_ID_MAX : RECORD_MODEL_MAX);
	r.cost = (int64_t)size * -12345678901;
	r.tap = (tap_state)(size % 5);
	memcpy(r.member, data, size < RECORD_MEMBER_MAX ? size : RECORD_MEMBER_MAX);
	memcpy(r.tried, data, size); /* a length of one byte */
	r.attempts = (int64_t)(size % (RECORD_ATTEMPTS_MAX + 1));
	return record_encode(&r, out);
}

static void describe(const uint8_t *data, size_t size)
{
	static unsigned char payloads[ENTRIES_MAX][PAYLOAD_MAX];
	const uint32_t salt = 0x5a17ab1e;

	segment_header(file, salt);
	file_len = SEGMENT_HEADER;
	whole_count = 0;
	while (size >= 2 && whole_count < ENTRIES_MAX && file_len + ENTRY_MAX + 256 < FILE_MAX) {
		uint8_t what = data[0];
		size_t len = data[1];
		unsigned char *entry = file + file_len, *payload = payloads[whole_count];
		data += 2;
		size -= 2;
		len = len < size ? len : size;
		if ((what & 7) == 7) { /* garbage between entries */
			memcpy(entry, data, len);
			file_len += len;
			data += len;
			size -= len;
			continue;
		}
		size_t payload_len = len;
		if ((what & 7) == 0) /* free */
			memcpy(payload, data, len);
		else if ((what & 7) == 4)
			payload_len = report_from(data, len, payload);
		else
			payload_len = record_from(data, len, payload);
		put_u32(entry, (uint32_t)payload_len);
		memcpy(entry + ENTRY_HEADER, payload, payload_len);
		put_u32(entry + 4, (uint32_t)crc32(crc32(salt, entry, 4), payload, (uInt)payload_len));
		size_t entry_len = ENTRY_HEADER + payload_len;
		bool good = true;
		if ((what & 7) == 6 && entry_len) { /* cut */
			entry_len = what %
				    entry_len; /* what follows may be just what is missing, so it may be delivered */
		} else if ((what & 7) == 5) {  /* flipped */
			entry[what % entry_len] ^= (unsigned char)(1 + (what >> 4));
			good = false;
		}
		if (good) {
			whole[whole_count].at = payload;
			whole[whole_count++].len = payload_len;
		}
		file_len += entry_len;
		data += len;
		size -= len;
	}
}

static bool see(void *ctx, const record *r, const tap_report *report, journal_mark after)
{
	unsigned char bytes[PAYLOAD_MAX];
	journal_mark *last = ctx;

	if (after.position <= last->position)
		abort();
	*last = after;
	if (!r == !report)
		abort();
	if (r &&
	    (strnlen(r->model, sizeof r->model) == sizeof r->model || strnlen(r->id, sizeof r->id) == sizeof r->id))
		abort();
	if (report && (strnlen(report->last, sizeof report->last) == sizeof report->last ||
		       strnlen(report->id, sizeof report->id) == sizeof report->id))
		abort();
	size_t len = encode(r, report, bytes);
	if (any)
		return true;
	/* It is one of those that were written, and in their order. A payload may have more bytes than its record
	 * needs. */
	for (; whole_next < whole_count; whole_next++) {
		record again;
		tap_report again_report;
		unsigned char bytes_again[PAYLOAD_MAX];
		slice payload = slice_of(whole[whole_next].at, whole[whole_next].len);
		if (report ? !tap_report_decode(payload, &again_report) : !record_decode(payload, &again))
			continue;
		size_t len_again = encode(&again, report ? &again_report : NULL, bytes_again);
		if (len == len_again && memcmp(bytes, bytes_again, len) == 0) {
			whole_next++;
			return true;
		}
	}
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	journal_mark last = { 0 };
	err e;

	if (size < 1 || size > FILE_MAX)
		return 0;
	any = !(data[0] & 1);
	if (any) {
		file_len = size - 1;
		if (file_len)
			memcpy(file, data + 1, file_len);
	} else {
		describe(data + 1, size - 1);
	}
	int fd = open(segment, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, file, file_len) != (ssize_t)file_len)
		abort();
	close(fd);

	journal *j = journal_open(dir, 4096, 1 << 20, &e);
	if (!j)
		abort();
	whole_next = 0;
	if (!journal_replay(j, see, &last, &e))
		abort();
	journal_stats stats = journal_get_stats(j);
	/* What was cut off is not found torn again. */
	last.position = whole_next = 0;
	if (!journal_replay(j, see, &last, &e) || journal_get_stats(j).torn != stats.torn)
		abort();
	journal_release(j, last);
	journal_close(j);
	unlink(segment);
	return 0;
}
