/* SPDX-License-Identifier: MIT
 *
 * Reads the values of the file of clients, which flags of `spoa-llm client add` have too. */
#include "base/json.h"
#include "base/sha256.h"
#include "base/text.h"
#include "config/clients.h"
#include "config/routes.h"

const char *const client_periods[3] = { [BUDGET_DAY] = "day", [BUDGET_WEEK] = "week", [BUDGET_MONTH] = "month" };

/* True for text without control characters, and without blanks at its ends. False for a key, because somebody put it in
 * the wrong place. */
static bool is_label(slice s, size_t max)
{
	char text[CLIENT_MODEL_MAX + 1];

	if (s.len == 0 || s.len > max || !utf8_valid(s.ptr, s.len) || slice_has(s, '\0') || slice_has(s, '"') ||
	    slice_has(s, '\\') || slice_trim(s).len != s.len || slice_contains(s, SLICE(CLIENT_KEY_PREFIX)))
		return false;
	memcpy(text, s.ptr, s.len);
	text[s.len] = '\0';
	for (const char *at = text; *at;)
		if (text_is_control(utf8_next(&at)))
			return false;
	return true;
}

/* A log line has "-" where there is no name. */
bool client_name_check(slice name, err *e)
{
	return (is_label(name, CLIENT_NAME_MAX) && !slice_eq(name, SLICE("-"))) ||
	       err_set(e,
		       "a name has 1 to %d bytes, without control characters, quotes and backslashes, and without blanks at "
		       "its ends, and is not \"-\"; a key does not belong here",
		       CLIENT_NAME_MAX);
}

bool client_model_check(slice model, err *e)
{
	return (is_label(model, CLIENT_MODEL_MAX) && slice_find(model, 0, '*') + 1 >= model.len) ||
	       err_set(e, "the name of a model is expected, of at most %d bytes, or its beginning and a *",
		       CLIENT_MODEL_MAX);
}

bool client_route_check(slice name, err *e)
{
	return is_label(name, ROUTE_NAME_MAX) ||
	       err_set(e, "the name of a route is expected, or legacy for requests that no route takes");
}

bool client_dollars(slice text, int64_t *nano, err *e)
{
	size_t point = slice_find(text, 0, '.'), decimals = point < text.len ? text.len - point - 1 : 0;
	bool ok = point > 0 && point <= 10 && decimals <= 9 && (decimals > 0 || point == text.len);
	int64_t value = 0;

	for (size_t i = 0; i < text.len && ok; i++) {
		if (i == point)
			continue;
		ok = text.ptr[i] >= '0' && text.ptr[i] <= '9';
		value = ok ? value * 10 + (text.ptr[i] - '0') : 0;
	}
	for (size_t i = decimals; i < 9 && ok; i++) {
		ok = value <= CLIENTS_BUDGET_MAX / 10 || value == 0;
		value = ok ? value * 10 : 0;
	}
	if (!ok || value > CLIENTS_BUDGET_MAX)
		return err_set(e, "dollars like 12.50 are expected, at most 1000000000, with at most nine decimals");
	*nano = value;
	return true;
}

bool client_period(slice text, budget_period *period, err *e)
{
	for (unsigned i = 0; i < 3; i++)
		if (slice_eq(text, slice_cstr(client_periods[i]))) {
			*period = (budget_period)i;
			return true;
		}
	return err_set(e, "day, week or month is expected");
}

bool client_key_hash(slice key, unsigned char hash[CLIENT_HASH_LEN])
{
	_Static_assert((int)SHA256_LEN == (int)CLIENT_HASH_LEN, "a key is known by its SHA-256");

	if (key.len != CLIENT_KEY_LEN || !slice_starts(key, SLICE(CLIENT_KEY_PREFIX)))
		return false;
	for (size_t i = sizeof CLIENT_KEY_PREFIX - 1; i < key.len; i++) {
		char c = ascii_lower(key.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-' && c != '_')
			return false;
	}
	sha256(key, hash);
	return true;
}

bool client_hash(slice text, unsigned char out[CLIENT_HASH_LEN])
{
	for (size_t i = 0; i < CLIENT_HASH_LEN && text.len == (size_t)CLIENT_HASH_LEN * 2; i++) {
		int high = ascii_hex_digit(text.ptr[2 * i]), low = ascii_hex_digit(text.ptr[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		out[i] = (unsigned char)(high << 4 | low);
	}
	return text.len == (size_t)CLIENT_HASH_LEN * 2;
}
