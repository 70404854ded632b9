/* SPDX-License-Identifier: MIT
 *
 * HAProxy's log line about an ended request -> record. The format that writes it stands in haproxy.cfg.example:
 *
 *   <134>1 TIME HOST TAG PID - [llm@32473 key="KEY"] {"v":1,"id":"...", ...}
 *
 * Numbers that HAProxy does not know are -1, texts "" or "-". */
#ifndef LEDGER_LOGLINE_H
#define LEDGER_LOGLINE_H

#include "ledger/record.h"
#include "ledger/usage.h"

enum { LOGLINE_USAGE_MAX = 1024 }; /* bytes of a usage fragment, which is a few hundred */

typedef enum logline_result {
	LOGLINE_OK,
	LOGLINE_NO_REQUEST, /* of bytes that were no HTTP request: nothing to keep */
	LOGLINE_FOREIGN,    /* without our key, or with another one: not our HAProxy's */
	LOGLINE_MALFORMED,  /* ours, and not what was agreed on; `problem` says what */
} logline_result;

typedef struct logline {
	record record;     /* without tokens and money */
	slice usage;       /* the fragment, in `usage_text` */
	usage_hints hints; /* its slices point into the line */
	const char *problem;
	slice member; /* MALFORMED: which one, where it is one */
	char usage_text[LOGLINE_USAGE_MAX];
} logline;

/* `line` is one message without its framing, `key` what it has to carry; empty: any line will do. */
logline_result logline_parse(slice line, slice key, logline *out);

/* Whether it carries the key; *object: the JSON object and whatever is behind it, the same in each copy of a line. */
bool logline_is_ours(slice line, slice key, slice *object);

/* A name that came from outside, made fit for a table, a metric and a terminal: white space around it gone, control
 * characters, others that nobody sees and bytes that are no UTF-8 as `_`, cut at RECORD_LABEL_MAX between characters.
 */
void label_clean(slice name, char out[RECORD_LABEL_MAX + 1]);

/* The family of a client by its User-Agent; "other" where it is none that is known, "" for an empty one. Static. */
const char *client_family(slice user_agent);

#endif
