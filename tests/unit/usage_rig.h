/* SPDX-License-Identifier: MIT
 *
 * For test_usage.c and test_usage_streams.c: what usage_apply() makes of a fragment. */
#ifndef UNIT_USAGE_RIG_H
#define UNIT_USAGE_RIG_H

#include "unit.h"

#include "ledger/usage.h"

#include <inttypes.h>

static usage_parts parts; /* of the last usage_apply() */

static inline record apply(const char *protocol, const char *model, const void *fragment, size_t len, usage_hints hints)
{
	record r = { .input = 7, .output = 7, .cache_read = 7, .cache_write = 7, .saved = 7, .usage = USAGE_PARTIAL };

	snprintf(r.protocol, sizeof r.protocol, "%s", protocol);
	snprintf(r.model, sizeof r.model, "%s", model);
	r.stream = hints.stream;
	usage_apply(&r, slice_of(unit_guarded(fragment, len), len), &hints, &parts);
	return r;
}

static const usage_hints whole = { .stream = false, .ok = true, .bytes_out = 900, .bytes_in = 1200 };

static inline bool is(const record *r, usage_from from, int64_t input, int64_t output, int64_t read, int64_t write)
{
	if (r->usage == from && r->input == input && r->output == output && r->cache_read == read &&
	    r->cache_write == write)
		return true;
	printf("  %s input %" PRId64 " output %" PRId64 " read %" PRId64 " write %" PRId64 "\n",
	       usage_from_name(r->usage), r->input, r->output, r->cache_read, r->cache_write);
	return false;
}

/* Hints of a stream whose request had a head of 740 bytes, and a body of text. */
static inline usage_hints streamed(int64_t bytes_out, int64_t bytes_in)
{
	usage_hints hints = { .stream = true, .ok = true, .bytes_out = bytes_out, .bytes_in = bytes_in };
	hints.text = bytes_in >= 740 ? bytes_in - 740 : -1;
	return hints;
}

#endif
