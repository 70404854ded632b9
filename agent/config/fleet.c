/* SPDX-License-Identifier: MIT */
#include "config/fleet.h"

bool fleet_uri_secret(slice name)
{
	static const slice secrets[] = { SLICE_INIT("password"), SLICE_INIT("sslpassword"), SLICE_INIT("passfile"),
					 SLICE_INIT("service") };

	for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
		if (slice_eq(name, secrets[i]))
			return true;
	return false;
}

bool fleet_uri_check(const char *uri, err *e)
{
	char named[16];
	const char *at = strncmp(uri, "postgresql://", 13) == 0 ? uri + 13 :
			 strncmp(uri, "postgres://", 11) == 0   ? uri + 11 :
								  NULL;

	if (!at)
		return err_set(e, "a URI of PostgreSQL is expected: postgresql://USER@HOST:PORT/DATABASE");
	for (const char *c = uri; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return err_set(e, "the URI has a space or a control character in it");
	/* USER:PASSWORD stands before the last @ of what comes before the path. */
	size_t authority = strcspn(at, "/?");
	const char *user_end = memrchr(at, '@', authority);
	if (user_end && memchr(at, ':', (size_t)(user_end - at)))
		return err_set(e,
			       "the URI has a password in it, which process lists and logs would show: put it into a "
			       "file, and name that by fleet_password_file");
	for (at += strcspn(at, "?"); *at; at += strcspn(at, "&")) {
		at++;
		slice name = slice_of(at, strcspn(at, "=&"));
		if (name.len && memchr(name.ptr, '%', name.len))
			return err_set(e,
				       "the URI has the name of a parameter that is written with %%: write it plainly");
		if (fleet_uri_secret(name)) {
			snprintf(named, sizeof named, "%.*s", (int)name.len, name.ptr);
			return err_set(e, FLEET_URI_SECRET, named);
		}
	}
	return true;
}

bool fleet_name_check(slice name, err *e)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];
		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    !(i && strchr(".-_", c)))
			return err_set(
				e,
				"a name has letters, digits, dots, dashes and underscores, and begins with a letter or digit");
	}
	return (name.len && name.len <= FLEET_NAME_MAX) || err_set(e, "a name has 1 to %d characters", FLEET_NAME_MAX);
}
