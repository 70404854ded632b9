/* SPDX-License-Identifier: MIT
 *
 * What the commands that read the ledger have in common: numbers, money and names as text for a person, for JSON and
 * for CSV, and an output that notices when nobody takes it any more. */
#ifndef REPORT_PRINT_H
#define REPORT_PRINT_H

#include <stdio.h>

#include "base/slice.h"
#include "base/text.h"

enum { PRINT_NUMBER = 48, PRINT_LABEL = 1100 }; /* bytes that hold any number, any label of a record */

/* 1234567 as "1,234,567"; as "1.23M". `out` has PRINT_NUMBER bytes. */
const char *print_count(char *out, int64_t n);
const char *print_short(char *out, int64_t n);
/* Nano-dollars with `decimals` (0 to 9) of a dollar, rounded half away from zero: "-$1,234.50"; bare: "-1234.50". */
const char *print_money(char *out, int64_t nano, unsigned decimals);
const char *print_dollars(char *out, int64_t nano, unsigned decimals);
/* `part` of `whole` as "12.3%"; "-" where there is no whole. */
const char *print_share(char *out, int64_t part, int64_t whole);
/* 2026-11-22T14:36:33Z; with a space and without seconds and Z for a person. */
const char *print_time(char *out, int64_t time_ms);
const char *print_minute(char *out, int64_t time_ms);
/* The sum; what is beyond int64_t stays at its end. */
int64_t add_capped(int64_t a, int64_t b);

/* A terminal that shows UTF-8, or none and ASCII. */
typedef struct terminal {
	bool is_tty, utf8;
	int columns;
} terminal;

terminal terminal_of(FILE *f);
/* A name from outside in at most `columns` columns: what has no picture, or would move the cursor or turn the direction
 * of writing, is a `?`; what is too long ends with an ellipsis. Returns the columns it takes. `out` has PRINT_LABEL
 * bytes. */
int print_label(char *out, const terminal *t, const char *label, int columns);
/* A bar of `part` of `whole` in at most `columns`. Returns the columns it takes. */
int print_bar(FILE *f, const terminal *t, int64_t part, int64_t whole, int columns);

/* A CSV field (RFC 4180). What JSON escapes is `_`. A text from outside that a spreadsheet would take for a formula (it
 * begins with = + - @ or a quote) gets a quote ' in front, so that taking one leading ' away always gives the text. */
void csv_write_text(FILE *f, const char *text, bool from_outside);

/* Is there no use in writing more to standard output? Keeps the reason for finish_output(), before other calls forget
 * it. */
bool output_failed(void);
/* Whether all that was written to standard output arrived; says so if not. EX_OK or EX_IOERR. */
int finish_output(void);

#endif
