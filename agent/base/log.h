/* SPDX-License-Identifier: MIT
 *
 * One line per event on standard error: `TIME level=info event=NAME key=value ...`, or the same as a JSON object.
 *
 * - Values are escaped (control characters, quotes) and bounded; a secret is never passed to it.
 * - An event name that repeats is limited to LOG_BURST lines a second; what was held back is counted and said
 *   in the next line of that name as suppressed=N. Events at error level are limited too.
 * - A reader that stalls never stalls the caller: a line that does not fit the pipe is dropped and counted, and
 *   the next line that is written says lost=N.
 * Safe to call from any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;
typedef enum log_format { LOG_KV, LOG_JSON } log_format;

enum {
	LOG_BURST = 10,       /* lines of one event name a second */
	LOG_LINE_MAX = 4096,  /* bytes of a line: what a pipe takes whole */
	LOG_VALUE_MAX = 1024, /* bytes of one value */
};

typedef struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT } type;
	slice str;
	int64_t num;
} log_field;

#define LOG_S(key, s) ((log_field){ key, LOG_FIELD_STR, (s), 0 })
#define LOG_C(key, cstr) ((log_field){ key, LOG_FIELD_STR, slice_cstr(cstr), 0 })
#define LOG_I(key, n) ((log_field){ key, LOG_FIELD_INT, { NULL, 0 }, (int64_t)(n) })

/* log_event(LOG_WARN, "frame_refused", LOG_I("status", 4), ...); at least one field. */
#define log_event(level, event, ...) \
	do { \
		if (log_enabled(level)) { \
			const log_field log_fields_[] = { __VA_ARGS__ }; \
			log_write(level, event, log_fields_, sizeof(log_fields_) / sizeof(log_fields_[0])); \
		} \
	} while (0)

void log_setup(log_level level, log_format format);
bool log_enabled(log_level level);
void log_write(log_level level, const char *event, const log_field *fields, size_t count);

#endif
