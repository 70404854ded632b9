/* SPDX-License-Identifier: MIT
 *
 * The process that takes over from this one: the file of the same path, with the same arguments. It opens its doors at
 * the same paths by itself, and then says so. No descriptor is handed over. */
#ifndef TAP_SUCCESSOR_H
#define TAP_SUCCESSOR_H

#include <ev.h>
#include <limits.h>
#include <stdint.h>

#include "base/err.h"
#include "base/must_check.h"

typedef struct successor {
	struct ev_loop *loop;
	char path[PATH_MAX]; /* of the binary */
	char **argv;
	void (*ended)(void *ctx, bool ready); /* `ready`: the successor answers; false: it is gone */
	void *ctx;
	int pid; /* 0: there is none */
	int64_t began;
	ev_io said;
	ev_timer patience;
} successor;

/* Prepares; `argv` has to outlive `s`. False: `e` says why the path of the binary is not known. */
MUST_CHECK bool successor_init(successor *s, struct ev_loop *loop, char **argv, err *e);
/* Starts one, unless there is one. `ended` is called when it is ready or gone. False: `e` says what failed. */
MUST_CHECK bool successor_start(successor *s, err *e);
/* True if successor_start() of another process started this one, and that one still waits. */
bool successor_is_one(void);
/* Tells the process that started this one, if that was successor_start(), that this one is ready. */
void successor_say_ready(void);

#endif
