/* SPDX-License-Identifier: MIT
 *
 * What a master leaves to the one that it becomes by exec, in one environment variable; descriptors keep their numbers.
 */
#ifndef PROC_STATE_H
#define PROC_STATE_H

#include <limits.h>
#include <sys/types.h>

#include "base/err.h"
#include "proc/sockets.h"

#define STATE_VARIABLE "SPOA_LLM_MASTER"

enum { STATE_VERSION = 1 };

typedef struct master_state {
	pid_t worker;
	int control;       /* its control socket */
	unsigned watchdog; /* seconds; 0: none */
	unsigned restarts, log_level, log_format;
	bool again;          /* another upgrade was asked for meanwhile */
	sockets held;        /* all named by `serial` */
	char path[PATH_MAX]; /* of the binary */
} master_state;

/* Into the environment, and the descriptors inheritable. */
bool state_save(const master_state *s);
/* What state_save() did, where there was no exec after all. */
void state_unsave(const master_state *s);

typedef enum state_result { STATE_NONE, STATE_TAKEN, STATE_UNREADABLE } state_result;

/* From the environment, and out of it; the descriptors close-on-exec again, the sockets named by worker `serial`.
 * UNREADABLE: `e` says why; s->worker is then a child of ours, or 0. */
state_result state_take(master_state *s, unsigned serial, err *e);

#endif
