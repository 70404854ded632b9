/* SPDX-License-Identifier: MIT
 *
 * Makes a record from the log line that HAProxy writes at the end of a request. haproxy.cfg.example has its format:
 *
 *   <134>1 TIME HOST TAG PID - [llm@32473 key="KEY"] {"v":2,"id":"...", ...}
 *
 * Version 2 has the members of version 1 and these; lines of version 1 are read too:
 *
 *   metered   "1" if an answer of the endpoint costs tokens, else "0"
 *   coding    the answer's Content-Encoding
 *   seen      what HAProxy held of the answer: "all", "first" (the first event of a stream) or ""
 *   tier      the service tier, if the answer names it beside the usage
 *   text      the length of the request's body if all of it is text; "" if not, or if nobody looked
 *   comp      "1" if HAProxy compressed the answer
 *   to        only where HAProxy lacks the backend that the agent named: its name
 *   behind    only where the agent named a leg: the backend behind the leg
 *   srv       HAProxy's server; "tap": the request went through the tap, which reports on it
 *   member, tried  only where the request went to a pool: the member that served, and those before it (tried.h)
 *   keyed     1, only where project and client are those of the key that the request had
 *   refused   1, only where the agent refused the request
 *   op        what the model was asked for, only where that is neither chat nor, in Gemini's API, generate_content
 *   traceparent  only where HAProxy has LLM_TRACE: the client's, if it has a valid one, else ""
 *
 * HAProxy writes -1 for a number that it does not know, and "" or "-" for a text.
 */
#ifndef LEDGER_LOGLINE_H
#define LEDGER_LOGLINE_H

#include "base/must_check.h"
#include "ledger/record.h"
#include "ledger/usage.h"

enum {
	LOGLINE_USAGE_MAX = 1280, /* bytes of a usage object; real ones have a few hundred */
	LOGLINE_LAST = 4,         /* lines that are kept to compare others with: one for each kind of request */
};

typedef enum logline_result {
	LOGLINE_OK,
	LOGLINE_NO_REQUEST, /* HAProxy got bytes that are no HTTP request: nothing to keep */
	LOGLINE_FOREIGN,    /* the key is missing or another one, so our HAProxy did not write the line */
	LOGLINE_MALFORMED,  /* the key is right and the rest is not as agreed; `problem` says what is wrong */
} logline_result;

typedef struct logline {
	record record;     /* without tokens and money */
	slice usage;       /* the usage object, in `usage_text`, in the line, or in a logline_last */
	usage_hints hints; /* its slices point into the line */
	bool metered;      /* the endpoint's answers cost tokens; false too in a line without the member */
	bool refused;      /* the agent refused the request */
	bool fallback;     /* the agent named a leg, and the request did not go through the tap */
	char named[RECORD_BACKEND_MAX + 1];  /* the backend that the agent named, if HAProxy has none of this name */
	char behind[RECORD_BACKEND_MAX + 1]; /* the backend behind the leg that the agent named; "": it named none */
	const char *problem;                 /* of LOGLINE_MALFORMED; static text */
	slice member;                        /* the member that `problem` is about; empty: no single one */
	char usage_text[LOGLINE_USAGE_MAX];
} logline;

/* Reads `line`, one message without its framing, which has to carry `key`; an empty `key` takes any line. */
MUST_CHECK logline_result logline_parse(slice line, slice key, logline *out);

/* The last lines that were read, of which the next one mostly differs in a few values only. */
typedef struct logline_last logline_last;

/* NULL: no memory. */
MUST_CHECK logline_last *logline_last_new(void);
void logline_last_free(logline_last *last); /* NULL: does nothing */

/* Says of `line` what logline_parse() does that takes any key; `object` is what logline_is_ours() found in it. Reads
 * only what differs from one of the lines before. `out` is valid until the next call. */
MUST_CHECK logline_result logline_parse_next(logline_last *last, slice line, slice object, logline *out);

/* Whether `line` carries `key`. Sets `*object` to the JSON object and what follows it: the part that is the same in all
 * copies of a line. */
bool logline_is_ours(slice line, slice key, slice *object);

/* Returns the id of `object` if the object begins as HAProxy writes it, with `v` and `id`, and the id has no escape.
 * Does not look whether the rest of the object is valid. Empty: only logline_parse() tells the id. */
slice logline_id(slice object);

/* Makes a name from outside fit for a table, a metric and a terminal. Trims white space; writes `_` for control
 * characters, invisible characters and bytes that are not UTF-8; cuts at RECORD_LABEL_MAX, between characters. */
void label_clean(slice name, char out[RECORD_LABEL_MAX + 1]);

#endif
