/* SPDX-License-Identifier: MIT
 *
 * SPOP sessions. The input is a program: each of its steps writes one frame, mostly a good one, so that the code behind
 * the framing is reached; a step may also write arbitrary bytes, or damage or cut a frame. Checked: a good frame gives
 * the event, ids, messages and values that were written into it; the same bytes in pieces of any size give the same
 * events; each answer is a frame that frame_decode() reads. */
#include "fuzz.h"

#include "base/buf.h"
#include "spop/session.h"
#include "spop/varint.h"

enum { STREAM_MAX = 1 << 16, EVENTS_MAX = 64, ROOM = 8192 };

static unsigned char stream[STREAM_MAX];
static size_t stream_len;

/* The event that a frame must give. For a NOTIFY, `sum` is over its names and values, in order. */
typedef struct expectation {
	spop_event_type type;
	uint64_t stream_id, frame_id, sum;
} expectation;

static uint64_t add(uint64_t sum, const void *bytes, size_t len)
{
	const unsigned char *at = bytes;

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
	return (sum ^ len) * UINT64_C(0x100000001b3);
}

static uint64_t add_value(uint64_t sum, const spop_value *v)
{
	sum = add(sum, &v->type, sizeof v->type);
	sum = add(sum, &v->num, sizeof v->num);
	return add(sum, v->bytes.ptr, v->bytes.len);
}

static uint64_t u64(cursor *c)
{
	uint64_t low = cursor_u32be(c);
	return low << 32 | cursor_u32be(c);
}

/* An id or a number: mostly small, sometimes at a border of the encoding. */
static uint64_t number(cursor *c)
{
	static const uint64_t borders[] = { 0,      1,      239,        240,       2287,           2288,
					    264431, 264432, UINT32_MAX, INT64_MAX, UINT64_MAX - 1, UINT64_MAX };
	uint8_t choice = cursor_u8(c);

	if (choice < 128)
		return choice;
	if (choice < 160)
		return borders[choice % (sizeof borders / sizeof borders[0])];
	return u64(c) >> (choice % 64);
}

static uint64_t put_value(spop_writer *w, cursor *c, uint64_t sum)
{
	uint8_t choice = cursor_u8(c);
	spop_value v = { .type = (spop_type)(choice % 10) };

	switch (v.type) {
	case SPOP_NULL:
		spop_put_u8(w, SPOP_NULL);
		break;
	case SPOP_BOOL:
		v.num = choice & 16 ? 1 : 0;
		spop_put_bool(w, v.num != 0);
		break;
	case SPOP_INT64:
		v.num = number(c);
		spop_put_int64(w, (int64_t)v.num);
		break;
	case SPOP_UINT32:
		v.num = number(c) & UINT32_MAX;
		spop_put_uint32(w, (uint32_t)v.num);
		break;
	case SPOP_INT32:
	case SPOP_UINT64:
		v.num = number(c);
		spop_put_u8(w, (uint8_t)v.type);
		spop_put_varint(w, v.num);
		break;
	case SPOP_IPV4:
	case SPOP_IPV6: {
		static const unsigned char address[16] = { 1, 2, 3 };
		v.bytes = slice_of(address, v.type == SPOP_IPV4 ? 4 : 16);
		spop_put_u8(w, (uint8_t)v.type);
		spop_put_bytes(w, v.bytes.ptr, v.bytes.len);
		break;
	}
	case SPOP_STR:
	case SPOP_BIN:
		v.bytes = cursor_take(c, cursor_u8(c));
		spop_put_u8(w, (uint8_t)v.type);
		spop_put_name(w, v.bytes);
		break;
	default:
		abort();
	}
	return add_value(sum, &v);
}

