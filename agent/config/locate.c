/* SPDX-License-Identifier: MIT */
#include "config/locate.h"

#include "base/json.h"
#include "base/log.h"

place place_child(place p, int index, bool key)
{
	json_iter it;
	json_member m;

	json_iter_init(&it, slice_cstr(p.text + p.at));
	for (int i = 0; json_next(&it, &m) == JSON_MEMBER; i++) {
		if (i < index)
			continue;
		/* A key begins behind its quote. It is NULL if cJSON took something for an object that json_next()
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
	const char *text = p.lines ? p.lines : p.text;
	va_list args;

	for (size_t i = 0; i < p.at && text[i]; i++) {
		if (text[i] == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			column++;
		}
	}
	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	/* A message repeats names from the text, and may be read on a terminal: no control characters. */
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return err_set(e, "%s:%zu:%zu: %s", p.name, line, column, message);
}

bool problem(const problems *to, place p, const char *instead, const char *fmt, ...)
{
	char message[384];
	err text = { 0 };
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	place_error(&text, p, "%s", message);
	if (to->strict) {
		err_list_add(to->all, &text);
		return to->all->count < ERRORS_MAX || err_set(to->e, "there are more errors than %d", ERRORS_MAX);
	}
	log_event(route_problem, LOG_C("problem", text.text), LOG_C("instead", instead));
	return true;
}
