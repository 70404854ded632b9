/* SPDX-License-Identifier: MIT */
#include "tap/http.h"

/* Where a direction stands: which byte comes next. */
enum {
	START, /* the first one of a head */
	/* A request's first line. */
	METHOD,
	TARGET,
	REQUEST_VERSION,
	/* An answer's first line. */
	ANSWER_VERSION,
	STATUS,
	REASON,
	/* Headers, and trailers. */
	LINE_LF, /* the line feed of the first line */
	NAME_OR_END,
	NAME,
	VALUE,
	VALUE_LF,
	HEAD_LF, /* the last line feed of a head, or of trailers */
	/* The framing of chunks. */
	CHUNK_SIZE, /* the first digit of a chunk's length */
	CHUNK_DIGITS,
	CHUNK_EXTENSION,
	CHUNK_LF,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF, /* up to here: bytes that framing_take() reads */
	/* The body. */
	CHUNK_DATA,
	SIZED,
	UNTIL_CLOSE,
	DONE, /* none: END is to be told */
	BLIND,
	BAD,
};

/* The headers that matter. */
enum { OTHER, CONTENT_LENGTH, TRANSFER_ENCODING, REQUEST_ID, LEG, CONTENT_TYPE, CONTENT_ENCODING, FIELDS };

static const struct {
	slice name;
	bool of_requests, of_answers;
} fields[FIELDS] = {
	[CONTENT_LENGTH] = { SLICE_INIT("content-length"), true, true },
	[TRANSFER_ENCODING] = { SLICE_INIT("transfer-encoding"), true, true },
	[REQUEST_ID] = { SLICE_INIT("x-request-id"), true, false },
	[LEG] = { SLICE_INIT("x-llm-leg"), true, false },
	[CONTENT_TYPE] = { SLICE_INIT("content-type"), false, true },
	[CONTENT_ENCODING] = { SLICE_INIT("content-encoding"), false, true },
};

static const char version[] = "HTTP/1.";

void http_init(http_flow *f)
{
	*f = (http_flow){ .open = false };
}

bool http_idle(const http_flow *f)
{
	return !f->open && f->request.state == START && f->answer.state == START;
}

static void bad(http_side *s, const char *why)
{
	s->state = BAD;
	s->why = why;
}

static bool is_answer(const http_flow *f, const http_side *s)
{
	return s == &f->answer;
}

