/* SPDX-License-Identifier: MIT */
#include "commands/manual.h"

#include "config/config.h"

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

void manual_options(FILE *out)
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
