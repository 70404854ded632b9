/* SPDX-License-Identifier: MIT
 *
 * Answers questions about samples on stdin, one line each on stdout, for tests/blackbox/test_scan.py.
 *
 * A question is: one byte of flags (1 sized, 2 upgrade), buffered and length (8 bytes each), and seven slices (4 bytes
 * of length, then the bytes): path, model_param, model_hint, ctype, cenc, body, tail. Numbers are little-endian. An
 * answer is: status, where it was found, 1 for a stream, bytes looked at, the name in hex (or "-"), the detail (or
 * "-").
 *
 *   scan_driver [LEVEL]      level: portable, sse4, avx2, avx512 */
#include "base/json.h"
#include "sample/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "driver.h"

static uint64_t number(void)
{
	unsigned char raw[8];
	uint64_t value = 0;

	if (!driver_need(raw, sizeof raw))
		exit(2);
	for (size_t i = 0; i < sizeof raw; i++)
		value |= (uint64_t)raw[i] << (8 * i);
	return value;
}

static const char *status_name(model_status status)
{
	switch (status) {
	case MODEL_FOUND:
		return "found";
	case MODEL_NONE:
		return "none";
	case MODEL_UNKNOWN:
		return "unknown";
	case MODEL_AMBIGUOUS:
		return "ambiguous";
	case MODEL_INVALID:
		return "invalid";
	case MODEL_MALFORMED:
	case MODEL_BAD_FORM:
	case MODEL_BAD_CODING:
		return "malformed";
	}
	return "?";
}

static bool level_named(const char *name)
{
	for (int level = 0; level < JSON_LEVELS; level++)
		if (json_force_level((json_level)level) && strcmp(json_level_name(), name) == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	int flags;

	if (argc > 1 && !level_named(argv[1]))
		return 77; /* this CPU lacks the level */
	while ((flags = getchar()) != EOF) {
		model_sample s = { .sized = flags & 1, .upgrade = (flags & 2) != 0 };
		model_result r;
		slice *slices[] = { &s.path, &s.model_param, &s.model_hint, &s.ctype, &s.cenc, &s.body, &s.tail };

		s.buffered = number();
		s.length = number();
		for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
			*slices[i] = driver_text();
		model_find(&s, &r);
		printf("%s %s %d %llu ", status_name(r.status), model_from_name(r.from), r.stream,
		       (unsigned long long)r.looked);
		for (size_t i = 0; i < r.len; i++)
			printf("%02x", (unsigned char)r.name[i]);
		printf("%s %s\n", r.len ? "" : "-", r.detail ? r.detail : "-");
		for (size_t i = 0; i < sizeof slices / sizeof slices[0]; i++)
			free((void *)(uintptr_t)slices[i]->ptr);
	}
	return 0;
}
