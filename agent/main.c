/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "commands/cli.h"
#include "commands/manual.h"
#include "config/config.h"
#include "proc/master.h"
#include "serve/run.h"
#include "tap/tap.h"

enum {
	FLAGS_MAX = 64, /* options given as flags */
	LONGS_MAX = 96, /* rows of getopt's table: every long flag, and one that ends the table */
	/* What getopt_long() returns for a flag. */
	FLAG_HELP = 'h',
	FLAG_VERSION = 'V',
	FLAG_CONFIG = 'c',
	FLAG_OPTION = 1000, /* and the index in options[] */
	FLAG_OWN = 2000,    /* and the index in own_flags[] */
	/* What parsing returns instead of an exit code. */
	GO_ON = -1,
};

/* Bits, so that a flag can name the commands that have it. */
typedef uint64_t command_id;
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
#define SHIP COMMAND(31)

/* One of the functions is given; `run` has none: see run_with_config(). */
typedef struct command {
	command_id id;
	const char *name;
	const char *help;
	int (*backends)(config *c, const char *output);
	int (*check)(const char *file, const option_text *flags, size_t count, const check_flags *ask);
	int (*explain)(config *c, const explain_flags *ask);
	int (*ledger)(const config *c, const ledger_request *ask);
	int (*client)(const config *c, const client_flags *ask);
	int (*file)(const char *path); /* needs no configuration, as the next one */
	int (*tap)(const option_text *flags, size_t count, const tap_flags *ask);
} command;

/* clang-format off */
static const command commands[] = {
	{ RUN, "run", "answer HAProxy until SIGTERM; SIGHUP reloads, SIGUSR2 upgrades, SIGUSR1 drains", .backends = NULL },
	{ TAP, "tap", "relay streams between HAProxy and its legs, and tell the agent what they used, until SIGTERM; SIGUSR2 upgrades", .tap = command_tap },
	{ CHECK, "check", "say all that is wrong with the configuration, and whether all that it names is there; and whether HAProxy's files are new enough", .check = command_check },
	{ EXPLAIN, "explain", "say what would be done with a request, and why", .explain = command_explain },
	{ BACKENDS, "backends", "write the HAProxy backends for the routes and targets", .backends = command_backends },
	{ CREDENTIAL, "credential", "put standard input into the credential FILE, as a whole, if the agent can use it",
	  .file = command_credential },
	{ PRICES, "prices", "put standard input into the price FILE, as a whole, if the agent can use it", .file = command_prices },
	{ CLIENT_ADD, "client add", "add the client NAME to the file of clients, and print its key, once", .client = command_client_add },
	{ CLIENT_LIST, "client list", "print the clients, their limits and budgets, and what each has spent", .client = command_client_list },
	{ CLIENT_SHOW, "client show", "print all about the client NAME; of its keys the SHA-256, because nobody has more",
	  .client = command_client_show },
	{ CLIENT_ROTATE, "client rotate", "give the client NAME a new key, and let the old ones expire", .client = command_client_rotate },
	{ CLIENT_DISABLE, "client disable", "refuse the keys of the client NAME", .client = command_client_disable },
	{ CLIENT_ENABLE, "client enable", "accept the keys of the client NAME again", .client = command_client_enable },
	{ CLIENT_REMOVE, "client remove", "take the client NAME out of the file of clients", .client = command_client_remove },
	{ SAVINGS, "savings", "print what the requests cost and what they saved", .ledger = command_savings },
	{ UPSTREAMS, "upstreams", "print what upstreams answered, how long that took, and what HAProxy refused by itself",
	  .ledger = command_upstreams },
	{ EXPORT, "ledger export", "print every recorded request, as JSON lines or CSV", .ledger = command_ledger_export },
	{ IMPORT, "ledger import", "record the requests of a HAProxy log FILE that are missing; also gzip; - reads standard input",
	  .ledger = command_ledger_import },
	{ VERIFY, "ledger verify", "check that the file is whole and that sums equal rows; say when there was no request",
	  .ledger = command_ledger_verify },
	{ PRUNE, "ledger prune", "remove old requests; their sums stay", .ledger = command_ledger_prune },
	{ BACKUP, "ledger backup", "copy the whole ledger into FILE; the agent may run", .ledger = command_ledger_backup },
	{ RESTORE, "ledger restore", "put the backup FILE in the ledger's place; no agent may run", .ledger = command_ledger_restore },
	{ COMPACT, "ledger compact", "give unused room back to the disk; says first what that takes", .ledger = command_ledger_compact },
	{ SHIP, "ship", "send the ledger's requests to the fleet's PostgreSQL, until SIGTERM", .ledger = command_ship },
	{ FLEET_INIT, "fleet init", "make the schema of the fleet in PostgreSQL, or bring it to this version; as its owner", .ledger = command_fleet_init },
	{ FLEET_ADD, "fleet add", "make the role of the gateway NAME, which writes, or of a reader; print its password, once", .ledger = command_fleet_add },
	{ FLEET_LIST, "fleet list", "print the gateways of the fleet, and how far each of them is", .ledger = command_fleet_list },
	{ FLEET_VERIFY, "fleet verify", "check that PostgreSQL has what this ledger has, and that its sums equal its rows; names the gateway and hour that differ",
	  .ledger = command_fleet_verify },
	{ FLEET_RESEND, "fleet resend", "send the requests of a period from this ledger to PostgreSQL again, and make the sums of its hours anew",
	  .ledger = command_fleet_resend },
	{ FLEET_RETIRE, "fleet retire", "free the name and the role of the gateway NAME, whose ledger is gone; its rows stay",
	  .ledger = command_fleet_retire },
	{ FLEET_DROP, "fleet drop", "remove the requests before a month from PostgreSQL; their sums stay", .ledger = command_fleet_drop },
	{ HEADROOM, "ledger headroom", "write proxy_savings.json for Headroom's dashboard", .ledger = command_ledger_headroom },
};
/* clang-format on */

