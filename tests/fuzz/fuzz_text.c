/* SPDX-License-Identifier: MIT
 *
 * Texts and numbers of JSON. Checked: text_plain() leaves nothing on which a terminal acts; json_write_text() makes a
 * JSON string of printable characters of any text, which reads back as that text (bytes that are not UTF-8 as U+FFFD);
 * any bytes as a string or number are read as the standard says, or refused; a traceparent that is valid is made of
 * lower-case digits and dashes, and neither its trace nor its span of zeros only; an address is printed as it is read.
 */
#include "fuzz.h"

#include "base/address.h"
#include "base/json.h"
#include "base/text.h"
#include "base/traceparent.h"

#include <math.h>

static void written(const char *text)
{
	char *out = NULL, *back = NULL;
	size_t out_len = 0, len = 0, at = 0;
	slice value;
	json_type type;
	FILE *f = open_memstream(&out, &out_len);

	HOLDS(f);
	json_write_text(f, text);
	HOLDS(fclose(f) == 0);
	HOLDS(utf8_valid(out, out_len));
	slice doc = slice_of(out, out_len);
	HOLDS(json_value(doc, &at, &value, &type) == JSON_MEMBER && type == JSON_STRING && value.len == out_len &&
	      at == out_len);
	for (const char *p = out; *p;)
		HOLDS(!text_is_control(utf8_next(&p)));
	back = malloc(out_len + 1);
	HOLDS(back && json_text(value, back, out_len, &len) == JSON_TEXT_OK);
	back[len] = '\0';
	if (utf8_valid(text, strlen(text)))
		HOLDS(len == strlen(text) && memcmp(back, text, len) == 0);
	const char *p = text, *q = back;
	while (*p && *q)
		HOLDS(utf8_next(&p) == utf8_next(&q));
	HOLDS(!*p && !*q);
	free(back);
	free(out);
}

static void plain(const char *text)
{
	char small[24], whole[8192];

	text_plain(small, sizeof small, text);
	text_plain(whole, sizeof whole, text);
	HOLDS(strlen(small) < sizeof small && strncmp(small, whole, strlen(small)) == 0);
	HOLDS(utf8_valid(small, strlen(small)) && utf8_valid(whole, strlen(whole)));
	HOLDS(strlen(text) < sizeof small ? strlen(small) <= strlen(text) :
					    strlen(small) > sizeof small - 5 || strcmp(small, whole) == 0);
	for (const char *p = whole; *p;)
		HOLDS(!text_is_control(utf8_next(&p)));
}

static void read_value(slice doc)
{
	slice value;
	json_type type;
	size_t at = 0, len = 0;
	char text[256], whole[8192];
	int64_t number = 77;
	double real = 77.;

	if (json_value(doc, &at, &value, &type) != JSON_MEMBER)
		return;
	if (type == JSON_STRING && value.len < sizeof whole) {
		size_t all = 0;
		json_text_status part = json_text(value, text, sizeof text, &len),
				 full = json_text(value, whole, sizeof whole, &all);
		HOLDS(len <= sizeof text && all <= value.len);
		HOLDS(full != JSON_TEXT_LONG);
		if (full == JSON_TEXT_OK)
			HOLDS(utf8_valid(whole, all) &&
			      (all <= sizeof text ? part == JSON_TEXT_OK && len == all : part == JSON_TEXT_LONG));
		if (part == JSON_TEXT_OK || part == JSON_TEXT_LONG)
			HOLDS(memcmp(text, whole, len) == 0);
	}
	bool whole_number = json_int64(value, &number), is_real = json_double(value, &real);
	HOLDS(type == JSON_NUMBER || (!whole_number && !is_real));
	HOLDS(whole_number || number == 77);
	HOLDS(!is_real || isfinite(real));
	if (whole_number && is_real)
		HOLDS(fabs(real - (double)number) <= fabs(real) * 1e-9);
}

static void trace(slice s)
{
	if (!traceparent_valid(s))
		return;
	HOLDS(s.len == TRACEPARENT_LEN);
	HOLDS(strspn(s.ptr + TRACE_ID_AT, "0") < TRACE_ID_LEN && strspn(s.ptr + TRACE_SPAN_AT, "0") < TRACE_SPAN_LEN);
	for (size_t i = 0; i < s.len; i++)
		HOLDS((s.ptr[i] == '-') == (i == 2 || i == 35 || i == 52) && s.ptr[i] &&
		      strchr("0123456789abcdef-", s.ptr[i]));
}

static void address(const char *text)
{
	const address_rules all = { .allow_remote = true, .datagrams = true }, few = { 0 };
	char shown[ADDRESS_TEXT];
	socket_address a, b;
	err e;

	bool ok = address_parse(&a, text, &all, &e);
	HOLDS(ok || e.text[0]);
	if (!ok) {
		HOLDS(!address_parse(&b, text, &few, &e));
		return;
	}
	address_print(shown, sizeof shown, &a);
	HOLDS(address_parse(&b, shown, &all, &e) && address_same(&a, &b) && a.datagram == b.datagram);
	HOLDS(!address_parse(&b, text, &few, &e) || !b.datagram);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size), *exact = malloc(size ? size : 1);

	HOLDS(text && exact);
	if (size)
		memcpy(exact, data, size);
	written(text);
	plain(text);
	address(text);
	read_value(slice_of(exact, size));
	trace(slice_of(exact, size));
	free(exact);
	free(text);
	return 0;
}
