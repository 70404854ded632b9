/* SPDX-License-Identifier: MIT
 *
 * Which credential a request carries upstream, and where it comes from. A credential that cannot stand in a header as
 * it is (empty, blank, with a control character, too long) counts as missing. */
#ifndef DECIDE_CREDENTIAL_H
#define DECIDE_CREDENTIAL_H

#include "base/file_stamp.h"
#include "base/must_check.h"
#include "base/slice.h"

/* Where `spoa-llm credential set` puts the file of a name that no route has. */
#define CREDENTIALS_DIRECTORY "/etc/spoa-llm/credentials/"

enum {
	CREDENTIAL_MAX = 8192,                    /* bytes; the longest tokens in use take about 4 KB */
	CREDENTIAL_FILE_MAX = 2 * CREDENTIAL_MAX, /* bytes of a file: JSON may escape characters */
	CREDENTIAL_SOON_MS = 3 * 60 * 1000,       /* a credential that expires within this time expires soon */
	/* bytes of credential_describe()'s text: in a report or the list of routes; in a line about one request */
	CREDENTIAL_SOURCE_MAX = 600,
	CREDENTIAL_SOURCE_SHORT = 300,
};

typedef enum auth_kind { AUTH_PASSTHROUGH, AUTH_ENV, AUTH_FILE } auth_kind;

typedef enum auth_header {
	HEADER_AUTHORIZATION, /* as `Bearer CREDENTIAL`; in the others the credential stands alone */
	HEADER_X_API_KEY,
	HEADER_API_KEY,
	HEADER_X_GOOG_API_KEY,
	AUTH_HEADERS,
} auth_header;

const char *auth_header_name(auth_header h);
/* Returns AUTH_HEADERS if `name` (in any case) is none of them. */
auth_header auth_header_of(slice name);

/* Where a route's credential comes from, as the operator configured it. */
typedef struct credential {
	auth_kind kind;
	char *source; /* owned: the variable's name or the file's path; NULL for passthrough */
	auth_header header;
} credential;

void credential_deinit(credential *c);
/* Writes `env:NAME`, `file:PATH` or `passthrough`, never the credential; cut at `cap`. */
void credential_describe(const credential *c, char *out, size_t cap);

/* A credential, as its file or its variable was when it was last read. */
typedef struct secret {
	char *value; /* owned, NUL-terminated, wiped when released; NULL: missing */
	size_t len;
	bool borrowed;       /* `value` is neither owned nor NUL-terminated: it stands in the environment */
	bool expires;        /* the file says when */
	int64_t expires_ms;  /* with `expires`: from when on it is missing, by the wall clock */
	const char *problem; /* why it is missing; static text */
	file_stamp stamp;
} secret;

/* Reads the file at `path` into `*s`, whose old content is not released. The file is the credential, and perhaps a byte
 * order mark and a line end; or, if it begins with a brace, a JSON object: {"token": "...", "expires_at":
 * "2026-11-29T01:23:45Z"}, where expires_at may be missing. Reports no error: a credential that cannot be read or used
 * is missing. */
void secret_load(secret *s, const char *path);
/* Reads the variable `name` into `*s`, whose old content is not released. Reports no error: a credential that is not
 * there or cannot be used is missing. */
void secret_variable(secret *s, const char *name);
/* True if secret_load() may now give something else. Looks at the file's metadata only. */
bool secret_changed(const secret *s, const char *path);
void secret_deinit(secret *s);
/* True if the file says when its credential expires, and that is within CREDENTIAL_SOON_MS of `now_ms`, or was. */
bool secret_ends_soon(const secret *s, int64_t now_ms);

/* Takes a credential out of `text`, the content of a file as secret_load() describes it, into `*s`, whose old content
 * is not released. */
void secret_take(secret *s, slice text);
/* Returns the credential of `c`, which was read into `s`, without the spaces around it. Empty: it is missing, and
 * `*problem` says why; or the client's own passes through, and `*problem` is NULL. The slice is valid until `s` is
 * released. */
slice credential_read(const credential *c, const secret *s, const char **problem);

#endif
