/* SPDX-License-Identifier: MIT
 *
 * The buffers of large frames that an SPOP thread keeps for its next large frames, because the kernel takes longer to
 * give a page of new memory than to copy into it. A buffer that was not needed for a while is freed. */
#ifndef NET_KEPT_H
#define NET_KEPT_H

#include "base/buf.h"

enum { KEPT_MAX = 64 }; /* buffers */

typedef struct kept {
	buf all[KEPT_MAX]; /* `count` buffers; that which was used last is the last one */
	unsigned count;
	unsigned idle;     /* the smallest `count` since kept_rest() was called last: so many buffers were not needed */
	bool given;        /* a large frame came since free memory went back to the kernel last */
	bool given_lately; /* and since kept_rest() was called last */
	size_t bytes, limit; /* of all buffers together */
} kept;

/* `limit`: the most bytes of all buffers together. */
void kept_init(kept *k, size_t limit);
void kept_deinit(kept *k);
/* Moves what `b` holds into a kept buffer with room for `len` more bytes, and frees the memory that `b` had. False:
 * there is no such buffer within the limit of `b`; nothing changed. */
bool kept_take(kept *k, buf *b, size_t len);
/* Takes the memory of `b`, which is then empty. Frees it if KEPT_MAX or the limit is reached. */
void kept_give(kept *k, buf *b);
/* Frees the buffers that were not needed since the last call, and gives free memory back to the kernel. */
void kept_rest(kept *k);

#endif
