/* SPDX-License-Identifier: MIT
 *
 * The options of the fleet's PostgreSQL. libpq is not needed to read them. */
#ifndef CONFIG_FLEET_H
#define CONFIG_FLEET_H

#include "base/err.h"
#include "base/must_check.h"
#include "base/slice.h"

enum { FLEET_NAME_MAX = 54 };

/* Why a URI is refused that has the parameter %s: the format of an error. */
#define FLEET_URI_SECRET \
	"it has the parameter \"%s\", but secrets stand in files: put the password into a file, and name that by fleet_password_file"

/* True for a parameter by which a URI of PostgreSQL would carry a secret, or name another place of secrets. */
bool fleet_uri_secret(slice name);
/* Checks that `uri` is one of PostgreSQL and carries no password. False: `e` says why, without quoting it. */
MUST_CHECK bool fleet_uri_check(const char *uri, err *e);
/* Checks the name of a gateway or role of the fleet: 1 to FLEET_NAME_MAX letters, digits, dots, dashes and underscores.
 */
MUST_CHECK bool fleet_name_check(slice name, err *e);

#endif
