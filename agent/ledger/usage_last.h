/* SPDX-License-Identifier: MIT
 *
 * Reads usage objects by those before them. The objects of one provider differ in their numbers only, so what a number
 * means is found out once. */
#ifndef LEDGER_USAGE_LAST_H
#define LEDGER_USAGE_LAST_H

#include "ledger/usage_counts.h"

enum {
	USAGE_LAST = 8, /* objects that are kept: one for each provider and API */
	USAGE_LAST_BYTES = 1024,
};

/* An object that was read, as a string of JSON without its quotes. */
typedef struct usage_form {
	size_t len; /* of `bytes`; 0: no object is kept */
	unsigned count;
	struct {
		uint16_t begin, end; /* of a number */
		uint8_t kind;        /* of count_kind; COUNTS: the number means nothing */
	} numbers[COUNTS_NOTES];
	counts counts; /* with the numbers of the last object of this form */
	char bytes[USAGE_LAST_BYTES];
} usage_form;

typedef struct usage_last {
	unsigned next, best; /* is overwritten next; is compared first */
	usage_form forms[USAGE_LAST];
} usage_last;

/* Returns what the object `raw` tells, a string of JSON without its quotes: the same as counts_read() does of its text.
 * NULL: `raw` differs from the last ones in more than whole numbers. Valid until the next call. */
const counts *usage_last_read(usage_last *last, slice raw);
/* Keeps `raw`, whose text is `text`, if that is one whole object. Returns what it tells; NULL: it is not kept. */
const counts *usage_last_keep(usage_last *last, slice raw, slice text);

#endif
