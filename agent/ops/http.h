/* SPDX-License-Identifier: MIT
 *
 * The paths that the admin server serves, and their answers: libmicrohttpd's callbacks. `cls` is the http_listener. */
#ifndef OPS_HTTP_H
#define OPS_HTTP_H

#include <microhttpd.h>

void *http_begin(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_handle(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
			    const char *version, const char *upload, size_t *upload_len, void **context);
void http_end(void *cls, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode how);
/* Frees what http_begin() returned, for a request of which http_end() was not told. */
void http_free(void *context);

#endif
