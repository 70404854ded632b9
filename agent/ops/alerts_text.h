/* SPDX-License-Identifier: MIT
 *
 * What dist/alerts.yml says of an alert. The Makefile puts that file into the program. */
#ifndef OPS_ALERTS_TEXT_H
#define OPS_ALERTS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ADVICE_MAX = 800 };

extern const char alerts_yml[];
extern const size_t alerts_yml_len;

typedef struct alert_text { /* what dist/alerts.yml says of a rule */
	bool page;          /* severity; else ticket */
	int64_t for_ms;
	char advice[ADVICE_MAX];
} alert_text;

/* Finds the rule `name` in dist/alerts.yml. False: it is not there. */
bool alerts_text_read(const char *name, alert_text *out);

#endif
