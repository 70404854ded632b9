/* SPDX-License-Identifier: MIT */
#include "ship/protobuf.h"

#include "base/text.h"
#include "ledger/codec.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 }; /* how a field is written */

static void put(protobuf *p, const void *bytes, size_t len)
{
	p->full = p->full || !buf_append(p->to, bytes, len);
}

static void put_number(protobuf *p, uint64_t value)
{
	unsigned char bytes[10];
	put(p, bytes, (size_t)(put_varint(bytes, value) - bytes));
}

static void put_tag(protobuf *p, unsigned field, unsigned how)
{
	put_number(p, (uint64_t)field << 3 | how);
}

static void put_little_endian(protobuf *p, uint64_t value, size_t len)
{
	unsigned char bytes[8];

	for (size_t i = 0; i < len; i++)
		bytes[i] = (unsigned char)(value >> 8 * i);
	put(p, bytes, len);
}

void protobuf_varint(protobuf *p, unsigned field, uint64_t value)
{
	put_tag(p, field, VARINT);
	put_number(p, value);
}

void protobuf_fixed64(protobuf *p, unsigned field, uint64_t value)
{
	put_tag(p, field, FIXED64);
	put_little_endian(p, value, 8);
}

void protobuf_fixed32(protobuf *p, unsigned field, uint32_t value)
{
	put_tag(p, field, FIXED32);
	put_little_endian(p, value, 4);
}

void protobuf_double(protobuf *p, unsigned field, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	protobuf_fixed64(p, field, bits);
}

void protobuf_bytes(protobuf *p, unsigned field, const void *bytes, size_t len)
{
	protobuf_head(p, field, len);
	put(p, bytes, len);
}

void protobuf_head(protobuf *p, unsigned field, size_t len)
{
	put_tag(p, field, BYTES);
	put_number(p, len);
}

void protobuf_text(protobuf *p, unsigned field, const char *text)
{
	size_t begin = protobuf_begin(p, field);
	const char *at = text, *plain = text;

	while (*at) {
		const char *before = at;
		if (utf8_next(&at) != 0xfffd)
			continue;
		put(p, plain, (size_t)(before - plain));
		put(p, "\xef\xbf\xbd", 3);
		plain = at;
	}
	put(p, plain, (size_t)(at - plain));
	protobuf_end(p, begin);
}

size_t protobuf_begin(protobuf *p, unsigned field)
{
	put_tag(p, field, BYTES);
	put(p, "", 1); /* for a length below 128 */
	return buf_len(p->to);
}

void protobuf_end(protobuf *p, size_t begin)
{
	unsigned char bytes[10];

	if (p->full)
		return;
	size_t len = buf_len(p->to) - begin;
	size_t more = (size_t)(put_varint(bytes, len) - bytes) - 1;
	put(p, bytes, more); /* makes room; what stands there is overwritten */
	if (p->full)
		return;
	unsigned char *at = p->to->data + p->to->start + begin;
	memmove(at + more, at, len);
	memcpy(at - 1, bytes, more + 1);
}