static slice put_named(spop_writer *w, cursor *c)
{
	static const slice names[] = { SLICE_INIT("llm-request"), SLICE_INIT("body"), SLICE_INIT(""), SLICE_INIT("x") };
	uint8_t choice = cursor_u8(c);
	slice name = choice < 200 ? names[choice % 4] : cursor_take(c, choice - 200u);

	spop_put_name(w, name);
	return name;
}

static uint64_t put_messages(spop_writer *w, cursor *c)
{
	uint64_t sum = 1;

	for (unsigned n = cursor_u8(c) % 4; n > 0; n--) {
		unsigned args = cursor_u8(c) % 24;
		slice name = put_named(w, c);
		sum = add(sum, name.ptr, name.len);
		spop_put_u8(w, (uint8_t)args);
		for (; args > 0; args--) {
			name = put_named(w, c);
			sum = put_value(w, c, add(sum, name.ptr, name.len));
		}
	}
	return sum;
}

static void put_hello(spop_writer *w, cursor *c)
{
	static const slice versions[] = { SLICE_INIT("2.0"), SLICE_INIT("1.0, 2.0"), SLICE_INIT("3.0"),
					  SLICE_INIT("") };
	static const slice offers[] = { SLICE_INIT("pipelining,async"), SLICE_INIT(""), SLICE_INIT(" pipelining "),
					SLICE_INIT("async") };
	uint8_t with = cursor_u8(c), which = cursor_u8(c);

	if (with < 192 || with & 1) {
		spop_put_name(w, SLICE("supported-versions"));
		spop_put_str(w, versions[with < 192 ? which & 1 : which & 3]);
	}
	if (with < 192 || with & 2) {
		spop_put_name(w, SLICE("max-frame-size"));
		spop_put_uint32(w, with < 192 ? 256 + (uint32_t)which * 16 : (uint32_t)number(c));
	}
	if (with < 192 || with & 4) {
		spop_put_name(w, SLICE("capabilities"));
		spop_put_str(w, offers[which >> 2 & 3]);
	}
	if (with & 8) {
		spop_put_name(w, SLICE("healthcheck"));
		spop_put_bool(w, (with & 16) != 0);
	}
	if (with & 32) {
		put_named(w, c);
		put_value(w, c, 0);
	}
}

/* Appends one frame to `stream`, and says in `e` which event it must give (SPOP_MORE: not known). False: it did not
 * fit.
 */
static bool step(cursor *c, expectation *e)
{
	unsigned char room[ROOM];
	uint8_t op = cursor_u8(c);
	uint64_t a = number(c), b = number(c);
	spop_writer w;

	*e = (expectation){ .type = SPOP_MORE, .stream_id = a, .frame_id = b };
	switch (op % 8) {
	case 0:
		w = frame_begin(room, sizeof room, ROOM - FRAME_PREFIX, FRAME_HAPROXY_HELLO, op & 8 ? a : 0,
				op & 8 ? b : 0);
		put_hello(&w, c);
		break;
	case 1:
	case 2:
	case 3:
		w = frame_begin(room, sizeof room, ROOM - FRAME_PREFIX, FRAME_NOTIFY, a, b);
		e->sum = put_messages(&w, c);
		e->type = SPOP_NOTIFY;
		break;
	case 4:
		w = frame_begin(room, sizeof room, ROOM - FRAME_PREFIX, FRAME_HAPROXY_DISCONNECT, 0, 0);
		spop_put_name(&w, SLICE("status-code"));
		put_value(&w, c, 0);
		spop_put_name(&w, SLICE("message"));
		put_value(&w, c, 0);
		break;
	case 5: /* any type, any bytes */
		w = frame_begin(room, sizeof room, ROOM - FRAME_PREFIX, (frame_type)cursor_u8(c), a, b);
		{
			slice raw = cursor_take(c, cursor_u8(c));
			spop_put_bytes(&w, raw.ptr, raw.len);
		}
		break;
	default: { /* a NOTIFY, damaged in one place */
		w = frame_begin(room, sizeof room, ROOM - FRAME_PREFIX, FRAME_NOTIFY, a, b);
		put_messages(&w, c);
		size_t len = frame_end(&w);
		if (len > 0)
			room[cursor_u32be(c) % len] ^= cursor_u8(c);
		size_t cut = op & 64 && len > 0 ? cursor_u8(c) % len : len;
		if (cut > STREAM_MAX - stream_len)
			return false;
		memcpy(stream + stream_len, room, cut);
		stream_len += cut;
		return len > 0;
	}
	}
	size_t len = frame_end(&w);
	if (len == 0 || len > STREAM_MAX - stream_len)
		return false;
	memcpy(stream + stream_len, room, len);
	stream_len += len;
	return true;
}