enum { COMMANDS = sizeof commands / sizeof commands[0] };

/* The command line, parsed. */
static struct {
	const command *command;
	const char *file;
	option_text flags[FLAGS_MAX];
	size_t flags_count;
	check_flags check;
	explain_flags ask;
	ledger_request ledger;
	client_flags client;
	tap_flags tap;
} line;

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

/* The flags of single commands. Each sets one thing: a text, a switch, or a list, to which the function `add` adds and
 * returns false if the list is full. */
/* clang-format off */
static const struct {
	const char *name;
	const char *arg; /* what --help shows for the value; NULL: it is a switch */
	command_id of;   /* the commands that have it */
	const char *help;
	const char **text;
	bool *on;
	bool (*add)(const char *text);
} own_flags[] = {
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
	{ "since", "TIME", SAVINGS | UPSTREAMS | EXPORT | FLEET_VERIFY | FLEET_RESEND,
	  "from when: 24h, 7d, 2026-11-01, 2026-11-01T13:00Z (UTC), today or all; default 30d for savings, 24h for upstreams, all for export and verify",
	  .text = &line.ledger.since },
	{ "until", "TIME", SAVINGS | UPSTREAMS | EXPORT | FLEET_VERIFY | FLEET_RESEND, "until when, in the same forms; a day is included to its end; default: now",
	  .text = &line.ledger.until },
	{ "fleet", NULL, SAVINGS | EXPORT, "of all gateways, out of the PostgreSQL that fleet_uri names; no ledger and no agent is needed here",
	  .on = &line.ledger.fleet },
	{ "csv", NULL, SAVINGS | UPSTREAMS | EXPORT, "print CSV, for spreadsheets", .on = &line.ledger.csv },
	{ "by", "WHAT", SAVINGS | UPSTREAMS,
	  "savings: one line for each model (default), route, project, client, member of a pool, day, hour, or, with --fleet, gateway; upstreams: for each backend (default) or member of a pool",
	  .text = &line.ledger.by },
	{ "jsonl", NULL, EXPORT, "print one JSON object a line (default)", .on = &line.ledger.jsonl },
	{ "gaps", NULL, VERIFY, "list every stretch of hours without a request", .on = &line.ledger.gaps },
	{ "before", "TIME", PRUNE | FLEET_DROP, "remove what is older than this time; fleet drop: than this month, YYYY-MM", .text = &line.ledger.before },
	{ "days", "N", PRUNE, "remove what is older than N days; default: retention_days", .text = &line.ledger.days },
	{ "reader", NULL, FLEET_ADD, "the role reads all gateways' requests, and writes nothing", .on = &line.ledger.reader },
	{ "yes", NULL, FLEET_DROP, "do not ask", .on = &line.ledger.yes },
	{ "replace", NULL, RESTORE | FLEET_ADD,
	  "ledger restore: move a ledger that is there away, to ledger.db.replaced; fleet add: give a role that is there a new password", .on = &line.ledger.replace },
	{ "dry-run", NULL, COMPACT, "only say what it would take", .on = &line.ledger.dry_run },
	{ "output", "FILE", HEADROOM | BACKENDS | FLEET_ADD, "file to write, which is replaced as a whole; default: standard output",
	  .text = &line.ledger.output },
	{ "json", NULL,
	  CLIENT_ADD | CLIENT_LIST | CLIENT_SHOW | CLIENT_ROTATE | CLIENT_DISABLE | CLIENT_ENABLE | CLIENT_REMOVE | CHECK | EXPLAIN | SAVINGS | UPSTREAMS | IMPORT | VERIFY | PRUNE | FLEET_LIST | FLEET_VERIFY | FLEET_RESEND, "print JSON, for programs",
	  .on = &line.ledger.json },
};
/* clang-format on */

