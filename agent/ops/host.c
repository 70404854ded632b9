/* SPDX-License-Identifier: MIT */
#include "ops/host.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>

const char *const tap_number_names[TAP_NUMBERS] = {
	[TAP_STREAMS_TOTAL] = "streams_total",
	[TAP_BYTES] = "bytes",
	[TAP_REPORTS] = "reports",
	[TAP_REPORTS_LOST] = "reports_lost",
	[TAP_CUT_CLIENT] = "cut_client",
	[TAP_CUT_UPSTREAM] = "cut_upstream",
	[TAP_UNREADABLE] = "unreadable",
	[TAP_FULL] = "full",
	[TAP_STREAMS] = "streams",
	[TAP_MEMORY] = "memory",
};

const char *host_fleet_state(const host_fleet *f)
{
	return f->silent ? "silent" : f->ever ? f->state : "";
}

void host_open_files(uint64_t *open, uint64_t *most)
{
	DIR *dir = opendir("/proc/self/fd");
	struct rlimit files;
	uint64_t n = 0;

	while (dir && readdir(dir))
		n++;
	if (dir)
		closedir(dir);
	/* without . and .. and the directory's own descriptor */
	*open = n > 3 ? n - 3 : 0;
	*most = getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : 0;
}

void host_snapshot_deinit(host_snapshot *s)
{
	free(s->routes);
	free(s->members);
	free(s->texts);
	free(s->decisions);
	free(s->refusals);
	free(s->notes);
	free(s->threads);
	free(s->latency);
	free(s->ends);
	free(s->budgets);
	*s = (host_snapshot){ .version = NULL };
}
