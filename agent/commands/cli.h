/* SPDX-License-Identifier: MIT
 *
 * The commands other than `run`. Each says on standard error what goes wrong, and returns the exit code of the process.
 */
#ifndef COMMANDS_CLI_H
#define COMMANDS_CLI_H

#include "config/config.h"
#include "ledger/filter.h"
#include "report/explain.h"
#include "report/haproxy_files.h"

enum { CHECK_ENV_MAX = 8, FLAG_LIST_MAX = 64 };

/* The values of a flag that may be given several times. */
typedef struct flag_list {
	const char *items[FLAG_LIST_MAX];
	size_t count;
} flag_list;

/* What `explain` is asked. */
typedef struct explain_flags {
	explain_request request; /* its body is read from `body` */
	const char *body;        /* a file, or "-" for standard input; NULL: none */
	const char *key;         /* "-": standard input has the key of a client; NULL: none */
	bool json;
} explain_flags;

/* What `check` is asked. */
typedef struct check_flags {
	const char *user; /* whose rights count; NULL: those of the caller */
	/* Files of variables; none: with `user`, those of the unit. */
	const char *env[CHECK_ENV_MAX];
	size_t env_count;
	bool json;
	/* The files of HAProxy to look at; none: those of the usual places. */
	const char *haproxy[HAPROXY_FILES_MAX];
	size_t haproxy_count;
} check_flags;

/* What `tap` is asked. A text that was not given is NULL. */
typedef struct tap_flags {
	const char *legs, *report, *streams, *memory, *control;
	bool drain;
	const char *file; /* a configuration file, which a tap does not read */
	char **argv;      /* of this process */
} tap_flags;

/* What the commands about the ledger and the fleet are asked. A text that was not given is NULL. */
typedef struct ledger_request {
	const char *since, *until; /* see period_parse() */
	const char *by;            /* see savings_prepare() */
	const char *before;        /* see period_point() */
	const char *days;
	const char *output; /* a file, or "-" for standard output */
	const char *file;   /* to import, or "-" for standard input; to back up to, to restore from */
	const char *name;   /* of a gateway or a role of the fleet */
	row_filter only;    /* which requests; its status is read from `status` */
	const char *status; /* see filter_status() */
	bool json, csv, jsonl;
	bool gaps;
	bool replace, dry_run;
	bool fleet; /* of all gateways */
	bool follow, check, compare;
	const char *last; /* how many */
	bool reader, yes;
} ledger_request;

/* What the commands about clients are asked. A text that was not given is NULL. */
typedef struct client_flags {
	const char *name;
	const char *project, *requests, *parallel, *tokens, *budget, *expires, *overlap;
	flag_list models, routes;
	bool allow_unpriced, json;
} client_flags;

/* Reads the configuration by itself; the arguments are those of config_load(). */
int command_check(const char *file, const option_text *flags, size_t count, const check_flags *ask);
/* Takes over the route table of `c`. */
int command_explain(config *c, const explain_flags *ask);
/* `output`: a file, or "-" or NULL for standard output. */
int command_backends(config *c, const char *output);
/* Puts standard input into the credential file `path`, without a configuration. */
int command_credential(const char *path);
/* Asks for the credential of ask->name, a route or a file, and puts it into its file. */
int command_credential_set(const config *c, const ledger_request *ask);
/* Puts standard input into the price file `path`, without a configuration. */
int command_prices(const char *path);
/* Has the options --listen, --log-level and --log-format, and no configuration. */
int command_tap(const option_text *flags, size_t count, const tap_flags *ask);
int command_savings(const config *c, const ledger_request *ask);
int command_requests(const config *c, const ledger_request *ask);
int command_status(const config *c, const ledger_request *request);
int command_upstreams(const config *c, const ledger_request *ask);
int command_ledger_export(const config *c, const ledger_request *ask);
int command_ledger_import(const config *c, const ledger_request *ask);
int command_ledger_verify(const config *c, const ledger_request *ask);
int command_ledger_prune(const config *c, const ledger_request *ask);
int command_ledger_backup(const config *c, const ledger_request *ask);
int command_ledger_restore(const config *c, const ledger_request *ask);
int command_ledger_compact(const config *c, const ledger_request *ask);
int command_ledger_headroom(const config *c, const ledger_request *ask);
int command_ship(const config *c, const ledger_request *ask);
int command_fleet_init(const config *c, const ledger_request *ask);
int command_fleet_add(const config *c, const ledger_request *ask);
int command_fleet_list(const config *c, const ledger_request *ask);
int command_fleet_verify(const config *c, const ledger_request *ask);
int command_fleet_resend(const config *c, const ledger_request *ask);
int command_fleet_retire(const config *c, const ledger_request *ask);
int command_fleet_drop(const config *c, const ledger_request *ask);
int command_client_add(const config *c, const client_flags *ask);
int command_client_list(const config *c, const client_flags *ask);
int command_client_show(const config *c, const client_flags *ask);
int command_client_rotate(const config *c, const client_flags *ask);
int command_client_disable(const config *c, const client_flags *ask);
int command_client_enable(const config *c, const client_flags *ask);
int command_client_remove(const config *c, const client_flags *ask);

#endif
