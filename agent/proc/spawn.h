/* SPDX-License-Identifier: MIT
 *
 * Starting a worker process: fork, descriptors, environment, exec. */
#ifndef PROC_SPAWN_H
#define PROC_SPAWN_H

#include <sys/types.h>

#include "base/err.h"
#include "proc/sockets.h"

typedef struct spawn_request {
	const char *path; /* the binary */
	bool same;        /* the very file that this process runs, even where another one is at `path` by now */
	char **argv;
	const sockets *held;
	int handover; /* -1: none */
	unsigned restarts;
} spawn_request;

/* The worker's pid, and our end of its control socket, close-on-exec. -1: `e` says why. The worker dies with this
 * process. */
pid_t spawn_worker(const spawn_request *r, int *sock, err *e);

#endif
