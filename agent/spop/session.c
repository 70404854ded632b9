/* SPDX-License-Identifier: MIT */
#include "spop/session.h"

#include <assert.h>

void spop_session_init(spop_session *s, uint32_t max_frame, bool allow_pipelining)
{
	*s = (spop_session){ .max_frame = max_frame, .allow_pipelining = allow_pipelining };
}

static spop_event fail(spop_session *s, spop_status status, slice reason)
{
	s->state = SPOP_ENDED;
	return (spop_event){ .type = SPOP_ERROR, .status = status, .reason = reason };
}

/* True if an item of the comma-separated `list` is or starts with `text`, whichever `compare` tests. */
static bool listed(slice list, bool (*compare)(slice item, slice text), slice text)
{
	for (size_t at = 0; at <= list.len;) {
		size_t comma = slice_find(list, at, ',');
		if (compare(slice_trim(slice_of(list.ptr + at, comma - at)), text))
			return true;
		at = comma + 1;
	}
	return false;
}

static spop_event take_hello(spop_session *s, const frame *f)
{
	cursor c = cursor_of(f->payload);
	spop_value versions = { .type = SPOP_NULL };
	spop_value size = { .type = SPOP_NULL };
	spop_value capabilities = { .type = SPOP_NULL };

	if (f->type != FRAME_HAPROXY_HELLO)
		return fail(s, SPOP_INVALID, SLICE("the first frame is not a HAPROXY-HELLO"));
	if (f->stream_id != 0 || f->frame_id != 0)
		return fail(s, SPOP_INVALID, SLICE("HAPROXY-HELLO with a stream-id or frame-id"));
	while (!cursor_done(&c)) {
		slice key = spop_name_read(&c);
		spop_value value = spop_value_read(&c);
		if (slice_eq(key, SLICE("supported-versions")))
			versions = value;
		else if (slice_eq(key, SLICE("max-frame-size")))
			size = value;
		else if (slice_eq(key, SLICE("capabilities")))
			capabilities = value;
		else if (slice_eq(key, SLICE("healthcheck")))
			s->healthcheck = spop_value_true(&value);
	}
	if (c.failed)
		return fail(s, SPOP_INVALID, SLICE("HAPROXY-HELLO is cut or has a value of unknown type"));
	if (versions.type != SPOP_STR)
		return fail(s, SPOP_NO_VERSION, SLICE("HAPROXY-HELLO without supported-versions"));
	if (size.type != SPOP_UINT32 && size.type != SPOP_INT32 && size.type != SPOP_UINT64 && size.type != SPOP_INT64)
		return fail(s, SPOP_NO_FRAME_SIZE, SLICE("HAPROXY-HELLO without max-frame-size"));
	if (capabilities.type != SPOP_STR)
		return fail(s, SPOP_NO_CAPABILITIES, SLICE("HAPROXY-HELLO without capabilities"));
	/* Versions are MAJOR.MINOR. The protocol promises that every minor version of 2 is compatible. */
	if (!listed(versions.bytes, slice_starts, SLICE("2.")))
		return fail(s, SPOP_BAD_VERSION, SLICE("HAProxy does not offer version 2 of SPOP"));
	if (spop_value_uint(&size) < FRAME_SIZE_MIN)
		return fail(s, SPOP_BAD_FRAME_SIZE, SLICE("HAProxy offers a max-frame-size below 256"));

	s->offered = spop_value_uint(&size) < UINT32_MAX ? (uint32_t)spop_value_uint(&size) : UINT32_MAX;
	if (s->offered < s->max_frame)
		s->max_frame = s->offered;
	s->pipelining = s->allow_pipelining && listed(capabilities.bytes, slice_eq, SLICE("pipelining"));
	s->async = listed(capabilities.bytes, slice_eq, SLICE("async"));
	s->state = SPOP_READY;
	return (spop_event){ .type = SPOP_HELLO };
}

