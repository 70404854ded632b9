/* SPDX-License-Identifier: MIT */
#include "ops/host.h"

#include <stdlib.h>

void host_snapshot_deinit(host_snapshot *s)
{
	free(s->routes);
	free(s->texts);
	free(s->decisions);
	free(s->refusals);
	free(s->notes);
	free(s->threads);
	free(s->latency);
	free(s->ends);
	*s = (host_snapshot){ .version = NULL };
}
