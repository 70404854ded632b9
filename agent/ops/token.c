/* SPDX-License-Identifier: MIT */
#include "ops/token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

static slice trimmed(slice s)
{
	while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]))
		s.len--;
	return slice_trim(s);
}

/* Reads the token into `out`. Empty: there is none, and the log says why. */
static slice token_read(const char *source, char out[TOKEN_MAX + 1])
{
	const char *problem = NULL;
	size_t len = 0;

	if (strncmp(source, "env:", 4) == 0) {
		const char *value = getenv(source + 4);
		len = value ? strnlen(value, TOKEN_MAX + 1) : 0;
		if (value && len <= TOKEN_MAX)
			memcpy(out, value, len);
	} else {
		int fd = open(source + 5, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		ssize_t got = fd < 0 ? -1 : read(fd, out, TOKEN_MAX + 1);
		if (got < 0)
			problem = strerror(errno);
		else
			len = (size_t)got;
		if (fd >= 0)
			close(fd);
	}
	if (len > TOKEN_MAX)
		problem = "it is larger than 4096 bytes";
	slice token = problem ? slice_of(out, 0) : trimmed(slice_of(out, len));
	if (!problem && token.len == 0)
		problem = "it is empty or not set";
	for (size_t i = 0; i < token.len && !problem; i++)
		if ((unsigned char)token.ptr[i] < ' ' || token.ptr[i] == 0x7f)
			problem = "it contains a control character";
	if (problem)
		token.len = 0;
	if (problem)
		log_event(admin_token_missing, LOG_C("source", source), LOG_C("problem", problem),
			  LOG_C("instead", "requests that need the token are refused"));
	return token;
}

/* Compares in a time that depends on the length of `given` only. */
static bool same(slice token, slice given)
{
	unsigned differ = token.len != given.len;

	for (size_t i = 0; i < given.len; i++)
		differ |= (unsigned char)given.ptr[i] ^ (unsigned char)(i < token.len ? token.ptr[i] : 0);
	return differ == 0;
}

bool token_matches(const char *source, const char *authorization)
{
	char room[TOKEN_MAX + 1];
	slice given = slice_cstr(authorization);

	if (!slice_istarts(given, SLICE("bearer ")) || given.len > TOKEN_MAX + 16)
		return false;
	slice token = token_read(source, room);
	bool ok = token.len > 0 && same(token, slice_trim(slice_from(given, 7)));
	explicit_bzero(room, sizeof room);
	return ok;
}
