/* SPDX-License-Identifier: MIT */
#include <getopt.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "commands/cli.h"
#include "commands/manual.h"
#include "proc/master.h"
#include "serve/run.h"

enum {
	FLAGS_MAX = 64,
	OPTION_BASE = 1000, /* getopt's value of options[0] */
	OWN_BASE = 2000,    /* and of own_flags[0] */
	FLAG_HELP = 'h',
	FLAG_VERSION = 'V',
	FLAG_CONFIG = 'c',
};

/* The commands, as bits of own_flags[].of. */
typedef enum command {
	RUN = 1,
	CHECK = 2,
	EXPLAIN = 4,
	BACKENDS = 8,
	SAVINGS = 16,
	EXPORT = 32,
	IMPORT = 64,
	VERIFY = 128,
	PRUNE = 256,
	HEADROOM = 512,
} command;

static const struct {
	command id;
	const char *name;
	const char *help;
} commands[] = {
	{ RUN, "run", "answer HAProxy until SIGTERM; SIGHUP reloads, SIGUSR2 upgrades, SIGUSR1 drains" },
	{ CHECK, "check", "validate the configuration and the presence of credentials" },
	{ EXPLAIN, "explain", "say what would be done with a request, and why" },
	{ BACKENDS, "backends", "print the HAProxy backends for the routes and targets" },
	{ SAVINGS, "savings", "what the requests cost and saved" },
	{ EXPORT, "ledger export", "every recorded request, as JSON lines or CSV" },
	{ IMPORT, "ledger import", "fill gaps from a HAProxy log FILE, gzip too; - reads standard input" },
	{ VERIFY, "ledger verify", "is the file whole, do the sums equal the rows, when was there no request" },
	{ PRUNE, "ledger prune", "remove old requests; their sums stay" },
	{ HEADROOM, "ledger headroom", "write proxy_savings.json for Headroom's dashboard" },
};

enum { COMMANDS = sizeof commands / sizeof commands[0] };

typedef struct command_line {
	const char *name; /* of the command */
	command command;
	const char *file;
	option_text flags[FLAGS_MAX];
	size_t flags_count;
	explain_flags ask;
	ledger_request ledger;
} command_line;

/* The flags that belong to single commands. */
static const struct {
	const char *name;
	const char *arg; /* NULL: a switch */
	int of;
	size_t text, flag; /* in command_line: a const char *, or a bool */
	const char *help;  /* NULL: said with the flag before */
} own_flags[] = {
#define TEXT_AT(member) offsetof(command_line, member), 0
#define FLAG_AT(member) 0, offsetof(command_line, member)
	{ "model", "NAME", EXPLAIN, TEXT_AT(ask.request.model), "the model, as if the body named it" },
	{ "method", "METHOD", EXPLAIN, TEXT_AT(ask.request.method),
	  "default POST; GET where there is neither model nor body" },
	{ "path", "PATH", EXPLAIN, TEXT_AT(ask.request.path),
	  "path and query string of the request; default /v1/chat/completions" },
	{ "header", "'K: V'", EXPLAIN, 0, 0, "a header of the request; may be given several times" },
	{ "body", "FILE", EXPLAIN, TEXT_AT(ask.body), "the request's body; - reads standard input" },
	{ "since", "TIME", SAVINGS | EXPORT, TEXT_AT(ledger.since),
	  "24h, 7d, 2026-11-01, 2026-11-01T13:00Z (UTC), today or all; default 30d for savings, all for export" },
	{ "until", "TIME", SAVINGS | EXPORT, TEXT_AT(ledger.until), "the same; a day to its end. Default: now" },
	{ "csv", NULL, SAVINGS | EXPORT, FLAG_AT(ledger.csv), "for spreadsheets" },
	{ "by", "WHAT", SAVINGS, TEXT_AT(ledger.by), "model (default), route, project, client, day or hour" },
	{ "jsonl", NULL, EXPORT, FLAG_AT(ledger.jsonl), "one JSON object a line (default)" },
	{ "gaps", NULL, VERIFY, FLAG_AT(ledger.gaps), "list every stretch of hours without a request" },
	{ "before", "TIME", PRUNE, TEXT_AT(ledger.before), "remove what is older than this time" },
	{ "days", "N", PRUNE, TEXT_AT(ledger.days), "remove what is older than N days; default: retention_days" },
	{ "output", "FILE", HEADROOM, TEXT_AT(ledger.output), "replaced as a whole; default: standard output" },
	{ "json", NULL, EXPLAIN | SAVINGS | IMPORT | VERIFY | PRUNE, FLAG_AT(ledger.json), "for programs" },
};

enum { OWN_FLAGS = sizeof own_flags / sizeof own_flags[0] };

