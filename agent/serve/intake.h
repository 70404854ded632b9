/* SPDX-License-Identifier: MIT
 *
 * The thread that takes HAProxy's log lines in and hands them to the ledger. */
#ifndef SERVE_INTAKE_H
#define SERVE_INTAKE_H

#include "ledger/ledger.h"
#include "net/listener.h"

typedef struct intake intake;

/* Takes over the listeners, on failure too. Nothing is read yet. NULL: out of memory. */
intake *intake_new(const listener *listeners, size_t count);
/* Before intake_start(): a stream of another process, with what it had read of a message. Takes over `fd`. */
void intake_adopt(intake *in, int fd, slice begun);
/* The ledger stays the caller's, until intake_stop(). */
bool intake_start(intake *in, ledger *l, err *e);
/* Takes in what has arrived by now, gives the streams to `each` (NULL: nobody), and ends. Also where it never started.
 */
void intake_stop(intake *in, void (*each)(void *ctx, int fd, slice begun), void *ctx);

#endif
