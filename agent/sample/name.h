/* SPDX-License-Identifier: MIT
 *
 * Collects what several places say about the model, and tells whether they agree. */
#ifndef SAMPLE_NAME_H
#define SAMPLE_NAME_H

#include "sample/model.h"

/* Returns what is wrong with a model's name, as static text; NULL: it can be used. */
const char *name_fault(slice name);

/* The mentions of a model that were found so far: members of JSON, fields of forms, a path, a query. */
typedef struct mentions {
	bool any;        /* at least one mention */
	bool exact;      /* at least one mention whose member or field is spelled "model", not "Model" */
	bool differ;     /* two mentions differ */
	const char *why; /* what is wrong with the first mention; NULL: nothing */
	uint16_t len;
	char name[MODEL_MAX]; /* of the first mention */
	bool stream;
} mentions;

/* For automatic variables of type `mentions`. The compiler zeroes automatic variables (-ftrivial-auto-var-init);
 * zeroing `name` would cost more than most uses of it. */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define MENTIONS_LAZY __attribute__((uninitialized))
#endif
#endif
#ifndef MENTIONS_LAZY
#define MENTIONS_LAZY
#endif

void mentions_init(mentions *found);
/* Adds a mention. `why` says what is wrong with it, from name_fault() or the caller; then `name` is not looked at. */
void mentions_add(mentions *found, bool exact, slice name, const char *why);
/* Adds all that `from` collected to `into`. */
void mentions_merge(mentions *into, const mentions *from);
/* Returns FOUND, NONE, INVALID or AMBIGUOUS; *detail is as in model_result. */
model_status mentions_status(const mentions *found, const char **detail);

#endif
