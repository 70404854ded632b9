/* SPDX-License-Identifier: MIT
 *
 * One SPOP conversation: bytes in, events out. It has no socket, allocates nothing, and does not know what the messages
 * mean. The caller answers each event with one of the writers below. */
#ifndef SPOP_SESSION_H
#define SPOP_SESSION_H

#include "spop/frame.h"

typedef struct spop_session {
	enum { SPOP_AWAIT_HELLO, SPOP_READY, SPOP_ENDED } state;
	uint32_t max_frame; /* our own until HELLO, then the smaller of both sides' */
	uint32_t offered;   /* HAProxy's max-frame-size, 2^32 - 1 at most; 0 before HELLO */
	bool allow_pipelining;
	bool pipelining;  /* both sides announced it */
	bool async;       /* HAProxy announced it, as versions up to 3.0 do */
	bool healthcheck; /* a connection of `option spop-check` */
} spop_session;

typedef enum spop_event_type {
	SPOP_MORE,       /* the input holds no whole frame: the next one takes `need` bytes */
	SPOP_HELLO,      /* answer with spop_write_hello() */
	SPOP_NOTIFY,     /* `messages` of stream_id/frame_id: answer exactly once, with an ACK */
	SPOP_SKIPPED,    /* a frame of an unknown type, to be ignored */
	SPOP_DISCONNECT, /* HAProxy leaves; `status` and `reason` are its own */
	SPOP_ERROR,      /* answer with spop_write_disconnect(status) and close */
} spop_event_type;

typedef struct spop_event {
	spop_event_type type;
	size_t need;
	uint64_t stream_id;
	uint64_t frame_id;
	slice messages;     /* NOTIFY: for spop_message_next() */
	spop_status status; /* DISCONNECT, ERROR */
	slice reason;       /* DISCONNECT: the peer's text; ERROR: our own, static */
} spop_event;

void spop_session_init(spop_session *s, uint32_t max_frame, bool allow_pipelining);

/* Takes the first frame off `*in`. Must not be called after DISCONNECT or ERROR. The messages of a NOTIFY are not
 * checked: the caller reads them, ends with spop_messages_skip(), and acts on them only if that returns true. */
spop_event spop_session_next(spop_session *s, slice *in);

/* Returns the ERROR that takes the place of a NOTIFY whose messages turned out to be malformed. */
spop_event spop_session_malformed(spop_session *s);

typedef struct spop_message {
	slice name;
	unsigned args; /* to be read with spop_arg_next() before the next message */
	cursor *from;
} spop_message;

/* Reads the head of the next message. False: there is none, or it is malformed (then the cursor has failed). */
static inline bool spop_message_next(cursor *messages, spop_message *out)
{
	if (cursor_done(messages))
		return false;
	out->name = spop_name_read(messages);
	out->args = cursor_u8(messages);
	out->from = messages;
	return !messages->failed;
}

/* Reads the next argument. False: there is none, or it is malformed (then the cursor has failed). */
static inline bool spop_arg_next(spop_message *m, slice *name, spop_value *value)
{
	if (m->args == 0 || m->from->failed)
		return false;
	m->args--;
	*name = spop_name_read(m->from);
	*value = spop_value_read(m->from);
	return !m->from->failed;
}

/* Reads the messages that are left. False: one of them, or one that was read before, is malformed. */
MUST_CHECK bool spop_messages_skip(cursor *messages);

/* Write a frame to `room`. Both return its size; 0: it did not fit. */
MUST_CHECK size_t spop_write_hello(const spop_session *s, unsigned char *room, size_t room_len);
MUST_CHECK size_t spop_write_disconnect(const spop_session *s, unsigned char *room, size_t room_len, spop_status status,
					slice message);

/* Begins an ACK; actions and frame_end() follow. */
static inline __attribute__((always_inline)) spop_writer spop_ack_begin(const spop_session *s, unsigned char *room,
									size_t room_len, uint64_t stream_id,
									uint64_t frame_id)
{
	return frame_begin(room, room_len, s->max_frame, FRAME_ACK, stream_id, frame_id);
}

/* Writes the head of a set-var action in scope txn; one spop_put_*() must follow, with the value. `name` is shorter
 * than 240 bytes. */
static inline __attribute__((always_inline)) void spop_ack_set(spop_writer *w, slice name)
{
	static const unsigned char set_var[3] = { 1 /* SET-VAR */, 3 /* arguments */, 2 /* scope txn */ };

	if (w->overflow || name.len + 4 > (size_t)(w->end - w->pos)) {
		w->overflow = true;
		return;
	}
	memcpy(w->pos, set_var, 3);
	w->pos[3] = (unsigned char)name.len;
	memcpy(w->pos + 4, name.ptr, name.len);
	w->pos += name.len + 4;
}

#endif
