/* SPDX-License-Identifier: MIT */
#include "sample/decode.h"

#include <brotli/decode.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* The first size of the output, which then doubles. Most bodies fit. */
#define FIRST_STEP ((size_t)64 * 1024)

typedef struct output {
	char *ptr;
	size_t len, cap, max;
	bool members; /* goes on behind the end, where another member or frame begins */
} output;

/* Makes room for at least one more byte. False: *status says whether `max` was reached or there is no memory. */
static bool output_room(output *o, decode_status *status)
{
	if (o->len < o->cap)
		return true;
	if (o->cap >= o->max) {
		*status = DECODE_FULL;
		return false;
	}
	size_t cap = o->cap ? o->cap * 2 : FIRST_STEP;
	cap = cap < o->max ? cap : o->max;
	char *ptr = realloc(o->ptr, cap);
	if (!ptr) {
		*status = DECODE_FAILED;
		return false;
	}
	o->ptr = ptr;
	o->cap = cap;
	return true;
}

/* The status at the end of the coding, with `left` bytes of input behind it. */
static decode_status ended(size_t left)
{
	return left == 0 ? DECODE_COMPLETE : DECODE_BAD;
}

/* `bits`: zlib's windowBits, which also choose between gzip, zlib and raw. */
static decode_status inflate_all(slice in, int bits, output *o)
{
	z_stream z = { .next_in = (z_const Bytef *)(uintptr_t)in.ptr, .avail_in = (uInt)in.len };
	decode_status status = DECODE_CUT;
	int rc = Z_OK;

	if (inflateInit2(&z, bits) != Z_OK)
		return DECODE_FAILED;
	while (rc == Z_OK && output_room(o, &status)) {
		z.next_out = (Bytef *)o->ptr + o->len;
		z.avail_out = (uInt)(o->cap - o->len);
		rc = inflate(&z, Z_NO_FLUSH);
		o->len = o->cap - z.avail_out;
		bool more = o->members && z.avail_in > 1 && z.next_in[0] == 0x1f && z.next_in[1] == 0x8b;
		if (rc == Z_STREAM_END && more)
			rc = inflateReset(&z);
	}
	if (rc == Z_STREAM_END)
		status = ended(z.avail_in);
	else if (rc == Z_MEM_ERROR)
		status = DECODE_FAILED;
	else if (rc != Z_OK && rc != Z_BUF_ERROR)
		status = DECODE_BAD;
	inflateEnd(&z);
	return status;
}

static decode_status brotli_all(slice in, output *o)
{
	decode_status status = DECODE_CUT;
	BrotliDecoderResult rc = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
	BrotliDecoderState *state = BrotliDecoderCreateInstance(NULL, NULL, NULL);
	const uint8_t *next_in = (const uint8_t *)in.ptr;
	size_t left = in.len;

	if (!state)
		return DECODE_FAILED;
	while (rc == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && output_room(o, &status)) {
		uint8_t *next_out = (uint8_t *)o->ptr + o->len;
		size_t room = o->cap - o->len;
		rc = BrotliDecoderDecompressStream(state, &left, &next_in, &room, &next_out, NULL);
		o->len = o->cap - room;
	}
	if (rc == BROTLI_DECODER_RESULT_SUCCESS)
		status = ended(left);
	else if (rc == BROTLI_DECODER_RESULT_ERROR) {
		BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(state);
		bool memory = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
			      code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
		status = memory ? DECODE_FAILED : DECODE_BAD;
	}
	BrotliDecoderDestroyInstance(state);
	return status;
}

/* True if `in` begins as a frame of RFC 8878 does. libzstd also decodes the frames of its versions before 1.0, which
 * other decoders refuse. */
static bool zstd_frame(slice in)
{
	return slice_starts(SLICE("\x28\xb5\x2f\xfd"), slice_first(in, 4));
}

