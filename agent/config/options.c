/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"

#define AT(member) offsetof(config, member)

/* A table: one option a block, read in columns. */
/* clang-format off */
const option_info options[] = {
	{ .key = "listen", .type = OPTION_LIST, .offset = AT(listen), .min = 1, .max = 255,
	  .fallback = "unix@/run/spoa-llm/spoa.sock", .arg = "ADDRESS",
	  .help = "where HAProxy reaches the agent: unix@/PATH, or HOST:PORT; may be given several times" },
	{ .key = "listen_mode", .type = OPTION_MODE, .offset = AT(listen_mode), .fallback = "0660", .arg = "MODE",
	  .help = "permissions of the unix socket, octal" },
	{ .key = "allow_remote", .type = OPTION_BOOL, .offset = AT(allow_remote), .fallback = "false",
	  .help = "listen on TCP beyond loopback: SPOP carries credentials and has no encryption" },
	{ .key = "max_frame_size", .type = OPTION_INT, .offset = AT(max_frame_size), .min = 256, .max = 64 * 1024 * 1024,
	  .fallback = "1048576", .arg = "BYTES", .help = "largest SPOP frame; the smaller of this and HAProxy's is used" },
	{ .key = "max_connections", .type = OPTION_INT, .offset = AT(max_connections), .min = 1, .max = 1000000,
	  .fallback = "10000", .arg = "N", .help = "SPOP connections at a time; one more is closed at once" },
	{ .key = "max_memory", .type = OPTION_INT, .offset = AT(max_memory), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "268435456", .arg = "BYTES",
	  .help = "what the buffers of all SPOP connections may hold; one that needs more is closed" },
	{ .key = "max_in_flight", .type = OPTION_INT, .offset = AT(max_in_flight), .min = 1, .max = 1000000,
	  .fallback = "512", .arg = "N",
	  .help = "answers that may wait on one SPOP connection; no more is read from it until HAProxy has taken them" },
	{ .key = "threads", .type = OPTION_INT, .offset = AT(threads), .min = 0, .max = 256, .fallback = "0", .arg = "N",
	  .help = "threads that answer HAProxy; 0: one for each core" },
	{ .key = "pipelining", .type = OPTION_CHOICE, .offset = AT(pipelining),
	  .choices = { [PIPELINING_AUTO] = "auto", [PIPELINING_ON] = "on", [PIPELINING_OFF] = "off" }, .fallback = "auto",
	  .arg = "WHAT", .help = "several requests at a time on a SPOP connection: auto (where HAProxy's version gains by it), on or off" },
	{ .key = "drain_timeout", .type = OPTION_INT, .offset = AT(drain_timeout), .min = 0, .max = 86400, .fallback = "30",
	  .arg = "SECONDS", .help = "how long SIGUSR1 leaves HAProxy to go elsewhere before the rest is told to go" },
	{ .key = "watchdog", .type = OPTION_INT, .offset = AT(watchdog), .min = 0, .max = 3600, .fallback = "10", .arg = "SECONDS",
	  .help = "a worker process of which a thread does not turn for so long is replaced; 0: never" },
	{ .key = "admin_listen", .type = OPTION_LIST, .offset = AT(admin_listen), .min = 0, .max = 255,
	  .fallback = "127.0.0.1:9603", .arg = "ADDRESS",
	  .help = "where health, metrics and the dashboard are served: HOST:PORT or unix@/PATH; none: nowhere" },
	{ .key = "admin_token", .type = OPTION_STRING, .offset = AT(admin_token), .max = 1024, .fallback = "", .arg = "SOURCE",
	  .help = "env:NAME or file:PATH of the bearer token that admin_listen asks for; needed beyond loopback" },
	{ .key = "routes", .type = OPTION_ROUTES, .variable = ROUTES_VARIABLE, .reloadable = true, .arg = "JSON",
	  .help = "the route table: an array of routes, first match wins" },
	{ .key = "strict", .type = OPTION_BOOL, .offset = AT(strict), .fallback = "false",
	  .help = "refuse to start on an error in " ROUTES_VARIABLE ", as on one in the file" },
	{ .key = "openai_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_OPENAI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.openai.com", .variable = "OPENAI_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "upstream of routes of protocol openai that name none, and of requests no route matches" },
	{ .key = "anthropic_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_ANTHROPIC]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.anthropic.com", .variable = "ANTHROPIC_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "the same for protocol anthropic" },
	{ .key = "gemini_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_GEMINI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://generativelanguage.googleapis.com", .variable = "GEMINI_TARGET_API_URL", .reloadable = true,
	  .arg = "URL", .help = "upstream of requests with x-goog-api-key that no route matches" },
	{ .key = "unresolved", .type = OPTION_CHOICE, .offset = AT(unresolved),
	  .choices = { [UNRESOLVED_REFUSE] = "refuse", [UNRESOLVED_FALLTHROUGH] = "fallthrough" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "a model beyond the sample: refuse, or fallthrough to where requests without a model go" },
	{ .key = "websocket", .type = OPTION_CHOICE, .offset = AT(websocket),
	  .choices = { [WEBSOCKET_REFUSE] = "refuse", [WEBSOCKET_CATCH_ALL] = "catch-all" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "a WebSocket handshake that names no model: refuse (426), or catch-all" },
	{ .key = "ledger", .type = OPTION_STRING, .offset = AT(ledger), .max = 1024, .fallback = "", .arg = "DIR",
	  .help = "directory of the savings ledger; empty: none is kept" },
	{ .key = "log_listen", .type = OPTION_LIST, .offset = AT(log_listen), .min = 1, .max = 255,
	  .fallback = "127.0.0.1:9602,udp@127.0.0.1:9602", .arg = "ADDRESS",
	  .help = "where HAProxy's log lines come in: HOST:PORT or unix@/PATH (a ring), udp@HOST:PORT or dgram@/PATH" },
	{ .key = "prices", .type = OPTION_STRING, .offset = AT(prices), .max = 1024, .fallback = "", .reloadable = true, .arg = "FILE",
	  .help = "price table in LiteLLM's format; empty: the one that ships with spoa-llm" },
	{ .key = "journal_max", .type = OPTION_INT, .offset = AT(journal_max), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "1073741824", .arg = "BYTES", .help = "disk space of the journal, which holds what the database has not taken yet" },
	{ .key = "retention_days", .type = OPTION_INT, .offset = AT(retention_days), .min = 0, .max = 36500, .fallback = "90",
	  .arg = "DAYS", .help = "how long single requests are kept; sums by hour and day are kept for ever; 0: for ever too" },
	{ .key = "ca_file", .type = OPTION_STRING, .offset = AT(ca_file), .min = 1, .max = 1024, .fallback = "@system-ca",
	  .arg = "PATH", .help = "the CAs that `spoa-llm backends` lets HAProxy trust" },
	{ .key = "log_level", .type = OPTION_CHOICE, .offset = AT(log_level),
	  .choices = { [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error" },
	  .fallback = "info", .reloadable = true, .arg = "LEVEL", .help = "debug, info, warn or error" },
	{ .key = "log_format", .type = OPTION_CHOICE, .offset = AT(log_format), .choices = { "kv", "json" }, .fallback = "kv",
	  .reloadable = true, .arg = "FORMAT", .help = "kv (key=value) or json" },
};
/* clang-format on */

const size_t options_count = sizeof options / sizeof options[0];

void option_variable(const option_info *o, char *out, size_t cap)
{
	snprintf(out, cap, o->variable ? "%s" : "SPOA_LLM_%s", o->variable ? o->variable : o->key);
	for (char *c = out; *c && !o->variable; c++)
		if (*c >= 'a' && *c <= 'z')
			*c = (char)(*c - 'a' + 'A');
}

void option_flag(const option_info *o, char *out, size_t cap)
{
	snprintf(out, cap, "%s", o->key);
	for (char *c = out; *c; c++)
		if (*c == '_')
			*c = '-';
}

const option_info *option_by_key(const char *key)
{
	for (const option_info *o = options; o < options + options_count; o++)
		if (strcmp(o->key, key) == 0)
			return o;
	return NULL;
}
