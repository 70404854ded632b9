/* SPDX-License-Identifier: MIT
 *
 * The usage object of a compressed response, which HAProxy itself cannot read: message `llm-response` -> variable
 * `usage`. Nothing else of the response is kept or logged. */
#ifndef DECIDE_RESPONSE_H
#define DECIDE_RESPONSE_H

#include "spop/session.h"

enum {
	USAGE_FRAGMENT_MAX = 1024, /* bytes of a usage object; real ones have a few hundred */
	RESPONSE_DECODED_MAX =
		1024 * 1024, /* most bytes that are decoded: as much as HAProxy holds of an uncompressed response */
};

/* Returns the object of the last "usage" or "usageMetadata" member in `text`; if `text` is an event stream, of the
 * first such member; empty: there is none. If `text` ends within the object, returns what is there of it. Returns at
 * most USAGE_FRAGMENT_MAX bytes. */
slice usage_fragment(slice text, bool event_stream);

/* Reads the arguments of `m` and writes an ACK to `room`: with `usage` set, or without an action if there is no usage.
 * Returns its size. */
MUST_CHECK size_t response_ack(spop_message *m, const spop_session *s, unsigned char *room, size_t room_len,
			       uint64_t stream_id, uint64_t frame_id);

#endif
