/* SPDX-License-Identifier: MIT
 *
 * The master process: holds the listening sockets, starts the worker process, and starts it again when it crashes or
 * hangs. It reads no configuration and opens no file, so that nothing an operator writes can hurt it. It does not open
 * the sockets either: the worker or systemd gives them to it to hold.
 *
 *   SIGHUP, SIGUSR1  passed on to the worker: reload, drain
 *   SIGUSR2          upgrade: the binary that is now at this one's path takes over, as master and as worker
 *   SIGTERM, SIGINT  passed on as SIGTERM; the master ends with the worker, and removes its own socket files */
#ifndef PROC_MASTER_H
#define PROC_MASTER_H

enum {
	MASTER_SOCKETS = 32, /* the most sockets that the master can hold */
};

/* Runs the master. `argv` is the process's own; the worker gets the same. Returns the exit code; if no worker ever
 * became ready, the exit code of the worker. After an upgrade the process is the new version, which begins with main().
 */
int master_run(int argc, char **argv);

#endif
