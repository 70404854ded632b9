/* SPDX-License-Identifier: MIT */
#include "commands/line.h"

#include <assert.h>
#include <getopt.h>
#include <sysexits.h>

#include "base/nearest.h"
#include "commands/help.h"
#include "commands/manual.h"
#include "config/clients.h"
#include "report/print.h"

enum {
	GIVEN_MAX = 256, /* flags of single commands on a command line */
	LONGS_MAX = 128, /* rows of getopt's table: every long flag, and one that ends the table */
	GO_ON = LINE_GO_ON,
	/* What getopt_long() returns for a flag. */
	FLAG_HELP = 'h',
	FLAG_VERSION = 'V',
	FLAG_CONFIG = 'c',
	FLAG_OPTION = 1000, /* and the index in options[] */
	FLAG_OWN = 2000,    /* and the index in own_flags[] of the first flag of this name */
};

/* What was read before the command is known: a flag of one name may mean different things to different commands. */
typedef struct given {
	const char *flag, *value;
} given;

/* The first of the words if it is a group's; NULL: it is not, or was not read. */
static const char *group;

typedef struct reading {
	given given[GIVEN_MAX];
	size_t count;
	bool help;
	const char *help_form; /* of --help=FORM; NULL: none */
	struct option longs[LONGS_MAX];
	char names[LONGS_MAX][64]; /* of options' flags */
} reading;

/* Says what is wrong with the command line, what may have been meant, if `meant` is not NULL, and where help is.
 * Returns the exit code. `arg` NULL: the message ends with `what`. */
static int wrong(const char *what, const char *arg, const char *before, const char *meant)
{
	if (arg && strstr(arg, CLIENT_KEY_PREFIX))
		arg = "(a key, which does not belong on a command line)";
	fprintf(stderr, "spoa-llm: %s%s%s", what, arg ? " " : "", arg ? arg : "");
	if (meant)
		fprintf(stderr, "; is %s%s meant?", before, meant);
	const char *of = line.command ? line.command->name : group ? group : "";
	fprintf(stderr, "\ntry: spoa-llm help%s%s\n", *of ? " " : "", of);
	return EX_USAGE;
}

/* ---- flags */

static bool has_name(const reading *r, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(r->longs[i].name, name) == 0)
			return true;
	return false;
}

/* Fills getopt's table with each name once. */
static void fill_longs(reading *r)
{
	static const struct option common[] = {
		{ "help", optional_argument, NULL, FLAG_HELP },
		{ "version", no_argument, NULL, FLAG_VERSION },
		{ "config", required_argument, NULL, FLAG_CONFIG },
	};
	size_t n = sizeof common / sizeof common[0];

	memcpy(r->longs, common, sizeof common);
	for (int i = 0; i < (int)own_flags_count; i++) {
		if (has_name(r, n, own_flags[i].name))
			continue;
		assert(n + 1 < LONGS_MAX);
		r->longs[n++] = (struct option){ own_flags[i].name, own_flags[i].arg ? required_argument : no_argument,
						 NULL, FLAG_OWN + i };
	}
	for (int i = 0; i < (int)options_count; i++) {
		assert(n + 1 < LONGS_MAX);
		option_flag(&options[i], r->names[i], sizeof r->names[i]);
		r->longs[n++] = (struct option){ r->names[i], options[i].arg ? required_argument : no_argument, NULL,
						 FLAG_OPTION + i };
	}
}

/* Says what is wrong with the flag `text`, which getopt_long() does not take. */
static int wrong_flag(const reading *r, const char *text)
{
	const char *name = text + strspn(text, "-");
	size_t len = strcspn(name, "="), like = 0;
	char word[64], several[160] = "";
	nearest meant;

	if (text[0] != '-' || text[1] != '-') {
		snprintf(word, sizeof word, "-%c", optopt);
		return wrong("there is no flag", optopt ? word : text, "", NULL);
	}
	snprintf(word, sizeof word, "%.*s", (int)len, name);
	meant = nearest_to(word);
	for (const struct option *o = r->longs; o->name; o++) {
		if (strcmp(o->name, word) == 0)
			return wrong("this flag takes no value:", text, "", NULL);
		if (strncmp(o->name, word, strlen(word)) == 0 && strlen(several) + strlen(o->name) + 5 < sizeof several)
			like += (size_t)sprintf(several + strlen(several), "%s--%s", like ? ", " : "", o->name) > 0;
		nearest_look(&meant, o->name);
	}
	if (like > 1) {
		fprintf(stderr, "spoa-llm: --%s can be several flags: %s\n", word, several);
		return EX_USAGE;
	}
	return wrong("there is no flag", text, "--", meant.word);
}

