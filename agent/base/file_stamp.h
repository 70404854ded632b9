/* SPDX-License-Identifier: MIT
 *
 * Notices that a file changed. */
#ifndef BASE_FILE_STAMP_H
#define BASE_FILE_STAMP_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* What was known of a file just before it was read. */
typedef struct file_stamp {
	struct timespec mtime, ctime;
	int64_t read_ms; /* by the wall clock */
	uint64_t ino, dev;
	int64_t size;
	bool exists; /* as a file, not as a directory or a socket */
	bool failed; /* set by the caller: reading failed for a reason that may pass without a change of the file */
} file_stamp;

file_stamp file_stamp_take(const char *path);
/* True if the file may have other content than when `s` was taken. */
bool file_stamp_changed(const file_stamp *s, const char *path);

#endif
