/* SPDX-License-Identifier: MIT */
#include "decide/answer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"

/* What the members of the outermost object told. */
typedef struct outermost {
	slice usage; /* the value of `usage` or `usageMetadata` */
	bool twice;  /* there are two that differ, or one is null */
	slice meta;
	slice text, duration;
	bool untold; /* one of several results has no count, so that their sum is too small */
	int64_t eval_in, eval_out, llama_in, llama_out, titan_in, titan_out, vertex, images; /* -1: not told */
} outermost;

static bool named(const json_member *m, const char *name)
{
	return json_key_is(m->key, slice_cstr(name));
}

/* Adds a count to `*sum`, which is -1 before the first. */
static void add(int64_t *sum, slice number)
{
	int64_t n;

	if (json_whole(number, &n) && n >= 0 && (*sum < 0 || n <= INT64_MAX - *sum))
		*sum = (*sum < 0 ? 0 : *sum) + n;
}

static void set(int64_t *count, slice number)
{
	*count = -1;
	add(count, number);
}

/* Finds the member `name` of `object`. False: it has none. */
static bool member_of(slice object, const char *name, json_member *m)
{
	json_iter it;

	json_iter_init(&it, object);
	while (json_next(&it, m) == JSON_MEMBER)
		if (named(m, name))
			return true;
	return false;
}

static bool has(slice object, const char *name)
{
	json_member m;

	return member_of(object, name, &m);
}

/* Calls `take` for each object of `array`. */
static void each(slice array, void (*take)(slice object, outermost *o), outermost *o)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, array);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (m.type == JSON_OBJECT)
			take(m.value, o);
}

static void take_picture(slice object, outermost *o)
{
	if (has(object, "b64_json") || has(object, "url"))
		add(&o->images, SLICE("1"));
}

static void take_titan(slice object, outermost *o)
{
	json_member m;

	if (member_of(object, "tokenCount", &m))
		add(&o->titan_out, m.value);
	else
		o->untold = true;
}

static void take_prediction(slice object, outermost *o)
{
	json_member m;

	if (has(object, "bytesBase64Encoded"))
		add(&o->images, SLICE("1"));
	if (member_of(object, "embeddings", &m) && m.type == JSON_OBJECT && member_of(m.value, "statistics", &m) &&
	    m.type == JSON_OBJECT && member_of(m.value, "token_count", &m))
		add(&o->vertex, m.value);
	else
		o->untold = true;
}

static void take_usage(const json_member *m, outermost *o)
{
	bool null = m->type == JSON_NULL;

	if (o->usage.len && (null || !slice_eq(o->usage, m->value)))
		o->twice = true;
	o->usage = m->value;
}

static void take_number(const json_member *m, outermost *o)
{
	if (named(m, "prompt_eval_count"))
		set(&o->eval_in, m->value);
	else if (named(m, "eval_count"))
		set(&o->eval_out, m->value);
	else if (named(m, "prompt_token_count"))
		set(&o->llama_in, m->value);
	else if (named(m, "generation_token_count"))
		set(&o->llama_out, m->value);
	else if (named(m, "inputTextTokenCount"))
		set(&o->titan_in, m->value);
	else if (named(m, "duration"))
		o->duration = m->value;
}

static void take(const json_member *m, outermost *o, answer_told *told)
{
	json_member inside;

	if (named(m, "usage") || named(m, "usageMetadata"))
		take_usage(m, o);
	else if (m->type == JSON_STRING && named(m, "service_tier"))
		told->tier = slice_of(m->value.ptr + 1, m->value.len - 2);
	else if (m->type == JSON_OBJECT && named(m, "serviceTier") && member_of(m->value, "type", &inside) &&
		 inside.type == JSON_STRING) /* Bedrock */
		told->tier = slice_of(inside.value.ptr + 1, inside.value.len - 2);
	else if (m->type == JSON_STRING && named(m, "text"))
		o->text = m->value;
	else if (m->type == JSON_OBJECT && named(m, "meta"))
		o->meta = m->value;
	else if (m->type == JSON_NUMBER)
		take_number(m, o);
	else if (m->type == JSON_ARRAY && named(m, "data"))
		each(m->value, take_picture, o);
	else if (m->type == JSON_ARRAY && named(m, "results"))
		each(m->value, take_titan, o);
	else if (m->type == JSON_ARRAY && named(m, "predictions"))
		each(m->value, take_prediction, o);
}

static void tell(answer_told *told, slice object)
{
	told->usage_len = object.len < ANSWER_USAGE_MAX ? object.len : ANSWER_USAGE_MAX;
	memcpy(told->usage, object.ptr, told->usage_len);
}

/* Tells the counts `input` and `output` under the names `in` and `out`; one that is -1 is left out. */
static void tell_counts(answer_told *told, const char *in, int64_t input, const char *out, int64_t output)
{
	char text[256];
	int len = snprintf(text, sizeof text, "{");

	if (input >= 0)
		len += snprintf(text + len, sizeof text - (size_t)len, "\"%s\":%" PRId64, in, input);
	if (output >= 0)
		len += snprintf(text + len, sizeof text - (size_t)len, "%s\"%s\":%" PRId64, len > 1 ? "," : "", out,
				output);
	len += snprintf(text + len, sizeof text - (size_t)len, "}");
	tell(told, slice_of(text, (size_t)len));
}