static decode_status zstd_all(slice in, output *o)
{
	if (!zstd_frame(in))
		return DECODE_BAD;

	decode_status status = DECODE_CUT;
	ZSTD_DStream *stream = ZSTD_createDStream();
	ZSTD_inBuffer source = { in.ptr, in.len, 0 };
	size_t rc = 1;

	if (!stream)
		return DECODE_FAILED;
	ZSTD_DCtx_setParameter(stream, ZSTD_d_windowLogMax, DECODE_ZSTD_WINDOW_LOG_MAX);
	while (output_room(o, &status)) {
		ZSTD_outBuffer sink = { o->ptr, o->cap, o->len };
		size_t before = source.pos;
		rc = ZSTD_decompressStream(stream, &sink, &source);
		bool stuck = sink.pos == o->len && source.pos == before;
		o->len = sink.pos;
		slice rest = slice_from(in, source.pos);
		if (rc == 0 && o->members && rest.len >= 4 && zstd_frame(rest))
			continue;
		if (rc == 0 || ZSTD_isError(rc) || stuck || (source.pos == source.size && sink.pos < sink.size))
			break;
	}
	if (rc == 0)
		status = ended(source.size - source.pos);
	else if (ZSTD_isError(rc))
		status = ZSTD_getErrorCode(rc) == ZSTD_error_memory_allocation ? DECODE_FAILED : DECODE_BAD;
	ZSTD_freeDStream(stream);
	return status;
}

/* True if `in` may begin with zlib's header: method 8, and both bytes together a multiple of 31. */
static bool zlib_header(slice in)
{
	unsigned first = in.len > 0 ? (unsigned char)in.ptr[0] : 0, second = in.len > 1 ? (unsigned char)in.ptr[1] : 0;

	return (first & 0x0f) == 8 && (first >> 4) <= 7 && (in.len < 2 || (first << 8 | second) % 31 == 0);
}

/* Some decoders expect zlib's header, others none, and others try both. Bytes that can be read in both ways could be
 * two documents, so they are bad. */
static decode_status deflate_all(slice in, output *o)
{
	output raw = { .max = o->max };

	if (!zlib_header(in))
		return inflate_all(in, -15, o);
	decode_status status = inflate_all(in, 15, o);
	decode_status other = status == DECODE_BAD ? DECODE_BAD : inflate_all(in, -15, &raw);
	free(raw.ptr);
	bool both = other == DECODE_COMPLETE || other == DECODE_FULL;
	if (other == DECODE_CUT &&
	    status == DECODE_CUT) /* the beginning of two documents, if there is anything of both */
		both = o->len > 0 && raw.len > 0;
	return both ? DECODE_BAD : status;
}

static decode_status decode(decode_coding coding, slice in, output *o)
{
	decode_status status = DECODE_BAD;

	if (in.len > UINT32_MAX) /* zlib counts in 32 bits; no buffer of HAProxy is nearly as large */
		in.len = UINT32_MAX;
	switch (coding) {
	case DECODE_GZIP:
		status = inflate_all(in, 15 + 16, o);
		break;
	case DECODE_DEFLATE:
		status = deflate_all(in, o);
		break;
	case DECODE_BROTLI:
		status = brotli_all(in, o);
		break;
	case DECODE_ZSTD:
		status = zstd_all(in, o);
		break;
	case DECODE_IDENTITY:
	case DECODE_UNKNOWN:
		break;
	}
	return status;
}

decode_status decode_body(decode_coding coding, slice in, size_t max, char **out, size_t *out_len)
{
	output o = { .max = max };
	decode_status status = decode(coding, in, &o);

	*out = o.ptr;
	*out_len = o.len;
	return status;
}

decode_status decode_members(decode_coding coding, slice in, size_t max, char **out, size_t *out_len)
{
	output o = { .max = max, .members = true };
	decode_status status = decode(coding, in, &o);

	*out = o.ptr;
	*out_len = o.len;
	return status;
}

static decode_coding coding_named(slice name)
{
	if (name.len == 0 || slice_ieq(name, SLICE("identity")))
		return DECODE_IDENTITY;
	if (slice_ieq(name, SLICE("gzip")) || slice_ieq(name, SLICE("x-gzip")))
		return DECODE_GZIP;
	if (slice_ieq(name, SLICE("deflate")))
		return DECODE_DEFLATE;
	if (slice_ieq(name, SLICE("br")))
		return DECODE_BROTLI;
	if (slice_ieq(name, SLICE("zstd")))
		return DECODE_ZSTD;
	return DECODE_UNKNOWN;
}

decode_coding decode_coding_of(slice header)
{
	decode_coding result = DECODE_IDENTITY;

	for (size_t at = 0; at < header.len;) {
		size_t comma = slice_find(header, at, ',');
		decode_coding one = coding_named(slice_trim(slice_first(slice_from(header, at), comma - at)));
		if (one != DECODE_IDENTITY)
			result = result == DECODE_IDENTITY ? one : DECODE_UNKNOWN;
		at = comma + 1;
	}
	return result;
}
