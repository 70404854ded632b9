/* SPDX-License-Identifier: MIT */
#include "ship/pq_target.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/fleet.h"

/* Debian's file of certificate authorities. libpq's own default is a file of the user's home, which a service has not.
 */
#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

static void put(pq_target *t, const char *name, const char *value)
{
	if (t->count == PQ_TARGET_MAX)
		return;
	t->names[t->count] = name;
	t->values[t->count++] = value;
}

/* Returns the value of a parameter of the URI; NULL: it has none. */
static const char *value_of(const PQconninfoOption *options, const char *name)
{
	for (const PQconninfoOption *o = options; o->keyword; o++)
		if (strcmp(o->keyword, name) == 0)
			return o->val;
	return NULL;
}

/* True if each host of a list with commas is this one: a unix socket's directory, or a loopback address. */
static bool all_local(const char *hosts)
{
	while (hosts) {
		slice host = slice_of(hosts, strcspn(hosts, ","));
		if (host.len && !slice_starts(host, SLICE("/")) && !slice_starts(host, SLICE("@")) &&
		    !slice_eq(host, SLICE("localhost")) && !slice_eq(host, SLICE("::1")) &&
		    !(slice_starts(host, SLICE("127.")) && host.len == strspn(hosts, "0123456789.")))
			return false;
		hosts = hosts[host.len] ? hosts + host.len + 1 : NULL;
	}
	return true;
}

/* Checks that only the owner may change the file, and that nobody but the owner and the group may read it. */
static bool check_file(const char *path, err *e)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return err_set(e, "fleet_password_file %.200s: %s", path, strerror(errno));
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return err_set(
			e,
			"fleet_password_file %.200s belongs to the user %u: it has to belong to root or to the user "
			"that reads it",
			path, (unsigned)st.st_uid);
	if (st.st_mode & 027)
		return err_set(
			e,
			"fleet_password_file %.200s: others may read it, or its group may write it: chmod 0600 or 0640",
			path);
	return true;
}

static bool take_password(pq_target *t, const char *path, err *e)
{
	if (!path || !*path)
		return true;
	if (!check_file(path, e))
		return false;
	secret_load(&t->password, path);
	if (!t->password.value)
		return err_set(e, "fleet_password_file %.200s: %s", path, t->password.problem);
	put(t, "password", t->password.value);
	return true;
}

/* Decides how the server's certificate is verified. */
static bool take_tls(pq_target *t, const PQconninfoOption *options, err *e)
{
	const char *mode = value_of(options, "sslmode");

	/* Encryption by Kerberos would come before TLS, and verify no certificate. */
	put(t, "gssencmode", "disable");
	if (all_local(value_of(options, "host")) && all_local(value_of(options, "hostaddr")))
		return true;
	if (!mode)
		put(t, "sslmode", "verify-full");
	else if (strcmp(mode, "verify-full") != 0 && strcmp(mode, "verify-ca") != 0)
		return err_set(
			e,
			"fleet_uri: sslmode=%.20s lets anybody between here and the server read the password's proof and "
			"all rows: beyond this host verify-full, the default, or verify-ca is needed; "
			"sslrootcert=FILE names the authority of the server's certificate",
			mode);
	if (!value_of(options, "sslrootcert"))
		put(t, "sslrootcert", SYSTEM_CA);
	return true;
}

bool pq_target_init(pq_target *t, const PQconninfoOption *options, const pq_settings *s, err *e)
{
	static const struct {
		const char *name, *value;
	} defaults[] = {
		{ "application_name", "spoa-llm" }, { "connect_timeout", "10" }, { "keepalives_idle", "30" },
		{ "keepalives_interval", "10" },    { "keepalives_count", "3" }, { "tcp_user_timeout", "60000" },
		{ "dbname", "spoa_llm" },
	};

	static const char *const places[] = { "PGHOSTADDR", "PGSERVICE" };

	*t = (pq_target){ .count = 0 };
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (getenv(places[i]))
			return err_set(
				e,
				"the environment has %s, by which libpq could connect elsewhere than to the host of "
				"fleet_uri, and without TLS: unset it",
				places[i]);
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		if (!o->val || strcmp(o->keyword, "client_encoding") == 0)
			continue;
		if (fleet_uri_secret(slice_cstr(o->keyword)))
			return err_set(e, "fleet_uri: " FLEET_URI_SECRET, o->keyword);
		put(t, o->keyword, o->val);
	}
	for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
		if (!value_of(options, defaults[i].name))
			put(t, defaults[i].name, defaults[i].value);
	put(t, "client_encoding", "UTF8");
	if (s->write && !value_of(options, "target_session_attrs"))
		put(t, "target_session_attrs", "read-write");
	return take_tls(t, options, e) && take_password(t, s->password_file, e);
}

const char *pq_target_value(const pq_target *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++)
		if (strcmp(t->names[i], name) == 0)
			return t->values[i];
	return "";
}

void pq_target_deinit(pq_target *t)
{
	secret_deinit(&t->password);
}
