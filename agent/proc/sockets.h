/* SPDX-License-Identifier: MIT
 *
 * The listening sockets that the master holds for the next worker. */
#ifndef PROC_SOCKETS_H
#define PROC_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "proc/master.h"

typedef struct held_socket {
	int fd;    /* -1: closed by sockets_stop_listening() */
	dev_t dev; /* of the socket itself: two descriptors of one socket have the same numbers */
	ino_t ino;
	/* Closing the socket also removes the file at its path, if that is still the file described here. */
	bool ours;
	char path[sizeof(struct sockaddr_un) + 1]; /* "": the socket has no file */
	dev_t file_dev;
	ino_t file_ino;
	uint64_t file_made;          /* ns since 1970; needed because a file system uses inode numbers again */
	unsigned added_by, named_by; /* serial numbers of workers: the first and the last one that named the socket */
} held_socket;

typedef struct sockets {
	held_socket items[MASTER_SOCKETS];
	size_t count;
} sockets;

bool is_socket(int fd);

/* Keeps the sockets that the service manager passed (sd_listen_fds(3)), and removes its variables from the environment.
 * The service manager removes their socket files itself. Returns the file that it passed too, the memory that
 * notify_store() gave it to hold; -1: there was none. */
int sockets_take_inherited(sockets *s);
/* Takes over `fd`, on failure too. A socket that is held already is only noted as named by `worker`; `fd` is then
 * closed. `ours`: the socket's file is removed with the socket. NULL: `fd` is not a socket, or MASTER_SOCKETS are
 * held. */
held_socket *sockets_keep(sockets *s, int fd, bool ours, unsigned worker);
/* Keeps every descriptor of this process from 3 on that serves an address, and closes the others. Socket files stay,
 * because nobody knows any more who made them. */
void sockets_keep_any(sockets *s);
/* Closes the stream sockets, whose files stay until they are dropped: from now on nobody can connect where the workers
 * have closed theirs too. No worker can be started any more. */
void sockets_stop_listening(sockets *s);
/* Close sockets: those that `worker` did not name, those that `worker` added, all. */
void sockets_drop_unnamed(sockets *s, unsigned worker);
void sockets_drop_added(sockets *s, unsigned worker);
void sockets_drop_all(sockets *s);

#endif
