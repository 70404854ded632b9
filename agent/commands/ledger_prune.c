/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger prune`: removes old rows and keeps their sums. */
#include <inttypes.h>
#include <stdlib.h>
#include <sysexits.h>

#include "base/clock.h"
#include "commands/ledger_command.h"
#include "report/ledger_store.h"
#include "report/period.h"
#include "report/print.h"

int command_ledger_prune(const config *c, const ledger_request *ask)
{
	int64_t now = clock_wall_ms(), before = 0, removed = 0, total = 0;
	store_result result;
	char *end = NULL, text[PRINT_NUMBER], count[PRINT_NUMBER];
	int code, tries = 0;
	err e = { 0 };

	if (ask->before && ask->days) {
		fprintf(stderr, "spoa-llm: give --before or --days, not both\n");
		return EX_USAGE;
	}
	if (ask->before) {
		if (!period_point(ask->before, now, false, &before, &e) || strcmp(ask->before, "all") == 0) {
			fprintf(stderr, "spoa-llm: --before %s\n",
				e.text[0] ? e.text : "all: a day, a time or a span is expected");
			return EX_USAGE;
		}
	} else {
		long days = ask->days ? strtol(ask->days, &end, 10) : (long)c->retention_days;
		if (ask->days && (*ask->days < '0' || *ask->days > '9' || *end || days < 1 || days > 36500)) {
			fprintf(stderr, "spoa-llm: --days \"%s\": a whole number from 1 to 36500 is expected\n",
				ask->days);
			return EX_USAGE;
		}
		if (!days) {
			fprintf(stderr,
				"spoa-llm: retention_days is 0, so rows are kept for ever; give --days or --before to remove some\n");
			return EX_USAGE;
		}
		before = now - days * DAY_MS;
	}
	store *s = ledger_command_open(c, true, false, &code, &e);
	if (!s)
		return code;
	do {
		result = store_prune(s, before, &removed, &e);
		total += removed;
	} while ((result == STORE_OK && removed > 0) || ledger_store_retry(result, &tries));
	store_close(s);
	if (ask->json)
		printf("{\"before\":\"%s\",\"removed\":%" PRId64 "}\n", print_time(text, before), total);
	else
		printf("%s rows older than %s removed; the sums by hour and day stay\n", print_count(count, total),
		       print_time(text, before));
	code = finish_output();
	return result == STORE_OK ? code : ledger_command_failed(result, &e);
}