/* True for a character of a token (RFC 9110). */
static bool token_char(char c)
{
	return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

/* ---- headers */

/* Copies `text` to `to`, in lower case if `lower`. False: it is empty, too long, or not visible ASCII that JSON takes
 * as it is; then `to` is empty. */
static bool text_set(char *to, size_t max, slice text, bool lower)
{
	bool ok = text.len > 0 && text.len <= max;

	for (size_t i = 0; ok && i < text.len; i++) {
		char c = text.ptr[i];
		ok = c > ' ' && c < 0x7f && c != '"' && c != '\\';
		to[i] = lower ? ascii_lower(c) : c;
	}
	to[ok ? text.len : 0] = '\0';
	return ok;
}

/* Takes the first element off a list with commas. `*more` tells whether a comma stood behind it. */
static slice element_next(slice *list, bool *more)
{
	size_t comma = slice_find(*list, 0, ',');
	slice element = slice_trim(slice_first(*list, comma));

	*more = comma < list->len;
	*list = slice_from(*list, comma + 1);
	return element;
}

/* Notes that the body is coded; the first coding is told. */
static void coding_set(http_flow *f, slice coding)
{
	if (f->coding[0] == '\0' && !text_set(f->coding, HTTP_CODING_MAX, coding, true))
		(void)text_set(f->coding, HTTP_CODING_MAX, SLICE("unknown"), true);
}

/* Reads a content-length, which may name the same length several times. Returns what is wrong with it; NULL: nothing.
 */
static const char *length_read(http_side *s, slice value)
{
	bool more = true;

	while (more) {
		slice digits = element_next(&value, &more);
		uint64_t length = 0;
		bool ok = digits.len > 0;
		for (size_t i = 0; ok && i < digits.len; i++) {
			unsigned digit = (unsigned)(unsigned char)digits.ptr[i] - '0';
			ok = digit <= 9 && length <= (UINT64_MAX - digit) / 10;
			length = length * 10 + digit;
		}
		if (!ok)
			return "a content-length that is no number";
		if (s->sized && s->left != length)
			return "two lengths of one body";
		s->sized = true;
		s->left = length;
	}
	return NULL;
}

/* Returns what is wrong; NULL: nothing. */
static const char *transfer_read(http_flow *f, http_side *s, slice value)
{
	bool more = true;

	if (s->cut)
		return "a transfer-encoding that is too long";
	while (more) {
		slice coding = element_next(&value, &more);
		bool chunked = slice_ieq(coding, SLICE("chunked"));
		if (coding.len == 0)
			continue;
		/* Behind chunked an answer may have another coding: then the answer ends with the connection. */
		if (s->chunked && (chunked || !is_answer(f, s)))
			return "a coding behind chunked";
		if (chunked)
			s->chunked = true;
		else
			s->coded_last = s->chunked;
		if (!chunked && is_answer(f, s))
			coding_set(f, coding);
	}
	return NULL;
}

/* The value of a header that matters has ended. */
static void header_end(http_flow *f, http_side *s)
{
	slice value = s->cut ? slice_of(NULL, 0) : slice_trim(slice_of(f->value, f->value_len));
	bool again = s->seen & 1u << s->field, more = true;
	const char *why = NULL;

	s->seen = (uint16_t)(s->seen | 1u << s->field);
	switch (s->field) {
	case CONTENT_LENGTH:
		why = length_read(s, value);
		break;
	case TRANSFER_ENCODING:
		why = transfer_read(f, s, value);
		break;
	case REQUEST_ID:
		(void)text_set(f->id, HTTP_ID_MAX, again ? slice_of(NULL, 0) : value, false);
		break;
	case LEG:
		(void)text_set(f->leg, HTTP_VALUE_MAX, again ? slice_of(NULL, 0) : value, false);
		break;
	case CONTENT_TYPE:
		(void)text_set(f->type, HTTP_TYPE_MAX,
			       again ? slice_of(NULL, 0) : slice_trim(slice_first(value, slice_find(value, 0, ';'))),
			       true);
		break;
	case CONTENT_ENCODING:
		if (s->cut)
			coding_set(f, value);
		while (more) {
			slice coding = element_next(&value, &more);
			if (coding.len && !slice_ieq(coding, SLICE("identity")))
				coding_set(f, coding);
		}
		break;
	default:
		break;
	}
	if (why)
		bad(s, why);
}

/* Returns the header whose name stands in `value`. */
static uint8_t field_of(const http_flow *f, const http_side *s)
{
	slice name = slice_of(f->value, f->value_len);

	for (unsigned i = OTHER + 1; i < FIELDS; i++)
		if (slice_ieq(name, fields[i].name) && (is_answer(f, s) ? fields[i].of_answers : fields[i].of_requests))
			return (uint8_t)i;
	return OTHER;
}

/* Appends to `value`. False: it is full. */
static bool value_put(http_flow *f, char c)
{
	if (f->value_len == HTTP_VALUE_MAX)
		return false;
	f->value[f->value_len++] = c;
	return true;
}

/* ---- heads */

static void head_begin(http_flow *f, http_side *s)
{
	*s = (http_side){ .state = is_answer(f, s) ? ANSWER_VERSION : METHOD };
	f->value_len = 0;
	if (is_answer(f, s)) {
		f->status = 0;
		f->type[0] = f->coding[0] = '\0';
	} else {
		f->id[0] = f->leg[0] = '\0';
		f->head_only = f->connect = false;
	}
}

/* Finds out how long the body is. */
static void body_begin(http_side *s)
{
	if (s->chunked && !s->coded_last) {
		s->left = 0;
		s->state = CHUNK_SIZE;
	} else if (s->seen & 1u << TRANSFER_ENCODING || !s->sized) {
		s->state = UNTIL_CLOSE;
	} else {
		s->state = s->left ? SIZED : DONE;
	}
}

/* Both return the event of a head's end. */
static http_event_type request_head_end(http_flow *f)
{
	http_side *s = &f->request;

	if (s->seen & 1u << TRANSFER_ENCODING && !s->chunked) {
		bad(s, "a request whose end cannot be known");
		return HTTP_MORE;
	}
	body_begin(s);
	if (s->state == UNTIL_CLOSE) /* a request without a length has no body */
		s->state = DONE;
	f->open = true;
	return HTTP_HEAD;
}

static http_event_type answer_head_end(http_flow *f)
{
	http_side *s = &f->answer;

	if (f->status == 101 || (f->connect && f->status / 100 == 2)) {
		f->blind = true;
		s->state = BLIND;
	} else if (f->status / 100 == 1) {
		s->state = START;
		return HTTP_MORE;
	} else if (f->head_only || f->status == 204 || f->status == 304) {
		s->state = DONE;
	} else {
		body_begin(s);
	}
	return HTTP_HEAD;
}

static http_event_type head_end(http_flow *f, http_side *s)
{
	if (s->trailers) {
		s->state = DONE;
		return HTTP_MORE;
	}
	return is_answer(f, s) ? answer_head_end(f) : request_head_end(f);
}

/* Reads one byte of a head's first line. */
static void first_line_byte(http_flow *f, http_side *s, char c)
{
	switch (s->state) {
	case METHOD:
		if (c == ' ' && f->value_len) {
			slice method = slice_of(f->value, f->value_len);
			f->head_only = slice_eq(method, SLICE("HEAD"));
			f->connect = slice_eq(method, SLICE("CONNECT"));
			f->value_len = 0;
			s->state = TARGET;
		} else if (!token_char(c)) {
			bad(s, "a method with an odd character");
		} else {
			(void)value_put(f, c);
		}
		break;
	case TARGET:
		if (c == ' ')
			s->state = REQUEST_VERSION;
		else if (c == '\r' || c == '\n')
			bad(s, "a request without a version");
		break;
	case REQUEST_VERSION:
	case ANSWER_VERSION:
		if (f->value_len < sizeof version - 1  ? c == version[f->value_len] :
		    f->value_len == sizeof version - 1 ? c == '0' || c == '1' :
							 c == (s->state == REQUEST_VERSION ? '\r' : ' ')) {
			if (f->value_len == sizeof version)
				s->state = s->state == REQUEST_VERSION ? LINE_LF : STATUS;
			f->value_len = f->value_len == sizeof version ? 0 : (uint8_t)(f->value_len + 1);
		} else {
			bad(s, "a version that is not HTTP/1.0 or HTTP/1.1");
		}
		break;
	case STATUS:
		/* HAProxy passes on statuses of other than three digits, and counts them in 16 bits. */
		if (c >= '0' && c <= '9') {
			f->status = (f->status * 10 + (unsigned)(c - '0')) & UINT16_MAX;
			f->value_len = 1;
		} else if (f->value_len && (c == ' ' || c == '\r')) {
			s->state = c == ' ' ? REASON : LINE_LF;
		} else {
			bad(s, "a status that is no number");
		}
		break;
	case REASON:
		if (c == '\r')
			s->state = LINE_LF;
		else if (c == '\n')
			bad(s, "a line feed without a carriage return");
		break;
	default:
		if (c == '\n')
			s->state = NAME_OR_END;
		else
			bad(s, "a carriage return without a line feed");
	}
}

/* Begins to fill `value`, which trailers leave alone: the other direction may need it. */
static void value_begin(http_flow *f, http_side *s)
{
	if (!s->trailers)
		f->value_len = 0;
	s->cut = false;
}

/* Other odd characters are not refused, because HAProxy lets them pass with accept-invalid-http-request. */
static void name_byte(http_flow *f, http_side *s, char c)
{
	if (c == ':') {
		s->field = s->trailers ? OTHER : field_of(f, s);
		s->state = VALUE;
		value_begin(f, s);
	} else if (c == '\r' || c == '\n') {
		bad(s, "a header without a colon");
	} else if (!s->trailers) {
		(void)value_put(f, c); /* a name that does not fit is none of those that matter */
	}
}

/* Reads one byte of a head or of trailers, behind the first line. Returns MORE, or the event of the head's end. */
static http_event_type header_byte(http_flow *f, http_side *s, char c)
{
	switch (s->state) {
	case NAME_OR_END:
		value_begin(f, s);
		s->state = c == '\r' ? HEAD_LF : NAME;
		if (c == ':' || c == ' ' || c == '\t')
			bad(s, "a header without a name");
		else if (c != '\r')
			name_byte(f, s, c);
		break;
	case NAME:
		name_byte(f, s, c);
		break;
	case VALUE:
		if (c == '\r')
			s->state = VALUE_LF;
		else if (c == '\n')
			bad(s, "a line feed without a carriage return");
		else if (s->field != OTHER && (f->value_len || (c != ' ' && c != '\t')) && !value_put(f, c))
			s->cut = true;
		break;
	case VALUE_LF:
		if (c != '\n') {
			bad(s, "a carriage return without a line feed");
			break;
		}
		s->state = NAME_OR_END;
		if (s->field != OTHER)
			header_end(f, s);
		break;
	default:
		if (c == '\n')
			return head_end(f, s);
		bad(s, "a carriage return without a line feed");
	}
	return HTTP_MORE;
}

/* ---- chunks */

static void chunk_line_end(http_side *s)
{
	s->trailers = s->left == 0;
	s->state = s->trailers ? NAME_OR_END : CHUNK_DATA;
}

static void extension_byte(http_side *s, char c)
{
	s->state = c == '\r' ? CHUNK_LF : CHUNK_EXTENSION;
	if (c == '\n')
		bad(s, "a line feed without a carriage return");
}

/* Reads one byte of the framing of chunks. */
static void chunk_byte(http_side *s, char c)
{
	int digit;

	switch (s->state) {
	case CHUNK_SIZE:
	case CHUNK_DIGITS:
		digit = ascii_hex_digit(c);
		if (digit >= 0 && s->left > UINT64_MAX >> 4) {
			bad(s, "a chunk that is too long");
		} else if (digit >= 0) {
			s->left = s->left << 4 | (unsigned)digit;
			s->state = CHUNK_DIGITS;
		} else if (s->state == CHUNK_DIGITS && (c == '\r' || c == ';' || c == ' ' || c == '\t')) {
			extension_byte(s, c);
		} else {
			bad(s, "a chunk's length that is no number");
		}
		break;
	case CHUNK_EXTENSION:
		extension_byte(s, c);
		break;
	case CHUNK_LF:
		if (c == '\n')
			chunk_line_end(s);
		else
			bad(s, "a carriage return without a line feed");
		break;
	case CHUNK_DATA_CR:
		if (c == '\r')
			s->state = CHUNK_DATA_LF;
		else
			bad(s, "a chunk that is longer than its length");
		break;
	default:
		s->left = 0;
		if (c == '\n')
			s->state = CHUNK_SIZE;
		else
			bad(s, "a carriage return without a line feed");
	}
}

/* ---- events */

/* Takes as much of the body as has come. */
static http_event body_take(http_side *s, slice *in)
{
	slice bytes = slice_first(*in, s->left < in->len ? (size_t)s->left : in->len);

	s->left -= bytes.len;
	if (s->left == 0)
		s->state = s->state == CHUNK_DATA ? CHUNK_DATA_CR : DONE;
	*in = slice_from(*in, bytes.len);
	return (http_event){ .type = HTTP_BODY, .bytes = bytes };
}

/* Takes all that has come. */
static http_event all_take(http_event_type type, slice *in)
{
	slice bytes = *in;

	*in = slice_from(*in, in->len);
	return (http_event){ .type = type, .bytes = bytes };
}

/* Takes bytes of heads and framing. Returns HEAD at a head's end that is to be told, and else MORE: what comes next is
 * not framing, or has not come. */
static http_event_type framing_take(http_flow *f, http_side *s, slice *in)
{
	http_event_type type = HTTP_MORE;
	size_t used = 0;

	while (used < in->len && type == HTTP_MORE && s->state > START && s->state <= CHUNK_DATA_LF) {
		char c = in->ptr[used];
		bool kept = s == &f->request && s->state <= HEAD_LF && !s->trailers;
		if (kept && ++s->head_len > HTTP_HEAD_MAX)
			bad(s, "a head that is too long");
		else if (s->state <= LINE_LF)
			first_line_byte(f, s, c);
		else if (s->state <= HEAD_LF)
			type = header_byte(f, s, c);
		else
			chunk_byte(s, c);
		used += s->state != BAD;
	}
	*in = slice_from(*in, used);
	return type;
}

static http_event next(http_flow *f, http_side *s, slice *in)
{
	while (true) {
		if (s->state == BAD)
			return (http_event){ .type = HTTP_BAD, .why = s->why };
		if (s->state == DONE) {
			s->state = START;
			if (is_answer(f, s))
				f->open = false;
			return (http_event){ .type = HTTP_END };
		}
		if (in->len == 0)
			return (http_event){ .type = HTTP_MORE };
		switch (s->state) {
		case CHUNK_DATA:
		case SIZED:
			return body_take(s, in);
		case UNTIL_CLOSE:
			return all_take(HTTP_BODY, in);
		case BLIND:
			return all_take(HTTP_BLIND, in);
		case START:
			if (is_answer(f, s) && !f->open)
				bad(s, "an answer without a request");
			else if (!is_answer(f, s) && f->blind)
				s->state = BLIND;
			else if (!is_answer(f, s) && f->open)
				return (http_event){ .type = HTTP_WAIT };
			else
				head_begin(f, s);
			break;
		default:
			if (framing_take(f, s, in) == HTTP_HEAD)
				return (http_event){ .type = HTTP_HEAD };
		}
	}
}

http_event http_request_next(http_flow *f, slice *in)
{
	return next(f, &f->request, in);
}

http_event http_answer_next(http_flow *f, slice *in)
{
	return next(f, &f->answer, in);
}

http_event_type http_answer_eof(http_flow *f)
{
	http_side *s = &f->answer;

	if (s->state == START && !f->open)
		return HTTP_MORE;
	if (s->state != UNTIL_CLOSE && s->state != BLIND)
		return HTTP_BAD;
	s->state = START;
	f->open = false;
	return HTTP_END;
}
