/* SPDX-License-Identifier: MIT
 *
 * The llm-request that HAProxy sends by spoe.conf for a chat request, argument by argument, for the benchmarks. */
#ifndef BENCH_NOTIFY_H
#define BENCH_NOTIFY_H

#include "spop/frame.h"

enum { NOTIFY_EXTRA = 1024 }; /* bytes of a payload that are not the body's */

/* Writes the payload into `room`, which has body.len + NOTIFY_EXTRA bytes: the body's first `head` and last `tail`
 * bytes, as haproxy.cfg.example cuts them; head 0: the whole body. `flags`: as FLAG_..., 0 for most requests. Returns
 * its length; 0: it did not fit. */
static inline size_t notify_payload(unsigned char *room, size_t room_len, slice body, size_t head, size_t tail,
				    unsigned flags)
{
	spop_writer w = { room, room, room + room_len, false };
	size_t cut = head > 0 && head < body.len ? head : body.len;
	size_t end = body.len - cut < tail ? body.len - cut : tail;

	spop_put_name(&w, SLICE("llm-request-2"));
	spop_put_u8(&w, 18);
	spop_put_name(&w, SLICE("id"));
	spop_put_str(&w, SLICE("019aac4e-5f3d-7c1a-9d1f-6c2b8e7a4d10"));
	spop_put_name(&w, SLICE("method"));
	spop_put_str(&w, SLICE("POST"));
	spop_put_name(&w, SLICE("path"));
	spop_put_str(&w, SLICE("/v1/chat/completions"));
	spop_put_name(&w, SLICE("headers"));
	spop_put_str(&w, SLICE("host,content-type,user-agent,authorization,content-length"));
	spop_put_name(&w, SLICE("ctype"));
	spop_put_str(&w, SLICE("application/json"));
	spop_put_name(&w, SLICE("cenc"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("body"));
	spop_put_u8(&w, SPOP_BIN);
	spop_put_name(&w, slice_first(body, cut));
	spop_put_name(&w, SLICE("tail"));
	spop_put_u8(&w, end > 0 ? SPOP_BIN : SPOP_NULL);
	if (end > 0)
		spop_put_name(&w, slice_from(body, body.len - end));
	spop_put_name(&w, SLICE("buffered"));
	spop_put_int64(&w, (int64_t)body.len);
	spop_put_name(&w, SLICE("length"));
	spop_put_int64(&w, (int64_t)body.len);
	spop_put_name(&w, SLICE("ua"));
	spop_put_str(&w, SLICE("OpenAI/Python 1.99.1"));
	spop_put_name(&w, SLICE("flags"));
	if (flags)
		spop_put_int64(&w, flags);
	else
		spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("model_param"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("deployment_param"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("model_hint"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("project"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("client"));
	spop_put_u8(&w, SPOP_NULL);
	spop_put_name(&w, SLICE("backends"));
	spop_put_str(&w, SLICE("c9ac9776d3733fca"));
	return w.overflow ? 0 : (size_t)(w.pos - w.start);
}

/* Reads a file whole, into memory from malloc. An empty slice: it cannot be read. */
slice bench_read(const char *path);

#endif
