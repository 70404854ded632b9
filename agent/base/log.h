/* SPDX-License-Identifier: MIT
 *
 * One line per event on standard error: `TIME level=info event=NAME key=value ...`, or the same as a JSON object.
 *
 * - Name and level of an event come from the table in log_events.h.
 * - Values are escaped (control characters, quotes) and bounded. Callers never pass a secret.
 * - Each event is limited to LOG_BURST lines a second, at every level. The lines held back are counted, and the
 *   next line of the event says suppressed=N.
 * - A reader that stalls never stalls the caller: a line that does not fit the pipe is dropped and counted, and the
 *   next line that is written says lost=N.
 * Safe to call from any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/slice.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;
typedef enum log_format { LOG_KV, LOG_JSON } log_format;

/* LOG_EVENT_ready, ... */
typedef enum log_event_id {
#define EVENT(name, level, fields, happened, advice) LOG_EVENT_##name,
#include "base/log_events.h"
#undef EVENT
	LOG_EVENTS,
} log_event_id;

/* Levels as constants, so that an event below the log's level costs one comparison. */
enum {
#define EVENT(name, level, fields, happened, advice) LOG_LEVEL_OF_##name = LOG_##level,
#include "base/log_events.h"
#undef EVENT
};

/* A row of log_events.h. */
typedef struct log_event_info {
	const char *name;
	log_level level;
	const char *fields, *happened, *advice;
} log_event_info;

extern const log_event_info log_events[LOG_EVENTS];
extern const char *const log_level_names[LOG_ERROR + 1];

enum {
	LOG_BURST = 10,       /* lines of one event a second */
	LOG_LINE_MAX = 4096,  /* bytes of a line: what a pipe takes whole */
	LOG_VALUE_MAX = 1024, /* bytes of one value */
};

typedef struct log_field {
	const char *key;
	enum { LOG_FIELD_STR, LOG_FIELD_INT } type;
	slice str;
	int64_t num;
} log_field;

/* A field whose value is a slice, a C string (NULL: empty), or an integer. `key` is a literal. */
#define LOG_S(key, s) ((log_field){ key, LOG_FIELD_STR, (s), 0 })
#define LOG_C(key, cstr) ((log_field){ key, LOG_FIELD_STR, slice_cstr(cstr), 0 })
#define LOG_I(key, n) ((log_field){ key, LOG_FIELD_INT, { NULL, 0 }, (int64_t)(n) })

/* Logs an event of log_events.h, with at least one field: log_event(refused, LOG_I("status", 502), ...). */
#define log_event(name, ...) log_event_at((log_level)LOG_LEVEL_OF_##name, name, __VA_ARGS__)

/* Logs an event whose level depends on the circumstances; its text in log_events.h says on which ones. */
#define log_event_at(at_level, name, ...) \
	do { \
		if (log_enabled(at_level)) { \
			const log_field log_fields_[] = { __VA_ARGS__ }; \
			log_write(at_level, LOG_EVENT_##name, log_fields_, \
				  sizeof(log_fields_) / sizeof(log_fields_[0])); \
		} \
	} while (0)

/* Sets the lowest level that is logged, and the format; before the first call LOG_INFO and LOG_KV. May be called again
 * at any time. */
void log_setup(log_level level, log_format format);
bool log_enabled(log_level level);
/* Has each event of at least LOG_WARN go to `take` with `arg`, and no longer to standard error; NULL: to standard error
 * again. Only for a command with one thread. */
typedef void log_taker(void *arg, log_event_id event, const char *fields);
void log_divert(log_taker *take, void *arg);
/* Use log_event() instead: this function does not check the level. */
void log_write(log_level level, log_event_id event, const log_field *fields, size_t count);

#endif