/* "explain, savings, ledger export": the commands of a flag. */
static void list_commands(int of, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < COMMANDS && len < cap; i++)
		if (of & (int)commands[i].id)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", commands[i].name);
}

static void usage(FILE *out)
{
	char text[256], previous[256] = "";

	fprintf(out,
		"usage: spoa-llm COMMAND [-c FILE] [--OPTION VALUE ...]\n\n"
		"Tells HAProxy, over SPOP, which backend and whose credential serves an LLM request.\n\ncommands:\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-15s  %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\n  -c, --config FILE   configuration (JSON); default " CONFIG_FILE ", if there is one\n"
		     "  -h, --help          this text\n  -V, --version       the version\n");
	for (size_t i = 0; i < OWN_FLAGS; i++) {
		char flag[64];
		list_commands(own_flags[i].of, text, sizeof text);
		if (strcmp(text, previous) != 0)
			fprintf(out, "\n%s:\n", text);
		snprintf(previous, sizeof previous, "%s", text);
		snprintf(flag, sizeof flag, "--%s%s%s", own_flags[i].name, own_flags[i].arg ? " " : "",
			 own_flags[i].arg ? own_flags[i].arg : "");
		fprintf(out, "  %-18s  %s\n", flag, own_flags[i].help);
	}
	fprintf(out, "\noptions, by flag, by variable, or in the file (in this order):\n");
	for (size_t i = 0; i < options_count; i++) {
		char flag[64], variable[64];
		option_flag(&options[i], flag, sizeof flag);
		option_variable(&options[i], variable, sizeof variable);
		fprintf(out, "  --%s%s%s\n      %s.\n      file: \"%s\", variable: %s%s%s\n", flag,
			options[i].arg ? " " : "", options[i].arg ? options[i].arg : "", options[i].help,
			options[i].key, variable, options[i].fallback ? ", default: " : "",
			options[i].fallback ? options[i].fallback : "");
	}
}

static int wrong(const char *what, const char *arg)
{
	fprintf(stderr, "spoa-llm: %s%s%s\ntry: spoa-llm --help\n", what, arg ? " " : "", arg ? arg : "");
	return EX_USAGE;
}

/* `--help=table`: the same for dist/manual. */
static void table(FILE *out)
{
	char text[256];

	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "command\t%s\t%s\n", commands[i].name, commands[i].help);
	for (size_t i = 0; i < OWN_FLAGS; i++) {
		list_commands(own_flags[i].of, text, sizeof text);
		fprintf(out, "flag\t%s\t%s\t%s\t%s\n", own_flags[i].name, own_flags[i].arg ? own_flags[i].arg : "",
			text, own_flags[i].help);
	}
	manual_options(out);
	manual_events(out);
}

static int help(const char *how)
{
	if (how && strcmp(how, "table") != 0)
		return wrong("there is no --help of", how);
	(how ? table : usage)(stdout);
	return -1;
}

enum { LONGS_MAX = 96 };

static void fill_long_options(struct option out[LONGS_MAX], char (*names)[64])
{
	static const struct option common[] = {
		{ "help", optional_argument, NULL, FLAG_HELP },
		{ "version", no_argument, NULL, FLAG_VERSION },
		{ "config", required_argument, NULL, FLAG_CONFIG },
	};
	size_t n = 0;

	for (; n < sizeof common / sizeof common[0]; n++)
		out[n] = common[n];
	for (size_t i = 0; i < OWN_FLAGS; i++, n++)
		out[n] = (struct option){ own_flags[i].name, own_flags[i].arg ? required_argument : no_argument, NULL,
					  OWN_BASE + (int)i };
	for (size_t i = 0; i < options_count && n < LONGS_MAX - 1; i++, n++) {
		option_flag(&options[i], names[i], sizeof names[i]);
		out[n] = (struct option){ names[i], options[i].type == OPTION_BOOL ? no_argument : required_argument,
					  NULL, OPTION_BASE + (int)i };
	}
	out[n] = (struct option){ NULL, 0, NULL, 0 };
}

/* The command, and what stands behind it. */
static int parse_command(int argc, char **argv, command_line *line)
{
	char *const *words = argv + optind;
	size_t count = (size_t)(argc - optind), used = 1, which = 0;
	char name[64];

	if (!count)
		return wrong("which command?", NULL);
	snprintf(name, sizeof name, "%s", words[0]);
	if (strcmp(name, "ledger") == 0) {
		if (count < 2)
			return wrong("ledger what? export, import, verify, prune or headroom", NULL);
		snprintf(name, sizeof name, "ledger %s", words[1]);
		used = 2;
	}
	while (which < COMMANDS && strcmp(commands[which].name, name) != 0)
		which++;
	if (which == COMMANDS)
		return wrong("unknown command", name);
	line->name = commands[which].name;
	line->command = commands[which].id;
	if (line->command == IMPORT) {
		if (used == count)
			return wrong("ledger import FILE: which file? - reads standard input", NULL);
		line->ledger.file = words[used++];
	}
	return used < count ? wrong("unexpected argument", words[used]) : EX_OK;
}

