/* SPDX-License-Identifier: MIT
 *
 * The names that models are looked up by, by the rules in price.h. */
#include "ledger/price_table.h"

#include <stdlib.h>

void price_fold(slice s, char *out)
{
	for (size_t i = 0; i < s.len; i++) {
		bool dot = s.ptr[i] == '.' && i > 0 && i + 1 < s.len && ascii_is_digit(s.ptr[i - 1]) &&
			   ascii_is_digit(s.ptr[i + 1]);
		out[i] = dot ? '-' : ascii_lower(s.ptr[i]);
	}
}

/* Whether `s` ends in `shape`, where a 0 stands for any digit. */
static bool ends_as(slice s, slice shape)
{
	if (s.len < shape.len)
		return false;
	for (size_t i = 0; i < shape.len; i++) {
		char c = s.ptr[s.len - shape.len + i];
		if (shape.ptr[i] == '0' ? !ascii_is_digit(c) : c != shape.ptr[i])
			return false;
	}
	return true;
}

size_t price_undated(slice name)
{
	static const slice shapes[] = { SLICE_INIT("-2000-00-00"), SLICE_INIT("-20000000"), SLICE_INIT("@20000000"),
					SLICE_INIT("-latest"),     SLICE_INIT("@latest"),   SLICE_INIT("@default") };

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		if (ends_as(name, shapes[i]))
			return name.len - shapes[i].len;
	return name.len;
}

/* How strong a model's claim on a key is, strongest first: the key is the model's name as written; without the maker in
 * front; without its date; without both; without another provider in front; without that and the date. */
enum { CLAIM_WRITTEN, CLAIM_MAKER, CLAIM_UNDATED, CLAIM_MAKER_UNDATED, CLAIM_OTHER, CLAIM_OTHER_UNDATED };

typedef struct claim {
	const char *ptr;
	uint32_t len, model;
	uint32_t rank;
	uint64_t date; /* its digits as a number; the latest wins */
} claim;

static int claim_order(const void *left, const void *right)
{
	const claim *a = left, *b = right;
	uint32_t len = a->len < b->len ? a->len : b->len;
	int order = memcmp(a->ptr, b->ptr, len);

	if (order != 0)
		return order;
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	if (a->rank != b->rank)
		return a->rank < b->rank ? -1 : 1;
	if (a->date != b->date)
		return a->date > b->date ? -1 : 1;
	return a->model > b->model ? -1 :
				     a->model < b->model; /* of two entries of one name the last one wins, as in JSON */
}

/* Whether `provider` makes models: the maker's price wins over a reseller's. */
static bool is_maker(slice provider)
{
	static const slice makers[] = {
		SLICE_INIT("openai"),    SLICE_INIT("anthropic"),  SLICE_INIT("gemini"),  SLICE_INIT("google"),
		SLICE_INIT("zai"),       SLICE_INIT("z-ai"),       SLICE_INIT("zhipuai"), SLICE_INIT("deepseek"),
		SLICE_INIT("xai"),       SLICE_INIT("x-ai"),       SLICE_INIT("mistral"), SLICE_INIT("mistralai"),
		SLICE_INIT("moonshot"),  SLICE_INIT("moonshotai"), SLICE_INIT("minimax"), SLICE_INIT("cohere"),
		SLICE_INIT("dashscope"), SLICE_INIT("voyage"),
	};

	for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++)
		if (slice_eq(provider, makers[i]))
			return true;
	return false;
}

static uint64_t date_of(slice suffix)
{
	uint64_t date = 0;

	for (size_t i = 0; i < suffix.len; i++)
		if (ascii_is_digit(suffix.ptr[i]))
			date = date * 10 + (uint64_t)(suffix.ptr[i] - '0');
	return date;
}

static slice folded_name(const price_table *t, uint32_t model)
{
	return slice_of(t->folded + t->models[model].name, t->models[model].name_len);
}

static uint32_t claims_of(const price_table *t, uint32_t model, claim *out)
{
	slice name = folded_name(t, model);
	size_t slash = name.len;
	uint32_t n = 0;

	out[n++] = (claim){ name.ptr, (uint32_t)name.len, model, CLAIM_WRITTEN, 0 };
	if (t->models[model].rows == 0)
		return n;
	size_t undated = price_undated(name);
	uint64_t date = date_of(slice_from(name, undated));
	if (undated < name.len && undated > 0)
		out[n++] = (claim){ name.ptr, (uint32_t)undated, model, CLAIM_UNDATED, date };
	while (slash > 0 && name.ptr[slash - 1] != '/')
		slash--;
	if (slash == 0 || slash == name.len)
		return n;
	bool maker = is_maker(slice_first(name, slash - 1));
	out[n++] = (claim){ name.ptr + slash, (uint32_t)(name.len - slash), model, maker ? CLAIM_MAKER : CLAIM_OTHER,
			    0 };
	if (undated < name.len && undated > slash)
		out[n++] = (claim){ name.ptr + slash, (uint32_t)(undated - slash), model,
				    maker ? CLAIM_MAKER_UNDATED : CLAIM_OTHER_UNDATED, date };
	return n;
}

bool price_names_build(price_table *t)
{
	claim *claims = malloc(t->model_count * 4 * sizeof claims[0]);
	uint32_t n = 0;

	if (!claims)
		return false;
	for (uint32_t m = 0; m < t->model_count; m++)
		n += claims_of(t, m, claims + n);
	qsort(claims, n, sizeof claims[0], claim_order);
	t->keys = malloc(n * sizeof t->keys[0]);
	if (!t->keys) {
		free(claims);
		return false;
	}
	uint32_t parent = PRICE_NO_ENTRY;
	for (uint32_t i = 0, next = 0; i < n; i = next) {
		const claim *c = &claims[i];
		slice name = slice_of(c->ptr, c->len);
		uint32_t model = c->model;
		for (next = i + 1; next < n && slice_eq(slice_of(claims[next].ptr, claims[next].len), name); next++) {
			const claim *d = &claims[next];
			if (d->rank == c->rank && d->date == c->date &&
			    !slice_eq(folded_name(t, c->model), folded_name(t, d->model)) &&
			    !price_models_agree(t, c->model, d->model))
				model = PRICE_NO_ENTRY;
		}
		while (parent != PRICE_NO_ENTRY &&
		       !slice_starts(name, slice_of(t->folded + t->keys[parent].at, t->keys[parent].len)))
			parent = t->keys[parent].parent;
		t->keys[t->key_count] = (price_key){ (uint32_t)(c->ptr - t->folded), c->len, model, parent };
		parent = t->key_count++;
	}
	free(claims);
	return true;
}
