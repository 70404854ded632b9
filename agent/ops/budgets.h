/* SPDX-License-Identifier: MIT
 *
 * What clients and projects spent of their budgets, as /stats and /metrics show it. Money is in nano-dollars. */
#ifndef OPS_BUDGETS_H
#define OPS_BUDGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "ledger/record.h"

enum {
	BUDGETS_SHOWN = 100, /* accounts with figures of their own; the others are only counted */
	BUDGETS_ERRORS = 4,  /* for which an account refuses a request */
};

typedef enum budget_owner { OWNER_CLIENT, OWNER_PROJECT, OWNERS } budget_owner;

/* A client or project with a budget, or with a limit of tokens a minute. */
typedef struct host_account {
	budget_owner owner;
	bool enabled; /* false: a client whose keys are refused */
	char name[RECORD_LABEL_MAX + 1];
	char project[RECORD_LABEL_MAX + 1]; /* of a client; "": it has none */
	const char *per;                    /* day, week, month: over which `spent` is summed, without a budget too */
	int64_t first_ms, next_ms;          /* Unix times at which this period began and the next one begins */
	int64_t budget;                     /* of a period; -1: none */
	int64_t spent, charged, reserved;
	int64_t elsewhere; /* spent on other gateways of the fleet */
	int64_t withheld;  /* left to them, because what they spend is not known */
	int64_t forecast;  /* spent, here and elsewhere, and charged by the end of the period, if all goes on as it did;
			    * -1: too early to say
			    */
	uint64_t tokens_per_minute; /* 0: no limit */
	int64_t refused_ms;         /* Unix time of the last refusal; 0: there was none */
	const char *refused;        /* its error */
	struct {
		const char *error;
		uint64_t count;
	} refusals[BUDGETS_ERRORS]; /* since the account was made */
} host_account;

typedef struct host_budgets {
	uint64_t accounts[OWNERS];                 /* how many there are */
	int64_t reserved[OWNERS], charged[OWNERS]; /* of all of them */
	uint64_t charged_requests;                 /* since the budgets' memory was made */
	host_account shown[BUDGETS_SHOWN];         /* those that have used the largest share of their budgets first */
	size_t shown_count;
} host_budgets;

extern const char *const budget_owner_names[OWNERS]; /* client, project */

/* Returns which share of its budget the account has used: spent, here and elsewhere, and charged. A budget of no
 * dollars is used up when anything was spent. Below 0: it has no budget. */
double budgets_used(const host_account *a);
/* Writes the value of the member "budgets" of /stats. `b` NULL: null. */
void budgets_write(FILE *f, const host_budgets *b);

#endif
