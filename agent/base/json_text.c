/* SPDX-License-Identifier: MIT
 *
 * Decodes JSON strings and numbers. */
#include "base/json_simd.h"

#include <math.h>
#include <stdlib.h>

bool utf8_valid(const char *s, size_t len)
{
	const unsigned char *p = (const unsigned char *)s;

	for (size_t i = 0; i < len;) {
		unsigned char c = p[i];
		uint64_t eight = 0;
		if (len - i >= sizeof eight) {
			memcpy(&eight, p + i, sizeof eight);
			if ((eight & 0x8080808080808080u) == 0) {
				i += sizeof eight;
				continue;
			}
		}
		if (c < 0x80) {
			i++;
			continue;
		}
		size_t more = c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 0;
		if (more == 0 || more > len - i - 1)
			return false;
		unsigned char next = p[i + 1];
		if ((c == 0xe0 && next < 0xa0) || (c == 0xed && next > 0x9f) || (c == 0xf0 && next < 0x90) ||
		    (c == 0xf4 && next > 0x8f))
			return false;
		for (size_t k = 1; k <= more; k++)
			if ((p[i + k] & 0xc0) != 0x80)
				return false;
		i += more + 1;
	}
	return true;
}

/* Reads the four digits of \uXXXX at s[at]. */
static bool hex4(slice s, size_t at, uint32_t *out)
{
	uint32_t value = 0;

	if (s.len < 4 || at > s.len - 4)
		return false;
	for (size_t i = 0; i < 4; i++) {
		int digit = ascii_hex_digit(s.ptr[at + i]);
		if (digit < 0)
			return false;
		value = value << 4 | (uint32_t)digit;
	}
	*out = value;
	return true;
}

/* What an escape of two bytes stands for, by its second byte; 0: there is no such escape. */
static const char meant[256] = {
	['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t',
};

/* Decodes the escape at s[*at], which is a backslash, and moves *at behind it. */
static json_text_status escape(slice s, size_t *at, uint32_t *out)
{
	size_t i = *at + 1;

	if (i >= s.len)
		return JSON_TEXT_ESCAPE;
	if (s.ptr[i] != 'u') {
		*out = (unsigned char)meant[(unsigned char)s.ptr[i]];
		if (!*out)
			return JSON_TEXT_ESCAPE;
		*at = i + 1;
		return JSON_TEXT_OK;
	}
	uint32_t unit = 0, low = 0;
	if (!hex4(s, i + 1, &unit))
		return JSON_TEXT_ESCAPE;
	*at = i + 5;
	*out = unit;
	if (unit < 0xd800 || unit > 0xdfff)
		return JSON_TEXT_OK;
	if (unit > 0xdbff || s.len - *at < 6 || s.ptr[*at] != '\\' || s.ptr[*at + 1] != 'u' ||
	    !hex4(s, *at + 2, &low) || low < 0xdc00 || low > 0xdfff)
		return JSON_TEXT_SURROGATE;
	*out = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	*at += 6;
	return JSON_TEXT_OK;
}

static size_t utf8_encode(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* Copies and decodes from raw[*at] on, while `raw` has 16 more bytes and `buf` has room for 16. Stops at an escape that
 * is longer than two bytes, or wrong. */
static void short_runs(slice raw, size_t *at, char *buf, size_t cap, size_t *len)
{
#if defined(__SSE2__)
	while (raw.len - *at >= 16 && cap - *len >= 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)(const void *)(raw.ptr + *at));
		unsigned slash = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
		size_t plain = slash ? (size_t)__builtin_ctz(slash) : 16;
		_mm_storeu_si128((__m128i *)(void *)(buf + *len), v);
		*at += plain;
		*len += plain;
		if (!slash)
			continue;
		char c = *at + 1 < raw.len ? meant[(unsigned char)raw.ptr[*at + 1]] : '\0';
		if (!c)
			return;
		buf[(*len)++] = c;
		*at += 2;
	}
#else
	(void)raw, (void)at, (void)buf, (void)cap, (void)len;
#endif
}

