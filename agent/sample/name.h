/* SPDX-License-Identifier: MIT
 *
 * Collects what is said about the model in several places, and tells whether it is one and the same thing. */
#ifndef SAMPLE_NAME_H
#define SAMPLE_NAME_H

#include "sample/model.h"

/* NULL: a model name that can be used; else what is wrong with it. */
const char *name_fault(slice name);

typedef struct named {
	bool any;        /* at least one mention */
	bool exact;      /* at least one whose member or field is spelled "model", not "Model" */
	bool differ;     /* two mentions differ */
	const char *why; /* the first mention is no name that can be used */
	uint16_t len;
	char name[MODEL_MAX]; /* of the first mention */
	bool stream;
} named;

/* For automatic variables: the build zeroes those, and the name's buffer is longer than what is done with most of them.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define NAMED_LAZY __attribute__((uninitialized))
#endif
#endif
#ifndef NAMED_LAZY
#define NAMED_LAZY
#endif

void named_init(named *n);
/* `why` is what is wrong with this mention, from name_fault() or the caller; then `name` is not looked at. */
void named_add(named *n, bool exact, slice name, const char *why);
/* Every member of `from` into `into`. */
void named_merge(named *into, const named *from);
/* FOUND, NONE, INVALID or AMBIGUOUS; *detail as in model_result. */
model_status named_status(const named *n, const char **detail);

#endif
