/* SPDX-License-Identifier: MIT
 *
 * Writes lines of Prometheus's text format, for the files that together make /metrics. */
#ifndef OPS_METRICS_IMPL_H
#define OPS_METRICS_IMPL_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/text.h"
#include "ops/metrics.h"

static inline void head(FILE *f, const char *name, const char *type, const char *help)
{
	fprintf(f, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static inline void value_u(FILE *f, uint64_t n)
{
	fprintf(f, " %" PRIu64 "\n", n);
}

static inline void value_s(FILE *f, double seconds)
{
	fprintf(f, " %.9g\n", seconds);
}

static inline void value_usd(FILE *f, int64_t nano)
{
	fprintf(f, " %.17g\n", (double)nano / 1e9);
}

/* A metric without labels: its value is a whole number, seconds, or a time. */
static inline void one(FILE *f, const char *name, const char *type, const char *help, uint64_t n)
{
	head(f, name, type, help);
	fputs(name, f);
	value_u(f, n);
}

static inline void one_s(FILE *f, const char *name, const char *type, const char *help, double seconds)
{
	head(f, name, type, help);
	fputs(name, f);
	value_s(f, seconds);
}

static inline void one_time(FILE *f, const char *name, const char *help, int64_t ms)
{
	head(f, name, "gauge", help);
	fprintf(f, "%s %.3f\n", name, (double)ms / 1000);
}

/* Writes the value of a label as UTF-8, with \ " and newlines escaped. */
static inline void text(FILE *f, const char *value)
{
	while (*value) {
		const char *begin = value;
		uint32_t c = utf8_next(&value);
		if (c == '\n')
			fputs("\\n", f);
		else if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (char)c);
		else if (c == 0xfffd && value - begin == 1)
			fputs("\xef\xbf\xbd", f);
		else
			fwrite(begin, 1, (size_t)(value - begin), f);
	}
}

/* Writes name{label="value",...}. After `name`: pairs of const char *, then NULL. */
__attribute__((sentinel)) static inline void labelled(FILE *f, const char *name, ...)
{
	va_list args;
	const char *label;
	bool any = false;

	fputs(name, f);
	va_start(args, name);
	while ((label = va_arg(args, const char *))) {
		fprintf(f, "%c%s=\"", any ? ',' : '{', label);
		text(f, va_arg(args, const char *));
		fputc('"', f);
		any = true;
	}
	va_end(args);
	fputs("}", f);
}

/* Writes the ledger's sums. */
void metrics_write_totals(FILE *f, const totals *t);
/* Writes what clients and projects have spent of their budgets. */
void metrics_write_budgets(FILE *f, const host_budgets *b);

#endif
