/* SPDX-License-Identifier: MIT
 *
 * The files of HAProxy on this host: which version of the contract they keep (CONTRACT in decide/request.h), and what
 * that means for the routes. */
#ifndef REPORT_HAPROXY_FILES_H
#define REPORT_HAPROXY_FILES_H

#include <stdio.h>

#include "decide/policy.h"
#include "report/findings.h"
#include "report/haproxy_names.h"
#include "report/haproxy_settings.h"

enum {
	HAPROXY_FILES_MAX = 16,
	HAPROXY_OWN_FILES = 500, /* that HAProxy has open beside its connections: listeners, agents, health checks */
};

/* What one file says. */
typedef struct haproxy_file {
	bool rules;                       /* it has HAProxy ask the agent: haproxy.cfg or llm.cfg */
	bool question;                    /* it says what HAProxy asks: spoe.conf */
	bool leg_rules;                   /* it sends requests to legs */
	bool leg_question;                /* it says what a leg asks */
	bool declined;                    /* it says what the leg of a pool's member tells */
	uint64_t contract;                /* 0: it says none */
	bool backends;                    /* `spoa-llm backends` made it */
	char hash[BACKENDS_HASH_LEN + 1]; /* of the backends; "": it has none, because an older version made it */
	bool in_global;                   /* while it is read: this is a section `global` */
	uint64_t maxconn, ulimit_n;       /* of `global`; 0: HAProxy chooses */
	uint64_t clients;                 /* the least LLM_MAXCONN that it sets; 0: it sets none */
	bool key_rules;                   /* it has rules about keys of clients, whether or not they are on */
	bool key_question;                /* it says what is asked about such a key */
	haproxy_setting keys;             /* LLM_CLIENTS */
	haproxy_setting ledger;           /* LLM_LEDGER */
	haproxy_setting agent;            /* LLM_AGENT */
	haproxy_setting ring, datagrams;  /* LLM_LOG_RING, LLM_LOG_UDP */
	haproxy_setting origins;          /* LLM_CORS_ORIGINS */
	haproxy_servers servers;          /* addresses of agents, and of takers of log lines, beside these variables */
	bool in_servers;                  /* while it is read: this is the backend llm-agent, or a ring */
	bool ledger_rules;                /* it has rules that depend on it, whether it is on or off */
	bool settings;                    /* it sets a variable whose name begins with LLM_ */
	bool exports;                     /* it does so by `export`, which systemd does not read */
	mistyped names;                   /* variables that it sets */
} haproxy_file;

/* Reads `f` to its end. False: reading failed, and errno says why. */
MUST_CHECK bool haproxy_file_read(haproxy_file *file, FILE *f);

/* Says whether the backends were made for the routes of `p`, which contract each file keeps and, if one of them is
 * older than CONTRACT_SAFE, what becomes of each enabled route of `p` that replaces the credential; and if there are
 * legs, whether HAProxy may have as many connections and files open as they take. Says whether HAProxy's rules about
 * keys of clients are on where the agent has clients, whether HAProxy sends records if, and only if, the agent keeps a
 * ledger, whether the agent listens where HAProxy looks for it, and which origins of web pages are none, as far as the
 * files and this process's environment tell; and names variables there that are probably mistyped. The files are the
 * `count` paths `named`, at most HAPROXY_FILES_MAX; if there are none, those of the places where the documents put
 * them. A named file that cannot be read is a problem, and so is a route that would refuse every request. Returns
 * whether there is a file of the gateway. */
bool haproxy_files_write(findings *to, const config *c, const policy *p, const char *const *named, size_t count);

#endif
