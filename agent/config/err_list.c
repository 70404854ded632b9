/* SPDX-License-Identifier: MIT */
#include "config/err_list.h"

#include <stdlib.h>
#include <string.h>

size_t err_place(const char *text, size_t *name, size_t *line, size_t *column)
{
	for (const char *at = strchr(text, ':'); at; at = strchr(at + 1, ':')) {
		size_t first = strspn(at + 1, "0123456789");
		size_t second = first && at[1 + first] == ':' ? strspn(at + 2 + first, "0123456789") : 0;
		if (!second || at[2 + first + second] != ':')
			continue;
		*name = (size_t)(at - text);
		*line = strtoul(at + 1, NULL, 10);
		*column = strtoul(at + 2 + first, NULL, 10);
		return *name + 3 + first + second;
	}
	return 0;
}

void err_list_add(err_list *all, const err *e)
{
	size_t name, line, column, len = err_place(e->text, &name, &line, &column);

	for (size_t i = 0; i < all->count && len; i++)
		if (strncmp(all->items[i].text, e->text, len) == 0)
			return;
	if (!all->items)
		all->items = calloc(ERRORS_MAX, sizeof *all->items);
	if (!all->items)
		all->failed = true;
	else if (all->count < ERRORS_MAX)
		all->items[all->count++] = *e;
}

void err_list_sum(const err_list *all, err *e)
{
	if (all->count == 1)
		err_set(e, "%s", all->items[0].text);
	else if (all->count)
		err_set(e, "%.*s (and %zu more: `spoa-llm check` lists them)", 440, all->items[0].text, all->count - 1);
}

void err_list_deinit(err_list *all)
{
	free(all->items);
	*all = (err_list){ .items = NULL };
}
