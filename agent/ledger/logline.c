/* SPDX-License-Identifier: MIT */
#include "ledger/logline.h"

#include "base/json.h"
#include "base/text.h"
#include "ledger/client.h"
#include "ledger/tried.h"

/* What HAProxy writes where there is no text. */
#define ABSENT SLICE("-")

typedef enum field {
	F_V,
	F_ID,
	F_TE,
	F_ROUTE,
	F_PROTOCOL,
	F_MODEL,
	F_PROJECT,
	F_CLIENT,
	F_UA,
	F_STREAM,
	F_METERED,
	F_OP,
	F_BEHIND,
	F_KEYED,
	F_REFUSED,
	F_MEMBER,
	F_TRIED,
	F_BACKEND,
	F_SRV,
	F_STATUS,
	F_CODE,
	F_TERM,
	F_IN,
	F_OUT,
	F_TR,
	F_TW,
	F_TC,
	F_TRS,
	F_TA,
	F_CTYPE,
	F_SEEN,
	F_USAGE,
	F_CODING,
	F_TIER,
	F_HB,
	F_HA,
	F_HS,
	F_TEXT,
	F_COMP,
	F_TRACEPARENT,
	F_TO,
	FIELDS,
} field;

/* In the order of the line, so that find() compares a key with few of them. */
static const slice names[FIELDS] = {
	[F_V] = SLICE_INIT("v"),
	[F_ID] = SLICE_INIT("id"),
	[F_TE] = SLICE_INIT("te"),
	[F_ROUTE] = SLICE_INIT("route"),
	[F_PROTOCOL] = SLICE_INIT("protocol"),
	[F_MODEL] = SLICE_INIT("model"),
	[F_PROJECT] = SLICE_INIT("project"),
	[F_CLIENT] = SLICE_INIT("client"),
	[F_UA] = SLICE_INIT("ua"),
	[F_STREAM] = SLICE_INIT("stream"),
	[F_METERED] = SLICE_INIT("metered"),
	[F_OP] = SLICE_INIT("op"),
	[F_BEHIND] = SLICE_INIT("behind"),
	[F_KEYED] = SLICE_INIT("keyed"),
	[F_REFUSED] = SLICE_INIT("refused"),
	[F_MEMBER] = SLICE_INIT("member"),
	[F_TRIED] = SLICE_INIT("tried"),
	[F_BACKEND] = SLICE_INIT("backend"),
	[F_SRV] = SLICE_INIT("srv"),
	[F_STATUS] = SLICE_INIT("status"),
	[F_CODE] = SLICE_INIT("code"),
	[F_TERM] = SLICE_INIT("term"),
	[F_IN] = SLICE_INIT("in"),
	[F_OUT] = SLICE_INIT("out"),
	[F_TR] = SLICE_INIT("tr"),
	[F_TW] = SLICE_INIT("tw"),
	[F_TC] = SLICE_INIT("tc"),
	[F_TRS] = SLICE_INIT("trs"),
	[F_TA] = SLICE_INIT("ta"),
	[F_CTYPE] = SLICE_INIT("ctype"),
	[F_SEEN] = SLICE_INIT("seen"),
	[F_USAGE] = SLICE_INIT("usage"),
	[F_CODING] = SLICE_INIT("coding"),
	[F_TIER] = SLICE_INIT("tier"),
	[F_HB] = SLICE_INIT("hb"),
	[F_HA] = SLICE_INIT("ha"),
	[F_HS] = SLICE_INIT("hs"),
	[F_TEXT] = SLICE_INIT("text"),
	[F_COMP] = SLICE_INIT("comp"),
	[F_TRACEPARENT] = SLICE_INIT("traceparent"),
	[F_TO] = SLICE_INIT("to"),
};

/* Returns `len` without the bytes of a character at the end that `len` cuts in two. */
static size_t whole_characters(const char *s, size_t len)
{
	size_t back = 0;
	while (back < 4 && back < len && ((unsigned char)s[len - 1 - back] & 0xc0) == 0x80)
		back++;
	if (back == len)
		return len;
	unsigned char lead = (unsigned char)s[len - 1 - back];
	size_t want = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
	return back < want ? len - 1 - back : len;
}

/* Returns the length of the first character of `s`, valid UTF-8, if it is invisible: a terminal may obey it, and a
 * report would have two lines for names that look the same. 0: it is visible. */
