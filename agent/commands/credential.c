/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm credential`: puts what standard input holds into a credential file, if the agent can use it. */
#include "decide/credential.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "commands/cli.h"

/* Says why the agent could not use the credential `text`; NULL: it could. */
static const char *problem_of(slice text)
{
	const credential file = { .kind = AUTH_FILE };
	const char *problem;
	secret s;

	secret_take(&s, text);
	credential_read(&file, &s, &problem);
	secret_deinit(&s);
	return problem;
}

/* Writes a new file and renames it, so that the agent reads the old credential or the new one, never a part. A new file
 * has the mode 0640, because the agent is in the file's group. */
static bool replace(const char *path, slice text)
{
	struct stat old;
	char *beside = NULL;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return false;
	int fd = mkostemp(beside, O_CLOEXEC);
	bool ok = fd >= 0 && fchmod(fd, stat(path, &old) == 0 ? old.st_mode & 0777 : 0640) == 0 &&
		  write(fd, text.ptr, text.len) == (ssize_t)text.len && fsync(fd) == 0;
	if (fd >= 0)
		ok = close(fd) == 0 && ok;
	ok = ok && rename(beside, path) == 0;
	if (fd >= 0 && !ok) {
		int why = errno;
		unlink(beside);
		errno = why;
	}
	free(beside);
	return ok;
}

int command_credential(const char *path)
{
	char text[CREDENTIAL_FILE_MAX + 1]; /* one byte shows that it is too long */
	size_t len = fread(text, 1, sizeof text, stdin);
	const char *problem = ferror(stdin) ? "standard input cannot be read" : problem_of(slice_of(text, len));
	int code = EX_OK;

	if (problem) {
		fprintf(stderr, "spoa-llm: the agent cannot use what standard input holds, so %s stays as it is: %s\n",
			path, problem);
		code = EX_DATAERR;
	} else if (!replace(path, slice_of(text, len))) {
		fprintf(stderr, "spoa-llm: %s: %s\n", path, strerror(errno));
		code = EX_CANTCREAT;
	}
	explicit_bzero(text, sizeof text);
	return code;
}
