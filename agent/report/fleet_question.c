/* SPDX-License-Identifier: MIT */
#include "report/fleet_question.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/text.h"
#include "report/fleet_list.h"
#include "report/savings.h"

enum {
	TEXT_MAX = 128,
	LINES_MAX = 20000, /* the hours of two years; so the shipper needs 20 MB for an answer, whatever others have
			      written */
};

/* ---- the agent asks */

ask_result fleet_question_ask(const char *address, int stop_fd, const fleet_question *q, FILE *out, err *e)
{
	const struct {
		const char *name, *text;
	} members[] = { { "since", q->since }, { "until", q->until }, { "by", q->by }, { "format", q->format } };
	char *line = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&line, &len);
	ask_result result = ASK_AWAY;

	if (!f) {
		err_memory(e);
		return result;
	}
	fprintf(f, "{\"about\":\"%s\"", q->about);
	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
		if (members[i].text) {
			fprintf(f, ",\"%s\":", members[i].name);
			json_write_text(f, members[i].text);
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

typedef struct question {
	char about[TEXT_MAX], since[TEXT_MAX], until[TEXT_MAX], by[TEXT_MAX], format[TEXT_MAX];
} question;

/* Reads the question. A member that is not known might narrow the figures, so that no answer is right without it. */
static bool read_question(slice line, question *q, err *e)
{
	const struct {
		slice name;
		char *to;
	} texts[] = { { SLICE_INIT("about"), q->about },
		      { SLICE_INIT("since"), q->since },
		      { SLICE_INIT("until"), q->until },
		      { SLICE_INIT("by"), q->by },
		      { SLICE_INIT("format"), q->format } };
	enum { TEXTS = sizeof texts / sizeof texts[0] };
	json_iter it;
	json_member m;
	json_step step;

	*q = (question){ .about = "" };
	json_iter_init(&it, line);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		size_t i = 0, len = 0;
		while (i < TEXTS && !json_key_is(m.key, texts[i].name))
			i++;
		if (i == TEXTS)
			return err_set(
				e,
				"this `spoa-llm ship` does not know \"%.*s\": start it again, so that it has the agent's version",
				m.key.len < 40 ? (int)m.key.len : 40, m.key.ptr);
		if (m.type != JSON_STRING || json_text(m.value, texts[i].to, TEXT_MAX - 1, &len) != JSON_TEXT_OK ||
		    memchr(texts[i].to, '\0', len))
			return err_set(e, "\"%s\" is no text of at most %d bytes", texts[i].name.ptr, TEXT_MAX - 1);
		texts[i].to[len] = '\0';
	}
	return step == JSON_DONE || err_set(e, "the question is no JSON object");
}

static ask_result status_of(pq_result result)
{
	return result == PQ_OK ? ASK_OK : ASK_AWAY;
}

static const char *given(const char *text)
{
	return *text ? text : NULL;
}

/* Says what to do about a statement that took too long (SQLSTATE 57014). */
static void advise(pq *c, pq_result result, err *e)
{
	const err said = *e;

	if (result == PQ_FAILED && strcmp(pq_sqlstate(c), "57014") == 0)
		err_set(e, "%.450s: ask for a shorter period", said.text);
}

static ask_result answer_savings(pq *c, const question *q, FILE *out, pq_result *result, err *e)
{
	bool csv = strcmp(q->format, "csv") == 0;
	savings_report r;

	if (*q->format && !csv && strcmp(q->format, "json") != 0) {
		err_set(e, "format is neither json nor csv");
		return ASK_WRONG;
	}
	if (!savings_prepare(&r, given(q->since), given(q->until), given(q->by), true, e))
		return ASK_WRONG;
	r.rows.most = r.models.most = r.clients.most = LINES_MAX;
	*result = savings_read_fleet(c, &r, e);
	advise(c, *result, e);
	if (*result == PQ_OK)
		savings_write(out, &r, csv);
	savings_deinit(&r);
	return status_of(*result);
}

ask_result fleet_question_answer(pq *c, slice line, FILE *out, pq_result *result, err *e)
{
	question q;

	*result = PQ_OK;
	if (!read_question(line, &q, e))
		return ASK_WRONG;
	if (strcmp(q.about, "savings") == 0)
		return answer_savings(c, &q, out, result, e);
	if (strcmp(q.about, "gateways") == 0) {
		*result = fleet_list_write(c, out, e);
		return status_of(*result);
	}
	err_set(e,
		"this `spoa-llm ship` does not know what \"%.40s\" is: start it again, so that it has the agent's version",
		q.about);
	return ASK_WRONG;
}
