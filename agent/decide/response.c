/* SPDX-License-Identifier: MIT */
#include "decide/response.h"

#include <stdlib.h>

#include "base/json.h"
#include "sample/decode.h"

/* Returns the object of the member whose name begins with the quote at `at`; empty: it is another member, or its value
 * is no object. Text that a model wrote cannot pass for the name, because quotes inside a string are escaped. */
static slice object_at(slice text, size_t at)
{
	static const slice keys[] = { SLICE_INIT("\"usage\""), SLICE_INIT("\"usageMetadata\"") };
	slice rest = slice_from(text, at), value;
	json_type type;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		if (!slice_starts(rest, keys[i]))
			continue;
		size_t colon = json_skip_space(rest, keys[i].len);
		if (colon == rest.len || rest.ptr[colon] != ':')
			break;
		size_t from = json_skip_space(rest, colon + 1), to = from;
		if (from == rest.len || rest.ptr[from] != '{')
			break;
		json_step step = json_value(rest, &to, &value, &type);
		if (step == JSON_MEMBER)
			return slice_first(value, USAGE_FRAGMENT_MAX);
		if (step == JSON_CUT)
			return slice_first(slice_from(rest, from), USAGE_FRAGMENT_MAX);
		break;
	}
	return (slice){ NULL, 0 };
}

slice usage_fragment(slice text, bool event_stream)
{
	slice found = { NULL, 0 };

	for (size_t at = 0; at < text.len;) {
		const char *hit = memmem(text.ptr + at, text.len - at, "\"usage", 6);
		if (!hit)
			break;
		at = (size_t)(hit - text.ptr);
		slice object = object_at(text, at);
		at += 6;
		if (object.len == 0)
			continue;
		found = object;
		if (event_stream)
			break;
	}
	return found;
}

size_t response_ack(spop_message *m, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id)
{
	slice name, ctype = { NULL, 0 }, cenc = { NULL, 0 }, body = { NULL, 0 }, plain;
	spop_value v;
	char *decoded = NULL;
	size_t len = 0;

	while (spop_arg_next(m, &name, &v)) {
		if (slice_eq(name, SLICE("ctype")))
			ctype = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("cenc")))
			cenc = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("body")))
			body = spop_value_bytes(&v);
	}
	decode_coding coding = decode_coding_of(cenc);
	plain = body;
	if (coding != DECODE_IDENTITY) {
		/* A cut or damaged body counts as far as it could be decoded. */
		if (coding != DECODE_UNKNOWN)
			decode_body(coding, body, RESPONSE_DECODED_MAX, &decoded, &len);
		plain = slice_of(decoded, len);
	}
	slice usage = usage_fragment(plain, slice_istarts(slice_trim(ctype), SLICE("text/event-stream")));
	spop_writer w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
	if (usage.len > 0) {
		spop_ack_set(&w, SLICE("usage"));
		spop_put_str(&w, usage);
	}
	size_t written = frame_end(&w);
	free(decoded);
	if (written == 0) {
		w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
		written = frame_end(&w);
	}
	return written;
}
