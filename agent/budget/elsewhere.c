/* SPDX-License-Identifier: MIT
 *
 * The listener's part: what other gateways of the fleet spent. One thread of one process at a time. */
#include "budget/budget_impl.h"

static int64_t limited(int64_t nano)
{
	return nano < 0 ? 0 : nano > OTHERS_MAX ? OTHERS_MAX : nano;
}

/* Sets what counts as spent elsewhere in the period that ends before the day `until`. */
static void set_others(account *a, int64_t nano, int64_t until)
{
	bool same = atomic_load_explicit(&a->others_until, RELAXED) == until;

	/* Two words cannot be stored at once: no decider may take one period's sum for the other's. */
	if (!same)
		atomic_store_explicit(&a->others_until, 0, RELEASE);
	atomic_store_explicit(&a->others, limited(nano), RELEASE);
	if (!same)
		atomic_store_explicit(&a->others_until, until, RELEASE);
}

static void set_told(account *a, int64_t nano, int64_t until)
{
	if (atomic_load_explicit(&a->others_until, RELAXED) != until ||
	    atomic_load_explicit(&a->told, RELAXED) != limited(nano) ||
	    atomic_load_explicit(&a->others, RELAXED) != limited(nano))
		atomic_store_explicit(&a->changed, 1, RELAXED);
	atomic_store_explicit(&a->told, limited(nano), RELAXED);
	set_others(a, nano, until);
}

/* Withholds all of what is left of the budget but the share of one gateway of `gateways`. */
static void withhold(account *a, uint32_t gateways, int64_t day)
{
	uint64_t word = atomic_load_explicit(&a->period, ACQUIRE);
	int64_t nano = atomic_load_explicit(&a->nano, RELAXED), others = 0;
	period_kind kind = (period_kind)atomic_load_explicit(&a->kind, RELAXED);
	bool told = atomic_load_explicit(&a->others_until, RELAXED) > day;

	if (nano <= 0)
		return;
	if (told)
		others = atomic_load_explicit(&a->told, RELAXED);
	else
		atomic_store_explicit(&a->told, 0, RELAXED);
	int64_t left = nano - others - atomic_load_explicit(&a->reserved, ACQUIRE);
	if (word_next(word) > day)
		left -= atomic_load_explicit(&a->spent, ACQUIRE) + atomic_load_explicit(&a->charged, ACQUIRE);
	if (left < 0)
		left = 0;
	set_others(a, others + left - left / gateways, period_next(kind, day));
	atomic_store_explicit(&a->changed, 1, RELAXED);
}

/* Does the same with the whole budget, if the period that ends at `others_until` is over. */
static void withhold_again(account *a, uint32_t gateways, int64_t day)
{
	int64_t until = atomic_load_explicit(&a->others_until, RELAXED), nano = atomic_load_explicit(&a->nano, RELAXED);

	if (until == 0 || until > day || nano <= 0)
		return;
	atomic_store_explicit(&a->told, 0, RELAXED);
	set_others(a, nano - nano / gateways, period_next((period_kind)atomic_load_explicit(&a->kind, RELAXED), day));
	atomic_store_explicit(&a->changed, 1, RELAXED);
}

void fleet_resized(region *r, account *a, int64_t nano)
{
	uint32_t alone = atomic_load_explicit(&r->alone, ACQUIRE);
	int64_t was = atomic_load_explicit(&a->nano, RELAXED), told = atomic_load_explicit(&a->told, RELAXED);
	int64_t by = limited(nano) - limited(was), others = atomic_load_explicit(&a->others, RELAXED), next;

	/* Where nobody has told anything, others_of() takes the share of whatever the budget is. */
	if (alone < 2 || by == 0 || atomic_load_explicit(&a->others_until, ACQUIRE) == 0)
		return;
	/* The listener may store another sum meanwhile, which is a newer one. */
	do
		next = others + by - by / alone < told ? told : limited(others + by - by / alone);
	while (!atomic_compare_exchange_weak_explicit(&a->others, &others, next, RELEASE, RELAXED));
	atomic_store_explicit(&a->changed, 1, RELAXED);
}

