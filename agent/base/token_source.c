/* SPDX-License-Identifier: MIT */
#include "base/token_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool token_source_valid(const char *source)
{
	return strncmp(source, "env:", 4) == 0 || strncmp(source, "file:", 5) == 0;
}

static slice trimmed(slice s)
{
	while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]))
		s.len--;
	return slice_trim(s);
}

/* Reads at most TOKEN_MAX + 1 bytes. Returns how many; below 0: errno says why not. */
static ssize_t read_file(const char *path, char *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -1;
	ssize_t got = read(fd, out, TOKEN_MAX + 1);
	int why = errno;
	close(fd);
	errno = why;
	return got;
}

slice token_source_read(const char *source, char room[TOKEN_MAX + 1], const char **problem)
{
	ssize_t len = 0;

	*problem = NULL;
	if (strncmp(source, "env:", 4) == 0) {
		const char *value = getenv(source + 4);
		if (!value)
			*problem = "the variable is not set";
		else
			len = (ssize_t)strnlen(value, TOKEN_MAX + 1);
		if (value && len <= TOKEN_MAX)
			memcpy(room, value, (size_t)len);
	} else {
		len = read_file(source + 5, room);
		if (len < 0)
			*problem = strerror(errno);
	}
	if (len > TOKEN_MAX)
		*problem = "it is larger than 4096 bytes";
	slice token = *problem ? slice_of(room, 0) : trimmed(slice_of(room, (size_t)len));
	if (!*problem && token.len == 0)
		*problem = "it is empty";
	for (size_t i = 0; i < token.len && !*problem; i++)
		if ((unsigned char)token.ptr[i] < ' ' || token.ptr[i] == 0x7f)
			*problem = "it contains a control character";
	return *problem ? slice_of(room, 0) : token;
}
