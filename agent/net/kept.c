/* SPDX-License-Identifier: MIT */
#include "net/kept.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void kept_init(kept *k, size_t limit)
{
	*k = (kept){ .limit = limit };
}

/* Removes all[i]. The others keep their order. */
static buf removed(kept *k, unsigned i)
{
	buf b = k->all[i];

	k->count--;
	memmove(k->all + i, k->all + i + 1, (k->count - i) * sizeof k->all[0]);
	k->bytes -= b.cap;
	if (k->count < k->idle)
		k->idle = k->count;
	return b;
}

void kept_deinit(kept *k)
{
	while (k->count)
		free(removed(k, k->count - 1).data);
}

bool kept_take(kept *k, buf *b, size_t len)
{
	size_t held = buf_len(b);
	unsigned best = KEPT_MAX;

	if (held > b->limit || len > b->limit - held)
		return false;
	for (unsigned i = k->count; i-- > 0;) {
		size_t cap = k->all[i].cap;
		if (cap >= held + len && cap <= b->limit && (best == KEPT_MAX || cap < k->all[best].cap))
			best = i;
	}
	if (best == KEPT_MAX)
		return false;
	buf other = removed(k, best);
	if (held)
		memcpy(other.data, b->data + b->start, held);
	free(b->data);
	*b = (buf){ .data = other.data, .cap = other.cap, .end = held, .limit = b->limit };
	return true;
}

void kept_give(kept *k, buf *b)
{
	buf mine = { .data = b->data, .cap = b->cap };

	*b = (buf){ .limit = b->limit };
	k->given = k->given_lately = true;
	if (k->count == KEPT_MAX || mine.cap > k->limit - k->bytes) {
		free(mine.data);
		return;
	}
	k->all[k->count++] = mine;
	k->bytes += mine.cap;
}

void kept_rest(kept *k)
{
	bool trim = k->idle > 0 || (k->given && !k->given_lately);

	for (unsigned n = k->idle; n > 0; n--)
		free(removed(k, 0).data);
	k->idle = k->count;
	/* Buffers that connections had when they were closed are free, too. */
	if (trim)
		malloc_trim(0);
	k->given &= k->given_lately;
	k->given_lately = false;
}