enum { OWN_FLAGS = sizeof own_flags / sizeof own_flags[0] };

/* ---- help */

/* Writes the names of the commands `of`: "explain, savings, ledger export". */
static void list_commands(command_id of, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < COMMANDS && len < cap; i++)
		if (of & commands[i].id)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", commands[i].name);
}

static void print_own_flags(void)
{
	char of[256], previous[256] = "", flag[64];

	for (size_t i = 0; i < OWN_FLAGS; i++) {
		const char *arg = own_flags[i].arg;
		list_commands(own_flags[i].of, of, sizeof of);
		if (strcmp(of, previous) != 0)
			printf("\n%s:\n", of);
		memcpy(previous, of, sizeof previous);
		snprintf(flag, sizeof flag, "--%s%s%s", own_flags[i].name, arg ? " " : "", arg ? arg : "");
		printf("  %-18s  %s\n", flag, own_flags[i].help);
	}
}

static void print_options(void)
{
	char flag[64], variable[64];

	for (const option_info *o = options; o < options + options_count; o++) {
		option_flag(o, flag, sizeof flag);
		option_variable(o, variable, sizeof variable);
		printf("  --%s%s%s\n      %s.\n      file: \"%s\", variable: %s%s%s\n", flag, o->arg ? " " : "",
		       o->arg ? o->arg : "", o->help, o->key, variable, o->fallback ? ", default: " : "",
		       o->fallback ? o->fallback : "");
	}
}

static void print_help(void)
{
	puts("usage: spoa-llm COMMAND [-c FILE] [--OPTION VALUE ...]\n\n"
	     "Tells HAProxy, over SPOP, which backend and whose credential serves an LLM request.\n\ncommands:");
	for (size_t i = 0; i < COMMANDS; i++)
		printf("  %-15s  %s\n", commands[i].name, commands[i].help);
	puts("\n  -c, --config FILE   configuration (JSON); default " CONFIG_FILE ", if there is one\n"
	     "  -h, --help          this text\n  -V, --version       the version");
	print_own_flags();
	puts("\noptions, by flag, by variable, or in the file (in this order):");
	print_options();
}

/* `--help=table`: commands, flags, options and events for dist/manual, one a line. */
static void print_table(void)
{
	char of[256];

	for (size_t i = 0; i < COMMANDS; i++)
		printf("command\t%s\t%s\n", commands[i].name, commands[i].help);
	for (size_t i = 0; i < OWN_FLAGS; i++) {
		list_commands(own_flags[i].of, of, sizeof of);
		printf("flag\t%s\t%s\t%s\t%s\n", own_flags[i].name, own_flags[i].arg ? own_flags[i].arg : "", of,
		       own_flags[i].help);
	}
	manual_options(stdout);
	manual_events(stdout);
}

/* Says what is wrong with the command line, and returns the exit code. `arg` NULL: the message ends with `what`. */
static int wrong(const char *what, const char *arg)
{
	if (arg && strstr(arg, CLIENT_KEY_PREFIX))
		arg = "(a key, which does not belong on a command line)";
	fprintf(stderr, "spoa-llm: %s%s%s\ntry: spoa-llm --help\n", what, arg ? " " : "", arg ? arg : "");
	return EX_USAGE;
}

static int help(const char *form)
{
	if (form && strcmp(form, "table") != 0)
		return wrong("the forms of help are --help and --help=table, not", form);
	if (form)
		print_table();
	else
		print_help();
	return EX_OK;
}

/* ---- the command line: each function returns GO_ON, or the exit code */

