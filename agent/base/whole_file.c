/* SPDX-License-Identifier: MIT */
#include "base/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static mode_t usual_mode(void)
{
	mode_t mask = umask(0);

	umask(mask);
	return 0666 & ~mask;
}

/* Gives a new file the group of its directory, as far as this user may, because whoever reads it there is in that
 * group. */
static void take_group(int fd, const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	struct stat st;

	int given = directory && stat(directory, &st) == 0 ? fchown(fd, (uid_t)-1, st.st_gid) : -1;
	(void)given;
	free(directory);
}

/* Opens the new file as one that may replace `old` (NULL: there is none). False: errno says why not. */
static bool open_beside(whole_file *w, const struct stat *old)
{
	int fd = mkostemp(w->beside, O_CLOEXEC);

	if (fd < 0) {
		free(w->beside);
		w->beside = NULL;
		return false;
	}
	if (!old)
		take_group(fd, w->path);
	/* Only root can give the new file to another user, the owner of the old one. Others can at least give it to the
	 * old one's group, if they are in it. */
	bool ours = !old || fchown(fd, old->st_uid, old->st_gid) == 0 ||
		    (errno == EPERM && (fchown(fd, (uid_t)-1, old->st_gid) == 0 || errno == EPERM));
	w->f = ours && fchmod(fd, old ? old->st_mode & 0777 : usual_mode()) == 0 ? fdopen(fd, "w") : NULL;
	if (!w->f) {
		int why = errno;
		close(fd);
		errno = why;
	}
	return w->f;
}

/* Returns the errno that says why there can be no file at `path`; 0: there is one, or none yet. */
static int look_at(const char *path, struct stat *st, bool *there)
{
	*there = stat(path, st) == 0;
	if (*there || errno != ENOENT)
		return *there ? 0 : errno;
	return lstat(path, st) == 0 ? ENOLINK : 0;
}

const char *whole_file_hint(int why)
{
	return why == EACCES ? "; this user has to be able to make a file beside it" :
	       why == ENOENT ? "; make its directory first" :
			       "";
}

const char *whole_file_read_hint(int why)
{
	return why == EACCES ?
		       "; only a user who may read the file, and enter its directory, can do this: sudo, or its owner" :
		       "";
}

bool whole_file_begin(whole_file *w, const char *path, err *e)
{
	struct stat old;
	bool there;
	int why = look_at(path, &old, &there);

	*w = (whole_file){ .f = NULL };
	if (why)
		return err_set(e, "%s: %s", path,
			       why == ENOLINK ? "this link leads nowhere: make the file that it names, or remove it" :
						strerror(why));
	if (there && !S_ISREG(old.st_mode))
		return err_set(e, "%s: this is not a file that can be replaced", path);
	w->path = there ? realpath(path, NULL) : strdup(path);
	if (!w->path || asprintf(&w->beside, "%s.XXXXXX", w->path) < 0) {
		w->beside = NULL;
		whole_file_drop(w);
		return err_memory(e);
	}
	if (open_beside(w, there ? &old : NULL))
		return true;
	why = errno;
	whole_file_drop(w);
	return err_set(e, "%s: %s%s", path, strerror(why), whole_file_hint(why));
}

bool whole_file_end(whole_file *w, err *e)
{
	/* If a write failed before, errno is that of the last one. */
	bool ok = !ferror(w->f) && fflush(w->f) == 0 && fsync(fileno(w->f)) == 0 && rename(w->beside, w->path) == 0;

	if (ok) {
		free(w->beside);
		w->beside = NULL;
	} else {
		err_set(e, "%s: %s", w->path, strerror(errno));
	}
	whole_file_drop(w);
	return ok;
}

void whole_file_drop(whole_file *w)
{
	if (w->f)
		fclose(w->f);
	if (w->beside)
		unlink(w->beside);
	free(w->beside);
	free(w->path);
	*w = (whole_file){ .f = NULL };
}