static void tell_seconds(answer_told *told, slice seconds)
{
	char text[JSON_NUMBER_MAX + 64];

	if (seconds.len > JSON_NUMBER_MAX)
		return;
	int len = snprintf(text, sizeof text, "{\"type\":\"duration\",\"seconds\":%.*s}", (int)seconds.len,
			   seconds.ptr);
	tell(told, slice_of(text, (size_t)len));
}

/* Makes a usage object of what the members of the outermost object told. */
static void conclude(const outermost *o, answer_told *told)
{
	if (o->twice)
		return;
	if (o->usage.len && o->usage.ptr[0] == '{')
		tell(told, o->usage);
	else if (o->usage.len)
		return;
	else if (o->meta.len && (has(o->meta, "billed_units") || has(o->meta, "tokens")))
		tell(told, o->meta);
	else if (o->eval_in >= 0 || o->eval_out >= 0)
		tell_counts(told, "prompt_eval_count", o->eval_in, "eval_count", o->eval_out);
	else if (o->llama_in >= 0 || o->llama_out >= 0)
		tell_counts(told, "prompt_token_count", o->llama_in, "generation_token_count", o->llama_out);
	else if (o->titan_in >= 0)
		tell_counts(told, "inputTextTokenCount", o->titan_in, "outputTextTokenCount",
			    o->untold ? -1 : o->titan_out);
	else if (o->vertex >= 0 && !o->untold)
		tell_counts(told, "prompt_tokens", o->vertex, "total_tokens", o->vertex);
	else if (o->images >= 0)
		tell_counts(told, "images", o->images, "", -1);
	else if (o->text.len && o->duration.len)
		tell_seconds(told, o->duration);
}

/* Reads the outermost object, which may be cut. */
static void read_object(slice object, answer_told *told)
{
	outermost o = { .eval_in = -1,
			.eval_out = -1,
			.llama_in = -1,
			.llama_out = -1,
			.titan_in = -1,
			.titan_out = -1,
			.vertex = -1,
			.images = -1 };
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		take(&m, &o, told);
	/* A usage object in front of the cut is whole. Sums and pairs of counts may have parts behind it. */
	if (step == JSON_CUT)
		o.meta = o.duration = (slice){ NULL, 0 };
	if (step == JSON_CUT)
		o.eval_in = o.eval_out = o.llama_in = o.llama_out = o.titan_in = o.vertex = o.images = -1;
	if (step != JSON_BAD)
		conclude(&o, told);
	/* What was cut off may tell another usage, or the service tier. A usage object without its end is a lower
	 * bound. */
	if (step == JSON_CUT && told->usage_len)
		told->usage[told->usage_len - 1] = ',';
}

/* Reads the last object of an array, if the whole array is there. Gemini's pieces of one answer each have the sum so
 * far; of other arrays each element is an answer of its own, and the last one does not tell of the rest. */
static void read_array(slice array, answer_told *told)
{
	slice last = { NULL, 0 };
	size_t n = 0;
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, array);
	for (; (step = json_next(&it, &m)) == JSON_MEMBER; n++)
		last = m.value;
	if (step == JSON_DONE && last.len && last.ptr[0] == '{' && (n == 1 || has(last, "usageMetadata")))
		read_object(last, told);
}

static slice without_space(slice s)
{
	s = slice_from(s, json_skip_space(s, 0));
	while (s.len && json_space(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Reads the last line. */
static void read_lines(slice text, answer_told *told)
{
	text = without_space(text);
	const char *feed = text.len ? memrchr(text.ptr, '\n', text.len) : NULL;
	slice last = feed ? slice_from(text, (size_t)(feed + 1 - text.ptr)) : text;

	if (last.len && last.ptr[last.len - 1] == '}')
		read_object(last, told);
}

/* Reads the object of one event. True: it is no ping. */
static bool read_event(slice object, answer_told *told)
{
	json_member m;

	if (member_of(object, "type", &m) && slice_eq(m.value, SLICE("\"ping\"")))
		return false;
	if (member_of(object, "message", &m) && m.type == JSON_OBJECT)
		read_object(m.value, told);
	else
		read_object(object, told);
	return true;
}

/* Reads the first event that is no ping, if it is there as a whole. */
static void read_first_event(slice text, answer_told *told)
{
	for (size_t at = 0; at < text.len && !told->settled;) {
		size_t end = slice_find(text, at, '\n');
		slice line = slice_of(text.ptr + at, end - at);
		if (end == text.len)
			break;
		at = end + 1;
		if (slice_starts(line, SLICE("data:")))
			told->settled = read_event(slice_from(line, 5), told);
	}
}

static void read_first_element(slice text, answer_told *told)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, text);
	json_step step = json_next(&it, &m);
	told->settled = step != JSON_CUT;
	if (step == JSON_MEMBER && m.type == JSON_OBJECT)
		read_object(m.value, told);
}

void answer_read(slice text, answer_kind kind, answer_told *told)
{
	static const slice mark = SLICE_INIT("\xef\xbb\xbf");

	*told = (answer_told){ .usage_len = 0 };
	if (slice_starts(text, mark))
		text = slice_from(text, mark.len);
	size_t begin = json_skip_space(text, 0);
	bool array = begin < text.len && text.ptr[begin] == '[';
	if (kind == ANSWER_FIRST)
		(array ? read_first_element : read_first_event)(text, told);
	else if (kind == ANSWER_LINES)
		read_lines(text, told);
	else
		(array ? read_array : read_object)(text, told);
	if (told->tier.len > ANSWER_TIER_MAX)
		told->tier.len = ANSWER_TIER_MAX;
}
