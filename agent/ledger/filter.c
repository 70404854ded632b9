/* SPDX-License-Identifier: MIT */
#include "ledger/filter.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool filter_status(row_filter *f, const char *text, err *e)
{
	bool digit = text[0] >= '1' && text[0] <= '9';

	if (strcmp(text, "none") == 0) {
		f->status_to = 1;
		return true;
	}
	if (digit && strcmp(text + 1, "xx") == 0) {
		f->status_from = (text[0] - '0') * 100;
		f->status_to = f->status_from + 100;
		return true;
	}
	if (digit && strlen(text) == 3 && strspn(text, "0123456789") == 3) {
		f->status_from = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
		f->status_to = f->status_from + 1;
		return true;
	}
	return err_set(e, "--status \"%.60s\": a status like 429, a class like 4xx, or none is expected", text);
}

filter_label filter_label_of(const char *value)
{
	size_t len = strlen(value);

	if (*value == '=')
		return (filter_label){ value + 1, len - 1, false };
	if (len && value[len - 1] == '*')
		return (filter_label){ value, len - 1, true };
	return (filter_label){ value, len, false };
}

bool filter_is_empty(const row_filter *f)
{
	return !f || (!f->model && !f->route && !f->project && !f->client && !f->member && !f->code && !f->id &&
		      !f->status_to);
}

static void condition(filter_sql *out, const char *column, const char *how, char mark, int first, const char *value)
{
	char parameter[32];
	size_t len = strlen(out->where), room = sizeof out->where - len;
	int n = first + (int)out->count, is;

	snprintf(parameter, sizeof parameter, "CAST(%c%d AS %s)", mark, n,
		 *how == '=' || *how == '*' ? "text" : "integer");
	if (*how == '*')
		is = snprintf(out->where + len, room, " AND substr(%s, 1, length(%s) - 1) || '*' = %s", column,
			      parameter, parameter);
	else
		is = snprintf(out->where + len, room, " AND %s %s %s", column, how, parameter);
	/* So that SQLite uses the index of ids. */
	if (*how == '*' && mark == '?' && strcmp(column, "id") == 0 && value[1])
		is += snprintf(out->where + len + is, room - (size_t)is,
			       " AND id >= substr(%s, 1, length(%s) - 1)"
			       " AND id < substr(%s, 1, length(%s) - 1) || char(1114111)",
			       parameter, parameter, parameter, parameter);
	assert(is > 0 && (size_t)is < room && out->count < FILTER_VALUES_MAX);
	out->values[out->count++] = value;
}

void filter_make(filter_sql *out, const row_filter *f, char mark, int first)
{
	const struct {
		const char *column, *value;
	} labels[] = {
		{ "model", f ? f->model : NULL },     { "route", f ? f->route : NULL },
		{ "project", f ? f->project : NULL }, { "client", f ? f->client : NULL },
		{ "member", f ? f->member : NULL },   { "code", f ? f->code : NULL },
		{ "id", f ? f->id : NULL },
	};

	out->where[0] = '\0';
	out->count = 0;
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++) {
		if (!labels[i].value)
			continue;
		filter_label label = filter_label_of(labels[i].value);
		condition(out, labels[i].column, label.begins ? "*" : "=", mark, first, label.text);
	}
	if (!f || !f->status_to)
		return;
	snprintf(out->numbers[0], sizeof out->numbers[0], "%d", (int)f->status_from);
	snprintf(out->numbers[1], sizeof out->numbers[1], "%d", (int)f->status_to);
	condition(out, "status", ">=", mark, first, out->numbers[0]);
	condition(out, "status", "<", mark, first, out->numbers[1]);
}
