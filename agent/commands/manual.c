/* SPDX-License-Identifier: MIT */
#include "commands/manual.h"

#include "base/log.h"
#include "commands/table.h"
#include "config/config.h"
#include "decide/decision.h"

static const char *type_name(option_type type)
{
	switch (type) {
	case OPTION_BOOL:
		return "bool";
	case OPTION_INT:
		return "int";
	case OPTION_MODE:
		return "mode";
	case OPTION_CHOICE:
		return "choice";
	case OPTION_STRING:
		return "string";
	case OPTION_LIST:
		return "list";
	case OPTION_ROUTES:
		return "routes";
	}
	return "";
}

static void write_options(FILE *out)
{
	char flag[64], variable[64];

	for (const option_info *o = options; o < options + options_count; o++) {
		option_flag(o, flag, sizeof flag);
		option_variable(o, variable, sizeof variable);
		fprintf(out, "option\t%s\t%s\t%s\t%s\t%lld\t%lld\t", o->key, flag, variable, type_name(o->type),
			(long long)o->min, (long long)o->max);
		for (int i = 0; o->choices[i]; i++)
			fprintf(out, "%s%s", i ? "|" : "", o->choices[i]);
		fprintf(out, "\t%s\t%s\t%s\t%s\n", o->fallback ? o->fallback : "", o->reloadable ? "reload" : "",
			o->arg ? o->arg : "", o->help);
	}
}

static void write_events(FILE *out)
{
	for (const log_event_info *e = log_events; e < log_events + LOG_EVENTS; e++)
		fprintf(out, "event\t%s\t%s\t%s\t%s\t%s\n", e->name, log_level_names[e->level], e->fields, e->happened,
			e->advice);
	for (size_t r = REFUSE_NOT + 1; r < REFUSALS; r++) {
		const refusal_info *info = refusal_describe((refusal)r);
		fprintf(out, "refusal\t%s\t%d\t%s\n", info->code, info->status, info->message);
	}
}

static void write_commands(FILE *out)
{
	char of[512];

	for (const command *c = commands; c < commands + commands_count; c++)
		fprintf(out, "command\t%s\t%s\t%s\n", c->name, c->argument ? c->argument : "", c->help);
	for (const flag_info *f = own_flags; f < own_flags + own_flags_count; f++) {
		command_list(f->of, of, sizeof of);
		fprintf(out, "flag\t%s\t%s\t%s\t%s\n", f->name, f->arg ? f->arg : "", of, f->help);
	}
}

void manual_write(FILE *out)
{
	write_commands(out);
	write_options(out);
	write_events(out);
}
