/* SPDX-License-Identifier: MIT
 *
 * What a record cost and saved. */
#include "ledger/price_table.h"

#include <stdio.h>

typedef struct tokens {
	int64_t input, output, read, write, saved;
} tokens;

/* What a request costs by the prices of one model. */
typedef struct bill {
	const price_table *t;
	const price_model *m;
	const usage_parts *parts;
	int64_t prompt;
	int16_t own[PRICE_KINDS],
		standard[PRICE_KINDS]; /* rows of the model: of this tier, of the standard one; -1: none */
	price_units cost;
	price_units cached, uncached; /* what cached tokens cost, and what they would have cost otherwise */
	bool any;                     /* something has a price */
	bool tier_missing;            /* a price of another service tier was taken */
	uint32_t missing;             /* a bit for each kind */
	int64_t counts[PRICE_KINDS];  /* of what charge() has charged */
} bill;

_Static_assert(PRICE_KINDS <= 32, "each kind has a bit");
_Static_assert(PRICE_ROWS_MAX <= INT16_MAX, "each row has a number");

typedef struct found {
	price_units price; /* -1: none */
	int64_t above;
	bool borrowed; /* it is that of another service tier, or of a smaller prompt in this one */
} found;

static int64_t bounded(int64_t count, int64_t min, int64_t max)
{
	return count < min ? min : count > max ? max : count;
}

/* Finds the row that holds for each kind, and that of the standard tier. Rows are ordered by `above`, so the last one
 * that holds is the right one. */
static void find_rows(bill *b)
{
	memset(b->own, 0xff, sizeof b->own);
	memset(b->standard, 0xff, sizeof b->standard);
	for (uint32_t i = 0; i < b->m->rows; i++) {
		const price_row *r = &b->t->rows[b->m->row + i];
		if (r->above >= b->prompt)
			break;
		if (r->tier == b->parts->tier)
			b->own[r->kind] = (int16_t)i;
		if (r->tier == TIER_STANDARD)
			b->standard[r->kind] = (int16_t)i;
	}
}

static inline found price_find(const bill *b, price_kind kind)
{
	const price_row *rows = &b->t->rows[b->m->row];
	int own = b->own[kind], standard = b->standard[kind];

	if (own >= 0)
		return (found){ rows[own].price, rows[own].above,
				standard >= 0 && rows[standard].above > rows[own].above };
	if (standard >= 0)
		return (found){ rows[standard].price, rows[standard].above, true };
	return (found){ -1, -1, false };
}

static void miss(bill *b, price_kind kind)
{
	b->missing |= 1u << kind;
}

/* The kind that tokens would have been of without a cache. */
static price_kind without_cache(const bill *b, price_kind kind)
{
	price_kind other = kind == PRICE_AUDIO_READ || kind == PRICE_AUDIO_WRITE ? PRICE_AUDIO_INPUT :
			   kind == PRICE_IMAGE_READ                              ? PRICE_IMAGE_INPUT :
										   PRICE_INPUT;
	return price_find(b, other).price < 0 ? PRICE_INPUT : other;
}

static bool is_cached(price_kind kind)
{
	return kind == PRICE_READ || kind == PRICE_AUDIO_READ || kind == PRICE_IMAGE_READ || kind == PRICE_WRITE ||
	       kind == PRICE_WRITE_1H || kind == PRICE_AUDIO_WRITE;
}

static void charge(bill *b, price_kind kind, int64_t count)
{
	if (count == 0)
		return;
	found f = price_find(b, kind);
	if (f.price < 0) {
		miss(b, kind);
		return;
	}
	b->any = true;
	b->tier_missing |= f.borrowed;
	b->cost += f.price * count;
	b->counts[kind] += count;
	if (is_cached(kind)) {
		found plain = price_find(b, without_cache(b, kind));
		b->cached += f.price * count;
		b->uncached += (plain.price < 0 ? f.price : plain.price) * count;
	}
}

/* Charges the `told` tokens of a part at its own price. Returns the tokens that are left for the price of `whole`: a
 * part without a price of its own stays among them. */
