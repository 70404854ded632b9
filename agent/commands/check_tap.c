/* SPDX-License-Identifier: MIT */
#include "commands/check_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "decide/leg.h"

#define REACHES "whoever can connect to it gets the operator's credentials added to requests"

/* Returns the value of a variable that HAProxy has too; `usual` if it is not set here. */
static const char *setting(const char *name, const char *usual)
{
	const char *value = getenv(name);

	return value && *value ? value : usual;
}

/* Says whether others than HAProxy and the tap can connect to the socket `path`. True: it is there, and they cannot. */
static bool check_guard(findings *to, const char *path, const char *what)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno != ENOENT && errno != EACCES) /* it is not there yet, or guarded by its directory */
			finding(to, FOUND_WARNING, "tap", path, "%s", strerror(errno));
		return false;
	}
	if (!S_ISSOCK(st.st_mode))
		finding(to, FOUND_PROBLEM, "tap", path, "this is no socket");
	else if (st.st_mode & S_IWOTH)
		finding(to, FOUND_PROBLEM, "tap", path, "every user can connect to %s: " REACHES, what);
	else if (geteuid() != 0 && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0)
		finding(to, FOUND_PROBLEM, "tap", path,
			"the user for whom this is checked can connect to %s, but only HAProxy and the tap should: " REACHES,
			what);
	else
		return true;
	return false;
}

/* Checks that nobody can put a socket in the place of another one. `who`: says what makes the directory. False: there
 * is no such directory. */
static bool check_directory(findings *to, const char *path, const char *who)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		if (errno == ENOENT)
			finding(to, FOUND_WARNING, "tap", path, "the directory is missing; %s", who);
		return false;
	}
	if (!S_ISDIR(st.st_mode))
		finding(to, FOUND_PROBLEM, "tap", path, "this is no directory; %s", who);
	else if (st.st_mode & S_IWOTH)
		finding(to, FOUND_PROBLEM, "tap", path,
			"every user can put a socket there, which would get what clients send");
	return S_ISDIR(st.st_mode);
}

/* Checks that HAProxy and the tap find a socket or directory at the same path, and that it has room for what is put
 * behind it. `most`: bytes that the path may have. */
static bool check_path(findings *to, const char *name, const char *path, size_t most)
{
	if (*path != '/')
		finding(to, FOUND_PROBLEM, "tap", name,
			"\"%s\" does not begin with /: HAProxy and the tap would look for it in different directories",
			path);
	else if (strlen(path) > most)
		finding(to, FOUND_PROBLEM, "tap", name,
			"%s has %zu bytes: a socket's path has room for %zu here; choose a shorter one", path,
			strlen(path), most);
	else
		return true;
	return false;
}

static void check_leg(findings *to, const char *directory, const char *leg, size_t *guarded)
{
	char *path;

	if (!leg || asprintf(&path, "%s/%s.sock", directory, leg) < 0)
		return;
	*guarded += check_guard(to, path, "a leg");
	free(path);
}

void check_tap(findings *to, const route_table *t)
{
	const char *address = setting("LLM_TAP", "unix@/run/spoa-llm-tap/tap.sock");
	const char *legs = setting("LLM_LEGS", "/run/spoa-llm-legs");
	const char *tap = strncmp(address, "unix@", 5) == 0 ? address + 5 : address, *slash = strrchr(tap, '/');
	size_t guarded = 0;

	if (!legs_any(t))
		return;
	/* While it makes a socket, HAProxy puts a dot, its process's number and .tmp behind the path; the tap less. */
	const size_t most = sizeof((struct sockaddr_un *)NULL)->sun_path - 1 - (1 + 7 + 4);
	if (!check_path(to, "LLM_TAP", tap, most) || !check_path(to, "LLM_LEGS", legs, most - (1 + LEG_NAME_MAX + 5)))
		return;
	char *directory = slash && slash != tap ? strndup(tap, (size_t)(slash - tap)) : NULL;
	if (routes_tapped(t) && directory &&
	    check_directory(to, directory, "`systemd-tmpfiles --create spoa-llm.conf` makes it"))
		guarded += check_guard(to, tap, "the tap");
	free(directory);
	if (check_directory(to, legs,
			    "HAProxy does not start without it; `systemd-tmpfiles --create spoa-llm.conf` makes it")) {
		for (size_t i = 0; i < routes_total(t); i++) {
			const route *r = routes_at(t, i);
			check_leg(to, legs, r->pool ? r->pool->leg : r->leg, &guarded);
		}
		for (size_t i = 0; i < PROTOCOLS; i++)
			check_leg(to, legs, t->target_legs[i], &guarded);
	}
	if (guarded)
		finding(to, FOUND_OK, "tap", legs, "only HAProxy and the tap can connect to the tap and to the legs");
}
