/* SPDX-License-Identifier: MIT
 *
 * The inside of a price table, for price_file.c, which builds it, and price.c, which reads it. */
#ifndef LEDGER_PRICE_TABLE_H
#define LEDGER_PRICE_TABLE_H

#include "ledger/price.h"

#include <stdatomic.h>

#ifndef __SIZEOF_INT128__
#error "spoa-llm's money needs 128-bit integers: build for a 64-bit machine"
#endif

/* Dollars times 10^24. At most 1 dollar a token, 10^13 tokens and five terms: 5 x 10^37; 1.7 x 10^38 fit. */
__extension__ typedef __int128 price_units;

#define PRICE_DECIMALS 24

enum price_kind { PRICE_INPUT, PRICE_OUTPUT, PRICE_READ, PRICE_WRITE, PRICE_KINDS };

typedef struct price_tier {
	int64_t above;                  /* holds for prompts of more tokens than this; -1: for all */
	price_units price[PRICE_KINDS]; /* per token; -1: no price */
} price_tier;

typedef struct price_model {
	uint32_t name, name_len; /* where in `folded` and `written` */
	uint32_t tier, tiers;    /* the first and how many, ordered by `above`; 0: unpriced */
} price_model;

#define PRICE_NO_ENTRY UINT32_MAX

/* A name that models are looked up by. Keys are sorted by bytes, a prefix before what it begins. */
typedef struct price_key {
	uint32_t at, len; /* where in `folded` */
	uint32_t model;   /* PRICE_NO_ENTRY: several models have this name, and their prices differ */
	uint32_t parent;  /* the longest other key that this one begins with; PRICE_NO_ENTRY: none */
} price_key;

struct price_table {
	atomic_uint refs;
	char *folded;  /* the models' names, one after another, as price_fold() writes them */
	char *written; /* the same names as the file has them, at the same offsets */
	price_model *models;
	price_tier *tiers;
	price_key *keys;
	uint32_t model_count, tier_count, key_count;
	size_t text_len, priced, bad;
};

/* Writes `s` to `out` in lower case, with a dash for each dot between digits: s.len bytes. */
void price_fold(slice s, char *out);

/* Returns the length of a folded name without the date at its end; name.len: there is none. */
size_t price_undated(slice name);

/* Parses `json`; errors call it `source`. NULL: `e` says why. */
MUST_CHECK price_table *price_table_parse(slice json, const char *source, err *e);

/* dist/prices.json, which the Makefile builds into the program. */
extern const char price_builtin[];
extern const size_t price_builtin_len;

#endif
