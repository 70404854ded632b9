/* SPDX-License-Identifier: MIT
 *
 * Answers frames, and counts. Touches no socket. */
#include "base/clock.h"
#include "base/log.h"
#include "decide/admission.h"
#include "decide/leg.h"
#include "decide/response.h"
#include "net/conn_impl.h"

/* The time between two lines about the same thing, where otherwise each request, or each connection, would log it. */
enum { NEWS_EVERY_MS = 60000 };

/* ---- counting */

/* Frames that were read together are written together, so HAProxy waited for each of them as long as for all. */
static void count_latency(net_counters *n, uint64_t took, uint64_t decisions)
{
	size_t at = 0;

	while (at < LATENCY_BUCKETS && took > latency_bounds_ns[at])
		at++;
	counter_add(&n->latency[at], decisions);
	counter_add(&n->latency_sum_ns, took * decisions);
}

static void note_text(char *to, size_t room, slice text)
{
	size_t len = text.len < room ? text.len : room - 1;

	if (len)
		memcpy(to, text.ptr, len);
	to[len] = '\0';
}

/* Loses the note while a reader holds the lock, because a decision must not wait. */
static void take_note(net_counters *n, refusal why, const llm_request *r, const decision *d, const char *problem)
{
	if (pthread_mutex_trylock(&n->notes_lock) != 0)
		return;
	refusal_note *note = &n->notes[n->notes_next++ % REFUSALS_KEPT];
	note->time_ms = clock_wall_ms();
	note->why = why;
	note->status = why == d->refusal ? d->status : refusal_describe(why)->status;
	note_text(note->id, sizeof note->id, r->id);
	note_text(note->route, sizeof note->route, d->route_name);
	note_text(note->model, sizeof note->model,
		  slice_of(d->model.name, d->model.status == MODEL_FOUND ? d->model.len : 0));
	if (why == REFUSE_AUTH_UNAVAILABLE && d->route && !d->route->pool) {
		/* Names the variable or the file of the credential, never its content. */
		char source[CREDENTIAL_SOURCE_SHORT];
		credential_describe(&d->route->auth, source, sizeof source);
		snprintf(note->problem, sizeof note->problem, "%.*s: %s", (int)sizeof note->problem / 2, source,
			 problem ? problem : "");
	} else {
		note_text(note->problem, sizeof note->problem, slice_cstr(problem));
	}
	pthread_mutex_unlock(&n->notes_lock);
}

static void count_decision(net_counters *n, const llm_request *r, const decision *d, bool fell_back)
{
	unsigned slot = d->route ? d->route->slot : 0;
	outcome o = d->replace ? OUTCOME_REPLACE : d->answer.len ? OUTCOME_ANSWERED : OUTCOME_PASSTHROUGH;

	if (d->refusal != REFUSE_NOT || fell_back) {
		refusal why = fell_back ? REFUSE_GATEWAY : d->refusal;
		o = OUTCOME_REFUSED;
		counter_add(&n->refusals[why], 1);
		take_note(n, why, r, d, fell_back ? "the answer is larger than max_frame_size" : d->problem);
	}
	if (r->no_records)
		counter_add(&n->unrecorded, 1);
	counter_add(&n->decisions[slot < COUNTER_ROUTES ? slot : COUNTER_ROUTES - 1][d->caller][o], 1);
}

/* ---- logging; kept out of line, because a request that is let through needs none of it */

__attribute__((noinline)) static void log_refusal(const llm_request *r, const decision *d)
{
	char source[CREDENTIAL_SOURCE_SHORT] = "";

	if (d->ask_again) {
		log_event(asked_for_more, LOG_S("id", r->id), LOG_I("buffered", r->sample.buffered));
		return;
	}
	if (d->replace && !d->route->pool)
		credential_describe(&d->route->auth, source, sizeof source);
	/* Log the client only where a key tells it: otherwise it is what a header of the request says. */
	log_event(refused, LOG_S("id", r->id), LOG_I("status", d->status),
		  LOG_C("code", refusal_describe(d->refusal)->code), LOG_S("route", d->route_name),
		  LOG_S("model", slice_of(d->model.name, d->model.len)), LOG_C("auth", source),
		  LOG_S("client", r->key.len && r->clients_guarded ? r->client : slice_of(NULL, 0)),
		  LOG_C("problem", d->problem ? d->problem : ""));
}

