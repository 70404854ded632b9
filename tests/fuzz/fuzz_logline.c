/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a log line, with and without a key to be known by. Checked: a line without the key is never taken; what
 * was taken can stand in a table, a terminal and JSON; any beginning of a good line is refused, because what is missing
 * may change what the line says; and a line, or one that differs from it in one byte, says the same after the line as
 * alone. */
#include "fuzz.h"

#include "../unit/logline_rig.h"
#include "ledger/tried.h"
#include "base/json.h"

static void clean(const char *text, size_t max)
{
	size_t len = strnlen(text, max + 1);

	HOLDS(len <= max);
	HOLDS(utf8_valid(text, len));
	for (size_t i = 0; i < len; i++)
		HOLDS((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
}

static logline_result parse(slice line, slice key, logline *out)
{
	char *copy = malloc(line.len ? line.len : 1);

	HOLDS(copy != NULL);
	if (line.len)
		memcpy(copy, line.ptr, line.len);
	logline_result result = logline_parse(slice_of(copy, line.len), key, out);
	if (result == LOGLINE_OK) {
		const record *r = &out->record;
		record priced = *r;
		usage_parts parts;
		clean(r->id, RECORD_ID_MAX);
		clean(r->route, RECORD_LABEL_MAX);
		clean(r->backend, RECORD_BACKEND_MAX);
		clean(r->protocol, sizeof r->protocol - 1);
		clean(r->model, RECORD_MODEL_MAX);
		clean(r->project, RECORD_LABEL_MAX);
		clean(r->client, RECORD_LABEL_MAX);
		clean(r->code, RECORD_LABEL_MAX);
		clean(r->termination, sizeof r->termination - 1);
		HOLDS(r->id[0] && r->status >= 0 && r->status < 1000);
		clean(r->member, RECORD_MEMBER_MAX);
		clean(r->tried, RECORD_TRIED_MAX);
		HOLDS(tried_count(slice_cstr(r->tried)) + (r->member[0] != '\0') == r->attempts);
		HOLDS(r->member[0] ? member_name_valid(slice_cstr(r->member)) : !r->tried[0]);
		HOLDS(out->usage.len <= LOGLINE_USAGE_MAX && line.len <= RECORD_LINE_MAX);
		usage_apply(&priced, out->usage, &out->hints, &parts);
	} else if (result == LOGLINE_MALFORMED) {
		HOLDS(out->problem != NULL);
	}
	free(copy);
	return result;
}

/* Reads `line` by the lines before, and alone. */
static void twice(logline_last *last, slice line)
{
	static logline next, alone;
	slice object;

	HOLDS(logline_is_ours(line, slice_of(NULL, 0), &object));
	logline_result by_last = logline_parse_next(last, line, object, &next);
	HOLDS(logline_same(by_last, &next, logline_parse(line, slice_of(NULL, 0), &alone), &alone));
}

/* Reads `line`, then others that have another byte in one place, none, or one more, and the line again. */
static void after_itself(slice line)
{
	static const char some[] = "0123456789\"\\{},:.-e \x01\xff";
	logline_last *last = logline_last_new();
	char *other = malloc(line.len + 1);
	size_t at = 0;

	HOLDS(last && other && line.len);
	for (size_t i = 0; i < line.len; i++)
		at = (at * 31 + (unsigned char)line.ptr[i]) % 65521;
	char byte = some[at % (sizeof some - 1)];
	at %= line.len;
	for (int more = -1; more <= 1; more++) {
		memcpy(other, line.ptr, at);
		other[at] = byte;
		size_t from = (size_t)((int)at + 1 - (more > 0) + (more < 0));
		size_t rest = from < line.len ? line.len - from : 0, begin = at + (more >= 0);
		if (rest)
			memcpy(other + begin, line.ptr + from, rest);
		twice(last, line);
		twice(last, slice_of(other, begin + rest));
	}
	twice(last, line);
	free(other);
	logline_last_free(last);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static logline keyed, open;
	static const slice key = SLICE_INIT("k3y");
	slice line = slice_of(data, size);
	logline_result with = parse(line, key, &keyed), without = parse(line, slice_of(NULL, 0), &open);

	HOLDS(without != LOGLINE_FOREIGN);
	HOLDS(with == LOGLINE_FOREIGN || with == without);
	if (with != LOGLINE_FOREIGN)
		HOLDS(memmem(data, size, "[llm@32473 key=\"k3y\"", 20));
	if (without == LOGLINE_OK) {
		HOLDS(with == LOGLINE_FOREIGN || memcmp(&keyed.record, &open.record, sizeof open.record) == 0);
		after_itself(line);
		const char *end = memrchr(data, '}', size);
		size_t whole = end ? (size_t)(end - (const char *)data) : 0;
		for (size_t i = 1; i < 8; i++)
			HOLDS(parse(slice_first(line, whole * i / 8), slice_of(NULL, 0), &open) == LOGLINE_MALFORMED);
	}
	return 0;
}
