/* SPDX-License-Identifier: MIT
 *
 * The body of one kernel. json_simd.c includes this file once for each level, and before that defines:
 *   K(name)        name with the level's suffix
 *   KERNEL_NAME    the level's name, as json_level_name() gives it
 *   TARGET         function attribute that allows the level's instructions
 *   K(block)       64 bytes in registers
 *   K(load)        a block from any address
 *   K(quotes) K(slashes) K(opens) K(closes) K(ctrls) K(strays)
 *                  a mask (bit i: byte i) of one kind of byte in a block
 *   K(stops)       not 0 if the block has a quote, a backslash or a control character; SSE and AVX2 need one mask for
 *                  this test, instead of three
 *   K(prefix_xor)  of a mask: bit i is the parity of the bits 0 to i
 *
 * Every scan gets at least BLOCK bytes. Its last block overlaps the one before: its masks are shifted by `old`, so that
 * only the new bytes are left and no byte outside the slice is read. Each step is inlined twice, for `old` == 0 and for
 * the last block. A step returns true when the scan is over; *h is then its result. */
#define STEP TARGET static inline __attribute__((always_inline)) bool

STEP K(string_step)(K(block) b, size_t at, size_t old, uint64_t *carry, json_hit *h)
{
	uint64_t quote = unescaped(K(quotes)(b) >> old, K(slashes)(b) >> old, carry);
	uint64_t ctrl = K(ctrls)(b) >> old;

	if (LIKELY(!(quote | ctrl)))
		return false;
	if ((quote & -quote) - 1 < (ctrl & -ctrl) - 1) /* an empty mask becomes the largest number */
		*h = hit(at + lowest(quote), JSON_STOP_END);
	else
		*h = hit(at + lowest(ctrl), JSON_STOP_CTRL);
	return true;
}

TARGET static json_hit K(string)(const unsigned char *p, size_t n, size_t at)
{
	uint64_t carry = 0;
	json_hit h = { n, JSON_STOP_CUT };

	for (; n - at >= BLOCK; at += BLOCK) {
		K(block) b = K(load)(p + at);
		if (LIKELY(!carry && !K(stops)(b)))
			continue;
		if (K(string_step)(b, at, 0, &carry, &h))
			return h;
	}
	if (at < n)
		K(string_step)(K(load)(p + n - BLOCK), at, BLOCK - (n - at), &carry, &h);
	return h;
}

STEP K(nested_step)(K(block) b, size_t at, size_t old, nested_state *s, json_hit *h)
{
	uint64_t quote = unescaped(K(quotes)(b) >> old, K(slashes)(b) >> old, &s->carry);
	uint64_t ctrl = K(ctrls)(b) >> old;

	if (s->in && !quote) { /* the string goes on behind this block; only a control character matters in it */
		if (LIKELY(!ctrl))
			return false;
		*h = hit(at + lowest(ctrl), JSON_STOP_CTRL);
		return true;
	}
	uint64_t inside = K(prefix_xor)(quote) ^ s->in;
	s->in = 0 - (inside >> 63);
	uint64_t open = (K(opens)(b) >> old) & ~inside;
	uint64_t close = (K(closes)(b) >> old) & ~inside;
	uint64_t bad = (ctrl & inside) | ((K(strays)(b) >> old) & ~inside);
	size_t opened = count(open), closed = count(close);

	if (LIKELY(!bad && closed < s->depth && s->depth + opened <= JSON_DEPTH_MAX)) {
		s->depth = s->depth + opened - closed;
		return false;
	}
	uint64_t both = (open | close) & ((bad & -bad) - 1);
	for (; both; both &= both - 1) {
		uint64_t bit = both & -both;
		if (close & bit) {
			if (--s->depth == 0) {
				*h = hit(at + lowest(bit), JSON_STOP_END);
				return true;
			}
		} else if (++s->depth > JSON_DEPTH_MAX) {
			*h = hit(at + lowest(bit), JSON_STOP_DEEP);
			return true;
		}
	}
	if (bad)
		*h = hit(at + lowest(bad), (ctrl & inside & bad & -bad) ? JSON_STOP_CTRL : JSON_STOP_STRAY);
	return bad;
}

