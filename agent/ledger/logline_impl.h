/* SPDX-License-Identifier: MIT
 *
 * For the files logline*.c only: logline_members.c reads members, logline_last.c only those that differ from the line
 * before, and logline.c makes a record of them. */
#ifndef LEDGER_LOGLINE_IMPL_H
#define LEDGER_LOGLINE_IMPL_H

#include "base/json.h"
#include "ledger/logline.h"
#include "ledger/usage_last.h"

typedef enum field {
	F_V,
	F_ID,
	F_TE,
	F_ROUTE,
	F_PROTOCOL,
	F_MODEL,
	F_PROJECT,
	F_CLIENT,
	F_UA,
	F_STREAM,
	F_METERED,
	F_OP,
	F_BEHIND,
	F_TOLD_BEFORE,
	F_KEYED,
	F_REFUSED,
	F_MEMBER,
	F_TRIED,
	F_BACKEND,
	F_SRV,
	F_STATUS,
	F_CODE,
	F_TERM,
	F_IN,
	F_OUT,
	F_TR,
	F_TW,
	F_TC,
	F_TRS,
	F_TA,
	F_CTYPE,
	F_SEEN,
	F_USAGE,
	F_CODING,
	F_TIER,
	F_HB,
	F_HA,
	F_HS,
	F_TEXT,
	F_COMP,
	F_TRACEPARENT,
	F_TO,
	FIELDS,
} field;

/* In the order of the line. */
extern const slice logline_names[FIELDS];

/* What kind of answer a Content-Type tells of. */
typedef enum answer_type { ANSWER_OTHER, ANSWER_EVENTS, ANSWER_LINES } answer_type;

/* What the members of the object said that is not in the logline yet, because it depends on several of them. */
typedef struct reading {
	int64_t num[FIELDS];
	const char *family; /* of the User-Agent; static text */
	bool stream;        /* the request asks for a stream */
	answer_type type;
	bool coded, compressed;
	bool told_before;   /* the usage is that of an earlier request */
	bool server;        /* HAProxy chose a server */
	bool tap;           /* its name is "tap" */
	bool all, first;    /* what of the answer was seen; both false in a line of version 1 */
	uint64_t seen;      /* a bit for each field */
	usage_last *usages; /* of the lines before; NULL: they are not kept */
} reading;

/* Returns the field named `key`, which is looked for from the field `from` on; FIELDS: there is none. */
field logline_find(slice key, unsigned from);
/* Reads one member. Sets the same as in a new logline and reading, whatever a member of that name has set before.
 * False: its value has the wrong type. */
MUST_CHECK bool logline_take(logline *out, reading *rd, field f, const json_member *m);

enum {
	LAST_MEMBERS = 64, /* a bit for each */
	LAST_BYTES = 4096,
};

/* Where a member stands in the object. */
typedef struct last_member {
	uint16_t begin, end; /* of its value */
	uint8_t field, type; /* FIELDS: another member */
} last_member;

/* An object that was read, and what it said before complete(). */
typedef struct last_line {
	size_t len; /* of `bytes`; 0: no object is kept */
	unsigned count;
	uint64_t always; /* members of which `line` has bytes of the object, a bit for each */
	last_member members[LAST_MEMBERS];
	logline line;
	reading rd;
	char bytes[LAST_BYTES];
} last_line;

struct logline_last {
	unsigned next; /* is overwritten by the next object that differs in more than values */
	unsigned best; /* had the members of the last object */
	last_line lines[LOGLINE_LAST];
	usage_last usages;
};

/* Reads `object` if it has the members of one of the last ones, in their order and with the same bytes between their
 * values. Returns what it says; NULL: it has other members, or one that cannot be taken. */
last_line *last_read(logline_last *last, slice object);
/* Returns a place for an object that is read as a whole; last_note() notes each of its members, and last_keep() its
 * end. */
last_line *last_begin(logline_last *last);
void last_note(last_line *to, slice object, const json_member *m, field f);
void last_keep(last_line *to, slice object);

#endif
