/* SPDX-License-Identifier: MIT
 *
 * Prices in LiteLLM's file format, and what a record cost and saved by them.
 *
 * The file is one JSON object: model -> object. Its members are prices in USD, as numbers or as strings with a number
 * in them. price_member.c has their names: per token of input and output, of cache reads and of cache writes that are
 * kept for five minutes or for an hour, of audio, images and video, of reasoning; per picture, per second and per
 * character; per search and per request. Behind the name may stand, in any order, from which prompt on the price holds
 * (`_above_200k_tokens`, `_above_272000_tokens`, `_above_1m_tokens`) and the service tier (`_batches`, `_flex`,
 * `_priority`). `tiered_pricing` is a list of tiers, each with a `range` of prompts. null is no price, and 0 is one. A
 * model without any price, or with a price that is no number from 0 to 1 dollar (1,000 for what is no token), stays in
 * the table as unpriced. The model `sample_spec` and names that begin with `_` are skipped.
 *
 * Members that are no prices are skipped: limits, remarks, factors for regions, and fees for tools that the provider
 * runs (code interpreter, file search, maps). Any other member that is named a cost or a price makes the model's price
 * partial.
 *
 * From which prompt on: the prompt is input + cache_read + cache_write. Of each kind of price the one with the largest
 * bound holds that the prompt exceeds, else the one without a bound; it holds for all tokens of the request.
 *
 * Which model: names are compared without case, and a dot between digits equals a dash (claude-opus-4.5 and
 * claude-opus-4-5). The first of these names that the table has decides, priced or not:
 *   1. the model's name; then without its first path component, up to four times (openrouter/z-ai/glm-4.6,
 *      z-ai/glm-4.6, glm-4.6);
 *   2. the same names without a date: -2025-08-07 -20250514 @20250514 -latest @latest @default;
 *   3. the longest name of the table that one of these begins with, if one of - . : @ / follows it.
 * The table's own names also count without their provider and without their date, but after a name that is written so.
 * Among several entries for one such name, that of the model's maker (openai/ anthropic/ gemini/ zai/ ...) wins; if the
 * maker has none and the others disagree on the price, the model has none. Of several dates the newest wins. By rule 3
 * a model that is new to the table takes the price of its stem, which may be wrong. So the model is unpriced where the
 * rest of its name begins with a number of one or two digits or with digits and letters (gpt-5.7, claude-opus-4-9,
 * llama-3-70b), or has a word that makes it another model (mini, pro, turbo, image, free ...).
 *
 * Arithmetic: prices are exact to 24 decimals of a dollar (published ones have 10 to 13; further decimals are rounded
 * half up), sums are 128-bit integers, and each figure is rounded once. A token count above PRICE_TOKENS_MAX counts as
 * PRICE_TOKENS_MAX, one below 0 as 0. A figure that int64_t cannot hold (9.2 billion dollars) becomes the nearest that
 * it can. */
#ifndef LEDGER_PRICE_H
#define LEDGER_PRICE_H

#include "base/err.h"
#include "base/must_check.h"
#include "ledger/record.h"

#define PRICE_FILE_MAX (64u << 20) /* bytes of a price file; LiteLLM's has one to two million */
#define PRICE_MODELS_MAX 65536u    /* models in it; LiteLLM's has about 3,000 */
#define PRICE_ROWS_MAX 96u         /* prices of one model; LiteLLM's have up to 30 */
#define PRICE_TOKENS_MAX INT64_C(10000000000000)

typedef struct price_table price_table; /* does not change once loaded; shared by counting references */

/* Loads a file in LiteLLM's format; with `path` NULL the table that ships with the project. NULL: `e` says why. */
MUST_CHECK price_table *price_table_load(const char *path, err *e);
/* Adds a reference to `t`, and returns it; NULL stays NULL. */
price_table *price_table_ref(price_table *t);
/* Gives up a reference; the last one frees the table. */
void price_table_unref(price_table *t);
size_t price_table_count(const price_table *t); /* models with a price */
size_t price_table_bad(const price_table *t);   /* models with an invalid name, or unpriced for an invalid price */

/* True if a model whose name begins with `prefix` has a price, or a model of that name. */
bool price_has_prefix(const price_table *t, slice prefix);
/* Returns the name, as the table writes it, of the model that decides the price of `model`; empty: none does.
 * `*priced`: it has a price. */
slice price_match(const price_table *t, slice model, bool *priced);

/* Sets `*nano` to what a request of `model` may cost, before it is known: `input` and `output` tokens at the dearest
 * standard price, however long the prompt and whether the answer is text, sound or pictures, `answers` pictures, the
 * price of a request, and that of one search, where each request searches or all its searches cost as one. The caller
 * has made `input` of the body's bytes, 3 a token: where a model's input is not paid by the token, these bytes are the
 * estimate. False: the model has no price. */
MUST_CHECK bool price_estimate(const price_table *t, slice model, int64_t input, int64_t output, int64_t answers,
			       int64_t *nano);

/* What a table says of the answers of a model. */
typedef struct price_limits {
	int64_t input, output; /* tokens at most; 0 or less: the table does not say */
	bool media;            /* it may answer with audio or pictures */
} price_limits;
price_limits price_limits_of(const price_table *t, slice model);

/* Sets cost, the three savings, `price` and `price_missing` of `r` from its token counts and from `parts`, which say
 * how many of them are of a kind with a price of its own. `reference_model` is the model that routing is compared with;
 * empty: none, and no saving by routing. Exact to the nano-dollar; each figure is rounded once, half away from zero:
 *
 *   cost         each kind at its price; or what the provider says that it asks for (parts->cost)
 *   compression  saved x input price
 *   cache        what the cached tokens cost less than they would have cost as input
 *   routing      cost of the same tokens at the reference's prices - cost; 0 if the reference does not price them
 *
 * PRICE_PARTIAL: the entry and the usage do not fit together. `price_missing` names the kinds (price_kind_name()):
 *   - The usage tells a kind that the entry does not price. Tokens of audio, images and video cost as input or output
 *     then, cached ones as input, and what is no token costs nothing. Reasoning without a price of its own is output.
 *   - The entry prices a kind apart that the usage does not tell; all tokens cost as input or output then. Fees that
 *     arise only where a tool is used are not missing where the usage says nothing of them.
 *   - A kind has no price for so long a prompt, and the whole that it is part of has one.
 *   - The service tier (`batch`, `flex`, `priority`) has no price for a kind; the standard one is taken.
 *   - The entry has a price of a kind that is not known: its name.
 * All figures are 0 for PRICE_NONE (nothing to price, or USAGE_UNKNOWN) and for PRICE_UNPRICED (`t` is NULL, or has no
 * price for any of it). */
void price_apply(const price_table *t, record *r, const usage_parts *parts, slice reference_model);

/* A kind of tokens, or of what is no token, in the cost of a request. */
typedef struct price_item {
	const char *what; /* price_kind_name() */
	int64_t count;
	int64_t million; /* nano-dollars for a million of them, rounded */
	int64_t nano;    /* nano-dollars for `count`, rounded */
} price_item;
enum { PRICE_ITEMS_MAX = 32 };

/* Finds what `r` costs by `t`, as price_apply() does where nothing is known of parts of its usage. Returns how many
 * items were written, and sets `*cost`; 0: `t`, which may be NULL, has no price, or not the whole cost is of such
 * items. */
size_t price_bill(const price_table *t, const record *r, price_item items[PRICE_ITEMS_MAX], int64_t *cost);

#endif
