/* SPDX-License-Identifier: MIT
 *
 * The keys of a route that routes_paths.c reads. Each function reads `item`, which stands at `p`, into `*r`. False:
 * `to` has the error. */
#ifndef CONFIG_ROUTES_IMPL_H
#define CONFIG_ROUTES_IMPL_H

#include "config/routes.h"

bool read_path_prefix(const problems *to, route *r, const cJSON *item, place p);
bool read_paths(const problems *to, route *r, const cJSON *item, place p);
bool read_forward_headers(const problems *to, route *r, const cJSON *item, place p);
bool read_models(const problems *to, route *r, const cJSON *item, place p);

/* The keys of a route that routes_connect.c reads. */
bool read_ca_file(const problems *to, route *r, const cJSON *item, place p);
bool read_client_cert(const problems *to, route *r, const cJSON *item, place p);
bool read_alpn(const problems *to, route *r, const cJSON *item, place p);
bool read_sni(const problems *to, route *r, const cJSON *item, place p);
bool read_timeout(const problems *to, route *r, const cJSON *item, place p);
bool read_max_connections(const problems *to, route *r, const cJSON *item, place p);

typedef struct number_range {
	const char *key, *of; /* `of`: what is counted, or "" */
	int min, max;
} number_range;

/* Reads a whole number into `*slot`. */
bool read_number(const problems *to, unsigned *slot, const cJSON *item, place p, number_range range);

/* Each reads from `item` one key of a route with a pool, or of a member, into `r`. `p`: the place of the key. False:
 * `to` has the error. */
bool read_pool(const problems *to, route *r, const cJSON *item, place p);
bool read_balance(const problems *to, route *r, const cJSON *item, place p);
bool read_retry_on(const problems *to, route *r, const cJSON *item, place p);
bool read_retries(const problems *to, route *r, const cJSON *item, place p);
bool read_pool_header(const problems *to, route *r, const cJSON *item, place p);
bool read_member_name(const problems *to, route *r, const cJSON *item, place p);
bool read_weight(const problems *to, route *r, const cJSON *item, place p);

/* Reads the members of the pool of the route `object`, which was read into `r` and has its name, and adds them to `t`.
 * Rejects the keys about pools if `object` has no pool. False: `to` has the error. */
bool read_members(const problems *to, route_table *t, route *r, const cJSON *object, place where);

/* Reads a member, which belongs to the route `owner` of `t`, from `object` into `r`. False: `to` has the error. */
bool read_member(const problems *to, const route_table *t, const route *owner, route *r, const cJSON *object,
		 place where);

/* Names the backends of the enabled members, and checks what they have in common with others. `where` is the array of
 * routes. False: `to` has the error. */
bool check_members(route_table *t, place where, const problems *to);

/* Warns in the log of a credential that travels without TLS. */
void warn_cleartext(const route_table *t, const route *r);

/* Checks that no other upstream has the name of the backend of routes_at(t, index), because HAProxy sends a request and
 * its credential by this name alone. Lenient: such a route loses its upstream, and so refuses its requests. */
bool check_backend(route_table *t, size_t index, const problems *to, place where);

/* Checks what these keys of the route `object`, which was read into `r`, mean for its upstream. False: `to` has the
 * error. */
bool check_connect(const problems *to, const route_table *t, route *r, const cJSON *object, place where);

/* Names the backend of a route whose forward_headers or keys of routes_connect.c other routes do not have: its usual
 * name, which the route must have by now, and hashes of these settings. So a HAProxy whose backends were made for other
 * settings lacks the backend, and refuses the request. */
bool set_own_backend(const route_table *t, route *r, err *e);

#endif
