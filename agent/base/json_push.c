/* SPDX-License-Identifier: MIT */
#include "base/json_push.h"

#include "base/json_simd.h"

enum state {
	AT_START,
	AT_KEY,       /* behind a comma */
	AT_FIRST_KEY, /* behind `{`, which `}` may follow */
	AT_COLON,
	AT_VALUE,
	AT_FIRST, /* behind `[`, which `]` may follow */
	AT_COMMA, /* behind a value, which a comma or a closing bracket follows */
	AT_END,
	IN_STRING, /* or, if `key` is true, in a name */
	IN_ESCAPE,
	IN_HEX,
	IN_WORD, /* of a literal; `word` is what has to follow */
	IN_MINUS,
	IN_ZERO,
	IN_INTEGER,
	IN_POINT,
	IN_FRACTION,
	IN_E,
	IN_SIGN,
	IN_EXPONENT,
	IN_SKIPPED, /* an object or array of which nothing is told */
	IN_SKIPPED_STRING,
	IN_SKIPPED_ESCAPE,
	IS_BAD,
};

enum mode {
	TOKENS,
	SKIP, /* nothing is told of the next value */
	TAKE, /* the value that ends at depth `base` is told in parts, as it is written */
};

void json_push_init(json_push *j)
{
	j->state = AT_START;
	j->mode = TOKENS;
	j->depth = 0;
	j->kept = 0;
}

/* Skips an object or array; `closing` is the bracket that ends it. */
static void skip_from(json_push *j, char closing)
{
	j->state = IN_SKIPPED;
	j->mode = TOKENS;
	j->nested = 1;
	j->closing = closing;
}

void json_push_skip(json_push *j)
{
	if (j->state != AT_FIRST && j->state != AT_FIRST_KEY) {
		j->mode = SKIP;
		return;
	}
	j->depth--;
	skip_from(j, j->state == AT_FIRST ? ']' : '}');
}

void json_push_take(json_push *j)
{
	j->mode = TAKE;
	j->base = j->depth;
	j->begun = false;
}

bool json_push_done(const json_push *j)
{
	return j->state == AT_END;
}

/* Returns the first byte of a string at which its reader has to look: quote, backslash, control character; or `end`. */
static inline const char *string_stop(const char *p, const char *end)
{
#if defined(__SSE2__)
	for (; end - p >= 16; p += 16) {
		unsigned stop = (unsigned)_mm_movemask_epi8(
			json_stops(_mm_loadu_si128((const __m128i *)(const void *)p)));
		if (stop)
			return p + __builtin_ctz(stop);
	}
#endif
	while (p < end && *p != '"' && *p != '\\' && (unsigned char)*p >= ' ')
		p++;
	return p;
}

/* Returns the first byte at which the reader of a skipped value has to look, outside of strings; or `end`. */
static inline const char *bracket_stop(const char *p, const char *end)
{
#if defined(__SSE2__)
	for (; end - p >= 16; p += 16) {
		/* Setting bit 0x20 makes '{' of '[' and '}' of ']', so that two comparisons find four brackets. It also
		 * makes a quote of the byte 0x02, at which the reader looks in vain. */
		__m128i v = _mm_or_si128(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8(' '));
		__m128i open = _mm_cmpeq_epi8(v, _mm_set1_epi8('{')), close = _mm_cmpeq_epi8(v, _mm_set1_epi8('}'));
		__m128i quote = _mm_cmpeq_epi8(v, _mm_set1_epi8('"'));
		unsigned stop = (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(open, close), quote));
		if (stop)
			return p + __builtin_ctz(stop);
	}
#endif
	while (p < end && *p != '"' && (*p | ' ') != '{' && (*p | ' ') != '}')
		p++;
	return p;
}

static bool is_array(const json_push *j)
{
	return j->arrays >> (j->depth - 1) & 1;
}

/* Opens a bracket. False: too many are open. */
static bool open_bracket(json_push *j, bool array)
{
	if (j->depth == JSON_PUSH_DEPTH_MAX)
		return false;
	uint64_t bit = UINT64_C(1) << j->depth++;
	j->arrays = array ? j->arrays | bit : j->arrays & ~bit;
	j->state = array ? AT_FIRST : AT_FIRST_KEY;
	j->type = array ? JSON_ARRAY : JSON_OBJECT;
	return true;
}

/* Keeps the beginning of a text that the next piece goes on with. */
static void keep(json_push *j, const char *from, const char *to)
{
	size_t room = JSON_PUSH_TEXT_MAX - j->kept, len = (size_t)(to - from);

	if (len > room) {
		len = room;
		j->cut = true;
	}
	memcpy(j->room + j->kept, from, len);
	j->kept = (unsigned char)(j->kept + len);
}

/* Sets `text` to what keep() has kept of it, if anything, and the bytes from `from` to `to`, with which it ends. */
static inline void set_text(json_push *j, const char *from, const char *to)
{
	if (j->kept) {
		keep(j, from, to);
		j->text = slice_of(j->room, j->kept);
		j->kept = 0;
		return;
	}
	j->text = slice_first(slice_of(from, (size_t)(to - from)), JSON_PUSH_TEXT_MAX);
	j->cut |= (size_t)(to - from) > JSON_PUSH_TEXT_MAX;
}

