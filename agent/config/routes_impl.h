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

/* Checks what these keys of the route `object`, which was read into `r`, mean for its upstream. False: `to` has the
 * error. */
bool check_connect(const problems *to, const route_table *t, route *r, const cJSON *object, place where);

/* Names the backend of a route whose forward_headers or keys of routes_connect.c other routes do not have: its usual
 * name, which the route must have by now, and hashes of these settings. So a HAProxy whose backends were made for other
 * settings lacks the backend, and refuses the request. */
bool set_own_backend(const route_table *t, route *r, err *e);

#endif