__attribute__((noinline)) static void log_allowed(const llm_request *r, const decision *d)
{
	log_event(decision, LOG_S("id", r->id), LOG_S("route", d->route_name),
		  LOG_S("model", slice_of(d->model.name, d->model.len)),
		  LOG_C("model_from", model_from_name(d->model.from)), LOG_S("backend", d->backend),
		  LOG_C("auth", d->replace    ? "replace" :
				d->answer.len ? "" :
						"passthrough"));
}

__attribute__((noinline)) static void log_leg_refused(const leg_answer *a)
{
	char source[CREDENTIAL_SOURCE_SHORT] = "";

	if (a->route)
		credential_describe(&a->route->auth, source, sizeof source);
	log_event(leg_refused, LOG_S("id", a->id), LOG_S("leg", a->name), LOG_I("status", a->status),
		  LOG_C("code", refusal_describe(a->refusal)->code), LOG_C("auth", source),
		  LOG_C("problem", a->problem ? a->problem : ""));
}

/* True, in one thread, if NEWS_EVERY_MS have passed since the last time; `*due_ms` is set for the next. */
static bool is_due(_Atomic int64_t *due_ms)
{
	int64_t now = clock_mono_ms(), due = atomic_load_explicit(due_ms, memory_order_relaxed);

	return now >= due && atomic_compare_exchange_strong(due_ms, &due, now + NEWS_EVERY_MS);
}

__attribute__((noinline)) static void log_outdated(spop_shared *s, const llm_request *r)
{
	if (!is_due(&s->outdated_due_ms))
		return;
	log_event(
		contract_outdated, LOG_S("id", r->id),
		LOG_I("contract", r->contract > CONTRACT ? -1 : (int64_t)r->contract),
		LOG_I("needed", r->contract > CONTRACT ? CONTRACT : CONTRACT_SAFE),
		LOG_C("hint",
		      r->contract > CONTRACT ?
			      "upgrade the agent, or install llm.cfg and spoe.conf of this version, and reload HAProxy" :
			      "install llm.cfg and spoe.conf of this version, and reload HAProxy"));
}

/* HAProxy's backends were made for other routes than the agent has. */
__attribute__((noinline)) static void tell_backends(conn *c, const llm_request *r)
{
	spop_thread *t = c->spop_thread;

	counter_add(&t->counters.backends_differ, 1);
	if (!is_due(&t->shared->backends_due_ms))
		return;
	log_event(backends_differ, LOG_S("id", r->id), LOG_S("haproxy", r->backends_hash),
		  LOG_C("agent", t->policy->table->backends_hash),
		  LOG_C("hint",
			"make the backends again by `spoa-llm backends --output`, and reload HAProxy and the agent"));
}

/* Compares the backends that HAProxy has with those that these routes need. */
static void compare_backends(conn *c, const llm_request *r)
{
	spop_thread *t = c->spop_thread;
	const char *ours = t->policy->table->backends_hash;

	if (r->backends_hash.len == BACKENDS_HASH_LEN && memcmp(r->backends_hash.ptr, ours, BACKENDS_HASH_LEN) == 0)
		counter_add(&t->counters.backends_same, 1);
	else if (r->backends_hash.len)
		tell_backends(c, r);
}

__attribute__((noinline)) static void log_too_large(const conn *c, const llm_request *r, const decision *d)
{
	log_event(ack_too_large, LOG_S("id", r->id), LOG_S("route", d->route_name),
		  LOG_I("max_frame_size", c->session.max_frame),
		  LOG_C("hint", "raise tune.bufsize in HAProxy, and max_frame_size if it is set"));
}

/* HAProxy offers larger frames than the agent takes: counts that, and says so. */
static void tell_frame_size(conn *c)
{
	spop_shared *s = c->spop_thread->shared;

	counter_add(&c->spop_thread->counters.hellos_short, 1);
	if (!is_due(&s->frame_size_due_ms))
		return;
	log_event(
		frame_size, LOG_I("offered", c->session.offered), LOG_I("taken", c->session.max_frame),
		LOG_I("max_frame_size", s->limits.max_frame), LOG_I("max_memory", s->limits.max_memory),
		LOG_C("hint", c->session.max_frame < s->limits.max_frame ?
				      "raise max_memory, or lower LLM_BUFSIZE in HAProxy" :
				      "take max_frame_size out of the configuration, or lower LLM_BUFSIZE in HAProxy"));
}

