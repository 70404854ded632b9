/* SPDX-License-Identifier: MIT
 *
 * The service manager's protocol (sd_notify(3)): lines of NAME=VALUE in one datagram to $NOTIFY_SOCKET. */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* What the service manager waits for: a second at most for one that is busy. true: it was sent. Without a service
 * manager, or where it does not listen, nothing happens. */
bool notify_send(const char *lines);
/* What it only shows, or will be told again: not sent to one that is busy. */
void notify_inform(const char *lines);
/* Begins a reload; READY=1 ends it. */
void notify_reloading(void);
/* The time within which the service manager wants WATCHDOG=1 from this process, in milliseconds; 0: it does not. */
int64_t notify_watchdog_ms(void);

#endif
