/* SPDX-License-Identifier: MIT */
#include "config/config.h"

#include <stdlib.h>

#include "config/check.h"
#include "config/read.h"
#include "config/values.h"

bool config_load_all(config *c, const char *file, const option_text *flags, size_t count, err_list *all, err *e)
{
	settings s;

	*c = (config){ 0 };
	bool ok = settings_read(&s, file, flags, count, e) && settings_check(&s, c, all, e);
	settings_deinit(&s);
	if (!ok)
		config_deinit(c);
	return ok;
}

bool config_load(config *c, const char *file, const option_text *flags, size_t count, err *e)
{
	err_list all = { .items = NULL };
	err why = { 0 };

	bool ok = config_load_all(c, file, flags, count, &all, &why);
	if (!ok && all.count && why.kind != ERR_MEMORY)
		err_list_sum(&all, e);
	else if (!ok)
		*e = why;
	err_list_deinit(&all);
	return ok;
}

void config_reload(config *c, config *fresh)
{
	for (const option_info *o = options; o < options + options_count; o++) {
		if (o->type == OPTION_ROUTES) /* the caller makes a policy of the table */
			continue;
		if (o->reloadable)
			value_swap(c, fresh, o);
		else if (!value_same(c, fresh, o))
			log_event(not_reloaded, LOG_C("option", o->key),
				  LOG_C("hint", "this option takes an upgrade (SIGUSR2) or a restart"));
	}
}

void config_deinit(config *c)
{
	for (const option_info *o = options; o < options + options_count; o++)
		value_clear(c, o);
	free(c->file);
	route_table_unref(c->table);
	*c = (config){ 0 };
}
