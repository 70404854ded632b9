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
	IN_STRING,
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
	IS_BAD,
};

enum mode {
	TOKENS,
	SKIP, /* of the value that ends at depth `base` nothing is told */
	TAKE, /* of the value that ends at depth `base` the parts are told */
};

void json_push_init(json_push *j)
{
	j->state = AT_START;
	j->mode = TOKENS;
	j->depth = 0;
	j->kept = 0;
	j->begun = false;
}

void json_push_skip(json_push *j)
{
	j->mode = SKIP;
	j->base = (unsigned short)(j->state == AT_COLON ? j->depth : j->depth - 1);
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

static bool is_array(const json_push *j)
{
	unsigned at = j->depth - 1u;

	return j->arrays[at / 64] >> (at % 64) & 1;
}

/* Opens a bracket. False: too many are open. */
static bool open_bracket(json_push *j, bool array)
{
	if (j->depth == JSON_DEPTH_MAX)
		return false;
	unsigned at = j->depth++;
	uint64_t bit = UINT64_C(1) << (at % 64);
	j->arrays[at / 64] = array ? j->arrays[at / 64] | bit : j->arrays[at / 64] & ~bit;
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
	j->kept = (unsigned short)(j->kept + len);
}

/* Sets `text` to all that was read of it, which ends with the bytes from `from` to `to`. */
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
	if (c == '{' || c == '[')
		return open_bracket(j, c == '[') ? OPENED : FAILED;
	if (j->state == AT_START)
		return FAILED;
	if (c == '"') {
		j->state = IN_STRING;
		j->key = false;
		return BEGAN;
	}
	return begin_scalar(j, c) ? BEGAN : FAILED;
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

/* Reads one byte, or a run of them that mean the same. */
static inline __attribute__((always_inline)) enum did step(json_push *j, const char **p, const char *end)
{
	if (j->state == IN_STRING)
		return in_string(j, p, end);
	if (j->state >= IN_MINUS && j->state <= IN_EXPONENT)
		return in_number(j, p, end);
	char c = *(*p)++;
	if (j->state < IN_STRING && json_space(c))
		return WENT_ON;
	switch (j->state) {
	case AT_FIRST_KEY:
	case AT_KEY:
		if (c == '}' && j->state == AT_FIRST_KEY)
			return close_bracket(j, c);
		j->state = IN_STRING;
		j->key = true;
		return c == '"' ? BEGAN : FAILED;
	case AT_COLON:
		j->state = AT_VALUE;
		return c == ':' ? WENT_ON : FAILED;
	case AT_FIRST:
	case AT_VALUE:
	case AT_START:
		if (c == ']' && j->state == AT_FIRST)
			return close_bracket(j, c);
		return begin_value(j, c);
	case AT_COMMA:
		if (c != ',')
			return close_bracket(j, c);
		j->state = is_array(j) ? AT_VALUE : AT_KEY;
		return WENT_ON;
	case IN_ESCAPE:
		j->state = c == 'u' ? IN_HEX : IN_STRING;
		j->hex = 4;
		return c && strchr("\"\\/bfnrtu", c) ? WENT_ON : FAILED;
	case IN_HEX:
		if (--j->hex == 0)
			j->state = IN_STRING;
		return ascii_hex_digit(c) >= 0 ? WENT_ON : FAILED;
	case IN_WORD:
		if (c != *j->word++)
			return FAILED;
		if (*j->word)
			return WENT_ON;
		j->state = AT_COMMA;
		return ENDED;
	default: /* AT_END, IS_BAD */
		return FAILED;
	}
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
			if (did == BEGAN) {
				from = j->state == IN_STRING ? p : before;
				j->cut = j->escaped = false;
			} else if (did == NAMED || did == ENDED) {
				set_text(j, from, j->type == JSON_STRING ? p - 1 : p);
				token = did == NAMED ? JSON_PUSH_KEY : JSON_PUSH_VALUE;
			} else {
				token = did == OPENED ? JSON_PUSH_OPEN : JSON_PUSH_CLOSE;
			}
		} else if (did == BEGAN || did == OPENED) {
			if (!j->begun) {
				from = before;
				j->begun = true;
			}
		} else if (did != NAMED && j->depth == j->base) {
			token = j->mode == TAKE ? JSON_PUSH_PART : JSON_PUSH_MORE;
			j->mode = TOKENS;
			j->whole = true;
			j->text = slice_of(from, (size_t)(p - from));
		}
	}
	*piece = slice_of(p, (size_t)(end - p));
	if (token != JSON_PUSH_MORE)
		return token;
	if (j->mode == TOKENS && j->state >= IN_STRING) {
		keep(j, from, p);
	} else if (j->mode == TAKE && j->begun && p > from) {
		j->whole = false;
		j->text = slice_of(from, (size_t)(p - from));
		token = JSON_PUSH_PART;
	}
	return token;
}
