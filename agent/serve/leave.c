/* SPDX-License-Identifier: MIT
 *
 * How a worker ends, drains, or gives everything to the next one. */
#include "serve/run_impl.h"

#include <poll.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/unused.h"
#include "net/handover.h"
#include "serve/takeover.h"

void leave_ledger(agent *a, int sock)
{
	recording *r = a->recording;

	a->recording = NULL;
	if (a->admin_host)
		admin_host_set_recording(a->admin_host, NULL);
	recording_stop(r, sock >= 0 ? takeover_give_stream : NULL, &sock);
	if (sock >= 0)
		takeover_give_end(sock);
}

/* Times in milliseconds. */
enum {
	LEDGER_WAIT = 25 * 1000, /* less than the master waits for a worker that it has told to end */
	LEDGER_AGAIN = 50,       /* between two tries to open a ledger that the old worker has still */
};

void leave_hear_old(agent *a)
{
	fdpass_message m;
	err e;

	if (fdpass_receive(a->handover, &m, HANDOVER_TIMEOUT_MS, &e) == FDPASS_OK) {
		bool more = m.type == HANDOVER_LOG_STREAM;
		if (more && a->recording && m.fds_count == 1) {
			recording_adopt(a->recording, m.fds[0], buf_slice(&m.body));
			m.fds[0] = -1;
		}
		fdpass_deinit(&m);
		if (more)
			return;
	}
	close(a->handover);
	a->handover = -1;
}

/* Waits for the old worker. False: the time is over. */
static bool wait_for_old(agent *a, int64_t until)
{
	struct pollfd p[2] = { { a->handover, POLLIN, 0 }, { a->master->fd, 0, 0 } };
	int64_t left = until - clock_mono_ms();

	if (left <= 0)
		return false;
	if (poll(p, 2, (int)left) > 0 && p[1].revents)
		_exit(EX_OSERR); /* as in leave_on_control() */
	if (p[0].revents)
		leave_hear_old(a);
	return true;
}

void leave_record_late(agent *a)
{
	int64_t until = clock_mono_ms() + LEDGER_WAIT;
	bool in_time = true;
	err e;

	if (!a->recording || recording_started(a->recording))
		return;
	while (a->handover >= 0 && in_time)
		in_time = wait_for_old(a, until);
	while (!recording_start(a->recording, &e)) {
		if (e.kind != ERR_BUSY || clock_mono_ms() >= until) {
			log_event(ledger_waits, LOG_C("problem", e.text),
				  LOG_C("instead", "this worker ends, and does not read the log lines that wait"));
			return;
		}
		usleep(LEDGER_AGAIN * 1000);
	}
}

/* The new worker speaks another version and cannot take the connections: each ends with its next answer. */
static void let_go(agent *a)
{
	a->leaving = true;
	run_tell(a, CONTROL_DRAINING);
	spop_threads_drain(a->spop_threads, (double)a->config->drain_timeout, true);
	leave_ledger(a, -1);
	admin_host_stop_serving(a->admin_host);
}

/* The new worker failed: this one goes on, and HAProxy notices nothing. */
static void go_on(agent *a)
{
	run_tell(a, CONTROL_RESUMED);
}

/* Gives everything to the new worker: all connections at once, or drains if the new worker cannot take them. The admin
 * server goes on answering until the handover is certain. Nothing waits for the admin server, because one of its jobs
 * may hang on a disk while HAProxy waits for answers. */
static void hand_over(agent *a, int sock)
{
	err e;

	switch (takeover_greeted(sock)) {
	case TAKEOVER_FAILED:
		go_on(a);
		return;
	case TAKEOVER_REFUSED:
		let_go(a);
		return;
	case TAKEOVER_TAKEN:
		break;
	}
	spop_threads_freeze(a->spop_threads);
	if (takeover_give(sock, a->spop_threads) == TAKEOVER_TAKEN) {
		spop_threads_abandon(a->spop_threads);
		a->stopping = true;
		run_tell(a, CONTROL_RELEASED);
		admin_host_quiesce(a->admin_host);
		leave_ledger(a, sock);
		admin_host_finish(a->admin_host);
		log_event(stopped, LOG_C("version", SPOA_LLM_VERSION));
		_exit(EX_OK);
	}
	if (!spop_threads_start(a->spop_threads, &e)) {
		/* Nothing answers HAProxy any more: end, so that the master starts another worker. */
		log_event_at(LOG_ERROR, handover_failed, LOG_C("problem", e.text),
			     LOG_C("instead", "this worker ends"));
		_exit(EX_OSERR);
	}
	go_on(a);
}

void leave_on_control(struct ev_loop *loop UNUSED, ev_io *io, int events UNUSED)
{
	agent *a = io->data;
	fdpass_message m;
	err e;

	if (control_hear(a->master, &m, &e) != FDPASS_OK)
		_exit(EX_OSERR); /* the master is gone: nobody could stop or replace this process */
	if (m.type == CONTROL_HANDOVER && m.fds_count == 1 && !a->stopping) {
		hand_over(a, m.fds[0]);
	} else if (m.type == CONTROL_UPGRADE_DRAIN && !a->stopping) {
		let_go(a);
	}
	fdpass_deinit(&m);
}

void leave_on_term(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	agent *a = sig->data;

	if (a->stopping)
		return;
	a->stopping = true;
	log_event(stopping, LOG_C("signal", "SIGTERM"));
	spop_threads_stop(a->spop_threads);
}

void leave_on_usr1(struct ev_loop *loop UNUSED, ev_signal *sig, int events UNUSED)
{
	agent *a = sig->data;

	if (a->stopping)
		return;
	log_event(draining, LOG_I("seconds", a->config->drain_timeout),
		  LOG_I("connections", spop_threads_connections(a->spop_threads)));
	admin_host_draining(a->admin_host);
	spop_threads_drain(a->spop_threads, (double)a->config->drain_timeout, false);
}

void leave_on_ended(struct ev_loop *loop, ev_async *async UNUSED, int events UNUSED)
{
	ev_break(loop, EVBREAK_ALL);
}
