/* SPDX-License-Identifier: MIT
 *
 * Figures of groups, added up. A PostgreSQL may send any. */
#include "report/figures.h"

#include "base/unused.h"
#include "unit.h"

static int twice_the_largest(void *from UNUSED, const store_facet_question *q UNUSED,
			     bool (*each)(void *ctx, const store_facet *f), void (*again)(void *ctx) UNUSED, void *ctx,
			     store_facets_told *told UNUSED, err *e UNUSED)
{
	const store_sums sums = { .requests = INT64_MAX };
	store_facet f = { .label = "a", .sums = &sums, .last_ms = INT64_MAX };

	for (size_t i = 0; i < sizeof f.status / sizeof f.status[0]; i++)
		f.status[i] = i % 2 ? INT64_MAX : INT64_MIN;
	return each(ctx, &f) && each(ctx, &f) ? 0 : 1;
}

static void sums_that_are_too_large_stay_at_the_limit(void)
{
	const figures_source source = { .facets = twice_the_largest };
	const store_facet_question q = { .only = NULL };
	figures_groups l = { .items = NULL };
	store_facets_told told;
	err e;

	CHECK(figures_read(&source, &q, &l, &told, &e) == 0 && l.count == 2);
	CHECK(l.total.sums.requests == INT64_MAX && l.total.last_ms == INT64_MAX);
	for (size_t i = 0; i < sizeof l.total.status / sizeof l.total.status[0]; i++)
		CHECK(l.total.status[i] == (i % 2 ? INT64_MAX : INT64_MIN));
	figures_groups_deinit(&l);
}

int main(void)
{
	RUN(sums_that_are_too_large_stay_at_the_limit);
	return unit_end();
}
