/* SPDX-License-Identifier: MIT
 *
 * The variables of HAProxy's environment on which `spoa-llm check` has an opinion: how files set them, and whether
 * their values fit the agent. */
#ifndef REPORT_HAPROXY_SETTINGS_H
#define REPORT_HAPROXY_SETTINGS_H

#include "base/slice.h"
#include "config/config.h"
#include "report/findings.h"

enum { SETTING_MAX = 1024, SERVERS_MAX = 16, SERVER_TEXT = 128 };

/* How a file sets a variable; a later one of these wins. */
typedef enum setting_from {
	SET_NOWHERE,
	SET_PRESET,      /* presetenv: unless HAProxy's environment has it */
	SET_ENVIRONMENT, /* NAME=VALUE in /etc/default/haproxy */
	SET_ALWAYS,      /* setenv */
} setting_from;

/* A variable of HAProxy's environment, as far as a file sets it. */
typedef struct haproxy_setting {
	setting_from from;
	bool unknown;            /* the value depends on another variable */
	char value[SETTING_MAX]; /* cut off behind a word if it is longer; "": the file does not set the variable */
} haproxy_setting;

/* A variable of HAProxy's environment, as far as it is known. */
typedef struct known_setting {
	const char *value; /* NULL: nothing is known */
	const char *where; /* the file, or "this environment" */
	setting_from from;
} known_setting;

/* Addresses of agents and of takers of log lines that a file names itself, as for a second agent. */
typedef struct haproxy_servers {
	char text[SERVERS_MAX][SERVER_TEXT];
	size_t count;
} haproxy_servers;

/* Sets `s` to the value at the beginning of `text`, unless a way that wins has set it. In the environment
 * (SET_ENVIRONMENT) a value ends with the line, and elsewhere with the word. */
void haproxy_setting_read(haproxy_setting *s, setting_from from, slice text);

/* Says whether the agent listens where HAProxy looks for it (`agent`) and, if the agent keeps a ledger and HAProxy
 * sends `records`, where HAProxy sends records (`ring`, `datagrams`). `named`: what HAProxy's files name beside these
 * variables. An address of another host, or by another name, may be the agent's: nothing is said of it. */
void haproxy_addresses_write(findings *to, const config *c, const haproxy_servers *named, known_setting agent,
			     bool records, known_setting ring, known_setting datagrams);

/* Names what no browser sends as an origin, in the list of LLM_CORS_ORIGINS. */
void haproxy_origins_write(findings *to, known_setting list);

#endif
