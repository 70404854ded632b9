/* SPDX-License-Identifier: MIT
 *
 * Paths that can be read in one way only. */
#include "decide/endpoint.h"

/* Where in a UTF-8 character a text is: how many bytes of it are left, and between which two the next one is. */
typedef struct utf8_place {
	unsigned char left, low, high;
} utf8_place;

/* Takes the next byte of a text. False: it is not strict UTF-8; lenient decoders make a dot or a slash of some such
 * bytes (%c0%ae, %e0%80%ae). */
static bool utf8_take(utf8_place *at, unsigned char c)
{
	if (at->left > 0) {
		bool ok = c >= at->low && c <= at->high;
		*at = (utf8_place){ (unsigned char)(at->left - 1), 0x80, 0xbf };
		return ok;
	}
	*at = (utf8_place){ (unsigned char)((c >= 0xc2) + (c >= 0xe0) + (c >= 0xf0)),
			    c == 0xe0 ? 0xa0 :
			    c == 0xf0 ? 0x90 :
					0x80,
			    c == 0xed ? 0x9f :
			    c == 0xf4 ? 0x8f :
					0xbf };
	return c < 0x80 || (c >= 0xc2 && c <= 0xf4);
}

/* `arn`: the segment is an ARN, in which slashes may be encoded, but with no empty or dot part between two. */
static bool segment_clear(slice s, bool arn)
{
	size_t part = 0,
	       dots = 0; /* bytes since the last slash, and how many of them are dots, or blanks, which some drop */
	utf8_place at = { 0, 0, 0 };

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		bool encoded = c == '%';
		if (encoded) {
			int high = s.len - i > 2 ? ascii_hex_digit(s.ptr[i + 1]) : -1;
			int low = s.len - i > 2 ? ascii_hex_digit(s.ptr[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (unsigned char)(high << 4 | low);
			i += 2;
		}
		if (encoded && arn && c == '/') {
			if (part == dots)
				return false;
			part = dots = 0;
			continue;
		}
		if (c < 0x20 || c == 0x7f || c == '\\' || c == ';' || (encoded && (c == '.' || c == '/' || c == '%')))
			return false;
		if (!utf8_take(&at, c))
			return false;
		part++;
		dots += c == '.' || c == ' ';
	}
	return part > dots && at.left == 0;
}

static bool is_arn(slice s)
{
	return slice_istarts(s, SLICE("arn:")) || slice_istarts(s, SLICE("arn%3a"));
}

bool path_clear(slice path)
{
	slice before = { NULL, 0 };

	if (path.len == 0 || path.ptr[0] != '/')
		return false;
	for (size_t at = 1; at < path.len;) {
		size_t slash = slice_find(path, at, '/');
		slice this = slice_of(path.ptr + at, slash - at);
		/* Behind the ID comes the operation, so the ID is not the last segment. */
		bool arn = slash < path.len && slice_eq(before, SLICE("model")) && is_arn(this);
		if (!segment_clear(this, arn))
			return false;
		before = this;
		at = slash + 1;
	}
	return true;
}

bool path_under(slice path, const char *prefix)
{
	slice p = slice_cstr(prefix);

	return slice_starts(path, p) && (path.len == p.len || path.ptr[p.len] == '/');
}
