/* SPDX-License-Identifier: MIT
 *
 * One model of a price file: its members become rows of a price each, ordered by the prompt from which they hold. */
#include "ledger/price_table.h"

static void other_set(price_draft *d, slice name)
{
	if (d->other.len == 0)
		d->other = name;
}

/* Puts a row in its place. Of two for the same, the usual name wins, and then the later one, as in JSON. */
static void row_put(price_draft *d, const price_row *row)
{
	uint32_t i = 0;

	for (; i < d->n && d->rows[i].above <= row->above; i++) {
		price_row *old = &d->rows[i];
		if (old->above != row->above || old->kind != row->kind || old->tier != row->tier)
			continue;
		if (old->alias || !row->alias)
			*old = *row;
		return;
	}
	if (d->n == PRICE_ROWS_MAX) {
		d->good = false;
		return;
	}
	memmove(&d->rows[i + 1], &d->rows[i], (d->n - i) * sizeof d->rows[0]);
	d->rows[i] = *row;
	d->n++;
}

static void rows_remove(price_draft *d, price_kind kind)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->n; i++)
		if (d->rows[i].kind != kind)
			d->rows[n++] = d->rows[i];
	d->n = n;
}

static bool has_kind(const price_draft *d, price_kind kind)
{
	for (uint32_t i = 0; i < d->n; i++)
		if (d->rows[i].kind == kind)
			return true;
	return false;
}

/* Makes the rows of kind `from` rows of kind `to`. Of two for the same, the larger price holds. */
static void rows_become(price_draft *d, price_kind from, price_kind to)
{
	for (uint32_t i = 0; i < d->n; i++) {
		price_row row = d->rows[i];
		if (row.kind != from)
			continue;
		row.kind = to;
		for (uint32_t k = 0; k < d->n; k++) {
			const price_row *r = &d->rows[k];
			if (r->kind == to && r->above == row.above && r->tier == row.tier && r->price > row.price)
				row.price = r->price;
		}
		row.alias = false;
		row_put(d, &row);
	}
	rows_remove(d, from);
}

/* Whether the value of a price that is not known costs something: what is free, no number or a remark does not. */
static bool costs(const json_member *m)
{
	price_units price = 0;

	if (m->type == JSON_OBJECT || m->type == JSON_ARRAY)
		return true;
	return price_number_read(m, INT64_C(1000000000), &price) ? price > 0 : m->type == JSON_NUMBER;
}

/* Reads a member that may be a price; those of a tier hold above `above`. */
static void price_take(price_draft *d, const json_member *m, int64_t above)
{
	price_row row;

	switch (price_member_read(m->key, &row)) {
	case PRICE_MEMBER_NONE:
		return;
	case PRICE_MEMBER_OTHER:
		if (costs(m))
			other_set(d, m->key);
		return;
	case PRICE_MEMBER_PRICE:
		break;
	}
	if (m->type == JSON_NULL)
		return;
	if (!price_number_read(m, row.kind <= PRICE_LAST_TOKEN ? 1 : 1000, &row.price)) {
		d->good = false;
		return;
	}
	if (above >= 0) {
		if (row.above >= 0) {
			other_set(d, m->key);
			return;
		}
		row.above = above == 0 ? -1 : above;
	}
	row_put(d, &row);
}

/* Reads `{"range": [0, 32000], "input_cost_per_token": ...}`. The range tells from which prompt on the prices hold; the
 * next tier tells where they end. False: there is no range. */
static bool tier_read(price_draft *d, slice object)
{
	json_iter it, range;
	json_member m, bound;
	int64_t above = -1;

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER) {
		if (m.type != JSON_ARRAY || !json_key_is(m.key, SLICE("range")))
			continue;
		json_iter_init(&range, m.value);
		if (json_next(&range, &bound) == JSON_MEMBER)
			above = price_count_read(&bound);
	}
	if (above < 0)
		return false;
	json_step step;
	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		price_take(d, &m, above);
	d->good = d->good && step == JSON_DONE;
	return true;
}

static void tiers_read(price_draft *d, slice array)
{
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, array);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		if (m.type != JSON_OBJECT || !tier_read(d, m.value))
			other_set(d, SLICE("tiered_pricing"));
	d->good = d->good && step == JSON_DONE;
}

/* Reads the prices of a search by the size of what it finds. */
static void searches_read(price_draft *d, slice object)
{
	json_iter it;
	json_member m;
	price_row row = { -1, -1, PRICE_SEARCH, TIER_STANDARD, true };

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER) {
		price_units price = -1;
		if (m.type == JSON_NULL)
			continue;
		if (!price_number_read(&m, 1000, &price)) {
			d->good = false;
			return;
		}
		d->model.search_sizes |= row.price >= 0 && row.price != price;
		row.price = price;
	}
	if (row.price >= 0)
		row_put(d, &row);
}

/* What of a model is no price, but says what its prices mean. */
typedef struct about {
	slice mode, provider; /* as written, with quotes */
	slice tiers;          /* tiered_pricing */
	slice searches;       /* search_context_cost_per_query */
	int64_t max_tokens;
	bool once;
} about;

