/* SPDX-License-Identifier: MIT
 *
 * Starts a worker process: fork, descriptors, environment, exec. */
#ifndef PROC_SPAWN_H
#define PROC_SPAWN_H

#include <sys/types.h>

#include "base/err.h"
#include "base/must_check.h"
#include "proc/sockets.h"

typedef struct spawn_request {
	const char *path; /* the binary */
	bool same;        /* run this process's own file, even if another one is at `path` by now */
	char **argv;
	const sockets *held;
	int handover; /* the worker's end of the pair; -1: none */
	int memory;   /* that the workers share; -1: none */
	unsigned restarts;
} spawn_request;

/* Starts a worker that dies with this process. Returns its pid, and in `*sock` our end of its control socket,
 * close-on-exec. -1: `e` says why. */
MUST_CHECK pid_t spawn_worker(const spawn_request *r, int *sock, err *e);

#endif
