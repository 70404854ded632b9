/* SPDX-License-Identifier: MIT
 *
 * The options: one table says for each its name, type, bounds, default, variable and help. A value comes from, in
 * this order, a flag, a variable, the configuration file, the default. Everything is checked before anything runs. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/err.h"
#include "base/log.h"
#include "decide/policy.h"

#ifndef SPOA_LLM_VERSION
#define SPOA_LLM_VERSION "0.1.0"
#endif
#define CONFIG_FILE "/etc/spoa-llm/spoa-llm.json"
#define ROUTES_VARIABLE "HEADROOM_UPSTREAM_ROUTES"

enum { CONFIG_FILE_MAX = 4 * 1024 * 1024, LISTEN_MAX = 8 };

/* Addresses, owned; see base/address.h. */
typedef struct address_list {
	char *items[LISTEN_MAX];
	size_t count;
} address_list;

typedef enum pipelining_choice { PIPELINING_AUTO, PIPELINING_ON, PIPELINING_OFF } pipelining_choice;

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
	int64_t log_level;         /* a log_level */
	int64_t log_format;        /* a log_format */
	bool strict;
	char *targets[PROTOCOLS]; /* URLs */
	int64_t unresolved;       /* 0: refuse, 1: fallthrough */
	int64_t websocket;        /* 0: refuse, 1: catch-all */
	char *ledger;             /* directory; "": no ledger */
	address_list log_listen;
	char *prices;           /* LiteLLM's price file; "": the table that ships with the project */
	int64_t journal_max;    /* bytes */
	int64_t retention_days; /* 0: for ever */
	char *ca_file;          /* for `spoa-llm backends` */
	route_table *table;     /* routes and targets, ready for policy_new() */
	char *file;             /* the configuration file that was read; NULL: none */
} config;

typedef enum option_type {
	OPTION_BOOL,
	OPTION_INT,
	OPTION_MODE,   /* octal permissions, a string */
	OPTION_CHOICE, /* one of `choices`; the value is its index */
	OPTION_STRING,
	OPTION_LIST, /* strings: an array in the file, several flags, commas in a variable */
	OPTION_ROUTES,
} option_type;

typedef struct option_info {
	const char *key; /* in the file; the flag is the same with dashes */
	option_type type;
	size_t offset;    /* in config */
	int64_t min, max; /* of the number, or of the length of a string */
	const char *choices[5];
	const char *fallback; /* the default, as text */
	const char *variable; /* NULL: SPOA_LLM_ and the key in capitals */
	bool reloadable;
	const char *arg; /* what --help shows for the value; NULL for booleans */
	const char *help;
} option_info;

extern const option_info options[];
extern const size_t options_count;

/* A flag of the command line, or a variable: its option and text. */
typedef struct option_text {
	const option_info *option;
	const char *text;
} option_text;

/* Reads everything. `file` NULL: CONFIG_FILE, if there is one. Warnings go to the log.
 * False: `e` says what, where and what to do; `c` is released. */
bool config_load(config *c, const char *file, const option_text *flags, size_t count, err *e);
void config_deinit(config *c);

/* A reload: `c` gets the reloadable options of `fresh`, and `fresh` the old ones. Where another option has changed a
 * warning says that it takes an upgrade (SIGUSR2) or a restart. */
void config_reload(config *c, config *fresh);

/* The variable of an option, in `out`. */
void option_variable(const option_info *o, char *out, size_t cap);
/* The flag without its dashes, in `out`. */
void option_flag(const option_info *o, char *out, size_t cap);

#endif
