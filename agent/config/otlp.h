/* SPDX-License-Identifier: MIT
 *
 * The option otlp_endpoint. libcurl is not needed to read it. */
#ifndef CONFIG_OTLP_H
#define CONFIG_OTLP_H

#include "base/err.h"
#include "base/must_check.h"

/* Checks that `url` is one by HTTP or HTTPS, with a host, without a password, a query or a fragment. With `secret`,
 * because a file of headers goes along, it has to be HTTPS, or on this host. False: `e` says why. */
MUST_CHECK bool otlp_endpoint_check(const char *url, bool secret, err *e);

#endif
