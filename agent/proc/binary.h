/* SPDX-License-Identifier: MIT
 *
 * Where this program's own file is. */
#ifndef PROC_BINARY_H
#define PROC_BINARY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must_check.h"

/* Finds the path of this binary; an upgrade starts the file that is there by then. False: the path is not known. */
MUST_CHECK bool binary_path(char *out, size_t cap, const char *argv0);

#endif