static int64_t part_charge(bill *b, price_kind part, int64_t told, price_kind whole, int64_t rest)
{
	if (rest == 0)
		return 0;
	found own = price_find(b, part), other = price_find(b, whole);
	if (own.price < 0) {
		if (told > 0 && part != PRICE_REASONING)
			miss(b, part);
		return rest;
	}
	if (told < 0 && own.price != other.price)
		miss(b, part);
	int64_t n = bounded(told, 0, rest);
	/* The whole costs more from a longer prompt on; of the part the file does not say. */
	if (n > 0 && own.above < other.above)
		miss(b, part);
	charge(b, part, n);
	return rest - n;
}

/* Charges audio that was heard: by its tokens, else by its seconds. Returns the tokens that are left. */
static int64_t audio_charge(bill *b, const tokens *n, int64_t rest)
{
	const usage_parts *p = b->parts;
	found second = price_find(b, PRICE_SECOND);

	if (second.price < 0 && p->audio_ms > 0 && n->input + n->read + n->output == 0)
		miss(b, PRICE_SECOND);
	if (second.price < 0 || price_find(b, PRICE_AUDIO_INPUT).price >= 0)
		return part_charge(b, PRICE_AUDIO_INPUT, p->audio_input, PRICE_INPUT, rest);
	if (p->audio_ms < 0) {
		if (second.price > 0 && p->audio_input != 0)
			miss(b, PRICE_SECOND);
		return rest;
	}
	b->any = true;
	b->tier_missing |= second.borrowed;
	int64_t ms = bounded(p->audio_ms, 0, PRICE_PIECES_MAX * 1000);
	b->cost += second.price * (ms / 1000) + (second.price * (ms % 1000) + 500) / 1000;
	return rest - bounded(p->audio_input, 0, rest);
}

static void input_charge(bill *b, const tokens *n)
{
	const usage_parts *p = b->parts;
	int64_t rest = audio_charge(b, n, n->input);

	/* The usage never tells how many pictures the prompt had, nor how many seconds its video. */
	if (n->input > 0 && p->image_input != 0 && price_find(b, PRICE_IMAGE_INPUT).price < 0 &&
	    price_find(b, PRICE_SEEN_IMAGE).price > 0)
		miss(b, PRICE_IMAGE_INPUT);
	if (n->input > 0 && p->video_input != 0 && price_find(b, PRICE_VIDEO_INPUT).price < 0 &&
	    price_find(b, PRICE_SEEN_SECOND).price > 0)
		miss(b, PRICE_VIDEO_INPUT);
	rest = part_charge(b, PRICE_IMAGE_INPUT, p->image_input, PRICE_INPUT, rest);
	rest = part_charge(b, PRICE_VIDEO_INPUT, p->video_input, PRICE_INPUT, rest);
	charge(b, PRICE_INPUT, rest);
	found character = price_find(b, PRICE_CHARACTER);
	if (character.price >= 0 && p->characters < 0)
		miss(b, PRICE_CHARACTER);
	else if (character.price >= 0 || n->input == 0)
		charge(b, PRICE_CHARACTER, bounded(p->characters, 0, PRICE_PIECES_MAX));
	if (n->saved && price_find(b, PRICE_INPUT).price < 0)
		miss(b, PRICE_INPUT);
	else if (n->saved)
		b->any = true;
}

/* Charges tokens that were read from a cache, or written to it: at the price of input if they have none of their own.
 */
static void cache_charge(bill *b, price_kind kind, int64_t rest)
{
	if (rest == 0)
		return;
	found own = price_find(b, kind), input = price_find(b, PRICE_INPUT);
	if (rest > 0 && (own.price < 0 || own.above < input.above))
		miss(b, kind);
	charge(b, own.price < 0 ? PRICE_INPUT : kind, rest);
}

static void caches_charge(bill *b, const tokens *n)
{
	int64_t rest = part_charge(b, PRICE_AUDIO_READ, b->parts->audio_read, PRICE_READ, n->read);

	rest = part_charge(b, PRICE_IMAGE_READ, -1, PRICE_READ, rest);
	cache_charge(b, PRICE_READ, rest);
	rest = part_charge(b, PRICE_WRITE_1H, b->parts->write_1h, PRICE_WRITE, n->write);
	rest = part_charge(b, PRICE_AUDIO_WRITE, -1, PRICE_WRITE, rest);
	cache_charge(b, PRICE_WRITE, rest);
}

