/* SPDX-License-Identifier: MIT */
#include "report/view.h"

#include <stdlib.h>
#include <string.h>

#include "report/operation.h"
#include "report/request_list.h"
#include "report/savings.h"

static const char *const abouts[] = { "savings", "operation", "requests", "request" };

static const view_label labels[] = {
	{ "model", FACET_MODEL },   { "route", FACET_ROUTE },   { "project", FACET_PROJECT },
	{ "client", FACET_CLIENT }, { "member", FACET_MEMBER }, { "backend", FACET_BACKEND },
	{ "status", FACET_STATUS }, { "code", FACET_CODE },     { "status_class", FACET_STATUS_CLASS },
};

const view_label *view_label_of(const char *name)
{
	for (size_t i = 0; i < sizeof labels / sizeof labels[0]; i++)
		if (strcmp(labels[i].name, name) == 0)
			return &labels[i];
	return NULL;
}

bool view_about_of(const char *name, view_about *about)
{
	for (size_t i = 0; i < sizeof abouts / sizeof abouts[0]; i++)
		if (strcmp(abouts[i], name) == 0) {
			*about = (view_about)i;
			return true;
		}
	return false;
}

view_question view_question_of(view_about about)
{
	return (view_question){ .about = about, .limit = -1 };
}

/* ---- parameters */

/* How a value is read. KIND_LABEL: as the flags of `spoa-llm savings`, so that an empty one means requests without a
 * label. An empty value of the others is as if it was not given. */
typedef enum kind { KIND_LABEL, KIND_TEXT, KIND_STATUS, KIND_COUNT, KIND_WORD } kind;

enum {
	IN_SAVINGS = 1 << VIEW_SAVINGS,
	IN_OPERATION = 1 << VIEW_OPERATION,
	IN_REQUESTS = 1 << VIEW_REQUESTS,
	IN_REQUEST = 1 << VIEW_REQUEST,
	IN_SUMS = IN_SAVINGS | IN_OPERATION,
	IN_MANY = IN_SUMS | IN_REQUESTS,
	IN_ALL = IN_MANY | IN_REQUEST,
};

typedef enum parameter_id {
	P_SINCE,
	P_UNTIL,
	P_MODEL,
	P_ROUTE,
	P_PROJECT,
	P_CLIENT,
	P_MEMBER,
	P_CODE,
	P_ID,
	P_GATEWAY,
	P_STATUS,
	P_SCOPE,
	P_FORMAT,
	P_BY,
	P_SPLIT,
	P_COMPARE,
	P_UNIT,
	P_LIMIT,
	P_OFFSET,
	P_SORT,
	P_ORDER,
	PARAMETERS,
} parameter_id;

#define AT(member) offsetof(view_question, member)

