/* SPDX-License-Identifier: MIT
 *
 * The names of prices: a kind, then in any order from which prompt on the price holds, how long a cache keeps what is
 * written to it, and the service tier. */
#include "ledger/price_table.h"

#define COUNT_OF(list) (sizeof(list) / sizeof(list)[0])

const char *price_kind_name(price_kind kind)
{
	static const char *const names[PRICE_KINDS] = {
		[PRICE_INPUT] = "input",
		[PRICE_OUTPUT] = "output",
		[PRICE_READ] = "cache_read",
		[PRICE_WRITE] = "cache_write",
		[PRICE_WRITE_1H] = "write_1h",
		[PRICE_AUDIO_INPUT] = "audio_input",
		[PRICE_IMAGE_INPUT] = "image_input",
		[PRICE_VIDEO_INPUT] = "video_input",
		[PRICE_AUDIO_READ] = "audio_read",
		[PRICE_IMAGE_READ] = "image_read",
		[PRICE_AUDIO_WRITE] = "audio_write",
		[PRICE_AUDIO_OUTPUT] = "audio_output",
		[PRICE_IMAGE_OUTPUT] = "image_output",
		[PRICE_VIDEO_OUTPUT] = "video_output",
		[PRICE_REASONING] = "reasoning",
		[PRICE_IMAGE] = "images",
		[PRICE_CHARACTER] = "characters",
		[PRICE_SECOND] = "audio_seconds",
		[PRICE_SEARCH] = "searches",
		[PRICE_REQUEST] = "request",
		[PRICE_SEEN_IMAGE] = "image_input",
		[PRICE_SEEN_SECOND] = "video_input",
		[PRICE_MADE_SECOND] = "output_seconds",
		[PRICE_MADE_LETTER] = "output_characters",
		[PRICE_SIZED_IMAGE] = "images",
	};

	return names[kind];
}

static const struct kind_key {
	slice key;
	price_kind kind;
	bool alias;
} kind_keys[] = {
	/* The first key that a name begins with counts, so a longer key stands before its own beginning. */
	{ SLICE_INIT("input_cost_per_token_cache_hit"), PRICE_READ, true },
	{ SLICE_INIT("cache_read_input_token_cost"), PRICE_READ, false },
	{ SLICE_INIT("cache_read_input_audio_token_cost"), PRICE_AUDIO_READ, false },
	{ SLICE_INIT("cache_read_input_image_token_cost"), PRICE_IMAGE_READ, false },
	{ SLICE_INIT("cache_creation_input_token_cost"), PRICE_WRITE, false },
	{ SLICE_INIT("cache_creation_input_audio_token_cost"), PRICE_AUDIO_WRITE, false },
	{ SLICE_INIT("input_cost_per_token"), PRICE_INPUT, false },
	{ SLICE_INIT("input_cost_per_audio_token"), PRICE_AUDIO_INPUT, false },
	{ SLICE_INIT("input_cost_per_image_token"), PRICE_IMAGE_INPUT, false },
	{ SLICE_INIT("input_cost_per_video_token"), PRICE_VIDEO_INPUT, false },
	{ SLICE_INIT("input_cost_per_audio_per_second"), PRICE_SECOND, false },
	{ SLICE_INIT("input_cost_per_video_per_second"), PRICE_SEEN_SECOND, false },
	{ SLICE_INIT("input_cost_per_second"), PRICE_SECOND, true },
	{ SLICE_INIT("input_cost_per_image"), PRICE_SEEN_IMAGE, false },
	{ SLICE_INIT("input_cost_per_character"), PRICE_CHARACTER, false },
	{ SLICE_INIT("input_cost_per_query"), PRICE_SEARCH, false },
	{ SLICE_INIT("input_cost_per_request"), PRICE_REQUEST, false },
	{ SLICE_INIT("output_cost_per_token"), PRICE_OUTPUT, false },
	{ SLICE_INIT("output_cost_per_audio_token"), PRICE_AUDIO_OUTPUT, false },
	{ SLICE_INIT("output_cost_per_image_token"), PRICE_IMAGE_OUTPUT, false },
	{ SLICE_INIT("output_cost_per_video_token"), PRICE_VIDEO_OUTPUT, false },
	{ SLICE_INIT("output_cost_per_reasoning_token"), PRICE_REASONING, false },
	{ SLICE_INIT("output_cost_per_video_per_second"), PRICE_MADE_SECOND, false },
	{ SLICE_INIT("output_cost_per_second"), PRICE_MADE_SECOND, false },
	{ SLICE_INIT("output_cost_per_character"), PRICE_MADE_LETTER, false },
	{ SLICE_INIT("output_cost_per_image"), PRICE_IMAGE, false },
};

