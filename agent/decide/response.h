/* SPDX-License-Identifier: MIT
 *
 * Answers the message `llm-response`: of a response that HAProxy cannot read by itself, the usage object (variable
 * `usage`) and the service tier (`tier`). Nothing else of the response is kept or logged. */
#ifndef DECIDE_RESPONSE_H
#define DECIDE_RESPONSE_H

#include "spop/session.h"

enum {
	RESPONSE_DECODED_MAX =
		4 * 1024 * 1024, /* most bytes that are decoded: as much as HAProxy holds of an uncompressed response */
	RESPONSE_CODINGS_MAX = 3, /* of one response, one upon the other */
	RESPONSE_ACK_MAX = 2048,  /* bytes of an ACK */
};

/* Reads the arguments of `m` and writes an ACK to `room`. `usage` is set if the response tells one. It is set and empty
 * if more of the response would tell nothing new: a stream whose first event tells none, or a coding that the agent
 * does not know. Then HAProxy does not wait for more. Returns the ACK's size. */
MUST_CHECK size_t response_ack(spop_message *m, const spop_session *s, unsigned char *room, size_t room_len,
			       uint64_t stream_id, uint64_t frame_id);

#endif
