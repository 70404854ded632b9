/* SPDX-License-Identifier: MIT
 *
 * Collects what several places say about the model, and tells whether they agree. */
#ifndef SAMPLE_NAME_H
#define SAMPLE_NAME_H

#include "sample/model.h"

/* What a member or a field `stream` says. */
typedef enum stream_said {
	STREAM_UNSAID,
	STREAM_NO,
	STREAM_YES,
	STREAM_ODD, /* neither: some servers refuse such a value, others take it for true */
} stream_said;

/* The mentions of a model that were found so far: members of JSON, fields of forms, a path, a query. */
typedef struct mentions {
	bool any;      /* at least one mention */
	bool exact;    /* at least one mention whose member or field is spelled "model", not "Model" */
	bool null;     /* a member is null, which names no model */
	bool open;     /* the sample ends within a member or field that may be a mention: more of it is not there */
	bool stream;   /* the request asks for a stream */
	uint8_t said;  /* stream_said of the members and fields spelled "stream" */
	uint8_t alike; /* stream_said of those that only some parsers take for "stream" */
	uint8_t usage; /* stream_usage of the members `stream_options`; UNSEEN: there is none */
	bool read_all; /* all of the body was read */
	uint16_t len;  /* of `name` */
	const char *differ;   /* static text: which two readings differ; NULL: all agree */
	const char *why;      /* static text: what is wrong with the first mention; NULL: nothing */
	char name[MODEL_MAX]; /* of the first mention */
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
/* Adds a mention. `name` may have Google's "models/" in front, which is taken off. `why` says what is wrong with the
 * mention, and then `name` is not looked at; NULL: nothing that the caller knows of. */
void mentions_add(mentions *found, bool exact, slice name, const char *why);
/* Adds what one member or field says about streaming. `exact`: it is spelled "stream", not "Stream". */
void mentions_stream(mentions *found, bool exact, stream_said said);
/* Adds whether one member `stream_options` asks for the usage. Of several, all have to. */
void mentions_usage(mentions *found, bool asks);
/* Says what the text of a member or field `stream` means. */
stream_said stream_of(slice text);
/* Adds all that `from` collected to `into`. `differ` is the static text for the case that the two name different
 * models.
 */
void mentions_merge(mentions *into, const mentions *from, const char *differ);
/* Returns FOUND, NONE, INVALID or AMBIGUOUS; *detail is as in model_result. */
model_status mentions_status(const mentions *found, const char **detail);

#endif
