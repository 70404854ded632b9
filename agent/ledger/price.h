/* SPDX-License-Identifier: MIT
 *
 * Prices in LiteLLM's file format, and what a record cost and saved by them.
 *
 * The file. One JSON object: model -> object. Read are, in USD per token, input_cost_per_token, output_cost_per_token,
 * cache_read_input_token_cost and cache_creation_input_token_cost, and each with `_above_Nk_tokens` for any N.
 * `sample_spec`, names that begin with `_`, null, and every other member (_priority, _flex, _batches, _above_1hr,
 * tiered_pricing ...) are skipped. 0 is a price; an absent member is none: cached tokens without a price of their own
 * cost what input costs, so no saving is invented. A model with none of the four, or with one that is no number of 0 to
 * 1 dollar, stays in the table as unpriced.
 *
 * Which tier. The prompt is input + cache_read + cache_write. Of each of the four prices the one with the largest N
 * that the prompt exceeds (N thousand tokens), else the one without suffix; for all tokens of the request.
 *
 * Which model. Names are compared without case, and a dot between digits equals a dash (claude-opus-4.5,
 * claude-opus-4-5). The first of these that the table has, priced or not, decides:
 *   1. the name; then without its first path component, up to four times (openrouter/z-ai/glm-4.6, z-ai/glm-4.6,
 * glm-4.6);
 *   2. the same without a date: -2025-08-07 -20250514 @20250514 -latest @latest @default;
 *   3. of the same, the longest table name that it begins with and that ends before one of - . : @ /
 * A table name counts also without its provider and without its date, after any name that is written so. The maker's
 * own entry goes first (openai/ anthropic/ gemini/ zai/ ...); where others disagree on the price there is none. Of
 * several dates the newest. By rule 3 a model that is new to the table takes the price of its stem, which may be wrong;
 * so not when the rest begins with a number of one or two digits, or one with letters behind it (gpt-5.7,
 * claude-opus-4-9, llama-3-70b), or has a word that makes another model of it (mini, pro, turbo, image, free ...): then
 * it is unpriced.
 *
 * Arithmetic. Prices are exact to 24 decimals of a dollar (further ones are rounded half up; published ones have 10 to
 * 13), sums are 128-bit integers, and each figure is rounded once. Token counts beyond PRICE_TOKENS_MAX count as that
 * many, below 0 as 0; a figure beyond int64_t (9.2 thousand million dollars) is the nearest int64_t. */
#ifndef LEDGER_PRICE_H
#define LEDGER_PRICE_H

#include "base/err.h"
#include "ledger/record.h"

#define PRICE_FILE_MAX (64u << 20) /* bytes of a price file; LiteLLM's has one to two million */
#define PRICE_MODELS_MAX 65536u    /* models in it; LiteLLM's has about 3,000 */
#define PRICE_TIERS_MAX 8u         /* different N of one model */
#define PRICE_TOKENS_MAX INT64_C(10000000000000)

typedef struct price_table price_table; /* immutable once loaded; shared by reference counting */

/* From a file in LiteLLM's format; with `path` NULL the table that ships with the project. NULL: `e` says why. */
price_table *price_table_load(const char *path, err *e);
price_table *price_table_ref(price_table *t);
void price_table_unref(price_table *t);
size_t price_table_count(const price_table *t); /* models with a price */
size_t price_table_bad(const price_table *t);   /* models that are unpriced because a price of theirs was no price */

/* The table's name, as written there, that decides the price of `model`; empty when none does. *priced: it has one. */
slice price_match(const price_table *t, slice model, bool *priced);

/* Sets cost, the three savings and `price` of `r` from its token counts. `reference_model`: what the request would have
 * cost elsewhere; empty: no routing saving. Integer arithmetic throughout; exact to the nano-dollar (rounded half away
 * from zero, once for each figure).
 *   cost         input, output, cache reads and writes at their prices
 *   compression  saved x input price
 *   cache        cache_read x (input price - read price) - cache_write x (write price - input price)
 *   routing      cost of the same tokens at the reference's prices - cost; 0 when the reference is unpriced
 * PRICE_NONE: no tokens. PRICE_UNPRICED: a price that these tokens need is missing, or `t` is NULL. All figures are 0
 * then. */
void price_apply(const price_table *t, record *r, slice reference_model);

#endif
