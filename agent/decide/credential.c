/* SPDX-License-Identifier: MIT */
#include "decide/credential.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/rfc3339.h"
#include "base/text.h"

static const char *const header_names[AUTH_HEADERS] = { "authorization", "x-api-key", "api-key", "x-goog-api-key" };

const char *auth_header_name(auth_header h)
{
	assert(h < AUTH_HEADERS);
	return header_names[h];
}

auth_header auth_header_of(slice name)
{
	for (unsigned i = 0; i < AUTH_HEADERS; i++)
		if (slice_ieq(name, slice_cstr(header_names[i])))
			return (auth_header)i;
	return AUTH_HEADERS;
}

void credential_deinit(credential *c)
{
	free(c->source);
	*c = (credential){ 0 };
}

void credential_describe(const credential *c, char *out, size_t cap)
{
	switch (c->kind) {
	case AUTH_PASSTHROUGH:
		snprintf(out, cap, "passthrough");
		break;
	case AUTH_ENV:
		snprintf(out, cap, "env:%s", c->source);
		break;
	case AUTH_FILE:
		snprintf(out, cap, "file:%s", c->source);
		break;
	}
}

/* Returns `value` without spaces around it; empty: it cannot be used, and *problem says why. */
static slice usable(slice value, const char **problem)
{
	while (value.len && value.ptr[0] == ' ')
		value = slice_from(value, 1);
	while (value.len && value.ptr[value.len - 1] == ' ')
		value.len--;
	*problem = NULL;
	if (value.len == 0)
		*problem = "the credential is empty";
	else if (value.len > CREDENTIAL_MAX)
		*problem = "the credential is longer than 8192 bytes";
	for (size_t i = 0; i < value.len && !*problem; i++)
		if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
			*problem = "the credential has a control character in it";
	if (!*problem && ((value.ptr[0] | value.ptr[value.len - 1]) & 0x80) && utf8_valid(value.ptr, value.len) &&
	    text_has_unseen_end(value))
		*problem = "the credential begins or ends with a character that nobody sees, such as a no-break space";
	return *problem ? (slice){ NULL, 0 } : value;
}

bool secret_changed(const secret *s, const char *path)
{
	return file_stamp_changed(&s->stamp, path);
}

/* Decodes the value of `m` into `out`. Empty: it is no string, it is malformed, or it is too long. */
static slice text_of(const json_member *m, char *out, size_t cap)
{
	size_t len = 0;

	if (m->type != JSON_STRING || json_text(m->value, out, cap, &len) != JSON_TEXT_OK)
		len = 0;
	return slice_of(out, len);
}

/* Takes the token out of the JSON object `text` into `token`, which has CREDENTIAL_MAX + 1 bytes, and the time at which
 * it expires into `s`. Empty: s->problem says why. */
static slice token_of(secret *s, slice text, char *token)
{
	char time[64];
	slice got = { NULL, 0 };
	bool told = false;
	json_iter it;
	json_member m;
	json_step step = JSON_BAD;

	json_iter_init(&it, text);
	while (!s->problem && (step = json_next(&it, &m)) == JSON_MEMBER) {
		if (json_key_is(m.key, SLICE("token"))) {
			if (got.ptr)
				s->problem = "the JSON has \"token\" twice";
			got = text_of(&m, token, CREDENTIAL_MAX + 1);
			if (got.len == 0)
				s->problem = "\"token\" is no text, is empty, or is too long";
		} else if (json_key_is(m.key, SLICE("expires_at"))) {
			if (told)
				s->problem = "the JSON has \"expires_at\" twice";
			told = true;
			s->expires = rfc3339_read(text_of(&m, time, sizeof time), &s->expires_ms);
			if (!s->expires)
				s->problem = "\"expires_at\" is no time with its offset, like \"2026-11-29T01:23:45Z\"";
		} else {
			s->problem = "the JSON has another member than \"token\" and \"expires_at\"";
		}
	}
	if (!s->problem && step != JSON_DONE)
		s->problem = "the file begins with { and is not a JSON object";
	if (!s->problem && !got.ptr)
		s->problem = "the JSON has no \"token\"";
	return s->problem ? (slice){ NULL, 0 } : got;
}

