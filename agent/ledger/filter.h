/* SPDX-License-Identifier: MIT
 *
 * Which requests a person asks about, as a condition on the rows of SQLite and of PostgreSQL. */
#ifndef LEDGER_FILTER_H
#define LEDGER_FILTER_H

#include "base/err.h"
#include "base/must_check.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The labels that a row has to have; NULL: any. One that ends with * is the beginning of labels, and what stands behind
 * a = is a whole label, whatever it ends with: the label * is "=*". "" is the label of rows that have none. */
typedef struct row_filter {
	const char *model, *route, *project, *client, *member, *code, *id;
	int32_t status_from,
		status_to; /* [from, to); both 0: any. The status 0 is that of a request without an answer */
} row_filter;

/* What a label of a filter asks for: the whole label, or the beginning of one. */
typedef struct filter_label {
	const char *text; /* borrowed */
	size_t len;
	bool begins;
} filter_label;

filter_label filter_label_of(const char *value);

/* Reads the flag --status: 429, 4xx, or none. False: `e` says what can be written. */
MUST_CHECK bool filter_status(row_filter *f, const char *text, err *e);
/* True if `f`, which may be NULL, lets every row through. */
bool filter_is_empty(const row_filter *f);

enum { FILTER_VALUES_MAX = 9 };

/* A condition in SQL. */
typedef struct filter_sql {
	char where[1536];                      /* " AND ..." with parameters; "": no condition */
	const char *values[FILTER_VALUES_MAX]; /* of the parameters */
	size_t count;
	char numbers[2][16]; /* texts that `values` points to */
} filter_sql;

/* Makes the condition of `f`, which may be NULL and whose texts it borrows. The parameters are named `mark` ('?' for
 * SQLite, '$' for PostgreSQL) and a number, from `first` on. `out` has to stay where it is. */
void filter_make(filter_sql *out, const row_filter *f, char mark, int first);

#endif
