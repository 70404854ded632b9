/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "spop/session.h"
#include "spop/varint.h"

static void varints_survive_the_way_there_and_back(void)
{
	static const uint64_t edges[] = { 0,
					  1,
					  239,
					  240,
					  241,
					  2287,
					  2288,
					  264431,
					  264432,
					  UINT32_MAX,
					  (uint64_t)UINT32_MAX + 1,
					  UINT64_MAX / 2,
					  UINT64_MAX - 1,
					  UINT64_MAX };
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
		unsigned char bytes[VARINT_MAX];
		size_t len = varint_write(bytes, edges[i]);
		CHECK(len <= VARINT_MAX);
		cursor c = cursor_of(slice_of(unit_guarded(bytes, len), len));
		CHECK(varint_read(&c) == edges[i] && !c.failed && cursor_left(&c) == 0);
		/* Every cut number fails, and no byte past it is read. */
		for (size_t cut = 0; cut < len; cut++) {
			c = cursor_of(slice_of(unit_guarded(bytes, cut), cut));
			CHECK(varint_read(&c) == 0 && c.failed);
		}
	}
}

static void varints_beyond_64_bits_fail(void)
{
	static const unsigned char endless[] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f
	};
	static const unsigned char one_too_many[] = { 0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x10 };
	cursor c = cursor_of(slice_of(endless, sizeof endless));
	CHECK(varint_read(&c) == 0 && c.failed);
	c = cursor_of(slice_of(one_too_many, sizeof one_too_many));
	CHECK(varint_read(&c) == 0 && c.failed);
}

/* Writes HAPROXY-HELLO to `out`, as HAProxy 2.6 sends it. */
static size_t hello(unsigned char *out, size_t cap, uint32_t frame_size, slice capabilities)
{
	spop_writer w = frame_begin(out, cap, 65536, FRAME_HAPROXY_HELLO, 0, 0);
	spop_put_name(&w, SLICE("supported-versions"));
	spop_put_str(&w, SLICE("1.0, 2.0"));
	spop_put_name(&w, SLICE("max-frame-size"));
	spop_put_uint32(&w, frame_size);
	spop_put_name(&w, SLICE("capabilities"));
	spop_put_str(&w, capabilities);
	return frame_end(&w);
}

static void hello_agrees_on_the_smaller_size(void)
{
	unsigned char bytes[512];
	spop_session s;

	for (int smaller = 0; smaller < 2; smaller++) {
		spop_session_init(&s, 4096, true);
		slice in = slice_of(bytes,
				    hello(bytes, sizeof bytes, smaller ? 1000 : 16380, SLICE("async,pipelining")));
		spop_event e = spop_session_next(&s, &in);
		CHECK(e.type == SPOP_HELLO && in.len == 0);
		CHECK(s.max_frame == (smaller ? 1000u : 4096u));
		CHECK(s.offered == (smaller ? 1000u : 16380u));
		CHECK(s.pipelining && s.async && !s.healthcheck);
	}
}

static void a_cut_hello_waits_and_reads_nothing_past_it(void)
{
	unsigned char bytes[512];
	size_t len = hello(bytes, sizeof bytes, 16380, SLICE(""));

	for (size_t cut = 0; cut < len; cut++) {
		spop_session s;
		spop_session_init(&s, 16380, true);
		slice in = slice_of(unit_guarded(bytes, cut), cut);
		spop_event e = spop_session_next(&s, &in);
		CHECK(e.type == SPOP_MORE && in.len == cut);
		CHECK(e.need == (cut < 4 ? 4 : len));
	}
}

