/* SPDX-License-Identifier: MIT
 *
 * SPOA_LLM_LOG_KEY, by which the ledger knows HAProxy's log lines. */
#ifndef LEDGER_LOG_KEY_H
#define LEDGER_LOG_KEY_H

#include <stdbool.h>
#include <string.h>

#define LOG_KEY_PROBLEM \
	"SPOA_LLM_LOG_KEY has more than 64 characters, or a blank, a line end or another character that no log line can carry: make it of 64 letters and digits at most"

enum { LOG_KEY_MAX = 64 }; /* bytes: with a longer key the longest lines would not fit HAProxy's log targets */

/* HAProxy writes the key into a log line as it is, between quotes and in front of the line's object. A key with one of
 * these characters, or a long one, would make lines unreadable, and the ledger would lack them. */
static inline bool log_key_usable(const char *key)
{
	if (strlen(key) > LOG_KEY_MAX)
		return false;
	for (; *key; key++)
		if (*key <= ' ' || *key > '~' || strchr("\"\\]{", *key))
			return false;
	return true;
}

#endif
