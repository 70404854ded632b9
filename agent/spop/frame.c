/* SPDX-License-Identifier: MIT */
#include "spop/frame.h"

#include "spop/varint.h"

frame_result frame_decode(slice in, uint32_t max, frame *out, size_t *used)
{
	cursor c = cursor_of(in);

	*out = (frame){ 0 };
	*used = FRAME_PREFIX;
	if (in.len < FRAME_PREFIX)
		return FRAME_PARTIAL;
	uint32_t len = cursor_u32be(&c);
	if (len > max)
		return FRAME_TOO_BIG;
	if (len < FRAME_HEAD_MIN)
		return FRAME_BAD;
	*used = FRAME_PREFIX + (size_t)len;
	if (cursor_left(&c) < len)
		return FRAME_PARTIAL;

	cursor body = cursor_of(cursor_take(&c, len));
	out->type = cursor_u8(&body);
	out->flags = cursor_u32be(&body);
	out->stream_id = varint_read(&body);
	out->frame_id = varint_read(&body);
	if (body.failed) {
		*out = (frame){ 0 };
		return FRAME_BAD;
	}
	out->payload = slice_of(body.pos, cursor_left(&body));
	return FRAME_OK;
}

static void put_u32be(unsigned char *at, uint32_t v)
{
	at[0] = (unsigned char)(v >> 24);
	at[1] = (unsigned char)(v >> 16);
	at[2] = (unsigned char)(v >> 8);
	at[3] = (unsigned char)v;
}

spop_writer frame_begin(unsigned char *room, size_t room_len, uint32_t max, frame_type type, uint64_t stream_id,
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

size_t frame_end(spop_writer *w)
{
	if (w->overflow)
		return 0;
	size_t len = (size_t)(w->pos - w->start);
	put_u32be(w->start, (uint32_t)(len - FRAME_PREFIX));
	return len;
}