/* Charges pictures that were made: by their tokens, else by their number. Returns the tokens that are left. */
static int64_t images_charge(bill *b, int64_t rest)
{
	const usage_parts *p = b->parts;
	found token = price_find(b, PRICE_IMAGE_OUTPUT), each = price_find(b, PRICE_IMAGE);

	if (token.price >= 0 && p->image_output < 0 && price_find(b, PRICE_OUTPUT).price < 0) {
		charge(b, PRICE_IMAGE_OUTPUT, rest); /* a model that makes nothing else */
		return 0;
	}
	if (token.price >= 0 && (p->image_output >= 0 || p->images < 0 || each.price < 0))
		return part_charge(b, PRICE_IMAGE_OUTPUT, p->image_output, PRICE_OUTPUT, rest);
	if (p->images > 0 && (each.price >= 0 || rest == 0)) {
		if (b->m->image_sizes)
			miss(b, PRICE_IMAGE);
		charge(b, PRICE_IMAGE, bounded(p->images, 0, PRICE_PIECES_MAX));
		return each.price < 0 ? rest : rest - bounded(p->image_output, 0, rest);
	}
	if (each.price > 0 && p->images < 0 && p->image_output != 0)
		miss(b, PRICE_IMAGE);
	return part_charge(b, PRICE_IMAGE_OUTPUT, p->image_output, PRICE_OUTPUT, rest);
}

static void output_charge(bill *b, const tokens *n)
{
	int64_t rest = part_charge(b, PRICE_AUDIO_OUTPUT, b->parts->audio_output, PRICE_OUTPUT, n->output);

	rest = images_charge(b, rest);
	rest = part_charge(b, PRICE_VIDEO_OUTPUT, -1, PRICE_OUTPUT, rest);
	rest = part_charge(b, PRICE_REASONING, b->parts->reasoning, PRICE_OUTPUT, rest);
	charge(b, PRICE_OUTPUT, rest);
}

static void pieces_charge(bill *b)
{
	int64_t searches = b->parts->searches;

	if (searches < 0 && b->m->search_always && price_find(b, PRICE_SEARCH).price > 0)
		miss(b, PRICE_SEARCH);
	if (searches > 0 && b->m->search_sizes)
		miss(b, PRICE_SEARCH);
	charge(b, PRICE_SEARCH, bounded(searches, 0, b->m->search_once ? 1 : PRICE_PIECES_MAX));
	if (price_find(b, PRICE_REQUEST).price >= 0)
		charge(b, PRICE_REQUEST, 1);
}

static bill bill_make(const price_table *t, const price_model *m, const usage_parts *parts, const tokens *n)
{
	bill b = { .t = t, .m = m, .parts = parts, .prompt = n->input + n->read + n->write };

	find_rows(&b);
	input_charge(&b, n);
	caches_charge(&b, n);
	output_charge(&b, n);
	pieces_charge(&b);
	return b;
}

/* Whether a whole group of tokens is missing in the cost, so that nothing can be compared with it. */
static bool lacks_tokens(const bill *b)
{
	return b->missing & (1u << PRICE_INPUT | 1u << PRICE_OUTPUT);
}

static int64_t nano_dollars(price_units u)
{
	const price_units nano = INT64_C(1000000000000000); /* 10^24 / 10^9 */
	price_units half = nano / 2;
	price_units n = u < 0 ? -((half - u) / nano) : (u + half) / nano;

	return n > INT64_MAX ? INT64_MAX : n < INT64_MIN ? INT64_MIN : (int64_t)n;
}

/* ---- what is missing */

/* Adds `name` to the list in `r`, or `...` if there is no room for it. */
static void missing_add(record *r, slice name)
{
	size_t used = strlen(r->price_missing), room = sizeof r->price_missing - used;

	if (slice_ends(slice_cstr(r->price_missing), SLICE("...")))
		return;
	if (name.len + 1 + sizeof(",...") > room)
		name = SLICE("...");
	snprintf(r->price_missing + used, room, "%s%.*s", used ? "," : "", (int)name.len, name.ptr);
}

