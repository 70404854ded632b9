/* SPDX-License-Identifier: MIT
 *
 * Undoes a Content-Encoding, of a whole body or of its first bytes. */
#ifndef SAMPLE_DECODE_H
#define SAMPLE_DECODE_H

#include "base/slice.h"

/* The most bytes that one body is decoded to. What a decompression bomb holds beyond that is never produced. */
#define DECODE_OUT_MAX ((size_t)4 * 1024 * 1024)
/* Largest window that a zstd frame may ask for, as a power of two: 8 MiB, which RFC 9659 allows in HTTP. Deflate's
 * window is 32 KiB; brotli's is at most 16 MiB, of which the decoder allocates only what the output needs. */
#define DECODE_ZSTD_WINDOW_LOG_MAX 23

typedef enum decode_coding {
	DECODE_IDENTITY,
	DECODE_GZIP,
	DECODE_DEFLATE, /* with zlib's header or without; clients send both */
	DECODE_BROTLI,
	DECODE_ZSTD,
	DECODE_UNKNOWN, /* another coding, or several codings */
} decode_coding;

/* Reads a Content-Encoding header. Codings that change nothing ("identity", empty ones) are ignored. */
decode_coding decode_coding_of(slice header);

typedef enum decode_status {
	DECODE_COMPLETE, /* the end of the coding was reached, and nothing follows */
	DECODE_CUT,      /* the input ended early */
	DECODE_FULL,     /* `max` bytes were produced, and there is more */
	DECODE_BAD,      /* not in this coding; or bytes follow its end, which some decoders read and others ignore; or
			    deflate that can be read with zlib's header and without */
	DECODE_FAILED,   /* out of memory */
} decode_status;

/* Decodes at most `max` bytes of `in` into *out. Whatever the status, *out holds what was decoded before the end of the
 * input or the error. The caller frees *out, which may be NULL when empty. Not for DECODE_IDENTITY and DECODE_UNKNOWN.
 */
decode_status decode_body(decode_coding coding, slice in, size_t max, char **out, size_t *out_len);

/* Like decode_body(), and goes on where another member of gzip or another frame of zstd follows, as RFC 1952 and RFC
 * 8878 say. For responses only, of which the gateway just counts the usage: of a request, an upstream whose decoder
 * stops at the first member would read another body than the gateway. */
decode_status decode_members(decode_coding coding, slice in, size_t max, char **out, size_t *out_len);

#endif
