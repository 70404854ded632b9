/* SPDX-License-Identifier: MIT */
#include "commands/check_host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/token_source.h"
#include "ledger/log_key.h"
#include "report/print.h"

/* Returns 0, or the errno that says why the effective user cannot use `path` in this way (R_OK, W_OK, X_OK). */
static int denied(const char *path, int how)
{
	return faccessat(AT_FDCWD, path, how, AT_EACCESS) == 0 ? 0 : errno;
}

/* Returns 0, ENOTDIR, or the errno that says why the effective user cannot make files there. */
static int denied_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	return S_ISDIR(st.st_mode) ? denied(path, R_OK | W_OK | X_OK) : ENOTDIR;
}

/* ---- the ledger */

/* Warns if the disk has less room than the journal may take. False: it has enough. */
static bool warn_of_little_room(findings *to, const config *c)
{
	char room[PRINT_NUMBER], most[PRINT_NUMBER];
	struct statvfs disk;

	if (statvfs(c->ledger, &disk) != 0 || (uint64_t)disk.f_bavail * disk.f_frsize >= (uint64_t)c->journal_max)
		return false;
	finding(to, FOUND_WARNING, "ledger", c->ledger,
		"its disk has %s free; the journal may take %s (\"journal_max\") while the database cannot be written, and records "
		"that have no room are lost",
		print_bytes(room, (int64_t)(disk.f_bavail * disk.f_frsize)), print_bytes(most, c->journal_max));
	return true;
}

static void check_ledger(findings *to, const config *c)
{
	static const char *const inside[] = { "journal", "ledger.db", "ledger.db-wal" };
	int why = denied_directory(c->ledger);

	if (why == ENOENT && strcmp(c->ledger, "/var/lib/spoa-llm") == 0) {
		finding(to, FOUND_WARNING, "ledger", c->ledger,
			"the directory is missing: spoa-llm.service makes it when it starts; without systemd, make it for the agent's user");
		return;
	}
	if (why) {
		finding(to, FOUND_PROBLEM, "ledger", c->ledger, "%s; the agent would not start: %s", strerror(why),
			why == ENOENT ? "make the directory, for the agent's user" :
			why == EROFS  ? "name a directory that can be written" :
					"it has to be a directory that the agent's user may write");
		return;
	}
	for (size_t i = 0; i < sizeof inside / sizeof inside[0]; i++) {
		char *path;
		if (asprintf(&path, "%s/%s", c->ledger, inside[i]) < 0)
			return;
		int inner = denied(path, R_OK | W_OK);
		if (inner && inner != ENOENT) {
			finding(to, FOUND_PROBLEM, "ledger", path, "%s; the agent's user has to own it",
				strerror(inner));
			free(path);
			return;
		}
		free(path);
	}
	if (!warn_of_little_room(to, c))
		finding(to, FOUND_OK, "ledger", c->ledger, "the directory can be written");
}

static void check_log_key(findings *to)
{
	const char *key = getenv("SPOA_LLM_LOG_KEY");

	if (!key || !*key)
		finding(to, FOUND_WARNING, "log", "key",
			"SPOA_LLM_LOG_KEY is not set here: without it, every local process can write the ledger; --env-file FILE "
			"reads what a unit reads");
	else if (!log_key_usable(key))
		finding(to, FOUND_PROBLEM, "log", "key", "%s", LOG_KEY_PROBLEM);
	else
		finding(to, FOUND_OK, "log", "key", "SPOA_LLM_LOG_KEY is set; HAProxy has to have the same");
}

/* ---- the admin token */

static void check_token(findings *to, const char *option, const char *source)
{
	char room[TOKEN_MAX + 1];
	const char *problem;

	token_source_read(source, room, &problem);
	explicit_bzero(room, sizeof room);
	if (problem)
		finding(to, FOUND_PROBLEM, "admin", option, "%s: %s; requests that need it would be refused", source,
			problem);
	else
		finding(to, FOUND_OK, "admin", option, "%s", source);
}

