/* SPDX-License-Identifier: MIT
 *
 * The listening sockets that the master holds for the workers that come. */
#ifndef PROC_SOCKETS_H
#define PROC_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proc/master.h"

typedef struct held_socket {
	int fd;
	dev_t dev; /* of the socket itself: two descriptors of one socket have the same */
	ino_t ino;
	bool ours; /* the file at its path is removed with it, as long as it is still this one: */
	dev_t file_dev;
	ino_t file_ino;
	uint64_t file_made;          /* ns since 1970: the number of an inode is used again */
	unsigned added_by, named_by; /* workers, by serial number */
} held_socket;

typedef struct sockets {
	held_socket items[MASTER_SOCKETS];
	size_t count;
} sockets;

/* What the service manager passed (sd_listen_fds(3)), and out of the environment; its socket files stay the manager's.
 */
void sockets_take_inherited(sockets *s);
/* Takes over `fd`, on failure too. A socket that is held already is only noted as named by this worker. False: no
 * socket, or there is no room. */
bool sockets_keep(sockets *s, int fd, bool ours, unsigned worker);
/* Keeps every descriptor of this process, from 3 on, that can be listened on; closes the others. Their files stay:
 * whose they were is not known any more. */
void sockets_keep_any(sockets *s);
/* Lets go of those that this worker did not name. */
void sockets_drop_unnamed(sockets *s, unsigned worker);
/* Lets go of those that came with this worker. */
void sockets_drop_added(sockets *s, unsigned worker);
void sockets_drop_all(sockets *s);

#endif
