/* SPDX-License-Identifier: MIT
 *
 * Any datagram as a report of the tap. Checked: what is read fits its places and comes back from the journal's bytes as
 * it was; any beginning of a report is none; any bytes as an encoded report are none, or one that is encoded the same;
 * whatever a report tells, a record gets counts that add up, an exact one keeps them, and a second time changes
 * nothing. */
#include "fuzz.h"

#include "ledger/usage.h"

static bool parse(slice datagram, tap_report *out)
{
	char *copy = malloc(datagram.len ? datagram.len : 1);
	const char *problem;

	HOLDS(copy != NULL);
	if (datagram.len)
		memcpy(copy, datagram.ptr, datagram.len);
	bool ok = tap_report_parse(slice_of(copy, datagram.len), 7, out, &problem);
	HOLDS(ok == !*problem);
	free(copy);
	return ok;
}

static void same(const tap_report *a, const tap_report *b)
{
	unsigned char x[TAP_REPORT_ENCODED_MAX], y[TAP_REPORT_ENCODED_MAX];
	size_t len = tap_report_encode(a, x);

	HOLDS(len == tap_report_encode(b, y) && memcmp(x, y, len) == 0);
	HOLDS(len >= TAP_REPORT_ENCODED_MIN);
}

static void as_bytes(slice bytes)
{
	static unsigned char again[TAP_REPORT_ENCODED_MAX];
	tap_report r, back;

	if (!tap_report_decode(bytes, &r))
		return;
	size_t len = tap_report_encode(&r, again);
	HOLDS(tap_report_decode(slice_of(again, len), &back));
	same(&r, &back);
}

static bool counts_are_sane(const record *r)
{
	int64_t n[] = { r->input, r->output, r->cache_read, r->cache_write };

	for (size_t i = 0; i < sizeof n / sizeof n[0]; i++)
		if (n[i] > 4 * USAGE_TOKENS_MAX || n[i] < (r->usage == USAGE_UNKNOWN ? -1 : 0))
			return false;
	return true;
}

static void apply(const tap_report *p)
{
	static const char *const protocols[] = { "openai", "anthropic", "gemini" };
	usage_parts parts;

	for (usage_from u = USAGE_NONE; u <= USAGE_STREAM; u++) {
		int64_t n = u == USAGE_UNKNOWN ? -1 : 9;
		record r = { .usage = u, .status = 200, .input = n, .output = n, .cache_read = n, .cache_write = n };
		snprintf(r.protocol, sizeof r.protocol, "%s", protocols[p->content % 3]);
		HOLDS(!usage_apply_report(&r, p, &parts) && r.usage == u &&
		      r.input == n); /* it did not go through the tap */
		r.tap = TAP_MISSING;
		bool changed = usage_apply_report(&r, p, &parts);
		HOLDS(counts_are_sane(&r));
		HOLDS(changed || (r.usage == u && r.input == n && r.output == n));
		HOLDS(u != USAGE_STREAM || !changed);
		HOLDS(u != USAGE_REPORTED || r.usage == USAGE_REPORTED || r.usage == USAGE_STREAM);
		HOLDS(r.usage != USAGE_STREAM || u == USAGE_STREAM || p->final);
		record once = r;
		HOLDS(!usage_apply_report(&r, p, &parts) && r.usage == once.usage && r.output == once.output &&
		      r.tap == once.tap);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned char bytes[TAP_REPORT_ENCODED_MAX];
	static tap_report r, back, cut;
	slice datagram = slice_of(data, size);

	as_bytes(datagram);
	if (!parse(datagram, &r))
		return 0;
	HOLDS(size <= TAP_REPORT_MAX && r.id[0] && r.time_ms == 7);
	size_t len = tap_report_encode(&r, bytes);
	HOLDS(tap_report_decode(slice_of(bytes, len), &back));
	same(&r, &back);
	const char *end = memrchr(data, '}', size);
	size_t whole = end ? (size_t)(end - (const char *)data) : 0;
	for (size_t i = 1; i < 8; i++)
		HOLDS(!parse(slice_first(datagram, whole * i / 8), &cut));
	apply(&r);
	return 0;
}
