/* SPDX-License-Identifier: MIT
 *
 * The sums that metrics show: a report of the tap makes an estimate smaller, and no counter goes down. */
#include "store_rig.h"

#include "ops/totals.h"

static void half(void *ctx, record *r, const tap_report *told)
{
	(void)ctx;
	(void)told;
	r->usage = USAGE_STREAM;
	r->tap = TAP_TOLD;
	r->output /= 2;
	r->cost /= 2;
	r->saved_cache = -70;
}

static record row_of(const char *id)
{
	record r = { .time_ms = BEGIN_MS,
		     .status = 200,
		     .usage = USAGE_ESTIMATED,
		     .price = PRICE_TABLE,
		     .output = 100,
		     .cost = 1000,
		     .saved_cache = 30,
		     .tap = TAP_MISSING,
		     .model = "m",
		     .route = "r",
		     .client = "c",
		     .termination = "--" };

	snprintf(r.id, sizeof r.id, "%s", id);
	return r;
}

static bool model_is(totals_cache *c, int64_t requests, int64_t output, int64_t cost, int64_t estimated, int64_t saved)
{
	totals_refresh(c);
	const totals *t = totals_lock(c);
	const store_sums *s = &t->models.rows[0];
	bool right = strcmp(s->label, "m") == 0 && s->requests == requests && s->output == output && s->cost == cost &&
		     s->estimated_cost == estimated && s->saved_cache == saved;
	if (!right)
		printf("%lld %lld %lld %lld %lld\n", (long long)s->requests, (long long)s->output, (long long)s->cost,
		       (long long)s->estimated_cost, (long long)s->saved_cache);
	totals_unlock(c);
	return right;
}

static void no_counter_goes_down(void)
{
	const store_join join = { .apply = half };
	record a = row_of("a"), more[] = { row_of("b"), row_of("c") };
	tap_report told = { .id = "a", .final = true };
	store_batch b = { .reports = &told, .reports_count = 1 };
	store_added added;
	totals_cache c;
	err e;
	store *s = new_store();

	CHECK(totals_init(&c, path));
	CHECK(insert(s, &a, 1) == 1 && model_is(&c, 1, 100, 1000, 1000, 30));
	CHECK(store_add(s, &b, &join, &added, &e) == STORE_OK && added.joined == 1);
	CHECK(strcmp(ask("SELECT output, cost, estimated_cost, saved_cache FROM daily WHERE kind = 1"),
		     "50|500|0|-70") == 0);
	/* What is saved is no counter. */
	CHECK(model_is(&c, 1, 100, 1000, 1000, -70));
	/* The counters are right again once they are exceeded. */
	CHECK(insert(s, more, 1) == 1 && model_is(&c, 2, 150, 1500, 1000, -40));
	CHECK(insert(s, more + 1, 1) == 1 && model_is(&c, 3, 250, 2500, 2000, -10));
	totals_deinit(&c);
	/* A process that starts now knows of no estimate. */
	CHECK(totals_init(&c, path));
	CHECK(model_is(&c, 3, 250, 2500, 2000, -10));
	totals_deinit(&c);
	store_close(s);
}

int main(void)
{
	store_rig_init();
	RUN(no_counter_goes_down);
	return store_rig_end();
}
