/* SPDX-License-Identifier: MIT */
#include "ship/ship.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "proc/notify.h"
#include "ship/fleet_sql.h"

#ifndef SPOA_LLM_VERSION
#define SPOA_LLM_VERSION "0.1.0"
#endif

enum {
	LAST_S = 2,            /* that the thread has to end */
	MESSAGE_WAIT_MS = 100, /* for an agent that has not read the messages before */
};

typedef struct ship {
	const ship_settings *settings;
	int stop_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* guards `status` */
	ship_status status;
	bool failed; /* the thread could not begin */
	answers answers;
	otlp *otlp; /* NULL: no spans are sent */
} ship;

/* ---- the agent */

size_t ship_report(char out[SHIP_REPORT_MAX], const ship_status *st)
{
	char problem[sizeof st->problem], compared[128] = "";

	/* Texts of PostgreSQL come in the server's language. */
	ship_plain(problem, sizeof problem, st->problem);
	if (st->compared)
		snprintf(compared, sizeof compared,
			 ",\"gateways\":%" PRId64 ",\"drift_routes\":%" PRId64 ",\"drift_clients\":%" PRId64,
			 st->drift.gateways, st->drift.routes, st->drift.clients);
	int len = snprintf(
		out, SHIP_REPORT_MAX,
		"{\"v\":1,\"kind\":\"fleet\",\"pid\":%d,\"uuid\":\"%s\",\"ledger_epoch\":\"%s\",\"epoch\":%" PRId64
		",\"position\":%" PRId64 ",\"behind\":%" PRId64 ",\"lag_ms\":%" PRId64 ",\"sent\":%" PRId64
		",\"rejected\":%" PRId64 "%s,\"state\":\"%s\",\"problem\":\"%s\"}",
		(int)getpid(), st->ledger.uuid, st->ledger.epoch, st->epoch, st->position, st->behind, ship_lag_ms(st),
		st->sent, st->rejected, compared, ship_state_name(st->state), problem);
	return len > 0 && len < SHIP_REPORT_MAX ? (size_t)len : 0;
}

/* Sends `text` to each socket of the agent, and waits `wait_ms` for one that is full. False: none has taken it. */
static bool send_to_agent(const ship *s, slice text, int wait_ms)
{
	const address_rules rules = { .datagrams = true };
	bool sent = false;

	for (size_t i = 0; i < s->settings->agents_count; i++) {
		socket_address a;
		err e;
		if (!address_parse(&a, s->settings->agents[i], &rules, &e) || a.sa.sa_family != AF_UNIX)
			continue;
		int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		struct pollfd writable = { .fd = fd, .events = POLLOUT };
		/* Only a socket that is connected can be waited for. */
		if (fd >= 0 && connect(fd, &a.sa, a.len) == 0 && (!wait_ms || poll(&writable, 1, wait_ms) > 0))
			sent |= send(fd, text.ptr, text.len, MSG_NOSIGNAL) >= 0;
		if (fd >= 0)
			close(fd);
	}
	return sent;
}

/* Sends a report. If a socket is full, another one comes in a second. */
static void tell_agent(const ship *s, const char *text, size_t len)
{
	if (len)
		(void)send_to_agent(s, slice_of(text, len), 0);
}

static void tell(ship *s)
{
	char line[256] = "WATCHDOG=1", text[SHIP_REPORT_MAX], spans[OTLP_REPORT_MAX];

	if (s->otlp)
		tell_agent(s, spans, otlp_report(s->otlp, spans));
	if (*s->settings->uri) {
		pthread_mutex_lock(&s->lock);
		ship_status st = s->status;
		pthread_mutex_unlock(&s->lock);
		tell_agent(s, text, ship_report(text, &st));
		snprintf(line, sizeof line, "WATCHDOG=1\nSTATUS=%s; %" PRId64 " changes behind; %.150s",
			 ship_state_name(st.state), st.behind, st.problem);
	}
	notify_inform(line);
}

/* ---- the thread */

static void on_status(void *ctx, const ship_status *st)
{
	ship *s = ctx;

	pthread_mutex_lock(&s->lock);
	s->status = *st;
	pthread_mutex_unlock(&s->lock);
}

static bool on_message(void *ctx, slice message)
{
	return send_to_agent(ctx, message, MESSAGE_WAIT_MS);
}