void budget_fleet_begin(budget *b, uint32_t gateways)
{
	uint32_t none = 0;

	if (atomic_compare_exchange_strong_explicit(&b->r->gateways, &none, gateways, ACQ_REL, RELAXED))
		atomic_store_explicit(&b->r->alone, gateways, RELEASE);
}

void budget_fleet_end(budget *b)
{
	region *r = b->r;

	if (atomic_exchange_explicit(&r->gateways, 0, ACQ_REL) == 0)
		return;
	atomic_store_explicit(&r->alone, 0, RELEASE);
	for (uint32_t i = 0; i < accounts_used(r); i++) {
		atomic_store_explicit(&r->accounts[i].others_until, 0, RELEASE);
		atomic_store_explicit(&r->accounts[i].told, 0, RELAXED);
	}
}

void budget_fleet_told(budget *b, account_kind kind, slice name, int64_t day, const int64_t nano[3], uint32_t pass)
{
	account *a = account_at(b->r, budget_account_find(b, kind, name));

	if (!a)
		return;
	period_kind period = (period_kind)atomic_load_explicit(&a->kind, RELAXED);
	set_told(a, nano[period], period_next(period, day));
	atomic_store_explicit(&a->pass, pass, RELAXED);
}

void budget_fleet_whole(budget *b, uint32_t pass, uint32_t gateways)
{
	region *r = b->r;

	for (uint32_t i = 0; i < accounts_used(r); i++) {
		account *a = &r->accounts[i];
		if (atomic_load_explicit(&a->pass, RELAXED) != pass && atomic_load_explicit(&a->others, RELAXED) != 0)
			set_told(a, 0, atomic_load_explicit(&a->others_until, RELAXED));
	}
	atomic_store_explicit(&r->gateways, gateways > 0 ? gateways : 1, RELEASE);
	atomic_store_explicit(&r->alone, 0, RELEASE);
}

bool budget_fleet_alone(budget *b, int64_t now_ms)
{
	region *r = b->r;
	uint32_t gateways = atomic_load_explicit(&r->gateways, ACQUIRE);
	bool already = atomic_load_explicit(&r->alone, ACQUIRE) != 0;
	int64_t day = period_day(now_ms);

	for (uint32_t i = 0; gateways > 0 && i < accounts_used(r); i++)
		(already ? withhold_again : withhold)(&r->accounts[i], gateways, day);
	if (!already)
		atomic_store_explicit(&r->alone, gateways, RELEASE);
	return gateways > 0 && !already;
}

void budget_fleet_seed(budget *b, uint32_t at, const budget_noted *noted, int64_t now_ms)
{
	account *a = account_at(b->r, at);
	uint32_t alone = atomic_load_explicit(&b->r->alone, ACQUIRE);
	int64_t day = period_day(now_ms);

	if (!a || atomic_load_explicit(&a->others_until, ACQUIRE) > day ||
	    noted->until != period_next((period_kind)atomic_load_explicit(&a->kind, RELAXED), day))
		return;
	atomic_store_explicit(&a->told, limited(noted->nano), RELAXED);
	set_others(a, noted->nano + noted->withheld, noted->until);
	/* What was withheld before is not divided again. */
	if (alone && noted->withheld == 0)
		withhold(a, alone, day);
}

bool budget_fleet_changed(budget *b, uint32_t at, budget_noted *noted)
{
	account *a = account_at(b->r, at);

	if (!a || !atomic_load_explicit(&a->changed, RELAXED) || !atomic_exchange_explicit(&a->changed, 0, ACQ_REL))
		return false;
	noted->until = atomic_load_explicit(&a->others_until, ACQUIRE);
	noted->nano = atomic_load_explicit(&a->told, RELAXED);
	noted->withheld = atomic_load_explicit(&a->others, RELAXED) - noted->nano;
	return true;
}

void budget_fleet_again(budget *b, uint32_t at)
{
	account *a = account_at(b->r, at);

	if (a)
		atomic_store_explicit(&a->changed, 1, RELAXED);
}

budget_fleet budget_fleet_now(const budget *b)
{
	return (budget_fleet){ atomic_load_explicit(&b->r->gateways, RELAXED),
			       atomic_load_explicit(&b->r->alone, RELAXED) != 0 };
}
