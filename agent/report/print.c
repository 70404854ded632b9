/* SPDX-License-Identifier: MIT */
#include "report/print.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

enum { COLUMNS_DEFAULT = 80, COLUMNS_MIN = 40, COLUMNS_MAX = 400 };

static uint64_t magnitude(int64_t n)
{
	return n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
}

/* ---- numbers */

/* Writes `n` with commas. Returns the length. */
static size_t grouped(char *out, uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof digits, "%" PRIu64, n);
	size_t at = 0;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			out[at++] = ',';
		out[at++] = digits[i];
	}
	out[at] = '\0';
	return at;
}

const char *print_count(char *out, int64_t n)
{
	if (n < 0)
		*out = '-';
	grouped(out + (n < 0), magnitude(n));
	return out;
}

const char *print_short(char *out, int64_t n)
{
	static const char units[] = " kMBTPE";
	uint64_t whole = magnitude(n), rest = 0;
	size_t unit = 0;

	if (whole < 10000)
		return print_count(out, n);
	/* Three digits, rounded; 999.6k rounds up to 1.00M. */
	while (whole >= 1000) {
		rest = whole % 1000;
		whole /= 1000;
		unit++;
	}
	uint64_t thousandths = whole * 1000 + rest, step = whole >= 100 ? 1000 : whole >= 10 ? 100 : 10;
	thousandths = (thousandths + step / 2) / step * step;
	if (thousandths >= 1000000) {
		thousandths /= 1000;
		unit++;
	}
	whole = thousandths / 1000;
	rest = thousandths % 1000;
	if (whole >= 100)
		snprintf(out, PRINT_NUMBER, "%s%" PRIu64 "%c", n < 0 ? "-" : "", whole, units[unit]);
	else if (whole >= 10)
		snprintf(out, PRINT_NUMBER, "%s%" PRIu64 ".%" PRIu64 "%c", n < 0 ? "-" : "", whole, rest / 100,
			 units[unit]);
	else
		snprintf(out, PRINT_NUMBER, "%s%" PRIu64 ".%02" PRIu64 "%c", n < 0 ? "-" : "", whole, rest / 10,
			 units[unit]);
	return out;
}

const char *print_bytes(char *out, int64_t n)
{
	size_t len = strlen(print_short(out, n));
	char unit = out[len - 1];

	if (unit >= '0' && unit <= '9')
		snprintf(out + len, PRINT_NUMBER - len, " bytes");
	else
		snprintf(out + len - 1, PRINT_NUMBER - len + 1, " %cB", unit == 'B' ? 'G' : unit);
	return out;
}

/* Returns the whole dollars of |nano|, rounded half away from zero to `decimals` digits; `*fraction`: those digits. */
static uint64_t split_money(int64_t nano, unsigned decimals, uint64_t *fraction)
{
	uint64_t step = 1, n = magnitude(nano);

	for (unsigned i = decimals; i < 9; i++)
		step *= 10;
	n = n / step + (n % step >= step - step / 2 && step > 1);
	uint64_t per_dollar = 1000000000 / step;
	*fraction = n % per_dollar;
	return n / per_dollar;
}

static const char *money(char *out, int64_t nano, unsigned decimals, bool pretty)
{
	uint64_t fraction, dollars = split_money(nano, decimals, &fraction);
	size_t at = 0;

	/* "0.00", not "-0.00". */
	if (nano < 0 && (dollars || fraction))
		out[at++] = '-';
	if (pretty)
		out[at++] = '$';
	if (pretty)
		at += grouped(out + at, dollars);
	else
		at += (size_t)snprintf(out + at, PRINT_NUMBER - at, "%" PRIu64, dollars);
	if (decimals)
		snprintf(out + at, PRINT_NUMBER - at, ".%0*" PRIu64, (int)decimals, fraction);
	return out;
}

const char *print_money(char *out, int64_t nano, unsigned decimals)
{
	return money(out, nano, decimals, true);
}

const char *print_amount(char *out, int64_t nano)
{
	const uint64_t cent = 10000000;
	unsigned decimals = 2;

	if (nano && magnitude(nano) < cent) {
		uint64_t least = cent / 10; /* the smallest amount that has two digits with so many decimals */
		for (decimals = 4; decimals < 9 && magnitude(nano) < least; decimals++)
			least /= 10;
	}
	return print_money(out, nano, decimals);
}

