/* SPDX-License-Identifier: MIT */
#include "commands/table.h"

#include "commands/completion.h"
#include "report/print.h"
#include "tap/tap.h"

#define COMMAND(n) (UINT64_C(1) << (n))
#define RUN COMMAND(0)
#define CHECK COMMAND(1)
#define EXPLAIN COMMAND(2)
#define BACKENDS COMMAND(3)
#define SAVINGS COMMAND(4)
#define EXPORT COMMAND(5)
#define IMPORT COMMAND(6)
#define VERIFY COMMAND(7)
#define PRUNE COMMAND(8)
#define HEADROOM COMMAND(9)
#define BACKUP COMMAND(10)
#define RESTORE COMMAND(11)
#define COMPACT COMMAND(12)
#define CREDENTIAL COMMAND(13)
#define UPSTREAMS COMMAND(14)
#define PRICES COMMAND(15)
#define TAP COMMAND(16)
#define CLIENT_ADD COMMAND(17)
#define CLIENT_LIST COMMAND(18)
#define CLIENT_SHOW COMMAND(19)
#define CLIENT_ROTATE COMMAND(20)
#define CLIENT_DISABLE COMMAND(21)
#define CLIENT_ENABLE COMMAND(22)
#define CLIENT_REMOVE COMMAND(23)
#define FLEET_INIT COMMAND(24)
#define FLEET_ADD COMMAND(25)
#define FLEET_LIST COMMAND(26)
#define FLEET_VERIFY COMMAND(27)
#define FLEET_RESEND COMMAND(28)
#define FLEET_RETIRE COMMAND(29)
#define FLEET_DROP COMMAND(30)
#define REQUESTS COMMAND(32)
#define STATUS COMMAND(33)
#define CREDENTIAL_SET COMMAND(34)
#define COMPLETION COMMAND(35)
#define SHIP COMMAND(31)