typedef struct seen {
	spop_event_type type;
	uint64_t stream_id, frame_id, sum;
	spop_status status;
} seen;

/* Returns the sum over the messages; *valid says whether they are well-formed. */
static uint64_t sum_messages(slice messages, bool *valid)
{
	cursor c = cursor_of(messages);
	spop_message m;
	slice name;
	spop_value v;
	uint64_t sum = 1;

	while (spop_message_next(&c, &m)) {
		sum = add(sum, m.name.ptr, m.name.len);
		while (spop_arg_next(&m, &name, &v))
			sum = add_value(add(sum, name.ptr, name.len), &v);
	}
	cursor again = cursor_of(messages);
	HOLDS(c.pos == c.end && spop_messages_skip(&again) == !c.failed && cursor_done(&again));
	*valid = !c.failed;
	return sum;
}

/* Checks that the answer to an event fits, and is a frame. */
static void answer(const spop_session *s, const spop_event *e)
{
	unsigned char room[1024];
	frame f;
	size_t used, len = 0;

	if (e->type == SPOP_HELLO)
		len = spop_write_hello(s, room, sizeof room);
	else if (e->type == SPOP_ERROR)
		len = spop_write_disconnect(s, room, sizeof room, e->status, e->reason);
	else if (e->type == SPOP_NOTIFY) {
		spop_writer w = spop_ack_begin(s, room, sizeof room, e->stream_id, e->frame_id);
		spop_ack_set(&w, SLICE("deny"));
		spop_put_bool(&w, true);
		len = frame_end(&w);
	} else {
		return;
	}
	HOLDS(len > 0);
	HOLDS(frame_decode(slice_of(room, len), s->max_frame, &f, &used) == FRAME_OK && used == len);
	HOLDS(e->type != SPOP_NOTIFY || (f.stream_id == e->stream_id && f.frame_id == e->frame_id));
}

/* Reads `stream` in pieces of `piece` bytes into a buffer, as a connection does, and writes the events to `out`.
 * Returns how many. The session gets a copy of the buffer, so that a read past it is seen. */
