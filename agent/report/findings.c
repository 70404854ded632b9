/* SPDX-License-Identifier: MIT */
#include "report/findings.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "report/print.h"

/* Of a line: `part` and `name` take so many columns. */
enum { NAME_COLUMNS = 26 };

static const struct {
	const char *shown, *json;
	paint paint;
} states[] = {
	[FOUND_OK] = { "ok", "ok", PAINT_GOOD },
	[FOUND_WARNING] = { "WARNING", "warning", PAINT_WARN },
	[FOUND_OLDER] = { "older", "older", PAINT_WARN },
	[FOUND_UNKNOWN] = { "unknown", "unknown", PAINT_WARN },
	[FOUND_PROBLEM] = { "PROBLEM", "problem", PAINT_BAD },
};

/* Returns the text, to be freed, with one blank where there are more; NULL: out of memory. */
__attribute__((format(printf, 1, 0))) static char *text_of(const char *fmt, va_list args)
{
	char *text;
	size_t len = 0;

	if (vasprintf(&text, fmt, args) < 0)
		return NULL;
	for (const char *c = text; *c; c++)
		if (*c != ' ' || (len && text[len - 1] != ' '))
			text[len++] = *c;
	while (len && text[len - 1] == ' ')
		len--;
	text[len] = '\0';
	return text;
}

void finding(findings *to, finding_state state, const char *part, const char *name, const char *fmt, ...)
{
	va_list args;

	to->problems += state == FOUND_PROBLEM;
	to->warnings += state == FOUND_WARNING;
	va_start(args, fmt);
	if (to->f) {
		int columns = NAME_COLUMNS - 1 - (int)(strlen(part) > 5 ? strlen(part) : 5);
		terminal t = terminal_of(to->f);
		fprintf(to->f, "%s%-8s%s %-5s %-*s -> ", print_paint(&t, states[state].paint), states[state].shown,
			print_paint(&t, PAINT_NONE), part, columns, name);
		vfprintf(to->f, fmt, args);
		fputc('\n', to->f);
	} else {
		char *text = text_of(fmt, args);
		cJSON *row = cJSON_CreateObject();
		cJSON_AddStringToObject(row, "state", states[state].json);
		cJSON_AddStringToObject(row, "part", part);
		cJSON_AddStringToObject(row, "name", name);
		cJSON_AddStringToObject(row, "text", text ? text : "");
		cJSON_AddItemToArray(to->rows, row);
		free(text);
	}
	va_end(args);
}

void finding_more(findings *to, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (to->f) {
		fprintf(to->f, "%-8s   ", "");
		vfprintf(to->f, fmt, args);
		fputc('\n', to->f);
	} else {
		char *text = text_of(fmt, args);
		cJSON *row = cJSON_GetArrayItem(to->rows, cJSON_GetArraySize(to->rows) - 1);
		cJSON *more = cJSON_GetObjectItemCaseSensitive(row, "more");
		if (!more)
			more = cJSON_AddArrayToObject(row, "more");
		cJSON_AddItemToArray(more, cJSON_CreateString(text ? text : ""));
		free(text);
	}
	va_end(args);
}

void finding_note(findings *to, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	if (to->f) {
		vfprintf(to->f, fmt, args);
		fputc('\n', to->f);
	} else {
		char *text = text_of(fmt, args);
		cJSON *row = cJSON_CreateObject();
		cJSON_AddStringToObject(row, "state", "note");
		cJSON_AddStringToObject(row, "text", text ? text : "");
		cJSON_AddItemToArray(to->rows, row);
		free(text);
	}
	va_end(args);
}
