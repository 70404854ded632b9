/* SPDX-License-Identifier: MIT
 *
 * What `spoa-llm ship` says once a second, by datagrams to `fleet_listen`, of the spans that it sends to an
 * OpenTelemetry collector. */
#ifndef SERVE_SPANS_H
#define SERVE_SPANS_H

#include <pthread.h>

#include "base/slice.h"
#include "ops/host.h"

typedef struct spans {
	pthread_mutex_t lock; /* of all below */
	host_spans last;
	int64_t sent, dropped, unsampled; /* by earlier processes */
	int64_t pid;
	int64_t heard_ms, began_ms; /* monotonic; heard_ms 0: not yet */
} spans;

void spans_init(spans *s);
void spans_deinit(spans *s);
/* Takes in what a shipper says of spans. Anything else is left alone. */
void spans_take(spans *s, slice datagram);
/* Tells what is known. From any thread. */
host_spans spans_tell(spans *s);

#endif
