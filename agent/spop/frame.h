/* SPDX-License-Identifier: MIT
 *
 * SPOP frames (SPOE.txt, 3.2): a 4-byte length, then type, flags, stream-id, frame-id and payload.
 * The length, and max-frame-size, count what follows the length itself. */
#ifndef SPOP_FRAME_H
#define SPOP_FRAME_H

#include "base/bytes.h"
#include "base/must_check.h"
#include "spop/value.h"

enum {
	FRAME_PREFIX = 4,     /* bytes of the length */
	FRAME_SIZE_MIN = 256, /* the smallest max-frame-size that the protocol allows */
	FRAME_HEAD_MIN = 7,   /* type, flags, and two one-byte ids */
};

typedef enum frame_type {
	FRAME_UNSET = 0, /* continuation of a fragmented frame */
	FRAME_HAPROXY_HELLO = 1,
	FRAME_HAPROXY_DISCONNECT = 2,
	FRAME_NOTIFY = 3,
	FRAME_AGENT_HELLO = 101,
	FRAME_AGENT_DISCONNECT = 102,
	FRAME_ACK = 103,
} frame_type;

enum { FRAME_FIN = 1, FRAME_ABORT = 2 };

/* Why a connection is closed, as AGENT-DISCONNECT says it (SPOE.txt, 3.2.9). */
typedef enum spop_status {
	SPOP_OK = 0,
	SPOP_IO_ERROR = 1,
	SPOP_TIMEOUT = 2,
	SPOP_TOO_BIG = 3,
	SPOP_INVALID = 4,
	SPOP_NO_VERSION = 5,
	SPOP_NO_FRAME_SIZE = 6,
	SPOP_NO_CAPABILITIES = 7,
	SPOP_BAD_VERSION = 8,
	SPOP_BAD_FRAME_SIZE = 9,
	SPOP_FRAGMENTED = 10,
	SPOP_INTERLACED = 11,
	SPOP_NO_RESOURCE = 13,
} spop_status;

typedef struct frame {
	uint8_t type; /* a frame_type, or an unknown one */
	uint32_t flags;
	uint64_t stream_id;
	uint64_t frame_id;
	slice payload; /* points into the bytes that were decoded */
} frame;

typedef enum frame_result { FRAME_OK, FRAME_PARTIAL, FRAME_TOO_BIG, FRAME_BAD } frame_result;

/* Decodes the first frame of `in`. `max` is the largest length accepted. OK: `*used` is the size of the frame with its
 * length prefix. PARTIAL: `*used` is the number of bytes that the whole frame takes (FRAME_PREFIX if its length is not
 * known yet). TOO_BIG: the frame is longer than `max`. BAD: it is too short for its header, or an id in it is
 * malformed. */
MUST_CHECK frame_result frame_decode(slice in, uint32_t max, frame *out, size_t *used);

/* Starts a frame in `room`, whose length after the prefix will not exceed `max`. It is inlined, like everything that
 * writes an ACK, so that the writer stays in registers: if it were returned in memory, the next read of it would wait
 * for the stores. */
static inline __attribute__((always_inline)) spop_writer frame_begin(unsigned char *room, size_t room_len, uint32_t max,
								     frame_type type, uint64_t stream_id,
								     uint64_t frame_id)
{
	static const unsigned char head[FRAME_PREFIX + 5] = { 0, 0, 0, 0, 0, 0, 0, 0, FRAME_FIN };
	size_t len = room_len < FRAME_PREFIX + (size_t)max ? room_len : FRAME_PREFIX + (size_t)max;
	spop_writer w = { room, room, room + len, false };

	if (len < sizeof head) {
		w.overflow = true;
		return w;
	}
	memcpy(room, head, sizeof head);
	room[FRAME_PREFIX] = (uint8_t)type;
	w.pos += sizeof head;
	spop_put_varint(&w, stream_id);
	spop_put_varint(&w, frame_id);
	return w;
}

/* Writes the length. Returns the bytes that the frame takes in all; 0: it did not fit. */
MUST_CHECK static inline size_t frame_end(spop_writer *w)
{
	if (w->overflow)
		return 0;
	size_t len = (size_t)(w->pos - w->start);
	put_u32be(w->start, (uint32_t)(len - FRAME_PREFIX));
	return len;
}

#endif
