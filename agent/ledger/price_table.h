/* SPDX-License-Identifier: MIT
 *
 * The inside of a price table: price_member.c reads the names of prices, price_number.c their values, price_model.c one
 * model; price_names.c makes the names that models are looked up by; price_file.c puts the table together; price.c
 * looks models up, and price_apply.c computes with them. */
#ifndef LEDGER_PRICE_TABLE_H
#define LEDGER_PRICE_TABLE_H

#include "base/json.h"
#include "ledger/price.h"

#include <stdatomic.h>

#ifndef __SIZEOF_INT128__
#error "spoa-llm's money needs 128-bit integers: build for a 64-bit machine"
#endif

/* Dollars times 10^24. A token costs at most 1 dollar, and each of four counts of tokens has at most 10^13: 4 x 10^37.
 * Anything else costs at most 1,000 dollars, and at most 10^9 of it are counted: 10^36 for each of five kinds. The sum
 * is below 5 x 10^37; 1.7 x 10^38 fit. */
__extension__ typedef __int128 price_units;

#define PRICE_DECIMALS 24
#define PRICE_PIECES_MAX INT64_C(1000000000) /* of a kind that is no token; more count as that many */

/* What a price is for: a token, or else what the name says. price_kind_name() has the names. */
typedef enum price_kind {
	PRICE_INPUT,
	PRICE_OUTPUT,
	PRICE_READ,
	PRICE_WRITE,
	PRICE_WRITE_1H,
	PRICE_AUDIO_INPUT,
	PRICE_IMAGE_INPUT,
	PRICE_VIDEO_INPUT,
	PRICE_AUDIO_READ,
	PRICE_IMAGE_READ,
	PRICE_AUDIO_WRITE,
	PRICE_AUDIO_OUTPUT,
	PRICE_IMAGE_OUTPUT,
	PRICE_VIDEO_OUTPUT,
	PRICE_REASONING,
	PRICE_LAST_TOKEN = PRICE_REASONING,
	PRICE_IMAGE,       /* a picture that was made */
	PRICE_CHARACTER,   /* of a text that was spoken */
	PRICE_SECOND,      /* of audio that was heard */
	PRICE_SEARCH,      /* of a rerank, or of the web */
	PRICE_REQUEST,     /* a request, whatever is in it */
	PRICE_SEEN_IMAGE,  /* a picture of the prompt */
	PRICE_SEEN_SECOND, /* a second of the prompt's video */
	PRICE_MADE_SECOND, /* a second of audio or video that was made; only while a model is parsed */
	PRICE_MADE_LETTER, /* a character of the answer; only while a model is parsed */
	PRICE_SIZED_IMAGE, /* a picture of one size; only while a model is parsed */
	PRICE_KINDS,
} price_kind;

/* One price of a model. */
typedef struct price_row {
	price_units price;
	int64_t above; /* holds for prompts of more tokens than this; -1: for all */
	price_kind kind;
	service_tier tier;
	bool alias; /* another name for the price, which the usual name overrides */
} price_row;

typedef struct price_model {
	uint32_t name, name_len;   /* where in `folded` and `written` */
	uint32_t row, rows;        /* the first and how many, ordered by `above`; 0: unpriced */
	uint32_t other, other_len; /* where in `written`: the first price of a kind that is not known; 0 bytes: none */
	int64_t input_max, output_max; /* the model's limits in tokens; -1: the table has none */
	bool image_sizes;              /* the price of a picture depends on its size */
	bool search_sizes;             /* the price of a search depends on its size */
	bool search_always;            /* each request searches */
	bool search_once;              /* a request's searches cost as one */
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
	price_row *rows;
	price_key *keys;
	uint32_t model_count, row_count, key_count;
	size_t text_len, priced, bad;
};

/* Names `kind` as `price_missing` of a record does. */
const char *price_kind_name(price_kind kind);

/* What the name of a model's member says. */
typedef enum price_member {
	PRICE_MEMBER_NONE,  /* no price */
	PRICE_MEMBER_PRICE, /* a price that is known: `*row` is set but for the price itself */
	PRICE_MEMBER_OTHER, /* a price, but of a kind that is not known */
} price_member;
price_member price_member_read(slice name, price_row *row);

/* Reads dollars as units: a JSON number, or a string with a number in it. False: `value` is no number, below 0 or above
 * `dollars_max`. */
MUST_CHECK bool price_number_read(const json_member *value, int64_t dollars_max, price_units *out);
/* Reads a JSON number, or a string with one in it, as a count; its fraction is dropped. -1: it is none. */
int64_t price_count_read(const json_member *value);

/* A model while it is read. */
typedef struct price_draft {
	price_row rows[PRICE_ROWS_MAX];
	uint32_t n;        /* ordered by `above`; 0: no price */
	price_model model; /* its limits and what is said of its prices */
	slice other;       /* as price_model.other, as written in the file */
	bool good;         /* each price is valid */
} price_draft;

/* Reads the object of the model called `name` at `it`. False: invalid JSON, at it->at. */
MUST_CHECK bool price_model_read(json_iter *it, slice name, price_draft *d);

/* Whether two models of a table cost the same. */
bool price_models_agree(const price_table *t, uint32_t a, uint32_t b);

/* Writes `s` to `out` in lower case, with a dash for each dot between digits: s.len bytes. */
void price_fold(slice s, char *out);

/* Returns the length of a folded name without the date at its end; name.len: there is none. */
size_t price_undated(slice name);

/* Makes t->keys. False: no memory. */
MUST_CHECK bool price_names_build(price_table *t);

/* Returns the entry whose prices hold for `model`; NULL: none. */
const price_model *price_model_find(const price_table *t, slice model);

/* Parses `json`; errors call it `source`. NULL: `e` says why. */
MUST_CHECK price_table *price_table_parse(slice json, const char *source, err *e);

/* dist/prices.json, which the Makefile builds into the program. */
extern const char price_builtin[];
extern const size_t price_builtin_len;

#endif