/* True if [p..end) consists of whole messages: the rules of SPOE.txt, written in the plainest way. */
static bool well_formed(const unsigned char *p, const unsigned char *end)
{
	cursor c = { p, end, false };

	while (c.pos < c.end && !c.failed) {
		cursor_take(&c, varint_read(&c));
		for (unsigned args = cursor_u8(&c); args > 0 && !c.failed; args--) {
			cursor_take(&c, varint_read(&c));
			unsigned type = cursor_u8(&c) & 15;
			if (type >= SPOP_INT32 && type <= SPOP_UINT64)
				varint_read(&c);
			else if (type >= SPOP_IPV4)
				cursor_take(&c, type == SPOP_IPV4 ? 4 : type == SPOP_IPV6 ? 16 : varint_read(&c));
			if (type > SPOP_BIN)
				return false;
		}
	}
	return !c.failed;
}

static void a_notify_with_any_byte_changed_is_read_or_refused(void)
{
	unsigned char bytes[512], hi[512];
	spop_writer w = frame_begin(bytes, sizeof bytes, 65536, FRAME_NOTIFY, 7, 300);
	spop_put_name(&w, SLICE("llm-request"));
	spop_put_u8(&w, 3);
	spop_put_name(&w, SLICE("path"));
	spop_put_str(&w, SLICE("/v1/messages"));
	spop_put_name(&w, SLICE("buffered"));
	spop_put_int64(&w, 70000);
	spop_put_name(&w, SLICE("upgrade"));
	spop_put_bool(&w, true);
	size_t len = frame_end(&w);
	unsigned accepted = 0, malformed = 0;

	for (size_t at = 0; at < len; at++) {
		for (unsigned value = 0; value < 256; value++) {
			unsigned char *copy = malloc(len);
			spop_session s;
			spop_session_init(&s, 16380, true);
			slice in = slice_of(hi, hello(hi, sizeof hi, 16380, SLICE("")));
			CHECK(copy && spop_session_next(&s, &in).type == SPOP_HELLO);
			memcpy(copy, bytes, len);
			copy[at] = (unsigned char)value;
			in = slice_of(copy, len);
			spop_event e = spop_session_next(&s, &in);
			if (e.type == SPOP_NOTIFY) {
				cursor c = cursor_of(e.messages);
				bool good = spop_messages_skip(&c);
				CHECK(good == well_formed((const unsigned char *)e.messages.ptr,
							  (const unsigned char *)e.messages.ptr + e.messages.len));
				CHECK(cursor_done(&c));
				good ? accepted++ : malformed++;
				if (!good) {
					e = spop_session_malformed(&s);
					CHECK(e.type == SPOP_ERROR && e.status == SPOP_INVALID &&
					      s.state == SPOP_ENDED);
				}
			}
			free(copy);
		}
	}
	CHECK(accepted > 1000 && malformed > 1000);
}

static void what_does_not_fit_is_not_written(void)
{
	unsigned char room[300];
	spop_session s;

	spop_session_init(&s, 256, true);
	spop_writer w = spop_ack_begin(&s, room, sizeof room, 1, 1);
	spop_ack_set(&w, SLICE("x"));
	char big[256];
	memset(big, 'a', sizeof big);
	spop_put_str(&w, slice_of(big, sizeof big));
	CHECK(frame_end(&w) == 0);
	/* The limit is exact: a frame of just the agreed size is written. */
	w = spop_ack_begin(&s, room, sizeof room, 1, 1);
	while ((size_t)(w.pos - w.start) < FRAME_PREFIX + 256)
		spop_put_u8(&w, 0);
	CHECK(!w.overflow);
	CHECK(frame_end(&w) == FRAME_PREFIX + 256);
	spop_put_u8(&w, 0);
	CHECK(w.overflow);
}

int main(void)
{
	RUN(varints_survive_the_way_there_and_back);
	RUN(varints_beyond_64_bits_fail);
	RUN(hello_agrees_on_the_smaller_size);
	RUN(a_cut_hello_waits_and_reads_nothing_past_it);
	RUN(a_notify_with_any_byte_changed_is_read_or_refused);
	RUN(what_does_not_fit_is_not_written);
	return unit_end();
}
