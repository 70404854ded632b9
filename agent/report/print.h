/* SPDX-License-Identifier: MIT
 *
 * Numbers, money, times and names as text for a person, for JSON and for CSV; and whether standard output still works.
 */
#ifndef REPORT_PRINT_H
#define REPORT_PRINT_H

#include <stdio.h>

#include "base/slice.h"
#include "base/text.h"

enum { PRINT_NUMBER = 48, PRINT_LABEL = 1100 }; /* bytes of a buffer for any number, for any label of a record */

/* The print_ functions up to print_minute() write into `out`, which has PRINT_NUMBER bytes, and return it. */

/* 1234567 is "1,234,567" by print_count() and "1.23M" by print_short(). */
const char *print_count(char *out, int64_t n);
const char *print_short(char *out, int64_t n);
/* 1234567 bytes as "1.23 MB", 123 as "123 bytes". */
const char *print_bytes(char *out, int64_t n);
/* Nano-dollars as dollars with `decimals` (0 to 9) digits, rounded half away from zero: "-$1,234.50" for a person,
 * "-1234.50" for a program. */
const char *print_money(char *out, int64_t nano, unsigned decimals);
const char *print_dollars(char *out, int64_t nano, unsigned decimals);
/* Nano-dollars for a person, as the page writes them: "$12.50", and an amount below one cent to its first two digits
 * that are not 0, because "$0.00" would hide what requests cost. */
const char *print_amount(char *out, int64_t nano);
/* `part` of `whole` as "12.3%"; "-" if `whole` is 0 or less. */
const char *print_share(char *out, int64_t part, int64_t whole);
/* "2026-11-22T14:36:33Z" for a program, "2026-11-22 14:36" for a person. */
const char *print_time(char *out, int64_t time_ms);
const char *print_minute(char *out, int64_t time_ms);

/* Where text for a person goes. Not a terminal: ASCII only. */
typedef struct terminal {
	bool is_tty, utf8;
	int columns;
	bool colour; /* a terminal with colours, and nobody has set NO_COLOR */
} terminal;

terminal terminal_of(FILE *f);
/* Returns what begins a colour on this terminal, or with PAINT_NONE ends it; "": it has no colours. */
typedef enum paint { PAINT_NONE, PAINT_GOOD, PAINT_WARN, PAINT_BAD, PAINT_STRONG } paint;
const char *print_paint(const terminal *t, paint p);
/* Writes a name from outside into `out` (PRINT_LABEL bytes), in at most `columns` columns: characters that cannot be
 * shown, move the cursor or change the direction of writing become `?`; a name that is too long has an ellipsis
 * in its middle, because names differ at their ends. Returns how many columns it takes. */
int print_label(char *out, const terminal *t, const char *label, int columns);
/* Draws a bar: `part` of `whole`, where `whole` is `columns` wide. Returns how many columns it takes. */
int print_bar(FILE *f, const terminal *t, int64_t part, int64_t whole, int columns);

/* Writes a CSV field (RFC 4180). Characters that json_write_text() escapes become `_`. A text from outside that begins
 * with = + - @ (a spreadsheet would run it as a formula) or with a quote ' gets a quote ' in front, so that removing
 * one leading ' always gives the text. */
void csv_write_text(FILE *f, const char *text, bool from_outside);

/* Has writing to standard output failed, so that writing more is useless? Keeps errno for finish_output(), before
 * another call overwrites it. */
bool output_failed(void);
/* Flushes standard output. EX_OK; or EX_IOERR: some of the output was lost, and a message says why. */
int finish_output(void);

#endif
