/* SPDX-License-Identifier: MIT
 *
 * Which model of a price table a name means. */
#include "ledger/price_table.h"

/* How many path components are taken off the front of a name. */
#define PROVIDERS_MAX 4

size_t price_table_count(const price_table *t)
{
	return t ? t->priced : 0;
}

size_t price_table_bad(const price_table *t)
{
	return t ? t->bad : 0;
}

enum { PRICE_PREFIX_MAX = 256 };

static slice key_name(const price_table *t, uint32_t key)
{
	return slice_of(t->folded + t->keys[key].at, t->keys[key].len);
}

/* Returns the longest key that `name` begins with; PRICE_NO_ENTRY: none. All keys that sort between a prefix of `name`
 * and `name` begin with that prefix; so the parents of the last key that does not sort after `name` include every such
 * prefix. */
static uint32_t longest_key(const price_table *t, slice name)
{
	uint32_t low = 0, high = t->key_count; /* keys from `high` on sort after `name`, keys before `low` do not */

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		slice key = key_name(t, middle);
		int order = memcmp(key.ptr, name.ptr, key.len < name.len ? key.len : name.len);
		if (order < 0 || (order == 0 && key.len <= name.len))
			low = middle + 1;
		else
			high = middle;
	}
	uint32_t key = low ? low - 1 : PRICE_NO_ENTRY;
	while (key != PRICE_NO_ENTRY && !slice_starts(name, key_name(t, key)))
		key = t->keys[key].parent;
	return key;
}

static bool is_boundary(char c)
{
	return c == '-' || c == '.' || c == ':' || c == '@' || c == '/';
}

/* Whether `word` after a model's name makes it another model, with another price. */
static bool is_variant(slice word)
{
	static const slice words[] = {
		SLICE_INIT("air"),       SLICE_INIT("airx"),     SLICE_INIT("audio"),  SLICE_INIT("batch"),
		SLICE_INIT("coder"),     SLICE_INIT("cyber"),    SLICE_INIT("deep"),   SLICE_INIT("embed"),
		SLICE_INIT("embedding"), SLICE_INIT("extended"), SLICE_INIT("fast"),   SLICE_INIT("flash"),
		SLICE_INIT("flashx"),    SLICE_INIT("flex"),     SLICE_INIT("free"),   SLICE_INIT("haiku"),
		SLICE_INIT("highspeed"), SLICE_INIT("image"),    SLICE_INIT("large"),  SLICE_INIT("lite"),
		SLICE_INIT("live"),      SLICE_INIT("long"),     SLICE_INIT("max"),    SLICE_INIT("medium"),
		SLICE_INIT("micro"),     SLICE_INIT("mini"),     SLICE_INIT("nano"),   SLICE_INIT("ocr"),
		SLICE_INIT("omni"),      SLICE_INIT("opus"),     SLICE_INIT("plus"),   SLICE_INIT("priority"),
		SLICE_INIT("pro"),       SLICE_INIT("realtime"), SLICE_INIT("search"), SLICE_INIT("small"),
		SLICE_INIT("sonnet"),    SLICE_INIT("spark"),    SLICE_INIT("tiny"),   SLICE_INIT("transcribe"),
		SLICE_INIT("tts"),       SLICE_INIT("turbo"),    SLICE_INIT("ultra"),  SLICE_INIT("vision"),
		SLICE_INIT("vl"),        SLICE_INIT("whisper"),
	};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (slice_eq(word, words[i]))
			return true;
	return false;
}

/* Whether a name that is followed by `rest`, from a boundary on, is still the same model. */
static bool same_model(slice rest)
{
	size_t at = 0;
	bool first = true;

	while (at < rest.len) {
		size_t begin = ++at, digits = 0;
		while (at < rest.len && !is_boundary(rest.ptr[at]))
			at++;
		slice word = slice_of(rest.ptr + begin, at - begin);
		while (digits < word.len && word.ptr[digits] >= '0' && word.ptr[digits] <= '9')
			digits++;
		/* Three digits or more and nothing else are a revision (-0613, -001); other numbers are a version or a
		 * size, so another model. */
		if (first && digits > 0 && (digits < 3 || digits < word.len))
			return false;
		if (is_variant(word))
			return false;
		first = false;
	}
	return true;
}