/* Fills getopt's table. `names` keeps the texts of options' flags. */
static void fill_long_options(struct option out[LONGS_MAX], char (*names)[64])
{
	static const struct option common[] = {
		{ "help", optional_argument, NULL, FLAG_HELP },
		{ "version", no_argument, NULL, FLAG_VERSION },
		{ "config", required_argument, NULL, FLAG_CONFIG },
	};
	size_t n = sizeof common / sizeof common[0];

	assert(n + OWN_FLAGS + options_count < LONGS_MAX);
	memcpy(out, common, sizeof common);
	for (int i = 0; i < OWN_FLAGS; i++)
		out[n++] = (struct option){ own_flags[i].name, own_flags[i].arg ? required_argument : no_argument, NULL,
					    FLAG_OWN + i };
	for (int i = 0; i < (int)options_count; i++) {
		option_flag(&options[i], names[i], sizeof names[i]);
		out[n++] = (struct option){ names[i], options[i].arg ? required_argument : no_argument, NULL,
					    FLAG_OPTION + i };
	}
	out[n] = (struct option){ 0 };
}

static int take_option(const option_info *o, const char *arg)
{
	if (line.flags_count == FLAGS_MAX)
		return wrong("too many flags", NULL);
	line.flags[line.flags_count++] = (option_text){ o, arg ? arg : "true" };
	return GO_ON;
}

static int take_own_flag(int i, const char *arg)
{
	if (own_flags[i].text && *own_flags[i].text)
		return wrong("this flag is given twice:", own_flags[i].name);
	if (own_flags[i].text)
		*own_flags[i].text = arg;
	else if (own_flags[i].on)
		*own_flags[i].on = true;
	else if (!own_flags[i].add(arg))
		return wrong("too many flags of this name:", own_flags[i].name);
	return GO_ON;
}

/* Takes every flag; `own` notes which of own_flags[] were given. Leaves the other words to be read from optind on. */
static int parse_flags(int argc, char **argv, bool own[OWN_FLAGS])
{
	struct option longs[LONGS_MAX];
	char names[LONGS_MAX][64];
	int flag, code = GO_ON;

	fill_long_options(longs, names);
	opterr = 0;
	while (code == GO_ON && (flag = getopt_long(argc, argv, ":c:hV", longs, NULL)) != -1) {
		if (flag == FLAG_HELP) {
			code = help(optarg);
		} else if (flag == FLAG_VERSION) {
			puts("spoa-llm " SPOA_LLM_VERSION);
			code = EX_OK;
		} else if (flag == FLAG_CONFIG) {
			line.file = optarg;
		} else if (flag == ':') {
			code = wrong("a value is missing after", argv[optind - 1]);
		} else if (flag == '?') {
			code = wrong("unknown or ambiguous flag", argv[optind - 1]);
		} else if (flag >= FLAG_OWN) {
			own[flag - FLAG_OWN] = true;
			code = take_own_flag(flag - FLAG_OWN, optarg);
		} else {
			code = take_option(&options[flag - FLAG_OPTION], optarg);
		}
	}
	return code;
}

/* True for a command of two words, of which `group` is the first. */
static bool is_of(const command *c, const char *group)
{
	size_t len = strlen(group);

	return strncmp(c->name, group, len) == 0 && c->name[len] == ' ';
}

/* Says which words may stand after `group`: "client needs one of add, list and remove after it". */
static int wrong_group(const char *group)
{
	char text[256];
	size_t len = (size_t)snprintf(text, sizeof text, "%s needs one of ", group), left = 0, begin = strlen(group);

	for (size_t i = 0; i < COMMANDS; i++)
		left += is_of(&commands[i], group);
	for (size_t i = 0; i < COMMANDS; i++) {
		if (!is_of(&commands[i], group))
			continue;
		left--;
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", commands[i].name + begin + 1,
					left > 1 ? ", " :
					left     ? " and " :
						   " after it");
	}
	return wrong(text, NULL);
}

