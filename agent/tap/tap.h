/* SPDX-License-Identifier: MIT
 *
 * The process `spoa-llm tap`: doors for HAProxy, the relay behind them, reports to the agent, and its life. */
#ifndef TAP_TAP_H
#define TAP_TAP_H

#include <stddef.h>
#include <sys/un.h>

enum {
	TAP_DOORS = 8, /* paths of the tap's socket: in a chroot, HAProxy finds it at another one than outside */
	/* bytes of the directory of the legs: behind it come a slash, a leg's name of up to 44 bytes, and .sock */
	TAP_LEGS_MAX = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1 - (1 + 44 + 5),
	TAP_STREAMS = 20000,
	TAP_MEMORY = 512 * 1024 * 1024,
};

#define TAP_LISTEN "unix@/run/spoa-llm-tap/tap.sock"
#define TAP_LEGS "/run/spoa-llm-legs"
#define TAP_REPORT "dgram@/run/spoa-llm/tap.dgram"
#define TAP_CONTROL "unix@/run/spoa-llm-tap/control.sock"

typedef struct tap_settings {
	const char *listen[TAP_DOORS]; /* unix@PATH each */
	size_t listen_count;
	const char *legs;    /* the directory of the legs' sockets */
	const char *report;  /* dgram@PATH; "": no reports */
	const char *control; /* unix@PATH */
	unsigned streams;    /* connections of HAProxy at a time */
	size_t memory;       /* bytes */
	char **argv;         /* of this process, for its successor; ends with NULL */
} tap_settings;

/* Runs until it is told to end, and returns the exit code. */
int tap_run(const tap_settings *s);

#endif
