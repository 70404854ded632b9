/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "decide/ack.h"
#include "decide/line.h"
#include "decide/models.h"

/* Bytes of the largest ACK without the texts whose length varies (decision_ack_room() adds those): every name, number,
 * type and length, and the texts that are static. */
enum { ACK_FIXED = 1024 + CLIENT_NAME_MAX };

/* HAProxy puts an answer of the gateway's own into one of its buffers, which is as large as the frame that HAProxy
 * offers, with this many bytes in front of the answer. */
enum { ANSWER_HEAD = 1024 };

/* Writes the length of a text that stands one byte behind, and moves the text there. */
ACK_INLINE void put_long_length(spop_writer *w, size_t len)
{
	unsigned char length[VARINT_MAX];
	size_t takes = varint_write(length, len);

	memmove(w->pos + takes, w->pos + 1, len);
	memcpy(w->pos, length, takes);
	w->pos += takes;
}

/* Sets the agent's part of the log line. If that might not fit the frame, returns false, and HAProxy writes the part by
 * itself, of variables. The length stands in front of the text. Nearly always it takes one byte, so the text is written
 * behind that, and moved if the length takes more. */
ACK_INLINE bool set_line(spop_writer *w, const decision *d)
{
	enum { NAME = 16 }; /* at least the bytes of the variable's name and type */

	if (w->overflow || line_room(d) + NAME + VARINT_MAX > (size_t)(w->end - w->pos))
		return false;
	spop_ack_set(w, SLICE("line"));
	spop_put_u8(w, SPOP_STR);
	size_t len = line_write(d, (char *)w->pos + 1);
	if (len < 240)
		*w->pos++ = (unsigned char)len;
	else
		put_long_length(w, len);
	w->pos += len;
	return true;
}

/* Writes the list of the models that the client may use. */
ACK_INLINE void set_answer(spop_writer *w, const decision *d)
{
	spop_ack_set(w, SLICE("answer"));
	if (d->answer.ptr) {
		spop_put_str(w, d->answer);
		return;
	}
	spop_put_u8(w, SPOP_STR);
	spop_put_varint(w, d->answer.len);
	w->overflow = w->overflow || d->answer.len > (size_t)(w->end - w->pos);
	if (!w->overflow)
		w->pos += models_write(d->listed, d->caller, d->client, (char *)w->pos);
}

/* Returns a share in percent as "0.80" to "1.00". */
static slice used_share(int percent)
{
	static const char shares[21][5] = { "0.80", "0.81", "0.82", "0.83", "0.84", "0.85", "0.86",
					    "0.87", "0.88", "0.89", "0.90", "0.91", "0.92", "0.93",
					    "0.94", "0.95", "0.96", "0.97", "0.98", "0.99", "1.00" };
	return slice_of(shares[percent > 100 ? 20 : percent - 80], 4);
}

/* Tells HAProxy the limits that it counts. Takes and returns the writer itself, because one whose address is known here
 * would be in memory, and not in registers, in every ACK. */
static __attribute__((noinline)) spop_writer with_limits(spop_writer w, const client *c)
{
	ack_str(&w, SLICE("client"), slice_cstr(c->name));
	spop_ack_set(&w, SLICE("rpm"));
	spop_put_int64(&w, c->requests_per_minute);
	spop_ack_set(&w, SLICE("parallel"));
	spop_put_int64(&w, c->parallel);
	return w;
}

/* Tells HAProxy what is left of the limits that the agent counts; of a budget from 80 % on. */
static __attribute__((noinline)) spop_writer with_left(spop_writer w, const limits_left *l)
{
	if (l->used_percent >= 80)
		ack_str(&w, SLICE("budget_used"), used_share(l->used_percent));
	if (l->tokens_limit) {
		spop_ack_set(&w, SLICE("tpm"));
		spop_put_int64(&w, (int64_t)l->tokens_limit);
		spop_ack_set(&w, SLICE("tpm_left"));
		spop_put_int64(&w, (int64_t)l->tokens_left);
		spop_ack_set(&w, SLICE("tpm_reset"));
		spop_put_int64(&w, (int64_t)l->tokens_reset_s);
	}
	return w;
}

/* True if HAProxy knows from the method whether the answer is metered: that of POST and PUT is, that of others is not.
 */
ACK_INLINE bool metered_as_usual(const decision *d)
{
	slice method = d->request->sample.method;

	return d->metered == (slice_eq(method, SLICE("POST")) || slice_eq(method, SLICE("PUT")));
}

/* Sets as few variables as HAProxy's rules need, because each one costs HAProxy 1,600 to 2,000 instructions. Files of
 * contract 1 need some more. The last action is the one by which HAProxy forwards a request, so an ACK that is carried
 * out in part forwards nothing. */
