/* SPDX-License-Identifier: MIT */
#include "proc/binary.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/slice.h"

bool binary_path(char *out, size_t cap, const char *argv0)
{
	const slice deleted = SLICE(" (deleted)");
	char cwd[PATH_MAX];
	int n = 0;

	if (argv0 && argv0[0] == '/')
		n = snprintf(out, cap, "%s", argv0);
	else if (argv0 && strchr(argv0, '/') && getcwd(cwd, sizeof cwd))
		n = snprintf(out, cap, "%s/%s", cwd, argv0);
	if (n > 0 && (size_t)n < cap)
		return true;
	ssize_t len = readlink("/proc/self/exe", out, cap - 1);
	if (len <= 0)
		return false;
	out[len] = '\0';
	slice path = slice_cstr(out);
	if (slice_ends(path, deleted))
		out[path.len - deleted.len] = '\0';
	return true;
}