static int take_option(const option_info *o, const char *arg)
{
	if (line.flags_count == FLAGS_MAX)
		return wrong("too many flags", NULL, "", NULL);
	line.flags[line.flags_count++] = (option_text){ o, arg ? arg : "true" };
	return GO_ON;
}

/* True if there are commands of which `word` is the first of two. */
static bool is_group(const char *word)
{
	for (const command *c = commands; c < commands + commands_count; c++)
		if (command_is_of(c, word))
			return true;
	return false;
}

/* Looks for the command, or the group, on a command line of which a flag could not be read, so that the error can name
 * its help. */
static void guess_command(int argc, char **argv)
{
	char two[128];

	for (int i = 1; i < argc && !line.command && !group; i++) {
		snprintf(two, sizeof two, "%s %s", argv[i], i + 1 < argc ? argv[i + 1] : "");
		line.command = command_by_name(two);
		line.command = line.command ? line.command : command_by_name(argv[i]);
		group = is_group(argv[i]) ? argv[i] : NULL;
	}
}

/* Reads every flag. Leaves the other words to be read from optind on. */
static int read_flags(reading *r, int argc, char **argv)
{
	int flag, code = GO_ON;

	fill_longs(r);
	opterr = 0;
	while (code == GO_ON && (flag = getopt_long(argc, argv, ":c:hvV", r->longs, NULL)) != -1) {
		if (flag == FLAG_HELP) {
			r->help = true;
			r->help_form = optarg;
		} else if (flag == FLAG_VERSION || flag == 'v') {
			puts("spoa-llm " SPOA_LLM_VERSION);
			code = finish_output();
		} else if (flag == FLAG_CONFIG) {
			line.file = optarg;
		} else if (flag == ':') {
			guess_command(argc, argv);
			code = wrong("a value is missing after", argv[optind - 1], "", NULL);
		} else if (flag == '?') {
			guess_command(argc, argv);
			code = wrong_flag(r, argv[optind - 1]);
		} else if (flag >= FLAG_OWN) {
			if (r->count == GIVEN_MAX)
				return wrong("too many flags", NULL, "", NULL);
			r->given[r->count++] = (given){ own_flags[flag - FLAG_OWN].name, optarg };
		} else {
			code = take_option(&options[flag - FLAG_OPTION], optarg);
		}
	}
	return code;
}

/* Says that no flag of the command has this name, but one of other commands. */
static int wrong_command_of(const char *name)
{
	char of[512];
	command_id all = 0;

	for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++)
		if (strcmp(f->name, name) == 0)
			all |= f->of;
	command_list(all, of, sizeof of);
	fprintf(stderr, "spoa-llm: --%s belongs to %s, not to %s\ntry: spoa-llm help %s\n", name, of,
		line.command->name, line.command->name);
	return EX_USAGE;
}

/* True if `value` is one of the words in `values`. Else `*meant` is the most similar one. */
static bool is_one_of(const char *value, const char *values, char meant[64])
{
	char words[256], *rest = words, *word;
	nearest n = nearest_to(value);

	snprintf(words, sizeof words, "%s", values);
	while ((word = strsep(&rest, " "))) {
		if (strcmp(word, value) == 0)
			return true;
		nearest_look(&n, word);
	}
	snprintf(meant, 64, "%s", n.word ? n.word : "");
	return false;
}

static int take_flag(const given *g)
{
	const flag_info *f = own_flags;
	char what[400], meant[64];

	while (f < own_flags + own_flags_count && !(strcmp(f->name, g->flag) == 0 && (f->of & line.command->id)))
		f++;
	if (f == own_flags + own_flags_count)
		return wrong_command_of(g->flag);
	if (f->values && !is_one_of(g->value, f->values, meant)) {
		snprintf(what, sizeof what, "--%s \"%.60s\": %s is expected", f->name, g->value, f->expected);
		return wrong(what, NULL, "", *meant ? meant : NULL);
	}
	if (f->text && *f->text)
		return wrong("this flag is given twice:", f->name, "", NULL);
	if (f->text)
		*f->text = g->value;
	else if (f->on)
		*f->on = true;
	else if (!f->add(g->value))
		return wrong("too many flags of this name:", f->name, "", NULL);
	return GO_ON;
}

/* ---- words */

