/* SPDX-License-Identifier: MIT
 *
 * What the master's parts share: its workers (children.c), and time, signals and upgrades (master.c). Times are
 * milliseconds of the monotonic clock. */
#ifndef PROC_MASTER_IMPL_H
#define PROC_MASTER_IMPL_H

#include <ev.h>
#include <limits.h>

#include "base/err.h"
#include "proc/master.h"
#include "proc/sockets.h"

typedef enum phase {
	GONE,
	STARTING,
	PREPARED,
	READY,
	HANDING, /* was told to hand its connections over */
	RETIRING /* another one is READY in its place */
} phase;

typedef struct master master;

typedef struct worker {
	master *master;
	phase phase;
	pid_t pid;
	int control;
	ev_io io;
	unsigned serial;
	unsigned watchdog; /* seconds */
	unsigned log_level, log_format;
	int64_t started, deadline; /* 0: none. What it means is the phase's */
	int passed;                /* the last signal that was passed on, which may be its end */
	bool stuck;                /* and killed for it */
	bool killed;               /* SIGKILL is on its way */
	bool dead;                 /* its last words are read */
	bool lost;                 /* its control socket has ended */
	bool drain;                /* the one before it cannot hand over to it */
	bool drains;               /* HANDING, but it lets its connections go by itself */
	const char *problem;       /* of an upgrade, where we ended it ourselves */
} worker;

enum {
	WORKERS = 3,    /* one that retires, one that runs, one that comes */
	UNKILLABLE = 4, /* that did not end by SIGKILL, at most, before no more is started in their place */
};

struct master {
	struct ev_loop *loop;
	char **argv;
	char path[PATH_MAX]; /* what an upgrade starts */
	bool by_path;        /* the worker is of that binary, which need not be this process's */
	bool stay;           /* the last exec of it for this process failed */
	sockets held;
	worker workers[WORKERS];
	worker *current, *next, *old; /* next and old: of an upgrade */
	pid_t unkillable[UNKILLABLE]; /* 0: none */
	int pair;                     /* the old worker's end, until it gets it; -1: none */
	unsigned serial, restarts;
	unsigned log_level, log_format; /* of the environment */
	int64_t backoff, upgrade_began, last_tick;
	int quick; /* restarts at once of workers that had hardly begun */
	bool ever_ready;
	bool told_ready;              /* the service manager, since the last reload began */
	bool hup, again, drain_later; /* SIGHUP, SIGUSR2, SIGUSR1 came when it could not be followed */
	int stopping;                 /* the signal */
	bool draining, ended;
	bool becoming; /* it is about to exec itself */
	int exit_code;
	ev_timer tick, restart, systemd;
	ev_child child;
	ev_signal signals[5];
};

/* ---- children.c */

/* A process that is there already, in the phase `as`. */
worker *child_add(master *m, pid_t pid, int sock, phase as);
/* Of the binary of this process (`same`), or of the one at its path. NULL: `e` says why. */
worker *child_start(master *m, bool same, int handover, err *e);
/* What it has said, and the loop has not come to yet. */
void child_hear(worker *w);
/* One more period of its watchdog. */
void child_arm(worker *w);
void child_use_log(const worker *w);
/* A signal that is its end, where it comes to that. NULL: there is none to tell. */
void child_pass(worker *w, int sig);
/* What follows, follows from its end. */
void child_kill(worker *w);
/* SIGTERM, and SIGKILL after a while. NULL: there is none. */
void child_stop(worker *w);
/* SIGKILL did not end it: for all that follows it has ended. */
void child_give_up(worker *w);
/* One of those has ended after all. */
bool child_was_given_up(master *m, pid_t pid);
/* Kills worker `pid` of the master that this process was before, because its control socket is lost. Waits for its end,
 * because the next worker needs its ledger; gives up where SIGKILL does not end it. Counts as a restart. */
void child_kill_stray(master *m, pid_t pid);
/* By waitpid()'s status. */
void child_ended(worker *w, int status);

/* The first one, or one in the place of one that has crashed. */
void master_start_worker(master *m);
/* The loop is left. */
void master_end(master *m);
void master_end_if_last(master *m);
void master_close_pair(master *m);

/* ---- master.c */

/* Let every connection go, then end. */
void master_drain(master *m);
/* What waits until no upgrade is under way. */
void master_settle(master *m);

#endif
