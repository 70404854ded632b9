/* SPDX-License-Identifier: MIT
 *
 * A request of the ledger as a span of OpenTelemetry, by the names of its conventions for generative AI
 * (docs/telemetry.md), and as much of OTLP's messages as carries spans. */
#ifndef SHIP_SPAN_H
#define SHIP_SPAN_H

#include "base/buf.h"
#include "ledger/record.h"

enum {
	SPAN_TRACE_BYTES = 16,
	SPAN_ID_BYTES = 8,
};

/* Sets the trace and the span of the request `r`, which are the same each time: those that HAProxy has told the
 * upstream, if it traces (LLM_TRACE). */
void span_ids(const record *r, unsigned char trace[SPAN_TRACE_BYTES], unsigned char span[SPAN_ID_BYTES]);

/* True if the client has said that it does not record the trace of `r`. */
bool span_unsampled(const record *r);

/* Appends the span of `r` to `to`, as a field of OTLP's ScopeSpans. False: there is no room, and nothing was appended.
 */
MUST_CHECK bool span_append(buf *to, const record *r);

/* Who sends the spans. */
typedef struct span_source {
	const char *version; /* of this program */
	const char *uuid;    /* of the ledger */
	const char *name;    /* of the gateway */
	const char *host;
} span_source;

/* Appends what stands before `len` bytes of spans in an ExportTraceServiceRequest. False: there is no room. */
MUST_CHECK bool span_request_head(buf *to, const span_source *from, size_t len);

/* Returns how many spans a collector has rejected, by its ExportTraceServiceResponse, of which `body` is the beginning
 * if it is `cut`. 0: none, or `body` is none. */
int64_t span_rejected(slice body, bool cut);

#endif
