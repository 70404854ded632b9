/* SPDX-License-Identifier: MIT */
#include "ledger/price_table.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A table that is being built. */
typedef struct building {
	price_table *t;
	uint32_t model_cap, tier_cap;
	size_t text_cap;
} building;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

void price_fold(slice s, char *out)
{
	for (size_t i = 0; i < s.len; i++) {
		bool dot = s.ptr[i] == '.' && i > 0 && i + 1 < s.len && is_digit(s.ptr[i - 1]) &&
			   is_digit(s.ptr[i + 1]);
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
		if (shape.ptr[i] == '0' ? !is_digit(c) : c != shape.ptr[i])
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

/* ---- numbers */

enum { DIGITS_MAX = 37 }; /* decimal digits that always fit price_units */

/* A number as value x 10^exponent. */
typedef struct decimal {
	price_units value;
	int64_t exponent;
} decimal;

/* Reads digits with or without a point, from `*at` on. Digits after the first DIGITS_MAX significant ones only count
 * for the exponent: in a price that is in range they are below the last decimal. */
static decimal digits_parse(slice s, size_t *at)
{
	decimal d = { 0, 0 };
	int significant = 0;
	bool point = false;

	for (; *at < s.len && (is_digit(s.ptr[*at]) || s.ptr[*at] == '.'); ++*at) {
		if (s.ptr[*at] == '.') {
			point = true;
			continue;
		}
		int digit = s.ptr[*at] - '0';
		if (significant > 0 || digit > 0)
			significant++;
		if (significant > DIGITS_MAX) {
			d.exponent += !point;
		} else {
			d.value = d.value * 10 + digit;
			d.exponent -= point;
		}
	}
	return d;
}

/* Reads what follows the `e` of a JSON number. */
static int64_t exponent_parse(slice s)
{
	size_t at = s.len && (s.ptr[0] == '+' || s.ptr[0] == '-');
	int64_t exponent = 0;

	for (; at < s.len; at++)
		if (exponent < 1000000000)
			exponent = exponent * 10 + (s.ptr[at] - '0');
	return s.len && s.ptr[0] == '-' ? -exponent : exponent;
}

/* Converts dollars to units, rounding half up. False: more than a dollar. */
static bool units_of(decimal dollars, price_units *out)
{
	price_units one = 1, divisor = 1;
	int64_t shift = dollars.exponent + PRICE_DECIMALS;

	for (int i = 0; i < PRICE_DECIMALS; i++)
		one *= 10;
	for (; shift > 0; shift--) {
		if (dollars.value > one)
			return false;
		dollars.value *= 10;
	}
	*out = 0;
	if (shift < -DIGITS_MAX)
		return true;
	for (; shift < 0; shift++)
		divisor *= 10;
	price_units rest = dollars.value % divisor;
	*out = dollars.value / divisor + (rest >= divisor - rest);
	return *out <= one;
}

/* Reads a JSON number from 0 to 1 as units. False: it is negative, larger, or no number. */
static bool units_parse(slice s, price_units *out)
{
	bool negative = s.len && s.ptr[0] == '-';
	size_t at = negative;

	if (at == s.len || !is_digit(s.ptr[at])) /* NaN, Infinity */
		return false;
	decimal dollars = digits_parse(s, &at);
	if (at < s.len)
		dollars.exponent += exponent_parse(slice_from(s, at + 1));
	*out = 0;
	if (dollars.value == 0)
		return true;
	return !negative && units_of(dollars, out);
}

/* ---- one model */

static const slice kind_names[PRICE_KINDS] = {
	[PRICE_INPUT] = SLICE_INIT("input_cost_per_token"),
	[PRICE_OUTPUT] = SLICE_INIT("output_cost_per_token"),
	[PRICE_READ] = SLICE_INIT("cache_read_input_token_cost"),
	[PRICE_WRITE] = SLICE_INIT("cache_creation_input_token_cost"),
};

/* Sets which price `key` names, and above which prompt it holds. False: it names none. */
static bool key_parse(slice key, enum price_kind *kind, int64_t *above)
{
	slice rest = { NULL, 0 };
	unsigned k = 0;

	for (; k < PRICE_KINDS; k++)
		if (slice_starts(key, kind_names[k]))
			break;
	if (k == PRICE_KINDS)
		return false;
	*kind = (enum price_kind)k;
	*above = -1;
	rest = slice_from(key, kind_names[k].len);
	if (rest.len == 0)
		return true;
	slice begin = SLICE("_above_"), end = SLICE("k_tokens");
	if (!slice_starts(rest, begin) || !slice_ends(rest, end) || rest.len <= begin.len + end.len)
		return false;
	slice number = slice_of(rest.ptr + begin.len, rest.len - begin.len - end.len);
	if (number.len > 9)
		return false;
	*above = 0;
	for (size_t i = 0; i < number.len; i++) {
		if (!is_digit(number.ptr[i]))
			return false;
		*above = *above * 10 + (number.ptr[i] - '0');
	}
	*above *= 1000;
	return true;
}

/* Returns the tier for `above` among the `*n` ordered ones; makes it if it is not there. NULL: there are too many. */
static price_tier *tier_at(price_tier *tiers, uint32_t *n, int64_t above)
{
	uint32_t i = 0;

	while (i < *n && tiers[i].above < above)
		i++;
	if (i < *n && tiers[i].above == above)
		return &tiers[i];
	if (*n == PRICE_TIERS_MAX + 1)
		return NULL;
	memmove(&tiers[i + 1], &tiers[i], (*n - i) * sizeof tiers[0]);
	++*n;
	tiers[i] = (price_tier){ above, { -1, -1, -1, -1 } };
	return &tiers[i];
}

/* Reads the prices of a model into `*n` tiers; 0: it has none. `*good`: each of them is valid. False: invalid JSON, at
 * it->at. */
static bool model_parse(json_iter *it, price_tier *tiers, uint32_t *n, bool *good)
{
	json_member m;
	json_step step;
	enum price_kind kind = PRICE_INPUT;
	int64_t above = -1;

	*n = 0;
	*good = true;
	while ((step = json_next(it, &m)) == JSON_MEMBER) {
		price_units price = -1;
		if (!key_parse(m.key, &kind, &above))
			continue;
		if (m.type != JSON_NULL && (m.type != JSON_NUMBER || !units_parse(m.value, &price))) {
			*good = false;
			continue;
		}
		price_tier *tier = tier_at(tiers, n, above);
		if (tier)
			tier->price[kind] = price;
		else
			*good = false;
	}
	bool any = false;
	for (uint32_t i = 0; i < *n; i++)
		for (unsigned k = 0; k < PRICE_KINDS; k++)
			any |= tiers[i].price[k] >= 0;
	if (!any || !*good)
		*n = 0;
	return step == JSON_DONE;
}

/* Makes room for `more` items of `size` bytes in `*items`, of which `count` are used. False: no memory. */
static bool grow(void **items, uint32_t *cap, uint32_t count, uint32_t more, size_t size)
{
	if (*cap - count >= more)
		return true;
	uint32_t want = *cap ? *cap * 2 : 256;
	void *larger = realloc(*items, want * size);
	if (!larger)
		return false;
	*items = larger;
	*cap = want;
	return true;
}

static bool text_grow(char **text, size_t want)
{
	char *larger = realloc(*text, want);
	if (larger)
		*text = larger;
	return larger != NULL;
}

static bool model_add(building *b, slice name, const price_tier *tiers, uint32_t n)
{
	price_table *t = b->t;

	if (b->text_cap - t->text_len < name.len) {
		size_t want = b->text_cap ? b->text_cap * 2 : 16384;
		if (!text_grow(&t->folded, want) || !text_grow(&t->written, want))
			return false;
		b->text_cap = want;
	}
	void *models = t->models, *rows = t->tiers;
	bool grown = grow(&models, &b->model_cap, t->model_count, 1, sizeof t->models[0]);
	t->models = models;
	grown = grown && grow(&rows, &b->tier_cap, t->tier_count, PRICE_TIERS_MAX + 1, sizeof t->tiers[0]);
	t->tiers = rows;
	if (!grown)
		return false;
	memcpy(t->written + t->text_len, name.ptr, name.len);
	price_fold(name, t->folded + t->text_len);
	memcpy(t->tiers + t->tier_count, tiers, n * sizeof tiers[0]);
	t->models[t->model_count++] = (price_model){ (uint32_t)t->text_len, (uint32_t)name.len, t->tier_count, n };
	t->text_len += name.len;
	t->tier_count += n;
	t->priced += n > 0;
	return true;
}

/* ---- the names to look for */

/* How strong a model's claim on a key is, strongest first: the key is the model's name as written; without its provider
 * (the maker, or another one); without its date; or without both. */
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
		if (is_digit(suffix.ptr[i]))
			date = date * 10 + (uint64_t)(suffix.ptr[i] - '0');
	return date;
}

static slice folded_name(const price_table *t, uint32_t model)
{
	return slice_of(t->folded + t->models[model].name, t->models[model].name_len);
}

static bool same_prices(const price_table *t, uint32_t a, uint32_t b)
{
	const price_model *left = &t->models[a], *right = &t->models[b];

	if (left->tiers != right->tiers)
		return false;
	for (uint32_t i = 0; i < left->tiers; i++) {
		const price_tier *l = &t->tiers[left->tier + i], *r = &t->tiers[right->tier + i];
		if (l->above != r->above)
			return false;
		for (unsigned k = 0; k < PRICE_KINDS; k++)
			if (l->price[k] != r->price[k])
				return false;
	}
	return true;
}

static uint32_t claims_of(const price_table *t, uint32_t model, claim *out)
{
	slice name = folded_name(t, model);
	size_t slash = name.len;
	uint32_t n = 0;

	out[n++] = (claim){ name.ptr, (uint32_t)name.len, model, CLAIM_WRITTEN, 0 };
	if (t->models[model].tiers == 0)
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

static bool keys_build(price_table *t)
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
			    !same_prices(t, c->model, d->model))
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

/* ---- the file */

static bool fail_at(err *e, const char *source, slice json, size_t at, const char *why)
{
	size_t line = 1, begin = 0;

	if (at > json.len)
		at = json.len;
	for (size_t i = 0; i < at; i++)
		if (json.ptr[i] == '\n') {
			line++;
			begin = i + 1;
		}
	return err_set(e, "%s:%zu:%zu: %s", source, line, at - begin + 1, why);
}

static bool models_parse(building *b, slice json, const char *source, err *e)
{
	json_iter it, inner;
	json_member m;
	json_step step;
	price_tier tiers[PRICE_TIERS_MAX + 1];

	json_iter_init(&it, json);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		char name[RECORD_MODEL_MAX];
		size_t len = 0;
		uint32_t n = 0;
		bool good = true;
		if (m.type != JSON_OBJECT || json_key_is(m.key, SLICE("sample_spec")) ||
		    (m.key.len && m.key.ptr[0] == '_'))
			continue;
		json_iter_init(&inner, m.value);
		if (!model_parse(&inner, tiers, &n, &good))
			return fail_at(e, source, json, (size_t)(m.value.ptr - json.ptr) + inner.at,
				       inner.why ? inner.why : "the model's object is cut");
		if (json_text(m.key, name, sizeof name, &len) != JSON_TEXT_OK || len == 0) {
			b->t->bad++; /* no request can name that model */
			continue;
		}
		b->t->bad += !good;
		if (b->t->model_count == PRICE_MODELS_MAX)
			return err_set(e, "%s: more than %u models", source, PRICE_MODELS_MAX);
		if (!model_add(b, slice_of(name, len), tiers, n))
			return err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
	}
	if (step == JSON_CUT)
		return fail_at(e, source, json, json.len, "the file ends in the middle");
	if (step == JSON_BAD || it.array)
		return fail_at(e, source, json, it.at, it.why ? it.why : "an object of models is expected");
	if (b->t->priced == 0)
		return err_set(e,
			       "%s: no model has a price per token; the file should be in the format of LiteLLM's "
			       "model_prices_and_context_window.json",
			       source);
	return true;
}

