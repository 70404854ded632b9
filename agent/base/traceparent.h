/* SPDX-License-Identifier: MIT
 *
 * The header by which a client says of which trace a request is a part (W3C Trace Context):
 *
 *   00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
 *
 * version, trace, the client's span, and flags, in lower-case hexadecimal digits. A version after 00 may append a dash
 * and more, which is left out here. */
#ifndef BASE_TRACEPARENT_H
#define BASE_TRACEPARENT_H

#include "base/slice.h"

enum {
	TRACEPARENT_LEN = 55,
	TRACE_ID_AT = 3,
	TRACE_ID_LEN = 32, /* digits */
	TRACE_SPAN_AT = 36,
	TRACE_SPAN_LEN = 16,
	TRACE_FLAGS_AT = 53,
};

/* True for `len` lower-case hexadecimal digits of which one is not 0. */
static inline bool trace_hex(const char *s, size_t len)
{
	bool zero = true;

	for (size_t i = 0; i < len; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
		zero = zero && s[i] == '0';
	}
	return !zero;
}

/* True for the first TRACEPARENT_LEN bytes of a header that has to be honoured. */
static inline bool traceparent_valid(slice s)
{
	return s.len == TRACEPARENT_LEN && s.ptr[2] == '-' && s.ptr[35] == '-' && s.ptr[52] == '-' &&
	       (trace_hex(s.ptr, 2) || memcmp(s.ptr, "00", 2) == 0) && memcmp(s.ptr, "ff", 2) != 0 &&
	       trace_hex(s.ptr + TRACE_ID_AT, TRACE_ID_LEN) && trace_hex(s.ptr + TRACE_SPAN_AT, TRACE_SPAN_LEN) &&
	       (trace_hex(s.ptr + TRACE_FLAGS_AT, 2) || memcmp(s.ptr + TRACE_FLAGS_AT, "00", 2) == 0);
}

#endif
