/* SPDX-License-Identifier: MIT
 *
 * Says in words why a request was refused, for whoever looks at that request in the ledger. spoa-llm-events(7) says
 * more. */
#ifndef REPORT_REFUSAL_WORDS_H
#define REPORT_REFUSAL_WORDS_H

/* Texts of whole sentences. */
typedef struct refusal_words {
	const char *code;
	const char *what; /* what was wrong */
	const char *todo; /* what to do about it */
} refusal_words;

/* Finds the words for `code`, the agent's or HAProxy's own. NULL: there is no such code. */
const refusal_words *refusal_words_find(const char *code);

#endif