static int take_own_flag(command_line *line, size_t i, const char *arg)
{
	if (own_flags[i].text) {
		memcpy((char *)line + own_flags[i].text, &arg, sizeof arg);
	} else if (own_flags[i].flag) {
		*(bool *)((char *)line + own_flags[i].flag) = true;
	} else {
		if (line->ask.request.headers_count == EXPLAIN_HEADERS_MAX)
			return wrong("too many --header", NULL);
		line->ask.request.headers[line->ask.request.headers_count++] = arg;
	}
	return EX_OK;
}

/* EX_OK to go on; -1: done already. */
static int parse(int argc, char **argv, command_line *line)
{
	struct option longs[LONGS_MAX];
	char names[LONGS_MAX][64];
	bool own[OWN_FLAGS] = { false };
	int flag, rc;

	fill_long_options(longs, names);
	opterr = 0;
	while ((flag = getopt_long(argc, argv, ":c:hV", longs, NULL)) != -1) {
		switch (flag) {
		case FLAG_HELP:
			return help(optarg);
		case FLAG_VERSION:
			puts("spoa-llm " SPOA_LLM_VERSION);
			return -1;
		case FLAG_CONFIG:
			line->file = optarg;
			break;
		case ':':
			return wrong("a value is missing after", argv[optind - 1]);
		case '?':
			return wrong("unknown or ambiguous flag", argv[optind - 1]);
		default:
			if (flag >= OWN_BASE) {
				own[flag - OWN_BASE] = true;
				rc = take_own_flag(line, (size_t)(flag - OWN_BASE), optarg);
				if (rc != EX_OK)
					return rc;
				break;
			}
			if (line->flags_count == FLAGS_MAX)
				return wrong("too many flags", NULL);
			line->flags[line->flags_count++] = (option_text){ &options[flag - OPTION_BASE],
									  optarg ? optarg : "true" };
			break;
		}
	}
	rc = parse_command(argc, argv, line);
	for (size_t i = 0; rc == EX_OK && i < OWN_FLAGS; i++) {
		char of[256];
		if (!own[i] || (own_flags[i].of & (int)line->command))
			continue;
		list_commands(own_flags[i].of, of, sizeof of);
		fprintf(stderr, "spoa-llm: --%s belongs to %s, not to %s\ntry: spoa-llm --help\n", own_flags[i].name,
			of, line->name);
		rc = EX_USAGE;
	}
	line->ask.json = line->ledger.json;
	return rc;
}

int main(int argc, char **argv)
{
	command_line line = { .name = NULL };
	config c;
	control master;
	err e = { "" };

	/* getopt moves the words about; the worker process gets them as they were given. */
	char **given = calloc((size_t)argc + 1, sizeof *given);
	if (!given) {
		fputs("spoa-llm: out of memory\n", stderr);
		return EX_OSERR;
	}
	memcpy(given, argv, (size_t)argc * sizeof *given);
	int rc = parse(argc, argv, &line);
	if (rc != EX_OK) {
		free(given);
		return rc < 0 ? EX_OK : rc;
	}
	/* No core file, and no debugger of another process of this user: there are credentials in the environment. */
	if (line.command == RUN)
		prctl(PR_SET_DUMPABLE, 0);
	/* The process that was started is the master, and starts itself again as the worker. */
	if (line.command == RUN && !control_init(&master, &e)) {
		if (!*e.text) {
			rc = master_run(argc, given);
			free(given);
			return rc;
		}
		free(given);
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_SOFTWARE;
	}
	free(given);
	if (!config_load(&c, line.file, line.flags, line.flags_count, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return err_of_memory(&e) ? EX_OSERR : EX_CONFIG;
	}
	switch (line.command) {
	case RUN:
		rc = run(&c, line.flags, line.flags_count, &master);
		break;
	case CHECK:
		rc = command_check(&c);
		break;
	case EXPLAIN:
		rc = command_explain(&c, &line.ask);
		break;
	case BACKENDS:
		rc = command_backends(&c);
		break;
	case SAVINGS:
		rc = command_savings(&c, &line.ledger);
		break;
	case EXPORT:
		rc = command_ledger_export(&c, &line.ledger);
		break;
	case IMPORT:
		rc = command_ledger_import(&c, &line.ledger);
		break;
	case VERIFY:
		rc = command_ledger_verify(&c, &line.ledger);
		break;
	case PRUNE:
		rc = command_ledger_prune(&c, &line.ledger);
		break;
	case HEADROOM:
		rc = command_ledger_headroom(&c, &line.ledger);
		break;
	}
	config_deinit(&c);
	return rc;
}
