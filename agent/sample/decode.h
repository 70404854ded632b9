/* SPDX-License-Identifier: MIT
 *
 * Undoes a Content-Encoding, of a whole body or of its first bytes. */
#ifndef SAMPLE_DECODE_H
#define SAMPLE_DECODE_H

#include "base/slice.h"

/* Most bytes that one body is decoded to. What a bomb holds beyond that is never produced. */
#define DECODE_OUT_MAX ((size_t)1024 * 1024)
/* Largest window a zstd frame may ask for, as a power of two: 8 MiB, what RFC 9659 allows in HTTP. Deflate's is 32 KiB
 * and brotli's at most 16 MiB, of which its decoder takes what the output needs. */
#define DECODE_ZSTD_WINDOW_LOG_MAX 23

typedef enum decode_coding {
	DECODE_IDENTITY,
	DECODE_GZIP,
	DECODE_DEFLATE, /* with zlib's header, or raw: both are sent */
	DECODE_BROTLI,
	DECODE_ZSTD,
	DECODE_UNKNOWN, /* another one, or several */
} decode_coding;

/* From a Content-Encoding header; codings that mean nothing ("identity", empty ones) are passed over. */
decode_coding decode_coding_of(slice header);

typedef enum decode_status {
	DECODE_COMPLETE, /* the coding's end was reached, and nothing follows */
	DECODE_CUT,      /* the input ended early */
	DECODE_FULL,     /* `max` bytes were produced, and there are more */
	DECODE_BAD,      /* not what it says, or bytes behind its end: decoders disagree on whether they count */
	DECODE_FAILED,   /* no memory */
} decode_status;

/* Decodes `in` into *out (with its status, what could be decoded before the end of the input or the fault), at most
 * `max` bytes. The caller frees *out, which may be NULL when empty. Not for DECODE_IDENTITY and DECODE_UNKNOWN. */
decode_status decode_body(decode_coding coding, slice in, size_t max, char **out, size_t *out_len);

#endif
