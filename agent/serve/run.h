/* SPDX-License-Identifier: MIT
 *
 * The worker process of `spoa-llm run`: the main thread owns the signals, the clock and the files; the worker threads
 * own the connections. */
#ifndef SERVE_RUN_H
#define SERVE_RUN_H

#include "config/config.h"
#include "proc/control.h"

/* Returns the process's exit code. `argv` of the reload is `file` and `flags` again. */
int run(config *c, const option_text *flags, size_t count, control *master);

#endif
