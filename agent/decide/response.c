/* SPDX-License-Identifier: MIT */
#include "decide/response.h"

#include <stdlib.h>

#include "answer/answer.h"
#include "sample/decode.h"

typedef struct response {
	slice ctype, cenc, seen, body;
} response;

/* Takes the last coding from a Content-Encoding header. */
static slice last_coding(slice *header)
{
	size_t begin = header->len;

	while (begin > 0 && header->ptr[begin - 1] != ',')
		begin--;
	slice last = slice_from(*header, begin);
	header->len = begin ? begin - 1 : 0;
	return last;
}

/* Undoes the codings of `body`, the last one first. A cut or damaged body counts as far as it can be decoded. Sets
 * `*text` to the result, which *made owns if that is not NULL. False: there is a coding that the agent does not know.
 */
static bool decode(slice header, slice body, slice *text, char **made)
{
	*text = body;
	*made = NULL;
	for (int i = 0; header.len && i <= RESPONSE_CODINGS_MAX; i++) {
		decode_coding coding = decode_coding_of(last_coding(&header));
		char *out = NULL;
		size_t len = 0;
		if (coding == DECODE_IDENTITY)
			continue;
		if (coding == DECODE_UNKNOWN || i == RESPONSE_CODINGS_MAX)
			return false;
		decode_members(coding, *text, RESPONSE_DECODED_MAX, &out, &len);
		free(*made);
		*made = out;
		*text = slice_of(out, len);
	}
	return true;
}

static answer_kind kind_of(const response *r)
{
	/* A haproxy.cfg from before the argument `seen` holds no more than the first event of a stream. */
	if (slice_eq(r->seen, SLICE("first")) ||
	    (r->seen.len == 0 && slice_istarts(slice_trim(r->ctype), SLICE("text/event-stream"))))
		return ANSWER_FIRST;
	return answer_is_lines(r->ctype) ? ANSWER_LINES : ANSWER_JSON;
}

static void response_read(response *r, spop_message *m)
{
	slice name;
	spop_value v;

	*r = (response){ .body = { NULL, 0 } };
	while (spop_arg_next(m, &name, &v)) {
		if (slice_eq(name, SLICE("ctype")))
			r->ctype = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("cenc")))
			r->cenc = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("seen")))
			r->seen = spop_value_bytes(&v);
		else if (slice_eq(name, SLICE("body")))
			r->body = spop_value_bytes(&v);
	}
}

size_t response_ack(spop_message *m, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id)
{
	response r;
	answer_told told;
	slice text;
	char *made;

	response_read(&r, m);
	bool known = decode(r.cenc, r.body, &text, &made);
	answer_read(known ? text : (slice){ NULL, 0 }, kind_of(&r), &told);
	spop_writer w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
	if (told.usage_len || told.settled || !known) {
		spop_ack_set(&w, SLICE("usage"));
		spop_put_str(&w, slice_of(told.usage, told.usage_len));
	}
	if (told.tier.len) {
		spop_ack_set(&w, SLICE("tier"));
		spop_put_str(&w, told.tier);
	}
	size_t written = frame_end(&w);
	free(made);
	if (written == 0) {
		w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
		written = frame_end(&w);
	}
	return written;
}
