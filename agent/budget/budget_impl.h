/* SPDX-License-Identifier: MIT
 *
 * The layout of the region, for the files of budget/ only. All of it is lock-free atomics: a process that is killed
 * leaves nothing that another one waits for. A change of anything here is a new LAYOUT_VERSION. */
#ifndef BUDGET_BUDGET_IMPL_H
#define BUDGET_BUDGET_IMPL_H

#include <stdatomic.h>

#include "base/hash.h"
#include "budget/budget.h"

#define LAYOUT_MAGIC UINT64_C(0x7465676475622d6c) /* "l-budget" */
enum { LAYOUT_VERSION = 3 };

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "atomics work between processes");

/* Which period an account's sums are of, in one word, so that the keeper changes it by one store: the first day that is
 * not in it, the kind, and which shares of the budget were told (budget_keep_crossed()). 0: the sums are not known. */
enum { WORD_KNOWN = 1, WORD_TOLD_80 = 2, WORD_TOLD_100 = 4, WORD_KIND = 3 /* bits to shift */, WORD_DAY = 8 };

typedef struct account {
	/* Deciders read this cache line. */
	_Atomic uint64_t period; /* as above; the keeper's */
	_Atomic int64_t spent;   /* the keeper's */
	_Atomic int64_t charged; /* the keeper's */
	_Atomic int64_t reserved;
	_Atomic uint64_t
		tokens_at; /* ns: when all tokens of the minute are there again (GCRA's theoretical arrival time) */
	_Atomic uint64_t refused; /* seconds since 1970 << 8 | budget_result, of the last refusal */
	/* The listener's: what counts as spent on other gateways, and the first day after the period in which it does;
	 * 0: nobody has told. While this gateway is alone, that is the sum of what was told and what is withheld. */
	_Atomic int64_t others;
	_Atomic int64_t others_until;
	/* This cache line is for the keeper and the listener; deciders read the key and count refusals. */
	uint64_t key[2];      /* the hash of kind and name; set before the index has the account, and never changed */
	_Atomic int64_t nano; /* what budget_account_rules() said */
	_Atomic int64_t told; /* what others spent by the shipper's last message, in the period of `others_until` */
	_Atomic uint32_t kind;
	_Atomic uint32_t pass;                      /* the pass in which it was told last */
	_Atomic uint32_t changed;                   /* 1: `told` has changed since budget_fleet_changed() */
	_Atomic uint32_t refusals[BUDGET_REFUSALS]; /* since the account was made, by budget_result */
} account;

_Static_assert(sizeof(account) == 128, "two cache lines");

/* The life of a reservation. A slot is claimed by its tag. */
typedef enum slot_state {
	SLOT_FREE,     /* or just claimed */
	SLOT_BEGUN,    /* its decider is adding it to the accounts */
	SLOT_RESERVED, /* it is in `reserved` of both accounts */
	SLOT_RAISED,   /* its decider is adding to it */
	SLOT_CHARGING, /* it is being moved from `reserved` to `charged` */
	SLOT_CHARGED,  /* it is in `charged` instead */
	SLOT_ENDS,     /* it is being taken from the accounts */
} slot_state;

typedef struct slot {
	_Atomic uint32_t state;
	_Atomic uint32_t client, project; /* accounts */
	_Atomic uint32_t expires_s;       /* of the monotonic clock */
	_Atomic int64_t nano;
	_Atomic uint64_t tokens;
	_Atomic uint64_t client_ns, project_ns; /* by so much it moved `tokens_at` of the accounts */
	_Atomic uint32_t charged_day;           /* SLOT_CHARGED: when */
	char unused[12];
} slot;

_Static_assert(sizeof(slot) == 64, "a cache line");

typedef struct output {
	_Atomic uint64_t key;    /* the hash of the model; 0: free */
	_Atomic uint64_t tokens; /* the keeper's */
} output;

enum { WAYS = 8, SETS = BUDGET_RESERVATIONS / WAYS, INDEX = 2 * BUDGET_ACCOUNTS };

