/* SPDX-License-Identifier: MIT */
#include "report/ledger_store.h"

#include <errno.h>
#include <pwd.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

enum {
	RETRIES = 100, /* at most, while the database is locked */
	RETRY_MS = 100,
};

enum { OWNER_ROOM = 64 };

/* Writes the user as `sudo -u` takes it. */
static const char *owner(uid_t uid, char out[OWNER_ROOM])
{
	struct passwd room, *user = NULL;
	char texts[4096];

	if (getpwuid_r(uid, &room, texts, sizeof texts, &user) == 0 && user)
		snprintf(out, OWNER_ROOM, "%s", user->pw_name);
	else
		snprintf(out, OWNER_ROOM, "\\#%u", (unsigned)uid);
	return out;
}

/* Finds what would keep SQLite from opening `path`, to say it better than SQLite does. EX_OK: nothing. */
static int check_access(const char *ledger, const char *path, bool writer, bool make, err *e)
{
	struct stat dir;
	char name[OWNER_ROOM];

	const char *problem = stat(ledger, &dir) != 0 ? strerror(errno) :
			      S_ISDIR(dir.st_mode)    ? NULL :
							"it is not a directory";
	if (problem) {
		err_set(e,
			"ledger directory %.200s: %s; name the directory by `ledger` in the configuration or by --ledger DIR",
			ledger, problem);
		return EX_NOINPUT;
	}
	if (access(path, F_OK) != 0 && errno == EACCES) {
		err_set(e, "ledger directory %.200s: %s; run this command as its owner: sudo -u %s spoa-llm ...",
			ledger, strerror(EACCES), owner(dir.st_uid, name));
		return EX_NOPERM;
	}
	if (access(path, F_OK) == 0) {
		if (access(path, writer ? R_OK | W_OK : R_OK) == 0)
			return EX_OK;
		int why = errno; /* owner() changes it */
		err_set(e, "ledger %.200s: %s; run this command as its owner: sudo -u %s spoa-llm ...", path,
			strerror(why), owner(dir.st_uid, name));
		return EX_NOPERM;
	}
	if (!make) {
		err_set(e,
			"there is no ledger at %.120s yet: the agent creates it when it runs with --ledger %.120s, and "
			"`spoa-llm ledger import FILE` creates it from HAProxy's log files",
			path, ledger);
		return EX_NOINPUT;
	}
	/* The agent could not write to a database that root owns. */
	if (geteuid() == 0 && dir.st_uid != 0) {
		err_set(e,
			"there is no ledger at %.200s yet, and the agent could not write to one that root creates: import as "
			"the owner of the directory: sudo -u %s spoa-llm ...",
			path, owner(dir.st_uid, name));
		return EX_NOPERM;
	}
	return EX_OK;
}

static atomic_bool no_retries;

void ledger_store_stop_retrying(void)
{
	atomic_store(&no_retries, true);
}

bool ledger_store_retry(store_result result, int *tries)
{
	const struct timespec pause = { 0, RETRY_MS * 1000000L };

	if (result != STORE_BUSY || ++*tries > RETRIES || atomic_load(&no_retries))
		return false;
	nanosleep(&pause, NULL);
	return true;
}

int ledger_store_exit_code(store_result result)
{
	switch (result) {
	case STORE_OK:
		return EX_OK;
	case STORE_BUSY:
		return EX_TEMPFAIL;
	case STORE_CORRUPT:
	case STORE_NEWER:
		return EX_DATAERR;
	case STORE_FULL:
	case STORE_ERROR:
		break;
	}
	return EX_IOERR;
}

store *ledger_store_open(const char *ledger, bool writer, bool make, int *code, err *e)
{
	store_result result = STORE_OK;
	store *s = NULL;
	int tries = 0;
	char *path;

	if (!*ledger) {
		err_set(e,
			"no ledger is configured: name its directory by `ledger` in the configuration or by --ledger DIR");
		*code = EX_CONFIG;
		return NULL;
	}
	if (asprintf(&path, "%s/ledger.db", ledger) < 0) {
		err_memory(e);
		*code = EX_OSERR;
		return NULL;
	}
	*code = check_access(ledger, path, writer, make, e);
	if (*code == EX_OK) {
		do
			s = store_open(path, writer, &result, e);
		while (!s && ledger_store_retry(result, &tries));
		if (!s)
			*code = ledger_store_exit_code(result);
	}
	free(path);
	return s;
}