static void table_free(price_table *t)
{
	free(t->folded);
	free(t->written);
	free(t->models);
	free(t->tiers);
	free(t->keys);
	free(t);
}

price_table *price_table_parse(slice json, const char *source, err *e)
{
	building b = { calloc(1, sizeof(price_table)), 0, 0, 0 };

	if (!b.t) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
		return NULL;
	}
	atomic_init(&b.t->refs, 1);
	if (!models_parse(&b, json, source, e)) {
		table_free(b.t);
		return NULL;
	}
	if (!keys_build(b.t)) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
		table_free(b.t);
		return NULL;
	}
	return b.t;
}

/* Reads a regular file whole; the caller frees it. NULL: `e` says why. */
static char *file_read(const char *path, size_t *len, err *e)
{
	struct stat st;
	char *bytes = NULL;
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		err_set(e, "%s: not a regular file", path);
		goto out;
	}
	if (st.st_size > (off_t)PRICE_FILE_MAX) {
		err_set(e, "%s: larger than %u MB", path, PRICE_FILE_MAX >> 20);
		goto out;
	}
	size_t room = (size_t)st.st_size + 1; /* one more than its size, to notice that it grows */
	bytes = malloc(room);
	if (!bytes) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
		goto out;
	}
	for (;;) {
		ssize_t got = read(fd, bytes + used, room - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err_set(e, "%s: %s", path, strerror(errno));
			break;
		}
		used += (size_t)got;
		if (got == 0) {
			*len = used;
			close(fd);
			return bytes;
		}
		if (used == room) {
			err_set(e, "%s: it is being written; replace it by renaming", path);
			break;
		}
	}
out:
	free(bytes);
	close(fd);
	return NULL;
}

price_table *price_table_load(const char *path, err *e)
{
	size_t len = 0;

	if (!path)
		return price_table_parse(slice_of(price_builtin, price_builtin_len), "the built-in price table", e);
	char *bytes = file_read(path, &len, e);
	if (!bytes)
		return NULL;
	price_table *t = price_table_parse(slice_of(bytes, len), path, e);
	free(bytes);
	return t;
}

price_table *price_table_ref(price_table *t)
{
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void price_table_unref(price_table *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		table_free(t);
}
