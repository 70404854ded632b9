/* SPDX-License-Identifier: MIT */
#include "answer/answer.h"

#include "answer/counts.h"
#include "answer/place.h"
#include "base/json.h"

/* What the members of one object told. */
typedef struct reading {
	slice usage;
	unsigned rank;    /* of `usage`; 0: there is none */
	unsigned spoiled; /* a bit for each rank: a usage of it is no object, or there are two that differ */
	bool ping;
	slice tier;
	answer_counts counts;
} reading;

static void read_members(slice object, const places *table, reading *r, json_step *end);

static void take_usage(const place *p, const json_member *m, reading *r)
{
	if (m->type != JSON_OBJECT || (p->rank == r->rank && !slice_eq(r->usage, m->value))) {
		r->spoiled |= 1u << p->rank;
	} else if (p->rank > r->rank) {
		r->rank = p->rank;
		r->usage = m->value;
	}
}

static void read_inside(const place *p, const json_member *m, reading *r)
{
	json_iter it;
	json_member element;
	json_step end;

	if (!p->list && m->type == JSON_OBJECT)
		read_members(m->value, p->inside, r, &end);
	if (!p->list || m->type != JSON_ARRAY)
		return;
	json_iter_init(&it, m->value);
	while (json_next(&it, &element) == JSON_MEMBER)
		if (element.type == JSON_OBJECT) {
			counts_element(&r->counts);
			read_members(element.value, p->inside, r, &end);
		}
}

static void take(const place *p, const json_member *m, reading *r)
{
	bool meta = p->what == PLACE_META && m->type == JSON_OBJECT && counts_meta_tells(m->value);

	if (p->what == PLACE_USAGE || meta)
		take_usage(p, m, r);
	else if (p->what == PLACE_TIER && m->type == JSON_STRING)
		r->tier = slice_first(slice_of(m->value.ptr + 1, m->value.len - 2), ANSWER_TIER_MAX);
	else if (p->what == PLACE_TYPE)
		r->ping = slice_eq(m->value, SLICE("\"ping\""));
	else if (p->inside)
		read_inside(p, m, r);
	else
		counts_take(&r->counts, p->what, m->type, m->value);
}

/* Reads an object; its depth is that of the table of places. Sets `*end` to how it ended. */
static void read_members(slice object, const places *table, reading *r, json_step *end)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, object);
	while ((*end = json_next(&it, &m)) == JSON_MEMBER) {
		const place *p = place_find(table, m.key, !m.ascii);
		if (p)
			take(p, &m, r);
	}
}

/* Reads the outermost object, which may be cut. True: it is no ping. */
static bool read_object(slice object, place_in in, answer_told *told)
{
	reading r = { .rank = 0 };
	json_step end;

	counts_init(&r.counts);
	read_members(object, place_outermost(in), &r, &end);
	if (r.ping)
		return false;
	told->tier = r.tier;
	/* A usage object in front of the cut is whole. Sums and pairs of counts may have parts behind it. */
	if (end == JSON_CUT)
		counts_init(&r.counts);
	if (end == JSON_BAD || r.spoiled >> r.rank & 1 || (end == JSON_CUT && r.rank == 1))
		return true;
	told->usage_len = r.usage.len < ANSWER_USAGE_MAX ? r.usage.len : ANSWER_USAGE_MAX;
	if (r.rank)
		memcpy(told->usage, r.usage.ptr, told->usage_len);
	else
		told->usage_len = counts_write(&r.counts, told->usage);
	/* What was cut off may tell another usage, or the service tier. So take the usage object's end off: what reads
	 * an object without its end takes its counts for a lower bound. */
	if (end == JSON_CUT && told->usage_len)
		told->usage[told->usage_len - 1] = ',';
	return true;
}

static bool has_usage_metadata(slice object)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (json_key_is(m.key, SLICE("usageMetadata")))
			return true;
	return false;
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
	if (step == JSON_DONE && last.len && last.ptr[0] == '{' && (n == 1 || has_usage_metadata(last)))
		read_object(last, IN_ANSWER, told);
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
		read_object(last, IN_LINE, told);
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
			told->settled = read_object(slice_from(line, 5), IN_EVENT, told);
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
		read_object(m.value, IN_ELEMENT, told);
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
	else if (array)
		read_array(text, told);
	else
		read_object(text, IN_ANSWER, told);
}

bool answer_is_lines(slice content_type)
{
	static const slice types[] = {
		SLICE_INIT("application/x-ndjson"),    SLICE_INIT("application/ndjson"),
		SLICE_INIT("application/x-jsonl"),     SLICE_INIT("application/jsonl"),
		SLICE_INIT("application/stream+json"), /* Cohere v1 */
	};

	content_type = slice_trim(content_type);
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
		if (slice_istarts(content_type, types[i]))
			return true;
	return false;
}
