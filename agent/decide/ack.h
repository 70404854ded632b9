/* SPDX-License-Identifier: MIT
 *
 * What the ACKs about a request and about a leg have in common. Everything is inlined: then writing a name takes a few
 * stores, and the writer stays in registers. A function that is not inlined must not get the writer's address: that
 * alone costs each decision some 40 instructions, also where the function is not called. */
#ifndef DECIDE_ACK_H
#define DECIDE_ACK_H

#include "decide/decision.h"

#define ACK_INLINE static inline __attribute__((always_inline))

ACK_INLINE void ack_str(spop_writer *w, slice name, slice value)
{
	spop_ack_set(w, name);
	spop_put_str(w, value);
}

/* Sets the credential, `value`, as it stands in `header`. */
ACK_INLINE void ack_credential(spop_writer *w, auth_header header, slice value)
{
	slice scheme = header == HEADER_AUTHORIZATION ? SLICE("Bearer ") : SLICE("");

	spop_ack_set(w, SLICE("auth_value"));
	spop_put_u8(w, SPOP_STR);
	spop_put_varint(w, scheme.len + value.len);
	spop_put_bytes(w, scheme.ptr, scheme.len);
	spop_put_bytes(w, value.ptr, value.len);
}

ACK_INLINE void ack_refusal(spop_writer *w, refusal why, int status)
{
	spop_ack_set(w, SLICE("status"));
	spop_put_int64(w, status);
	ack_str(w, SLICE("code"), slice_cstr(refusal_describe(why)->code));
}

ACK_INLINE void ack_retry_after(spop_writer *w, int seconds)
{
	spop_ack_set(w, SLICE("retry_after"));
	spop_put_int64(w, seconds);
}

/* Sets `deny`, which comes last. HAProxy carries the actions out in order. A leg, and files of contract 1, forward a
 * request only if `deny` is set to false, so an ACK that is carried out in part forwards nothing. */
ACK_INLINE void ack_deny(spop_writer *w, bool deny)
{
	spop_ack_set(w, SLICE("deny"));
	spop_put_bool(w, deny);
}

#endif
