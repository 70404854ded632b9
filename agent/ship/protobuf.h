/* SPDX-License-Identifier: MIT
 *
 * Writes protocol buffers, as much of them as OTLP needs. Each function writes one field. A buffer that is full sets
 * `full`, and nothing is written from then on: a caller looks once, at the end. */
#ifndef SHIP_PROTOBUF_H
#define SHIP_PROTOBUF_H

#include "base/buf.h"

typedef struct protobuf {
	buf *to;
	bool full;
} protobuf;

void protobuf_varint(protobuf *p, unsigned field, uint64_t value);
void protobuf_fixed64(protobuf *p, unsigned field, uint64_t value);
void protobuf_fixed32(protobuf *p, unsigned field, uint32_t value);
void protobuf_double(protobuf *p, unsigned field, double value);
void protobuf_bytes(protobuf *p, unsigned field, const void *bytes, size_t len);
/* Writes `text` as valid UTF-8: a byte that is none becomes U+FFFD. */
void protobuf_text(protobuf *p, unsigned field, const char *text);
/* Writes the tag and the length of a message whose `len` bytes the caller appends. */
void protobuf_head(protobuf *p, unsigned field, size_t len);
/* Begins a message; protobuf_end() takes what this returns. */
size_t protobuf_begin(protobuf *p, unsigned field);
void protobuf_end(protobuf *p, size_t begin);

#endif