static void *ship_main(void *arg)
{
	ship *s = arg;
	const shipper_settings set = {
		.db = s->settings->db,
		.name = s->settings->name,
		.version = SPOA_LLM_VERSION,
		.server = { .uri = s->settings->uri,
			    .password_file = s->settings->password_file,
			    .write = true,
			    .stop_fd = s->stop_fd },
		.stop_fd = s->stop_fd,
		.tell = on_status,
		.say = on_message,
		.ctx = s,
	};
	err e = { 0 };

	if (!shipper_run(&set, &e)) {
		log_event(ship_refused, LOG_C("problem", e.text));
		s->failed = true;
		kill(getpid(), SIGTERM);
	}
	return NULL;
}

/* ---- the agent's questions */

static bool on_away(void *ctx, err *e)
{
	ship *s = ctx;

	pthread_mutex_lock(&s->lock);
	bool away = s->status.state == SHIP_CONNECTING || s->status.state == SHIP_REFUSED;
	if (away)
		err_set(e, "%s", *s->status.problem ? s->status.problem : "`spoa-llm ship` has only just begun");
	pthread_mutex_unlock(&s->lock);
	return away;
}

/* Shipping goes on without the socket. */
static void open_answers(ship *s)
{
	const answers_settings set = { .address = s->settings->listen,
				       .server = { .uri = s->settings->uri,
						   .password_file = s->settings->password_file,
						   .stop_fd = s->stop_fd,
						   .statement_s = ANSWERS_STATEMENT_S },
				       .answer = s->settings->answer,
				       .away = on_away,
				       .ctx = s };
	err e;

	s->answers.at.fd = -1;
	if (*s->settings->uri && *set.address && !answers_open(&s->answers, &set, &e))
		log_event(ship_unheard, LOG_C("problem", e.text),
			  LOG_C("instead", "the page shows this gateway alone"));
}

/* ---- life */

int ship_run(const ship_settings *settings)
{
	ship s = { .settings = settings, .lock = PTHREAD_MUTEX_INITIALIZER };
	const struct timespec second = { .tv_sec = 1 };
	sigset_t stops;
	err e;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGHUP);
	/* Threads inherit the mask, so that this one takes the signals. */
	pthread_sigmask(SIG_BLOCK, &stops, NULL);
	fleet_statements();
	s.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = s.stop_fd >= 0 ? 0 : errno;
	if (rc == 0) {
		open_answers(&s);
		if (*settings->uri)
			rc = thread_start(&s.thread, ship_main, &s);
	}
	if (rc == 0 && s.answers.at.fd >= 0)
		rc = answers_start(&s.answers);
	if (rc != 0) {
		fprintf(stderr, "spoa-llm: the thread that ships: %s\n", strerror(rc));
		return EX_OSERR;
	}
	otlp_settings spans = settings->otlp ? *settings->otlp : (otlp_settings){ .db = NULL };
	spans.stop_fd = s.stop_fd;
	if (settings->otlp && !(s.otlp = otlp_start(&spans, &e))) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_OSERR;
	}
	log_event(ship_started, LOG_C("version", SPOA_LLM_VERSION), LOG_C("ledger", settings->db),
		  LOG_C("gateway", settings->name));
	notify_send("READY=1");
	for (int sig = 0; sig != SIGTERM && sig != SIGINT;) {
		sig = sigtimedwait(&stops, NULL, &second);
		tell(&s);
	}
	notify_send("STOPPING=1");
	eventfd_write(s.stop_fd, 1);
	/* The lookup of a name does not look at `stop_fd`. No transaction is open then. */
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += LAST_S;
	bool joined = !*settings->uri || pthread_timedjoin_np(s.thread, NULL, &until) == 0;
	joined = answers_join(&s.answers, &until) && joined;
	answers_close(&s.answers);
	tell(&s);
	joined = (!s.otlp || otlp_join(s.otlp, &until)) && joined;
	pthread_mutex_lock(&s.lock);
	log_event(ship_ended, LOG_I("sent", s.status.sent));
	pthread_mutex_unlock(&s.lock);
	if (!joined)
		_exit(EX_OK);
	close(s.stop_fd);
	return s.failed ? EX_OSERR : EX_OK;
}