static size_t play(uint32_t max, bool pipelining, size_t piece, seen *out)
{
	spop_session s;
	size_t came = 0, count = 0;
	buf in;

	buf_init(&in, STREAM_MAX);
	spop_session_init(&s, max, pipelining);
	while (count < EVENTS_MAX) {
		size_t have = buf_len(&in);
		char *copy = malloc(have ? have : 1);
		HOLDS(copy != NULL);
		if (have)
			memcpy(copy, buf_slice(&in).ptr, have);
		slice shown = slice_of(copy, have);
		spop_event e = spop_session_next(&s, &shown);
		size_t used = have - shown.len;
		if (e.type == SPOP_MORE) {
			HOLDS(used == 0 && e.need > have && e.need <= FRAME_PREFIX + (size_t)s.max_frame);
		} else {
			uint64_t sum = 0;
			bool valid = true;
			if (e.type == SPOP_NOTIFY)
				sum = sum_messages(e.messages, &valid);
			if (!valid) {
				e = spop_session_malformed(&s);
				HOLDS(e.type == SPOP_ERROR && s.state == SPOP_ENDED);
			}
			out[count++] = (seen){ e.type, e.stream_id, e.frame_id, valid ? sum : 0, e.status };
			HOLDS(e.type == SPOP_ERROR || used > 0);
			HOLDS(s.max_frame <= max && s.max_frame >= FRAME_SIZE_MIN);
			HOLDS(!s.pipelining || pipelining);
			answer(&s, &e);
		}
		free(copy);
		buf_consume(&in, used, piece);
		HOLDS(buf_len(&in) == have - used && in.cap <= STREAM_MAX);
		if (s.state == SPOP_ENDED)
			break;
		if (e.type != SPOP_MORE)
			continue;
		if (came == stream_len)
			break;
		size_t more = piece < stream_len - came ? piece : stream_len - came;
		HOLDS(!buf_append(&in, stream, STREAM_MAX + 1 - buf_len(&in)) && buf_len(&in) == have - used);
		HOLDS(buf_append(&in, stream + came, more));
		came += more;
	}
	buf_deinit(&in);
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint32_t sizes[] = { 256, 1024, 16380, 1048576 };
	static seen whole[EVENTS_MAX], parts[EVENTS_MAX];
	cursor c = cursor_of(slice_of(data, size));
	uint8_t mode = cursor_u8(&c);
	uint32_t max = sizes[mode & 3];
	bool pipelining = (mode & 4) != 0;
	size_t piece = 1 + cursor_u8(&c) % 64, steps = 0, count;
	static expectation expected[EVENTS_MAX];

	stream_len = 0;
	if (mode & 8) { /* the input itself is the stream */
		slice raw = cursor_take(&c, cursor_left(&c));
		stream_len = raw.len < STREAM_MAX ? raw.len : STREAM_MAX;
		memcpy(stream, raw.ptr ? raw.ptr : "", stream_len);
	} else if (!(mode & 16)) { /* begin with a good HELLO, so that the session reads on */
		spop_writer w = frame_begin(stream, STREAM_MAX, 1024, FRAME_HAPROXY_HELLO, 0, 0);
		spop_put_name(&w, SLICE("supported-versions"));
		spop_put_str(&w, SLICE("2.0"));
		spop_put_name(&w, SLICE("max-frame-size"));
		spop_put_uint32(&w, max);
		spop_put_name(&w, SLICE("capabilities"));
		spop_put_str(&w, mode & 32 ? SLICE("pipelining,async") : SLICE(""));
		stream_len = frame_end(&w);
	}
	while (!(mode & 8) && !cursor_done(&c) && steps < EVENTS_MAX - 1 && step(&c, &expected[steps]))
		steps++;
	count = play(max, pipelining, SIZE_MAX, whole);
	HOLDS(play(max, pipelining, piece, parts) == count);
	HOLDS(memcmp(whole, parts, count * sizeof whole[0]) == 0);

	/* Behind a good HELLO, each good NOTIFY gives its event, up to the first step that may be anything. */
	if (mode & 24)
		return 0;
	HOLDS(count > 0 && whole[0].type == SPOP_HELLO);
	for (size_t i = 0;
	     i < steps && i + 1 < count && expected[i].type == SPOP_NOTIFY && whole[i + 1].type != SPOP_ERROR; i++)
		HOLDS(whole[i + 1].type == SPOP_NOTIFY && whole[i + 1].sum == expected[i].sum &&
		      whole[i + 1].stream_id == expected[i].stream_id && whole[i + 1].frame_id == expected[i].frame_id);
	/* A good NOTIFY may be refused only for its size. */
	for (size_t i = 0; i < steps && i + 1 < count && expected[i].type == SPOP_NOTIFY; i++) {
		if (whole[i + 1].type == SPOP_ERROR)
			HOLDS(whole[i + 1].status == SPOP_TOO_BIG);
		if (whole[i + 1].type != SPOP_NOTIFY)
			break;
	}
	return 0;
}
