/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm credential`: puts what standard input holds into a credential file, if the agent can use it. `spoa-llm
 * credential set` asks for it, and finds the file. */
#include "decide/credential.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/nearest.h"
#include "base/whole_file.h"
#include "commands/ask.h"
#include "commands/cli.h"
#include "report/print.h"

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

/* Lets the group of the file's directory read `file`, and nobody but its owner write it: the agent is in that group. */
static void let_agent_read(FILE *file, const char *path)
{
	char *directory = strndup(path, (size_t)(strrchr(path, '/') + 1 - path));
	struct stat st;

	/* If this user may not change the group, only the owner can read the file; `spoa-llm check` says if the agent
	 * cannot. */
	bool taken = directory && stat(directory, &st) == 0 && fchown(fileno(file), (uid_t)-1, st.st_gid) == 0;
	if (fchmod(fileno(file), taken ? 0640 : 0600) != 0)
		fprintf(stderr, "spoa-llm: %s: %s\n", path, strerror(errno));
	free(directory);
}

/* Replaces the file `path` as a whole. A new one has the mode 0640, because the agent is in the group of its directory;
 * `set` gives one that is there this mode and group, too. */
static bool replace(const char *path, slice text, bool set, err *e)
{
	whole_file file;

	umask(0027);
	if (!whole_file_begin(&file, path, e))
		return false;
	if (set)
		let_agent_read(file.f, path);
	fwrite(text.ptr, 1, text.len, file.f);
	return whole_file_end(&file, e);
}

/* Puts `text` into `path`, if the agent can use it. Returns the exit code. */
static int put(const char *path, slice text, const char *what, bool set)
{
	const char *problem = problem_of(text);
	err e;

	if (problem) {
		fprintf(stderr, "spoa-llm: %s stays as it is, because the agent cannot use what %s: %s\n", path, what,
			problem);
		return EX_DATAERR;
	}
	if (!replace(path, text, set, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_CANTCREAT;
	}
	return EX_OK;
}

int command_credential(const char *path)
{
	char text[CREDENTIAL_FILE_MAX + 1]; /* one byte shows that it is too long */
	size_t len = fread(text, 1, sizeof text, stdin);
	int code;

	if (ferror(stdin)) {
		fprintf(stderr, "spoa-llm: %s stays as it is, because standard input cannot be read\n", path);
		code = EX_DATAERR;
	} else {
		code = put(path, slice_of(text, len), "standard input holds", false);
	}
	explicit_bzero(text, sizeof text);
	return code;
}

/* ---- set */

/* Finds the file that the route or the member of a pool `name` reads, or the file of that name which one of them reads;
 * NULL in `*found`: none does. False: there are two such files, and the message names both. */
static bool file_of(const route_table *t, const char *name, const char **found)
{
	*found = NULL;
	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		const char *last = r->auth.kind == AUTH_FILE ? strrchr(r->auth.source, '/') : NULL;
		if (!last || (strcmp(last + 1, name) != 0 && strcmp(r->member ? r->member : r->name, name) != 0))
			continue;
		if (*found && strcmp(*found, r->auth.source) != 0) {
			fprintf(stderr,
				"spoa-llm: %s may mean %s or %s; write the one that you mean by `spoa-llm credential "
				"FILE`\n",
				name, *found, r->auth.source);
			return false;
		}
		*found = r->auth.source;
	}
	return true;
}

/* Returns the name of a route, member or file that `name` may have been meant to be; NULL: none is similar. */
static const char *meant_by(const route_table *t, const char *name)
{
	nearest meant = nearest_to(name);

	for (size_t i = 0; i < routes_total(t); i++) {
		const route *r = routes_at(t, i);
		const char *last = r->auth.kind == AUTH_FILE ? strrchr(r->auth.source, '/') : NULL;
		if (!last)
			continue;
		nearest_look(&meant, last + 1);
		nearest_look(&meant, r->member ? r->member : r->name);
	}
	return meant.word;
}

int command_credential_set(const config *c, const ledger_request *ask)
{
	char text[CREDENTIAL_FILE_MAX + 1], prompt[PATH_MAX + 64], path[PATH_MAX];
	const char *found;
	ssize_t len;

	if (!*ask->name || *ask->name == '.' || strchr(ask->name, '/')) {
		fprintf(stderr, "spoa-llm: the NAME of a route or of a file in " CREDENTIALS_DIRECTORY
				" is expected; `spoa-llm credential FILE` takes "
				"any file\n");
		return EX_USAGE;
	}
	if (!file_of(c->table, ask->name, &found))
		return EX_USAGE;
	const char *meant = found ? NULL : meant_by(c->table, ask->name);
	if (meant)
		fprintf(stderr, "spoa-llm: no route reads a file of the name %s; is %s meant?\n", ask->name, meant);
	snprintf(path, sizeof path, "%s%s", found ? "" : CREDENTIALS_DIRECTORY, found ? found : ask->name);
	if (ask_possible()) {
		snprintf(prompt, sizeof prompt, "Credential for %s (it is not shown): ", path);
		len = ask_hidden(prompt, text, sizeof text);
		if (len <= 0) {
			explicit_bzero(text, sizeof text);
			fprintf(stderr,
				"spoa-llm: %s stays as it is, because nothing was typed, or a line that is too long\n",
				path);
			return EX_DATAERR;
		}
	} else {
		len = (ssize_t)fread(text, 1, sizeof text, stdin);
	}
	int code = put(path, slice_of(text, (size_t)len), ask_possible() ? "was typed" : "standard input holds", true);
	explicit_bzero(text, sizeof text);
	if (code == EX_OK)
		printf("%s is written; a running agent reads it within two seconds\n", path);
	if (code == EX_OK && !found)
		printf("No route reads this file yet: give one \"auth\": \"file:%s\"\n", path);
	return code == EX_OK ? finish_output() : code;
}