/* Takes `word` off the front of `*s`, without regard to case. */
static bool word_take(slice *s, const char *word)
{
	if (!slice_istarts(*s, slice_cstr(word)))
		return false;
	*s = slice_from(*s, strlen(word));
	return true;
}

static bool one_taken(slice *s, const char *const *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (word_take(s, words[i]))
			return true;
	return false;
}

/* Whether a word of a name ends where `s` begins. */
static bool word_ended(slice s)
{
	return s.len == 0 || s.ptr[0] == '_';
}

/* Reads a number, as 200, 272000, 200_000 or 0.5, times a million, so that its fraction is whole. */
static bool millionths_take(slice *s, int64_t *out)
{
	int64_t n = 0, scale = 1000000;
	bool point = false, any = false;
	size_t at = 0;

	for (; at < s->len; at++) {
		char c = s->ptr[at];
		bool digit_next = at + 1 < s->len && ascii_is_digit(s->ptr[at + 1]);
		if (c == '.' && !point && any && digit_next) {
			point = true;
			continue;
		}
		if (c == '_' && any && !point && digit_next)
			continue;
		if (!ascii_is_digit(c))
			break;
		any = true;
		if (point && scale == 1)
			return false;
		if (point)
			scale /= 10;
		n = n * 10 + (c - '0');
		if (n > INT64_C(1000000000))
			return false;
	}
	*s = slice_from(*s, at);
	*out = n * scale;
	return any;
}

/* Reads what follows `_above_`: a number of tokens, or how long a cache keeps. */
static bool above_take(slice *s, price_row *row)
{
	static const char *const thousand[] = { "thousand", "k" };
	static const char *const million[] = { "million", "mio", "m" };
	static const char *const hours[] = { "hours", "hour", "hrs", "hr", "h" };
	static const char *const minutes[] = { "minutes", "minute", "mins", "min", "m" };
	static const char *const tokens[] = {
		"_input_tokens", "_prompt_tokens", "_tokens", "_token", "tokens", "token"
	};
	int64_t number = 0, factor = 1;

	if (!millionths_take(s, &number))
		return false;
	slice unit = s->len && s->ptr[0] == '_' ? slice_from(*s, 1) : *s, rest = unit;
	if (row->kind == PRICE_WRITE) {
		slice minute = unit;
		int64_t seconds = 0;
		if (one_taken(&rest, hours, COUNT_OF(hours)) && word_ended(rest)) {
			seconds = 3600;
		} else if (one_taken(&minute, minutes, COUNT_OF(minutes)) && word_ended(minute) &&
			   !slice_istarts(minute, SLICE("_token"))) {
			seconds = 60;
			rest = minute;
		}
		if (seconds) {
			*s = rest;
			seconds = number / 1000000 * seconds;
			if (seconds == 3600)
				row->kind = PRICE_WRITE_1H;
			return number % 1000000 == 0 && (seconds == 3600 || seconds == 300);
		}
	}
	rest = unit;
	if (one_taken(&rest, thousand, COUNT_OF(thousand)))
		factor = 1000;
	else if (one_taken(&rest, million, COUNT_OF(million)))
		factor = 1000000;
	if (factor > 1 && (word_ended(rest) || slice_istarts(rest, SLICE("token"))))
		*s = rest;
	else
		factor = 1;
	one_taken(s, tokens, COUNT_OF(tokens));
	if (!word_ended(*s) || row->above >= 0 || number > INT64_MAX / factor)
		return false;
	row->above = number * factor / 1000000;
	return number * factor % 1000000 == 0;
}

