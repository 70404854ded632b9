/* SPDX-License-Identifier: MIT
 *
 * Is a body text, so that its length tells how many tokens it has? Base64 (a picture, audio, a file) is none.
 *
 * haproxy.cfg.example has the exact look for base64 (txn.llm_text), and asks for it only where this one does not say
 * "plain": here a run of bytes is enough that base64, escaped or not, could be made of. */
#ifndef SAMPLE_PLAIN_H
#define SAMPLE_PLAIN_H

#include "base/slice.h"

/* So many bytes in a row that base64 could be made of may be base64. haproxy.cfg.example has the same number. */
#define PLAIN_RUN 200
/* HAProxy looks through what it does not send, and through this many bytes of the head and of the tail beside it. */
#define PLAIN_SEAM 40

/* Returns true if nothing in `head` and `tail`, the first and the last bytes of a body of `whole` bytes, can be a part
 * of base64 that HAProxy does not see as such between the two. `tail` may be empty, and may overlap `head`. */
bool plain_text(slice head, slice tail, uint64_t whole);

#endif