/* Returns the key that decides the price of `model`, by the rules in price.h; PRICE_NO_ENTRY: none. */
static uint32_t key_find(const price_table *t, slice model)
{
	char folded[RECORD_MODEL_MAX];
	slice names[PROVIDERS_MAX + 1];
	uint32_t longest[PROVIDERS_MAX + 1];
	unsigned n = 0;

	if (model.len == 0 || model.len > sizeof folded)
		return PRICE_NO_ENTRY;
	price_fold(model, folded);
	for (slice name = slice_of(folded, model.len); name.len > 0 && n <= PROVIDERS_MAX; n++) {
		names[n] = name;
		longest[n] = longest_key(t, name);
		if (longest[n] != PRICE_NO_ENTRY && t->keys[longest[n]].len == name.len)
			return longest[n];
		name = slice_from(name, slice_find(name, 0, '/') + 1);
	}
	for (unsigned i = 0; i < n; i++) {
		size_t undated = price_undated(names[i]);
		for (uint32_t k = longest[i]; undated < names[i].len && k != PRICE_NO_ENTRY; k = t->keys[k].parent)
			if (t->keys[k].len == undated)
				return k;
	}
	for (unsigned i = 0; i < n; i++)
		for (uint32_t k = longest[i]; k != PRICE_NO_ENTRY; k = t->keys[k].parent) {
			slice rest = slice_from(names[i], t->keys[k].len);
			if (is_boundary(rest.ptr[0]))
				return same_model(rest) ? k : PRICE_NO_ENTRY;
		}
	return PRICE_NO_ENTRY;
}

const price_model *price_model_find(const price_table *t, slice model)
{
	uint32_t key = t ? key_find(t, model) : PRICE_NO_ENTRY;

	if (key == PRICE_NO_ENTRY || t->keys[key].model == PRICE_NO_ENTRY || t->models[t->keys[key].model].rows == 0)
		return NULL;
	return &t->models[t->keys[key].model];
}

slice price_match(const price_table *t, slice model, bool *priced)
{
	uint32_t key = t ? key_find(t, model) : PRICE_NO_ENTRY;

	*priced = false;
	if (key == PRICE_NO_ENTRY || t->keys[key].model == PRICE_NO_ENTRY)
		return slice_of(NULL, 0);
	const price_model *m = &t->models[t->keys[key].model];
	*priced = m->rows > 0;
	return slice_of(t->written + m->name, m->name_len);
}

price_limits price_limits_of(const price_table *t, slice model)
{
	uint32_t key = t ? key_find(t, model) : PRICE_NO_ENTRY;
	price_limits limits = { -1, -1, false };

	if (key == PRICE_NO_ENTRY || t->keys[key].model == PRICE_NO_ENTRY)
		return limits;
	const price_model *m = &t->models[t->keys[key].model];
	limits.input = m->input_max;
	limits.output = m->output_max;
	for (uint32_t i = 0; i < m->rows; i++) {
		price_kind kind = t->rows[m->row + i].kind;
		limits.media |= kind == PRICE_AUDIO_OUTPUT || kind == PRICE_IMAGE_OUTPUT ||
				kind == PRICE_VIDEO_OUTPUT || kind == PRICE_IMAGE;
	}
	return limits;
}

bool price_has_prefix(const price_table *t, slice prefix)
{
	char folded[PRICE_PREFIX_MAX];
	bool priced = false;

	price_match(t, prefix, &priced);
	if (priced || prefix.len > sizeof folded)
		return priced;
	price_fold(prefix, folded);
	for (uint32_t i = 0; i < t->key_count && !priced; i++)
		priced = slice_starts(key_name(t, i), slice_of(folded, prefix.len)) &&
			 (t->keys[i].model == PRICE_NO_ENTRY || t->models[t->keys[i].model].rows > 0);
	return priced;
}
