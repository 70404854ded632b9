/* SPDX-License-Identifier: MIT
 *
 * Admits requests: the slot first, then the tokens of the minute, then the money. What a later step refuses, the
 * earlier ones give back. */
#include "budget/budget_impl.h"

#define MINUTE_NS UINT64_C(60000000000)
#define HOUR_NS 3.6e12
#define ASK_NANO_MAX (NANO_MAX / BUDGET_RESERVATIONS) /* 17,000 dollars for one request */

/* ---- the tokens of a minute: a bucket that is full at `tokens_at`, and empty a minute before */

/* Returns by how much `tokens` of a minute's `limit` move `tokens_at`; `tokens` is at most `limit`. */
static uint64_t ns_of(uint64_t tokens, uint64_t limit)
{
	return (uint64_t)((double)tokens * (double)MINUTE_NS / (double)limit);
}

/* Takes `ns` from the bucket. Returns 0, or how many ns are missing. */
static uint64_t take_tokens(account *a, uint64_t ns, uint64_t now)
{
	uint64_t at = atomic_load_explicit(&a->tokens_at, RELAXED), next;

	do {
		next = (at > now ? at : now) + ns;
		if (next > now + MINUTE_NS)
			return next - now - MINUTE_NS;
	} while (!atomic_compare_exchange_weak_explicit(&a->tokens_at, &at, next, RELAXED, RELAXED));
	return 0;
}

/* Notes the limit of which least is left. */
static void tell_tokens(const account *a, uint64_t limit, uint64_t now, budget_answer *out)
{
	uint64_t at = atomic_load_explicit(&a->tokens_at, RELAXED), used = at > now ? at - now : 0;

	if (used > MINUTE_NS)
		used = MINUTE_NS;
	uint64_t left = (uint64_t)((double)(MINUTE_NS - used) / (double)MINUTE_NS * (double)limit);
	if (out->tokens_limit && left >= out->tokens_left)
		return;
	out->tokens_limit = limit;
	out->tokens_left = left;
	out->tokens_reset_ns = used;
}

static void give_tokens(account *a, uint64_t ns)
{
	uint64_t at = atomic_load_explicit(&a->tokens_at, RELAXED);

	while (!atomic_compare_exchange_weak_explicit(&a->tokens_at, &at, at > ns ? at - ns : 0, RELAXED, RELAXED))
		;
}

/* ---- money */

/* Returns what was spent, here and on other gateways, and charged in the period that `day` is in. Sums of an earlier
 * one count as 0; those of a later one, which the keeper has begun a moment ago, count. -1: not known, or of another
 * kind of period. */
static inline int64_t spent_of(const region *r, const account *a, const budget_limit *l, int64_t day)
{
	uint64_t word = atomic_load_explicit(&a->period, ACQUIRE);

	if (!(word & WORD_KNOWN) || word_kind(word) != l->period)
		return -1;
	int64_t others = others_of(r, a, l->nano, day);
	if (word_next(word) <= day)
		return others;
	return atomic_load_explicit(&a->spent, ACQUIRE) + atomic_load_explicit(&a->charged, ACQUIRE) + others;
}

/* Returns whether `more` fits beside what is spent and what is reserved, which `*reserved` is set to. Reads what is
 * reserved first and last: if that changed, a request that was settled in between would count twice. */
static budget_result fits(const region *r, const account *a, const budget_limit *l, int64_t day, int64_t more,
			  int64_t *reserved)
{
	for (int64_t now = atomic_load_explicit(&a->reserved, ACQUIRE);;) {
		*reserved = now;
		int64_t spent = spent_of(r, a, l, day);
		if (spent < 0)
			return BUDGET_UNKNOWN;
		if (more <= l->nano && spent + now <= l->nano - more)
			return BUDGET_ADMITTED;
		now = atomic_load_explicit(&a->reserved, ACQUIRE);
		if (now == *reserved)
			return BUDGET_SPENT;
	}
}