static spop_event take_disconnect(spop_session *s, const frame *f)
{
	cursor c = cursor_of(f->payload);
	spop_event e = { .type = SPOP_DISCONNECT };

	while (!cursor_done(&c)) {
		slice key = spop_name_read(&c);
		spop_value value = spop_value_read(&c);
		if (slice_eq(key, SLICE("status-code")))
			e.status = (spop_status)(spop_value_uint(&value) & 0xff);
		else if (slice_eq(key, SLICE("message")))
			e.reason = spop_value_bytes(&value);
	}
	s->state = SPOP_ENDED;
	return e;
}

bool spop_messages_skip(cursor *messages)
{
	spop_message m;
	slice name;
	spop_value value;

	while (spop_message_next(messages, &m))
		while (spop_arg_next(&m, &name, &value))
			;
	return !messages->failed;
}

spop_event spop_session_malformed(spop_session *s)
{
	return fail(s, SPOP_INVALID, SLICE("NOTIFY is cut or has a value of unknown type"));
}

spop_event spop_session_next(spop_session *s, slice *in)
{
	frame f;
	size_t used;

	assert(s->state != SPOP_ENDED);
	switch (frame_decode(*in, s->max_frame, &f, &used)) {
	case FRAME_PARTIAL:
		return (spop_event){ .type = SPOP_MORE, .need = used };
	case FRAME_TOO_BIG:
		return fail(s, SPOP_TOO_BIG, SLICE("a frame is larger than max-frame-size"));
	case FRAME_BAD:
		return fail(s, SPOP_INVALID, SLICE("a frame is too short for its header"));
	case FRAME_OK:
		break;
	}
	*in = slice_from(*in, used);

	if (f.type == FRAME_UNSET)
		return fail(s, SPOP_INTERLACED, SLICE("a fragment without its first part"));
	if (!(f.flags & FRAME_FIN))
		return fail(s, SPOP_FRAGMENTED, SLICE("fragmented frames were not agreed on"));
	if (s->state == SPOP_AWAIT_HELLO)
		return take_hello(s, &f);
	switch (f.type) {
	case FRAME_NOTIFY:
		return (spop_event){
			.type = SPOP_NOTIFY, .stream_id = f.stream_id, .frame_id = f.frame_id, .messages = f.payload
		};
	case FRAME_HAPROXY_DISCONNECT:
		return take_disconnect(s, &f);
	case FRAME_HAPROXY_HELLO:
		return fail(s, SPOP_INVALID, SLICE("a second HAPROXY-HELLO"));
	case FRAME_AGENT_HELLO:
	case FRAME_AGENT_DISCONNECT:
	case FRAME_ACK:
		return fail(s, SPOP_INVALID, SLICE("a frame that only an agent sends"));
	default:
		return (spop_event){ .type = SPOP_SKIPPED };
	}
}

size_t spop_write_hello(const spop_session *s, unsigned char *room, size_t room_len)
{
	spop_writer w = frame_begin(room, room_len, s->max_frame, FRAME_AGENT_HELLO, 0, 0);

	spop_put_name(&w, SLICE("version"));
	spop_put_str(&w, SLICE("2.0"));
	spop_put_name(&w, SLICE("max-frame-size"));
	spop_put_uint32(&w, s->max_frame);
	spop_put_name(&w, SLICE("capabilities"));
	spop_put_str(&w, s->pipelining ? SLICE("pipelining") : SLICE(""));
	return frame_end(&w);
}

size_t spop_write_disconnect(const spop_session *s, unsigned char *room, size_t room_len, spop_status status,
			     slice message)
{
	spop_writer w = frame_begin(room, room_len, s->max_frame, FRAME_AGENT_DISCONNECT, 0, 0);

	spop_put_name(&w, SLICE("status-code"));
	spop_put_uint32(&w, (uint32_t)status);
	spop_put_name(&w, SLICE("message"));
	spop_put_str(&w, message);
	return frame_end(&w);
}
