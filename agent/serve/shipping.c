/* SPDX-License-Identifier: MIT */
#include "serve/shipping.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/sum.h"
#include "serve/said.h"

typedef struct said {
	char kind[16], uuid[37], ledger_epoch[17];
	int64_t pid;
	host_fleet fleet;
} said;

/* Reads {"kind":"fleet",...}. False: it is no such object, or a number is none. */
static bool read_said(slice datagram, said *s)
{
	const said_number numbers[] = { { SLICE_INIT("pid"), &s->pid },
					{ SLICE_INIT("epoch"), &s->fleet.epoch },
					{ SLICE_INIT("position"), &s->fleet.position },
					{ SLICE_INIT("behind"), &s->fleet.behind },
					{ SLICE_INIT("lag_ms"), &s->fleet.lag_ms },
					{ SLICE_INIT("sent"), &s->fleet.sent },
					{ SLICE_INIT("rejected"), &s->fleet.rejected },
					{ SLICE_INIT("gateways"), &s->fleet.gateways },
					{ SLICE_INIT("drift_routes"), &s->fleet.drift_routes },
					{ SLICE_INIT("drift_clients"), &s->fleet.drift_clients } };
	const said_text texts[] = { { SLICE_INIT("kind"), s->kind, sizeof s->kind },
				    { SLICE_INIT("uuid"), s->uuid, sizeof s->uuid },
				    { SLICE_INIT("ledger_epoch"), s->ledger_epoch, sizeof s->ledger_epoch },
				    { SLICE_INIT("state"), s->fleet.state, sizeof s->fleet.state },
				    { SLICE_INIT("problem"), s->fleet.problem, sizeof s->fleet.problem } };

	memset(s, 0, sizeof *s);
	s->fleet.gateways = -1;
	return said_read(datagram, numbers, sizeof numbers / sizeof numbers[0], texts,
			 sizeof texts / sizeof texts[0]) &&
	       strcmp(s->kind, "fleet") == 0;
}

/* ---- the budgets */

enum { KIND_PROJECT = 3, KIND_CLIENT = 4 }; /* as in the table `spending` */

/* What {"kind":"spent",...} says, but for its accounts. */
typedef struct spent_message {
	slice accounts;
	int64_t pass, day, gateways;
	bool first, last;
} spent_message;

static bool read_spent(slice datagram, spent_message *w)
{
	char kind[16] = "";
	json_iter it;
	json_member m;
	json_step step = JSON_BAD;
	bool ok = true;

	*w = (spent_message){ .pass = -1 };
	json_iter_init(&it, datagram);
	while (ok && (step = json_next(&it, &m)) == JSON_MEMBER) {
		if (json_key_is(m.key, SLICE("kind")))
			said_copy(kind, sizeof kind, &m);
		else if (json_key_is(m.key, SLICE("pass")))
			ok = json_int64(m.value, &w->pass);
		else if (json_key_is(m.key, SLICE("day")))
			ok = json_int64(m.value, &w->day);
		else if (json_key_is(m.key, SLICE("gateways")))
			ok = json_int64(m.value, &w->gateways);
		else if (json_key_is(m.key, SLICE("last")))
			w->last = m.type == JSON_TRUE;
		else if (json_key_is(m.key, SLICE("first")))
			w->first = m.type == JSON_TRUE;
		else if (json_key_is(m.key, SLICE("spent")) && m.type == JSON_ARRAY)
			w->accounts = m.value;
	}
	return ok && step == JSON_DONE && strcmp(kind, "spent") == 0 && w->accounts.len && w->pass >= 0 &&
	       w->pass <= UINT32_MAX && w->gateways > 0 && w->gateways <= UINT32_MAX && w->day >= 0 &&
	       w->day < INT64_C(1) << 40;
}

/* Reads [kind,"name",day,week,month]. */
static bool read_account(slice array, spending_elsewhere *a)
{
	int64_t kind = 0;
	json_iter it;
	json_member m;
	size_t i = 0;
	bool ok = true;

	json_iter_init(&it, array);
	for (; ok && json_next(&it, &m) == JSON_MEMBER; i++) {
		if (i == 0)
			ok = json_int64(m.value, &kind) && (kind == KIND_PROJECT || kind == KIND_CLIENT);
		else if (i == 1)
			ok = m.type == JSON_STRING &&
			     json_text(m.value, a->name, sizeof a->name, &a->len) == JSON_TEXT_OK;
		else if (i < 5)
			ok = json_int64(m.value, &a->nano[i - 2]);
	}
	a->project = kind == KIND_PROJECT;
	return ok && i == 5;
}

