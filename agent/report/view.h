/* SPDX-License-Identifier: MIT
 *
 * The questions of the page, as an address has them: which figures, of which requests of which period. */
#ifndef REPORT_VIEW_H
#define REPORT_VIEW_H

#include "report/figures.h"
#include "report/period.h"

enum {
	VIEW_VALUE_MAX = 512, /* bytes of a parameter; the longest label has RECORD_MODEL_MAX */
	VIEW_LIMIT = 1000,    /* requests of one answer */
	VIEW_LIMIT_CSV = 10000,
	VIEW_SORTED = 10000, /* requests in a list that is sorted by anything but time: the newest ones */
	VIEW_OFFSET_MAX = 1000000000,
	VIEW_PARAMETERS = 32,
};

typedef enum view_about { VIEW_SAVINGS, VIEW_OPERATION, VIEW_REQUESTS, VIEW_REQUEST } view_about;
typedef enum view_sort { SORT_TIME, SORT_COST, SORT_WHOLE, SORT_FIRST_BYTE, SORT_TOKENS } view_sort;

typedef struct view_question {
	view_about about;
	const char *since, *until; /* NULL: not given, as of all texts */
	row_filter only;
	const char *gateway; /* of a fleet; a name, or the beginning of names with a * */
	bool fleet, csv;
	const char *by;    /* savings, operation */
	const char *split; /* savings: the name of a label */
	bool compare;
	const char *unit; /* operation: hour, day; NULL: by the period's length */
	int64_t limit, offset;
	view_sort sort;
	bool ascending;
	period period;  /* of view_ready(), exact */
	uint32_t given; /* a bit for each parameter */
} view_question;

/* Returns the question `about` without parameters, which is of all requests of the usual period. */
view_question view_question_of(view_about about);
/* Finds what "savings", "operation", "requests" and "request" ask. False: it is none of them. */
MUST_CHECK bool view_about_of(const char *name, view_about *about);
/* Takes the parameter `name`, borrows `value`, which may be empty. False: `e` names the parameter, and says what can be
 * written. */
MUST_CHECK bool view_set(view_question *q, const char *name, const char *value, err *e);
/* Checks what parameters say together, and sets the period. */
MUST_CHECK bool view_ready(view_question *q, err *e);

/* The labels by which requests can be grouped. */
typedef struct view_label {
	const char *name;
	facet_name bit;
} view_label;
/* NULL: there is no such label. */
const view_label *view_label_of(const char *name);

/* What became of a question. */
typedef enum view_result {
	VIEW_OK,
	VIEW_WRONG,  /* the question cannot be answered: `e` says why */
	VIEW_NONE,   /* there is no such request */
	VIEW_FAILED, /* the source has failed: `e` says why */
} view_result;

/* Reads the answer to `q`, which view_ready() has checked, and writes it to `out`; not for VIEW_REQUEST, see
 * request_view.h. `*result`: what the source has returned. */
MUST_CHECK view_result view_answer(const view_question *q, const figures_source *source, FILE *out, int *result,
				   err *e);

#endif