typedef struct region {
	_Atomic uint64_t magic; /* written last */
	uint32_t version;
	uint32_t header_size, account_size, slot_size;
	hash_key key;
	char unused[24];
	_Atomic uint32_t accounts_used;
	char unused2[4];
	_Atomic uint64_t charged; /* requests; the keeper's */
	_Atomic uint32_t
		gateways; /* of the fleet, this one included, by the shipper's last message; 0: there is no fleet */
	_Atomic uint32_t alone; /* 0: what others spent is known; else the gateways that share what was left */
	char unused3[40];
	_Atomic uint32_t index[INDEX]; /* by the hash of kind and name: 1 + the account's number; 0: free */
	account accounts[BUDGET_ACCOUNTS];
	/* Sets of WAYS slots. A reservation is in one of the two sets that its tag names; slots[] has the same order.
	 */
	_Atomic uint64_t tags[SETS][WAYS]; /* the hash of the id; 0: free */
	slot slots[SETS][WAYS];
	output outputs[BUDGET_OUTPUTS];
} region;

struct budget {
	region *r;
};

/* No sum of money is larger, so that the sum of three of them, or of all reservations, fits its type. */
#define NANO_MAX (INT64_C(1) << 61)

/* `others` is no larger, so that it fits beside three such sums. */
#define OTHERS_MAX (INT64_C(1) << 60)

#define RELAXED memory_order_relaxed
#define ACQUIRE memory_order_acquire
#define RELEASE memory_order_release
#define ACQ_REL memory_order_acq_rel

/* The tag of a request's id, never 0, and the two sets it names. */
static inline uint64_t tag_of(const region *r, slice id)
{
	uint64_t tag = hash_of(&r->key, 0, id);
	return tag ? tag : 1;
}

static inline size_t first_set(uint64_t tag)
{
	return tag % SETS;
}

static inline size_t second_set(uint64_t tag)
{
	return (tag >> 32) % SETS;
}

/* Returns the word of the period that `day` is in. */
static inline uint64_t period_word(period_kind kind, int64_t day)
{
	return (uint64_t)period_next(kind, day) << WORD_DAY | (uint64_t)kind << WORD_KIND | WORD_KNOWN;
}

/* Returns the first day after the period. */
static inline int64_t word_next(uint64_t word)
{
	return (int64_t)(word >> WORD_DAY);
}

static inline period_kind word_kind(uint64_t word)
{
	return (period_kind)(word >> WORD_KIND & 3);
}

static inline uint32_t accounts_used(const region *r)
{
	return atomic_load_explicit(&r->accounts_used, ACQUIRE);
}

static inline account *account_at(region *r, uint32_t at)
{
	return at < BUDGET_ACCOUNTS ? &r->accounts[at] : NULL;
}

/* Returns the first day of the period. */
static inline int64_t word_first(uint64_t word)
{
	return period_first(word_kind(word), word_next(word) - 1);
}

/* Returns what counts as spent on other gateways in the period of `day`, of a budget of `nano`. In a period of which
 * nobody has told anything, a gateway that is alone has its share of the budget. */
static inline int64_t others_of(const region *r, const account *a, int64_t nano, int64_t day)
{
	if (atomic_load_explicit(&a->others_until, ACQUIRE) > day)
		return atomic_load_explicit(&a->others, ACQUIRE);
	uint32_t alone = atomic_load_explicit(&r->alone, RELAXED);
	return alone > 1 && nano > 0 ? nano - nano / alone : 0;
}

/* Call it before the account's budget becomes `nano`: a gateway that is alone withholds what the budget grows by, but
 * for its share of that. */
void fleet_resized(region *r, account *a, int64_t nano);

/* Takes the reservation `tag`, which is SLOT_RESERVED, from its accounts, and frees its slot. `tokens`: it took so
 * many; -1: as many as were reserved. False: another thread does it, or the slot has another reservation by now. */
bool slot_end(region *r, size_t set, size_t way, uint64_t tag, int64_t tokens);
/* Frees a slot, whatever its state. */
void slot_free(region *r, size_t set, size_t way);

#endif
