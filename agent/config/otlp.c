/* SPDX-License-Identifier: MIT */
#include "config/otlp.h"

#include <string.h>

#include "base/slice.h"

static bool is_loopback(slice host)
{
	return slice_eq(host, SLICE("localhost")) || slice_eq(host, SLICE("[::1]")) ||
	       slice_starts(host, SLICE("127."));
}

bool otlp_endpoint_check(const char *url, bool secret, err *e)
{
	bool tls = strncmp(url, "https://", 8) == 0;

	if (!tls && strncmp(url, "http://", 7) != 0)
		return err_set(e, "a URL by HTTP is expected: https://HOST:4318");
	for (const char *c = url; *c; c++)
		if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f)
			return err_set(e, "the URL has a space, a control character or a letter beyond ASCII in it");
	if (strpbrk(url, "?#"))
		return err_set(
			e, "the URL has a query or a fragment: a key belongs in the file that otlp_headers_file names");
	const char *at = url + (tls ? 8 : 7);
	slice authority = slice_of(at, strcspn(at, "/"));
	if (memchr(authority.ptr, '@', authority.len))
		return err_set(e, "the URL has a user in it, which process lists and logs would show: put the header "
				  "`Authorization: Basic ...` into the file that otlp_headers_file names");
	size_t len = authority.len && *authority.ptr == '[' ? slice_find(authority, 0, ']') + 1 :
							      slice_find(authority, 0, ':');
	slice host = slice_first(authority, len), port = slice_from(authority, len);
	for (size_t i = 1; i < port.len; i++)
		if (port.ptr[i] < '0' || port.ptr[i] > '9')
			return err_set(e, "a port is a number");
	if (!host.len || len > authority.len || port.len == 1 || port.len > 6 || (port.len && *port.ptr != ':'))
		return err_set(e, "a URL by HTTP is expected: https://HOST:4318");
	/* 127.evil.example is a name like any other. */
	bool local = is_loopback(host);
	for (size_t i = 0; local && slice_starts(host, SLICE("127.")) && i < host.len; i++)
		local = host.ptr[i] == '.' || (host.ptr[i] >= '0' && host.ptr[i] <= '9');
	if (secret && !tls && !local)
		return err_set(
			e,
			"the headers of otlp_headers_file would cross the network in clear: beyond this host https:// is needed");
	return true;
}
