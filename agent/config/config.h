/* SPDX-License-Identifier: MIT
 *
 * The configuration: the value of every option, and the route table. A value comes from, in this order, a flag, a
 * variable, the configuration file, the default (read.h). Everything is checked before anything runs (check.h). */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/err.h"
#include "base/log.h"
#include "config/err_list.h"
#include "config/options.h"
#include "decide/policy.h"

#ifndef SPOA_LLM_VERSION
#define SPOA_LLM_VERSION "0.1.0"
#endif
#define CONFIG_FILE "/etc/spoa-llm/spoa-llm.json"

#define RESOLV_CONF "/etc/resolv.conf" /* the file that HAProxy's parse-resolv-conf reads */

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, LISTEN_MAX = 8 };

/* Addresses to listen on (base/address.h). The texts are owned. */
typedef struct address_list {
	char *items[LISTEN_MAX];
	size_t count;
} address_list;

typedef enum pipelining_choice { PIPELINING_AUTO, PIPELINING_ON, PIPELINING_OFF } pipelining_choice;
typedef enum unresolved_choice { UNRESOLVED_REFUSE, UNRESOLVED_FALLTHROUGH } unresolved_choice;
/* What the option refusal_status may be, in the order of its choices. */
extern const int refusal_statuses[4];
typedef enum websocket_choice { WEBSOCKET_REFUSE, WEBSOCKET_ALLOW, WEBSOCKET_CATCH_ALL } websocket_choice;

typedef struct config {
	address_list listen;
	int64_t listen_mode; /* permissions of a unix socket */
	bool allow_remote;
	int64_t max_frame_size; /* bytes */
	int64_t max_connections;
	int64_t max_memory;        /* bytes of all connections' buffers */
	int64_t max_in_flight;     /* answers of one connection that wait to be taken */
	int64_t threads;           /* 0: one for each core */
	int64_t pipelining;        /* a pipelining_choice */
	int64_t drain_timeout;     /* seconds */
	int64_t watchdog;          /* seconds; 0: none */
	address_list admin_listen; /* empty: none */
	char *admin_token;         /* `env:NAME` or `file:PATH`; "": none */
	char *viewer_token;        /* the same */
	int64_t log_level;         /* a log_level */
	int64_t log_format;        /* a log_format */
	bool strict;
	char *targets[PROTOCOLS]; /* URLs */
	int64_t unresolved;       /* an unresolved_choice */
	int64_t refusal_status;   /* an index of refusal_statuses */
	int64_t websocket;        /* a websocket_choice */
	bool allow_older_contract;
	bool tap; /* streams go through the tap, unless their route says otherwise */
	bool require_stream_usage;
	char *ledger; /* directory; "": no ledger */
	address_list log_listen, tap_listen;
	char *clients;             /* the file of clients; "": there are none */
	bool require_client;       /* requests without a client's key are refused */
	char *prices;              /* LiteLLM's price file; "": the table that ships with the project */
	int64_t journal_max;       /* bytes */
	int64_t retention_days;    /* 0: for ever */
	char *fleet_uri;           /* "": there is no fleet */
	char *fleet_password_file; /* "": none */
	char *fleet_name;          /* "": the host's name */
	int64_t fleet_backlog;     /* bytes */
	address_list fleet_listen;
	char *ship_listen;       /* "": the shipper answers nothing */
	char *otlp_endpoint;     /* "": requests are sent to no collector */
	char *otlp_headers_file; /* "": none */
	char *otlp_ca_file;      /* "": the system's authorities */
	char *otlp_state;        /* directory for the position */
	bool otlp_sampled_only;
	char *ca_file; /* this and the next two: for `spoa-llm backends` */
	int64_t upstream_addresses;
	address_list name_servers; /* IP[:PORT] or RESOLV_CONF; empty: none */
	route_table *table;        /* routes and targets, ready for policy_new() */
	char *file;                /* the configuration file that was read; NULL: none */
} config;

/* Prepares cJSON. Call it once, while the process has one thread: cJSON's allocator is a global variable. */
void config_init(void);

/* Reads and checks everything, and sets up the log. `file` NULL: CONFIG_FILE, if there is one. Warnings go to the log.
 * False: `e` says what is wrong first, where, and what to do; `c` is released. */
bool config_load(config *c, const char *file, const option_text *flags, size_t count, err *e);
/* The same, but adds all that is wrong to `all`; `e` says only what cannot be read, or "out of memory". */
bool config_load_all(config *c, const char *file, const option_text *flags, size_t count, err_list *all, err *e);
void config_deinit(config *c);

/* Swaps the reloadable options of `c` and `fresh`, but for the route table. If another option has changed, a warning
 * says that this change takes an upgrade (SIGUSR2) or a restart. */
void config_reload(config *c, config *fresh);

#endif
