/* SPDX-License-Identifier: MIT
 *
 * The ledger and all that feeds it, as the running agent sees it: log sockets, prices, reference models. */
#ifndef SERVE_RECORDING_H
#define SERVE_RECORDING_H

#include "config/config.h"
#include "serve/intake.h"

typedef struct recording recording;

/* Opens the log sockets and reads the prices; the ledger itself belongs to another process as yet. `opened` is told of
 * each socket before it is taken over. NULL: `e` says why. */
recording *recording_new(const config *c, const route_table *routes, bool (*opened)(void *ctx, listener *l, err *e),
			 void *ctx, err *e);
/* Takes the ledger. False: `e` says why; may be tried again. */
bool recording_start(recording *r, err *e);
bool recording_started(const recording *r);
/* Before recording_start(): see intake_adopt(). */
void recording_adopt(recording *r, int fd, slice begun);
/* For recording_set(); NULL: `e` says why. */
price_table *recording_prices(const config *c, err *e);
/* Those that are in use, with a reference. From any thread. */
price_table *recording_prices_now(recording *r);
/* From now on. Takes over one reference of `prices`. */
void recording_set(recording *r, price_table *prices, const route_table *routes);
/* Takes in what has arrived and writes it; streams go to `each` as in intake_stop(). The ledger is anybody's
 * afterwards. */
void recording_stop(recording *r, void (*each)(void *ctx, int fd, slice begun), void *ctx);
/* From any thread, until recording_stop(). */
ledger_stats recording_stats(recording *r);

#endif
