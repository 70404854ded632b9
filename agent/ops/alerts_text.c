/* SPDX-License-Identifier: MIT
 *
 * Reads names, severities, waiting times and descriptions from dist/alerts.yml, which is built in: only the form in
 * which that file is written, because a test reads all of it. */
#include "ops/alerts_text.h"

#include <stdio.h>
#include <string.h>

#include "base/slice.h"

static slice next_line(slice *text)
{
	size_t end = slice_find(*text, 0, '\n');
	slice line = slice_first(*text, end);

	*text = slice_from(*text, end < text->len ? end + 1 : end);
	return line;
}

/* If the line is `key: value`, sets `*value`. */
static bool has_key(slice line, slice key, slice *value)
{
	line = slice_trim(line);
	if (!slice_starts(line, key))
		return false;
	*value = slice_trim(slice_from(line, key.len));
	return true;
}

static size_t indent(slice line)
{
	size_t n = 0;

	while (n < line.len && line.ptr[n] == ' ')
		n++;
	return n;
}

static void append(char *out, size_t room, slice more)
{
	size_t at = strlen(out);

	snprintf(out + at, room - at, "%s%.*s", at ? " " : "", (int)more.len, (const char *)more.ptr);
}

/* `value`: what stands behind "description:"; a folded text (>-) goes on in the lines of `text` that are indented more.
 */
static void read_description(slice value, slice text, size_t depth, char *out, size_t room)
{
	*out = '\0';
	if (value.len >= 2 && value.ptr[0] == '"') {
		append(out, room, slice_of(value.ptr + 1, value.len - 2));
		return;
	}
	for (slice rest = text; rest.len;) {
		slice line = next_line(&rest);
		if (slice_trim(line).len && indent(line) <= depth)
			return;
		if (slice_trim(line).len)
			append(out, room, slice_trim(line));
	}
}

static int64_t minutes_ms(slice value)
{
	int64_t n = 0;

	for (size_t i = 0; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++)
		n = n * 10 + (value.ptr[i] - '0');
	return n * 60000;
}

bool alerts_text_read(const char *name, alert_text *out)
{
	slice text = slice_of(alerts_yml, alerts_yml_len), value;
	bool mine = false, found = false;

	*out = (alert_text){ .page = false };
	while (text.len) {
		slice line = next_line(&text);
		if (has_key(line, SLICE("- alert:"), &value)) {
			mine = slice_eq(value, slice_cstr(name));
			found = found || mine;
		} else if (mine && has_key(line, SLICE("for:"), &value)) {
			out->for_ms = minutes_ms(value);
		} else if (mine && has_key(line, SLICE("labels:"), &value)) {
			out->page = slice_contains(value, SLICE("severity: page"));
		} else if (mine && has_key(line, SLICE("description:"), &value)) {
			read_description(value, text, indent(line), out->advice, sizeof out->advice);
		}
	}
	return found;
}
