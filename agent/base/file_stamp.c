/* SPDX-License-Identifier: MIT */
#include "base/file_stamp.h"

#include <sys/stat.h>

#include "base/clock.h"

file_stamp file_stamp_take(const char *path)
{
	file_stamp s = { .read_ms = clock_wall_ms() };
	struct stat st;

	if (stat(path, &st) != 0)
		return s;
	s.mtime = st.st_mtim;
	s.ctime = st.st_ctim;
	s.ino = st.st_ino;
	s.dev = st.st_dev;
	s.size = st.st_size;
	s.exists = S_ISREG(st.st_mode);
	return s;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool file_stamp_changed(const file_stamp *s, const char *path)
{
	file_stamp now = file_stamp_take(path);

	if (s->failed)
		return true;
	/* A second change within a tick of the file system's clock leaves the metadata as it is. Therefore a file that
	 * was just changed when it was read is read once more. */
	if (s->exists && s->read_ms / 1000 - s->ctime.tv_sec < 2)
		return true;
	return now.exists != s->exists || now.ino != s->ino || now.dev != s->dev || now.size != s->size ||
	       !same_time(now.mtime, s->mtime) || !same_time(now.ctime, s->ctime);
}