/* Takes what others spent. A pass counts if all of its messages have come: no message is lost on the way, but this
 * process may have begun in the middle. */
static void take_spent(shipping *s, const spent_message *w)
{
	spending_elsewhere a;
	json_iter it;
	json_member m;

	pthread_mutex_lock(&s->lock);
	spending *to = s->spending;
	s->told_ms = clock_mono_ms();
	s->told_since = true;
	pthread_mutex_unlock(&s->lock);
	if (!to)
		return;
	if (w->first)
		s->pass = w->pass;
	json_iter_init(&it, w->accounts);
	while (json_next(&it, &m) == JSON_MEMBER)
		if (m.type == JSON_ARRAY && read_account(m.value, &a))
			spending_told(to, &a, w->day, (uint32_t)w->pass);
	if (w->last && w->pass == s->pass && spending_whole(to, (uint32_t)w->pass, (uint32_t)w->gateways))
		log_event(budgets_together, LOG_I("gateways", w->gateways));
}

/* Has the budgets go on alone if what others spend is not known any more. */
static void look_at_budgets(shipping *s)
{
	int64_t now = clock_mono_ms(), gateways;

	pthread_mutex_lock(&s->lock);
	spending *to = s->spending;
	/* What was told after the last report says that PostgreSQL is there again. */
	bool away = s->heard_ms && !s->told_since &&
		    (strcmp(s->last.state, "connecting") == 0 || strcmp(s->last.state, "refused") == 0);
	bool silent = now - (s->told_ms ? s->told_ms : s->began_ms) > SHIPPING_ALONE_MS;
	pthread_mutex_unlock(&s->lock);
	if (to && (away || silent) && (gateways = spending_alone(to)) > 0)
		log_event(budgets_alone, LOG_I("gateways", gateways),
			  LOG_C("problem",
				away ? "PostgreSQL is away" : "`spoa-llm ship` does not tell what others spend"));
}

void shipping_keep(shipping *s, spending *to)
{
	pthread_mutex_lock(&s->lock);
	s->spending = to;
	pthread_mutex_unlock(&s->lock);
}

void shipping_init(shipping *s)
{
	*s = (shipping){ .began_ms = clock_mono_ms(), .pass = -1 };
	pthread_mutex_init(&s->lock, NULL);
}

void shipping_deinit(shipping *s)
{
	pthread_mutex_destroy(&s->lock);
}

void shipping_take(shipping *s, slice datagram, ledger *l)
{
	spent_message w;
	said now;

	if (read_spent(datagram, &w))
		take_spent(s, &w);
	if (!read_said(datagram, &now))
		return;
	pthread_mutex_lock(&s->lock);
	if (now.pid != s->pid) { /* another process counts from 0 */
		s->sent = add_capped(s->sent, s->last.sent);
		s->rejected = add_capped(s->rejected, s->last.rejected);
		s->pid = now.pid;
	}
	s->last = now.fleet;
	s->told_since = false;
	s->heard_ms = clock_mono_ms();
	pthread_mutex_unlock(&s->lock);
	/* Before it has asked PostgreSQL, a shipper knows no position. */
	if (now.fleet.epoch > 0)
		ledger_shipped(l, now.uuid, now.ledger_epoch, now.fleet.position);
}

void shipping_look(shipping *s)
{
	int64_t now = clock_mono_ms();

	look_at_budgets(s);
	pthread_mutex_lock(&s->lock);
	int64_t since = now - (s->heard_ms ? s->heard_ms : s->began_ms);
	char state[sizeof s->last.state];
	memcpy(state, s->last.state, sizeof state);
	bool silent = since > SHIPPING_SILENT_MS, before = s->silent;
	s->silent = silent;
	pthread_mutex_unlock(&s->lock);
	if (silent && !before)
		log_event(fleet_silent, LOG_I("seconds", since / 1000),
			  LOG_C("instead", "the ledger keeps the rows that PostgreSQL does not have"));
	if (!silent && before)
		log_event(fleet_heard, LOG_C("state", state));
}

host_fleet shipping_tell(shipping *s)
{
	pthread_mutex_lock(&s->lock);
	host_fleet tell = s->last;
	tell.kept = true;
	tell.ever = s->heard_ms != 0;
	tell.silent_ms = clock_mono_ms() - (tell.ever ? s->heard_ms : s->began_ms);
	tell.silent = tell.silent_ms > SHIPPING_SILENT_MS;
	tell.sent = add_capped(tell.sent, s->sent);
	tell.rejected = add_capped(tell.rejected, s->rejected);
	if (s->spending)
		tell.sharers = spending_sharers(s->spending, &tell.alone);
	pthread_mutex_unlock(&s->lock);
	return tell;
}
