/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "sample/decode.h"
#include "sample/model.h"

#include <zlib.h>
#include <zstd.h>

#define TEXT "{\"messages\":[\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"],\"model\":\"gpt-4o\"}"

/* TEXT, compressed by the brotli tool. */
static const unsigned char brotli_text[] = {
	0xe2, 0x09, 0x00, 0xbf, 0x91, 0x5a, 0xac, 0x39, 0xc3, 0x9d, 0x40, 0x86, 0x47, 0x3e, 0x2e, 0xcb, 0x2c,
	0x1a, 0x85, 0x05, 0xb7, 0xa7, 0x4e, 0x57, 0x1f, 0x4c, 0xe4, 0x80, 0xad, 0x25, 0x14, 0xc8, 0xc5, 0x9e,
	0x4a, 0x04, 0x02, 0x4a, 0x9f, 0x07, 0xa1, 0x51, 0x1d, 0x05, 0xe9, 0x99, 0x7b, 0x59, 0xcb,
};

typedef struct packed {
	decode_coding coding;
	const char *name;
	unsigned char bytes[4096];
	size_t len;
} packed;

static void deflated(packed *p, int bits, const void *text, size_t len)
{
	z_stream z = { .next_in = (z_const Bytef *)(uintptr_t)text, .avail_in = (uInt)len };

	CHECK(deflateInit2(&z, 9, Z_DEFLATED, bits, 9, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_out = p->bytes;
	z.avail_out = sizeof p->bytes;
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	p->len = z.total_out;
	deflateEnd(&z);
}

/* Makes TEXT in every coding. Returns how many there are. */
static size_t pack(packed out[5])
{
	out[0] = (packed){ .coding = DECODE_GZIP, .name = "gzip" };
	deflated(&out[0], 15 + 16, TEXT, strlen(TEXT));
	out[1] = (packed){ .coding = DECODE_DEFLATE, .name = "deflate" };
	deflated(&out[1], 15, TEXT, strlen(TEXT));
	out[2] = (packed){ .coding = DECODE_DEFLATE, .name = "deflate" };
	deflated(&out[2], -15, TEXT, strlen(TEXT));
	out[3] = (packed){ .coding = DECODE_ZSTD, .name = "zstd" };
	out[3].len = ZSTD_compress(out[3].bytes, sizeof out[3].bytes, TEXT, strlen(TEXT), 3);
	out[4] = (packed){ .coding = DECODE_BROTLI, .name = "br", .len = sizeof brotli_text };
	memcpy(out[4].bytes, brotli_text, sizeof brotli_text);
	return 5;
}

static decode_status decode(const packed *p, size_t len, size_t max, char *text, size_t *text_len)
{
	char *out = NULL;
	decode_status status = decode_body(p->coding, slice_of(unit_guarded(p->bytes, len), len), max, &out, text_len);

	CHECK(*text_len <= max && *text_len <= 4096);
	if (out)
		memcpy(text, out, *text_len);
	free(out);
	return status;
}

static void each_coding_is_undone(void)
{
	static packed all[5];
	char text[4096];
	size_t len = 0, n = pack(all);

	for (size_t i = 0; i < n; i++) {
		CHECK(decode(&all[i], all[i].len, DECODE_OUT_MAX, text, &len) == DECODE_COMPLETE);
		CHECK(slice_eq(slice_of(text, len), SLICE(TEXT)));
		for (size_t cut = 0; cut < all[i].len; cut++) {
			CHECK(decode(&all[i], cut, DECODE_OUT_MAX, text, &len) == DECODE_CUT);
			CHECK(slice_starts(SLICE(TEXT), slice_of(text, len)));
		}
		CHECK(decode(&all[i], all[i].len, 20, text, &len) == DECODE_FULL && len == 20);
		CHECK(slice_starts(SLICE(TEXT), slice_of(text, len)));
		/* Bytes behind the end, or a second member: some decoders read them and others do not. */
		packed more = all[i];
		more.bytes[more.len++] = 'x';
		CHECK(decode(&more, more.len, DECODE_OUT_MAX, text, &len) == DECODE_BAD);
		memcpy(more.bytes + all[i].len, all[i].bytes, all[i].len);
		CHECK(decode(&more, 2 * all[i].len, DECODE_OUT_MAX, text, &len) == DECODE_BAD);
	}
}

static void output_of_exactly_the_limit_is_complete(void)
{
	static packed all[5];
	char text[4096];
	size_t len = 0, n = pack(all);

	for (size_t i = 0; i < n; i++) {
		decode_status status = decode(&all[i], all[i].len, strlen(TEXT), text, &len);
		CHECK(len == strlen(TEXT) && (status == DECODE_COMPLETE || status == DECODE_FULL));
	}
}

static void a_bomb_stops_at_the_limit(void)
{
	static char zeros[8 << 20];
	static packed bomb = { .coding = DECODE_ZSTD };
	char *out = NULL;
	size_t len = 0;

	bomb.len = ZSTD_compress(bomb.bytes, sizeof bomb.bytes, zeros, sizeof zeros, 3);
	CHECK(!ZSTD_isError(bomb.len));
	CHECK(decode_body(bomb.coding, slice_of(bomb.bytes, bomb.len), DECODE_OUT_MAX, &out, &len) == DECODE_FULL);
	CHECK(len == DECODE_OUT_MAX);
	free(out);

	/* A frame that asks for a window of 128 MiB. */
	static const unsigned char greedy[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00 };
	CHECK(decode_body(DECODE_ZSTD, slice_of(greedy, sizeof greedy), DECODE_OUT_MAX, &out, &len) == DECODE_BAD);
	free(out);
}

static void bytes_in_no_coding_are_bad(void)
{
	static const decode_coding codings[] = { DECODE_GZIP, DECODE_DEFLATE, DECODE_BROTLI, DECODE_ZSTD };
	char *out = NULL;
	size_t len = 0;

	for (size_t i = 0; i < sizeof codings / sizeof codings[0]; i++) {
		CHECK(decode_body(codings[i], SLICE("\xff\xff{\"model\":\"gpt-4o\"} and more"), DECODE_OUT_MAX, &out,
				  &len) == DECODE_BAD);
		free(out);
	}
}

static void frames_of_zstd_before_1_0_are_bad(void)
{
	static const unsigned char v05[] = { 0x25, 0xb5, 0x2f, 0xfd, 0x00, 0xfe, 0x02, 0xfe };
	char *out = NULL;
	size_t len = 0;

	CHECK(decode_body(DECODE_ZSTD, slice_of(v05, sizeof v05), DECODE_OUT_MAX, &out, &len) == DECODE_BAD);
	free(out);
}

/* Bytes that are a whole stream with zlib's header, and without it a whole stream of another text. */
static void two_documents_in_one_are_bad(void)
{
	enum { ZLIB_LEN = 0xffe2, RAW_LEN = 0x1d, RAW_END = 5 + RAW_LEN, ALL = 7 + ZLIB_LEN + 5 + 4 };
	static unsigned char bytes[ALL];
	/* With a header: the header, then a stored block of ZLIB_LEN bytes. Without: a stored block of RAW_LEN bytes.
	 */
	static const unsigned char begin[] = { 0x08, 0x1d, 0x00, 0xe2, 0xff, 0x1d, 0x00 };
	static const unsigned char last[] = { 0x01, 0x00, 0x00, 0xff, 0xff };
	const unsigned rest = ALL - RAW_END - 5;
	char *out = NULL;
	size_t len = 0;

	memset(bytes, ' ', sizeof bytes);
	memcpy(bytes, begin, sizeof begin);
	bytes[RAW_END] = 0x01; /* without a header: the last block, of all that follows */
	bytes[RAW_END + 1] = (unsigned char)rest;
	bytes[RAW_END + 2] = (unsigned char)(rest >> 8);
	bytes[RAW_END + 3] = (unsigned char)~rest;
	bytes[RAW_END + 4] = (unsigned char)(~rest >> 8);
	memcpy(bytes + 7 + ZLIB_LEN, last, sizeof last);
	uLong sum = adler32(adler32(0, NULL, 0), bytes + 7, ZLIB_LEN);
	for (unsigned i = 0; i < 4; i++)
		bytes[ALL - 4 + i] = (unsigned char)(sum >> (24 - 8 * i));
	CHECK(decode_body(DECODE_DEFLATE, slice_of(bytes, ALL), DECODE_OUT_MAX, &out, &len) == DECODE_BAD);
	free(out);
	CHECK(decode_body(DECODE_DEFLATE, slice_of(bytes, 100), DECODE_OUT_MAX, &out, &len) == DECODE_BAD);
	free(out);
	bytes[RAW_END + 3]++; /* the second block without a header is broken, so that only one document is left */
	sum = adler32(adler32(0, NULL, 0), bytes + 7, ZLIB_LEN);
	for (unsigned i = 0; i < 4; i++)
		bytes[ALL - 4 + i] = (unsigned char)(sum >> (24 - 8 * i));
	CHECK(decode_body(DECODE_DEFLATE, slice_of(bytes, ALL), DECODE_OUT_MAX, &out, &len) == DECODE_COMPLETE);
	CHECK(len == ZLIB_LEN);
	free(out);
}

static void codings_are_read_from_the_header(void)
{
	static const struct {
		const char *header;
		decode_coding coding;
	} rows[] = {
		{ "", DECODE_IDENTITY },           { "identity", DECODE_IDENTITY },  { "gzip", DECODE_GZIP },
		{ " GZip ", DECODE_GZIP },         { "x-gzip", DECODE_GZIP },        { "deflate", DECODE_DEFLATE },
		{ "br", DECODE_BROTLI },           { "zstd", DECODE_ZSTD },          { "identity, gzip", DECODE_GZIP },
		{ "gzip,", DECODE_GZIP },          { "gzip, zstd", DECODE_UNKNOWN }, { "gzip, gzip", DECODE_UNKNOWN },
		{ "compress", DECODE_UNKNOWN },    { "dcb", DECODE_UNKNOWN },        { "gzip;q=1", DECODE_UNKNOWN },
		{ "aws-chunked", DECODE_UNKNOWN },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		CHECK(decode_coding_of(slice_cstr(rows[i].header)) == rows[i].coding ||
		      (printf("  %s\n", rows[i].header), 0));
}

static void models_in_coded_bodies(void)
{
	static packed all[5];
	size_t n = pack(all);
	model_result r;

	for (size_t i = 0; i < n; i++) {
		model_sample s = { .ctype = SLICE("application/json"),
				   .cenc = slice_cstr(all[i].name),
				   .body = slice_of(all[i].bytes, all[i].len),
				   .buffered = all[i].len,
				   .length = all[i].len,
				   .sized = true };
		model_find(&s, &r);
		CHECK(r.status == MODEL_FOUND && r.len == 6 && r.from == MODEL_FROM_BODY && r.looked == all[i].len);
		s.body.len = s.buffered = all[i].len / 2; /* cut by the buffer */
		model_find(&s, &r);
		CHECK(r.status == MODEL_UNKNOWN);
		s.sized = false; /* chunked */
		s.length = s.buffered;
		model_find(&s, &r);
		CHECK(r.status == MODEL_UNKNOWN);
		s.sized = true; /* complete, and too short */
		model_find(&s, &r);
		CHECK(r.status == MODEL_BAD_CODING);
		s.cenc = SLICE("gzip, br");
		model_find(&s, &r);
		CHECK(r.status == MODEL_UNKNOWN);
	}
}

int main(void)
{
	RUN(each_coding_is_undone);
	RUN(output_of_exactly_the_limit_is_complete);
	RUN(a_bomb_stops_at_the_limit);
	RUN(bytes_in_no_coding_are_bad);
	RUN(frames_of_zstd_before_1_0_are_bad);
	RUN(two_documents_in_one_are_bad);
	RUN(codings_are_read_from_the_header);
	RUN(models_in_coded_bodies);
	return unit_end();
}
