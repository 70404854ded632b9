/* SPDX-License-Identifier: MIT
 *
 * The thread that reads HAProxy's log lines and the reports of the tap, and gives them to the ledger. It also reads
 * what shippers say. */
#ifndef SERVE_INTAKE_H
#define SERVE_INTAKE_H

#include "base/must_check.h"
#include "ledger/ledger.h"
#include "net/logsock.h"
#include "serve/shipping.h"
#include "serve/spans.h"
#include "serve/taps.h"

typedef struct intake intake;

/* What shippers are listened to for. */
typedef struct intake_ships {
	bool rows;  /* to PostgreSQL */
	bool spans; /* to a collector */
} intake_ships;

/* Listeners for one kind of messages. */
typedef struct intake_sockets {
	listener items[LOGSOCK_LISTENERS];
	size_t count;
} intake_sockets;

/* Takes over the listeners for log lines, for what taps say, and for what shippers say, on failure too. Reads nothing
 * yet. NULL: out of memory. */
intake *intake_new(const intake_sockets *lines, const intake_sockets *reports, const intake_sockets *fleet,
		   const intake_ships *ships);
/* Takes over a stream of another process, before intake_start(); `begun` is the part of a message that the other
 * process has read. Takes over `fd`, on failure too. */
void intake_adopt(intake *in, int fd, slice begun);
/* Starts the thread. The ledger stays the caller's, and open until intake_stop(). False: `e` says why. */
MUST_CHECK bool intake_start(intake *in, ledger *l, err *e);
/* Tells what is known of the taps; nothing, if there is no listener for them. From any thread. */
host_tap intake_tap(intake *in);
/* The same of the shipper. From any thread. */
host_fleet intake_fleet(intake *in);
host_spans intake_spans(intake *in);
/* Has `to`, which lives until intake_stop(), told what other gateways of the fleet spend. */
void intake_keep(intake *in, spending *to);
/* Takes in what has arrived by now, gives the streams to `each` (NULL: closes them), ends the thread if it was started,
 * and frees `in`. Does nothing for NULL. */
void intake_stop(intake *in, bool (*each)(void *ctx, int fd, slice begun), void *ctx);

#endif
