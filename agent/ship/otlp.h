/* SPDX-License-Identifier: MIT
 *
 * Sends the requests of the ledger as spans to an OpenTelemetry collector: a thread that reads rows by their sequence,
 * sends them, and keeps in a file up to where the collector has them. */
#ifndef SHIP_OTLP_H
#define SHIP_OTLP_H

#include <time.h>

#include "base/err.h"
#include "base/must_check.h"
#include "ship/shipper.h"
#include "ship/span.h"

enum {
	OTLP_ROWS = 512,      /* of a request */
	OTLP_BYTES = 1 << 20, /* of the spans in it, before they are packed */
	OTLP_REPORT_MAX = 2048,
};

typedef struct otlp_settings {
	const char *db;           /* the ledger's path */
	const char *endpoint;     /* as config/otlp.h has checked it */
	const char *headers_file; /* "": none */
	const char *ca_file;      /* "": the system's authorities */
	const char *dir;          /* of the file with the position */
	bool sampled_only;        /* no span of a request whose client does not record its trace */
	span_source from;         /* `uuid` is set by the thread */
	int stop_fd;              /* readable: the thread has to end */
} otlp_settings;

typedef struct otlp otlp;

/* Starts the thread. `settings` has to outlive it. NULL: `e` says why not. */
otlp *otlp_start(const otlp_settings *settings, err *e);
/* Writes what the agent is told, a JSON object, to `out`. Returns its length. */
size_t otlp_report(otlp *o, char out[OTLP_REPORT_MAX]);
/* Waits until the thread has ended, at most until `until`, by the wall clock. False: it has not, and keeps `o`; else
 * `o` is freed. */
bool otlp_join(otlp *o, const struct timespec *until);

#endif
