/* SPDX-License-Identifier: MIT
 *
 * For test_logline_last.c and fuzz_logline.c: whether two readings of a log line come to the same. */
#ifndef UNIT_LOGLINE_RIG_H
#define UNIT_LOGLINE_RIG_H

#include "ledger/logline.h"
#include "ledger/price.h"
#include "ledger/record_codec.h"

#include <string.h>

/* True if both results, and the records that ledger_take() would make of both, are the same. */
static inline bool logline_same(logline_result a_result, const logline *a, logline_result b_result, const logline *b)
{
	static const char *const none = "";
	unsigned char a_bytes[RECORD_ENCODED_MAX], b_bytes[RECORD_ENCODED_MAX];
	usage_parts a_parts, b_parts;

	if (a_result != b_result)
		return false;
	if (a_result == LOGLINE_MALFORMED)
		return strcmp(a->problem ? a->problem : none, b->problem ? b->problem : none) == 0 &&
		       slice_eq(a->member, b->member);
	if (a_result != LOGLINE_OK)
		return true;
	record a_record = a->record, b_record = b->record;
	usage_apply(&a_record, a->usage, &a->hints, &a_parts);
	usage_apply(&b_record, b->usage, &b->hints, &b_parts);
	size_t len = record_encode(&a_record, a_bytes);
	return len == record_encode(&b_record, b_bytes) && memcmp(a_bytes, b_bytes, len) == 0 &&
	       memcmp(&a_parts, &b_parts, sizeof a_parts) == 0 && a->metered == b->metered &&
	       a->refused == b->refused && a->fallback == b->fallback && strcmp(a->named, b->named) == 0 &&
	       strcmp(a->behind, b->behind) == 0 && slice_eq(a->hints.tier, b->hints.tier);
}

#endif
