/* SPDX-License-Identifier: MIT */
#include "base/nearest.h"

#include <ctype.h>
#include <string.h>

enum { WORD_MAX = 64 }; /* a longer word is similar to none */

/* Flags have dashes where the keys of the configuration file have underscores, and case does not matter. */
static int plain(char c)
{
	return c == '_' ? '-' : tolower((unsigned char)c);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Returns how many letters have to be put in, left out, replaced, or exchanged with their neighbour. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][WORD_MAX + 1], *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			int x = plain(a[i - 1]), y = plain(b[j - 1]);
			now[j] = least(least(last[j], now[j - 1]) + 1, last[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == plain(b[j - 2]) && y == plain(a[i - 2]))
				now[j] = least(now[j], before[j - 2] + 1);
		}
		size_t *row = before;
		before = last;
		last = now;
		now = row;
	}
	return last[b_len];
}

nearest nearest_to(const char *given)
{
	return (nearest){ given, NULL, 0 };
}

void nearest_look(nearest *n, const char *word)
{
	size_t given_len = strlen(n->given), len = strlen(word);

	if (!given_len || given_len > WORD_MAX || len > WORD_MAX)
		return;
	size_t d = distance(n->given, given_len, word, len);
	/* The beginning of a word is similar to it, however long the rest. */
	if (given_len > 2 && given_len < len && strncmp(n->given, word, given_len) == 0)
		d = 1;
	if (d <= (len < 4 ? 1 : len / 3) && (!n->word || d < n->distance)) {
		n->word = word;
		n->distance = d;
	}
}