json_text_status json_text(slice raw, char *buf, size_t cap, size_t *len)
{
	size_t at = 0;

	*len = 0;
	if (raw.len >= 2 && raw.ptr[0] == '"') /* a key comes without its quotes, and none begins with a quote */
		raw = slice_of(raw.ptr + 1, raw.len - 2);
	while (at < raw.len) {
		short_runs(raw, &at, buf, cap, len);
		if (at == raw.len)
			break;
		size_t plain = slice_find(raw, at, '\\') - at, room = cap - *len;
		if (plain > 0) {
			size_t fits = plain < room ? plain : room;
			memcpy(buf + *len, raw.ptr + at, fits);
			*len += fits;
			if (plain > room)
				return JSON_TEXT_LONG;
			at += plain;
			continue;
		}
		char coded[4];
		uint32_t c = 0;
		json_text_status status = escape(raw, &at, &c);
		if (status != JSON_TEXT_OK)
			return status;
		size_t size = utf8_encode(c, coded);
		if (size > room)
			return JSON_TEXT_LONG;
		memcpy(buf + *len, coded, size);
		*len += size;
	}
	return utf8_valid(buf, *len) ? JSON_TEXT_OK : JSON_TEXT_UTF8;
}

bool json_key_is(slice key, slice name)
{
	char buf[64];
	size_t len = 0;

	if (key.len <= name.len) /* an escape is longer than the character that it stands for */
		return slice_eq(key, name);
	if ((key.ptr[0] != name.ptr[0] && key.ptr[0] != '\\') || name.len > sizeof buf || !slice_has(key, '\\'))
		return false;
	return json_text(key, buf, sizeof buf, &len) == JSON_TEXT_OK && slice_eq(slice_of(buf, len), name);
}

json_key_match json_key_like(slice key, slice name)
{
	char buf[32];
	size_t len = 0;

	if (slice_eq(key, name))
		return JSON_KEY_SAME;
	bool other = key.len == 0 || (ascii_lower(key.ptr[0]) != name.ptr[0] && key.ptr[0] != '\\');
	if (other || slice_find(key, 0, '\\') == key.len) {
		if (slice_ieq(key, name))
			return JSON_KEY_ALIKE;
		return utf8_valid(key.ptr, key.len) ? JSON_KEY_OTHER : JSON_KEY_BAD;
	}
	json_text_status status = json_text(key, buf, sizeof buf, &len);
	slice text = slice_of(buf, len);
	size_t nul = slice_find(text, 0, '\0');
	if (status == JSON_TEXT_ESCAPE || status == JSON_TEXT_UTF8)
		return JSON_KEY_BAD;
	if (status == JSON_TEXT_OK && slice_eq(text, name))
		return JSON_KEY_SAME;
	if ((status == JSON_TEXT_OK || nul < len) && slice_ieq(slice_first(text, nul), name))
		return JSON_KEY_ALIKE;
	return JSON_KEY_OTHER;
}

bool json_int64(slice value, int64_t *out)
{
	size_t at = 0;
	uint64_t sum = 0;
	bool negative = value.len > 0 && value.ptr[0] == '-';
	uint64_t max = (uint64_t)INT64_MAX + (negative ? 1 : 0);

	if (negative)
		at++;
	if (at == value.len || (value.ptr[at] == '0' && value.len - at > 1))
		return false;
	for (; at < value.len; at++) {
		if (value.ptr[at] < '0' || value.ptr[at] > '9')
			return false;
		uint64_t digit = (uint64_t)(value.ptr[at] - '0');
		/* The first 18 characters cannot overflow. */
		if (at >= 18 && sum > (max - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*out = !negative ? (int64_t)sum : sum == max ? INT64_MIN : -(int64_t)sum;
	return true;
}

bool json_whole(slice value, int64_t *out)
{
	const double most = 9007199254740992.0; /* 2^53: above, a double leaves out whole numbers */
	double number;

	if (json_int64(value, out))
		return true;
	if (!json_double(value, &number) || number < -most || number > most || number != floor(number))
		return false;
	*out = (int64_t)number;
	return true;
}

bool json_double(slice value, double *out)
{
	char buf[JSON_NUMBER_MAX + 1];

	if (value.len == 0 || value.len > JSON_NUMBER_MAX)
		return false;
	json_scalar_hit h = json_scalar(value.ptr, value.len, 0);
	if (!h.whole || h.end != value.len || h.type != JSON_NUMBER)
		return false;
	memcpy(buf, value.ptr, value.len);
	buf[value.len] = '\0';
	double number = strtod(buf, NULL);
	if (!isfinite(number))
		return false;
	*out = number;
	return true;
}
