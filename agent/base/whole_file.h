/* SPDX-License-Identifier: MIT
 *
 * A file that is replaced as a whole or not at all: a reader sees the old one or the new one, never a part. */
#ifndef BASE_WHOLE_FILE_H
#define BASE_WHOLE_FILE_H

#include <stdio.h>

#include "base/err.h"
#include "base/must_check.h"

typedef struct whole_file {
	FILE *f;      /* to write to */
	char *path;   /* of the file to replace; behind symbolic links */
	char *beside; /* of the new file, in the same directory */
} whole_file;

/* Returns what to do about `why`, the errno of a file that could not be made; "": that is not known. */
const char *whole_file_hint(int why);
/* The same of a file that could not be read. */
const char *whole_file_read_hint(int why);
/* Makes an empty file beside `path`, with the permissions and, as far as this user may, the owner and group of the file
 * that is there, or else the group of the directory. False: `e` says why it cannot be written; nothing has changed. */
MUST_CHECK bool whole_file_begin(whole_file *w, const char *path, err *e);
/* Puts what was written in the place of the file. False: `e` says why not; nothing has changed. Releases `w` in either
 * case. */
MUST_CHECK bool whole_file_end(whole_file *w, err *e);
/* Throws away what was written. */
void whole_file_drop(whole_file *w);

#endif
