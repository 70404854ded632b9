/* SPDX-License-Identifier: MIT
 *
 * The usage object of a compressed response, which HAProxy cannot read by itself: message `llm-response` -> variable
 * `usage`. Nothing else of the response is looked at, kept or logged. */
#ifndef DECIDE_RESPONSE_H
#define DECIDE_RESPONSE_H

#include "spop/session.h"

enum {
	USAGE_FRAGMENT_MAX = 1024,          /* bytes of an object; real ones have a few hundred */
	RESPONSE_DECODED_MAX = 1024 * 1024, /* bytes that are decoded at most: what HAProxy holds of a plain one */
};

/* The object behind the last (of an event stream the first) "usage" or "usageMetadata" member that `text` has; empty:
 * none. One that is cut by the end of `text` or by USAGE_FRAGMENT_MAX counts, and is cut. */
slice usage_fragment(slice text, bool event_stream);

/* Reads the arguments of `m`, and writes the actions of one ACK: none where there is no usage. */
size_t response_ack(spop_message *m, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id);

#endif
