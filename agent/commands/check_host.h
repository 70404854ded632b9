/* SPDX-License-Identifier: MIT
 *
 * What the agent needs of its host, as the effective user may use it. */
#ifndef COMMANDS_CHECK_HOST_H
#define COMMANDS_CHECK_HOST_H

#include "config/config.h"
#include "report/findings.h"

/* Looks at the ledger's directory, the admin token, the key of log lines, and the directories of unix sockets.
 * `tapped`: some requests go through the tap, so that the agent listens for its reports. */
void check_host(findings *to, const config *c, bool tapped);

/* Sets the variables of a file as systemd reads it by EnvironmentFile=, but for those that are set already. Returns 0,
 * or the errno that says why the file cannot be read. */
int check_environment(const char *path);

#endif
