/* SPDX-License-Identifier: MIT
 *
 * libFuzzer: a connection that another process hands over says anything, of its state and of the bytes that were half
 * read. It is refused or goes on; either way nothing of it stays. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "net/conn.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static route_table *table;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	err e;

	(void)argc;
	(void)argv;
	log_setup((log_level)(LOG_ERROR + 1), LOG_KV);
	table = route_table_new();
	for (size_t i = 0; i < PROTOCOLS; i++)
		if (!table || !upstream_parse(&table->targets[i], SLICE("https://target.test"), &e))
			abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	spop_load load = { .conns = 0 };
	spop_shared shared = {
		.limits = { .max_frame = 65536, .max_connections = 1, .max_memory = 1 << 20, .max_in_flight = 3 },
		.threads = 1,
		.stall_seconds = 1.,
		.loads = &load
	};
	static spop_thread w;
	unsigned char taken[4096];
	int s[2];
	err e;

	atomic_fetch_add(&table->refs, 1);
	policy *p = policy_new(table, NULL);
	if (!p || !spop_thread_init(&w, &shared, 0, p, &e) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) != 0)
		abort();
	if (conn_adopt(&w, s[0], slice_of(data, size), &e)) {
		conn_resume(w.conns);
		while (recv(s[1], taken, sizeof taken, 0) > 0)
			;
		ev_run(w.loop, EVRUN_NOWAIT);
	}
	spop_thread_deinit(&w);
	if (atomic_load(&shared.connections) != 0 || atomic_load(&shared.memory) != 0 || close(s[0]) == 0)
		abort();
	close(s[1]);
	return 0;
}
