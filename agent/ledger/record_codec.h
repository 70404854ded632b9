/* SPDX-License-Identifier: MIT
 *
 * A record as bytes, for the journal: a version, then texts with their lengths, and numbers as zigzag varints.
 *
 * New fields go to the end: a reader ignores what follows the fields that it knows. A change that an older reader would
 * misread needs a new version. */
#ifndef LEDGER_RECORD_CODEC_H
#define LEDGER_RECORD_CODEC_H

#include "base/must_check.h"
#include "ledger/record.h"

enum {
	/* 2: price_missing, more values of usage and price; 3: tap, USAGE_STREAM; 4: member, attempts, tried; 5:
	 * operation, traceparent */
	RECORD_CODEC_VERSION = 5,
	RECORD_ENCODED_MIN = 28,   /* bytes of a record of version 1 with nothing in it; of this version: 35 */
	RECORD_ENCODED_MAX = 1792, /* the largest record has fewer than 1,700 */
};

/* Writes `r` to `out`, and returns the number of bytes. Any record can be written. */
size_t record_encode(const record *r, unsigned char out[RECORD_ENCODED_MAX]);

/* Reads a record of any version up to this one from `bytes`. False: they are no record, or one of a newer version; `*r`
 * is zeroed then. */
MUST_CHECK bool record_decode(slice bytes, record *r);

#endif
