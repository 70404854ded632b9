/* SPDX-License-Identifier: MIT
 *
 * The content of a credential file, and times. Checked: a credential that is taken could stand in a header, and stands
 * in the file, if this is no JSON; one that is not taken has a reason; a time that is read is written and read as the
 * same second. */
#include "fuzz.h"

#include "base/rfc3339.h"
#include "decide/credential.h"

static void taken(slice text)
{
	secret s;

	secret_take(&s, text);
	HOLDS((s.value != NULL) == (s.problem == NULL) && (s.value != NULL) == (s.len > 0));
	HOLDS(!s.expires || s.value);
	for (size_t i = 0; i < s.len; i++)
		HOLDS((unsigned char)s.value[i] >= ' ' && s.value[i] != 0x7f);
	if (s.value) {
		HOLDS(s.len <= CREDENTIAL_MAX && s.value[s.len] == '\0');
		HOLDS(s.value[0] != ' ' && s.value[s.len - 1] != ' ');
		HOLDS(memmem(text.ptr, text.len, s.value, s.len) || memchr(text.ptr, '{', text.len));
	}
	secret_deinit(&s);
}

static void time_read(slice text)
{
	char out[RFC3339_TEXT];
	int64_t ms = 0, again = 0;

	if (!rfc3339_read(text, &ms))
		return;
	HOLDS(text.len >= RFC3339_TEXT - 1);
	rfc3339_write(ms, out);
	HOLDS(rfc3339_read(slice_cstr(out), &again));
	/* An offset leads out of the years 0 to 9999 by a day at most. */
	if (ms >= INT64_C(-62167219200000) && ms < INT64_C(253402300800000))
		HOLDS(again <= ms && ms - again < 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice text = slice_of((const char *)data, size);

	taken(text);
	time_read(text);
	return 0;
}