static size_t unseen(const char *s)
{
	const char *after = s;

	return text_is_control(utf8_next(&after)) ? (size_t)(after - s) : 0;
}

/* True if all bytes are visible ASCII or blanks, and none is `but`. That is so for most labels, which are short. */
static bool is_plain(const char *s, size_t len, char but)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	const uint64_t buts = ones * (unsigned char)but;
	uint64_t odd = 0, w;
	size_t at = 0;

	for (; len - at >= sizeof w; at += sizeof w) {
		memcpy(&w, s + at, sizeof w);
		odd |= (w - ones * ' ') | (w + ones) | w; /* below a blank, DEL, or not ASCII */
		odd |= (w ^ buts) - ones;
	}
	if (odd & high)
		return false;
	for (; at < len; at++)
		if (s[at] < ' ' || s[at] > '~' || s[at] == but)
			return false;
	return true;
}

/* Copies `text` as label_clean() says, cut at `max` bytes. */
static void clean(slice text, char *out, size_t max)
{
	text = slice_trim(text);
	size_t len = text.len <= max ? text.len : whole_characters(text.ptr, max);

	if (is_plain(text.ptr, len, '\0')) {
		memcpy(out, text.ptr, len);
		out[len] = '\0';
		return;
	}
	bool utf8 = utf8_valid(text.ptr, len);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];
		size_t odd = utf8 && c >= 0xc0 ? unseen(text.ptr + i) : 0;
		out[i] = c < ' ' || c == 0x7f || (c >= 0x80 && !utf8) || odd ? '_' : (char)c;
		for (; odd > 1; odd--)
			out[++i] = '_';
	}
	out[len] = '\0';
}

void label_clean(slice name, char out[RECORD_LABEL_MAX + 1])
{
	clean(name, out, RECORD_LABEL_MAX);
}

/* Returns what stands between the quotes, not decoded: enough for digits, and for texts without an escape. */
static slice bare(const json_member *m)
{
	return m->type == JSON_STRING ? slice_of(m->value.ptr + 1, m->value.len - 2) : slice_of(NULL, 0);
}

/* Sets `*out` to the text of a string member, cut at `cap` bytes, which is empty for HAProxy's `-`. A text that has to
 * be decoded is in `buf`, any other one in the line. False: `m` is no valid string. */
static bool text_of(const json_member *m, char *buf, size_t cap, slice *out)
{
	size_t len = 0;

	if (m->type != JSON_STRING)
		return false;
	*out = bare(m);
	if (out->len > cap || !is_plain(out->ptr, out->len, '\\')) {
		json_text_status status = json_text(m->value, buf, cap, &len);
		if (status != JSON_TEXT_OK && status != JSON_TEXT_LONG)
			return false;
		*out = slice_of(buf, len);
	}
	if (slice_eq(*out, ABSENT))
		out->len = 0;
	return true;
}

static bool label(const json_member *m, char *out, size_t max)
{
	char buf[1024];
	slice text = bare(m);

	if (text.len <= max && is_plain(text.ptr, text.len, '\\') && !slice_eq(text, ABSENT)) {
		text = slice_trim(text);
		if (text.len)
			memcpy(out, text.ptr, text.len);
		out[text.len] = '\0';
		return m->type == JSON_STRING;
	}
	if (!text_of(m, buf, sizeof buf, &text))
		return false;
	clean(text, out, max);
	return true;
}

/* What kind of answer a Content-Type tells of. */
typedef enum answer_type { ANSWER_OTHER, ANSWER_EVENTS, ANSWER_LINES } answer_type;

static answer_type answer_type_of(slice ctype)
{
	static const slice lines[] = { SLICE_INIT("application/x-ndjson"), SLICE_INIT("application/ndjson"),
				       SLICE_INIT("application/jsonl"), SLICE_INIT("application/x-jsonl"),
				       SLICE_INIT("application/stream+json") };

	if (slice_istarts(ctype, SLICE("text/event-stream")))
		return ANSWER_EVENTS;
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		if (slice_istarts(ctype, lines[i]))
			return ANSWER_LINES;
	return ANSWER_OTHER;
}