/* clang-format off */
const command commands[] = {
	{ RUN, "run", NULL, "answer HAProxy until SIGTERM; SIGHUP reloads, SIGUSR2 upgrades, SIGUSR1 drains",
	  "spoa-llm run --ledger /var/lib/spoa-llm\n"
	  "spoa-llm check && systemctl reload spoa-llm   # after a change of the configuration", .backends = NULL },
	{ TAP, "tap", NULL, "relay streams between HAProxy and its legs, and tell the agent what they used, until SIGTERM; SIGUSR2 upgrades",
	  "spoa-llm tap\n"
	  "spoa-llm tap --drain   # before the host goes down", .tap = command_tap },
	{ CHECK, "check", NULL, "say all that is wrong with the configuration, and whether all that it names is there; and whether HAProxy's files are new enough",
	  "sudo spoa-llm check --as spoa-llm\n"
	  "spoa-llm check -c new.json --json   # exit code 78 if there is a problem", .check = command_check },
	{ EXPLAIN, "explain", NULL, "say what would be done with a request, and why",
	  "spoa-llm explain --model glm-4.6\n"
	  "spoa-llm explain --model claude-opus-4 --path /v1/messages\n"
	  "curl -s http://example/body.json | spoa-llm explain --body - --header 'x-api-key: x'", .explain = command_explain },
	{ BACKENDS, "backends", NULL, "write the HAProxy backends for the routes and targets",
	  "spoa-llm check && spoa-llm backends --output /etc/haproxy/llm-backends.cfg && systemctl reload haproxy", .backends = command_backends },
	{ CREDENTIAL, "credential", "FILE", "put standard input into the credential FILE, as a whole, if the agent can use it",
	  "fetch-token | spoa-llm credential /etc/spoa-llm/credentials/vertex", .file = command_credential },
	{ CREDENTIAL_SET, "credential set", "NAME",
	  "ask for a credential without showing it, and put it into the file of the route NAME, or into /etc/spoa-llm/credentials/NAME, so that the agent can read it",
	  "sudo spoa-llm credential set ollama", .ledger = command_credential_set },
	{ PRICES, "prices", "FILE", "put standard input into the price FILE, as a whole, if the agent can use it",
	  "curl -sf https://example/prices.json | spoa-llm prices /etc/spoa-llm/prices.json", .file = command_prices },
	{ CLIENT_ADD, "client add", "NAME", "add the client NAME to the file of clients, and print its key, once",
	  "spoa-llm client add alice --project search --budget 50/month --requests-per-minute 60\n"
	  "spoa-llm client add ci --allow-model 'gpt-5-mini*' --expires 90d", .client = command_client_add },
	{ CLIENT_LIST, "client list", NULL, "print the clients, their limits and budgets, and what each has spent",
	  "spoa-llm client list", .client = command_client_list },
	{ CLIENT_SHOW, "client show", "NAME", "print all about the client NAME; of its keys the SHA-256, because nobody has more",
	  "spoa-llm client show alice", .client = command_client_show },
	{ CLIENT_ROTATE, "client rotate", "NAME", "give the client NAME a new key, and let the old ones expire",
	  "spoa-llm client rotate alice --overlap 24h   # both keys are good for a day\n"
	  "spoa-llm client rotate alice --overlap 0m   # the old key was seen by others", .client = command_client_rotate },
	{ CLIENT_DISABLE, "client disable", "NAME", "refuse the keys of the client NAME",
	  "spoa-llm client disable alice", .client = command_client_disable },
	{ CLIENT_ENABLE, "client enable", "NAME", "accept the keys of the client NAME again",
	  "spoa-llm client enable alice", .client = command_client_enable },
	{ CLIENT_REMOVE, "client remove", "NAME", "take the client NAME out of the file of clients",
	  "spoa-llm client remove alice", .client = command_client_remove },
	{ STATUS, "status", NULL, "say how the agent here is, and what the ledger has of the last hour, today and 30 days",
	  "spoa-llm status\n"
	  "spoa-llm status --check   # one line; exit code 0, 1 (warning) or 2 (critical)", .ledger = command_status },
	{ SAVINGS, "savings", NULL, "print what the requests cost and what they saved",
	  "spoa-llm savings --since 7d --by project\n"
	  "spoa-llm savings --compare   # with the 30 days before, and what this month will cost\n"
	  "spoa-llm savings --since 2026-11-01 --until 2026-11-30 --csv > november.csv", .ledger = command_savings },
	{ REQUESTS, "requests", NULL, "print the last requests, or all that is known of one",
	  "spoa-llm requests --status 5xx --since today\n"
	  "spoa-llm requests --follow --project search\n"
	  "spoa-llm requests --id 0198c2c0-...   # every figure of one request", .ledger = command_requests },
	{ UPSTREAMS, "upstreams", NULL, "print what upstreams answered, how long that took, and what HAProxy refused by itself",
	  "spoa-llm upstreams --since 1h\n"
	  "spoa-llm upstreams --since 7d --by member", .ledger = command_upstreams },
	{ EXPORT, "ledger export", NULL, "print every recorded request, as JSON lines or CSV",
	  "spoa-llm ledger export --since yesterday --csv > yesterday.csv", .ledger = command_ledger_export },
	{ IMPORT, "ledger import", "FILE", "record the requests of a HAProxy log FILE that are missing; also gzip; - reads standard input",
	  "spoa-llm ledger import /var/log/haproxy.log.2.gz\n"
	  "zstdcat haproxy.log.zst | spoa-llm ledger import -", .ledger = command_ledger_import },
	{ VERIFY, "ledger verify", NULL, "check that the file is whole and that sums equal rows; say when there was no request",
	  "spoa-llm ledger verify   # exit code 1 if there is a problem\n"
	  "spoa-llm ledger verify --gaps", .ledger = command_ledger_verify },
	{ PRUNE, "ledger prune", NULL, "remove old requests; their sums stay",
	  "spoa-llm ledger prune --days 30 --dry-run\n"
	  "spoa-llm ledger prune --before 2026-01-01", .ledger = command_ledger_prune },
	{ BACKUP, "ledger backup", "FILE", "copy the whole ledger into FILE; the agent may run",
	  "spoa-llm ledger backup /backup/ledger.db", .ledger = command_ledger_backup },
	{ RESTORE, "ledger restore", "FILE", "put the backup FILE in the ledger's place; no agent may run",
	  "systemctl stop spoa-llm && sudo -u spoa-llm spoa-llm ledger restore /backup/ledger.db && systemctl start spoa-llm", .ledger = command_ledger_restore },
	{ COMPACT, "ledger compact", NULL, "give unused room back to the disk; says first what that takes",
	  "spoa-llm ledger compact --dry-run", .ledger = command_ledger_compact },
	{ HEADROOM, "ledger headroom", NULL, "write proxy_savings.json for Headroom's dashboard",
	  "spoa-llm ledger headroom --output ~/.headroom/proxy_savings.json", .ledger = command_ledger_headroom },
	{ SHIP, "ship", NULL, "send the ledger's requests to the fleet's PostgreSQL, as spans to an OpenTelemetry collector, or both, until SIGTERM",
	  "spoa-llm ship", .ledger = command_ship },
	{ FLEET_INIT, "fleet init", NULL, "make the schema of the fleet in PostgreSQL, or bring it to this version; as its owner",
	  "spoa-llm fleet init --fleet-uri postgresql://owner@db.example/llm", .ledger = command_fleet_init },
	{ FLEET_ADD, "fleet add", "NAME", "make the role of the gateway NAME, which writes, or of a reader; print its password, once",
	  "spoa-llm fleet add gw1 --fleet-uri postgresql://owner@db.example/llm --output gw1.password", .ledger = command_fleet_add },
	{ FLEET_LIST, "fleet list", NULL, "print the gateways of the fleet, how far behind each of them is, and which have other routes or clients than most",
	  "spoa-llm fleet list", .ledger = command_fleet_list },
	{ FLEET_VERIFY, "fleet verify", NULL, "check that PostgreSQL has what this ledger has, and that its sums equal its rows; names the gateway and hour that differ",
	  "spoa-llm fleet verify --since 7d", .ledger = command_fleet_verify },
	{ FLEET_RESEND, "fleet resend", NULL, "send the requests of a period from this ledger to PostgreSQL again, and make the sums of its hours anew",
	  "spoa-llm fleet resend --since 2026-11-01 --until 2026-11-03", .ledger = command_fleet_resend },
	{ FLEET_RETIRE, "fleet retire", "NAME", "free the name and the role of the gateway NAME, whose ledger is gone; its rows stay",
	  "spoa-llm fleet retire gw1", .ledger = command_fleet_retire },
	{ FLEET_DROP, "fleet drop", NULL, "remove the requests before a month from PostgreSQL; their sums stay",
	  "spoa-llm fleet drop --before 2026-01", .ledger = command_fleet_drop },
	{ COMPLETION, "completion", "SHELL", "print completions for bash, zsh or fish; the package installs them",
	  "spoa-llm completion bash > ~/.local/share/bash-completion/completions/spoa-llm", .file = command_completion },
};
/* clang-format on */

