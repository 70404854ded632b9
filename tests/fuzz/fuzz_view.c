/* SPDX-License-Identifier: MIT
 *
 * Any parameters of the page's questions: the first byte chooses the question, then come lines NAME=VALUE. Checked:
 * what is taken is within the limits that the answers rely on, a name is taken once, and an error names a parameter. */
#include "fuzz.h"

#include <string.h>

#include "report/view.h"

enum { LINES = VIEW_PARAMETERS };

static void check(const view_question *q)
{
	const char *const texts[] = { q->since,      q->until,      q->gateway,      q->by,          q->split,
				      q->only.model, q->only.route, q->only.project, q->only.client, q->only.member,
				      q->only.code,  q->only.id,    q->unit };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		HOLDS(!texts[i] || strlen(texts[i]) <= VIEW_VALUE_MAX);
	HOLDS(q->period.from_ms >= 0 && q->period.from_ms < q->period.to_ms);
	HOLDS(q->only.status_from >= 0 && q->only.status_from <= q->only.status_to && q->only.status_to <= 1000);
	HOLDS(q->offset >= 0 && q->offset <= VIEW_OFFSET_MAX);
	HOLDS(!q->gateway || q->fleet);
	if (q->about == VIEW_REQUESTS)
		HOLDS(q->limit >= 1 && q->limit <= (q->csv ? VIEW_LIMIT_CSV : VIEW_LIMIT));
	if (q->about == VIEW_REQUEST)
		HOLDS(q->only.id && *q->only.id);
	if (q->split)
		HOLDS(view_label_of(q->split) && q->by && (strcmp(q->by, "day") == 0 || strcmp(q->by, "hour") == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	view_question q = view_question_of(size ? (view_about)(data[0] % 4) : VIEW_SAVINGS);
	char *text = malloc(size + 1), *rest = text, *line;
	err e = { 0 };
	bool ok = true;

	HOLDS(text != NULL);
	if (size > 1)
		memcpy(text, data + 1, size - 1);
	text[size ? size - 1 : 0] = '\0';
	for (int n = 0; ok && n < LINES && (line = strsep(&rest, "\n")); n++) {
		char *value = strchr(line, '=');
		if (!value)
			continue;
		*value++ = '\0';
		const view_question before = q;
		ok = view_set(&q, line, value, &e);
		HOLDS(!ok || q.given != before.given);
		if (ok) {
			const uint32_t given = q.given;
			view_question again = q;
			HOLDS(!view_set(&again, line, value, &e) && q.given == given);
		}
	}
	ok = ok && view_ready(&q, &e);
	HOLDS(ok || *e.text);
	if (ok)
		check(&q);
	free(text);
	return 0;
}
