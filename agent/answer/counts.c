/* SPDX-License-Identifier: MIT */
#include "answer/counts.h"

#include <inttypes.h>
#include <stdio.h>

void counts_init(answer_counts *c)
{
	*c = (answer_counts){ .ollama_in = -1,
			      .ollama_out = -1,
			      .llama_in = -1,
			      .llama_out = -1,
			      .titan_in = -1,
			      .titan_out = -1,
			      .vertex = -1,
			      .images = -1 };
}

void counts_element(answer_counts *c)
{
	c->elements++;
	c->picture = false;
}

/* Adds a count to `*sum`, which is -1 before the first. False: it is no count. */
static bool add(int64_t *sum, slice number)
{
	int64_t n;

	if (!json_whole(number, &n) || n < 0 || (*sum >= 0 && n > INT64_MAX - *sum))
		return false;
	*sum = (*sum < 0 ? 0 : *sum) + n;
	return true;
}

static void set(int64_t *count, slice number)
{
	*count = -1;
	add(count, number);
}

static void take_number(answer_counts *c, place_what what, slice number)
{
	switch ((int)what) {
	case PLACE_OLLAMA_IN:
		set(&c->ollama_in, number);
		break;
	case PLACE_OLLAMA_OUT:
		set(&c->ollama_out, number);
		break;
	case PLACE_LLAMA_IN:
		set(&c->llama_in, number);
		break;
	case PLACE_LLAMA_OUT:
		set(&c->llama_out, number);
		break;
	case PLACE_TITAN_IN:
		set(&c->titan_in, number);
		break;
	case PLACE_TITAN_OUT:
		c->counted += add(&c->titan_out, number);
		break;
	case PLACE_VERTEX:
		c->counted += add(&c->vertex, number);
		break;
	case PLACE_SECONDS:
		c->seconds_len = number.len <= sizeof c->seconds ? (unsigned char)number.len : 0;
		memcpy(c->seconds, number.ptr, c->seconds_len);
		break;
	default:
		break;
	}
}

void counts_take(answer_counts *c, place_what what, json_type type, slice value)
{
	if (what == PLACE_PICTURE && !c->picture) {
		c->picture = true;
		c->images = (c->images < 0 ? 0 : c->images) + 1;
	} else if (what == PLACE_TEXT) {
		c->text = type == JSON_STRING;
	} else if (type == JSON_NUMBER) {
		take_number(c, what, value);
	}
}

/* Writes the counts `in` and `out` with their names; one that is -1 is left out. */
static size_t write_two(char *room, const char *in_name, int64_t in, const char *out_name, int64_t out)
{
	int len = snprintf(room, COUNTS_TEXT_MAX, "{");

	if (in >= 0)
		len += snprintf(room + len, COUNTS_TEXT_MAX - (size_t)len, "\"%s\":%" PRId64, in_name, in);
	if (out >= 0)
		len += snprintf(room + len, COUNTS_TEXT_MAX - (size_t)len, "%s\"%s\":%" PRId64, len > 1 ? "," : "",
				out_name, out);
	len += snprintf(room + len, COUNTS_TEXT_MAX - (size_t)len, "}");
	return (size_t)len;
}

size_t counts_write(const answer_counts *c, char room[COUNTS_TEXT_MAX])
{
	/* If one of several results has no count, their sum is too small. */
	bool summed = c->elements == c->counted;

	if (c->ollama_in >= 0 || c->ollama_out >= 0)
		return write_two(room, "prompt_eval_count", c->ollama_in, "eval_count", c->ollama_out);
	if (c->llama_in >= 0 || c->llama_out >= 0)
		return write_two(room, "prompt_token_count", c->llama_in, "generation_token_count", c->llama_out);
	if (c->titan_in >= 0)
		return write_two(room, "inputTextTokenCount", c->titan_in, "outputTextTokenCount",
				 summed ? c->titan_out : -1);
	if (c->vertex >= 0 && summed)
		return write_two(room, "prompt_tokens", c->vertex, "total_tokens", c->vertex);
	if (c->images >= 0)
		return write_two(room, "images", c->images, "", -1);
	if (c->text && c->seconds_len)
		return (size_t)snprintf(room, COUNTS_TEXT_MAX, "{\"type\":\"duration\",\"seconds\":%.*s}",
					c->seconds_len, c->seconds);
	return 0;
}

size_t counts_of_metrics(slice metrics, char room[COUNTS_TEXT_MAX])
{
	static const struct {
		slice theirs;
		const char *ours;
	} names[] = {
		{ SLICE_INIT("inputTokenCount"), "inputTokens" },
		{ SLICE_INIT("outputTokenCount"), "outputTokens" },
		{ SLICE_INIT("cacheReadInputTokenCount"), "cacheReadInputTokens" },
		{ SLICE_INIT("cacheWriteInputTokenCount"), "cacheWriteInputTokens" },
	};
	json_iter it;
	json_member m;
	int64_t n;
	int len = 0;
	unsigned seen = 0;

	json_iter_init(&it, metrics);
	while (json_next(&it, &m) == JSON_MEMBER)
		for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
			if (!json_key_is(m.key, names[i].theirs) || !json_whole(m.value, &n) || n < 0)
				continue;
			if (seen >> i & 1) /* two counts of one thing */
				return 0;
			seen |= 1u << i;
			len += snprintf(room + len, COUNTS_TEXT_MAX - (size_t)len, "%s\"%s\":%" PRId64, len ? "," : "{",
					names[i].ours, n);
		}
	if (len)
		len += snprintf(room + len, COUNTS_TEXT_MAX - (size_t)len, "}");
	return (size_t)len;
}

bool counts_meta_tells(slice meta)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, meta);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (json_key_is(m.key, SLICE("billed_units")) || json_key_is(m.key, SLICE("tokens")))
			return true;
	return false;
}
