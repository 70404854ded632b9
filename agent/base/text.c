/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <string.h>

#include "base/json.h"

uint32_t utf8_next(const char **at)
{
	const unsigned char *p = (const unsigned char *)*at;
	size_t want = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (strnlen(*at, want) < want || !utf8_valid(*at, want)) {
		*at += 1;
		return 0xfffd;
	}
	*at += want;
	switch (want) {
	case 1:
		return p[0];
	case 2:
		return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
	case 3:
		return (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
	default:
		return (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
	}
}

bool text_is_control(uint32_t c)
{
	return c < ' ' || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) ||
	       c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || (c >= 0x13430 && c <= 0x1343f) ||
	       (c >= 0x1bca0 && c <= 0x1bca3) || (c >= 0x1d173 && c <= 0x1d17a) || (c >= 0xe0000 && c <= 0xe0fff);
}

static bool unseen(uint32_t c)
{
	return text_is_control(c) || c == ' ' || c == 0xa0 || c == 0x34f || c == 0x115f || c == 0x1160 || c == 0x1680 ||
	       c == 0x17b4 || c == 0x17b5 || (c >= 0x180b && c <= 0x180f) || (c >= 0x2000 && c <= 0x200a) ||
	       c == 0x202f || c == 0x205f || c == 0x2800 || c == 0x3000 || c == 0x3164 ||
	       (c >= 0xfe00 && c <= 0xfe0f) || c == 0xffa0 || (c >= 0xfff0 && c <= 0xfff8) ||
	       (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

bool text_has_unseen_end(slice text)
{
	const char *first = text.ptr, *last = text.ptr + text.len - 1;

	while (last > text.ptr && ((unsigned char)*last & 0xc0) == 0x80)
		last--;
	return unseen(utf8_next(&first)) || unseen(utf8_next(&last));
}

size_t text_unseen_start(slice text)
{
	char first[5] = { 0 }; /* utf8_next() reads a text that ends with a NUL */
	const char *at = first;

	if (text.len)
		memcpy(first, text.ptr, text.len < 4 ? text.len : 4);
	return *at && unseen(utf8_next(&at)) ? (size_t)(at - first) : 0;
}

void text_plain(char *out, size_t room, const char *text)
{
	size_t len = 0;

	while (*text) {
		const char *begin = text;
		uint32_t c = utf8_next(&text);
		bool bad = c == 0xfffd && text - begin == 1, control = text_is_control(c);
		size_t bytes = bad || control ? 1 : (size_t)(text - begin);
		if (bytes >= room - len)
			break;
		memcpy(out + len, bad ? "?" : control ? " " : begin, bytes);
		len += bytes;
	}
	out[len] = '\0';
}

void json_write_text(FILE *f, const char *text)
{
	fputc('"', f);
	while (*text) {
		const char *begin = text;
		uint32_t c = utf8_next(&text);
		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (char)c);
		else if (c > 0xffff && text_is_control(c))
			fprintf(f, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
		else if (text_is_control(c) || (c == 0xfffd && text - begin == 1))
			fprintf(f, "\\u%04x", c);
		else
			fwrite(begin, 1, (size_t)(text - begin), f);
	}
	fputc('"', f);
}
