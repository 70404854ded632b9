/* SPDX-License-Identifier: MIT */
#include "ledger/logline_impl.h"

static logline_result malformed(logline *out, const char *problem)
{
	out->problem = problem;
	return LOGLINE_MALFORMED;
}

/* Whether the part of a line before its object carries `key`. */
static bool has_key(slice header, slice key)
{
	static const slice mark = SLICE_INIT("[llm@32473 key=\"");

	for (size_t at = slice_find(header, 0, '['); at < header.len; at = slice_find(header, at + 1, '[')) {
		slice rest = slice_from(header, at);
		if (!slice_starts(rest, mark))
			continue;
		slice value = slice_from(rest, mark.len);
		size_t end = slice_find(value, 0, '"');
		if (end == value.len)
			return false;
		value = slice_first(value, end);
		/* Every byte is compared, so that the time tells nothing about how many were right. */
		uint64_t differ = value.len != key.len, x, y;
		size_t i = 0, len = value.len < key.len ? value.len : key.len;
		for (; len - i >= sizeof x; i += sizeof x) {
			memcpy(&x, value.ptr + i, sizeof x);
			memcpy(&y, key.ptr + i, sizeof y);
			differ |= x ^ y;
		}
		for (; i < len; i++)
			differ |= (unsigned char)(value.ptr[i] ^ key.ptr[i]);
		return differ == 0;
	}
	return false;
}

/* An answer that a leg or a pool made in place of the upstream comes to the HAProxy that writes the line as if it came
 * from the upstream; only its code tells. Records it as a line without a leg would have it: no code, no head of an
 * answer, and who ended the request. */
static void leave_out_leg(record *r)
{
	static const struct {
		const char *code, *termination;
	} ends[] = {
		{ "upstream_unavailable", "SC" },
		{ "upstream_error", "SH" },
		{ "upstream_timeout", "sH" },
		{ "gateway_error", "IC" },
	};

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (strcmp(r->code, ends[i].code) == 0) {
			r->code[0] = '\0';
			r->ttfb_ms = -1;
			memcpy(r->termination, ends[i].termination, sizeof "SC");
			return;
		}
}

/* Sets what depends on several members, or on their order of precedence. */
static void complete(logline *out, const reading *rd)
{
	record *r = &out->record;
	const int64_t *num = rd->num;

	r->status = num[F_STATUS] > 0 && num[F_STATUS] < 1000 ? (int32_t)num[F_STATUS] : 0;
	/* The type of the answer decides, if it is known; otherwise what the request asked for. */
	bool stream = !rd->all && (rd->first || rd->type == ANSWER_EVENTS || rd->type == ANSWER_LINES);
	r->stream = stream || (rd->stream && !rd->all);
	if (out->metered && !r->operation[0]) {
		slice usual = strcmp(r->protocol, "gemini") == 0 ? SLICE("generate_content") : SLICE("chat");
		memcpy(r->operation, usual.ptr, usual.len + 1);
	}
	/* The request went to a leg, whose name HAProxy logs. */
	bool leg = out->behind[0] && strncmp(r->backend, "leg.", 4) == 0;
	if (leg)
		memcpy(r->backend, out->behind, sizeof r->backend);
	r->tap = leg && rd->tap ? TAP_MISSING : TAP_NOT;
	out->fallback = out->behind[0] && rd->server && r->tap == TAP_NOT;
	r->bytes_in = num[F_IN];
	r->bytes_out = num[F_OUT];
	r->total_ms = num[F_TA];
	r->time_ms = num[F_TE] - (num[F_TA] > 0 ? num[F_TA] : 0);
	r->ttfb_ms = -1;
	if (num[F_TRS] >= 0) {
		r->ttfb_ms = num[F_TRS];
		for (field f = F_TR; f <= F_TC; f++)
			if (num[f] > 0 && __builtin_add_overflow(r->ttfb_ms, num[f], &r->ttfb_ms))
				r->ttfb_ms = INT64_MAX;
	}
	if (leg || strncmp(r->backend, "pool.", 5) == 0)
		leave_out_leg(r);
	if (!r->client[0])
		memcpy(r->client, rd->family, strlen(rd->family) + 1);
	out->hints.stream = stream;
	out->hints.all = rd->all;
	out->hints.first = rd->first;
	out->hints.coded = rd->coded || rd->compressed;
	out->hints.ok = r->status >= 200 && r->status < 300 && !rd->told_before;
	out->hints.bytes_in = r->bytes_in;
	out->hints.bytes_out = r->bytes_out;
}