/* ---- answering */

bool conn_room(conn *c, size_t len)
{
	spop_thread *t = c->spop_thread;

	if (c->out.cap == 0 && t->spare.data) {
		c->out.data = t->spare.data;
		c->out.cap = t->spare.cap;
		t->spare = (buf){ .limit = 0 };
	}
	return buf_reserve(&c->out, len);
}

static void wrote(conn *c, size_t len)
{
	c->out.end += len;
	c->waiting += len != 0;
	counter_add(&c->spop_thread->counters.frames_out, len != 0);
}

void conn_leave(conn *c, spop_status status, slice message)
{
	if (conn_room(c, CONTROL_ROOM))
		wrote(c, spop_write_disconnect(&c->session, c->out.data + c->out.end, CONTROL_ROOM, status, message));
	c->leaving = true;
}

typedef enum answered { ANSWERED, ANSWER_MALFORMED, ANSWER_NO_MEMORY } answered;

/* True if HAProxy's files keep a contract that this agent knows, and that has every rule of safety on which it relies.
 */
static bool contract_kept(uint64_t contract)
{
	return contract >= CONTRACT_SAFE && contract <= CONTRACT;
}

/* Returns the counter of what is to be said of HAProxy's files and of its LLM_CLIENTS. */
static counter *contract_counter(spop_thread *t)
{
	net_counters *n = &t->counters;
	const llm_request *r = &t->request;
	refusal why = t->decision.refusal;

	return !contract_kept(r->contract)                     ? &n->contract_outdated :
	       why == REFUSE_CONTRACT && !r->clients_guarded   ? &n->unguarded :
	       why == REFUSE_KEY && t->policy->clients == NULL ? &n->clientless :
								 &n->contract_kept;
}

/* Reads the message into t->request. False: it is malformed. */
static bool read_request(spop_thread *t, spop_message *m)
{
	request_read(&t->request, m);
	return spop_messages_skip(m->from);
}

/* Writes the ACK of an llm-request message. */
static answered answer_request(conn *c, const spop_event *e, spop_message *m, unsigned *decisions)
{
	spop_thread *t = c->spop_thread;
	decision *d = &t->decision;
	bool fell_back = false;

	if (!read_request(t, m))
		return ANSWER_MALFORMED;
	decide(t->policy, &t->request, d);
	if (d->client)
		admission_ask(t->policy, &t->request, d);
	/* A list of models may be larger than a frame. */
	size_t room = decision_ack_room(d), largest = FRAME_PREFIX + (size_t)c->session.max_frame;
	if (room > largest)
		room = largest;
	if (!conn_room(c, room))
		return ANSWER_NO_MEMORY;
	wrote(c, decision_ack(d, &c->session, c->out.data + c->out.end, room, e->stream_id, e->frame_id, &fell_back));
	if (d->ask_again && !fell_back) {
		counter_add(&t->counters.asked_for_more, 1);
	} else {
		count_decision(&t->counters, &t->request, d, fell_back);
		counter_add(contract_counter(t), 1);
		compare_backends(c, &t->request);
		++*decisions;
	}
	if (d->refusal != REFUSE_NOT)
		log_refusal(&t->request, d);
	else if (log_enabled(LOG_DEBUG))
		log_allowed(&t->request, d);
	if (fell_back) {
		log_too_large(c, &t->request, d);
		admission_undo(t->policy, &t->request);
	}
	if (!contract_kept(t->request.contract))
		log_outdated(t->shared, &t->request);
	return ANSWERED;
}