/* Says which words may stand after a group's: "client needs one of add, list and remove after it". */
static int wrong_group(void)
{
	char text[256];
	size_t len = (size_t)snprintf(text, sizeof text, "%s needs one of ", group), left = 0, begin = strlen(group);

	for (size_t i = 0; i < commands_count; i++)
		left += command_is_of(&commands[i], group);
	for (size_t i = 0; i < commands_count; i++) {
		if (!command_is_of(&commands[i], group))
			continue;
		left--;
		len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", commands[i].name + begin + 1,
					left > 1 ? ", " :
					left     ? " and " :
						   " after it");
	}
	return wrong(text, NULL, "", NULL);
}

/* Says that there is no command `name`, and which one may be meant. */
static int wrong_command(const char *name)
{
	nearest meant = nearest_to(name);
	const char *space = strchr(name, ' ');

	for (const command *c = commands; c < commands + commands_count; c++) {
		nearest_look(&meant, c->name);
		/* "export" alone means "ledger export". */
		const char *second = strchr(c->name, ' ');
		if (second && !space && strcmp(second + 1, name) == 0)
			meant = (nearest){ name, c->name, 0 };
	}
	/* Of two words only the second is compared, because the first is the name of a group. */
	if (space) {
		nearest within = nearest_to(space + 1);
		for (const command *c = commands; c < commands + commands_count; c++) {
			if (!command_is_of(c, group))
				continue;
			const char *before = within.word;
			nearest_look(&within, c->name + strlen(group) + 1);
			if (within.word != before)
				meant.word = c->name;
		}
	}
	return wrong("there is no command", name, "", meant.word);
}

/* Finds the command that `words` begin with, and sets `*used` to how many of them it is. GO_ON: line.command is the
 * command, or NULL, and then the one word that is used is a group's. */
static int find_command(char *const *words, size_t count, size_t *used)
{
	char two[128];

	*used = 1;
	snprintf(two, sizeof two, "%s %s", words[0], count > 1 ? words[1] : "");
	if (count > 1 && (line.command = command_by_name(two))) {
		*used = 2;
		return GO_ON;
	}
	line.command = command_by_name(words[0]);
	group = is_group(words[0]) ? words[0] : NULL;
	if (line.command || (count == 1 && group))
		return GO_ON;
	return wrong_command(group ? two : words[0]);
}

/* Answers a question for help about the command, the group, or nothing, in `words`. */
static int help_of(char *const *words, size_t count)
{
	size_t used;

	if (!count) {
		help_print();
		return finish_output();
	}
	int code = find_command(words, count, &used);
	if (code != GO_ON)
		return code;
	if (line.command)
		help_print_command(line.command);
	else
		help_print_group(words[0]);
	return finish_output();
}

/* Takes the words of the command line that are not flags: the command, and what has to stand after some. */
static int take_words(char *const *words, size_t count)
{
	size_t used;

	if (!count)
		return wrong("a command is missing", NULL, "", NULL);
	int code = find_command(words, count, &used);
	if (code != GO_ON)
		return code;
	if (!line.command)
		return wrong_group();
	if (line.command->argument) {
		char what[128];
		if (used == count) {
			snprintf(what, sizeof what, "%s needs %s after it", line.command->name, line.command->argument);
			return wrong(what, NULL, "", NULL);
		}
		line.ledger.file = line.ledger.name = line.client.name = words[used++];
	}
	if (used == count)
		return GO_ON;
	/* What stands where an argument may stand can be the mistyped second word of another command. */
	char two[128];
	snprintf(two, sizeof two, "%s %s", words[0], words[1]);
	nearest meant = nearest_to(two);
	for (const command *c = commands; c < commands + commands_count && line.command->argument; c++)
		if (!strchr(line.command->name, ' ') && command_is_of(c, words[0]))
			nearest_look(&meant, c->name);
	return wrong("unexpected argument", words[used], "", meant.word);
}

int line_parse(int argc, char **argv)
{
	static reading r;

	int code = read_flags(&r, argc, argv);
	if (code != GO_ON)
		return code;
	char *const *words = argv + optind;
	size_t count = (size_t)(argc - optind);
	if (r.help_form && strcmp(r.help_form, "table") == 0) {
		manual_write(stdout);
		return finish_output();
	}
	if (r.help_form)
		return wrong("the forms of help are --help and --help=table, not", r.help_form, "", NULL);
	bool asked = count && strcmp(words[0], "help") == 0;
	if (r.help || asked)
		return help_of(words + asked, count - asked);
	code = take_words(words, count);
	for (size_t i = 0; code == GO_ON && i < r.count; i++)
		code = take_flag(&r.given[i]);
	line.ask.json = line.check.json = line.client.json = line.ledger.json;
	line.tap.file = line.file;
	return code;
}
