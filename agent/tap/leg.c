/* SPDX-License-Identifier: MIT */
#include "tap/leg.h"

#include <stdio.h>
#include <sys/socket.h>

static bool is_name(slice name)
{
	if (name.len > LEG_NAME_TAKEN || !slice_starts(name, SLICE("leg.")) || name.len == strlen("leg."))
		return false;
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i], low = ascii_lower(c);
		if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return true;
}

bool leg_address(struct sockaddr_un *to, const char *dir, slice name)
{
	if (!is_name(name))
		return false;
	*to = (struct sockaddr_un){ .sun_family = AF_UNIX };
	int len = snprintf(to->sun_path, sizeof to->sun_path, "%s/%.*s.sock", dir, (int)name.len, name.ptr);
	return len > 0 && (size_t)len < sizeof to->sun_path;
}
