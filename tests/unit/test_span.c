/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include <stdlib.h>

#include "ship/protobuf.h"
#include "ship/span.h"

static bool same(const unsigned char *bytes, const char *hex, size_t len)
{
	char text[64];

	for (size_t i = 0; i < len; i++)
		snprintf(text + 2 * i, sizeof text - 2 * i, "%02x", bytes[i]);
	return strcmp(text, hex) == 0 || !printf("  %s\n", text);
}

#define TRACE "0af7651916cd43dd8448eb211c80319c"
#define SPAN "b7ad6b7169203331"

static void a_request_has_the_ids_that_haproxy_told(void)
{
	static const struct {
		const char *id, *traceparent, *trace, *span;
		bool unsampled;
	} rows[] = {
		{ "01a203c1-2a9f-7599-a721-21d8363cb2c6", "", "01a203c12a9f7599a72121d8363cb2c6", "a72121d8363cb2c6",
		  false },
		{ "01a203c1-2a9f-7599-a721-21d8363cb2c6", "00-" TRACE "-" SPAN "-01", TRACE, "a72121d8363cb2c6",
		  false },
		{ "01a203c1-2a9f-7599-a721-21d8363cb2c6", "cc-" TRACE "-" SPAN "-fe", TRACE, "a72121d8363cb2c6", true },
		/* Others than UUIDs, by their SHA-256. */
		{ "abc", "", "ba7816bf8f01cfea414140de5dae2223", "414140de5dae2223", false },
		{ "01A203C1-2a9f-7599-a721-21d8363cb2c6", "00-" TRACE "-" SPAN "-00", TRACE, "6a6d10b4e7e4e0b3", true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		record r = { .status = 200 };
		unsigned char trace[SPAN_TRACE_BYTES], span[SPAN_ID_BYTES];
		snprintf(r.id, sizeof r.id, "%s", rows[i].id);
		snprintf(r.traceparent, sizeof r.traceparent, "%s", rows[i].traceparent);
		span_ids(&r, trace, span);
		CHECK(same(trace, rows[i].trace, sizeof trace));
		CHECK(i == 4 || same(span, rows[i].span, sizeof span));
		CHECK(span_unsampled(&r) == rows[i].unsampled);
	}
}

/* Lengths of one, two and three bytes. */
static void a_message_has_its_length(void)
{
	static const size_t lengths[] = { 0, 1, 125, 126, 127, 128, 16380, 16381, 16384, 70000 };

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		buf b;
		protobuf p = { .to = &b };
		char *text = calloc(1, lengths[i] + 1);
		if (!text)
			abort();
		memset(text, 'x', lengths[i]);
		buf_init(&b, 1 << 20);
		size_t begin = protobuf_begin(&p, 1);
		protobuf_text(&p, 2, text);
		protobuf_end(&p, begin);
		protobuf_varint(&p, 3, 1);
		CHECK(!p.full);
		const unsigned char *at = b.data;
		size_t inner = lengths[i] + 1 + (lengths[i] < 128 ? 1 : lengths[i] < 16384 ? 2 : 3), got[2];
		for (size_t k = 0; k < 2; k++) {
			CHECK(*at++ == (k ? 0x12 : 0x0a));
			got[k] = 0;
			for (unsigned shift = 0;; shift += 7) {
				got[k] |= (size_t)(*at & 0x7f) << shift;
				if (*at++ < 0x80)
					break;
			}
		}
		CHECK(got[0] == inner && got[1] == lengths[i] && memcmp(at, text, lengths[i]) == 0);
		CHECK(at[lengths[i]] == 0x18 && at[lengths[i] + 1] == 1 && at + lengths[i] + 2 == b.data + b.end);
		buf_deinit(&b);
		free(text);
	}
}

/* A span for which there is no room leaves nothing behind, wherever the room ends. */
static void a_full_buffer(void)
{
	record r = { .id = "a",
		     .model = "\xff\xc3\xa4\x80m",
		     .status = 429,
		     .attempts = 2,
		     .tried = "a:429,b:resting",
		     .member = "c" };
	buf whole;

	buf_init(&whole, 65536);
	CHECK(span_append(&whole, &r));
	/* A byte that is no UTF-8 becomes U+FFFD. */
	slice all = buf_slice(&whole);
	CHECK(slice_contains(all, SLICE("\xef\xbf\xbd\xc3\xa4\xef\xbf\xbdm")) && !slice_contains(all, SLICE("\xff")));
	for (size_t room = 0; room < all.len; room++) {
		buf b;
		buf_init(&b, room);
		CHECK(!span_append(&b, &r) && buf_len(&b) == 0);
		buf_deinit(&b);
	}
	buf_deinit(&whole);
}

static void what_a_collector_rejects(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t rejected;
	} rows[] = {
		{ "", 0, 0 },
		{ "\x0a\x02\x08\x05", 4, 5 },
		{ "\x0a\x06\x12\x02no\x08\x07", 8, 7 },
		{ "\x10\x01\x0a\x02\x08\x05", 6, 5 }, /* behind a field that is not known */
		{ "\x0a\x00", 2, 0 },
		{ "\x0a\x7f\x08\x05", 4, 0 },
		{ "\x0a\x02\x08", 3, 0 },
		{ "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, INT32_MAX },
		{ "{\"partialSuccess\":{}}", 21, 0 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, 0 },
	};
	static const unsigned char none[64];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(span_rejected(slice_of(unit_guarded(rows[i].bytes, rows[i].len), rows[i].len), false) ==
			      rows[i].rejected ||
		      !printf("  row %zu\n", i));
	unsigned char *end = unit_guarded(none, sizeof none) + sizeof none;
	srand(7);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)rand() % sizeof none;
		for (size_t k = 0; k < len; k++)
			(end - len)[k] = (unsigned char)(rand() % 4 ? rand() % 32 : rand());
		CHECK(span_rejected(slice_of(end - len, len), i & 1) >= 0);
	}
	/* Of an answer that is cut, what is there counts. */
	CHECK(span_rejected(slice_of(unit_guarded("\x0a\x7f\x08\x05\x12\x70no", 8), 8), true) == 5);
	CHECK(span_rejected(slice_of(unit_guarded("\x0a\x7f\x12\x70no", 6), 6), true) == 0);
}

int main(void)
{
	RUN(a_request_has_the_ids_that_haproxy_told);
	RUN(a_message_has_its_length);
	RUN(a_full_buffer);
	RUN(what_a_collector_rejects);
	return unit_end();
}
