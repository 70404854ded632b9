/* SPDX-License-Identifier: MIT
 *
 * What the processes `spoa-llm tap` say of themselves, once a second, by datagrams to `tap_listen`. There may be
 * several at a time, because one that was replaced goes on until its last stream has ended. */
#ifndef SERVE_TAPS_H
#define SERVE_TAPS_H

#include <pthread.h>

#include "base/slice.h"
#include "ops/host.h"

enum {
	TAPS_MAX = 16, /* processes that are told apart; another one takes the place of the one silent for longest */
	TAP_SILENT_MS = 5000, /* a process that says nothing for so long is gone, or hangs */
};

typedef struct tap_status {
	uint64_t pid;
	uint64_t numbers[TAP_NUMBERS];
	bool draining;
	int64_t heard_ms; /* monotonic */
} tap_status;

typedef struct taps {
	pthread_mutex_t lock; /* of all below */
	tap_status seen[TAPS_MAX];
	size_t count;
	uint64_t sums[TAP_NOW]; /* of all processes that were ever heard */
	int64_t heard_ms;       /* monotonic time of the last status; 0: none yet */
	int64_t began_ms;
	bool silent; /* logged */
} taps;

void taps_init(taps *t);
void taps_deinit(taps *t);

/* Takes in the status of a tap. False: the datagram is something else. */
bool taps_take(taps *t, slice datagram);
/* Logs when no tap says anything any more, or one does again. Call it each second. */
void taps_look(taps *t);
/* Tells what is known of the taps. From any thread. */
host_tap taps_tell(taps *t);

#endif
