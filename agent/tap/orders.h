/* SPDX-License-Identifier: MIT
 *
 * The socket by which `spoa-llm tap --drain` speaks with a running tap. Only root and the tap's own user are heard. The
 * other side sends `drain` and a newline, and then reads the number of streams that are left, a line each second, until
 * the tap ends; the last line is 0. Or it sends `state` and a newline, and reads one line, which begins with `d` if the
 * tap drains. */
#ifndef TAP_ORDERS_H
#define TAP_ORDERS_H

#include "tap/door.h"

#define ORDER_DRAIN "drain\n"
#define ORDER_STATE "state\n"

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
	bool draining; /* set by who drains */
} orders;

/* Opens the socket at `address`, also in the place of another tap's if that one drains, or if `replace`. False: `e`
 * says why not. */
MUST_CHECK bool orders_open(orders *o, struct ev_loop *loop, const char *address, bool replace, err *e);
/* Tells those who listen how many streams are left. */
void orders_tell(orders *o, unsigned streams);
/* Closes everything. */
void orders_close(orders *o);

#endif
