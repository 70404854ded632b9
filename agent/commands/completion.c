/* SPDX-License-Identifier: MIT
 *
 * The scripts for bash and zsh are one function, which looks up words in two lists: what may stand after the words
 * before, and what values a flag takes. */
#include "commands/completion.h"

#include <stdio.h>
#include <sysexits.h>

#include "commands/table.h"
#include "report/print.h"

/* The values of an option: those of a choice; "file" for a path; "any" for others; "" for a switch. */
static void values_of(const option_info *o, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	if (o->type == OPTION_CHOICE)
		for (int i = 0; o->choices[i]; i++)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", i ? " " : "", o->choices[i]);
	else if (o->arg)
		snprintf(out, cap, "%s",
			 strcmp(o->arg, "FILE") == 0 || strcmp(o->arg, "DIR") == 0 || strcmp(o->arg, "PATH") == 0 ?
				 "file" :
				 "any");
}

static const char *values_of_flag(const flag_info *f)
{
	return f->values                                                 ? f->values :
	       !f->arg                                                   ? "" :
	       strcmp(f->arg, "FILE") == 0 || strcmp(f->arg, "DIR") == 0 ? "file" :
									   "any";
}

/* Prints the words that may stand first, or after `group`, each with a blank before it. */
static void print_words(const char *group)
{
	char done[32] = "", word[32];

	for (const command *c = commands; c < commands + commands_count; c++) {
		size_t len = strcspn(c->name, " ");
		if (group && !command_is_of(c, group))
			continue;
		snprintf(word, sizeof word, "%.*s", group ? 31 : (int)len, group ? c->name + len + 1 : c->name);
		if (strcmp(word, done) != 0)
			printf(" %s", word);
		memcpy(done, word, sizeof done);
	}
}

static bool is_first_of_group(const command *c)
{
	size_t len = strcspn(c->name, " ");
	char group[32];

	if (!c->name[len])
		return false;
	snprintf(group, sizeof group, "%.*s", (int)len, c->name);
	for (const command *before = commands; before < c; before++)
		if (command_is_of(before, group))
			return false;
	return true;
}

/* Prints the two lists as the branches of a shell's `case`. */
static void print_cases(void)
{
	char flag[64], values[128];

	printf("_spoa_llm_words() {\n    case $1 in\n    '') echo");
	print_words(NULL);
	printf(" help ;;\n    help) echo");
	print_words(NULL);
	printf(" ;;\n");
	for (const command *c = commands; c < commands + commands_count; c++) {
		if (!is_first_of_group(c))
			continue;
		snprintf(flag, sizeof flag, "%.*s", (int)strcspn(c->name, " "), c->name);
		printf("    %s|'help %s') echo", flag, flag);
		print_words(flag);
		printf(" ;;\n");
	}
	printf("    esac\n}\n\n_spoa_llm_flags() {\n    case $1 in\n");
	for (const command *c = commands; c < commands + commands_count; c++) {
		printf("    '%s') echo", c->name);
		for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++)
			if (f->of & c->id)
				printf(" --%s", f->name);
		printf(" ;;\n");
	}
	printf("    esac\n    echo --config --help --version");
	for (const option_info *o = options; o < options + options_count; o++) {
		option_flag(o, flag, sizeof flag);
		printf(" --%s", flag);
	}
	printf("\n}\n\n_spoa_llm_values() {\n    case $1 in\n    *' -c'|*' --config') echo file ;;\n");
	for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++) {
		if (!f->arg)
			continue;
		for (const command *c = commands; c < commands + commands_count; c++)
			if (f->of & c->id)
				printf("    '%s --%s') echo %s ;;\n", c->name, f->name, values_of_flag(f));
	}
	for (const option_info *o = options; o < options + options_count; o++) {
		option_flag(o, flag, sizeof flag);
		values_of(o, values, sizeof values);
		if (*values)
			printf("    *' --%s') echo %s ;;\n", flag, values);
	}
	printf("    esac\n}\n\n");
	/* The command in the words "$@", of which the first is spoa-llm: one word, or two. */
	printf("_spoa_llm_command() {\n"
	       "    shift\n"
	       "    _spoa_llm_first=\n"
	       "    while [ $# -gt 0 ]; do\n"
	       "        case $1 in\n"
	       "        -*) case $(_spoa_llm_values \"$_spoa_llm_first $1\") in '') ;; *) [ $# -gt 1 ] && shift ;; esac ;;\n"
	       "        *)\n"
	       "            if [ -z \"$_spoa_llm_first\" ]; then _spoa_llm_first=$1\n"
	       "            elif [ -n \"$(_spoa_llm_words \"$_spoa_llm_first\")\" ]; then _spoa_llm_first=\"$_spoa_llm_first $1\"\n"
	       "            fi ;;\n"
	       "        esac\n"
	       "        shift\n"
	       "    done\n"
	       "}\n\n");
}

/* What may stand after the words so far: the part that bash and zsh share. Sets _spoa_llm_reply to words, file or any.
 */
#define COMPLETE \
	"    case $current in\n" \
	"    -*) _spoa_llm_reply=$(_spoa_llm_flags \"$_spoa_llm_first\") ;;\n" \
	"    *)\n" \
	"        _spoa_llm_reply=$(_spoa_llm_values \"$_spoa_llm_first $previous\")\n" \
	"        case $previous in -*) ;; *) _spoa_llm_reply= ;; esac\n" \
	"        if [ -z \"$_spoa_llm_reply\" ]; then\n" \
	"            _spoa_llm_reply=$(_spoa_llm_words \"$_spoa_llm_first\")\n" \
	"            [ -z \"$_spoa_llm_reply\" ] && case $_spoa_llm_first in %s) _spoa_llm_reply=file ;; esac\n" \
	"        fi ;;\n" \
	"    esac\n"

