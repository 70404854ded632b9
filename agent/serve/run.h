/* SPDX-License-Identifier: MIT
 *
 * The worker process of `spoa-llm run`: the main thread has the signals, timers and files; the SPOP threads have the
 * connections. */
#ifndef SERVE_RUN_H
#define SERVE_RUN_H

#include "config/config.h"
#include "proc/control.h"

/* Runs the worker until it is told to end. A reload reads c->file and applies the `count` `flags` again. Returns the
 * exit code of the process. */
int run(config *c, const option_text *flags, size_t count, control *master);

#endif
