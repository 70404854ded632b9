/* SPDX-License-Identifier: MIT
 *
 * Writes and reads the bytes of a journal's segment, which journal.h describes. Knows of no directory and keeps no
 * state between segments. */
#ifndef LEDGER_JOURNAL_ENTRY_H
#define LEDGER_JOURNAL_ENTRY_H

#include "ledger/record_codec.h"
#include "ledger/tap_report.h"

enum {
	SEGMENT_VERSION = 4, /* that of the records in it, so that an older agent keeps the file and loses none */
	SEGMENT_HEADER = 20,
	ENTRY_HEADER = 8,
	PAYLOAD_MIN = TAP_REPORT_ENCODED_MIN,
	PAYLOAD_MAX = TAP_REPORT_ENCODED_MAX,
	ENTRY_MAX = ENTRY_HEADER + PAYLOAD_MAX,
	SCAN_WINDOW = 64 << 10, /* bytes of a segment in memory while it is read */
};

/* Writes the header of a segment to `out`. */
void segment_header(unsigned char out[SEGMENT_HEADER], uint32_t salt);

_Static_assert((int)PAYLOAD_MIN <= (int)RECORD_ENCODED_MIN && (int)PAYLOAD_MAX >= (int)RECORD_ENCODED_MAX,
	       "either fits");

/* Write an entry to `out`, and return its length. */
size_t entry_encode(const record *r, uint32_t salt, unsigned char out[ENTRY_MAX]);
size_t entry_encode_report(const tap_report *r, uint32_t salt, unsigned char out[ENTRY_MAX]);
/* Returns the length of an entry that one of the two wrote. */
size_t entry_size(const unsigned char *entry);

typedef enum scan_event {
	SCAN_ENTRY,   /* `record` or `report` is the next one */
	SCAN_DAMAGED, /* `len` bytes from `at` on are no entry; the scan goes on after them */
	SCAN_TORN,    /* the entry that begins at `at` is cut by the end of the file; only SCAN_END follows */
	SCAN_HEADER,  /* the segment's header is damaged: nothing of it can be read */
	SCAN_NEWER,   /* a newer agent wrote the segment */
	SCAN_FAILED,  /* read(2) failed; see errno */
	SCAN_END,
} scan_event;

typedef struct scan {
	int fd;        /* stays the caller's */
	uint64_t size; /* bytes of the file to read */
	uint64_t next; /* where the next entry begins */
	uint32_t salt;
	bool failed;
	uint64_t at, len; /* of the event */
	/* Of SCAN_ENTRY: one is set, and points to the value below; the other is NULL. */
	const record *record;
	const tap_report *report;
	struct record record_value;
	struct tap_report report_value;
	uint64_t base; /* where in the file the window begins */
	size_t held;   /* bytes in the window */
	unsigned char window[SCAN_WINDOW];
} scan;

/* Begins to read the segment in the first `size` bytes of `fd`. */
void scan_begin(scan *s, int fd, uint64_t size);
/* Reads on to the next event; after SCAN_FAILED there is no other. */
scan_event scan_next(scan *s);
/* Sets `record` or `report` to the whole entry at `entry`, as entry_encode() or entry_encode_report() wrote it. False:
 * it is neither. */
bool scan_memory(scan *s, const unsigned char *entry);

#endif
