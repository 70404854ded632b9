/* SPDX-License-Identifier: MIT
 *
 * Whether another user of this machine can put a socket of his own where HAProxy looks for the agent's. */
#ifndef NET_GUARD_H
#define NET_GUARD_H

#include "base/err.h"
#include "base/must_check.h"

/* Checks that no other user can make, replace or remove the file at `path`, whether this process runs or not: its
 * directory, each directory above that, and each symbolic link on the way belong to root or to this process's user, and
 * others cannot write to them. Above the file's own directory others may write where the sticky bit protects what is
 * not theirs (/tmp). False: `e` says which directory is open, to whom, and what to do. */
MUST_CHECK bool guard_path(const char *path, err *e);

#endif
