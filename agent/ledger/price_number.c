/* SPDX-License-Identifier: MIT
 *
 * The numbers of a price file, without floating point. */
#include "ledger/price_table.h"

enum { DIGITS_MAX = 37 }; /* decimal digits that always fit price_units */

/* A number as value x 10^exponent. */
typedef struct decimal {
	price_units value;
	int64_t exponent;
	bool negative;
} decimal;

/* Reads what follows the `e` of a number. */
static bool exponent_parse(slice s, int64_t *out)
{
	size_t at = s.len && (s.ptr[0] == '+' || s.ptr[0] == '-'), begin = at;
	int64_t exponent = 0;

	for (; at < s.len && ascii_is_digit(s.ptr[at]); at++)
		if (exponent < 1000000000)
			exponent = exponent * 10 + (s.ptr[at] - '0');
	*out = s.len && s.ptr[0] == '-' ? -exponent : exponent;
	return at > begin && at == s.len;
}

/* Reads a decimal number. Digits after the first DIGITS_MAX significant ones only count for the exponent: in a price
 * that is in range they are below the last decimal. False: it is no number (NaN, Infinity). */
static bool decimal_parse(slice s, decimal *d)
{
	int significant = 0;
	bool point = false, any = false;
	size_t at = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
	int64_t exponent = 0;

	*d = (decimal){ 0, 0, s.len && s.ptr[0] == '-' };
	for (; at < s.len; at++) {
		if (s.ptr[at] == '.' && !point) {
			point = true;
			continue;
		}
		if (!ascii_is_digit(s.ptr[at]))
			break;
		any = true;
		int digit = s.ptr[at] - '0';
		if (significant > 0 || digit > 0)
			significant++;
		if (significant > DIGITS_MAX) {
			d->exponent += !point;
		} else {
			d->value = d->value * 10 + digit;
			d->exponent -= point;
		}
	}
	if (!any || (at < s.len && s.ptr[at] != 'e' && s.ptr[at] != 'E'))
		return false;
	if (at < s.len && !exponent_parse(slice_from(s, at + 1), &exponent))
		return false;
	d->exponent += exponent;
	return true;
}

/* Converts a decimal to an integer of `decimals` decimals, rounding half up. False: it is above `max`. */
static bool scale(decimal d, int decimals, price_units max, price_units *out)
{
	price_units divisor = 1;
	int64_t shift = d.exponent + decimals;

	*out = 0;
	if (d.value == 0)
		return true;
	for (; shift > 0; shift--) {
		if (d.value > max)
			return false;
		d.value *= 10;
	}
	if (shift < -DIGITS_MAX)
		return true;
	for (; shift < 0; shift++)
		divisor *= 10;
	price_units rest = d.value % divisor;
	*out = d.value / divisor + (rest >= divisor - rest);
	return *out <= max;
}

/* Reads the number that `m` is, or the one in its text. */
static bool number_of(const json_member *m, decimal *d)
{
	char text[JSON_NUMBER_MAX];
	size_t len = 0;

	if (m->type == JSON_NUMBER)
		return decimal_parse(m->value, d);
	if (m->type != JSON_STRING || json_text(m->value, text, sizeof text, &len) != JSON_TEXT_OK)
		return false;
	return decimal_parse(slice_trim(slice_of(text, len)), d);
}

bool price_number_read(const json_member *value, int64_t dollars_max, price_units *out)
{
	decimal d;
	price_units one = 1;

	for (int i = 0; i < PRICE_DECIMALS; i++)
		one *= 10;
	*out = 0;
	return number_of(value, &d) && (!d.negative || d.value == 0) &&
	       scale(d, PRICE_DECIMALS, one * dollars_max, out);
}

int64_t price_count_read(const json_member *value)
{
	decimal d;
	price_units out = 0;

	if (!number_of(value, &d) || d.negative || !scale(d, 0, PRICE_TOKENS_MAX, &out))
		return -1;
	return (int64_t)out;
}
