/* SPDX-License-Identifier: MIT
 *
 * Which requests without a usage have an unknown one, by status, termination state and endpoint. */
#include "unit.h"

#include "ledger/price.h"
#include "ledger/unknown.h"

static record ended(int32_t status, const char *termination, usage_from usage)
{
	record r = { .status = status, .usage = usage, .model = "claude-sonnet-4-5", .ttfb_ms = 5 };

	snprintf(r.termination, sizeof r.termination, "%s", termination);
	return r;
}

static void what_nobody_told_is_unknown(void)
{
	static const struct {
		int32_t status;
		const char *termination;
		bool metered, unknown;
	} rows[] = {
		{ 200, "--", true, true },
		{ 200, "", true, true },
		{ 201, "--", true, true },
		{ 206, "cD", true, true }, /* the client left in the middle of the answer */
		{ 200, "SD", true, true },
		{ 200, "--", false, false },
		{ 101, "--", true, true }, /* a WebSocket */
		{ 101, "cD", false, true },
		/* The request had reached the upstream, which did not answer. */
		{ 400, "CH", true, true },
		{ 499, "CH", true, true },
		{ 0, "CH", true, true },
		{ 502, "SH", true, true },
		{ 504, "sH", true, true },
		{ 503, "DH", true, true },
		{ 502, "PH", true, true },
		{ 400, "CH", false, false },
		/* It had not reached it. */
		{ 503, "SC", true, false },
		{ 503, "sC", true, false },
		{ 400, "CC", true, false },
		{ 503, "sQ", true, false },
		{ 400, "CR", true, false },
		{ 408, "cR", true, false },
		{ 403, "PR", true, false },
		/* HAProxy answered by itself. */
		{ 204, "LR", true, false },
		{ 502, "LR", true, false },
		/* The upstream answered that it did not run the model. */
		{ 429, "--", true, false },
		{ 500, "--", true, false },
		{ 500, "SD", true, false },
		{ 307, "--", true, false },
		{ 404, "CD", true, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = ended(rows[i].status, rows[i].termination, USAGE_NONE);
		int64_t want = rows[i].unknown ? -1 : 0;
		unknown_apply(&r, rows[i].metered);
		CHECK(r.usage == (rows[i].unknown ? USAGE_UNKNOWN : USAGE_NONE) ||
		      !printf("  %d %s\n", rows[i].status, rows[i].termination));
		CHECK(r.input == want && r.output == want && r.cache_read == want && r.cache_write == want);
	}
}

static void what_was_told_stays(void)
{
	static const usage_from told[] = { USAGE_REPORTED, USAGE_PARTIAL, USAGE_ESTIMATED };

	for (size_t i = 0; i < sizeof told / sizeof told[0]; i++) {
		record r = ended(200, "--", told[i]);
		r.input = 5;
		unknown_apply(&r, true);
		CHECK(r.usage == told[i] && r.input == 5 && r.output == 0);
	}
	/* The client left while its body was sent on: no head of an answer came. */
	record cut = ended(0, "CD", USAGE_NONE);
	cut.ttfb_ms = -1;
	unknown_apply(&cut, true);
	CHECK(cut.usage == USAGE_UNKNOWN && cut.input == -1);
	cut = ended(0, "CD", USAGE_NONE);
	cut.ttfb_ms = -1;
	unknown_apply(&cut, false);
	CHECK(cut.usage == USAGE_NONE && cut.input == 0);
	/* A usage that usage_apply() found to be unknown has no counts either. */
	record r = ended(200, "--", USAGE_UNKNOWN);
	unknown_apply(&r, false);
	CHECK(r.usage == USAGE_UNKNOWN && r.input == -1);
}

static void what_is_unknown_has_no_price(void)
{
	err e = { 0 };
	price_table *prices = price_table_load(NULL, &e);
	record r = ended(200, "--", USAGE_NONE);
	usage_parts parts = usage_parts_untold();

	CHECK(prices);
	r.saved = 1000; /* told by a header, whatever the answer told */
	unknown_apply(&r, true);
	price_apply(prices, &r, &parts, SLICE("claude-opus-4-1"));
	CHECK(r.price == PRICE_NONE && r.cost == 0 && r.saved_compression == 0 && r.saved_routing == 0);
	CHECK(r.saved == 1000 && r.input == -1);
	price_table_unref(prices);
}

int main(void)
{
	RUN(what_nobody_told_is_unknown);
	RUN(what_was_told_stays);
	RUN(what_is_unknown_has_no_price);
	return unit_end();
}