/* Writes the ACK of an llm-client message, by which HAProxy asks whether it may wait for the body. */
static answered answer_key(conn *c, const spop_event *e, spop_message *m)
{
	spop_thread *t = c->spop_thread;
	decision *d = &t->decision;
	bool fell_back = false;

	if (!read_request(t, m))
		return ANSWER_MALFORMED;
	decide_key(t->policy, &t->request, d);
	size_t room = decision_ack_room(d), largest = FRAME_PREFIX + (size_t)c->session.max_frame;
	if (room > largest)
		room = largest;
	if (!conn_room(c, room))
		return ANSWER_NO_MEMORY;
	wrote(c, welcome_ack(d, &c->session, c->out.data + c->out.end, room, e->stream_id, e->frame_id, &fell_back));
	if (d->refusal != REFUSE_NOT) {
		count_decision(&t->counters, &t->request, d, fell_back);
		if (d->refusal == REFUSE_KEY && !t->policy->clients)
			counter_add(&t->counters.clientless, 1);
		log_refusal(&t->request, d);
	}
	return ANSWERED;
}

/* Writes the ACK of an llm-member message, the question of a leg. */
static answered answer_leg(conn *c, const spop_event *e, spop_message *m)
{
	size_t room = LEG_ACK_MAX;
	leg_answer a;

	leg_decide(c->spop_thread->policy, m, &a);
	if (!spop_messages_skip(m->from))
		return ANSWER_MALFORMED;
	if (!conn_room(c, room))
		return ANSWER_NO_MEMORY;
	wrote(c, leg_ack(&a, &c->session, c->out.data + c->out.end, room, e->stream_id, e->frame_id));
	if (a.refusal != REFUSE_NOT)
		log_leg_refused(&a);
	return ANSWERED;
}

/* Writes the ACK of an llm-declined message, by which the leg of a pool's member tells that its upstream declined. */
static answered answer_declined(conn *c, const spop_event *e, spop_message *m)
{
	const policy *p = c->spop_thread->policy;
	leg_decline d;
	const route *member = leg_declined(p, m, &d);

	if (!spop_messages_skip(m->from))
		return ANSWER_MALFORMED;
	if (!conn_room(c, CONTROL_ROOM))
		return ANSWER_NO_MEMORY;
	spop_writer w = spop_ack_begin(&c->session, c->out.data + c->out.end, CONTROL_ROOM, e->stream_id, e->frame_id);
	wrote(c, frame_end(&w));
	int64_t now = clock_mono_ms();
	if (member && member->rest && rest_declined(member->rest, d.status, d.retry_after, now, clock_wall_ms()))
		log_event(member_rests, LOG_S("id", d.id), LOG_C("route", p->table->routes[member->owner].name),
			  LOG_C("member", member->member), LOG_I("status", d.status),
			  LOG_I("seconds", (rest_left(member->rest, now) + 999) / 1000));
	return ANSWERED;
}

/* Writes the ACK of an llm-response message. */
static answered answer_response(conn *c, const spop_event *e, spop_message *m)
{
	size_t room = RESPONSE_ACK_MAX;

	if (!conn_room(c, room))
		return ANSWER_NO_MEMORY;
	size_t len = response_ack(m, &c->session, c->out.data + c->out.end, room, e->stream_id, e->frame_id);
	if (!spop_messages_skip(m->from))
		return ANSWER_MALFORMED;
	counter_add(&c->spop_thread->counters.responses, 1);
	wrote(c, len);
	return ANSWERED;
}

/* Writes the one ACK of a NOTIFY. */
static answered answer(conn *c, const spop_event *e, unsigned *decisions)
{
	cursor messages = cursor_of(e->messages);
	spop_message m;
	slice name;
	spop_value value;

	/* Answer the first message whose name is known; our SPOE groups have one message each. */
	while (spop_message_next(&messages, &m)) {
		/* Also those of a contract that this agent does not know, so that their refusal says why. */
		if (slice_starts(m.name, SLICE("llm-request")))
			return answer_request(c, e, &m, decisions);
		if (slice_eq(m.name, SLICE("llm-client")))
			return answer_key(c, e, &m);
		if (slice_eq(m.name, SLICE("llm-member")))
			return answer_leg(c, e, &m);
		if (slice_eq(m.name, SLICE("llm-declined")))
			return answer_declined(c, e, &m);
		if (slice_eq(m.name, SLICE("llm-response")))
			return answer_response(c, e, &m);
		while (spop_arg_next(&m, &name, &value))
			;
	}
	if (messages.failed)
		return ANSWER_MALFORMED;
	/* Answer unknown messages with an ACK without actions; HAProxy then does not forward the request. */
	if (!conn_room(c, CONTROL_ROOM))
		return ANSWER_NO_MEMORY;
	spop_writer w = spop_ack_begin(&c->session, c->out.data + c->out.end, CONTROL_ROOM, e->stream_id, e->frame_id);
	wrote(c, frame_end(&w));
	return ANSWERED;
}