TARGET static json_hit K(nested)(const unsigned char *p, size_t n, size_t at)
{
	nested_state s = { .depth = 1 };
	json_hit h = { n, JSON_STOP_CUT };

	for (; n - at >= BLOCK; at += BLOCK) {
		K(block) b = K(load)(p + at);
		/* Inside a long string, as most blocks of most bodies are: `in` is all ones, and `carry` 0. */
		if (s.in + s.carry == UINT64_MAX && !K(stops)(b))
			continue;
		if (K(nested_step)(b, at, 0, &s, &h))
			return h;
	}
	if (at < n)
		K(nested_step)(K(load)(p + n - BLOCK), at, BLOCK - (n - at), &s, &h);
	return h;
}

/* In the backward steps, the block ends at `at`. */
STEP K(back_string_step)(K(block) b, size_t at, size_t old, uint64_t carry, json_hit *h)
{
	uint64_t quote = unescaped(K(quotes)(b), K(slashes)(b), &carry) << old;
	uint64_t ctrl = K(ctrls)(b) << old;

	if (LIKELY(!(quote | ctrl)))
		return false;
	if (quote > ctrl) /* the highest bit is met first, and no byte is both */
		*h = hit(at + highest(quote) - BLOCK, JSON_STOP_END);
	else
		*h = hit(at + highest(ctrl) - BLOCK, JSON_STOP_CTRL);
	return true;
}

TARGET static json_hit K(back_string)(const unsigned char *p, size_t n, size_t at)
{
	size_t run = SIZE_MAX;
	json_hit h = { 0, JSON_STOP_CUT };

	(void)n;
	for (; at > BLOCK; at -= BLOCK)
		if (K(back_string_step)(K(load)(p + at - BLOCK), at, 0, odd_run(p, at - BLOCK, &run), &h))
			return h;
	if (at > 0)
		K(back_string_step)(K(load)(p), at, BLOCK - at, 0, &h);
	return h;
}

STEP K(back_nested_step)(K(block) b, size_t at, size_t old, uint64_t carry, nested_state *s, json_hit *h)
{
	uint64_t quote = unescaped(K(quotes)(b), K(slashes)(b), &carry) << old;
	uint64_t ctrl = K(ctrls)(b) << old;

	if (!(quote | ~s->in)) {
		if (LIKELY(!ctrl))
			return false;
		*h = hit(at + highest(ctrl) - BLOCK, JSON_STOP_CTRL);
		return true;
	}
	/* The state behind the block is known; the parity of the quotes in the block gives the state before it. */
	uint64_t inside = K(prefix_xor)(quote);
	s->in ^= 0 - (inside >> 63);
	inside ^= s->in;
	uint64_t open = (K(opens)(b) << old) & ~inside;
	uint64_t close = (K(closes)(b) << old) & ~inside;
	uint64_t bad = (ctrl & inside) | ((K(strays)(b) << old) & ~inside);
	size_t opened = count(open), closed = count(close);

	if (LIKELY(!bad && opened < s->depth && s->depth + closed <= JSON_DEPTH_MAX)) {
		s->depth = s->depth + closed - opened;
		return false;
	}
	size_t wrong = bad ? highest(bad) : 0;
	for (uint64_t both = open | close; both;) {
		size_t bit = highest(both);
		if (bad && bit < wrong)
			break;
		if (open >> bit & 1) {
			if (--s->depth == 0) {
				*h = hit(at + bit - BLOCK, JSON_STOP_END);
				return true;
			}
		} else if (++s->depth > JSON_DEPTH_MAX) {
			*h = hit(at + bit - BLOCK, JSON_STOP_DEEP);
			return true;
		}
		both ^= (uint64_t)1 << bit;
	}
	if (bad)
		*h = hit(at + wrong - BLOCK, (ctrl & inside) >> wrong & 1 ? JSON_STOP_CTRL : JSON_STOP_STRAY);
	return bad;
}

TARGET static json_hit K(back_nested)(const unsigned char *p, size_t n, size_t at)
{
	size_t run = SIZE_MAX;
	nested_state s = { .depth = 1 };
	json_hit h = { 0, JSON_STOP_CUT };

	(void)n;
	for (; at > BLOCK; at -= BLOCK)
		if (K(back_nested_step)(K(load)(p + at - BLOCK), at, 0, odd_run(p, at - BLOCK, &run), &s, &h))
			return h;
	if (at > 0)
		K(back_nested_step)(K(load)(p), at, BLOCK - at, 0, &s, &h);
	return h;
}

static const json_kernel K(kernel) = { KERNEL_NAME, K(string), K(nested), K(back_string), K(back_nested) };

#undef STEP