const char *print_dollars(char *out, int64_t nano, unsigned decimals)
{
	return money(out, nano, decimals, false);
}

const char *print_share(char *out, int64_t part, int64_t whole)
{
	if (whole <= 0) {
		snprintf(out, PRINT_NUMBER, "-");
		return out;
	}
	__extension__ typedef unsigned __int128 wide;
	wide permille = ((wide)magnitude(part) * 1000 + (uint64_t)whole / 2) / (uint64_t)whole;
	uint64_t p = permille > 99999 ? 99999 : (uint64_t)permille;
	snprintf(out, PRINT_NUMBER, "%s%" PRIu64 ".%" PRIu64 "%%", part < 0 && p ? "-" : "", p / 10, p % 10);
	return out;
}

/* PRINT_NUMBER has room for a year of five digits, too: that of the end of the last hour of 9999. */
static const char *time_as(char *out, bool to_minute, int64_t time_ms)
{
	time_t seconds = (time_t)(time_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) ||
	    !strftime(out, PRINT_NUMBER, to_minute ? "%Y-%m-%d %H:%M" : "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(out, PRINT_NUMBER, "?");
	return out;
}

const char *print_time(char *out, int64_t time_ms)
{
	return time_as(out, false, time_ms);
}

const char *print_minute(char *out, int64_t time_ms)
{
	return time_as(out, true, time_ms);
}

/* ---- the terminal */

terminal terminal_of(FILE *f)
{
	terminal t = { isatty(fileno(f)) == 1, false, COLUMNS_DEFAULT, false };
	const char *no_colour = getenv("NO_COLOR"), *kind = getenv("TERM");
	const char *given = getenv("COLUMNS");
	struct winsize size;

	if (t.is_tty && ioctl(fileno(f), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		t.columns = size.ws_col;
	else if (given && *given >= '1' && *given <= '9')
		t.columns = (int)strtol(given, NULL, 10);
	if (t.columns < COLUMNS_MIN)
		t.columns = COLUMNS_MIN;
	if (t.columns > COLUMNS_MAX)
		t.columns = COLUMNS_MAX;
	t.colour = t.is_tty && !(no_colour && *no_colour) && kind && *kind && strcmp(kind, "dumb") != 0;
	locale_t locale = t.is_tty ? newlocale(LC_CTYPE_MASK, "", (locale_t)0) : (locale_t)0;
	if (locale) {
		t.utf8 = strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
		freelocale(locale);
	}
	return t;
}

const char *print_paint(const terminal *t, paint p)
{
	static const char *const begins[] = {
		[PAINT_NONE] = "\033[0m", [PAINT_GOOD] = "\033[32m",  [PAINT_WARN] = "\033[33m",
		[PAINT_BAD] = "\033[31m", [PAINT_STRONG] = "\033[1m",
	};

	return t->colour ? begins[p] : "";
}

/* How many columns `c` takes; -1: it must not be shown. */
static int columns_of(uint32_t c, const terminal *t)
{
	if (c < 0x80)
		return c < ' ' || c == 0x7f ? -1 : 1;
	if (!t->utf8 || text_is_control(c))
		return -1;
	int width = wcwidth((wchar_t)c);
	return width > 0 || (c >= 0x300 && c < 0x370) ? width : -1;
}

/* A character of a label as it is shown. */
typedef struct shown {
	char text[4];
	uint8_t bytes, columns;
} shown;

enum { SHOWN_MAX = PRINT_LABEL / 4 }; /* a label has fewer characters */

/* Splits `label` into the characters that are shown, and adds up their columns. */
static size_t split_label(shown *out, const terminal *t, const char *label, int *columns)
{
	size_t count = 0;

	*columns = 0;
	for (; *label && count < SHOWN_MAX; count++) {
		const char *begin = label;
		uint32_t c = utf8_next(&label);
		/* U+FFFD for one byte means that the byte is not UTF-8. */
		int width = c == 0xfffd && label - begin == 1 ? -1 : columns_of(c, t);
		shown *s = &out[count];
		s->bytes = width < 0 ? 1 : (uint8_t)(label - begin);
		s->columns = width < 0 ? 1 : (uint8_t)width;
		memcpy(s->text, width < 0 ? "?" : begin, s->bytes);
		*columns += s->columns;
	}
	return count;
}

int print_label(char *out, const terminal *t, const char *label, int columns)
{
	const char *ellipsis = t->utf8 ? "\xe2\x80\xa6" : "..";
	int used = 0, all = 0, room = columns - (t->utf8 ? 1 : 2), tail = 0;
	shown chars[SHOWN_MAX];
	size_t len = 0, from;

	locale_t locale = t->utf8 ? newlocale(LC_CTYPE_MASK, "", (locale_t)0) : (locale_t)0;
	locale_t before = locale ? uselocale(locale) : (locale_t)0;
	size_t count = split_label(chars, t, label, &all), i = 0;
	if (locale) {
		uselocale(before);
		freelocale(locale);
	}
	/* Half of the room is for the end of a name that is too long, and the beginning has what is left. */
	for (from = count; all > columns && from && tail + chars[from - 1].columns <= room / 2; from--)
		tail += chars[from - 1].columns;
	while (from < count && all > columns && !chars[from].columns)
		from++;
	for (; i < count && (all <= columns || (i < from && used + chars[i].columns <= room - tail)); i++) {
		memcpy(out + len, chars[i].text, chars[i].bytes);
		len += chars[i].bytes;
		used += chars[i].columns;
	}
	if (all > columns) {
		len += (size_t)sprintf(out + len, "%s", ellipsis);
		used += columns - room + tail;
		for (; from < count; from++) {
			memcpy(out + len, chars[from].text, chars[from].bytes);
			len += chars[from].bytes;
		}
	}
	out[len] = '\0';
	return used;
}

int print_bar(FILE *f, const terminal *t, int64_t part, int64_t whole, int columns)
{
	static const char *const eighths[] = { "",
					       "\xe2\x96\x8f",
					       "\xe2\x96\x8e",
					       "\xe2\x96\x8d",
					       "\xe2\x96\x8c",
					       "\xe2\x96\x8b",
					       "\xe2\x96\x8a",
					       "\xe2\x96\x89" };
	__extension__ typedef unsigned __int128 wide;

	if (part <= 0 || whole <= 0 || columns <= 0)
		return 0;
	if (part > whole)
		part = whole;
	/* In eighths of a column; at least one, so that a small part is visible. */
	unsigned n = (unsigned)(((wide)part * (unsigned)columns * 8 + (uint64_t)whole / 2) / (uint64_t)whole);
	n = n ? n : 1;
	if (!t->utf8) {
		int marks = (int)(n + 4) / 8;
		for (int i = 0; i < marks; i++)
			fputc('#', f);
		if (!marks)
			fputc('.', f);
		return marks ? marks : 1;
	}
	for (unsigned i = 0; i < n / 8; i++)
		fputs("\xe2\x96\x88", f);
	fputs(eighths[n % 8], f);
	return (int)(n / 8 + (n % 8 > 0));
}

/* ---- for programs */

void csv_write_text(FILE *f, const char *text, bool from_outside)
{
	bool guard = from_outside && *text && strchr("=+-@'", *text);
	bool quoted = guard || strpbrk(text, ",\"") || *text == ' ' || (*text && text[strlen(text) - 1] == ' ');

	if (quoted)
		fputc('"', f);
	if (guard)
		fputc('\'', f);
	while (*text) {
		const char *begin = text;
		uint32_t c = utf8_next(&text);
		if (c == '"')
			fputs("\"\"", f);
		else if (text_is_control(c) || (c == 0xfffd && text - begin == 1))
			fputc('_', f);
		else
			fwrite(begin, 1, (size_t)(text - begin), f);
	}
	if (quoted)
		fputc('"', f);
}

static int output_errno;

bool output_failed(void)
{
	if (ferror(stdout) && !output_errno)
		output_errno = errno;
	return ferror(stdout) != 0;
}

int finish_output(void)
{
	if (!output_failed() && fflush(stdout) == 0)
		return EX_OK;
	if (!output_errno)
		output_errno = errno;
	fprintf(stderr, "spoa-llm: standard output: %s; the output is incomplete\n",
		output_errno ? strerror(output_errno) : "cannot be written");
	return EX_IOERR;
}
