/* SPDX-License-Identifier: MIT
 *
 * The ledger of the running agent, and what feeds it: sockets for log lines and for the tap's reports, prices,
 * reference models. */
#ifndef SERVE_RECORDING_H
#define SERVE_RECORDING_H

#include "config/config.h"
#include "serve/intake.h"

typedef struct recording recording;

/* Opens the log sockets and reads the prices, but not the ledger, which another process may still have. Calls `opened`
 * for each socket; if that returns false, fails. NULL: `e` says why. */
recording *recording_new(const config *c, const route_table *routes, bool (*opened)(void *ctx, listener *l, err *e),
			 void *ctx, err *e);
/* Opens the ledger and begins to record. False: `e` says why; the caller may try again. Its kind is ERR_BUSY if another
 * process has the ledger. */
MUST_CHECK bool recording_start(recording *r, err *e);
bool recording_started(const recording *r);
/* Has the ledger tell `to`, which lives until recording_stop(), what was spent here, and the shipper what was spent
 * elsewhere. May be called before recording_start(), or while the ledger runs, which then tells from its next record
 * on. */
void recording_keep(recording *r, spending *to);
/* Takes over a log stream of another process, before recording_start(): see intake_adopt(). */
void recording_adopt(recording *r, int fd, slice begun);
/* Reads the prices that the configuration names, for recording_set(). NULL: `e` says why. */
price_table *recording_prices(const config *c, err *e);
/* Returns the prices in use, with a reference of their own. From any thread. */
price_table *recording_prices_now(recording *r);
/* Replaces prices and reference models. Takes over one reference of `prices`. */
void recording_set(recording *r, price_table *prices, const route_table *routes);
/* Has the ledger keep the hashes of the policy's routes and clients, by which the gateways of a fleet are compared.
 * Does nothing where there is no fleet. */
void recording_settings(recording *r, const policy *p);
/* Takes in what has arrived, writes it, closes the ledger, and frees `r`. Streams go to `each` as in intake_stop(). */
void recording_stop(recording *r, bool (*each)(void *ctx, int fd, slice begun), void *ctx);
/* Returns the ledger's statistics; if the ledger is not open, their `problem` says why. From any thread, before
 * recording_stop(). */
ledger_stats recording_stats(recording *r);

/* Copies how requests ended; nothing, if the ledger is not open. From any thread, before recording_stop(). */
void recording_ends(recording *r, ends *out);
/* Returns how many requests HAProxy refused because of `why`; 0, if the ledger is not open. From any thread, before
 * recording_stop(). */
uint64_t recording_refused(recording *r, end_refusal why);
/* Tells what is known of the taps. From any thread, before recording_stop(). */
host_tap recording_tap(recording *r);
/* Tells how far the ledger is shipped. From any thread, before recording_stop(). */
host_fleet recording_fleet(recording *r);
host_spans recording_spans(recording *r);

#endif
