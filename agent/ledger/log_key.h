/* SPDX-License-Identifier: MIT
 *
 * SPOA_LLM_LOG_KEY, by which the ledger knows HAProxy's log lines. */
#ifndef LEDGER_LOG_KEY_H
#define LEDGER_LOG_KEY_H

#include <stdbool.h>
#include <string.h>

#define LOG_KEY_PROBLEM \
	"SPOA_LLM_LOG_KEY has a blank, a line end or another character that no log line can carry: make it of letters and digits"

/* HAProxy writes the key into a log line as it is, between quotes and in front of the line's object. A key with one of
 * these characters would make every line unreadable, and the ledger would stay empty. */
static inline bool log_key_usable(const char *key)
{
	for (; *key; key++)
		if (*key <= ' ' || *key > '~' || strchr("\"\\]{", *key))
			return false;
	return true;
}

#endif
