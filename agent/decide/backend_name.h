/* SPDX-License-Identifier: MIT
 *
 * Names of HAProxy's backends. The name of an upstream's backend stands for that upstream and no other one: if HAProxy
 * and the agent have different files, a request is refused for lack of a backend, and does not go, with its credential,
 * to another upstream whose backend happens to have the same name. */
#ifndef DECIDE_BACKEND_NAME_H
#define DECIDE_BACKEND_NAME_H

#include "decide/upstream.h"

enum {
	BACKEND_NAME_MAX = 128, /* bytes of a HAProxy backend's name */
};

/* True for a name that HAProxy accepts for a backend and that this project allows: letters, digits, `.`, `_`, `-`, `:`.
 */
bool backend_name_valid(slice name);

/* True for a name that a section of haproxy.cfg.example, haproxy-existing.cfg or `spoa-llm backends` has, or that a leg
 * may have. No upstream's backend may have it too. */
bool backend_name_taken(slice name);

/* Makes the name of the backend of `u`, of which host, port and scheme are set, and whose base is `path`. The caller
 * frees the result. NULL: out of memory, with errno ENOMEM, or the URL is too long. */
MUST_CHECK char *backend_name_make(const upstream *u, slice path);

/* Sets `host`, which has UPSTREAM_HOST_MAX + 1 bytes, and `*port` to those in the name of an upstream's backend. False:
 * it is no such name, or does not tell where the host ends. */
MUST_CHECK bool backend_name_server(slice name, char *host, uint16_t *port);

#endif