ACK_INLINE void set_all(spop_writer *w, const decision *d)
{
	bool older = d->request->contract < CONTRACT, denied = d->refusal != REFUSE_NOT || d->answer.len;

	if (d->answer.len) {
		spop_ack_set(w, SLICE("status"));
		spop_put_int64(w, 200);
		set_answer(w, d);
	} else if (d->refusal != REFUSE_NOT) {
		ack_refusal(w, d->refusal, d->status);
		if (d->retry_after)
			ack_retry_after(w, d->retry_after);
		ack_str(w, SLICE("message"), slice_cstr(refusal_describe(d->refusal)->message));
	} else {
		ack_str(w, SLICE("backend"), d->backend);
		if (older)
			ack_str(w, SLICE("auth"), d->replace ? SLICE("replace") : SLICE("passthrough"));
		if (older && d->replace)
			ack_str(w, SLICE("auth_header"), slice_cstr(auth_header_name(d->header)));
		if (d->replace) {
			ack_credential(w, d->header, d->credential);
			if (d->route->forwards) { /* the backend removes headers, not the frontend */
				spop_ack_set(w, SLICE("forward"));
				spop_put_bool(w, true);
			}
		}
		if (d->leg.len)
			ack_str(w, SLICE("leg"), d->leg);
		if (d->passed_over_len)
			ack_str(w, SLICE("rest"), slice_of(d->passed_over, d->passed_over_len));
		if (d->client && (d->client->requests_per_minute || d->client->parallel))
			*w = with_limits(*w, d->client);
	}
	if (d->client)
		*w = with_left(*w, &d->left);
	bool line = set_line(w, d);
	if (!line && d->route_name.len)
		ack_str(w, SLICE("route"), d->route_name);
	if (!line && d->model.status == MODEL_FOUND)
		ack_str(w, SLICE("model"), slice_of(d->model.name, d->model.len));
	/* No protocol: OpenAI's. A refusal always says it, because HAProxy would look at the path; and so does what
	 * goes to a pool or leg, because rules of theirs compare with it. */
	if (older || !line || denied || d->caller != PROTOCOL_OPENAI || d->leg.len || (d->route && d->route->pool))
		ack_str(w, SLICE("protocol"), slice_cstr(protocol_name(d->caller)));
	/* HAProxy needs `stream` and `metered` for records only. No `stream` with a refusal: if HAProxy asks once more,
	 * the second answer could not take it back. */
	if (!line || (d->model.stream && d->refusal == REFUSE_NOT && !d->request->no_records)) {
		spop_ack_set(w, SLICE("stream"));
		if (line && d->model.stream && model_plain(&d->request->sample))
			spop_put_int64(w, 2); /* HAProxy looks for base64 only in what it did not send */
		else
			spop_put_bool(w, d->model.stream);
	}
	if (older || !line || (!metered_as_usual(d) && !d->request->no_records)) {
		spop_ack_set(w, SLICE("metered"));
		spop_put_bool(w, d->metered);
	}
	/* `deny` is true also where the gateway answers itself, because nothing is forwarded. */
	if (older || denied)
		ack_deny(w, denied);
	else
		ack_str(w, SLICE("allow"), d->replace ? slice_cstr(auth_header_name(d->header)) : SLICE("passthrough"));
}

size_t welcome_ack(const decision *d, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		   uint64_t frame_id, bool *fell_back)
{
	if (d->refusal != REFUSE_NOT)
		return decision_ack(d, s, room, room_len, stream_id, frame_id, fell_back);
	spop_writer w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
	*fell_back = false;
	spop_ack_set(&w, SLICE("welcome"));
	spop_put_bool(&w, d->client != NULL);
	return frame_end(&w);
}

size_t decision_ack_room(const decision *d)
{
	return ACK_FIXED + line_room(d) + d->backend.len + d->leg.len + d->credential.len + d->route_name.len +
	       d->model.len + d->answer.len + d->passed_over_len;
}

size_t decision_ack(const decision *d, const spop_session *s, unsigned char *room, size_t room_len, uint64_t stream_id,
		    uint64_t frame_id, bool *fell_back)
{
	spop_writer w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
	size_t len = 0;

	if (d->answer.len == 0 || d->answer.len + ANSWER_HEAD < s->max_frame) {
		set_all(&w, d);
		len = frame_end(&w);
	}

	*fell_back = len == 0;
	if (len == 0) {
		w = spop_ack_begin(s, room, room_len, stream_id, frame_id);
		ack_refusal(&w, REFUSE_GATEWAY, refusal_describe(REFUSE_GATEWAY)->status);
		ack_deny(&w, true);
		len = frame_end(&w);
		assert(len > 0); /* it has less than 100 bytes, and no frame size below 256 is agreed to */
	}
	return len;
}
