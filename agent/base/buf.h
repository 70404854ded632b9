/* SPDX-License-Identifier: MIT
 *
 * A byte buffer that grows up to a limit of its own and is consumed from the front: [data + start, data + end)
 * holds bytes. Reaching the limit, or running out of memory, is a result for the caller, never an abort. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/must_check.h"
#include "base/slice.h"

typedef struct buf {
	unsigned char *data;
	size_t cap;   /* bytes allocated */
	size_t start; /* first byte not consumed yet */
	size_t end;   /* one past the last byte written */
	size_t limit; /* cap never exceeds it */
} buf;

void buf_init(buf *b, size_t limit);
void buf_deinit(buf *b);

/* Makes room for `len` more bytes at data + end, moving or growing the buffer as needed. False: over the limit or out
 * of memory; nothing changed. */
MUST_CHECK bool buf_reserve(buf *b, size_t len);

/* Appends `len` bytes. False, as for buf_reserve(): nothing was appended. */
MUST_CHECK bool buf_append(buf *b, const void *bytes, size_t len);

/* Appends `value` as four bytes, big endian. False, as for buf_reserve(): nothing was appended. */
MUST_CHECK bool buf_append_u32be(buf *b, uint32_t value);

/* Drops `len` bytes from the front. A buffer that is then empty starts at 0 again, and frees its memory if that is more
 * than `keep` bytes. */
void buf_consume(buf *b, size_t len, size_t keep);

static inline size_t buf_len(const buf *b)
{
	return b->end - b->start;
}

static inline slice buf_slice(const buf *b)
{
	return slice_of(b->data ? b->data + b->start : NULL, b->end - b->start);
}

#endif