/* What the members of the object said that complete() needs; take() writes the other ones to the record at once. */
typedef struct reading {
	int64_t num[FIELDS];
	char ua_text[256]; /* holds `ua` if it had to be decoded */
	slice ua;
	bool stream; /* the request asks for a stream */
	answer_type type;
	bool coded;
	bool server;     /* HAProxy chose a server */
	bool tap;        /* its name is "tap" */
	bool all, first; /* what of the answer was seen; both false in a line of version 1 */
	uint64_t seen;
} reading;

/* Reads the name of the member that served. False: no member can have it. */
static bool take_member(record *r, const json_member *m)
{
	char buf[RECORD_MEMBER_MAX + 2]; /* a name that is too long is cut to one that is still too long */
	slice text;

	if (!text_of(m, buf, sizeof buf, &text) || !member_name_valid(text))
		return false;
	memcpy(r->member, text.ptr, text.len);
	return true;
}

/* Reads which members were tried before. False: the text has another form than tried.h says. */
static bool take_tried(record *r, const json_member *m)
{
	char buf[RECORD_TRIED_MAX + 2];
	slice text;

	if (!text_of(m, buf, sizeof buf, &text) || text.len > RECORD_TRIED_MAX)
		return false;
	int count = tried_count(text);
	if (count < 0)
		return false;
	memcpy(r->tried, text.ptr, text.len);
	r->attempts = count + 1;
	return true;
}

static bool take(logline *out, reading *rd, field f, const json_member *m)
{
	record *r = &out->record;
	char buf[256];
	slice text;

	switch (f) {
	case F_ID:
		if (!text_of(m, buf, sizeof buf, &text) || text.len > RECORD_ID_MAX)
			return false;
		clean(text, r->id, RECORD_ID_MAX);
		return true;
	case F_ROUTE:
		return label(m, r->route, RECORD_LABEL_MAX);
	case F_BACKEND:
		return label(m, r->backend, RECORD_BACKEND_MAX);
	case F_SRV:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->tap = slice_eq(text, SLICE("tap"));
		rd->server = text.len && text.ptr[0] != '<'; /* HAProxy writes <NOSRV> for none */
		return true;
	case F_TO:
		return label(m, out->named, RECORD_BACKEND_MAX);
	case F_PROTOCOL:
		return label(m, r->protocol, sizeof r->protocol - 1);
	case F_MODEL:
		return label(m, r->model, RECORD_MODEL_MAX);
	case F_PROJECT:
		return label(m, r->project, RECORD_LABEL_MAX);
	case F_CLIENT:
		return label(m, r->client, RECORD_LABEL_MAX);
	case F_CODE:
		return label(m, r->code, RECORD_LABEL_MAX);
	case F_TERM:
		return label(m, r->termination, sizeof r->termination - 1);
	case F_UA:
		return text_of(m, rd->ua_text, sizeof rd->ua_text, &rd->ua);
	case F_CTYPE:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->type = answer_type_of(text);
		return true;
	case F_CODING:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->coded = rd->coded || (text.len > 0 && !slice_ieq(text, SLICE("identity")));
		return true;
	case F_SEEN:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->all = slice_eq(text, SLICE("all"));
		rd->first = slice_eq(text, SLICE("first"));
		return true;
	case F_TIER:
		out->hints.tier = bare(m);
		return true;
	case F_USAGE:
		return text_of(m, out->usage_text, sizeof out->usage_text, &out->usage);
	case F_BEHIND:
		return label(m, out->behind, RECORD_BACKEND_MAX);
	case F_MEMBER:
		return take_member(r, m);
	case F_TRIED:
		return take_tried(r, m);
	case F_KEYED:
		r->keyed = m->type == JSON_NUMBER && slice_eq(m->value, SLICE("1"));
		return r->keyed;
	case F_REFUSED:
		out->refused = m->type == JSON_NUMBER && slice_eq(m->value, SLICE("1"));
		return out->refused;
	case F_TEXT:
		out->hints.text = -1;
		return bare(m).len == 0 || json_int64(bare(m), &out->hints.text);
	case F_COMP:
		rd->coded = rd->coded || slice_eq(bare(m), SLICE("1"));
		return true;
	case F_HB:
		out->hints.headroom_before = bare(m);
		return true;
	case F_HA:
		out->hints.headroom_after = bare(m);
		return true;
	case F_HS:
		out->hints.headroom_saved = bare(m);
		return true;
	case F_STREAM:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		/* 2: a haproxy.cfg of before `txn.llm.line` writes the variable into the line as the agent set it. */
		rd->stream = slice_eq(text, SLICE("1")) || slice_eq(text, SLICE("2"));
		return true;
	case F_METERED:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		out->metered = slice_eq(text, SLICE("1"));
		return true;
	case F_OP:
		return label(m, r->operation, RECORD_OPERATION_MAX);
	case F_TRACEPARENT:
		/* HAProxy has checked it. If it is invalid all the same, that is no reason to lose the line. */
		if (traceparent_valid(bare(m)))
			memcpy(r->traceparent, bare(m).ptr, TRACEPARENT_LEN);
		return m->type == JSON_STRING;
	case F_V:
	case F_TE:
	case F_STATUS:
	case F_IN:
	case F_OUT:
	case F_TR:
	case F_TW:
	case F_TC:
	case F_TRS:
	case F_TA:
		return json_int64(m->value, &rd->num[f]);
	case FIELDS:
		break;
	}
	return false;
}

