// SPDX-License-Identifier: MIT
//
// This project's side of the scan benchmark, in types that C and C++ share.
#ifndef BENCH_SCAN_OURS_H
#define BENCH_SCAN_OURS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// Returns the length of the model that model_find() finds; 0: none. `window`: bytes of either end that it is given; 0:
// the whole body.
size_t ours_agent(const char *body, size_t len, size_t window);
// Returns the length of the first top-level `model`, and does not read on; 0: none.
size_t ours_first(const char *body, size_t len);

int ours_levels(void);
int ours_force(int level);
const char *ours_name(void);

#ifdef __cplusplus
}
#endif
#endif
