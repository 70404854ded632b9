/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

const log_event_info log_events[LOG_EVENTS] = {
#define EVENT(name, level, fields, happened, advice) { #name, LOG_##level, fields, happened, advice },
#include "base/log_events.h"
#undef EVENT
};

#define EVENT(name, level, fields, happened, advice) \
	_Static_assert(sizeof(happened) > 1, #name " has no explanation in log_events.h");
#include "base/log_events.h"
#undef EVENT

const char *const log_level_names[] = { "debug", "info", "warn", "error" };

static atomic_int log_min = LOG_INFO;
static atomic_int log_form = LOG_KV;
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER; /* guards log_lost, log_seen and standard error */
static unsigned long log_lost;

static log_taker *log_take;
static void *log_take_arg;

static struct {
	time_t second;
	unsigned lines; /* in that second */
	unsigned long suppressed;
} log_seen[LOG_EVENTS];

typedef struct line {
	char text[LOG_LINE_MAX];
	size_t len;
	log_format format;
} line;

void log_setup(log_level level, log_format format)
{
	atomic_store(&log_min, (int)level);
	atomic_store(&log_form, (int)format);
}

bool log_enabled(log_level level)
{
	return (int)level >= atomic_load_explicit(&log_min, memory_order_relaxed);
}

/* Always leaves one byte of room, for the newline. */
static void put(line *l, const char *bytes, size_t len)
{
	size_t room = sizeof l->text - 1 - l->len;
	if (len > room)
		len = room;
	memcpy(l->text + l->len, bytes, len);
	l->len += len;
}

static void put_cstr(line *l, const char *s)
{
	put(l, s, strlen(s));
}

/* Escapes the bytes on which a terminal or a parser might act as \xNN. In JSON the escape is \u00NN, and bytes above
 * 0x7e are escaped too, because they may not be UTF-8. */
static void put_escaped(line *l, slice s)
{
	size_t len = s.len < LOG_VALUE_MAX ? s.len : LOG_VALUE_MAX;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];
		char esc[8];
		if (c == '"' || c == '\\')
			snprintf(esc, sizeof esc, "\\%c", c);
		else if (c < 0x20 || c > 0x7e)
			snprintf(esc, sizeof esc, l->format == LOG_JSON ? "\\u00%02x" : "\\x%02x", c);
		else {
			put(l, (const char *)&c, 1);
			continue;
		}
		if (strlen(esc) > sizeof l->text - 1 - l->len)
			return; /* half an escape would be worse than none */
		put_cstr(l, esc);
	}
	if (len < s.len)
		put_cstr(l, "...");
}

static bool is_bare(slice s)
{
	if (s.len == 0 || s.len > LOG_VALUE_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '"' || s.ptr[i] == '=' || s.ptr[i] == '\\')
			return false;
	return true;
}

/* Leaves out the whole field if the line is too full to close it, so that a JSON line stays valid. */
static void put_field(line *l, const log_field *f)
{
	char num[24];
	slice value = f->str;
	size_t mark = l->len;

	if (f->type == LOG_FIELD_INT) {
		snprintf(num, sizeof num, "%lld", (long long)f->num);
		value = slice_cstr(num);
	}
	bool quote = f->type == LOG_FIELD_STR && (l->format == LOG_JSON || !is_bare(value));
	put_cstr(l, l->format == LOG_JSON ? ",\"" : " ");
	put_cstr(l, f->key);
	put_cstr(l, l->format == LOG_JSON ? "\":" : "=");
	put_cstr(l, quote ? "\"" : "");
	put_escaped(l, value);
	put_cstr(l, quote ? "\"" : "");
	/* Two bytes stay free: for the closing brace and the newline. */
	if (l->len >= sizeof l->text - 2)
		l->len = mark;
}

/* Returns how many lines of this event were held back before this one; -1: this one is held back too. */
static long limit(log_event_id event, time_t second)
{
	if (log_seen[event].second != second) {
		log_seen[event].second = second;
		log_seen[event].lines = 0;
	}
	if (log_seen[event].lines >= LOG_BURST) {
		log_seen[event].suppressed++;
		return -1;
	}
	log_seen[event].lines++;
	long suppressed = (long)log_seen[event].suppressed;
	log_seen[event].suppressed = 0;
	return suppressed;
}

static void emit(line *l)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (l->format == LOG_JSON)
		put_cstr(l, "}");
	l->text[l->len++] = '\n';
	/* A pipe that polls writable takes LOG_LINE_MAX (= PIPE_BUF) bytes without blocking. */
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT) || write(STDERR_FILENO, l->text, l->len) < 0)
		log_lost++;
	else
		log_lost = 0;
}

void log_divert(log_taker *take, void *arg)
{
	log_take = take;
	log_take_arg = arg;
}

static void divert(log_event_id event, const log_field *fields, size_t count)
{
	line l = { .len = 0, .format = LOG_KV };

	for (size_t i = 0; i < count; i++)
		put_field(&l, &fields[i]);
	l.text[l.len] = '\0';
	log_take(log_take_arg, event, l.text + (l.len > 0)); /* without the blank in front */
}

void log_write(log_level level, log_event_id event, const log_field *fields, size_t count)
{
	struct tm tm;
	char stamp[48];
	line l = { .len = 0, .format = (log_format)atomic_load(&log_form) };

	if (log_take && level >= LOG_WARN) {
		divert(event, fields, count);
		return;
	}
	int64_t now = clock_wall_ms();
	time_t second = now / 1000;
	pthread_mutex_lock(&log_lock);
	long suppressed = limit(event, second);
	if (suppressed < 0) {
		pthread_mutex_unlock(&log_lock);
		return;
	}
	gmtime_r(&second, &tm);
	size_t at = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp + at, sizeof stamp - at, ".%03dZ", (int)(now % 1000));
	if (l.format == LOG_JSON) {
		put_cstr(&l, "{\"time\":\"");
		put_cstr(&l, stamp);
		put_cstr(&l, "\"");
	} else {
		put_cstr(&l, stamp);
	}
	put_field(&l, &LOG_C("level", log_level_names[level]));
	put_field(&l, &LOG_C("event", log_events[event].name));
	if (suppressed)
		put_field(&l, &LOG_I("suppressed", suppressed));
	if (log_lost)
		put_field(&l, &LOG_I("lost", log_lost));
	for (size_t i = 0; i < count; i++)
		put_field(&l, &fields[i]);
	emit(&l);
	pthread_mutex_unlock(&log_lock);
}
