/* SPDX-License-Identifier: MIT
 *
 * The commands besides `run`. Each returns the process's exit code. */
#ifndef COMMANDS_CLI_H
#define COMMANDS_CLI_H

#include "config/config.h"

enum { EXPLAIN_HEADERS_MAX = 64 };

/* What `explain` is asked about. */
typedef struct explain_request {
	const char *model;                        /* NULL: from the body, path or query */
	const char *method;                       /* NULL: POST where there is a body or a model, else GET */
	const char *path;                         /* with a query string, or without; NULL: /v1/chat/completions */
	const char *headers[EXPLAIN_HEADERS_MAX]; /* "name: value" */
	size_t headers_count;
	const char *body; /* a file, or "-" */
	bool json;
} explain_request;

/* What the commands about the ledger are asked; a text that was not given is NULL. */
typedef struct ledger_request {
	const char *since, *until; /* period.h */
	const char *by;
	const char *before, *days;
	const char *output;
	const char *file; /* to import; or "-" */
	bool json, csv, jsonl;
	bool gaps;
} ledger_request;

int command_explain(config *c, const explain_request *ask);
int command_check(config *c);
int command_backends(config *c);
int command_savings(const config *c, const ledger_request *ask);
int command_ledger_export(const config *c, const ledger_request *ask);
int command_ledger_import(const config *c, const ledger_request *ask);
int command_ledger_verify(const config *c, const ledger_request *ask);
int command_ledger_prune(const config *c, const ledger_request *ask);
int command_ledger_headroom(const config *c, const ledger_request *ask);

#endif