static bool suffixes_take(slice s, price_row *row)
{
	static const char *const above[] = { "_above_", "_over_", "_gt_" };
	static const char *const hour[] = { "_1hr", "_1h" };
	static const char *const batch[] = { "_batch_requests", "_batches", "_batch" };

	while (s.len > 0) {
		service_tier tier = TIER_STANDARD;
		if (one_taken(&s, above, COUNT_OF(above))) {
			if (!above_take(&s, row))
				return false;
			continue;
		}
		if (row->kind == PRICE_WRITE && one_taken(&s, hour, COUNT_OF(hour))) {
			row->kind = PRICE_WRITE_1H;
			if (!word_ended(s))
				return false;
			continue;
		}
		if (one_taken(&s, batch, COUNT_OF(batch)))
			tier = TIER_BATCH;
		else if (word_take(&s, "_flex"))
			tier = TIER_FLEX;
		else if (word_take(&s, "_priority"))
			tier = TIER_PRIORITY;
		if (tier == TIER_STANDARD || row->tier != TIER_STANDARD || !word_ended(s))
			return false;
		row->tier = tier;
	}
	return true;
}

/* Whether `s` is the size of a picture, as _1024, _0.5K, _4K or _1024x1536. */
static bool is_size(slice s)
{
	if (s.len < 2 || s.ptr[0] != '_' || !ascii_is_digit(s.ptr[1]))
		return false;
	for (size_t i = 1; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]) && !slice_has(SLICE(".kKxX_-"), s.ptr[i]))
			return false;
	return true;
}

/* Whether the name of a member is that of a price. What is left out is no price of every request: factors for regions,
 * units of account that are no dollars, and fees for tools, which cost only where they are used. */
static bool is_a_price(slice name)
{
	static const slice words[] = { SLICE_INIT("cost"), SLICE_INIT("price"), SLICE_INIT("pricing"),
				       SLICE_INIT("surcharge"), SLICE_INIT("_fee") };
	static const slice not [] = {
		SLICE_INIT("multiplier"),
		SLICE_INIT("dbu_cost_per_"),
		SLICE_INIT("output_db_cost_per_token"),
		SLICE_INIT("code_interpreter_cost_per_"),
		SLICE_INIT("computer_use_"),
		SLICE_INIT("file_search_cost_per_"),
		SLICE_INIT("vector_store_cost_per_"),
		SLICE_INIT("google_maps_grounding_cost_per_"),
	};
	bool any = false;

	for (size_t i = 0; i < COUNT_OF(words); i++)
		any = any || slice_icontains(name, words[i]);
	for (size_t i = 0; i < COUNT_OF(not ); i++)
		any = any && !slice_icontains(name, not [i]);
	return any;
}

price_member price_member_read(slice name, price_row *row)
{
	for (size_t i = 0; i < COUNT_OF(kind_keys); i++) {
		const struct kind_key *k = &kind_keys[i];
		if (!slice_starts(name, k->key) || !word_ended(slice_from(name, k->key.len)))
			continue;
		slice rest = slice_from(name, k->key.len);
		*row = (price_row){ -1, -1, k->kind, TIER_STANDARD, k->alias };
		if (k->kind == PRICE_IMAGE && is_size(rest)) {
			row->kind = PRICE_SIZED_IMAGE;
			return PRICE_MEMBER_PRICE;
		}
		return suffixes_take(rest, row) ? PRICE_MEMBER_PRICE : PRICE_MEMBER_OTHER;
	}
	return is_a_price(name) ? PRICE_MEMBER_OTHER : PRICE_MEMBER_NONE;
}
