/* SPDX-License-Identifier: MIT
 *
 * One SPOP conversation: bytes in, events out. No sockets, no memory of its own beyond this struct, no knowledge
 * of what the messages mean. The caller answers each event with one of the writers below. */
#ifndef SPOP_SESSION_H
#define SPOP_SESSION_H

#include "spop/frame.h"

typedef struct spop_session {
	enum { SPOP_AWAIT_HELLO, SPOP_READY, SPOP_ENDED } state;
	uint32_t max_frame; /* ours until HELLO, then the smaller of both */
	bool allow_pipelining;
	bool pipelining;  /* both sides announced it */
	bool async;       /* HAProxy offered it: a client of 3.0 or older */
	bool healthcheck; /* a connection of `option spop-check` */
} spop_session;

typedef enum spop_event_type {
	SPOP_MORE,       /* no whole frame in the input: `need` bytes make the next one */
	SPOP_HELLO,      /* answer with spop_write_hello() */
	SPOP_NOTIFY,     /* messages of stream_id/frame_id: answer exactly once with an ACK */
	SPOP_SKIPPED,    /* a frame of a type not known, to be ignored */
	SPOP_DISCONNECT, /* HAProxy leaves: `status` and `reason` are its own */
	SPOP_ERROR,      /* answer with spop_write_disconnect(status) and close */
} spop_event_type;

typedef struct spop_event {
	spop_event_type type;
	size_t need;
	uint64_t stream_id;
	uint64_t frame_id;
	slice messages;     /* NOTIFY: for spop_message_next() */
	spop_status status; /* DISCONNECT, ERROR */
	slice reason;       /* DISCONNECT: the peer's text; ERROR: ours, static */
} spop_event;

void spop_session_init(spop_session *s, uint32_t max_frame, bool allow_pipelining);

/* Takes the first frame off `*in`. After DISCONNECT or ERROR nothing more is taken. The messages of a NOTIFY are read
 * once, by the caller, who finds out whether they are well-formed when it has read them (spop_messages_skip()), before
 * it acts on any. */
spop_event spop_session_next(spop_session *s, slice *in);

/* Instead of the NOTIFY's, the event of one whose messages turned out to be malformed. */
spop_event spop_session_malformed(spop_session *s);

typedef struct spop_message {
	slice name;
	unsigned args; /* read each with spop_arg_next() before the next message */
	cursor *from;
} spop_message;

/* False at the end. */
static inline bool spop_message_next(cursor *messages, spop_message *out)
{
	if (cursor_done(messages))
		return false;
	out->name = spop_name_read(messages);
	out->args = cursor_u8(messages);
	out->from = messages;
	return !messages->failed;
}

/* False when the message has no more arguments. */
static inline bool spop_arg_next(spop_message *m, slice *name, spop_value *value)
{
	if (m->args == 0 || m->from->failed)
		return false;
	m->args--;
	*name = spop_name_read(m->from);
	*value = spop_value_read(m->from);
	return !m->from->failed;
}

/* Reads what is left of the messages. False: something was malformed, in these or in those that were read before. */
bool spop_messages_skip(cursor *messages);

/* Each returns the bytes written to `room`, or 0 when they did not fit. */
size_t spop_write_hello(const spop_session *s, unsigned char *room, size_t room_len);
size_t spop_write_disconnect(const spop_session *s, unsigned char *room, size_t room_len, spop_status status,
			     slice message);

/* An ACK is frame_begin() by this, then actions, then frame_end(). */
static inline __attribute__((always_inline)) spop_writer spop_ack_begin(const spop_session *s, unsigned char *room,
									size_t room_len, uint64_t stream_id,
									uint64_t frame_id)
{
	return frame_begin(room, room_len, s->max_frame, FRAME_ACK, stream_id, frame_id);
}

/* The head of a set-var action in scope txn; the value follows by one spop_put_*(). Names are literals below 240 bytes.
 */
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
