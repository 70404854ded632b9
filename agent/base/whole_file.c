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

/* Opens the new file as one that may replace `old`. False: errno says why not. */
static bool open_beside(whole_file *w, const struct stat *old)
{
	int fd = mkostemp(w->beside, O_CLOEXEC);

	if (fd < 0) {
		free(w->beside);
		w->beside = NULL;
		return false;
	}
	/* Only root can leave the file to another user who owned it. */
	if ((old && fchown(fd, old->st_uid, old->st_gid) != 0 && errno != EPERM) ||
	    fchmod(fd, old ? old->st_mode & 0777 : usual_mode()) != 0) {
		close(fd);
		return false;
	}
	w->f = fdopen(fd, "w");
	if (!w->f)
		close(fd);
	return w->f;
}

bool whole_file_begin(whole_file *w, const char *path, err *e)
{
	struct stat old;
	bool there = stat(path, &old) == 0;

	*w = (whole_file){ .f = NULL };
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
	int why = errno;
	whole_file_drop(w);
	return err_set(e, "%s: %s", path, strerror(why));
}

bool whole_file_end(whole_file *w, err *e)
{
	errno = 0;
	bool ok = fflush(w->f) == 0 && !ferror(w->f) && fsync(fileno(w->f)) == 0;

	ok = ok && rename(w->beside, w->path) == 0;
	if (!ok)
		err_set(e, "%s: %s", w->path, errno ? strerror(errno) : "it could not be written");
	if (ok) {
		free(w->beside);
		w->beside = NULL;
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
