/* SPDX-License-Identifier: MIT
 *
 * What the ledger's sums are since it was begun, by model and by route, for the metrics. A label that has been shown is
 * shown as long as the process lives, and one that went under `other` stays there, so that no counter goes down. */
#ifndef OPS_TOTALS_H
#define OPS_TOTALS_H

#include "ledger/store.h"

enum {
	TOTALS_LABELS = 100, /* of models, of routes, that are told apart; what is beyond is `other` */
	TOTALS_FIRST = 80,   /* of these taken by what the ledger holds at the start, most expensive first; the rest is
				for new ones */
};

typedef struct totals_group {
	store_sums rows[TOTALS_LABELS + 1]; /* the last is `other` */
	size_t count;                       /* of the labels; `other` not counted */
	bool has_other;
} totals_group;

typedef struct totals {
	bool known; /* false: nothing was read yet */
	totals_group models, routes;
} totals;

/* Reads the sums of now into `t`. False: `e` says why, and `t` is what it was. */
bool totals_read(totals *t, const char *path, err *e);

#endif
