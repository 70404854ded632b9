/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm credential`: puts what standard input holds into a credential file, if the agent can use it. */
#include "decide/credential.h"

#include <stdio.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "base/whole_file.h"
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

/* Replaces the file `path` as a whole. A new one has the mode 0640, because the agent is in the group of its directory.
 */
static bool replace(const char *path, slice text, err *e)
{
	whole_file file;

	umask(0027);
	if (!whole_file_begin(&file, path, e))
		return false;
	fwrite(text.ptr, 1, text.len, file.f);
	return whole_file_end(&file, e);
}

int command_credential(const char *path)
{
	char text[CREDENTIAL_FILE_MAX + 1]; /* one byte shows that it is too long */
	size_t len = fread(text, 1, sizeof text, stdin);
	const char *problem = ferror(stdin) ? "it cannot be read" : problem_of(slice_of(text, len));
	int code = EX_OK;
	err e;

	if (problem) {
		fprintf(stderr,
			"spoa-llm: %s stays as it is, because the agent cannot use what standard input holds: %s\n",
			path, problem);
		code = EX_DATAERR;
	} else if (!replace(path, slice_of(text, len), &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		code = EX_CANTCREAT;
	}
	explicit_bzero(text, sizeof text);
	return code;
}
