/* SPDX-License-Identifier: MIT
 *
 * SPOP's typed values, and the key-value pairs and messages made of them (SPOE.txt, 3.1 and 3.2). Decoded values point
 * into the frame that they came from.
 *
 * Every argument of every message passes through these functions. They are inline, so that they work in registers if
 * the cursor or writer is a local variable of the caller. */
#ifndef SPOP_VALUE_H
#define SPOP_VALUE_H

#include "spop/varint.h"

typedef enum spop_type {
	SPOP_NULL = 0,
	SPOP_BOOL = 1,
	SPOP_INT32 = 2,
	SPOP_UINT32 = 3,
	SPOP_INT64 = 4,
	SPOP_UINT64 = 5,
	SPOP_IPV4 = 6,
	SPOP_IPV6 = 7,
	SPOP_STR = 8,
	SPOP_BIN = 9,
} spop_type;

/* The first byte of a value: its type and, for a boolean, the value. */
enum { SPOP_TYPE_MASK = 0x0f, SPOP_TRUE = 0x10 };

typedef struct spop_value {
	spop_type type;
	uint64_t num; /* a bool as 0 or 1; integers, the signed ones as two's complement */
	slice bytes;  /* strings, binaries and addresses */
} spop_value;

/* Reads a name (a length and bytes), as messages, arguments and HELLO keys have it. */
static inline slice spop_name_read(cursor *c)
{
	return cursor_take(c, varint_read(c));
}

/* Reads a value. An unknown type, or a value that is cut, fails the cursor. */
static inline spop_value spop_value_read(cursor *c)
{
	uint8_t head = cursor_u8(c);
	spop_value v = { .type = (spop_type)(head & SPOP_TYPE_MASK) };

	switch (v.type) {
	case SPOP_NULL:
		break;
	case SPOP_BOOL:
		v.num = (head & SPOP_TRUE) != 0;
		break;
	case SPOP_INT32:
	case SPOP_UINT32:
	case SPOP_INT64:
	case SPOP_UINT64:
		v.num = varint_read(c);
		break;
	case SPOP_IPV4:
		v.bytes = cursor_take(c, 4);
		break;
	case SPOP_IPV6:
		v.bytes = cursor_take(c, 16);
		break;
	case SPOP_STR:
	case SPOP_BIN:
		v.bytes = cursor_take(c, varint_read(c));
		break;
	default:
		cursor_fail(c);
		break;
	}
	if (c->failed)
		return (spop_value){ .type = SPOP_NULL };
	return v;
}

/* Returns the bytes of a string or binary; for any other type, NULL included, the empty slice. */
static inline slice spop_value_bytes(const spop_value *v)
{
	return v->type == SPOP_STR || v->type == SPOP_BIN ? v->bytes : (slice){ NULL, 0 };
}

/* Returns an integer or boolean; for a negative number or any other type, 0. */
static inline uint64_t spop_value_uint(const spop_value *v)
{
	switch (v->type) {
	case SPOP_BOOL:
	case SPOP_UINT32:
	case SPOP_UINT64:
		return v->num;
	case SPOP_INT32:
	case SPOP_INT64:
		return (int64_t)v->num < 0 ? 0 : v->num;
	case SPOP_NULL:
	case SPOP_IPV4:
	case SPOP_IPV6:
	case SPOP_STR:
	case SPOP_BIN:
		break;
	}
	return 0;
}

static inline bool spop_value_true(const spop_value *v)
{
	return spop_value_uint(v) != 0;
}

/* Writes into room of fixed size. What does not fit sets `overflow`; after that nothing is written any more. */
typedef struct spop_writer {
	unsigned char *start;
	unsigned char *pos;
	unsigned char *end;
	bool overflow;
} spop_writer;

static inline __attribute__((always_inline)) void spop_put_bytes(spop_writer *w, const void *bytes, size_t len)
{
	if (w->overflow || len > (size_t)(w->end - w->pos)) {
		w->overflow = true;
		return;
	}
	if (len)
		memcpy(w->pos, bytes, len);
	w->pos += len;
}

static inline __attribute__((always_inline)) void spop_put_u8(spop_writer *w, uint8_t byte)
{
	spop_put_bytes(w, &byte, 1);
}

static inline __attribute__((always_inline)) void spop_put_varint(spop_writer *w, uint64_t value)
{
	unsigned char bytes[VARINT_MAX];

	/* The usual case. Write in place: reading back bytes that were just written one by one, as a word, is slow. */
	if (!w->overflow && w->end - w->pos >= VARINT_MAX)
		w->pos += varint_write(w->pos, value);
	else
		spop_put_bytes(w, bytes, varint_write(bytes, value));
}

static inline __attribute__((always_inline)) void spop_put_name(spop_writer *w, slice name)
{
	spop_put_varint(w, name.len);
	spop_put_bytes(w, name.ptr, name.len);
}

static inline __attribute__((always_inline)) void spop_put_bool(spop_writer *w, bool value)
{
	spop_put_u8(w, (uint8_t)(SPOP_BOOL | (value ? SPOP_TRUE : 0)));
}

static inline void spop_put_uint32(spop_writer *w, uint32_t value)
{
	spop_put_u8(w, SPOP_UINT32);
	spop_put_varint(w, value);
}

static inline void spop_put_int64(spop_writer *w, int64_t value)
{
	spop_put_u8(w, SPOP_INT64);
	spop_put_varint(w, (uint64_t)value);
}

static inline __attribute__((always_inline)) void spop_put_str(spop_writer *w, slice value)
{
	/* Nearly all strings are short and fit. */
	if (value.len < 240 && !w->overflow && value.len + 2 <= (size_t)(w->end - w->pos)) {
		w->pos[0] = SPOP_STR;
		w->pos[1] = (unsigned char)value.len;
		if (value.len)
			memcpy(w->pos + 2, value.ptr, value.len);
		w->pos += value.len + 2;
		return;
	}
	spop_put_u8(w, SPOP_STR);
	spop_put_name(w, value);
}

#endif
