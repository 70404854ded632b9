/* SPDX-License-Identifier: MIT
 *
 * What a master leaves to the new version that it execs: an environment variable, and another one, which older versions
 * do not read, for the memory that the workers share. Descriptors keep their numbers. */
#ifndef PROC_STATE_H
#define PROC_STATE_H

#include <limits.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/must_check.h"
#include "proc/sockets.h"

#define STATE_VARIABLE "SPOA_LLM_MASTER"
#define STATE_MEMORY_VARIABLE "SPOA_LLM_MASTER_MEMORY" /* the descriptor of the memory that the workers share */

enum { STATE_VERSION = 1 };

typedef struct master_state {
	pid_t worker;
	int control;       /* its control socket */
	int memory;        /* that the workers share; -1: none */
	unsigned watchdog; /* seconds; 0: none */
	unsigned restarts, log_level, log_format;
	bool again; /* another upgrade was asked for meanwhile */
	sockets held;
	char path[PATH_MAX]; /* of the binary */
} master_state;

/* Writes the state into the environment and makes the descriptors inheritable. False: no memory; undo with
 * state_unsave() too. */
MUST_CHECK bool state_save(const master_state *s);
/* Undoes state_save() after an exec that failed. */
void state_unsave(const master_state *s);

typedef enum state_result { STATE_NONE, STATE_TAKEN, STATE_UNREADABLE } state_result;

/* Reads the state and removes it from the environment; the descriptors are close-on-exec again, and the sockets count
 * as named by worker `serial`. NONE: no master left one. UNREADABLE: `e` says why; s->worker is a child of ours, or 0.
 */
MUST_CHECK state_result state_take(master_state *s, unsigned serial, err *e);

#endif
