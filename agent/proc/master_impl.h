/* SPDX-License-Identifier: MIT
 *
 * Shared by the master's parts: children.c has the workers, master.c has deadlines, signals and upgrades. Times are
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
	HANDING, /* told to hand its connections over */
	RETIRING /* it ends or drains, and another worker takes its place */
} phase;

typedef struct master master;

typedef struct worker {
	master *master;
	phase phase;
	pid_t pid;
	int control;
	int memory; /* that it gave the master, until it is READY; -1: none */
	ev_io io;
	unsigned serial;   /* workers are numbered from 1 on; see held_socket */
	unsigned watchdog; /* seconds */
	unsigned log_level, log_format;
	int64_t started, deadline; /* deadline: 0: none. Its meaning depends on `phase`: see expired() */
	int passed;                /* the last signal that the master passed on; it may end the worker */
	bool stuck;                /* killed because it hung */
	bool killed;               /* SIGKILL was sent */
	bool dead;                 /* the process has ended: its pid may be another's */
	bool lost;                 /* the control socket has ended */
	bool drains;               /* HANDING, but it drains instead of handing over */
	const char *problem;       /* why the master ended this worker's upgrade; NULL: it did not */
} worker;

enum {
	WORKERS = 3,         /* old, current, next */
	KILL_MAX = 5 * 1000, /* milliseconds from SIGKILL to the worker's end */
	UNKILLABLE = 4, /* workers that SIGKILL did not end: with so many, no further one is given up and replaced */
};

struct master {
	struct ev_loop *loop;
	char **argv;
	char path[PATH_MAX]; /* the binary that an upgrade starts */
	bool by_path;        /* the worker runs the file at `path`, which may be newer than this process's own */
	bool stay;           /* the last exec of `path` by this process failed */
	sockets held;
	worker workers[WORKERS];
	worker *current, *next, *old; /* next: being upgraded to; old: upgraded from. NULL: none */
	pid_t unkillable[UNKILLABLE]; /* 0: none */
	int memory;                   /* that the workers share, held for the next one; -1: none */
	int pair;                     /* the old worker's end of the pair, until it is sent; -1: none */
	unsigned serial;              /* of the last worker that was started */
	unsigned restarts;
	unsigned log_level, log_format; /* from the environment */
	int64_t backoff;                /* the last delay before a start */
	int64_t upgrade_began, last_tick;
	int quick; /* see QUICK_MAX */
	bool ever_ready;
	bool told_ready;              /* READY=1 was sent to the service manager, and no reload has begun since */
	bool hup, again, drain_later; /* SIGHUP, SIGUSR2, SIGUSR1 came and has to wait */
	int stopping;                 /* SIGTERM or SIGINT; 0: neither came */
	bool draining, ended;
	bool becoming; /* about to exec the new version */
	int exit_code;
	ev_timer tick, restart, systemd;
	ev_child child;
	ev_signal signals[5];
};

/* ---- children.c */

/* Adds worker process `pid`, which runs, in the phase `as`; `sock` is our end of its control socket. */
worker *child_add(master *m, pid_t pid, int sock, phase as);
/* Starts a worker of this process's own binary (`same`), or of the one at m->path. `handover`: its end of the pair; -1:
 * none. NULL: `e` says why. */
worker *child_start(master *m, bool same, int handover, err *e);
/* Reads the messages that wait in the control socket. */
void child_hear(worker *w);
/* Gives the worker one more period of its watchdog. */
void child_arm(worker *w);
/* Logs from now on as the worker's configuration says. */
void child_use_log(const worker *w);
/* Sends `sig`. If the worker ends by it, that is a clean exit. Does nothing for NULL. */
void child_pass(worker *w, int sig);
/* Sends SIGKILL; child_ended() does the rest. */
void child_kill(worker *w);
/* Sends SIGTERM, and SIGKILL if that does not end the worker in STOP_MAX. Does nothing for NULL. */
void child_stop(worker *w);
/* The worker has ended; `status` is waitpid()'s. */
void child_ended(worker *w, int status);

/* Starts the first worker, or one in place of a crashed one. If that fails: tries again later, or ends the master if no
 * worker was ever ready. */
void master_start_worker(master *m);
/* Leaves the event loop. */
void master_end(master *m);
/* Leaves the event loop if no worker is left. */
void master_end_if_last(master *m);
void master_close_pair(master *m);

/* ---- unkillable.c */

/* SIGKILL did not end the worker: goes on as if it had ended. */
void child_give_up(worker *w);
/* Process `pid` has ended. True: it was a worker that had been given up; nothing more is to be done. */
bool child_was_given_up(master *m, pid_t pid);
/* Kills worker `pid` of the master that this process was before, because its control socket is lost. Waits for its end,
 * because the next worker needs its ledger; gives up where SIGKILL does not end it. Counts as a restart. */
void child_kill_stray(master *m, pid_t pid);

/* ---- master.c */

/* Handles SIGUSR1: the worker lets its connections end, then the master ends. */
void master_drain(master *m);
/* Does what waited for the end of an upgrade: a drain, becoming the new version, the next upgrade. */
void master_settle(master *m);

#endif
