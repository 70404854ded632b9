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

/* Names the backend of a route that replaces the credential and forwards more headers than the allow list: its usual
 * name, which the route must have by now, and a hash of these headers. So a HAProxy whose backends were made for other
 * headers lacks the backend, and refuses the request. */
bool set_forward_backend(const route_table *t, route *r, err *e);

#endif