static const struct parameter {
	const char *name;
	kind kind;
	unsigned in;
	size_t at;            /* of KIND_LABEL, KIND_TEXT and KIND_COUNT */
	const char *words[6]; /* of KIND_WORD */
} parameters[PARAMETERS] = {
	[P_SINCE] = { "since", KIND_TEXT, IN_MANY, AT(since), { NULL } },
	[P_UNTIL] = { "until", KIND_TEXT, IN_MANY, AT(until), { NULL } },
	[P_MODEL] = { "model", KIND_LABEL, IN_MANY, AT(only.model), { NULL } },
	[P_ROUTE] = { "route", KIND_LABEL, IN_MANY, AT(only.route), { NULL } },
	[P_PROJECT] = { "project", KIND_LABEL, IN_MANY, AT(only.project), { NULL } },
	[P_CLIENT] = { "client", KIND_LABEL, IN_MANY, AT(only.client), { NULL } },
	[P_MEMBER] = { "member", KIND_LABEL, IN_MANY, AT(only.member), { NULL } },
	[P_CODE] = { "code", KIND_LABEL, IN_MANY, AT(only.code), { NULL } },
	[P_ID] = { "id", KIND_TEXT, IN_REQUESTS | IN_REQUEST, AT(only.id), { NULL } },
	[P_GATEWAY] = { "gateway", KIND_TEXT, IN_ALL, AT(gateway), { NULL } },
	[P_STATUS] = { "status", KIND_STATUS, IN_MANY, 0, { NULL } },
	[P_SCOPE] = { "scope", KIND_WORD, IN_ALL, 0, { "gateway", "fleet" } },
	[P_FORMAT] = { "format", KIND_WORD, IN_SAVINGS | IN_REQUESTS, 0, { "json", "csv" } },
	[P_BY] = { "by", KIND_TEXT, IN_SUMS, AT(by), { NULL } },
	[P_SPLIT] = { "split", KIND_TEXT, IN_SAVINGS, AT(split), { NULL } },
	[P_COMPARE] = { "compare", KIND_WORD, IN_SAVINGS, 0, { "0", "1" } },
	[P_UNIT] = { "unit", KIND_WORD, IN_OPERATION, 0, { "hour", "day" } },
	[P_LIMIT] = { "limit", KIND_COUNT, IN_REQUESTS, AT(limit), { NULL } },
	[P_OFFSET] = { "offset", KIND_COUNT, IN_REQUESTS, AT(offset), { NULL } },
	[P_SORT] = { "sort", KIND_WORD, IN_REQUESTS, 0, { "time", "cost", "whole_ms", "first_byte_ms", "tokens" } },
	[P_ORDER] = { "order", KIND_WORD, IN_REQUESTS, 0, { "desc", "asc" } },
};

_Static_assert(PARAMETERS <= 32, "each parameter has a bit");

static bool count_of(const struct parameter *p, const char *text, int64_t *count, err *e)
{
	const char *at = text;

	*count = 0;
	while (*at >= '0' && *at <= '9' && *count <= VIEW_OFFSET_MAX)
		*count = *count * 10 + (*at++ - '0');
	return (at > text && !*at && *count <= VIEW_OFFSET_MAX) ||
	       err_set(e, "%s \"%.60s\": a whole number is expected", p->name, text);
}

static bool word_of(const struct parameter *p, const char *text, size_t *word, err *e)
{
	char list[80] = "";

	for (*word = 0; p->words[*word]; ++*word) {
		const char *w = p->words[*word];
		size_t len = strlen(list);
		if (strcmp(w, text) == 0)
			return true;
		snprintf(list + len, sizeof list - len, "%s%s", !*word ? "" : p->words[*word + 1] ? ", " : " or ", w);
	}
	return err_set(e, "%s \"%.60s\": %s is expected", p->name, text, list);
}

static void set_word(view_question *q, parameter_id id, size_t word)
{
	if (id == P_SCOPE)
		q->fleet = word == 1;
	else if (id == P_FORMAT)
		q->csv = word == 1;
	else if (id == P_COMPARE)
		q->compare = word == 1;
	else if (id == P_UNIT)
		q->unit = parameters[P_UNIT].words[word];
	else if (id == P_SORT)
		q->sort = (view_sort)word;
	else
		q->ascending = word == 1; /* order */
}

/* True if `text` is UTF-8, as names of the ledger are. */
static bool is_utf8(const char *text)
{
	const char *at = text;

	while (*at) {
		const char *before = at;
		if (utf8_next(&at) == 0xfffd && memcmp(before, "\xef\xbf\xbd", 3) != 0)
			return false;
	}
	return true;
}