/* Writes the commands after which a FILE stands, as a pattern of the shell. */
static const char *file_commands(char out[256])
{
	size_t len = 0;

	for (const command *c = commands; c < commands + commands_count; c++)
		if (c->argument && strcmp(c->argument, "FILE") == 0)
			len += (size_t)snprintf(out + len, 256 - len, "%s'%s'", len ? "|" : "", c->name);
	return out;
}

static void print_bash(void)
{
	char files[256];

	printf("# bash completion for spoa-llm, made by `spoa-llm completion bash`\n\n");
	print_cases();
	printf("_spoa_llm() {\n"
	       "    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
	       "    local _spoa_llm_first _spoa_llm_reply\n"
	       "    COMPREPLY=()\n"
	       "    _spoa_llm_command \"${COMP_WORDS[@]:0:COMP_CWORD}\"\n");
	printf(COMPLETE, file_commands(files));
	printf("    case $_spoa_llm_reply in\n"
	       "    any) ;;\n"
	       "    file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\") ;;\n"
	       "    *) mapfile -t COMPREPLY < <(compgen -W \"$_spoa_llm_reply\" -- \"$current\") ;;\n"
	       "    esac\n"
	       "}\n\n"
	       "complete -F _spoa_llm spoa-llm\n");
}

static void print_zsh(void)
{
	char files[256];

	printf("#compdef spoa-llm\n# zsh completion for spoa-llm, made by `spoa-llm completion zsh`\n\n");
	print_cases();
	printf("_spoa_llm() {\n"
	       "    local current=$words[CURRENT] previous=$words[CURRENT-1]\n"
	       "    local _spoa_llm_first _spoa_llm_reply\n"
	       "    _spoa_llm_command \"${(@)words[1,CURRENT-1]}\"\n");
	printf(COMPLETE, file_commands(files));
	printf("    case $_spoa_llm_reply in\n"
	       "    any) ;;\n"
	       "    file) _files ;;\n"
	       "    *) compadd -- ${=_spoa_llm_reply} ;;\n"
	       "    esac\n"
	       "}\n\n"
	       "if [ \"$funcstack[1]\" = _spoa_llm ]; then _spoa_llm \"$@\"; else compdef _spoa_llm spoa-llm; fi\n");
}

/* ---- fish has a list of rules instead of a function */

/* Prints a text between single quotes. */
static void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text; text++)
		printf(*text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
	putchar('\'');
}

/* Prints the condition that the words so far are those of `c`. */
static void print_seen(const command *c)
{
	size_t len = strcspn(c->name, " ");

	printf(" -n '__fish_seen_subcommand_from %.*s", (int)len, c->name);
	if (c->name[len])
		printf("; and __fish_seen_subcommand_from %s", c->name + len + 1);
	printf("'");
}

static void print_fish_values(const char *values)
{
	if (!*values)
		return;
	if (strcmp(values, "file") == 0)
		printf(" -r -F");
	else if (strcmp(values, "any") == 0)
		printf(" -x");
	else
		printf(" -x -a '%s'", values);
}

static void print_fish(void)
{
	char flag[64], values[128];

	printf("# fish completion for spoa-llm, made by `spoa-llm completion fish`\n\ncomplete -c spoa-llm -f\n");
	for (const command *c = commands; c < commands + commands_count; c++) {
		size_t len = strcspn(c->name, " ");
		if (!c->name[len] || is_first_of_group(c))
			printf("complete -c spoa-llm -n __fish_use_subcommand -a %.*s", (int)len, c->name);
		if (!c->name[len]) {
			printf(" -d ");
			print_quoted(c->help);
		}
		if (!c->name[len] || is_first_of_group(c))
			putchar('\n');
		if (c->name[len]) {
			snprintf(flag, sizeof flag, "%.*s", (int)len, c->name);
			printf("complete -c spoa-llm -n '__fish_seen_subcommand_from %s; and not __fish_seen_subcommand_from",
			       flag);
			print_words(flag);
			printf("' -a %s -d ", c->name + len + 1);
			print_quoted(c->help);
			putchar('\n');
		}
		if (c->argument && strcmp(c->argument, "FILE") == 0) {
			printf("complete -c spoa-llm -F");
			print_seen(c);
			putchar('\n');
		}
		for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++) {
			if (!(f->of & c->id))
				continue;
			printf("complete -c spoa-llm");
			print_seen(c);
			printf(" -l %s", f->name);
			print_fish_values(values_of_flag(f));
			printf(" -d ");
			print_quoted(f->help);
			putchar('\n');
		}
	}
	printf("complete -c spoa-llm -n '__fish_seen_subcommand_from help' -a '");
	print_words(NULL);
	printf("'\ncomplete -c spoa-llm -n __fish_use_subcommand -a help -d 'how a command is used'\n"
	       "complete -c spoa-llm -s c -l config -r -F -d configuration\n"
	       "complete -c spoa-llm -s h -l help -d 'how the command is used'\n"
	       "complete -c spoa-llm -s v -l version -d 'the version'\n");
	for (const option_info *o = options; o < options + options_count; o++) {
		option_flag(o, flag, sizeof flag);
		values_of(o, values, sizeof values);
		printf("complete -c spoa-llm -l %s", flag);
		print_fish_values(values);
		printf(" -d ");
		print_quoted(o->help);
		putchar('\n');
	}
}

int command_completion(const char *name)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		if (strcmp(shells[i].name, name) != 0)
			continue;
		shells[i].print();
		return finish_output();
	}
	fprintf(stderr, "spoa-llm: completion for \"%.60s\": bash, zsh or fish is expected\n", name);
	return EX_USAGE;
}
