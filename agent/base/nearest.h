/* SPDX-License-Identifier: MIT
 *
 * Which word was probably meant by one that was mistyped. */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

typedef struct nearest {
	const char *given;
	const char *word; /* the most similar one so far; NULL: none is similar */
	size_t distance;  /* how many letters have to change to make `word` of `given` */
} nearest;

/* Begins a search for the word that is meant by `given`, which the search borrows. */
nearest nearest_to(const char *given);
/* Looks at a word that `given` may mean, and keeps it in n->word if it is more similar than those before. */
void nearest_look(nearest *n, const char *word);

#endif
