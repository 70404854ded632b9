/* SPDX-License-Identifier: MIT
 *
 * What the tap tells the agent: datagrams of JSON to a unix socket, at most REPORT_MAX bytes each. While the agent does
 * not take them they wait here, up to REPORTS_WAITING bytes. */
#ifndef TAP_REPORTS_H
#define TAP_REPORTS_H

#include <ev.h>
#include <sys/un.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/must_check.h"

enum {
	REPORT_MAX = 4096,
	REPORTS_WAITING = 4 * 1024 * 1024,
};

typedef struct reports {
	struct ev_loop *loop;
	struct sockaddr_un to;
	int fd; /* connected to the agent's socket; -1: not */
	ev_io writable;
	ev_timer again; /* connects again */
	buf waiting;    /* reports, each behind its length in four bytes */
	uint64_t sent, lost;
} reports;

/* Prepares to send to `address`, dgram@PATH; "": to nobody. False: `e` says what is wrong with the address. */
MUST_CHECK bool reports_init(reports *r, struct ev_loop *loop, const char *address, err *e);
void reports_deinit(reports *r);
/* Sends `text`, now or when the agent takes it. If too much waits already, counts it as lost. */
void reports_send(reports *r, slice text);
/* Sends `text`, or drops it if the agent does not take it now. */
void reports_inform(reports *r, slice text);
/* True: everything was sent, or nobody is there to take what waits. */
bool reports_done(const reports *r);

#endif
