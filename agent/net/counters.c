/* SPDX-License-Identifier: MIT */
#include "net/counters.h"

/* A decision takes about a microsecond; with a large body tens, with a compressed one hundreds. */
const uint64_t latency_bounds_ns[LATENCY_BUCKETS] = {
	500,   750,   1000,   1500,   2000,   3000,    5000,    7500,    10000,
	20000, 50000, 100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000,
};
