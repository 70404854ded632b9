/* SPDX-License-Identifier: MIT */
#include "ledger/journal_entry.h"

#include <errno.h>
#include <unistd.h>
#include <zlib.h>

#include "base/bytes.h"

static const char magic[8] = { 'S', 'P', 'O', 'A', 'L', 'L', 'M', 'J' };

static uint32_t crc_of(uint32_t begin, const void *bytes, size_t len)
{
	return (uint32_t)crc32(begin, bytes, (uInt)len);
}

void segment_header(unsigned char out[SEGMENT_HEADER], uint32_t salt)
{
	memcpy(out, magic, sizeof magic);
	put_u32be(out + 8, SEGMENT_VERSION);
	put_u32be(out + 12, salt);
	put_u32be(out + 16, crc_of(0, out, 16));
}

static uint32_t entry_crc(uint32_t salt, const unsigned char *entry, size_t payload)
{
	return crc_of(crc_of(salt, entry, 4), entry + ENTRY_HEADER, payload);
}

/* Writes the header before `payload` bytes that are there already. */
static size_t entry_finish(size_t payload, uint32_t salt, unsigned char *out)
{
	put_u32be(out, (uint32_t)payload);
	put_u32be(out + 4, entry_crc(salt, out, payload));
	return ENTRY_HEADER + payload;
}

size_t entry_encode(const record *r, uint32_t salt, unsigned char out[ENTRY_MAX])
{
	return entry_finish(record_encode(r, out + ENTRY_HEADER), salt, out);
}

size_t entry_encode_report(const tap_report *r, uint32_t salt, unsigned char out[ENTRY_MAX])
{
	return entry_finish(tap_report_encode(r, out + ENTRY_HEADER), salt, out);
}

size_t entry_size(const unsigned char *entry)
{
	return ENTRY_HEADER + get_u32be(entry);
}

/* ---- reading */

void scan_begin(scan *s, int fd, uint64_t size)
{
	s->fd = fd;
	s->size = size;
	s->next = 0;
	s->failed = false;
	s->base = 0;
	s->held = 0;
}

/* Returns the bytes from `at` on: at least ENTRY_MAX, or up to the end of the file. */
static slice look(scan *s, uint64_t at)
{
	uint64_t want = s->size - at < ENTRY_MAX ? s->size - at : ENTRY_MAX;

	if (at < s->base || at - s->base > s->held || s->held - (size_t)(at - s->base) < want) {
		size_t kept = 0;
		if (at >= s->base && at - s->base < s->held) {
			kept = s->held - (size_t)(at - s->base);
			memmove(s->window, s->window + (at - s->base), kept);
		}
		s->base = at;
		s->held = kept;
		while (s->held < sizeof s->window && s->base + s->held < s->size) {
			uint64_t left = s->size - s->base - s->held;
			size_t room = sizeof s->window - s->held;
			ssize_t n = pread(s->fd, s->window + s->held, left < room ? (size_t)left : room,
					  (off_t)(s->base + s->held));
			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0)
				s->failed = true;
			if (n <= 0) { /* at n == 0 somebody else has shortened the file */
				s->size = s->base + s->held;
				break;
			}
			s->held += (size_t)n;
		}
	}
	return slice_of(s->window + (at - s->base), s->held - (size_t)(at - s->base));
}

/* Returns the length of the whole entry that `bytes` begin with; 0: they begin with none. */
static size_t entry_at(const scan *s, slice bytes)
{
	const unsigned char *entry = (const unsigned char *)bytes.ptr;

	if (bytes.len < ENTRY_HEADER + PAYLOAD_MIN)
		return 0;
	size_t payload = get_u32be(entry);
	if (payload < PAYLOAD_MIN || payload > PAYLOAD_MAX || payload > bytes.len - ENTRY_HEADER ||
	    get_u32be(entry + 4) != entry_crc(s->salt, entry, payload))
		return 0;
	return ENTRY_HEADER + payload;
}

/* Whether the bytes at the end of a segment can be the beginning of an entry. */
static bool begins_entry(slice bytes)
{
	if (bytes.len < ENTRY_HEADER)
		return true;
	size_t payload = get_u32be((const unsigned char *)bytes.ptr);
	return payload >= PAYLOAD_MIN && payload <= PAYLOAD_MAX && payload > bytes.len - ENTRY_HEADER;
}

/* Reads the payload of an entry. False: it is neither record nor report. */
static bool decode(scan *s, slice payload)
{
	bool report = (unsigned char)payload.ptr[0] == TAP_REPORT_CODEC;

	s->record = report ? NULL : &s->record_value;
	s->report = report ? &s->report_value : NULL;
	return report ? tap_report_decode(payload, &s->report_value) : record_decode(payload, &s->record_value);
}

bool scan_memory(scan *s, const unsigned char *entry)
{
	return decode(s, slice_of((const char *)entry + ENTRY_HEADER, entry_size(entry) - ENTRY_HEADER));
}

/* Reads the segment's header. Returns SCAN_ENTRY if entries follow, else what is wrong. */
static scan_event begin(scan *s)
{
	slice bytes = look(s, 0);
	const unsigned char *header = (const unsigned char *)bytes.ptr;

	s->at = 0;
	s->len = s->size;
	s->next = s->size;
	if (bytes.len < SEGMENT_HEADER)
		return SCAN_TORN;
	if (memcmp(header, magic, sizeof magic) != 0 || get_u32be(header + 16) != crc_of(0, header, 16))
		return SCAN_HEADER;
	if (get_u32be(header + 8) > SEGMENT_VERSION)
		return SCAN_NEWER;
	s->salt = get_u32be(header + 12);
	s->next = SEGMENT_HEADER;
	return SCAN_ENTRY;
}

scan_event scan_next(scan *s)
{
	if (s->next == 0 && s->size > 0) {
		scan_event event = begin(s);
		if (s->failed)
			return SCAN_FAILED;
		if (event != SCAN_ENTRY)
			return event;
	}
	if (s->failed)
		return SCAN_FAILED;
	if (s->next >= s->size)
		return SCAN_END;

	slice bytes = look(s, s->next);
	size_t len = entry_at(s, bytes);
	s->at = s->next;
	if (s->failed)
		return SCAN_FAILED;
	if (len) {
		s->len = len;
		s->next += len;
		/* The CRC is right, so the length is: even if the payload cannot be decoded, go on after it. */
		return decode(s, slice_of(bytes.ptr + ENTRY_HEADER, len - ENTRY_HEADER)) ? SCAN_ENTRY : SCAN_DAMAGED;
	}
	bool torn = begins_entry(bytes);
	while (++s->next < s->size && !entry_at(s, look(s, s->next)) && !s->failed)
		;
	if (s->failed)
		return SCAN_FAILED;
	s->len = s->next - s->at;
	return torn && s->next >= s->size ? SCAN_TORN : SCAN_DAMAGED;
}
