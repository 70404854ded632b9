/* SPDX-License-Identifier: MIT
 *
 * Hashes of what an operator configured, by which gateways of a fleet find out whether they all decide alike. A route's
 * credential counts by where it comes from, never by its value; a client's key by its SHA-256, as in the file of
 * clients. Two configurations that mean the same have the same hash. The hashes are no secret, and prove nothing:
 * SipHash with a key that everybody knows. */
#ifndef DECIDE_SETTINGS_HASH_H
#define DECIDE_SETTINGS_HASH_H

#include "decide/policy.h"

enum { SETTINGS_HASH_LEN = 16 }; /* hexadecimal digits */

/* Writes the hash of the routes and targets in force. The order of routes counts; routes that are not enabled, and
 * whether streams go through a tap, do not. */
void settings_hash_routes(const route_table *t, char out[SETTINGS_HASH_LEN + 1]);
/* Writes the hash of the clients, their keys, limits and budgets, and their projects, in whatever order they stand.
 * `t` may be NULL: there are no clients. */
void settings_hash_clients(const client_table *t, char out[SETTINGS_HASH_LEN + 1]);

/* Returns the part that one route, client or project has in these hashes; that of a client is without its keys, whose
 * hash is put into `*keys`. */
uint64_t settings_hash_route(const route *r);
uint64_t settings_hash_client(const client_table *t, const client *c, uint64_t *keys);
uint64_t settings_hash_project(const client_project *p);

#endif
