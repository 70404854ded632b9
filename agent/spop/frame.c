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
