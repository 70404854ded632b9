/* SPDX-License-Identifier: MIT
 *
 * What the unit tests of model_find() share: a whole or cut body, and the result as text. */
#ifndef SAMPLE_RIG_H
#define SAMPLE_RIG_H
#include "unit.h"

#include "sample/model.h"

static const char *const status_names[] = { "found",   "none",      "unknown",  "ambiguous",
					    "invalid", "malformed", "bad form", "bad coding" };

/* Writes the result as text: "NAME from PLACE", with " stream" if the request asks for one, or the status. */
static inline const char *say(const model_sample *s)
{
	static char out[400];
	model_result r;

	memset(&r, 0xa5, sizeof r);
	model_find(s, &r);
	if (r.status == MODEL_FOUND)
		snprintf(out, sizeof out, "%.*s from %s%s", (int)r.len, r.name, model_from_name(r.from),
			 r.stream ? " stream" : "");
	else
		snprintf(out, sizeof out, "%s", status_names[r.status]);
	if ((r.status == MODEL_FOUND || r.status == MODEL_NONE) != (r.detail == NULL))
		snprintf(out, sizeof out, "%s, and detail %s", status_names[r.status], r.detail ? r.detail : "missing");
	if (r.status != MODEL_FOUND && r.from != MODEL_FROM_NONE)
		return "from, though not found";
	return out;
}

#define SAYS(sample, text) \
	do { \
		const char *said = say(sample); \
		CHECK(strcmp(said, text) == 0 || (printf("  said %s, not %s\n", said, text), 0)); \
	} while (0)

static inline model_sample whole(const char *ctype, const void *body, size_t len)
{
	const unsigned char *copy = unit_guarded(body, len);
	return (model_sample){ .path = SLICE("/v1/chat/completions"),
			       .ctype = slice_cstr(ctype),
			       .body = slice_of(copy, len),
			       .buffered = len,
			       .length = len,
			       .sized = true };
}

/* Sends only the first `head` and the last `tail` bytes of a body. */
static inline model_sample ends(const char *ctype, const char *body, size_t head, size_t tail)
{
	size_t len = strlen(body);
	model_sample s = whole(ctype, body, head);

	s.tail = slice_of(unit_guarded(body + (len - tail), tail), tail);
	s.buffered = s.length = len;
	return s;
}

#endif
