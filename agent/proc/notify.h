/* SPDX-License-Identifier: MIT
 *
 * The service manager's protocol (sd_notify(3)): lines of NAME=VALUE in one datagram to $NOTIFY_SOCKET. Without that
 * variable these functions do nothing. */
#ifndef PROC_NOTIFY_H
#define PROC_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/* Sends what the service manager waits for; if its socket is full, waits up to a second. True: it was sent. */
bool notify_send(const char *lines);
/* Sends what the service manager only shows, or is told again later; drops it if the socket is full. */
void notify_inform(const char *lines);
/* Has the service manager hold `fd` in place of the one that it holds by `name`, so that the next start gets it,
 * whatever ends this process (FileDescriptorStoreMax= of systemd.service(5)). `fd` stays the caller's. */
void notify_store(const char *name, int fd);
/* Tells that a reload begins; READY=1 ends it. */
void notify_reloading(void);
/* The time in milliseconds within which the service manager wants WATCHDOG=1 from this process; 0: it does not. */
int64_t notify_watchdog_ms(void);

#endif
