/* SPDX-License-Identifier: MIT */
#include "config/options.h"

#include <stdio.h>
#include <string.h>

#include "config/config.h"

const int refusal_statuses[4] = { 502, 403, 424, 503 };

#define AT(member) offsetof(config, member)

/* A table: one option a block, read in columns. */
/* clang-format off */
const option_info options[] = {
	{ .key = "listen", .type = OPTION_LIST, .offset = AT(listen), .min = 1, .max = 255,
	  .fallback = "unix@/run/spoa-llm/spoa.sock", .arg = "ADDRESS",
	  .help = "address on which HAProxy reaches the agent: unix@/PATH or HOST:PORT; may be given several times" },
	{ .key = "listen_mode", .type = OPTION_MODE, .offset = AT(listen_mode), .fallback = "0660", .arg = "MODE",
	  .help = "permissions of the unix sockets, octal" },
	{ .key = "allow_remote", .type = OPTION_BOOL, .offset = AT(allow_remote), .fallback = "false",
	  .help = "allow addresses beyond loopback, although SPOP carries credentials and has no encryption" },
	{ .key = "max_frame_size", .type = OPTION_INT, .offset = AT(max_frame_size), .min = 256, .max = 1024 << 20,
	  .fallback = "1073741824", .arg = "BYTES",
	  .help = "largest SPOP frame. The default takes what HAProxy offers (its tune.bufsize), as far as max_memory allows. HAProxy refuses a request whose body needs a larger frame" },
	{ .key = "max_connections", .type = OPTION_INT, .offset = AT(max_connections), .min = 1, .max = 1000000,
	  .fallback = "10000", .arg = "N", .help = "most SPOP connections at a time; a further one is closed at once" },
	{ .key = "max_memory", .type = OPTION_INT, .offset = AT(max_memory), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "268435456", .arg = "BYTES",
	  .help = "most memory for the buffers of all SPOP connections; a connection that needs more is closed" },
	{ .key = "max_in_flight", .type = OPTION_INT, .offset = AT(max_in_flight), .min = 1, .max = 1000000,
	  .fallback = "512", .arg = "N",
	  .help = "most answers that wait on one SPOP connection; the agent reads no more from it until HAProxy has taken them" },
	{ .key = "threads", .type = OPTION_INT, .offset = AT(threads), .min = 0, .max = 256, .fallback = "0", .arg = "N",
	  .help = "SPOP threads, which answer HAProxy; 0: one for each core" },
	{ .key = "pipelining", .type = OPTION_CHOICE, .offset = AT(pipelining),
	  .choices = { [PIPELINING_AUTO] = "auto", [PIPELINING_ON] = "on", [PIPELINING_OFF] = "off" }, .fallback = "auto",
	  .arg = "WHAT",
	  .help = "whether HAProxy sends several requests at a time on a SPOP connection: auto (if its version gains by it), on or off" },
	{ .key = "drain_timeout", .type = OPTION_INT, .offset = AT(drain_timeout), .min = 0, .max = 86400, .fallback = "30",
	  .arg = "SECONDS",
	  .help = "how long after SIGUSR1 HAProxy has to go to another agent; then the agent ends the connections that are left" },
	{ .key = "watchdog", .type = OPTION_INT, .offset = AT(watchdog), .min = 0, .max = 3600, .fallback = "10", .arg = "SECONDS",
	  .help = "after how long a worker process with a thread that hangs is replaced; 0: never" },
	{ .key = "admin_listen", .type = OPTION_LIST, .offset = AT(admin_listen), .min = 0, .max = 255,
	  .fallback = "127.0.0.1:9603", .arg = "ADDRESS",
	  .help = "address that serves health, metrics and the dashboard: HOST:PORT or unix@/PATH; none: there is no such address" },
	{ .key = "admin_token", .type = OPTION_STRING, .offset = AT(admin_token), .max = 1024, .fallback = "", .arg = "SOURCE",
	  .help = "env:NAME or file:PATH of the bearer token that requests to admin_listen must carry; beyond loopback this or viewer_token is needed" },
	{ .key = "viewer_token", .type = OPTION_STRING, .offset = AT(viewer_token), .max = 1024, .fallback = "", .arg = "SOURCE",
	  .help = "env:NAME or file:PATH of a bearer token for those who may only read: admin_listen answers them everything but explain and reload, which need admin_token; without an admin_token nobody gets these two there" },
	{ .key = "routes", .type = OPTION_ROUTES, .variable = ROUTES_VARIABLE, .reloadable = true, .arg = "JSON",
	  .help = "the route table: an array of routes, first match wins" },
	{ .key = "strict", .type = OPTION_BOOL, .offset = AT(strict), .fallback = "false",
	  .help = "refuse to start on an error in " ROUTES_VARIABLE ", as on an error in the file" },
	{ .key = "openai_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_OPENAI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.openai.com", .variable = "OPENAI_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "upstream of routes with protocol openai that name no upstream, and of all other requests that no route takes" },
	{ .key = "anthropic_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_ANTHROPIC]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://api.anthropic.com", .variable = "ANTHROPIC_TARGET_API_URL", .reloadable = true, .arg = "URL",
	  .help = "upstream of routes with protocol anthropic that name no upstream, and of requests in Anthropic's protocol that no route takes" },
	{ .key = "gemini_target", .type = OPTION_STRING, .offset = AT(targets[PROTOCOL_GEMINI]), .min = 1, .max = UPSTREAM_URL_MAX,
	  .fallback = "https://generativelanguage.googleapis.com", .variable = "GEMINI_TARGET_API_URL", .reloadable = true,
	  .arg = "URL", .help = "upstream of requests in Gemini's protocol that no route takes" },
	{ .key = "unresolved", .type = OPTION_CHOICE, .offset = AT(unresolved),
	  .choices = { [UNRESOLVED_REFUSE] = "refuse", [UNRESOLVED_FALLTHROUGH] = "fallthrough" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "what becomes of a request whose model is not in the part of the body that HAProxy shows: refuse, or fallthrough (it goes where requests without a model go)" },
	{ .key = "refusal_status", .type = OPTION_CHOICE, .offset = AT(refusal_status),
	  .choices = { "502", "403", "424", "503" }, .fallback = "502", .reloadable = true, .arg = "STATUS",
	  .help = "status of upstream_auth_unavailable, the refusal where a route's credential is missing: 502, 403, 424 or 503. Many clients other than OpenAI's and Anthropic's retry a 5xx for a minute and more; none retries a 403 for long" },
	{ .key = "websocket", .type = OPTION_CHOICE, .offset = AT(websocket),
	  .choices = { [WEBSOCKET_REFUSE] = "refuse", [WEBSOCKET_ALLOW] = "allow", [WEBSOCKET_CATCH_ALL] = "catch-all" },
	  .fallback = "refuse", .reloadable = true, .arg = "WHAT",
	  .help = "which WebSocket handshakes are let through: refuse (only to endpoints that speak nothing else, such as /v1/realtime, if they name a model), allow (also to /v1/responses, if they name a model), or catch-all (as allow; one that names no model goes to the route *)" },
	{ .key = "tap", .type = OPTION_BOOL, .offset = AT(tap), .fallback = "false", .reloadable = true,
	  .help = "let answers that stream, embeddings, pictures and sound go through `spoa-llm tap`, which reads the usage at their end; a route may say otherwise. HAProxy needs new backends then" },
	{ .key = "allow_older_contract", .type = OPTION_BOOL, .offset = AT(allow_older_contract), .fallback = "false", .reloadable = true,
	  .help = "let routes that replace the credential serve requests of a haproxy.cfg and spoe.conf from before contract 1, for the time of an upgrade" },
	{ .key = "require_stream_usage", .type = OPTION_BOOL, .offset = AT(require_stream_usage), .fallback = "false", .reloadable = true,
	  .help = "refuse requests for a stream of OpenAI's chat or completions that do not ask for its usage (stream_options.include_usage), so that the ledger has no estimates of them; a route may say otherwise" },
	{ .key = "clients", .type = OPTION_STRING, .offset = AT(clients), .max = 1024, .fallback = "", .reloadable = true, .arg = "FILE",
	  .help = "file of the clients: their keys, limits and budgets, which `spoa-llm client` changes; read again within two seconds of a change; empty: there are none. HAProxy needs LLM_CLIENTS=on or LLM_CLIENTS=required then, or every request is refused" },
	{ .key = "require_client", .type = OPTION_BOOL, .offset = AT(require_client), .fallback = "false", .reloadable = true,
	  .help = "refuse requests without the key of a client (401 invalid_api_key); needs \"clients\". LLM_CLIENTS=required has HAProxy refuse them before their bodies" },
	{ .key = "ledger", .type = OPTION_STRING, .offset = AT(ledger), .max = 1024, .fallback = "", .arg = "DIR",
	  .help = "directory of the savings ledger; empty: no ledger is kept, and HAProxy needs LLM_LEDGER=off, or it makes records for nobody" },
	{ .key = "log_listen", .type = OPTION_LIST, .offset = AT(log_listen), .min = 1, .max = 255,
	  .fallback = "unix@/run/spoa-llm/log.sock,dgram@/run/spoa-llm/log.dgram", .arg = "ADDRESS",
	  .help = "address that receives HAProxy's log lines: unix@/PATH or HOST:PORT (a ring), dgram@/PATH or udp@HOST:PORT; TCP and UDP let other local users in" },
	{ .key = "tap_listen", .type = OPTION_LIST, .offset = AT(tap_listen), .min = 0, .max = 255,
	  .fallback = "dgram@/run/spoa-llm/tap.dgram", .arg = "ADDRESS",
	  .help = "address that receives the reports of `spoa-llm tap`, which only its user may write to: dgram@/PATH; it is opened if any streams go through the tap and a ledger is kept" },
	{ .key = "prices", .type = OPTION_STRING, .offset = AT(prices), .max = 1024, .fallback = "", .reloadable = true, .arg = "FILE",
	  .help = "price table in LiteLLM's format; empty: the table that ships with spoa-llm" },
	{ .key = "journal_max", .type = OPTION_INT, .offset = AT(journal_max), .min = 1 << 20, .max = INT64_C(1) << 40,
	  .fallback = "1073741824", .arg = "BYTES",
	  .help = "most disk space for the journal, which keeps requests until the database has them" },
	{ .key = "retention_days", .type = OPTION_INT, .offset = AT(retention_days), .min = 0, .max = 36500, .fallback = "90",
	  .arg = "DAYS",
	  .help = "how long single requests are kept; 0: for ever. Sums by hour and day are always kept" },
	{ .key = "fleet_uri", .type = OPTION_STRING, .offset = AT(fleet_uri), .max = 1024, .fallback = "", .arg = "URI",
	  .help = "the PostgreSQL that has the history of all gateways: postgresql://USER@HOST/DATABASE, without a password; empty: there is none. Beyond this host TLS verifies the server" },
	{ .key = "fleet_password_file", .type = OPTION_STRING, .offset = AT(fleet_password_file), .max = 1024, .fallback = "", .arg = "FILE",
	  .help = "file with the password for fleet_uri, which nobody but its owner and group may read; empty: the server asks for none, or libpq finds it in ~/.pgpass" },
	{ .key = "fleet_name", .type = OPTION_STRING, .offset = AT(fleet_name), .max = 54, .fallback = "", .arg = "NAME",
	  .help = "the name of this gateway in the fleet's reports; empty: the host's name" },
	{ .key = "fleet_backlog", .type = OPTION_INT, .offset = AT(fleet_backlog), .min = 1 << 20, .max = INT64_C(1) << 50,
	  .fallback = "2147483648", .arg = "BYTES",
	  .help = "most disk space for requests that are older than retention_days and that PostgreSQL does not have yet; beyond it the oldest of them are removed" },
	{ .key = "fleet_listen", .type = OPTION_LIST, .offset = AT(fleet_listen), .min = 0, .max = 255,
	  .fallback = "dgram@/var/lib/spoa-llm/fleet.dgram", .arg = "ADDRESS",
	  .help = "address on which `spoa-llm ship` tells the agent what PostgreSQL and the collector have: dgram@/PATH; it is opened if there are a ledger and fleet_uri or otlp_endpoint" },
	{ .key = "ship_listen", .type = OPTION_STRING, .offset = AT(ship_listen), .max = 255,
	  .fallback = "unix@/run/spoa-llm-ship/fleet.sock", .arg = "ADDRESS",
	  .help = "address on which `spoa-llm ship` tells the agent, for its page, what all gateways cost and saved: unix@/PATH; empty: the page shows this gateway alone" },
	{ .key = "otlp_endpoint", .type = OPTION_STRING, .offset = AT(otlp_endpoint), .max = 1024, .fallback = "", .arg = "URL",
	  .help = "the OpenTelemetry collector to which `spoa-llm ship` sends each request as a span, by OTLP over HTTP: https://HOST:4318. /v1/traces is appended. Empty: there is none" },
	{ .key = "otlp_headers_file", .type = OPTION_STRING, .offset = AT(otlp_headers_file), .max = 1024, .fallback = "", .arg = "FILE",
	  .help = "file with headers for otlp_endpoint, such as a key, as lines \"Name: value\", which nobody but its owner and group may read; empty: none" },
	{ .key = "otlp_ca_file", .type = OPTION_STRING, .offset = AT(otlp_ca_file), .max = 1024, .fallback = "", .arg = "FILE",
	  .help = "file with the certificate authorities of otlp_endpoint; empty: those of the system" },
	{ .key = "otlp_state", .type = OPTION_STRING, .offset = AT(otlp_state), .min = 1, .max = 1024, .fallback = "/var/lib/spoa-llm-ship", .arg = "DIR",
	  .help = "directory in which `spoa-llm ship` notes how far the collector has the requests" },
	{ .key = "otlp_sampled_only", .type = OPTION_BOOL, .offset = AT(otlp_sampled_only), .fallback = "false",
	  .help = "send no span of a request whose traceparent says that the client does not record its trace" },
	{ .key = "ca_file", .type = OPTION_STRING, .offset = AT(ca_file), .min = 1, .max = 1024, .fallback = "@system-ca", .reloadable = true,
	  .arg = "PATH", .help = "file with the certificate authorities that HAProxy trusts, for `spoa-llm backends`" },
	{ .key = "upstream_addresses", .type = OPTION_INT, .offset = AT(upstream_addresses), .min = 1, .max = 64, .fallback = "4", .reloadable = true,
	  .arg = "N", .help = "most IPv4 and most IPv6 addresses of an upstream's name that HAProxy uses, for `spoa-llm backends`" },
	{ .key = "name_servers", .type = OPTION_LIST, .offset = AT(name_servers), .min = 0, .max = 255,
	  .fallback = RESOLV_CONF, .reloadable = true, .arg = "ADDRESS",
	  .help = "DNS server that HAProxy asks, for `spoa-llm backends`: IP or IP:PORT; " RESOLV_CONF ": those of this file on HAProxy's host; none: HAProxy looks names up when it starts, and never again" },
	{ .key = "log_level", .type = OPTION_CHOICE, .offset = AT(log_level),
	  .choices = { [LOG_DEBUG] = "debug", [LOG_INFO] = "info", [LOG_WARN] = "warn", [LOG_ERROR] = "error" },
	  .fallback = "info", .reloadable = true, .arg = "LEVEL",
	  .help = "least severity that is logged: debug, info, warn or error" },
	{ .key = "log_format", .type = OPTION_CHOICE, .offset = AT(log_format), .choices = { "kv", "json" }, .fallback = "kv",
	  .reloadable = true, .arg = "FORMAT", .help = "format of log lines: kv (key=value) or json" },
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
