/* SPDX-License-Identifier: MIT
 *
 * The keeper's part: what the ledger tells. One thread of one process at a time. */
#include "base/sum.h"
#include "budget/budget_impl.h"

static int64_t limited(int64_t nano)
{
	return nano < 0 ? 0 : nano > NANO_MAX ? NANO_MAX : nano;
}

/* ---- periods */

/* Begins the period of `now_ms`, if the account's sums are of an earlier one. */
static void begin_period(account *a, int64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&a->period, RELAXED);

	if (!(word & WORD_KNOWN) || word_next(word) > period_day(now_ms))
		return;
	/* The sums first: a decider that reads the new period reads them as they are in it. */
	atomic_store_explicit(&a->spent, 0, RELAXED);
	atomic_store_explicit(&a->charged, 0, RELAXED);
	atomic_store_explicit(&a->period, period_word(word_kind(word), period_day(now_ms)), RELEASE);
}

void budget_keep_seed(budget *b, uint32_t at, period_kind period, int64_t now_ms, int64_t spent)
{
	account *a = account_at(b->r, at);

	if (!a)
		return;
	begin_period(a, now_ms);
	uint64_t word = atomic_load_explicit(&a->period, RELAXED);
	uint64_t now = period_word(period, period_day(now_ms));
	bool same = word >> WORD_KIND == now >> WORD_KIND;
	if (!same)
		atomic_store_explicit(&a->charged, 0, RELAXED);
	atomic_store_explicit(&a->spent, limited(spent), RELEASE);
	if (!same)
		atomic_store_explicit(&a->period, now, RELEASE);
}

/* Adds to what was spent, if the request belongs to the account's period. */
static void spend(region *r, uint32_t at, const budget_end *end, int64_t now_ms)
{
	account *a = account_at(r, at);

	if (!a || end->nano == 0)
		return;
	begin_period(a, now_ms);
	uint64_t word = atomic_load_explicit(&a->period, RELAXED);
	if (!(word & WORD_KNOWN) || period_day(end->wall_ms) < word_first(word))
		return;
	/* Only the keeper writes `spent`. */
	int64_t spent = add_capped(atomic_load_explicit(&a->spent, RELAXED), end->nano);
	atomic_store_explicit(&a->spent, limited(spent), RELEASE);
}

/* ---- settling */

/* Takes back what a reservation was charged, if that was in the account's period. */
static void take_back(account *a, int64_t charged_day, int64_t nano)
{
	if (!a || charged_day < word_first(atomic_load_explicit(&a->period, RELAXED)))
		return;
	atomic_store_explicit(&a->charged, limited(atomic_load_explicit(&a->charged, RELAXED) - nano), RELEASE);
}

static bool end_charged(region *r, size_t set, size_t way)
{
	slot *s = &r->slots[set][way];
	int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
	int64_t day = (int64_t)atomic_load_explicit(&s->charged_day, RELAXED);
	account *client = account_at(r, atomic_load_explicit(&s->client, RELAXED));
	account *project = account_at(r, atomic_load_explicit(&s->project, RELAXED));
	uint32_t is = SLOT_CHARGED;

	/* A decider that needs the slot may take it; then it stays charged. */
	if (!atomic_compare_exchange_strong_explicit(&s->state, &is, SLOT_ENDS, ACQ_REL, ACQUIRE))
		return false;
	take_back(client, day, nano);
	take_back(project, day, nano);
	slot_free(r, set, way);
	return true;
}

/* Returns the largest amount that is reserved or charged under a tag, and ends what has it if `end` is true. -1: there
 * is none. */
static int64_t each_slot(region *r, uint64_t tag, bool end, int64_t tokens)
{
	int64_t most = -1;

	for (int i = 0; i < (first_set(tag) == second_set(tag) ? 1 : 2); i++) {
		size_t set = i ? second_set(tag) : first_set(tag);
		for (size_t way = 0; way < WAYS; way++) {
			slot *s = &r->slots[set][way];
			if (atomic_load_explicit(&r->tags[set][way], ACQUIRE) != tag)
				continue;
			uint32_t state = atomic_load_explicit(&s->state, ACQUIRE);
			int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
			if (state != SLOT_RESERVED && state != SLOT_CHARGED)
				continue;
			if (end &&
			    !(state == SLOT_RESERVED ? slot_end(r, set, way, tag, tokens) : end_charged(r, set, way)))
				continue;
			most = nano > most ? nano : most;
		}
	}
	return most;
}

int64_t budget_keep_reserved(const budget *b, slice id)
{
	return each_slot(b->r, tag_of(b->r, id), false, -1);
}

int64_t budget_keep_settle(budget *b, const budget_end *end, int64_t now_ms)
{
	/* Before the reservation goes, so that the sum never dips. */
	spend(b->r, end->client, end, now_ms);
	spend(b->r, end->project, end, now_ms);
	return each_slot(b->r, tag_of(b->r, end->id), true, end->tokens);
}

/* ---- time */

static void charge_account(account *a, int64_t nano)
{
	if (!a)
		return;
	/* `charged` first, so that the sum never dips. */
	atomic_store_explicit(&a->charged, limited(atomic_load_explicit(&a->charged, RELAXED) + nano), RELEASE);
	atomic_fetch_sub_explicit(&a->reserved, nano, RELEASE);
}