/* True if `text` begins with a brace, behind white space. */
static bool is_json(slice text)
{
	size_t at = json_skip_space(text, 0);

	return at < text.len && text.ptr[at] == '{';
}

static slice without_line_end(slice text)
{
	if (text.len && text.ptr[text.len - 1] == '\n')
		text.len--;
	if (text.len && text.ptr[text.len - 1] == '\r')
		text.len--;
	return text;
}

void secret_take(secret *s, slice text)
{
	char token[CREDENTIAL_MAX + 1]; /* one byte shows that it is too long */

	*s = (secret){ 0 };
	if (slice_starts(text, SLICE("\xef\xbb\xbf"))) /* a byte order mark, as editors under Windows write it */
		text = slice_from(text, 3);
	if (text.len > CREDENTIAL_FILE_MAX)
		s->problem = "the file is longer than 16384 bytes";
	else
		text = is_json(text) ? token_of(s, text, token) : without_line_end(text);
	slice value = s->problem ? (slice){ NULL, 0 } : usable(text, &s->problem);
	if (value.len) {
		s->value = malloc(value.len + 1);
		if (s->value) {
			memcpy(s->value, value.ptr, value.len);
			s->value[value.len] = '\0';
			s->len = value.len;
		} else {
			s->problem = "out of memory";
			s->stamp.failed = true;
		}
	}
	s->expires = s->expires && s->value;
	explicit_bzero(token, sizeof token);
}

/* Says what `why` means, an errno of stat(), open() or read(). 0: what stands there is no regular file. */
static const char *file_problem(int why)
{
	switch (why) {
	case 0:
		return "the file cannot be read: it is a directory, a pipe or a device";
	case ENOENT:
		return "the file cannot be read: there is no such file";
	case EACCES:
		return "the file cannot be read: this user may not read it";
	case ENOTDIR:
		return "the file cannot be read: a part of its path is no directory";
	case ELOOP:
		return "the file cannot be read: its links lead in a circle";
	default:
		return "the file cannot be read";
	}
}

void secret_load(secret *s, const char *path)
{
	char text[CREDENTIAL_FILE_MAX + 1]; /* one byte shows that it is too long */
	size_t len = 0;

	errno = 0;
	file_stamp stamp = file_stamp_take(path);
	int fd = stamp.exists ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	bool failed = fd < 0;
	int why = failed ? errno : 0;
	if (failed) /* perhaps no descriptor or no memory is left; a new permission or name would change the metadata */
		stamp.failed = stamp.exists && errno != EACCES && errno != ENOENT && errno != EPERM;
	while (!failed && len < sizeof text) {
		ssize_t n = read(fd, text + len, sizeof text - len);
		if (n < 0 && errno == EINTR)
			continue;
		failed = stamp.failed = n < 0; /* a part of a credential is useless */
		why = failed ? errno : 0;
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	if (failed)
		*s = (secret){ .problem = file_problem(why) };
	else
		secret_take(s, slice_of(text, len));
	stamp.failed = stamp.failed || s->stamp.failed;
	s->stamp = stamp;
	explicit_bzero(text, sizeof text);
}

/* Looks at every variable and at every byte of the credential once, so that no decision has to. */
void secret_variable(secret *s, const char *name)
{
	char *text = getenv(name);

	*s = (secret){ .borrowed = true, .problem = "the variable is not set" };
	slice value = text ? usable(slice_cstr(text), &s->problem) : (slice){ NULL, 0 };
	if (value.len) {
		s->value = text + (value.ptr - text);
		s->len = value.len;
	}
}

void secret_deinit(secret *s)
{
	if (s->value && !s->borrowed) {
		explicit_bzero(s->value, s->len);
		free(s->value);
	}
	*s = (secret){ 0 };
}

bool secret_ends_soon(const secret *s, int64_t now_ms)
{
	return s->expires && now_ms >= s->expires_ms - CREDENTIAL_SOON_MS;
}

slice credential_read(const credential *c, const secret *s, const char **problem)
{
	*problem = NULL;
	if (c->kind == AUTH_PASSTHROUGH)
		return (slice){ NULL, 0 };
	*problem = s->problem;
	if (s->expires && clock_wall_ms() >= s->expires_ms) {
		*problem = "the token in the file expired";
		return (slice){ NULL, 0 };
	}
	return slice_of(s->value, s->len);
}