bool view_set(view_question *q, const char *name, const char *value, err *e)
{
	parameter_id id = 0;
	size_t word;

	while (id < PARAMETERS && strcmp(parameters[id].name, name) != 0)
		id++;
	if (id == PARAMETERS || !(parameters[id].in & 1u << q->about))
		return err_set(e, "/%s has no parameter \"%.60s\"", abouts[q->about], name);
	const struct parameter *p = &parameters[id];
	if (q->given & 1u << id)
		return err_set(e, "%s is given more than once", name);
	q->given |= 1u << id;
	if (strlen(value) > VIEW_VALUE_MAX)
		return err_set(e, "%s has more than %d bytes", name, VIEW_VALUE_MAX);
	if (!is_utf8(value))
		return err_set(e, "%s is not UTF-8", name);
	if (!*value && p->kind != KIND_LABEL)
		return true;
	switch (p->kind) {
	case KIND_LABEL:
	case KIND_TEXT:
		memcpy((char *)q + p->at, &value, sizeof value);
		return true;
	case KIND_STATUS:
		return filter_status(&q->only, value, e);
	case KIND_COUNT:
		return count_of(p, value, (int64_t *)(void *)((char *)q + p->at), e);
	case KIND_WORD:
		break;
	}
	if (!word_of(p, value, &word, e))
		return false;
	set_word(q, id, word);
	return true;
}

/* ---- what they say together */

static bool by_ready(const view_question *q, err *e)
{
	bool in_time = q->by && (strcmp(q->by, "day") == 0 || strcmp(q->by, "hour") == 0);

	if (q->split && !view_label_of(q->split))
		return err_set(e,
			       "split \"%.60s\": model, route, project, client, member, backend, status, code or "
			       "status_class is expected",
			       q->split);
	if (q->split && !in_time)
		return err_set(e, "split needs by=day or by=hour");
	if (q->about == VIEW_OPERATION && q->by && !view_label_of(q->by) && strcmp(q->by, "gateway") != 0)
		return err_set(e,
			       "by \"%.60s\": model, route, project, client, member, backend, status, code, "
			       "status_class or, with scope=fleet, gateway is expected",
			       q->by);
	return !q->by || strcmp(q->by, "gateway") != 0 || q->fleet || q->about == VIEW_SAVINGS ||
	       err_set(e, "by=gateway needs scope=fleet, because this ledger is of one gateway");
}

static bool list_ready(view_question *q, err *e)
{
	int64_t most = q->csv ? VIEW_LIMIT_CSV : VIEW_LIMIT;

	if (q->limit < 0)
		q->limit = q->csv ? VIEW_LIMIT_CSV : 100;
	if (q->limit < 1 || q->limit > most)
		return err_set(e, "limit \"%lld\": a whole number from 1 to %lld is expected", (long long)q->limit,
			       (long long)most);
	return true;
}

bool view_ready(view_question *q, err *e)
{
	const char *usual = q->about == VIEW_SAVINGS ? "30d" : q->about == VIEW_OPERATION ? "24h" : "all";

	if (q->gateway && !q->fleet)
		return err_set(e, "gateway needs scope=fleet, because this ledger is of one gateway");
	if (q->about == VIEW_REQUEST && !q->only.id)
		return err_set(e, "id is needed: /request?id=ID");
	if (q->about == VIEW_REQUESTS && !list_ready(q, e))
		return false;
	return by_ready(q, e) && period_parse(q->since, q->until, usual, &q->period, e);
}

/* ---- answers */

static view_result answer_savings(const view_question *q, const figures_source *source, FILE *out, int *result, err *e)
{
	savings_report r;
	bool ok = savings_prepare_view(&r, q, e);

	if (!ok)
		return VIEW_WRONG;
	*result = savings_read_view(source, &r, e);
	if (!*result)
		savings_write(out, &r, q->csv);
	savings_deinit(&r);
	return *result ? VIEW_FAILED : VIEW_OK;
}

view_result view_answer(const view_question *q, const figures_source *source, FILE *out, int *result, err *e)
{
	switch (q->about) {
	case VIEW_SAVINGS:
		return answer_savings(q, source, out, result, e);
	case VIEW_OPERATION:
		return operation_answer(q, source, out, result, e);
	case VIEW_REQUESTS:
		return request_list_answer(q, source, out, result, e);
	case VIEW_REQUEST:
		break;
	}
	return VIEW_NONE;
}