const size_t commands_count = sizeof commands / sizeof commands[0];

const command *command_by_name(const char *name)
{
	for (const command *c = commands; c < commands + commands_count; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

bool command_is_of(const command *c, const char *group)
{
	size_t len = strlen(group);

	return strncmp(c->name, group, len) == 0 && c->name[len] == ' ';
}

void command_list(command_id of, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < commands_count && len < cap; i++)
		if (of & commands[i].id)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", commands[i].name);
}

/* ---- flags */

command_line line;

static bool add_to(flag_list *list, const char *text)
{
	if (list->count == FLAG_LIST_MAX)
		return false;
	list->items[list->count++] = text;
	return true;
}

static bool add_model(const char *name)
{
	return add_to(&line.client.models, name);
}

static bool add_route(const char *name)
{
	return add_to(&line.client.routes, name);
}

static bool add_header(const char *text)
{
	if (line.ask.request.headers_count == EXPLAIN_HEADERS_MAX)
		return false;
	line.ask.request.headers[line.ask.request.headers_count++] = text;
	return true;
}

static bool add_haproxy_file(const char *path)
{
	if (line.check.haproxy_count == HAPROXY_FILES_MAX)
		return false;
	line.check.haproxy[line.check.haproxy_count++] = path;
	return true;
}

static bool add_env_file(const char *path)
{
	if (line.check.env_count == CHECK_ENV_MAX)
		return false;
	line.check.env[line.check.env_count++] = path;
	return true;
}

/* clang-format off */
#define PERIOD_FORMS "24h, 7d, 2026-11-01, 2026-11-01T13:00Z (UTC), today or all"
#define READS_PERIOD (SAVINGS | UPSTREAMS | EXPORT | REQUESTS | FLEET_VERIFY | FLEET_RESEND)
#define PICKS (SAVINGS | EXPORT | REQUESTS)
#define CLIENT_ANY (CLIENT_ADD | CLIENT_LIST | CLIENT_SHOW | CLIENT_ROTATE | CLIENT_DISABLE | CLIENT_ENABLE | CLIENT_REMOVE)

const flag_info own_flags[] = {
	{ "legs", "DIR", TAP, "directory of the legs' sockets; default " TAP_LEGS, .text = &line.tap.legs },
	{ "report", "ADDRESS", TAP, "the agent's socket for reports; default " TAP_REPORT, .text = &line.tap.report },
	{ "streams", "N", TAP, "connections of HAProxy at a time, beyond which HAProxy goes without the tap; default 20000",
	  .text = &line.tap.streams },
	{ "memory", "BYTES", TAP, "memory beyond which HAProxy goes without the tap; default 536870912", .text = &line.tap.memory },
	{ "control", "ADDRESS", TAP, "the socket for --drain; default " TAP_CONTROL, .text = &line.tap.control },
	{ "drain", NULL, TAP, "ask the tap that runs to take no new streams and to end with the last one; waits for that",
	  .on = &line.tap.drain },
	{ "haproxy", "FILE", CHECK,
	  "a file of HAProxy to look at instead of those in /etc/haproxy; may be given several times", .add = add_haproxy_file },
	{ "as", "USER", CHECK,
	  "check what this user may read and write, with the variables that the unit has; for root", .text = &line.check.user },
	{ "env-file", "FILE", CHECK,
	  "variables as systemd's EnvironmentFile= has them; may be given several times; default with --as: /etc/spoa-llm/log-key and env",
	  .add = add_env_file },
	{ "model", "NAME", EXPLAIN, "the model, as if the request's body named it", .text = &line.ask.request.model },
	{ "method", "METHOD", EXPLAIN, "method of the request; default POST, or GET without --model and --body",
	  .text = &line.ask.request.method },
	{ "path", "PATH", EXPLAIN, "path and query string of the request; default /v1/chat/completions",
	  .text = &line.ask.request.path },
	{ "header", "'K: V'", EXPLAIN, "a header of the request; may be given several times", .add = add_header },
	{ "key", "-", EXPLAIN, "standard input has the key of the client that asks", .text = &line.ask.key },
	{ "body", "FILE", EXPLAIN, "file with the request's body; - reads standard input", .text = &line.ask.body },
	{ "project", "NAME", CLIENT_ADD, "the project of the client", .text = &line.client.project },
	{ "allow-model", "NAME", CLIENT_ADD, "a model that the client may use, or its beginning and a *; may be given several times; default: all",
	  .add = add_model },
	{ "allow-route", "NAME", CLIENT_ADD, "a route that the client may use; may be given several times; default: all", .add = add_route },
	{ "requests-per-minute", "N", CLIENT_ADD, "most requests a minute", .text = &line.client.requests },
	{ "parallel", "N", CLIENT_ADD, "most requests at a time", .text = &line.client.parallel },
	{ "tokens-per-minute", "N", CLIENT_ADD, "most tokens a minute", .text = &line.client.tokens },
	{ "budget", "USD/PERIOD", CLIENT_ADD, "most dollars a day, week or month (UTC): 12.50/month", .text = &line.client.budget },
	{ "allow-unpriced", NULL, CLIENT_ADD, "with a budget: allow models without a price too", .on = &line.client.allow_unpriced },
	{ "expires", "TIME", CLIENT_ADD | CLIENT_ROTATE, "when the key expires: 90d, 2027-01-01, 2027-01-01T12:00:00Z; default: never",
	  .text = &line.client.expires },
	{ "overlap", "SPAN", CLIENT_ROTATE, "how long the old keys are still good: 30m, 24h, 7d; default: 24h", .text = &line.client.overlap },
	{ "since", "TIME", SAVINGS, "from when: " PERIOD_FORMS "; default: 30d", .text = &line.ledger.since },
	{ "since", "TIME", UPSTREAMS, "from when: " PERIOD_FORMS "; default: 24h", .text = &line.ledger.since },
	{ "since", "TIME", EXPORT | REQUESTS | FLEET_VERIFY, "from when: " PERIOD_FORMS "; default: all", .text = &line.ledger.since },
	{ "since", "TIME", FLEET_RESEND, "from when: " PERIOD_FORMS, .text = &line.ledger.since },
	{ "until", "TIME", READS_PERIOD, "until when, in the same forms; a day is included to its end; default: now",
	  .text = &line.ledger.until },
	{ "fleet", NULL, SAVINGS | EXPORT | REQUESTS, "of all gateways, from the PostgreSQL that fleet_uri names; no ledger and no agent is needed here",
	  .on = &line.ledger.fleet },
	{ "by", "WHAT", SAVINGS, "a line for each model (default), route, project, client, member (of a pool), day, hour, or with --fleet gateway",
	  .text = &line.ledger.by, .values = "model route project client member day hour gateway",
	  .expected = "model, route, project, client, member, day, hour or, with --fleet, gateway" },
	{ "by", "WHAT", UPSTREAMS, "a line for each backend (default) or member of a pool", .text = &line.ledger.by, .values = "backend member",
	  .expected = "backend or member" },
	{ "compare", NULL, SAVINGS, "compare with as long a period just before, and forecast the month's end", .on = &line.ledger.compare },
	{ "check", NULL, STATUS, "print one line, for monitoring; exit code 0: all is well, 1: a check fails or an alert is active, 2: no requests can be answered",
	  .on = &line.ledger.check },
	{ "last", "N", REQUESTS, "how many requests; default 20", .text = &line.ledger.last },
	{ "follow", NULL, REQUESTS, "go on with the requests that end from now on, until Ctrl-C", .on = &line.ledger.follow },
	{ "model", "NAME", PICKS, "only requests for this model; it may be the beginning and a *, and =NAME is the name as it is", .text = &line.ledger.only.model },
	{ "route", "NAME", PICKS, "only requests of this route", .text = &line.ledger.only.route },
	{ "project", "NAME", PICKS, "only requests of this project; '' is none", .text = &line.ledger.only.project },
	{ "client", "NAME", PICKS, "only requests of this client; '' is none", .text = &line.ledger.only.client },
	{ "member", "NAME", PICKS, "only requests that this member of a pool answered; '' is none", .text = &line.ledger.only.member },
	{ "code", "CODE", PICKS, "only requests that were refused for this reason, as no_route; '' are those that were not refused",
	  .text = &line.ledger.only.code },
	{ "status", "STATUS", PICKS, "only with this status: 429, 4xx, or none (no answer)", .text = &line.ledger.status },
	{ "id", "ID", PICKS, "only the request with this x-request-id", .text = &line.ledger.only.id },
	{ "csv", NULL, SAVINGS | UPSTREAMS | EXPORT, "print CSV, for spreadsheets", .on = &line.ledger.csv },
	{ "jsonl", NULL, EXPORT, "print one JSON object a line (default)", .on = &line.ledger.jsonl },
	{ "gaps", NULL, VERIFY, "list all quiet hours, in which no request came", .on = &line.ledger.gaps },
	{ "before", "TIME", PRUNE, "remove what is older than this time: 30d, 2026-11-01, yesterday", .text = &line.ledger.before },
	{ "before", "YYYY-MM", FLEET_DROP, "remove what is older than this month", .text = &line.ledger.before },
	{ "days", "N", PRUNE, "remove what is older than N days; default: retention_days", .text = &line.ledger.days },
	{ "reader", NULL, FLEET_ADD, "the role reads all gateways' requests, and writes nothing", .on = &line.ledger.reader },
	{ "yes", NULL, FLEET_DROP | PRUNE, "do not ask at a terminal", .on = &line.ledger.yes },
	{ "replace", NULL, RESTORE, "move a ledger that is there away, to ledger.db.replaced", .on = &line.ledger.replace },
	{ "replace", NULL, FLEET_ADD, "give a role that is there a new password", .on = &line.ledger.replace },
	{ "dry-run", NULL, PRUNE, "only say how many requests would be removed", .on = &line.ledger.dry_run },
	{ "dry-run", NULL, COMPACT, "only say what it would take", .on = &line.ledger.dry_run },
	{ "output", "FILE", HEADROOM | BACKENDS | FLEET_ADD, "file to write, which is replaced as a whole; default: standard output",
	  .text = &line.ledger.output },
	{ "json", NULL, CLIENT_ANY | CHECK | EXPLAIN | SAVINGS | REQUESTS | UPSTREAMS | IMPORT | VERIFY | PRUNE | FLEET_LIST | FLEET_VERIFY | FLEET_RESEND,
	  "print JSON, for programs", .on = &line.ledger.json },
};
/* clang-format on */

const size_t own_flags_count = sizeof own_flags / sizeof own_flags[0];
