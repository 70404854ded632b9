/* SPDX-License-Identifier: MIT
 *
 * The alerts of dist/alerts.yml, as far as the agent can tell by itself whether they fire, so that the page and
 * Prometheus speak of the same things. Name, severity, waiting time and advice of each alert are read from that file,
 * which is built in; alerts_rules.c has the conditions.
 *
 * Unlike Prometheus the agent does not know what was before its own start, and waits (`for`) for an alert as a whole,
 * not for each of its labels. Windows move in steps of ALERTS_STEP_MS.
 * Missing here are SpoaLlmDown and SpoaLlmAbsent, which an agent cannot know of itself, and SpoaLlmRecordsBehind, which
 * is about all agents together. */
#ifndef OPS_ALERTS_H
#define OPS_ALERTS_H

#include <stdio.h>

#include "base/must_check.h"
#include "ops/host.h"

typedef struct alerts alerts;

/* What the agent knows at one moment. */
typedef struct alerts_moment {
	int64_t mono_ms, wall_ms;
	const host_snapshot *s;
	const host_check *checks;
	size_t checks_count;
	bool sums_known; /* of the ledger: the next two */
	uint64_t model_requests, unpriced_requests;
	uint64_t open_files, max_files; /* 0: not known */
} alerts_moment;

/* NULL: out of memory. */
MUST_CHECK alerts *alerts_new(void);
void alerts_free(alerts *a);

/* Looks which alerts fire; call it each second. */
void alerts_look(alerts *a, const alerts_moment *now);
/* Writes [{"name","severity","since","what","advice"}] of those that fired at the last look: the severer first. */
void alerts_write(FILE *f, alerts *a);
/* Returns what to do about the failing check `part` of /readyz; "": nothing is known. The text is static. */
const char *alerts_advice(alerts *a, const char *part);

#endif