static void say_hello(conn *c)
{
	spop_thread *t = c->spop_thread;

	counter_add(&t->counters.hellos, 1);
	if (c->session.healthcheck) {
		counter_add(&t->counters.healthchecks, 1);
		/* Let HAProxy's health check fail, so that it sends the next requests to another agent. */
		if (t->draining && !t->shared->replaced) {
			conn_leave(c, SPOP_NO_RESOURCE, SLICE("the agent is going away"));
			return;
		}
	}
	c->session.pipelining = c->session.pipelining && t->shared->limits.pipelining;
	if (!conn_room(c, CONTROL_ROOM)) {
		conn_leave(c, SPOP_NO_RESOURCE, SLICE("out of memory"));
		return;
	}
	if (c->session.offered > c->session.max_frame)
		tell_frame_size(c);
	wrote(c, spop_write_hello(&c->session, c->out.data + c->out.end, CONTROL_ROOM));
	conn_set_limits(c);
	log_event(hello, LOG_I("fd", c->fd), LOG_I("max_frame_size", c->session.max_frame),
		  LOG_I("pipelining", c->session.pipelining), LOG_I("healthcheck", c->session.healthcheck));
}

static void say_error(conn *c, const spop_event *e)
{
	counter_add(&c->spop_thread->counters.spop_errors, 1);
	log_event(spop_error, LOG_I("fd", c->fd), LOG_I("status", e->status), LOG_S("problem", e->reason),
		  LOG_C("instead", "the connection is closed"));
	conn_leave(c, e->status, e->reason);
}

static void take_notify(conn *c, const spop_event *e, unsigned *decisions)
{
	spop_event malformed;

	c->answered = c->spop_thread->draining;
	switch (answer(c, e, decisions)) {
	case ANSWERED:
		break;
	case ANSWER_MALFORMED:
		malformed = spop_session_malformed(&c->session);
		say_error(c, &malformed);
		break;
	case ANSWER_NO_MEMORY:
		conn_leave(c, SPOP_NO_RESOURCE, SLICE("out of memory"));
		break;
	}
}

/* Takes one frame off `*in` and answers it. False: no whole frame is there; `*need` is set as conn_answer() returns it.
 */
static bool next_frame(conn *c, slice *in, unsigned *decisions, size_t *need)
{
	net_counters *n = &c->spop_thread->counters;
	spop_event e = spop_session_next(&c->session, in);

	if (e.type == SPOP_MORE) {
		*need = e.need;
		return false;
	}
	counter_add(&n->frames_in, 1);
	switch (e.type) {
	case SPOP_MORE:
		break;
	case SPOP_HELLO:
		say_hello(c);
		break;
	case SPOP_NOTIFY:
		take_notify(c, &e, decisions);
		break;
	case SPOP_SKIPPED:
		log_event(frame_skipped, LOG_I("fd", c->fd));
		break;
	case SPOP_DISCONNECT:
		/* Status 1 is how HAProxy up to 3.0 leaves an idle connection. */
		log_event(disconnect, LOG_I("fd", c->fd), LOG_I("status", e.status), LOG_S("reason", e.reason));
		conn_leave(c, SPOP_OK, SLICE("bye"));
		break;
	case SPOP_ERROR:
		say_error(c, &e);
		break;
	}
	return true;
}

size_t conn_answer(conn *c, slice *in)
{
	unsigned most = c->spop_thread->shared->limits.max_in_flight, decisions = 0;
	uint64_t since = clock_mono_ns();
	size_t need = 0;

	c->waiting = 0;
	atomic_store_explicit(&c->spop_thread->counters.heard_ns, since, memory_order_relaxed);
	while (!c->leaving && c->waiting < most && buf_len(&c->out) < CONN_OUT_HIGH)
		if (!next_frame(c, in, &decisions, &need))
			break;
	if (decisions)
		count_latency(&c->spop_thread->counters, clock_mono_ns() - since, decisions);
	if (need)
		return need;
	return in->len ? 0 : FRAME_PREFIX;
}