/* Returns the field named `key`, which is looked for from the field `from` on; FIELDS: there is none. */
static field find(slice key, unsigned from)
{
	for (unsigned i = from; i < FIELDS; i++)
		if (slice_eq(key, names[i]))
			return (field)i;
	for (unsigned i = 0; i < from; i++)
		if (slice_eq(key, names[i]))
			return (field)i;
	return FIELDS;
}

static logline_result malformed(logline *out, const char *problem)
{
	out->problem = problem;
	return LOGLINE_MALFORMED;
}

/* Whether the part of a line before its object carries `key`. */
static bool has_key(slice header, slice key)
{
	static const slice mark = SLICE_INIT("[llm@32473 key=\"");

	for (size_t at = slice_find(header, 0, '['); at < header.len; at = slice_find(header, at + 1, '[')) {
		slice rest = slice_from(header, at);
		if (!slice_starts(rest, mark))
			continue;
		slice value = slice_from(rest, mark.len);
		size_t end = slice_find(value, 0, '"');
		if (end == value.len)
			return false;
		value = slice_first(value, end);
		/* Every byte is compared, so that the time tells nothing about how many were right. */
		unsigned char differ = value.len != key.len;
		for (size_t i = 0; i < value.len && i < key.len; i++)
			differ |= (unsigned char)(value.ptr[i] ^ key.ptr[i]);
		return differ == 0;
	}
	return false;
}

/* An answer that a leg or a pool made in place of the upstream comes to the HAProxy that writes the line as if it came
 * from the upstream; only its code tells. Records it as a line without a leg would have it: no code, no head of an
 * answer, and who ended the request. */
static void leave_out_leg(record *r)
{
	static const struct {
		const char *code, *termination;
	} ends[] = {
		{ "upstream_unavailable", "SC" },
		{ "upstream_error", "SH" },
		{ "upstream_timeout", "sH" },
		{ "gateway_error", "IC" },
	};

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (strcmp(r->code, ends[i].code) == 0) {
			r->code[0] = '\0';
			r->ttfb_ms = -1;
			memcpy(r->termination, ends[i].termination, sizeof "SC");
			return;
		}
}

/* Sets what depends on several members, or on their order of precedence. */
static void complete(logline *out, const reading *rd)
{
	record *r = &out->record;
	const int64_t *num = rd->num;

	r->status = num[F_STATUS] > 0 && num[F_STATUS] < 1000 ? (int32_t)num[F_STATUS] : 0;
	/* The type of the answer decides, if it is known; otherwise what the request asked for. */
	bool stream = !rd->all && (rd->first || rd->type == ANSWER_EVENTS || rd->type == ANSWER_LINES);
	r->stream = stream || (rd->stream && !rd->all);
	if (out->metered && !r->operation[0]) {
		slice usual = strcmp(r->protocol, "gemini") == 0 ? SLICE("generate_content") : SLICE("chat");
		memcpy(r->operation, usual.ptr, usual.len + 1);
	}
	/* The request went to a leg, whose name HAProxy logs. */
	bool leg = out->behind[0] && strncmp(r->backend, "leg.", 4) == 0;
	if (leg)
		memcpy(r->backend, out->behind, sizeof r->backend);
	r->tap = leg && rd->tap ? TAP_MISSING : TAP_NOT;
	out->fallback = out->behind[0] && rd->server && r->tap == TAP_NOT;
	r->bytes_in = num[F_IN];
	r->bytes_out = num[F_OUT];
	r->total_ms = num[F_TA];
	r->time_ms = num[F_TE] - (num[F_TA] > 0 ? num[F_TA] : 0);
	r->ttfb_ms = -1;
	if (num[F_TRS] >= 0) {
		r->ttfb_ms = num[F_TRS];
		for (field f = F_TR; f <= F_TC; f++)
			if (num[f] > 0 && __builtin_add_overflow(r->ttfb_ms, num[f], &r->ttfb_ms))
				r->ttfb_ms = INT64_MAX;
	}
	if (leg || strncmp(r->backend, "pool.", 5) == 0)
		leave_out_leg(r);
	if (!r->client[0])
		label_clean(slice_cstr(client_family(rd->ua)), r->client);
	out->hints.stream = stream;
	out->hints.all = rd->all;
	out->hints.first = rd->first;
	out->hints.coded = rd->coded;
	out->hints.ok = r->status >= 200 && r->status < 300;
	out->hints.bytes_in = r->bytes_in;
	out->hints.bytes_out = r->bytes_out;
}

