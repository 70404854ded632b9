/* SPDX-License-Identifier: MIT
 *
 * The socket by which `spoa-llm tap --drain` speaks with a running tap. Only root and the tap's own user are heard. The
 * other side sends a word and a newline, and then reads the number of streams that are left, a line each time, until
 * the tap ends; the last line is 0. */
#ifndef TAP_ORDERS_H
#define TAP_ORDERS_H

#include "tap/door.h"

#define ORDER_DRAIN "drain\n"

enum { ORDERS_LISTENERS = 8 }; /* those who may listen at a time */

typedef struct orders_listener {
	struct orders *owner;
	ev_io io; /* io.fd -1: nobody */
	bool heard;
} orders_listener;

typedef struct orders {
	struct ev_loop *loop;
	door door;
	orders_listener listeners[ORDERS_LISTENERS];
	void (*drain)(void *ctx);
	void *ctx;
} orders;

/* Opens the socket at `address`. False: `e` says why not. */
MUST_CHECK bool orders_open(orders *o, struct ev_loop *loop, const char *address, err *e);
/* Tells those who listen how many streams are left. */
void orders_tell(orders *o, unsigned streams);
/* Closes everything. */
void orders_close(orders *o);

#endif
