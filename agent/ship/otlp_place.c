/* SPDX-License-Identifier: MIT */
#include "ship/otlp_place.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/whole_file.h"

enum { PATH_ROOM = 4096 };

static void path_in(char path[PATH_ROOM], const char *dir)
{
	snprintf(path, PATH_ROOM, "%s/otlp-position", dir);
}

bool otlp_place_read(otlp_place *p, const char *dir, err *e)
{
	char path[PATH_ROOM];

	memset(p, 0, sizeof *p);
	path_in(path, dir);
	FILE *f = fopen(path, "re");
	if (!f)
		return errno == ENOENT || err_set(e, "otlp_state: %.200s: %s", path, strerror(errno));
	int n = fscanf(f, "1 %36s %16s %" SCNd64 " %" SCNd64, p->uuid, p->epoch, &p->position, &p->time_ms);
	fclose(f);
	if (n == 4 && p->position >= 0 && p->time_ms >= 0)
		return true;
	memset(p, 0, sizeof *p);
	return err_set(e, "otlp_state: %.200s is damaged; without it, spans are sent from an hour ago on", path);
}

bool otlp_place_keep(const otlp_place *p, const char *dir, err *e)
{
	char path[PATH_ROOM];
	whole_file w;
	err why;

	path_in(path, dir);
	bool ok = whole_file_begin(&w, path, &why);
	if (ok) {
		fprintf(w.f, "1 %s %s %" PRId64 " %" PRId64 "\n", p->uuid, p->epoch, p->position, p->time_ms);
		ok = whole_file_end(&w, &why);
	}
	return ok || err_set_kind(e, why.kind, "otlp_state: %.400s; this user has to be able to write there", why.text);
}