/* Begins a value that is no object, array or string. False: `c` begins none. */
static bool begin_scalar(json_push *j, char c)
{
	j->type = JSON_NUMBER;
	j->state = IN_WORD;
	switch (c) {
	case 't':
		j->type = JSON_TRUE;
		j->word = "rue";
		return true;
	case 'f':
		j->type = JSON_FALSE;
		j->word = "alse";
		return true;
	case 'n':
		j->type = JSON_NULL;
		j->word = "ull";
		return true;
	case 'N':
		j->word = "aN";
		return true;
	case 'I':
		j->word = "nfinity";
		return true;
	case '-':
		j->state = IN_MINUS;
		return true;
	case '0':
		j->state = IN_ZERO;
		return true;
	default:
		j->state = IN_INTEGER;
		return c >= '1' && c <= '9';
	}
}

/* Returns the state in which `c` leaves a number; AT_COMMA: `c` is behind the number; IS_BAD: it may not stand there.
 */
static inline unsigned char number_goes_on(unsigned char state, char c)
{
	bool digit = c >= '0' && c <= '9';

	switch (state) {
	case IN_MINUS:
		return c == '0' ? IN_ZERO : digit ? IN_INTEGER : c == 'I' ? IN_WORD : IS_BAD;
	case IN_ZERO:
	case IN_INTEGER:
		if (digit)
			return state == IN_ZERO ? IS_BAD : IN_INTEGER;
		return c == '.' ? IN_POINT : c == 'e' || c == 'E' ? IN_E : AT_COMMA;
	case IN_POINT:
		return digit ? IN_FRACTION : IS_BAD;
	case IN_FRACTION:
		return digit ? IN_FRACTION : c == 'e' || c == 'E' ? IN_E : AT_COMMA;
	case IN_E:
	case IN_SIGN:
		return digit ? IN_EXPONENT : state == IN_E && (c == '+' || c == '-') ? IN_SIGN : IS_BAD;
	default:
		return digit ? IN_EXPONENT : AT_COMMA;
	}
}

/* What a step has read. */
enum did {
	WENT_ON,
	BEGAN,  /* a name, a string, a number or a literal begins */
	NAMED,  /* a name is complete */
	ENDED,  /* a string, a number or a literal is complete */
	OPENED, /* a bracket */
	CLOSED,
	FAILED,
};

static inline enum did begin_value(json_push *j, char c)
{
	if (c == '"' && j->state != AT_START) {
		j->state = IN_STRING;
		j->key = false;
		return BEGAN;
	}
	if (c != '{' && c != '[')
		return j->state != AT_START && begin_scalar(j, c) ? BEGAN : FAILED;
	if (j->mode != SKIP)
		return open_bracket(j, c == '[') ? OPENED : FAILED;
	skip_from(j, c == '[' ? ']' : '}');
	return WENT_ON;
}

static inline enum did close_bracket(json_push *j, char c)
{
	if (c != (is_array(j) ? ']' : '}'))
		return FAILED;
	j->state = --j->depth ? AT_COMMA : AT_END;
	return CLOSED;
}

static inline enum did in_string(json_push *j, const char **p, const char *end)
{
	*p = string_stop(*p, end);
	if (*p == end)
		return WENT_ON;
	char c = *(*p)++;
	if (c == '"') {
		j->type = JSON_STRING;
		j->state = j->key ? AT_COLON : AT_COMMA;
		return j->key ? NAMED : ENDED;
	}
	j->state = IN_ESCAPE;
	j->escaped = true;
	return c == '\\' ? WENT_ON : FAILED;
}

static inline enum did in_number(json_push *j, const char **p, const char *end)
{
	unsigned char state = j->state;

	while (*p < end && state > IN_WORD && state < IS_BAD) {
		state = number_goes_on(state, **p);
		if (state == AT_COMMA) { /* what ends a number is not part of it */
			j->state = AT_COMMA;
			return ENDED;
		}
		(*p)++;
	}
	j->state = state;
	j->word = "nfinity";
	return state == IS_BAD ? FAILED : WENT_ON;
}

/* Reads on in an object or array that is skipped. */
static enum did in_skipped(json_push *j, const char **p, const char *end)
{
	bool string = j->state == IN_SKIPPED_STRING;

	*p = string ? string_stop(*p, end) : bracket_stop(*p, end);
	if (*p == end)
		return WENT_ON;
	char c = *(*p)++;
	if (string) {
		j->state = c == '"' ? IN_SKIPPED : IN_SKIPPED_ESCAPE;
		return c == '"' || c == '\\' ? WENT_ON : FAILED;
	}
	if (c == '"') {
		j->state = IN_SKIPPED_STRING;
	} else if (c == '{' || c == '[') {
		return ++j->nested <= JSON_DEPTH_MAX ? WENT_ON : FAILED;
	} else if ((c == '}' || c == ']') && --j->nested == 0) {
		j->state = j->depth ? AT_COMMA : AT_END;
		return c == j->closing ? WENT_ON : FAILED;
	}
	return WENT_ON;
}