/* Adds `nano` to what is reserved, if the budget suffices. Looks again afterwards: before, a request may have been
 * settled and another one admitted, so that `reserved` was what it had been. */
static budget_result take_money(const region *r, account *a, const budget_limit *l, int64_t day, int64_t nano)
{
	int64_t reserved;
	budget_result result;

	do {
		result = fits(r, a, l, day, nano, &reserved);
		if (result != BUDGET_ADMITTED)
			return result;
	} while (!atomic_compare_exchange_weak_explicit(&a->reserved, &reserved, reserved + nano, ACQ_REL, RELAXED));
	result = fits(r, a, l, day, 0, &reserved);
	if (result != BUDGET_ADMITTED)
		atomic_fetch_sub_explicit(&a->reserved, nano, RELEASE);
	return result;
}

/* Notes the budget that is nearer to its end. */
static void tell_money(const region *r, const account *a, const budget_limit *l, int64_t day, budget_answer *out)
{
	int64_t used = spent_of(r, a, l, day) + atomic_load_explicit(&a->reserved, RELAXED);
	double percent = l->nano > 0 ? (double)used * 100. / (double)l->nano : 100.;

	if (percent > out->used_percent)
		out->used_percent = percent < 100. ? (int)percent : 100;
}

/* ---- one account */

static void refuse(account *a, budget_result why, bool project, int64_t wall_ms, budget_answer *out)
{
	out->result = why;
	out->project = project;
	atomic_store_explicit(&a->refused, (uint64_t)(wall_ms / 1000) << 8 | (uint64_t)why, RELAXED);
	atomic_fetch_add_explicit(&a->refusals[why], 1, RELAXED);
}

/* What one request takes from one account. */
typedef struct taking {
	account *a; /* NULL: it has no limit */
	const budget_limit *limit;
	uint64_t ns;
	int64_t nano;
} taking;

static void give_money(taking *t)
{
	if (t->a && t->nano)
		atomic_fetch_sub_explicit(&t->a->reserved, t->nano, RELEASE);
	t->nano = 0;
}

/* Takes the tokens. False: `out` says why not. */
static bool begin_taking(region *r, taking *t, const budget_limit *limit, uint64_t tokens, bool project,
			 uint64_t mono_ns, int64_t wall_ms, budget_answer *out)
{
	t->limit = limit;
	t->a = account_at(r, limit->account);
	if (!t->a || !limit->tokens)
		return true;
	if (tokens > limit->tokens) {
		refuse(t->a, BUDGET_TOO_LARGE, project, wall_ms, out);
		return false;
	}
	t->ns = ns_of(tokens, limit->tokens);
	uint64_t missing = take_tokens(t->a, t->ns, mono_ns);
	if (!missing)
		return true;
	t->ns = 0;
	out->wait_ns = missing;
	refuse(t->a, BUDGET_TOKENS, project, wall_ms, out);
	return false;
}

/* Takes the money. An account without a budget counts what is reserved too, for those who look at it. */
static bool end_taking(const region *r, taking *t, int64_t nano, bool project, int64_t wall_ms, budget_answer *out)
{
	if (!t->a)
		return true;
	if (t->limit->nano == BUDGET_NO_LIMIT) {
		atomic_fetch_add_explicit(&t->a->reserved, nano, ACQ_REL);
		t->nano = nano;
		return true;
	}
	budget_result result = take_money(r, t->a, t->limit, period_day(wall_ms), nano);
	if (result == BUDGET_ADMITTED) {
		t->nano = nano;
		return true;
	}
	refuse(t->a, result, project, wall_ms, out);
	return false;
}

