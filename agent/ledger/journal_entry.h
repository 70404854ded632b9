/* SPDX-License-Identifier: MIT
 *
 * The bytes of a journal's segment (journal.h says which), written and read; no directory, no state. */
#ifndef LEDGER_JOURNAL_ENTRY_H
#define LEDGER_JOURNAL_ENTRY_H

#include "ledger/record_codec.h"

enum {
	SEGMENT_VERSION = 1,
	SEGMENT_HEADER = 20,
	ENTRY_HEADER = 8,
	ENTRY_MAX = ENTRY_HEADER + RECORD_ENCODED_MAX,
	SCAN_WINDOW = 64 << 10, /* bytes of a segment in memory while it is read */
};

void segment_header(unsigned char out[SEGMENT_HEADER], uint32_t salt);

/* The number of bytes written to `out`. */
size_t entry_encode(const record *r, uint32_t salt, unsigned char out[ENTRY_MAX]);
/* Of an entry that entry_encode() made. */
size_t entry_size(const unsigned char *entry);

typedef enum scan_event {
	SCAN_RECORD,  /* `record` */
	SCAN_DAMAGED, /* `len` bytes from `at` are no entry; the scan goes on behind them */
	SCAN_TORN, /* from `at` on an entry begins that the file does not hold whole; it was the last event but SCAN_END
		    */
	SCAN_HEADER, /* the segment's header is damaged: nothing of it can be read */
	SCAN_NEWER,  /* the segment's version is not known */
	SCAN_FAILED, /* read(2) failed; see errno */
	SCAN_END,
} scan_event;

typedef struct scan {
	int fd;        /* the caller's */
	uint64_t size; /* bytes of the file to look at */
	uint64_t next; /* where the next entry is */
	uint32_t salt;
	bool failed;
	uint64_t at, len;
	record record;
	uint64_t base; /* of the window in the file */
	size_t held;
	unsigned char window[SCAN_WINDOW];
} scan;

void scan_begin(scan *s, int fd, uint64_t size);
scan_event scan_next(scan *s);

#endif