/* Takes the `count` words of the command line that are not flags: the command, and the FILE or NAME of some. */
static int parse_words(char *const *words, size_t count)
{
	static const char *const groups[] = { "ledger", "client", "fleet" };
	size_t used = 1;
	char name[64];

	if (!count)
		return wrong("a command is missing", NULL);
	snprintf(name, sizeof name, "%s", words[0]);
	for (const char *const *group = groups; group < groups + sizeof groups / sizeof groups[0]; group++) {
		if (strcmp(name, *group) != 0)
			continue;
		if (count < 2)
			return wrong_group(*group);
		snprintf(name, sizeof name, "%s %s", *group, words[1]);
		used = 2;
		break;
	}
	for (const command *c = commands; c < commands + COMMANDS && !line.command; c++)
		if (strcmp(c->name, name) == 0)
			line.command = c;
	if (!line.command)
		return wrong("unknown command", name);
	if (line.command->id & (IMPORT | BACKUP | RESTORE | CREDENTIAL | PRICES)) {
		if (used == count)
			return wrong(line.command->id == IMPORT ?
					     "ledger import needs a FILE after it, or - for standard input" :
					     "a FILE has to stand after it:",
				     name);
		line.ledger.file = words[used++];
	}
	if (line.command->client && line.command->id != CLIENT_LIST) {
		if (used == count)
			return wrong("the NAME of a client has to stand after it:", name);
		line.client.name = words[used++];
	}
	if (line.command->id & (FLEET_ADD | FLEET_RETIRE)) {
		if (used == count)
			return wrong("the NAME of a gateway or reader has to stand after it:", name);
		line.ledger.name = words[used++];
	}
	return used < count ? wrong("unexpected argument", words[used]) : GO_ON;
}

static int parse(int argc, char **argv)
{
	bool own[OWN_FLAGS] = { false };
	char of[256];

	int code = parse_flags(argc, argv, own);
	if (code == GO_ON)
		code = parse_words(argv + optind, (size_t)(argc - optind));
	if (code != GO_ON)
		return code;
	for (size_t i = 0; i < OWN_FLAGS; i++) {
		if (!own[i] || (own_flags[i].of & line.command->id))
			continue;
		list_commands(own_flags[i].of, of, sizeof of);
		fprintf(stderr, "spoa-llm: --%s belongs to %s, not to %s\ntry: spoa-llm --help\n", own_flags[i].name,
			of, line.command->name);
		return EX_USAGE;
	}
	line.ask.json = line.check.json = line.client.json = line.ledger.json;
	line.tap.file = line.file;
	return GO_ON;
}

/* ---- the commands */

static int complain(const err *e, int code)
{
	fprintf(stderr, "spoa-llm: %s\n", e->text);
	return code;
}

/* Loads the configuration and runs the command with it. `master`: for `run`, the worker's link to its master. */
static int run_with_config(control *master)
{
	config c;
	err e = { 0 };
	int code;

	config_init();
	if (line.command->check)
		return line.command->check(line.file, line.flags, line.flags_count, &line.check);
	if (!config_load(&c, line.file, line.flags, line.flags_count, &e))
		return complain(&e, e.kind == ERR_MEMORY ? EX_OSERR : EX_CONFIG);
	if (line.command->backends)
		code = line.command->backends(&c, line.ledger.output);
	else if (line.command->explain)
		code = line.command->explain(&c, &line.ask);
	else if (line.command->client)
		code = line.command->client(&c, &line.client);
	else if (line.command->ledger)
		code = line.command->ledger(&c, &line.ledger);
	else
		code = run(&c, line.flags, line.flags_count, master);
	config_deinit(&c);
	return code;
}

/* `spoa-llm run`. The process that was started by hand or by a service manager is the master, which starts this program
 * with the same `argv` again as its worker. */
static int run_agent(int argc, char **argv)
{
	control master;
	err e = { 0 };

	/* Forbid core files, and debuggers of the same user, because there are credentials in the environment. */
	prctl(PR_SET_DUMPABLE, 0);
	if (control_init(&master, &e))
		return run_with_config(&master);
	return *e.text ? complain(&e, EX_SOFTWARE) : master_run(argc, argv);
}

int main(int argc, char **argv)
{
	/* getopt_long() reorders argv; the worker gets the words in the order in which they were given. */
	char **given = calloc((size_t)argc + 1, sizeof *given);
	if (!given) {
		fputs("spoa-llm: out of memory\n", stderr);
		return EX_OSERR;
	}
	memcpy(given, argv, (size_t)argc * sizeof *given);
	line.tap.argv = given;
	signal(SIGXFSZ, SIG_IGN); /* a file that may not get longer is an error to tell, and no reason to die */
	int code = parse(argc, argv);
	if (code == GO_ON)
		code = line.command->id == RUN ? run_agent(argc, given) :
		       line.command->tap       ? line.command->tap(line.flags, line.flags_count, &line.tap) :
		       line.command->file      ? line.command->file(line.ledger.file) :
						 run_with_config(NULL);
	free(given);
	return code;
}