/* Nobody could reload or explain by a token that is the viewer's, too. */
static void check_tokens_differ(findings *to, const config *c)
{
	char admin[TOKEN_MAX + 1], viewer[TOKEN_MAX + 1];
	const char *problem;

	slice a = token_source_read(c->admin_token, admin, &problem);
	slice v = token_source_read(c->viewer_token, viewer, &problem);
	if (a.len && slice_eq(a, v))
		finding(to, FOUND_PROBLEM, "admin", "viewer_token",
			"%s has the same token as %s: a token of both only lets read, so nobody could reload or explain. Make another one",
			c->viewer_token, c->admin_token);
	explicit_bzero(admin, sizeof admin);
	explicit_bzero(viewer, sizeof viewer);
}

/* ---- sockets */

/* Returns the path of a unix socket's address; NULL: another address. */
static const char *path_of(const char *address)
{
	if (strncmp(address, "unix@", 5) == 0)
		return address + 5;
	if (strncmp(address, "dgram@", 6) == 0)
		return address + 6;
	return *address == '/' ? address : NULL;
}

/* A socket that is there is a running agent's, or systemd's, which hands it to the agent. */
static void check_socket(findings *to, const char *option, const char *address)
{
	const char *path = path_of(address), *slash = path ? strrchr(path, '/') : NULL;
	struct stat st;

	if (!slash || (stat(path, &st) == 0 && S_ISSOCK(st.st_mode)))
		return;
	char *directory = slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
	if (!directory)
		return;
	int why = denied_directory(directory);
	/* The socket units make these directories and sockets when they start. */
	finding_state state = slice_ends(slice_cstr(directory), SLICE("/run/spoa-llm")) ? FOUND_WARNING : FOUND_PROBLEM;
	if (why == ENOENT)
		finding(to, state, "socket", address,
			"\"%s\": the directory %s is missing: make it, or start the socket unit", option, directory);
	else if (why)
		finding(to, state, "socket", address, "\"%s\": %s: %s; the agent's user has to be able to write there",
			option, directory, strerror(why));
	free(directory);
}

static void check_sockets(findings *to, const config *c, bool tapped)
{
	size_t before = to->problems + to->warnings;

	for (size_t i = 0; i < c->listen.count; i++)
		check_socket(to, "listen", c->listen.items[i]);
	for (size_t i = 0; i < c->admin_listen.count; i++)
		check_socket(to, "admin_listen", c->admin_listen.items[i]);
	for (size_t i = 0; *c->ledger && i < c->log_listen.count; i++)
		check_socket(to, "log_listen", c->log_listen.items[i]);
	for (size_t i = 0; *c->ledger && tapped && i < c->tap_listen.count; i++)
		check_socket(to, "tap_listen", c->tap_listen.items[i]);
	for (size_t i = 0; *c->ledger && *c->fleet_uri && i < c->fleet_listen.count; i++)
		check_socket(to, "fleet_listen", c->fleet_listen.items[i]);
	if (to->problems + to->warnings == before)
		finding(to, FOUND_OK, "socket", "directories", "they are there, and can be written");
}

void check_host(findings *to, const config *c, bool tapped)
{
	if (*c->ledger) {
		check_ledger(to, c);
		check_log_key(to);
	}
	if (*c->admin_token)
		check_token(to, "admin_token", c->admin_token);
	if (*c->viewer_token)
		check_token(to, "viewer_token", c->viewer_token);
	if (*c->admin_token && *c->viewer_token)
		check_tokens_differ(to, c);
	check_sockets(to, c, tapped);
}

/* ---- the variables of a unit */

/* Takes quotes from around a value, and backslashes from inside. */
static void unquote(char *value)
{
	char quote = *value == '"' || *value == '\'' ? *value : '\0', *to = value;
	const char *from = value + (quote != '\0');

	for (; *from && *from != quote; from++) {
		if (*from == '\\' && quote != '\'' && from[1])
			from++;
		*to++ = *from;
	}
	*to = '\0';
}

int check_environment(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;

	if (!f)
		return errno;
	while (getline(&line, &room, f) >= 0) {
		char *name = line + strspn(line, " \t"), *equals = strchr(name, '=');
		if (*name == '#' || *name == ';' || !equals)
			continue;
		*equals = '\0';
		char *value = equals + 1 + strspn(equals + 1, " \t");
		for (size_t len = strlen(value); len && strchr(" \t\r\n", value[len - 1]);)
			value[--len] = '\0';
		unquote(value);
		setenv(name, value, 0);
	}
	if (line)
		explicit_bzero(line, room);
	free(line);
	int why = ferror(f) ? EIO : 0;
	fclose(f);
	return why;
}
