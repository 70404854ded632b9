/* SPDX-License-Identifier: MIT
 *
 * The members of a log line. */
#include "ledger/logline_impl.h"

#include "base/text.h"
#include "ledger/client.h"
#include "ledger/tried.h"

/* What HAProxy writes where there is no text. */
#define ABSENT SLICE("-")

/* In the order of the line, so that logline_find() compares a key with few of them. */
const slice logline_names[FIELDS] = {
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
	[F_TOLD_BEFORE] = SLICE_INIT("told_before"),
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

/* Reads the name of the member that served. False: no member can have it. */
static bool take_member(record *r, const json_member *m)
{
	char buf[RECORD_MEMBER_MAX + 2]; /* a name that is too long is cut to one that is still too long */
	slice text;

	if (!text_of(m, buf, sizeof buf, &text) || !member_name_valid(text))
		return false;
	memcpy(r->member, text.ptr, text.len);
	r->member[text.len] = '\0';
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
	if (text.len)
		memcpy(r->tried, text.ptr, text.len);
	r->tried[text.len] = '\0';
	r->attempts = count + 1;
	return true;
}

static bool take_usage(logline *out, const reading *rd, const json_member *m)
{
	out->usage = (slice){ NULL, 0 };
	out->hints.counts = rd->usages && m->type == JSON_STRING ? usage_last_read(rd->usages, bare(m)) : NULL;
	if (out->hints.counts)
		return true;
	if (!text_of(m, out->usage_text, sizeof out->usage_text, &out->usage))
		return false;
	if (rd->usages)
		out->hints.counts = usage_last_keep(rd->usages, bare(m), out->usage);
	return true;
}

bool logline_take(logline *out, reading *rd, field f, const json_member *m)
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
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->family = client_family(text);
		return true;
	case F_CTYPE:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->type = answer_type_of(text);
		return true;
	case F_CODING:
		if (!text_of(m, buf, sizeof buf, &text))
			return false;
		rd->coded = text.len > 0 && !slice_ieq(text, SLICE("identity"));
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
		return take_usage(out, rd, m);
	case F_BEHIND:
		return label(m, out->behind, RECORD_BACKEND_MAX);
	case F_MEMBER:
		return take_member(r, m);
	case F_TRIED:
		return take_tried(r, m);
	case F_TOLD_BEFORE:
		rd->told_before = m->type == JSON_NUMBER && slice_eq(m->value, SLICE("1"));
		return rd->told_before;
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
		rd->compressed = slice_eq(bare(m), SLICE("1"));
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
		r->traceparent[0] = '\0';
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

field logline_find(slice key, unsigned from)
{
	for (unsigned i = from; i < FIELDS; i++)
		if (slice_eq(key, logline_names[i]))
			return (field)i;
	for (unsigned i = 0; i < from; i++)
		if (slice_eq(key, logline_names[i]))
			return (field)i;
	return FIELDS;
}
