/* SPDX-License-Identifier: MIT */
#include "report/fleet_question.h"

#include <stdlib.h>

#include "base/json.h"
#include "report/figures_fleet.h"
#include "report/fleet_list.h"
#include "report/print.h"
#include "report/request_view.h"

/* ---- the agent asks */

ask_result fleet_question_ask(const char *address, int stop_fd, const fleet_question *q, FILE *out, err *e)
{
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);
	ask_result result = ASK_AWAY;

	if (!f) {
		err_memory(e);
		return result;
	}
	fprintf(f, "{\"about\":\"%s\"", q->about);
	for (size_t i = 0; i < q->count; i++) {
		fprintf(f, ",\"%s\":", q->items[i].name);
		json_write_text(f, q->items[i].value);
	}
	fputs("}\n", f);
	if (fclose(f) != 0) {
		err_memory(e);
	} else if (len > ASK_QUESTION_MAX) {
		err_set(e, "the question has more than %d bytes", ASK_QUESTION_MAX);
		result = ASK_WRONG;
	} else {
		result = ask_shipper(address, stop_fd, slice_of(line, len), out, e);
	}
	free(line);
	return result;
}

/* ---- the shipper answers */

#define OTHER_VERSION "restart this `spoa-llm ship`, if its version is not the agent's"

/* Reads the text of a member into `*text`, which the caller frees. */
static bool read_text(const json_member *m, char **text, err *e)
{
	size_t len = 0;

	*text = malloc(VIEW_VALUE_MAX + 1);
	if (!*text)
		return err_memory(e);
	if (m->type != JSON_STRING || json_text(m->value, *text, VIEW_VALUE_MAX, &len) != JSON_TEXT_OK ||
	    memchr(*text, '\0', len))
		return err_set(e, "\"%.*s\" is no text of at most %d bytes", m->key.len < 40 ? (int)m->key.len : 40,
			       m->key.ptr, VIEW_VALUE_MAX);
	(*text)[len] = '\0';
	return true;
}

typedef struct reading {
	char *about;
	char *texts[VIEW_PARAMETERS]; /* that `q` borrows */
	size_t count;
	view_question q;
	bool figures; /* `q` is set */
} reading;

/* Takes a member. One that this version does not know is an error, because it might narrow the figures. */
static bool take_member(reading *r, const json_member *m, err *e)
{
	char name[40];
	err why;

	if (!r->about) {
		view_about about = VIEW_SAVINGS;
		if (!json_key_is(m->key, slice_cstr("about")))
			return err_set(e, "the question does not begin with what it is about");
		if (!read_text(m, &r->about, e))
			return false;
		r->figures = view_about_of(r->about, &about);
		r->q = view_question_of(about);
		r->q.fleet = true;
		return true;
	}
	snprintf(name, sizeof name, "%.*s", m->key.len < 40 ? (int)m->key.len : 39, m->key.ptr);
	if (!r->figures || r->count == VIEW_PARAMETERS)
		return err_set(e, "a question about \"%.40s\" has no \"%s\": " OTHER_VERSION, r->about, name);
	if (!read_text(m, &r->texts[r->count++], e))
		return false;
	return view_set(&r->q, name, r->texts[r->count - 1], &why) || err_set(e, "%.300s: " OTHER_VERSION, why.text);
}

static bool read_question(slice line, reading *r, err *e)
{
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, line);
	while ((step = json_next(&it, &m)) == JSON_MEMBER)
		if (!take_member(r, &m, e))
			return false;
	if (step != JSON_DONE || !r->about)
		return err_set(e, "the question is no JSON object that says what it is about");
	return !r->figures || view_ready(&r->q, e);
}

/* Says what to do about a statement that took too long (SQLSTATE 57014). */
static void advise(pq *c, pq_result result, err *e)
{
	const err said = *e;

	if (result == PQ_FAILED && strcmp(pq_sqlstate(c), "57014") == 0)
		err_set(e, "%.450s: ask for a shorter period", said.text);
}

static ask_result answer_figures(pq *c, const view_question *q, FILE *out, pq_result *result, err *e)
{
	figures_fleet from = { c, q->gateway, PQ_OK };
	const figures_source source = figures_of_fleet(&from);
	int ignored = 0;

	/* No prices, and no routes, are known here. */
	view_result got = q->about == VIEW_REQUEST ? request_view_answer(q, &source, NULL, NULL, out, &ignored, e) :
						     view_answer(q, &source, out, &ignored, e);
	*result = from.result;
	advise(c, *result, e);
	switch (got) {
	case VIEW_OK:
		return ASK_OK;
	case VIEW_WRONG:
		return ASK_WRONG;
	case VIEW_NONE:
		return ASK_NONE;
	case VIEW_FAILED:
		break;
	}
	return *result == PQ_REFUSED ? ASK_WRONG : ASK_AWAY;
}

static ask_result answer(pq *c, const reading *r, FILE *out, pq_result *result, err *e)
{
	if (r->figures)
		return answer_figures(c, &r->q, out, result, e);
	if (strcmp(r->about, "gateways") == 0) {
		*result = fleet_list_write(c, out, e);
		return *result == PQ_OK ? ASK_OK : ASK_AWAY;
	}
	err_set(e, "this `spoa-llm ship` does not know what \"%.40s\" is: " OTHER_VERSION, r->about);
	return ASK_WRONG;
}

ask_result fleet_question_answer(pq *c, slice line, FILE *out, pq_result *result, err *e)
{
	reading r = { .about = NULL };

	*result = PQ_OK;
	ask_result status = read_question(line, &r, e) ? answer(c, &r, out, result, e) : ASK_WRONG;
	free(r.about);
	while (r.count)
		free(r.texts[--r.count]);
	return status;
}
