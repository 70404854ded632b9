/* SPDX-License-Identifier: MIT */
#include "ledger/tried.h"

bool member_name_valid(slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c == '-' && i > 0)))
			return false;
	}
	return name.len > 0 && name.len <= RECORD_MEMBER_MAX;
}

static bool why_valid(slice why)
{
	static const slice words[] = { SLICE_INIT("unreachable"), SLICE_INIT("resting"), SLICE_INIT("credential") };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (slice_eq(why, words[i]))
			return true;
	if (why.len != 3 || (why.ptr[0] != '4' && why.ptr[0] != '5'))
		return false;
	return why.ptr[1] >= '0' && why.ptr[1] <= '9' && why.ptr[2] >= '0' && why.ptr[2] <= '9';
}

bool tried_next(slice *tried, slice *member, slice *why)
{
	if (tried->len == 0)
		return false;
	size_t end = slice_find(*tried, 0, ',');
	slice entry = slice_first(*tried, end);
	size_t colon = slice_find(entry, 0, ':');
	*member = slice_first(entry, colon);
	*why = colon < entry.len ? slice_from(entry, colon + 1) : slice_of(NULL, 0);
	*tried = end < tried->len ? slice_from(*tried, end + 1) : slice_of(NULL, 0);
	return true;
}

int tried_count(slice tried)
{
	slice member, why;
	int count = 0;

	/* A comma at the end would be followed by an empty entry. */
	if (tried.len && tried.ptr[tried.len - 1] == ',')
		return -1;
	while (tried_next(&tried, &member, &why))
		if (!member_name_valid(member) || !why_valid(why) || ++count == RECORD_ATTEMPTS_MAX)
			return -1;
	return count;
}