bool logline_is_ours(slice line, slice key, slice *object)
{
	size_t brace = slice_find(line, 0, '{');

	*object = slice_from(line, brace);
	return key.len == 0 || has_key(slice_first(line, brace), key);
}

slice logline_id(slice object)
{
	static const slice head = SLICE_INIT("{\"v\":2,\"id\":\"");
	slice id = slice_starts(object, head) ? slice_from(object, head.len) : slice_of(NULL, 0);
	slice value = slice_first(id, slice_find(id, 0, '"'));

	return value.len < id.len && !slice_has(value, '\\') ? value : slice_of(NULL, 0);
}

/* Makes `out` and `rd` say nothing. */
static void begin(logline *out, reading *rd, usage_last *usages)
{
	/* The text buffers are filled by length: zeroing them for every line would cost more than reading it. */
	out->record = (record){ .status = 0 };
	out->usage = (slice){ NULL, 0 };
	out->hints = (usage_hints){ .text = -1 };
	out->metered = out->refused = out->fallback = false;
	out->named[0] = out->behind[0] = '\0';
	out->problem = NULL;
	out->member = (slice){ NULL, 0 };
	*rd = (reading){ .family = "", .usages = usages };
	for (size_t i = 0; i < FIELDS; i++)
		rd->num[i] = -1;
}

/* Reads all members of `object` into `out` and `rd`, which say nothing yet. Notes the members in `last`; NULL: nowhere.
 */
static logline_result read_members(slice object, logline *out, reading *rd, last_line *last)
{
	json_iter it;
	json_member m;
	json_step step;
	unsigned after = 0;

	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		field f = logline_find(m.key, after);
		if (last)
			last_note(last, object, &m, f);
		if (f == FIELDS)
			continue;
		after = (unsigned)f + 1;
		out->member = logline_names[f];
		if (rd->seen & 1ull << f)
			return malformed(out, "the line has a member twice");
		rd->seen |= 1ull << f;
		if (!logline_take(out, rd, f, &m))
			return malformed(out, "a member has a value of the wrong type");
	}
	out->member = (slice){ NULL, 0 };
	if (step == JSON_CUT)
		return malformed(out, "the line is cut");
	if (step != JSON_DONE)
		return malformed(out, "the line has no valid JSON object");
	return LOGLINE_OK;
}

/* Checks what all members say together, and completes `out`. */
static logline_result finish(logline *out, const reading *rd)
{
	static const uint64_t needed = 1ull << F_V | 1ull << F_ID | 1ull << F_TE | 1ull << F_STATUS | 1ull << F_TA;
	static const uint64_t pool = 1ull << F_MEMBER | 1ull << F_TRIED; /* both, or none */

	if (rd->num[F_V] != 1 && rd->num[F_V] != 2)
		return malformed(out, "the line has a version (v) that this agent does not know");
	if ((rd->seen & needed) != needed || ((rd->seen & pool) && (rd->seen & pool) != pool))
		return malformed(out, "a member is missing");
	/* HAProxy could not read the request, so it sent it nowhere and gave it no id. */
	if (!out->record.id[0])
		return LOGLINE_NO_REQUEST;
	if (rd->num[F_TE] < 0)
		return malformed(out, "the time (te) is negative");
	complete(out, rd);
	return LOGLINE_OK;
}

logline_result logline_parse(slice line, slice key, logline *out)
{
	slice object;
	reading rd;

	begin(out, &rd, NULL);
	if (!logline_is_ours(line, key, &object))
		return LOGLINE_FOREIGN;
	if (line.len > RECORD_LINE_MAX)
		return malformed(out, "the line is too long");
	logline_result result = read_members(object, out, &rd, NULL);
	return result == LOGLINE_OK ? finish(out, &rd) : result;
}

logline_result logline_parse_next(logline_last *last, slice line, slice object, logline *out)
{
	logline_result result = LOGLINE_OK;

	if (line.len > RECORD_LINE_MAX)
		return logline_parse(line, slice_of(NULL, 0), out);
	last_line *l = last_read(last, object);
	if (!l) {
		l = last_begin(last);
		begin(&l->line, &l->rd, &last->usages);
		result = read_members(object, &l->line, &l->rd, l);
		if (result == LOGLINE_OK)
			last_keep(l, object);
	}
	/* `usage` points to where it is kept, so its text need not be copied. */
	memcpy(out, &l->line, offsetof(logline, usage_text));
	return result == LOGLINE_OK ? finish(out, &l->rd) : result;
}
