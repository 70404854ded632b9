/* SPDX-License-Identifier: MIT
 *
 * Prices in LiteLLM's file format, and what a record cost and saved by them.
 *
 * The file is one JSON object: model -> object. These members are read, in USD per token: input_cost_per_token,
 * output_cost_per_token, cache_read_input_token_cost and cache_creation_input_token_cost, and each with the suffix
 * `_above_Nk_tokens` for any N. Every other member is skipped (_priority, _flex, _batches, _above_1hr, tiered_pricing
 * ...), and so are null, the model `sample_spec`, and names that begin with `_`. 0 is a price. Where the price of
 * cached tokens is absent they cost what input costs, so that no saving is invented. A model with none of the four
 * prices, or with one that is not a number from 0 to 1 dollar, stays in the table as unpriced.
 *
 * Which tier: the prompt is input + cache_read + cache_write. For each of the four prices the tier with the largest N
 * holds whose N thousand tokens the prompt exceeds, else the price without suffix; it holds for all tokens of the
 * request.
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
#define PRICE_TIERS_MAX 8u         /* different N of one model */
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

/* Returns the name, as the table writes it, of the model that decides the price of `model`; empty: none does.
 * `*priced`: it has a price. */
slice price_match(const price_table *t, slice model, bool *priced);

/* Sets cost, the three savings and `price` of `r` from its token counts. `reference_model` is the model that routing is
 * compared with; empty: none, and no saving by routing. Exact to the nano-dollar; each figure is rounded once, half
 * away from zero:
 *
 *   cost         input, output, cache reads and writes at their prices
 *   compression  saved x input price
 *   cache        cache_read x (input price - read price) - cache_write x (write price - input price)
 *   routing      cost of the same tokens at the reference's prices - cost; 0 if the reference is unpriced
 *
 * All figures are 0 for PRICE_NONE (no tokens, or USAGE_UNKNOWN) and for PRICE_UNPRICED (`t` is NULL, or lacks a price
 * that these tokens need). */
void price_apply(const price_table *t, record *r, slice reference_model);

#endif