static bool has_expired(const slot *s, uint32_t now_s)
{
	return (int32_t)(now_s - atomic_load_explicit(&s->expires_s, RELAXED)) >= 0;
}

/* Charges a reservation whose record has not come. */
static bool charge(region *r, slot *s, uint32_t now_s, int64_t now_ms)
{
	uint32_t is = SLOT_RESERVED;

	if (!atomic_compare_exchange_strong_explicit(&s->state, &is, SLOT_CHARGING, ACQ_REL, ACQUIRE))
		return false;
	if (!has_expired(s, now_s)) { /* the slot has another reservation by now */
		atomic_store_explicit(&s->state, SLOT_RESERVED, RELEASE);
		return false;
	}
	int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
	account *client = account_at(r, atomic_load_explicit(&s->client, RELAXED));
	account *project = account_at(r, atomic_load_explicit(&s->project, RELAXED));
	charge_account(client, nano);
	charge_account(project, nano);
	atomic_store_explicit(&s->charged_day, (uint32_t)period_day(now_ms), RELAXED);
	atomic_store_explicit(&s->state, SLOT_CHARGED, RELEASE);
	return true;
}

size_t budget_keep_time(budget *b, uint64_t mono_ns, int64_t now_ms)
{
	region *r = b->r;
	uint32_t now_s = (uint32_t)(mono_ns / 1000000000);
	size_t charged = 0;

	for (uint32_t i = 0; i < accounts_used(r); i++)
		begin_period(&r->accounts[i], now_ms);
	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < WAYS; way++) {
			slot *s = &r->slots[set][way];
			if (atomic_load_explicit(&r->tags[set][way], RELAXED) == 0 ||
			    atomic_load_explicit(&s->state, ACQUIRE) != SLOT_RESERVED || !has_expired(s, now_s))
				continue;
			charged += charge(r, s, now_s, now_ms);
		}
	}
	atomic_fetch_add_explicit(&r->charged, charged, RELAXED);
	return charged;
}

/* ---- what the keeper notes and tells */

void budget_keep_refused(budget *b, uint32_t at, budget_result why, int64_t wall_ms)
{
	account *a = account_at(b->r, at);
	uint64_t now = (uint64_t)(wall_ms / 1000) << 8 | (uint64_t)why;
	uint64_t was = a ? atomic_load_explicit(&a->refused, RELAXED) : now;

	/* A decider that has noted a later one since then keeps it. */
	if (was >> 8 < now >> 8)
		(void)atomic_compare_exchange_strong_explicit(&a->refused, &was, now, RELAXED, RELAXED);
}

int budget_keep_crossed(budget *b, uint32_t at, int64_t now_ms)
{
	account *a = account_at(b->r, at);

	if (!a)
		return 0;
	begin_period(a, now_ms);
	uint64_t word = atomic_load_explicit(&a->period, RELAXED);
	int64_t nano = atomic_load_explicit(&a->nano, RELAXED);
	uint64_t refused = atomic_load_explicit(&a->refused, RELAXED);
	if (!(word & WORD_KNOWN) || nano <= 0)
		return 0;
	int64_t spent = atomic_load_explicit(&a->spent, RELAXED) + atomic_load_explicit(&a->charged, RELAXED);
	if (atomic_load_explicit(&a->others_until, RELAXED) > period_day(now_ms))
		spent += atomic_load_explicit(&a->told, RELAXED);
	bool refuses = (refused & 0xff) == BUDGET_SPENT &&
		       period_day((int64_t)(refused >> 8) * 1000) >= word_first(word);
	uint64_t tell = spent >= nano || refuses            ? WORD_TOLD_100 :
			(double)spent >= 0.8 * (double)nano ? WORD_TOLD_80 :
							      0;
	if (tell == 0 || (word & WORD_TOLD_100) || (word & tell))
		return 0;
	atomic_store_explicit(&a->period, word | tell, RELEASE);
	return tell == WORD_TOLD_100 ? 100 : 80;
}

/* ---- outputs */

enum { OUTPUT_PROBES = 16 };

/* Finds the entry of a model. NULL: it has none, and with `add` there is no room for it. */
static output *find_output(region *r, slice model, bool add)
{
	uint64_t key = hash_of(&r->key, 0, model);

	key += !key;
	for (size_t i = 0; i < OUTPUT_PROBES; i++) {
		output *o = &r->outputs[(key + i) % BUDGET_OUTPUTS];
		uint64_t is = atomic_load_explicit(&o->key, ACQUIRE);
		if (is == key)
			return o;
		if (is != 0)
			continue;
		if (!add)
			return NULL;
		atomic_store_explicit(&o->key, key, RELEASE);
		return o;
	}
	return NULL;
}

uint64_t budget_output(const budget *b, slice model)
{
	const output *o = find_output(b->r, model, false);
	return o ? atomic_load_explicit(&o->tokens, RELAXED) : 0;
}

/* Follows long answers at once and short ones slowly, so that about nine of ten answers are shorter. */
void budget_keep_output(budget *b, slice model, uint64_t tokens)
{
	output *o = find_output(b->r, model, true);

	if (!o)
		return;
	uint64_t was = atomic_load_explicit(&o->tokens, RELAXED), is;
	if (was == 0)
		is = tokens;
	else if (tokens > was)
		is = was + (tokens - was + 1) / 2;
	else
		is = was - (was - tokens) / 16;
	atomic_store_explicit(&o->tokens, is, RELAXED);
}
