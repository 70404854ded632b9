/* SPDX-License-Identifier: MIT
 *
 * The fields of a record as a table, for the rows of the database and for `ledger export`. */
#ifndef LEDGER_COLUMNS_H
#define LEDGER_COLUMNS_H

#include <stddef.h>

#include "ledger/record.h"

typedef enum column_kind {
	COLUMN_TEXT,   /* char[], with a NUL */
	COLUMN_TIME,   /* int64_t, milliseconds since 1970 */
	COLUMN_STATUS, /* int32_t */
	COLUMN_FLAG,   /* bool */
	COLUMN_COUNT,  /* int64_t; -1: not known, NULL in the database */
	COLUMN_NUMBER, /* int64_t, may be negative */
	COLUMN_MONEY,  /* int64_t, nano-dollars */
	COLUMN_COST,   /* the same; not known without a price */
	COLUMN_USAGE,  /* usage_from */
	COLUMN_PRICE,  /* price_from */
	COLUMN_TAP,    /* tap_state */
} column_kind;

typedef struct record_column {
	const char *name;   /* in the export, which appends _nanodollars or _usd to COLUMN_MONEY and COLUMN_COST */
	const char *stored; /* in the table `requests` */
	column_kind kind;
	size_t offset, size; /* in a record */
} record_column;

enum { RECORD_COLUMNS = 36 };

/* In the order of the export's CSV. Programs read the names and the order: add columns at the end, change none. */
extern const record_column record_columns[RECORD_COLUMNS];

/* Sets the field of `r` that `c`, not COLUMN_TEXT, describes, from `number` as a database has it; -1: a count that is
 * not known. A number that names nothing is read as the first of its kind: none, or no. */
void column_set(record *r, const record_column *c, int64_t number);

/* The field of `r` that `c` describes. */
static inline const void *column_of(const record *r, const record_column *c)
{
	return (const char *)r + c->offset;
}

#endif
