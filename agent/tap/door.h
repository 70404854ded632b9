/* SPDX-License-Identifier: MIT
 *
 * A door: the unix stream socket at which others connect. A process takes a path over by making its socket under a name
 * beside the path and renaming it, so that there is always one that answers. A door shuts without losing anybody: from
 * then on the kernel refuses to connect, and those who had connected are taken in. HAProxy goes elsewhere at once where
 * it is refused, and would wait where it is not. */
#ifndef TAP_DOOR_H
#define TAP_DOOR_H

#include <ev.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/must_check.h"

typedef struct door {
	struct ev_loop *loop;
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	unsigned mode;                   /* permissions of the socket's file */
	unsigned backlog;                /* connections that may wait to be accepted, and one more */
	void (*take)(void *ctx, int fd); /* takes over `fd`, which does not block */
	void *ctx;
	ev_io io;       /* io.fd -1: the door is shut */
	ev_timer pause; /* runs while no descriptor is left, and nobody is accepted */
	dev_t dev;
	ino_t ino;
} door;

typedef enum door_place {
	DOOR_OURS,  /* the path leads to this door */
	DOOR_TAKEN, /* another process answers at the path */
	DOOR_DEAD,  /* nobody answers at the path */
} door_place;

/* Prepares a shut door at `address`, unix@PATH or PATH. False: `e` says what is wrong with the address. */
MUST_CHECK bool door_init(door *d, struct ev_loop *loop, const char *address, unsigned mode, unsigned backlog, err *e);
/* Opens the door: whoever connects to its path from now on comes here, even if another process has the path. False: `e`
 * says why not, and nothing changed. */
MUST_CHECK bool door_open(door *d, err *e);
/* True if another process answers at the path of a door that is shut. */
bool door_is_taken(const door *d);
/* Shuts the door, and has those taken in who have connected. Leaves the file, because another process may just be
 * replacing it. */
void door_shut(door *d);
bool door_is_open(const door *d);
/* Looks where the path of an open door leads. */
door_place door_look(const door *d);

#endif
