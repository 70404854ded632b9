/* SPDX-License-Identifier: MIT */
#include "commands/help.h"

#include "report/print.h"

enum { WIDTH_MAX = 100, COMMAND_WIDTH = 18 };

/* Prints `text` from the column `at` on, wrapped at the width of the terminal; further lines begin at `indent`. */
static void print_wrapped(const char *text, int at, int indent)
{
	int width = terminal_of(stdout).columns;

	width = width > WIDTH_MAX ? WIDTH_MAX : width;
	for (bool begun = false; *text; begun = true) {
		int len = (int)strcspn(text, " ");
		if (begun && at + 1 + len > width) {
			printf("\n%*s", indent, "");
			at = indent;
		} else if (begun) {
			putchar(' ');
			at++;
		}
		printf("%.*s", len, text);
		at += len;
		text += len + (text[len] == ' ');
	}
	putchar('\n');
}

/* Prints a word, and what is said of it in a column that begins at `width`. */
static void print_entry(const char *word, const char *text, int width)
{
	int at = printf("  %s", word);

	if (at + 2 > width) {
		putchar('\n');
		at = 0;
	}
	printf("%*s", width - at, "");
	print_wrapped(text, width, width);
}

/* Copies the first words of the help of `c`, up to a comma or semicolon. */
static const char *brief(const command *c, char out[160])
{
	snprintf(out, 160, "%.*s", (int)strcspn(c->help, ",;"), c->help);
	return out;
}

static void print_usage(const char *name, const char *argument)
{
	printf("usage: spoa-llm %s%s%s [OPTION ...]\n\n", name, argument ? " " : "", argument ? argument : "");
}

void help_print(void)
{
	char text[160], group[32], done[32] = "", words[256];

	print_usage("COMMAND", NULL);
	printf("Tells HAProxy, over SPOP, which backend and whose credential serves an LLM request.\n\n");
	for (const command *c = commands; c < commands + commands_count; c++) {
		size_t len = strcspn(c->name, " "), at = 0;
		if (!c->name[len]) {
			print_entry(c->name, brief(c, text), COMMAND_WIDTH);
			continue;
		}
		snprintf(group, sizeof group, "%.*s", (int)len, c->name);
		if (strcmp(group, done) == 0)
			continue;
		memcpy(done, group, sizeof done);
		for (const command *m = c; m < commands + commands_count; m++)
			if (command_is_of(m, group))
				at += (size_t)snprintf(words + at, sizeof words - at, "%s%s", at ? ", " : "",
						       m->name + len + 1);
		snprintf(group + len, sizeof group - len, " ...");
		print_entry(group, words, COMMAND_WIDTH);
	}
	printf("\n`spoa-llm help COMMAND` prints its options and examples; `man spoa-llm` has all of it.\n");
}

/* Returns how wide the column of the flags of `c` is. */
static int flags_width(const command *c)
{
	int width = 0;

	for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++) {
		int len = (int)strlen(f->name) + (f->arg ? 1 + (int)strlen(f->arg) : 0);
		width = (f->of & c->id) && len > width ? len : width;
	}
	return width + 6;
}

void help_print_command(const command *c)
{
	char flag[64];
	int width = flags_width(c);
	bool any = false;

	print_usage(c->name, c->argument);
	flag[0] = (char)(c->help[0] - 'a' + 'A');
	printf("%c", flag[0]);
	print_wrapped(c->help + 1, 1, 0);
	for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++) {
		if (!(f->of & c->id))
			continue;
		if (!any)
			putchar('\n');
		any = true;
		snprintf(flag, sizeof flag, "--%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
		print_entry(flag, f->help, width);
	}
	printf("\nexamples:\n");
	for (const char *at = c->examples; *at; at += strcspn(at, "\n"), at += *at == '\n')
		printf("  %.*s\n", (int)strcspn(at, "\n"), at);
	printf("\n-c FILE names the configuration, and each of its options can be given here: `man spoa-llm`.\n");
}

void help_print_group(const char *group)
{
	char name[64];
	size_t longest = 0;

	for (const command *c = commands; c < commands + commands_count; c++) {
		size_t len = strlen(c->name) + (c->argument ? 1 + strlen(c->argument) : 0);
		longest = command_is_of(c, group) && len > longest ? len : longest;
	}
	snprintf(name, sizeof name, "%s COMMAND", group);
	print_usage(name, NULL);
	for (const command *c = commands; c < commands + commands_count; c++) {
		if (!command_is_of(c, group))
			continue;
		snprintf(name, sizeof name, "%s%s%s", c->name, c->argument ? " " : "", c->argument ? c->argument : "");
		print_entry(name, c->help, (int)longest + 4);
	}
	printf("\n`spoa-llm help %s COMMAND` prints its options and examples.\n", group);
}