static bool take(region *r, const budget_ask *ask, taking both[2], int64_t nano, uint64_t tokens, uint64_t mono_ns,
		 int64_t wall_ms, budget_answer *out)
{
	const budget_limit *limits[] = { &ask->client, &ask->project };

	for (int i = 0; i < 2; i++)
		if (!begin_taking(r, &both[i], limits[i], tokens, i == 1, mono_ns, wall_ms, out))
			return false;
	for (int i = 0; i < 2; i++)
		if (!end_taking(r, &both[i], nano, i == 1, wall_ms, out))
			return false;
	return true;
}

/* Tells what is left of the limits. */
static void tell(const region *r, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out)
{
	const budget_limit *limits[] = { &ask->client, &ask->project };

	for (int i = 0; i < 2; i++) {
		const budget_limit *l = limits[i];
		if (l->account >= BUDGET_ACCOUNTS)
			continue;
		const account *a = &r->accounts[l->account];
		if (l->tokens)
			tell_tokens(a, l->tokens, mono_ns, out);
		if (l->nano != BUDGET_NO_LIMIT)
			tell_money(r, a, l, period_day(wall_ms), out);
	}
}

static void give_back(taking both[2])
{
	for (int i = 0; i < 2; i++) {
		give_money(&both[i]);
		if (both[i].ns)
			give_tokens(both[i].a, both[i].ns);
	}
}

/* ---- slots */

void slot_free(region *r, size_t set, size_t way)
{
	atomic_store_explicit(&r->slots[set][way].state, SLOT_FREE, RELAXED);
	atomic_store_explicit(&r->tags[set][way], 0, RELEASE);
}

static bool move_state(slot *s, slot_state from, slot_state to)
{
	uint32_t is = from;
	return atomic_compare_exchange_strong_explicit(&s->state, &is, to, ACQ_REL, ACQUIRE);
}

/* Reserving `reserved` tokens has moved the account's `tokens_at` by `ns`: moves it back by the share of the tokens
 * that were not used, or further on if more were used. */
static void settle_tokens(account *a, uint64_t ns, uint64_t reserved, int64_t used)
{
	if (!a || !ns || !reserved || used < 0)
		return;
	double left = (double)ns * (1. - (double)used / (double)reserved);
	if (left >= 0)
		give_tokens(a, (uint64_t)left);
	else /* a debt, of an hour at most */
		atomic_fetch_add_explicit(&a->tokens_at, -left < HOUR_NS ? (uint64_t)-left : (uint64_t)HOUR_NS,
					  RELAXED);
}

bool slot_end(region *r, size_t set, size_t way, uint64_t tag, int64_t tokens)
{
	slot *s = &r->slots[set][way];

	if (!move_state(s, SLOT_RESERVED, SLOT_ENDS))
		return false;
	if (atomic_load_explicit(&r->tags[set][way], RELAXED) != tag) {
		atomic_store_explicit(&s->state, SLOT_RESERVED, RELEASE);
		return false;
	}
	int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
	uint64_t reserved = atomic_load_explicit(&s->tokens, RELAXED);
	account *client = account_at(r, atomic_load_explicit(&s->client, RELAXED));
	account *project = account_at(r, atomic_load_explicit(&s->project, RELAXED));
	settle_tokens(client, atomic_load_explicit(&s->client_ns, RELAXED), reserved, tokens);
	settle_tokens(project, atomic_load_explicit(&s->project_ns, RELAXED), reserved, tokens);
	if (client)
		atomic_fetch_sub_explicit(&client->reserved, nano, RELEASE);
	if (project)
		atomic_fetch_sub_explicit(&project->reserved, nano, RELEASE);
	slot_free(r, set, way);
	return true;
}

/* Takes a free slot of a set. NULL: it has none. */
static slot *claim(region *r, size_t set, uint64_t tag)
{
	for (size_t way = 0; way < WAYS; way++) {
		uint64_t is = 0;
		if (atomic_load_explicit(&r->tags[set][way], RELAXED) == 0 &&
		    atomic_compare_exchange_strong_explicit(&r->tags[set][way], &is, tag, ACQ_REL, RELAXED))
			return &r->slots[set][way];
	}
	return NULL;
}

