/* SPDX-License-Identifier: MIT
 *
 * Up to where a collector has the rows of a ledger: a file of one line. */
#ifndef SHIP_OTLP_PLACE_H
#define SHIP_OTLP_PLACE_H

#include "base/err.h"
#include "base/must_check.h"
#include "ledger/store.h"

typedef struct otlp_place {
	char uuid[sizeof((store_id){ .sequence = 0 }).uuid], epoch[sizeof((store_id){ .sequence = 0 }).epoch];
	int64_t position; /* the sequence of the last row that was sent */
	int64_t time_ms;  /* when the latest request of those ended */
} otlp_place;

/* Reads the file in the directory `dir`. True with an empty uuid: there is no file yet. False: `e` says what is wrong
 * with it. */
MUST_CHECK bool otlp_place_read(otlp_place *p, const char *dir, err *e);
/* Replaces the file, and syncs it. */
MUST_CHECK bool otlp_place_keep(const otlp_place *p, const char *dir, err *e);

#endif
