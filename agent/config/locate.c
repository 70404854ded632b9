/* SPDX-License-Identifier: MIT */
#include "config/locate.h"

#include "base/json.h"

place place_child(place p, int index, bool key)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, slice_cstr(p.text + p.at));
	for (int i = 0; json_next(&it, &m) == JSON_MEMBER; i++) {
		if (i < index)
			continue;
		/* A key is told from behind its quote. There is none where cJSON took for an object what our reader
		 * does not. */
		if (key && !m.key.ptr)
			break;
		p.at = (size_t)((key ? m.key.ptr - 1 : m.value.ptr) - p.text);
		break;
	}
	return p;
}

bool place_error(err *e, place p, const char *fmt, ...)
{
	char message[384];
	size_t line = 1, column = 1;
	va_list args;

	for (size_t i = 0; i < p.at && p.text[i]; i++) {
		if (p.text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)p.text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	/* What the text names itself is repeated, and a terminal reads it. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return err_set(e, "%s:%zu:%zu: %s", p.name, line, column, message);
}
