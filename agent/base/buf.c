/* SPDX-License-Identifier: MIT */
#include "base/buf.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bytes.h"

enum { BUF_FIRST = 1024 };

void buf_init(buf *b, size_t limit)
{
	*b = (buf){ .limit = limit };
}

void buf_deinit(buf *b)
{
	free(b->data);
	*b = (buf){ .limit = b->limit };
}

bool buf_reserve(buf *b, size_t len)
{
	size_t held = buf_len(b);

	if (len <= b->cap - b->end)
		return true;
	if (held > b->limit || len > b->limit - held)
		return false;
	/* Move the bytes to the front if that alone makes room; growing moves them too. */
	if (len <= b->cap - held) {
		memmove(b->data, b->data + b->start, held);
	} else {
		size_t cap = b->cap ? b->cap : BUF_FIRST;
		while (cap < held + len)
			cap = cap > b->limit / 2 ? b->limit : cap * 2;
		if (cap > b->limit)
			cap = b->limit;
		unsigned char *data = malloc(cap);
		if (!data)
			return false;
		if (held)
			memcpy(data, b->data + b->start, held);
		free(b->data);
		b->data = data;
		b->cap = cap;
	}
	b->start = 0;
	b->end = held;
	return true;
}

bool buf_append(buf *b, const void *bytes, size_t len)
{
	if (!buf_reserve(b, len))
		return false;
	if (len)
		memcpy(b->data + b->end, bytes, len);
	b->end += len;
	return true;
}

bool buf_append_u32be(buf *b, uint32_t value)
{
	if (!buf_reserve(b, 4))
		return false;
	put_u32be(b->data + b->end, value);
	b->end += 4;
	return true;
}

void buf_consume(buf *b, size_t len, size_t keep)
{
	assert(len <= buf_len(b));
	b->start += len;
	if (b->start != b->end)
		return;
	b->start = b->end = 0;
	if (b->cap > keep) {
		free(b->data);
		b->data = NULL;
		b->cap = 0;
	}
}