static inline enum did begin_key(json_push *j, char c)
{
	if (c == '}' && j->state == AT_FIRST_KEY)
		return close_bracket(j, c);
	j->state = IN_STRING;
	j->key = true;
	return c == '"' ? BEGAN : FAILED;
}

/* Reads one byte, or a run of them that mean the same. */
static inline __attribute__((always_inline)) enum did step(json_push *j, const char **p, const char *end)
{
	if (j->state == IN_STRING)
		return in_string(j, p, end);
	char c = **p;
	if (j->state < IN_STRING && json_space(c)) {
		do
			(*p)++;
		while (*p < end && json_space(**p));
		return WENT_ON;
	}
	switch (j->state) {
	case AT_COMMA:
		(*p)++;
		if (c != ',')
			return close_bracket(j, c);
		j->state = is_array(j) ? AT_VALUE : AT_KEY;
		if (j->state == AT_VALUE || *p == end || **p != '"')
			return WENT_ON;
		return begin_key(j, *(*p)++);
	case AT_FIRST_KEY:
	case AT_KEY:
		(*p)++;
		return begin_key(j, c);
	case AT_COLON:
		(*p)++;
		j->state = AT_VALUE;
		return c == ':' ? WENT_ON : FAILED;
	case AT_FIRST:
	case AT_VALUE:
	case AT_START:
		(*p)++;
		return c == ']' && j->state == AT_FIRST ? close_bracket(j, c) : begin_value(j, c);
	case IN_ESCAPE:
		(*p)++;
		j->state = c == 'u' ? IN_HEX : IN_STRING;
		j->hex = 4;
		return c && strchr("\"\\/bfnrtu", c) ? WENT_ON : FAILED;
	case IN_HEX:
		(*p)++;
		if (--j->hex == 0)
			j->state = IN_STRING;
		return ascii_hex_digit(c) >= 0 ? WENT_ON : FAILED;
	case IN_WORD:
		(*p)++;
		if (c != *j->word++)
			return FAILED;
		if (*j->word)
			return WENT_ON;
		j->state = AT_COMMA;
		return ENDED;
	case IN_SKIPPED:
	case IN_SKIPPED_STRING:
		return in_skipped(j, p, end);
	case IN_SKIPPED_ESCAPE:
		(*p)++;
		j->state = IN_SKIPPED_STRING;
		return (unsigned char)c >= ' ' ? WENT_ON : FAILED;
	case AT_END:
	case IS_BAD:
		return FAILED;
	default:
		return in_number(j, p, end);
	}
}

/* Returns the token for what a step has read from `before` to `p`; MORE: that is no whole token yet. */
static inline json_push_token tell(json_push *j, enum did did, const char *before, const char *p, const char **from)
{
	if (did == BEGAN) {
		*from = j->state == IN_STRING ? p : before;
		j->cut = j->escaped = false;
		return JSON_PUSH_MORE;
	}
	if (did == OPENED || did == CLOSED)
		return did == OPENED ? JSON_PUSH_OPEN : JSON_PUSH_CLOSE;
	set_text(j, *from, j->type == JSON_STRING ? p - 1 : p);
	return did == NAMED ? JSON_PUSH_KEY : JSON_PUSH_VALUE;
}

/* The same for a value that is told in parts. */
static json_push_token tell_part(json_push *j, enum did did, const char *before, const char *p, const char **from)
{
	if (!j->begun) {
		*from = before;
		j->begun = true;
	}
	if (j->depth != j->base || (did != ENDED && did != CLOSED))
		return JSON_PUSH_MORE;
	j->mode = TOKENS;
	j->whole = true;
	j->text = slice_of(*from, (size_t)(p - *from));
	return JSON_PUSH_PART;
}

/* Ends a piece, of which the bytes from `from` to `p` were not told. */
static json_push_token end_piece(json_push *j, const char *from, const char *p)
{
	if (j->mode == TOKENS && j->state >= IN_STRING && j->state <= IN_EXPONENT)
		keep(j, from, p);
	if (j->mode != TAKE || !j->begun || p == from)
		return JSON_PUSH_MORE;
	j->whole = false;
	j->text = slice_of(from, (size_t)(p - from));
	return JSON_PUSH_PART;
}

json_push_token json_push_next(json_push *j, slice *piece)
{
	const char *p = piece->ptr, *end = p + piece->len, *from = p;
	json_push_token token = JSON_PUSH_MORE;

	while (p < end && token == JSON_PUSH_MORE) {
		const char *before = p;
		enum did did = step(j, &p, end);
		if (did == WENT_ON)
			continue;
		if (did == FAILED) {
			j->state = IS_BAD;
			p = end;
			token = JSON_PUSH_BAD;
		} else if (j->mode == TOKENS) {
			token = tell(j, did, before, p, &from);
		} else if (j->mode == TAKE) {
			token = tell_part(j, did, before, p, &from);
		} else if (did == ENDED) {
			j->mode = TOKENS;
		}
	}
	*piece = slice_of(p, (size_t)(end - p));
	return token == JSON_PUSH_MORE ? end_piece(j, from, p) : token;
}
