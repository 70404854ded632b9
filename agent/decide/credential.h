/* SPDX-License-Identifier: MIT
 *
 * Whose credential a request carries upstream, and where it comes from. A credential that could not be put into a
 * header as it is (empty, blank, with a control character, too long) counts as missing. */
#ifndef DECIDE_CREDENTIAL_H
#define DECIDE_CREDENTIAL_H

#include <time.h>

#include "base/slice.h"

enum { CREDENTIAL_MAX = 8192 }; /* bytes; the longest tokens in the field take about 4 KB */

typedef enum auth_kind { AUTH_PASSTHROUGH, AUTH_ENV, AUTH_FILE } auth_kind;

typedef enum auth_header {
	HEADER_AUTHORIZATION, /* as `Bearer CREDENTIAL`; the others carry it bare */
	HEADER_X_API_KEY,
	HEADER_API_KEY,
	HEADER_X_GOOG_API_KEY,
	AUTH_HEADERS,
} auth_header;

const char *auth_header_name(auth_header h);
/* AUTH_HEADERS when `name` (any case) is none of them. */
auth_header auth_header_of(slice name);

/* The operator's words. */
typedef struct credential {
	auth_kind kind;
	char *source; /* owned: the variable's name or the file's path; NULL for passthrough */
	auth_header header;
} credential;

void credential_deinit(credential *c);
/* `env:NAME`, `file:PATH` or `passthrough`, for people; cut at `cap`. */
void credential_describe(const credential *c, char *out, size_t cap);

/* What a file held when it was last read. */
typedef struct secret {
	char *value; /* owned, NUL-terminated, wiped when released; NULL: missing */
	size_t len;
	const char *problem; /* why it is missing; static text */
	struct secret_stamp {
		struct timespec mtime, ctime;
		int64_t read_ms; /* by the wall clock, when the file was read */
		uint64_t ino, dev;
		int64_t size;
		bool exists;
		bool failed; /* it could not be read for a reason that may pass without its changing: to be tried again
			      */
	} stamp;
} secret;

void secret_load(secret *s, const char *path);
/* Would loading it again give something else? Touches the file's metadata only. */
bool secret_changed(const secret *s, const char *path);
void secret_deinit(secret *s);

/* The credential now, without white space around it; empty: missing, and `*problem` says why. Borrowed from the
 * environment or from `file`: valid until the policy is released. */
slice credential_read(const credential *c, const secret *file, const char **problem);

#endif
