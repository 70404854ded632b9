/* SPDX-License-Identifier: MIT */
#include "decide/forward.h"

static bool is_tail(slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = ascii_lower(s.ptr[i]);
		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
			return false;
	}
	return s.len > 0;
}

slice forward_next(const char **list)
{
	while (*list && **list == '|')
		++*list;
	slice all = slice_cstr(*list);
	slice name = slice_first(all, slice_find(all, 0, '|'));
	*list = name.ptr ? name.ptr + name.len : NULL;
	return name;
}

typedef bool matcher(slice name, slice text);

static bool any(const char *list, slice name, matcher *holds)
{
	for (slice text = forward_next(&list); text.len; text = forward_next(&list))
		if (holds(name, text))
			return true;
	return false;
}

static bool is(slice name, slice text)
{
	return slice_ieq(name, text);
}

static bool contains(slice tail, slice text)
{
	return slice_icontains(tail, text);
}

static bool begins(slice name, slice text)
{
	slice tail = slice_from(name, text.len);

	return slice_istarts(name, text) && is_tail(tail) && !any(FORWARD_NEVER, tail, contains);
}

bool header_forwarded(slice name, const char *names, const char *prefixes)
{
	return any(FORWARD_NAMES, name, is) || any(names, name, is) || any(FORWARD_PREFIXES, name, begins) ||
	       any(prefixes, name, begins);
}
