/* SPDX-License-Identifier: MIT
 *
 * The tap's door while no file descriptor is left: it waits a moment instead of turning in circles, and takes in who
 * has waited once there is one. */
#include "tap/door.h"

#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "unit.h"

static unsigned taken;

static void on_take(void *ctx, int fd)
{
	(void)ctx;
	taken++;
	close(fd);
}

static void limit(rlim_t files)
{
	struct rlimit now;

	CHECK(getrlimit(RLIMIT_NOFILE, &now) == 0);
	now.rlim_cur = files;
	CHECK(setrlimit(RLIMIT_NOFILE, &now) == 0);
}

static void without_a_descriptor_it_waits(void)
{
	char dir[] = "/tmp/test_door.XXXXXX", path[100];
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct rlimit before;
	door d;
	err e;

	CHECK(mkdtemp(dir) && getrlimit(RLIMIT_NOFILE, &before) == 0);
	snprintf(path, sizeof path, "%s/door", dir);
	CHECK(door_init(&d, loop, path, 0600, 8, &e));
	d.take = on_take;
	CHECK(door_open(&d, &e));
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(un.sun_path, path, strlen(path) + 1);
	CHECK(connect(client, (struct sockaddr *)&un, sizeof un) == 0);
	int next = dup(client); /* the lowest number that is free */
	close(next);
	limit((rlim_t)next);
	ev_run(loop, EVRUN_NOWAIT);
	CHECK(taken == 0 && !ev_is_active(&d.io) && ev_is_active(&d.pause));
	limit(before.rlim_cur);
	while (ev_is_active(&d.pause))
		ev_run(loop, EVRUN_ONCE);
	ev_run(loop, EVRUN_NOWAIT);
	CHECK(taken == 1 && ev_is_active(&d.io));
	/* A door that shuts meanwhile does not open by itself. */
	int more = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK(connect(more, (struct sockaddr *)&un, sizeof un) == 0);
	next = dup(more);
	limit((rlim_t)next);
	ev_run(loop, EVRUN_NOWAIT);
	CHECK(ev_is_active(&d.pause));
	door_shut(&d);
	CHECK(!ev_is_active(&d.pause) && !ev_is_active(&d.io));
	limit(before.rlim_cur);
	close(client);
	close(more);
	close(next);
	ev_loop_destroy(loop);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	RUN(without_a_descriptor_it_waits);
	return unit_end();
}
