/* SPDX-License-Identifier: MIT
 *
 * Where requests go: an http(s) base URL, parsed, and the HAProxy backend that is made for it. */
#ifndef DECIDE_UPSTREAM_H
#define DECIDE_UPSTREAM_H

#include "base/err.h"
#include "base/must_check.h"
#include "base/slice.h"

enum {
	UPSTREAM_URL_MAX = 1024, /* bytes of a base URL */
	UPSTREAM_HOST_MAX = 253, /* bytes of a host's name, as in DNS */
};

/* Every string is owned and NUL-terminated. */
typedef struct upstream {
	char *url;     /* as given, without trailing slashes */
	char *host;    /* lower case; an IPv6 address without its brackets */
	char *base;    /* path that goes in front of the request's own, without a trailing slash; "" for none */
	char *version; /* the end of `base` from its version on, such as "/v4" or "/v1beta/openai", which a request need
			  not repeat; "" for none */
	char *backend; /* the backend's name, made of the URL */
	uint16_t port;
	bool tls;
	bool address;  /* the host is an IP address */
	bool ipv6;     /* the address is one of IPv6 */
	bool strip_v1; /* the /v1 at the beginning of a request's path gives way to `base` */
} upstream;

/* Parses `url`, which it copies. A base that ends in a version strips the /v1 of requests. False: `e` says what is
 * wrong (it never repeats user or password), and `u` is all zero. */
MUST_CHECK bool upstream_parse(upstream *u, slice url, err *e);
/* Has `u` strip the /v1 of requests, or keep it, whatever the URL says. The backend's name then says so too. False: out
 * of memory. */
MUST_CHECK bool upstream_set_strip_v1(upstream *u, bool strip);
void upstream_deinit(upstream *u);

/* Checks that HAProxy can verify the certificate of `u`, which takes a name: the host's, or `sni` (NULL: none). False:
 * `e` says so. */
MUST_CHECK bool upstream_verifiable(const upstream *u, const char *sni, err *e);

/* True for a name that a host can have: letters, digits, `-`, `_` (Docker's names have it), and dots between parts of 1
 * to 63 bytes; the first one is a letter or a digit. */
bool host_name_valid(slice host);

/* True if both reach the same place in the same way, so that one backend can serve both. */
bool upstream_same(const upstream *a, const upstream *b);

/* Returns what is left of `path` behind the version that gives way to `base`: all of it where none does. */
slice upstream_path_rest(const upstream *u, slice path);

/* Writes the URL at which a request for `path` arrives, NUL-terminated and cut at `cap`. */
void upstream_url_for(const upstream *u, slice path, char *out, size_t cap);

#endif
