/* SPDX-License-Identifier: MIT
 *
 * Tells whether a body is text, whose length says how many tokens it has, or may have base64 (a picture, audio, a
 * file).
 *
 * This look is quick and rough: any long run of bytes that can stand in base64 counts, escaped or not. Where it finds
 * one, HAProxy looks exactly (txn.llm_text in haproxy.cfg.example). */
#ifndef SAMPLE_PLAIN_H
#define SAMPLE_PLAIN_H

#include "base/slice.h"

/* From how many bytes on a run may be base64. haproxy.cfg.example has the same number. */
#define PLAIN_RUN 200
/* HAProxy looks through the bytes that it does not send, and through this many of the head in front of them and of the
 * tail behind them. */
#define PLAIN_SEAM 40

/* Returns true if `head` and `tail`, the first and the last bytes of a body of `whole` bytes, have no run that may be
 * base64, and HAProxy sees all of each run that begins or ends between the two. `tail` may be empty, and may overlap
 * `head`. */
bool plain_text(slice head, slice tail, uint64_t whole);

#endif
