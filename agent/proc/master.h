/* SPDX-License-Identifier: MIT
 *
 * The master process: holds the listening sockets, starts the worker process, and starts it again when it crashes or
 * hangs. It reads no configuration and opens no file, so that nothing an operator writes can hurt it; what it listens
 * on is what the worker (or systemd) gave it to hold.
 *
 *   SIGHUP, SIGUSR1  passed on to the worker: reload, drain
 *   SIGUSR2          upgrade: the binary at the path that this one was started by takes over, master and worker
 *   SIGTERM, SIGINT  passed on as SIGTERM; the master ends with the worker, and removes the socket files that are its
 * own */
#ifndef PROC_MASTER_H
#define PROC_MASTER_H

enum {
	MASTER_SOCKETS = 32, /* descriptors that are held */
};

/* `argv` is the process's own; the worker gets the same. Returns the exit code: the worker's where it never became
 * ready. Does not return to a process that is the new version: that one begins with main(). */
int master_run(int argc, char **argv);

#endif