/* Takes the slot of a reservation that was charged: it stays charged, but a record that comes later will not take it
 * back. */
static slot *claim_charged(region *r, size_t set, uint64_t tag)
{
	for (size_t way = 0; way < WAYS; way++) {
		slot *s = &r->slots[set][way];
		if (!move_state(s, SLOT_CHARGED, SLOT_FREE))
			continue;
		atomic_store_explicit(&r->tags[set][way], tag, RELEASE);
		return s;
	}
	return NULL;
}

/* The sets of a tag, the emptier one first, and the reservation that has it, if there is one. */
typedef struct place {
	size_t sets[2];
	slot *found;
	_Atomic uint64_t *tag; /* of `found` */
} place;

/* Counts the slots of a set that are used, and finds the tag. */
static inline unsigned scan(region *r, size_t set, uint64_t tag, place *p)
{
	unsigned used = 0;

	for (size_t way = 0; way < WAYS; way++) {
		uint64_t is = atomic_load_explicit(&r->tags[set][way], ACQUIRE);
		used += is != 0;
		if (is == tag) {
			p->found = &r->slots[set][way];
			p->tag = &r->tags[set][way];
		}
	}
	return used;
}

static void look_up(region *r, uint64_t tag, place *p)
{
	size_t first = first_set(tag), second = second_set(tag);

	p->found = NULL;
	bool swap = scan(r, first, tag, p) > scan(r, second, tag, p);
	p->sets[swap] = first;
	p->sets[!swap] = second;
}

static slot *claim_any(region *r, uint64_t tag, const place *p)
{
	slot *s = claim(r, p->sets[0], tag);

	if (!s)
		s = claim(r, p->sets[1], tag);
	if (!s)
		s = claim_charged(r, p->sets[0], tag);
	return s ? s : claim_charged(r, p->sets[1], tag);
}

/* ---- admission */

/* Whether the reservation is of the same accounts. (The client may have been moved to another project meanwhile.) */
static bool is_of(const slot *s, const budget_ask *ask)
{
	return atomic_load_explicit(&s->client, RELAXED) == ask->client.account &&
	       atomic_load_explicit(&s->project, RELAXED) == ask->project.account;
}

/* Makes the reservation of a request that is asked for again as large as `ask` says. False: it is of other accounts,
 * another thread is at it, or it has ended, and then the slot may be another request's by now. */
static bool raise_slot(region *r, const place *p, uint64_t tag, const budget_ask *ask, uint64_t mono_ns,
		       int64_t wall_ms, budget_answer *out)
{
	taking both[2] = { { .a = NULL }, { .a = NULL } };
	slot *s = p->found;

	if (!is_of(s, ask) || !move_state(s, SLOT_RESERVED, SLOT_RAISED))
		return false;
	if (atomic_load_explicit(p->tag, RELAXED) != tag) {
		atomic_store_explicit(&s->state, SLOT_RESERVED, RELEASE);
		return false;
	}
	int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
	uint64_t tokens = atomic_load_explicit(&s->tokens, RELAXED);
	int64_t more = ask->nano > nano ? ask->nano - nano : 0;
	uint64_t more_tokens = ask->tokens > tokens ? ask->tokens - tokens : 0;
	if ((more || more_tokens) && !take(r, ask, both, more, more_tokens, mono_ns, wall_ms, out)) {
		give_back(both);
	} else {
		atomic_store_explicit(&s->nano, nano + more, RELAXED);
		atomic_store_explicit(&s->tokens, tokens + more_tokens, RELAXED);
		atomic_fetch_add_explicit(&s->client_ns, both[0].ns, RELAXED);
		atomic_fetch_add_explicit(&s->project_ns, both[1].ns, RELAXED);
	}
	atomic_store_explicit(&s->state, SLOT_RESERVED, RELEASE);
	return true;
}