static bool about_take(price_draft *d, const json_member *m, about *a)
{
	if (json_key_is(m->key, SLICE("mode")))
		a->mode = m->value;
	else if (json_key_is(m->key, SLICE("litellm_provider")))
		a->provider = m->value;
	else if (m->type == JSON_ARRAY && json_key_is(m->key, SLICE("tiered_pricing")))
		a->tiers = m->value;
	else if (m->type == JSON_OBJECT && json_key_is(m->key, SLICE("search_context_cost_per_query")))
		a->searches = m->value;
	else if (json_key_is(m->key, SLICE("web_search_billing_unit")))
		a->once = slice_eq(m->value, SLICE("\"per_prompt\""));
	else if (json_key_is(m->key, SLICE("max_input_tokens")))
		d->model.input_max = price_count_read(m);
	else if (json_key_is(m->key, SLICE("max_output_tokens")))
		d->model.output_max = price_count_read(m);
	else if (json_key_is(m->key, SLICE("max_tokens")))
		a->max_tokens = price_count_read(m);
	else
		return false;
	return true;
}

/* Settles what a price means that has two meanings in such files, now that all members are known. */
static void prices_settle(price_draft *d, slice name, const about *a)
{
	bool hears = slice_icontains(a->mode, SLICE("transcription"));
	bool draws = slice_icontains(a->mode, SLICE("image_"));
	bool chats = slice_eq(a->mode, SLICE("\"chat\"")) || slice_eq(a->mode, SLICE("\"completion\""));

	/* The second of a transcription stands under input, under output, or under both, and is paid once. */
	if (hears)
		rows_become(d, PRICE_MADE_SECOND, PRICE_SECOND);
	for (uint32_t i = 0; i < d->n; i++) {
		price_row *r = &d->rows[i];
		if (chats && r->kind == PRICE_SECOND && r->alias) /* a second of a machine that is rented */
			r->kind = PRICE_MADE_SECOND;
		if (r->price > 0 && r->kind == PRICE_MADE_SECOND)
			other_set(d, r->alias ? SLICE("input_cost_per_second") : SLICE("output_cost_per_second"));
		if (r->price > 0 && r->kind == PRICE_MADE_LETTER && !has_kind(d, PRICE_OUTPUT))
			other_set(d, SLICE("output_cost_per_character"));
	}
	rows_remove(d, PRICE_MADE_SECOND);
	rows_remove(d, PRICE_MADE_LETTER);
	/* Models that only draw have the price of a picture under input in some files. */
	if (draws && !has_kind(d, PRICE_IMAGE) && !has_kind(d, PRICE_INPUT) && !has_kind(d, PRICE_IMAGE_OUTPUT))
		rows_become(d, PRICE_SEEN_IMAGE, PRICE_IMAGE);
	if (has_kind(d, PRICE_INPUT))
		rows_remove(d, PRICE_CHARACTER); /* the same text, counted otherwise */
	d->model.search_once = a->once;
	d->model.search_always = has_kind(d, PRICE_SEARCH) && (slice_icontains(a->mode, SLICE("rerank")) ||
							       slice_icontains(a->mode, SLICE("search")) ||
							       slice_icontains(a->provider, SLICE("perplexity")) ||
							       slice_icontains(name, SLICE("search")));
	if (d->model.output_max < 0)
		d->model.output_max = a->max_tokens;
}

/* Compares the prices of pictures by size with each other and with the price without a size. */
static void image_sizes_settle(price_draft *d, price_units low, price_units high)
{
	for (uint32_t i = 0; i < d->n; i++) {
		const price_row *r = &d->rows[i];
		if (r->kind == PRICE_IMAGE && r->tier == TIER_STANDARD) {
			low = r->price < low ? r->price : low;
			high = r->price > high ? r->price : high;
		}
	}
	d->model.image_sizes = low != high;
	price_row row = { low, -1, PRICE_IMAGE, TIER_STANDARD, true };
	row_put(d, &row);
}

bool price_model_read(json_iter *it, slice name, price_draft *d)
{
	json_member m;
	json_step step;
	about a = { .max_tokens = -1 };
	price_units low = -1, high = -1; /* of pictures by size */

	*d = (price_draft){ .good = true, .model = { .input_max = -1, .output_max = -1 } };
	while ((step = json_next(it, &m)) == JSON_MEMBER) {
		price_row row;
		price_units price = 0;
		if (about_take(d, &m, &a))
			continue;
		if (m.type != JSON_NULL && price_member_read(m.key, &row) == PRICE_MEMBER_PRICE &&
		    row.kind == PRICE_SIZED_IMAGE) {
			d->good = price_number_read(&m, 1000, &price) && d->good;
			low = low < 0 || price < low ? price : low;
			high = price > high ? price : high;
			continue;
		}
		price_take(d, &m, -1);
	}
	if (step != JSON_DONE)
		return false;
	if (a.tiers.len)
		tiers_read(d, a.tiers);
	if (a.searches.len)
		searches_read(d, a.searches);
	if (high >= 0)
		image_sizes_settle(d, low, high);
	prices_settle(d, name, &a);
	if (!d->good)
		d->n = 0;
	return true;
}

bool price_models_agree(const price_table *t, uint32_t a, uint32_t b)
{
	const price_model *left = &t->models[a], *right = &t->models[b];

	if (left->rows != right->rows || left->other_len != right->other_len ||
	    left->image_sizes != right->image_sizes || left->search_sizes != right->search_sizes ||
	    left->search_always != right->search_always || left->search_once != right->search_once ||
	    memcmp(t->written + left->other, t->written + right->other, left->other_len) != 0)
		return false;
	for (uint32_t i = 0; i < left->rows; i++) {
		bool same = false;
		const price_row *l = &t->rows[left->row + i];
		for (uint32_t k = 0; !same && k < right->rows; k++) {
			const price_row *r = &t->rows[right->row + k];
			same = l->kind == r->kind && l->tier == r->tier && l->above == r->above && l->price == r->price;
		}
		if (!same)
			return false;
	}
	return true;
}