static void missing_write(const bill *b, record *r)
{
	static const char *const tiers[] = { "", "batch", "flex", "priority", "tier" };
	char other[RECORD_LABEL_MAX + 1] = "";

	for (unsigned kind = 0; kind < PRICE_KINDS; kind++)
		if (b->missing & 1u << kind)
			missing_add(r, slice_cstr(price_kind_name((price_kind)kind)));
	if (b->tier_missing)
		missing_add(r, slice_cstr(tiers[b->parts->tier]));
	for (uint32_t i = 0; i < b->m->other_len; i++) {
		char c = b->t->written[b->m->other + i];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
		other[i] = plain ? c : '_';
	}
	if (*other)
		missing_add(r, slice_cstr(other));
}

/* ---- a record */

void price_apply(const price_table *t, record *r, const usage_parts *parts, slice reference_model)
{
	const int64_t max = PRICE_TOKENS_MAX;
	tokens n = { bounded(r->input, 0, max), bounded(r->output, 0, max), bounded(r->cache_read, 0, max),
		     bounded(r->cache_write, 0, max), bounded(r->saved, -max, max) };
	const price_model *m = price_model_find(t, slice_cstr(r->model));
	const price_model *reference = price_model_find(t, reference_model);
	bool pieces = parts->images > 0 || parts->characters > 0 || parts->audio_ms > 0 || parts->searches > 0;

	r->cost = r->saved_compression = r->saved_cache = r->saved_routing = 0;
	r->price = PRICE_NONE;
	r->price_missing[0] = '\0';
	bool nothing = !n.input && !n.output && !n.read && !n.write && !n.saved && !pieces && parts->cost < 0;
	if (nothing || r->usage == USAGE_UNKNOWN)
		return;
	r->price = PRICE_UNPRICED;
	bill b = { 0 };
	if (m)
		b = bill_make(t, m, parts, &n);
	if (parts->cost >= 0) { /* the provider's own figure needs no price */
		r->cost = parts->cost;
		r->price = PRICE_TABLE;
	} else if (b.any) {
		r->cost = nano_dollars(b.cost);
		missing_write(&b, r);
		r->price = *r->price_missing ? PRICE_PARTIAL : PRICE_TABLE;
	}
	if (!b.any)
		return;
	found input = price_find(&b, PRICE_INPUT);
	if (input.price >= 0) {
		r->saved_compression = nano_dollars(n.saved * input.price);
		r->saved_cache = nano_dollars(b.uncached - b.cached);
	}
	tokens used = n;
	used.saved = 0;
	if (!reference || lacks_tokens(&b))
		return;
	bill other = bill_make(t, reference, parts, &used);
	if (!other.any || lacks_tokens(&other))
		return;
	/* The provider's figure is whole nano-dollars. */
	const price_units nano = INT64_C(1000000000000000);
	price_units cost = parts->cost >= 0 ? parts->cost * nano : b.cost;
	r->saved_routing = nano_dollars(other.cost - cost);
}

size_t price_bill(const price_table *t, const record *r, price_item items[PRICE_ITEMS_MAX], int64_t *cost)
{
	const int64_t max = PRICE_TOKENS_MAX;
	const tokens n = { bounded(r->input, 0, max), bounded(r->output, 0, max), bounded(r->cache_read, 0, max),
			   bounded(r->cache_write, 0, max), 0 };
	const usage_parts parts = usage_parts_untold();
	const price_model *m = t ? price_model_find(t, slice_cstr(r->model)) : NULL;
	price_units sum = 0;
	size_t count = 0;

	_Static_assert((int)PRICE_KINDS <= (int)PRICE_ITEMS_MAX, "each kind is an item");
	if (!m)
		return 0;
	const bill b = bill_make(t, m, &parts, &n);
	for (price_kind kind = 0; kind < PRICE_KINDS; kind++) {
		if (!b.counts[kind])
			continue;
		price_units price = price_find(&b, kind).price;
		sum += price * b.counts[kind];
		items[count++] = (price_item){ price_kind_name(kind), b.counts[kind], nano_dollars(price * 1000000),
					       nano_dollars(price * b.counts[kind]) };
	}
	*cost = nano_dollars(b.cost);
	return sum == b.cost ? count : 0;
}