bool logline_is_ours(slice line, slice key, slice *object)
{
	size_t brace = slice_find(line, 0, '{');

	*object = slice_from(line, brace);
	return key.len == 0 || has_key(slice_first(line, brace), key);
}

slice logline_id(slice object)
{
	static const slice head = SLICE_INIT("{\"v\":2,\"id\":\"");
	slice id = slice_starts(object, head) ? slice_from(object, head.len) : slice_of(NULL, 0);
	slice value = slice_first(id, slice_find(id, 0, '"'));

	return value.len < id.len && !slice_has(value, '\\') ? value : slice_of(NULL, 0);
}

logline_result logline_parse(slice line, slice key, logline *out)
{
	static const uint64_t needed = 1ull << F_V | 1ull << F_ID | 1ull << F_TE | 1ull << F_STATUS | 1ull << F_TA;
	static const uint64_t pool = 1ull << F_MEMBER | 1ull << F_TRIED; /* both, or none */
	slice object;
	json_iter it;
	json_member m;
	json_step step;
	reading rd;
	unsigned after = 0;

	/* The text buffers are filled by length: zeroing them for every line would cost more than reading it. */
	out->record = (record){ .status = 0 };
	out->usage = (slice){ NULL, 0 };
	out->hints = (usage_hints){ .text = -1 };
	out->metered = out->refused = out->fallback = false;
	out->named[0] = out->behind[0] = '\0';
	out->problem = NULL;
	out->member = (slice){ NULL, 0 };
	for (size_t i = 0; i < FIELDS; i++)
		rd.num[i] = -1;
	rd.ua = (slice){ NULL, 0 };
	rd.stream = rd.coded = rd.server = rd.tap = rd.all = rd.first = false;
	rd.type = ANSWER_OTHER;
	rd.seen = 0;

	if (!logline_is_ours(line, key, &object))
		return LOGLINE_FOREIGN;
	if (line.len > RECORD_LINE_MAX)
		return malformed(out, "the line is too long");
	json_iter_init(&it, object);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		field f = find(m.key, after);
		if (f == FIELDS)
			continue;
		after = (unsigned)f + 1;
		out->member = names[f];
		if (rd.seen & 1ull << f)
			return malformed(out, "the line has a member twice");
		rd.seen |= 1ull << f;
		if (!take(out, &rd, f, &m))
			return malformed(out, "a member has a value of the wrong type");
	}
	out->member = (slice){ NULL, 0 };
	if (step == JSON_CUT)
		return malformed(out, "the line is cut");
	if (step != JSON_DONE)
		return malformed(out, "the line has no valid JSON object");
	if (rd.num[F_V] != 1 && rd.num[F_V] != 2)
		return malformed(out, "the line has a version (v) that this agent does not know");
	if ((rd.seen & needed) != needed || ((rd.seen & pool) && (rd.seen & pool) != pool))
		return malformed(out, "a member is missing");
	/* HAProxy could not read the request, so it sent it nowhere and gave it no id. */
	if (!out->record.id[0])
		return LOGLINE_NO_REQUEST;
	if (rd.num[F_TE] < 0)
		return malformed(out, "the time (te) is negative");
	complete(out, &rd);
	return LOGLINE_OK;
}
