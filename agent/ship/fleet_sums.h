/* SPDX-License-Identifier: MIT
 *
 * What a row of `requests` adds to each sum, in SQL, as store_sums_add() has it in C. The schema's functions have this
 * list in them: a further sum needs a new version of the schema, which makes them anew. */
#ifndef SHIP_FLEET_SUMS_H
#define SHIP_FLEET_SUMS_H

/* A row without counts adds nothing; greatest() leaves a NULL out. */
#define FLEET_KNOWN(column) "greatest(" column ", 0)"
#define FLEET_IF(condition, value) "CASE WHEN " condition " THEN " value " ELSE 0 END"
#define FLEET_FAILED \
	"code = '' AND (status < 100 OR status >= 400 OR left(termination, 1) NOT IN ('', '-', 'L', 'C', 'c'))"
#define FLEET_TOKENS \
	FLEET_KNOWN("input") \
	"::numeric + " FLEET_KNOWN("output") " + " FLEET_KNOWN("cache_read") " + " FLEET_KNOWN("cache_write")

/* X(name, what a row adds), in the order of STORE_SUMS (ledger/store_schema.h). */
/* clang-format off */
#define FLEET_SUMS(X) \
	X("requests", "1") X("streams", "stream") X("refused", FLEET_IF("code <> ''", "1")) X("failed", FLEET_IF(FLEET_FAILED, "1")) \
	X("input", FLEET_KNOWN("input")) X("output", FLEET_KNOWN("output")) X("cache_read", FLEET_KNOWN("cache_read")) \
	X("cache_write", FLEET_KNOWN("cache_write")) X("saved", "saved") X("cost", "cost") \
	X("saved_compression", "saved_compression") X("saved_cache", "saved_cache") X("saved_routing", "saved_routing") \
	X("bytes_in", FLEET_KNOWN("bytes_in")) X("bytes_out", FLEET_KNOWN("bytes_out")) \
	X("estimated_requests", FLEET_IF("usage = 3", "1")) X("estimated_output", FLEET_IF("usage = 3", FLEET_KNOWN("output"))) \
	X("estimated_cost", FLEET_IF("usage = 3", "cost")) X("partial_requests", FLEET_IF("usage = 2", "1")) \
	X("unpriced_requests", FLEET_IF("price = 2", "1")) X("unpriced_tokens", FLEET_IF("price = 2", FLEET_TOKENS)) \
	X("unknown_requests", FLEET_IF("usage = 4", "1")) X("partly_priced_requests", FLEET_IF("price = 3", "1")) \
	X("untold_requests", FLEET_IF("tap = 2", "1")) X("estimated_saved_compression", FLEET_IF("usage = 3", "saved_compression")) \
	X("estimated_saved_cache", FLEET_IF("usage = 3", "saved_cache")) \
	X("estimated_saved_routing", FLEET_IF("usage = 3", "saved_routing"))
/* clang-format on */

#endif
