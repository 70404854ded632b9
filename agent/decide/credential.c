/* SPDX-License-Identifier: MIT */
#include "decide/credential.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

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
	return *problem ? (slice){ NULL, 0 } : value;
}

static bool stamp_of(const char *path, struct secret_stamp *stamp)
{
	struct stat st;

	*stamp = (struct secret_stamp){ 0 };
	stamp->read_ms = clock_wall_ms();
	if (stat(path, &st) != 0)
		return false;
	stamp->mtime = st.st_mtim;
	stamp->ctime = st.st_ctim;
	stamp->ino = st.st_ino;
	stamp->dev = st.st_dev;
	stamp->size = st.st_size;
	stamp->exists = S_ISREG(st.st_mode);
	return stamp->exists;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool secret_changed(const secret *s, const char *path)
{
	struct secret_stamp now;

	stamp_of(path, &now);
	if (s->stamp.failed)
		return true;
	/* A second change within a tick of the file system's clock leaves the metadata as it is. Therefore a file that
	 * was just changed when it was read is read once more. */
	if (s->stamp.exists && s->stamp.read_ms / 1000 - s->stamp.ctime.tv_sec < 2)
		return true;
	return now.exists != s->stamp.exists || now.ino != s->stamp.ino || now.dev != s->stamp.dev ||
	       now.size != s->stamp.size || !same_time(now.mtime, s->stamp.mtime) ||
	       !same_time(now.ctime, s->stamp.ctime);
}

void secret_load(secret *s, const char *path)
{
	char text[CREDENTIAL_MAX + 3]; /* room for a line end, and for one byte that shows it is too long */
	size_t len = 0;

	*s = (secret){ 0 };
	stamp_of(path, &s->stamp);
	int fd = s->stamp.exists ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
	bool failed = fd < 0;
	if (failed) /* perhaps no descriptor or no memory is left; a new permission or name would change the metadata */
		s->stamp.failed = s->stamp.exists && errno != EACCES && errno != ENOENT && errno != EPERM;
	while (!failed && len < sizeof text) {
		ssize_t n = read(fd, text + len, sizeof text - len);
		if (n < 0 && errno == EINTR)
			continue;
		failed = s->stamp.failed = n < 0; /* a part of a credential is useless */
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	if (failed) {
		s->problem = "the file cannot be read";
		explicit_bzero(text, sizeof text);
		return;
	}
	if (len && text[len - 1] == '\n')
		len--;
	if (len && text[len - 1] == '\r')
		len--;
	slice value = usable(slice_of(text, len), &s->problem);
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
	explicit_bzero(text, sizeof text);
}

void secret_deinit(secret *s)
{
	if (s->value)
		explicit_bzero(s->value, s->len);
	free(s->value);
	*s = (secret){ 0 };
}

slice credential_read(const credential *c, const secret *file, const char **problem)
{
	*problem = NULL;
	switch (c->kind) {
	case AUTH_PASSTHROUGH:
		break;
	case AUTH_ENV: {
		const char *value = getenv(c->source);
		if (!value) {
			*problem = "the variable is not set";
			break;
		}
		return usable(slice_cstr(value), problem);
	}
	case AUTH_FILE:
		*problem = file->problem;
		return slice_of(file->value, file->len);
	}
	return (slice){ NULL, 0 };
}
