/* SPDX-License-Identifier: MIT
 *
 * For LD_PRELOAD: each call of cJSON_InitHooks(), which sets global variables of cJSON, adds a line with the id of the
 * process to the file $CJSON_HOOKS, and does what cJSON_InitHooks() does. */
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void cJSON_InitHooks(cJSON_Hooks *hooks)
{
	void (*real)(cJSON_Hooks *);
	const char *path = getenv("CJSON_HOOKS");
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0 || dprintf(fd, "%d\n", (int)getpid()) < 0)
		abort();
	close(fd);
	*(void **)&real = dlsym(RTLD_NEXT, "cJSON_InitHooks");
	real(hooks);
}