static void reserve(region *r, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out)
{
	taking both[2] = { { .a = NULL }, { .a = NULL } };
	uint64_t tag = tag_of(r, ask->id);
	place p;

	look_up(r, tag, &p);
	if (p.found && raise_slot(r, &p, tag, ask, mono_ns, wall_ms, out))
		return;
	slot *s = claim_any(r, tag, &p);
	if (!s) {
		out->result = BUDGET_FULL;
		return;
	}
	atomic_store_explicit(&s->client, ask->client.account, RELAXED);
	atomic_store_explicit(&s->project, ask->project.account, RELAXED);
	atomic_store_explicit(&s->nano, ask->nano, RELAXED);
	atomic_store_explicit(&s->tokens, ask->tokens, RELAXED);
	atomic_store_explicit(&s->expires_s, (uint32_t)(mono_ns / 1000000000) + BUDGET_EXPIRES_S, RELAXED);
	atomic_store_explicit(&s->state, SLOT_BEGUN, RELEASE);
	if (take(r, ask, both, ask->nano, ask->tokens, mono_ns, wall_ms, out)) {
		atomic_store_explicit(&s->client_ns, both[0].ns, RELAXED);
		atomic_store_explicit(&s->project_ns, both[1].ns, RELAXED);
		atomic_store_explicit(&s->state, SLOT_RESERVED, RELEASE);
		return;
	}
	give_back(both);
	size_t at = (size_t)(s - &r->slots[0][0]);
	slot_free(r, at / WAYS, at % WAYS);
}

void budget_reserve(budget *b, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out)
{
	budget_ask own = *ask;

	*out = (budget_answer){ .result = BUDGET_ADMITTED };
	if (own.nano > ASK_NANO_MAX)
		own.nano = ASK_NANO_MAX;
	reserve(b->r, &own, mono_ns, wall_ms, out);
	tell(b->r, &own, mono_ns, wall_ms, out);
}

/* Says whether `tokens` are left of the minute, and takes none. */
static budget_result look_at_tokens(const account *a, uint64_t limit, uint64_t tokens, uint64_t now, uint64_t *wait_ns)
{
	uint64_t at = atomic_load_explicit(&a->tokens_at, RELAXED);

	if (tokens > limit)
		return BUDGET_TOO_LARGE;
	uint64_t next = (at > now ? at : now) + ns_of(tokens, limit);
	if (next <= now + MINUTE_NS)
		return BUDGET_ADMITTED;
	*wait_ns = next - now - MINUTE_NS;
	return BUDGET_TOKENS;
}

void budget_look(const budget *b, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out)
{
	const budget_limit *limits[] = { &ask->client, &ask->project };
	int64_t nano = ask->nano < ASK_NANO_MAX ? ask->nano : ASK_NANO_MAX, reserved;

	*out = (budget_answer){ .result = BUDGET_ADMITTED };
	/* In the order of take(): the tokens of both, and then the money of both. */
	for (int i = 0; i < 4 && out->result == BUDGET_ADMITTED; i++) {
		const budget_limit *l = limits[i % 2];
		const account *a = account_at(b->r, l->account);
		out->project = i % 2 == 1;
		if (a && i < 2 && l->tokens)
			out->result = look_at_tokens(a, l->tokens, ask->tokens, mono_ns, &out->wait_ns);
		else if (a && i >= 2 && l->nano != BUDGET_NO_LIMIT)
			out->result = fits(b->r, a, l, period_day(wall_ms), nano, &reserved);
	}
	tell(b->r, ask, mono_ns, wall_ms, out);
}

void budget_release(budget *b, slice id)
{
	region *r = b->r;
	uint64_t tag = tag_of(r, id);

	for (int i = 0; i < 2; i++) {
		size_t set = i ? second_set(tag) : first_set(tag);
		for (size_t way = 0; way < WAYS; way++)
			if (atomic_load_explicit(&r->tags[set][way], ACQUIRE) == tag)
				(void)slot_end(r, set, way, tag, 0);
	}
}
