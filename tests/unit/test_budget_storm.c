/* SPDX-License-Identifier: MIT
 *
 * The budgets' memory under random requests, beside a simple model; and from many threads. */
#include <pthread.h>
#include <stdatomic.h>

#include "budget_rig.h"

/* ---- beside a model */

enum { MODEL_CLIENTS = 6, MODEL_PROJECTS = 2, MODEL_IDS = 40, MODEL_STEPS = 150000 };

typedef struct plain_account {
	int64_t nano, spent, charged, reserved, first_day;
	period_kind kind;
} plain_account;

typedef struct plain_request {
	enum { PLAIN_NOT, PLAIN_RESERVED, PLAIN_CHARGED } state;
	int client;
	int64_t nano, charged_day;
	uint64_t expires_s;
} plain_request;

static uint64_t seed = 88172645463325252u;

static unsigned pick(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 20) % below;
}

static void plain_time(plain_account *a, int64_t day)
{
	if (period_first(a->kind, day) > a->first_day) {
		a->first_day = period_first(a->kind, day);
		a->spent = a->charged = 0;
	}
}

static bool plain_fits(const plain_account *a, int64_t nano)
{
	return a->nano == BUDGET_NO_LIMIT || a->spent + a->charged + a->reserved + nano <= a->nano;
}

static void random_requests_agree_with_a_model(void)
{
	static const int64_t budgets[MODEL_CLIENTS + MODEL_PROJECTS] = { 100, 250, BUDGET_NO_LIMIT, 1000, 0, 700,
									 600, 1500 };
	plain_account plain[MODEL_CLIENTS + MODEL_PROJECTS];
	plain_request requests[MODEL_IDS] = { { .state = PLAIN_NOT } };
	uint32_t accounts[MODEL_CLIENTS + MODEL_PROJECTS];
	int64_t now = NOON;
	uint64_t mono_s = 1000;
	int fd, result_counts[BUDGET_FULL + 1] = { 0 };
	budget *b = rig_budget(&fd);

	for (int i = 0; i < MODEL_CLIENTS + MODEL_PROJECTS; i++) {
		char name[16];
		snprintf(name, sizeof name, "%d", i);
		plain[i] = (plain_account){ budgets[i], 0, 0, 0, 0, (period_kind)(i % 3) };
		plain[i].first_day = period_first(plain[i].kind, period_day(now));
		accounts[i] = rig_account(b, i < MODEL_CLIENTS ? ACCOUNT_CLIENT : ACCOUNT_PROJECT, name, budgets[i],
					  plain[i].kind);
	}
	for (int step = 0; step < MODEL_STEPS && unit_bad == 0; step++) {
		int at = (int)pick(MODEL_IDS);
		plain_request *q = &requests[at];
		int c = q->state == PLAIN_NOT ? (int)pick(MODEL_CLIENTS) : q->client,
		    p = MODEL_CLIENTS + c % MODEL_PROJECTS;
		plain_account *both[] = { &plain[c], &plain[p] };
		char id[16];
		snprintf(id, sizeof id, "id %d", at);
		for (int i = 0; i < MODEL_CLIENTS + MODEL_PROJECTS; i++)
			plain_time(&plain[i], period_day(now));
		switch (pick(10)) {
		case 0: /* time */
			now += pick(3) ? pick(1000000) : pick(40000000);
			mono_s += pick(4) ? pick(100) : pick(9000);
			size_t charged = 0;
			for (int i = 0; i < MODEL_CLIENTS + MODEL_PROJECTS; i++)
				plain_time(&plain[i], period_day(now));
			for (int i = 0; i < MODEL_IDS; i++) {
				plain_request *r = &requests[i];
				if (r->state != PLAIN_RESERVED || r->expires_s > mono_s)
					continue;
				r->state = PLAIN_CHARGED;
				r->charged_day = period_day(now);
				charged++;
				for (int k = 0; k < 2; k++) {
					plain_account *a =
						&plain[k ? MODEL_CLIENTS + r->client % MODEL_PROJECTS : r->client];
					a->charged += r->nano;
					a->reserved -= r->nano;
				}
			}
			CHECK(budget_keep_time(b, mono_s * SECOND_NS, now) == charged);
			break;
		case 1: /* it does not go on */
			budget_release(b, slice_cstr(id));
			if (q->state == PLAIN_RESERVED) {
				both[0]->reserved -= q->nano;
				both[1]->reserved -= q->nano;
				q->state = PLAIN_NOT;
			}
			break;
		case 2:
		case 3:
		case 4: { /* its record */
			int64_t nano = pick(120);
			int64_t had = rig_settle(b, id, accounts[c], accounts[p], nano, now);
			CHECK(had == (q->state == PLAIN_NOT ? -1 : q->nano));
			for (int k = 0; k < 2; k++) {
				both[k]->spent += nano;
				if (q->state == PLAIN_RESERVED)
					both[k]->reserved -= q->nano;
				if (q->state == PLAIN_CHARGED && q->charged_day >= both[k]->first_day)
					both[k]->charged -= q->nano;
			}
			q->state = PLAIN_NOT;
			break;
		}
		default: { /* it asks, perhaps again */
			int64_t nano = pick(90), more = nano;
			if (q->state == PLAIN_CHARGED)
				break;
			if (q->state == PLAIN_RESERVED)
				more = nano > q->nano ? nano - q->nano : 0;
			bool again = q->state == PLAIN_RESERVED && more == 0;
			budget_result should = again || (plain_fits(both[0], more) && plain_fits(both[1], more)) ?
						       BUDGET_ADMITTED :
						       BUDGET_SPENT;
			budget_result is = rig_ask(b, id, rig_limit(accounts[c], plain[c].nano, plain[c].kind, 0),
						   rig_limit(accounts[p], plain[p].nano, plain[p].kind, 0), nano, 0,
						   mono_s * SECOND_NS, now)
						   .result;
			CHECK(is == should);
			result_counts[is]++;
			if (should != BUDGET_ADMITTED)
				break;
			if (q->state == PLAIN_NOT) {
				*q = (plain_request){ PLAIN_RESERVED, c, nano, 0, mono_s + BUDGET_EXPIRES_S };
			} else {
				q->nano += more;
			}
			both[0]->reserved += more;
			both[1]->reserved += more;
		}
		}
		for (int k = 0; k < 2; k++) {
			account_view v = budget_account_view(b, accounts[k ? p : c], now);
			plain_time(both[k], period_day(now));
			CHECK(v.spent == both[k]->spent && v.charged == both[k]->charged &&
			      v.reserved == both[k]->reserved);
		}
	}
	CHECK(result_counts[BUDGET_ADMITTED] > MODEL_STEPS / 20 && result_counts[BUDGET_SPENT] > MODEL_STEPS / 20);
	budget_unmap(b);
	close(fd);
}

/* ---- from many threads */

enum { THREADS = 6, CLIENTS = 1000, PARALLEL = 20, WORTH = 10, COST = 1234567 };

typedef struct crowd {
	budget *b;
	uint32_t accounts[CLIENTS];
	atomic_int next, admitted[CLIENTS];
} crowd;

/* Takes turns, so that all requests of a client come at once. */
static void *crowd_main(void *arg)
{
	crowd *c = arg;
	char id[32];

	for (int i; (i = atomic_fetch_add(&c->next, 1)) < CLIENTS * PARALLEL;) {
		int client = i / PARALLEL;
		snprintf(id, sizeof id, "r%d", i);
		budget_limit l = rig_limit(c->accounts[client], (int64_t)WORTH * COST + COST - 1, PERIOD_DAY, 0);
		if (rig_money(c->b, id, l, COST, NOON) == BUDGET_ADMITTED)
			atomic_fetch_add(&c->admitted[client], 1);
	}
	return NULL;
}

static void many_at_once_get_what_the_budget_has(void)
{
	static crowd c;
	pthread_t threads[THREADS];
	int fd;

	c.b = rig_budget(&fd);
	for (int i = 0; i < CLIENTS; i++) {
		char name[16];
		snprintf(name, sizeof name, "%d", i);
		c.accounts[i] = rig_account(c.b, ACCOUNT_CLIENT, name, (int64_t)WORTH * COST, PERIOD_DAY);
	}
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, crowd_main, &c) != 0)
			abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < CLIENTS; i++)
		CHECK(c.admitted[i] == WORTH && rig_sum(c.b, c.accounts[i], NOON) == (int64_t)WORTH * COST);
	budget_unmap(c.b);
	close(fd);
}

/* Deciders admit and hand over to a keeper, which settles at what was reserved: the budget is never overrun, although
 * money moves from `reserved` to `spent` all the time. */
enum { FLOW = 20000, FLOW_BUDGET = 50000000, RING = 64 };

typedef struct flow {
	budget *b;
	uint32_t client, project;
	atomic_int admitted, refused, deciders;
	atomic_int ring[THREADS][RING]; /* the ids that wait for the keeper; 0: none */
	atomic_long cost;
} flow;

typedef struct flow_thread {
	flow *f;
	int number;
} flow_thread;

static int64_t flow_cost(int id)
{
	return 1000 + id % 7 * 100;
}

static void *flow_main(void *arg)
{
	flow_thread *t = arg;
	flow *f = t->f;
	char id[32];

	for (int i = 1; i <= FLOW; i++) {
		int n = t->number * FLOW + i;
		snprintf(id, sizeof id, "r%d", n);
		budget_answer a = rig_ask(f->b, id, rig_limit(f->client, FLOW_BUDGET, PERIOD_DAY, 0),
					  rig_limit(f->project, INT64_MAX, PERIOD_WEEK, 0), flow_cost(n), 0, SECOND_NS,
					  NOON);
		if (a.result != BUDGET_ADMITTED) {
			atomic_fetch_add(&f->refused, 1);
			continue;
		}
		atomic_fetch_add(&f->admitted, 1);
		if (n % 5 == 0) {
			budget_release(f->b, slice_cstr(id));
			continue;
		}
		atomic_fetch_add(&f->cost, flow_cost(n));
		atomic_int *place = &f->ring[t->number][i % RING];
		while (atomic_load(place))
			sched_yield();
		atomic_store(place, n);
	}
	atomic_fetch_sub(&f->deciders, 1);
	return NULL;
}

static void *flow_keeper(void *arg)
{
	flow *f = arg;
	char id[32];

	for (bool last = false, any = true; !last || any;) {
		last = atomic_load(&f->deciders) == 0;
		any = false;
		for (int i = 0; i < THREADS * RING; i++) {
			int n = atomic_exchange(&f->ring[i / RING][i % RING], 0);
			if (!n)
				continue;
			any = true;
			snprintf(id, sizeof id, "r%d", n);
			CHECK(rig_settle(f->b, id, f->client, f->project, flow_cost(n), NOON) == flow_cost(n));
		}
	}
	return NULL;
}

static void money_in_motion_is_never_spent_twice(void)
{
	static flow f;
	flow_thread arguments[THREADS];
	pthread_t threads[THREADS], keeper;
	int fd;

	f.b = rig_budget(&fd);
	f.client = rig_account(f.b, ACCOUNT_CLIENT, "alice", FLOW_BUDGET, PERIOD_DAY);
	f.project = rig_account(f.b, ACCOUNT_PROJECT, "search", INT64_MAX, PERIOD_WEEK);
	atomic_store(&f.deciders, THREADS);
	for (int i = 0; i < THREADS; i++) {
		arguments[i] = (flow_thread){ &f, i };
		if (pthread_create(&threads[i], NULL, flow_main, &arguments[i]) != 0)
			abort();
	}
	if (pthread_create(&keeper, NULL, flow_keeper, &f) != 0)
		abort();
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_join(keeper, NULL);
	account_view v = budget_account_view(f.b, f.client, NOON);
	CHECK(v.spent == atomic_load(&f.cost) && v.reserved == 0 && v.spent <= FLOW_BUDGET);
	CHECK(v.spent > FLOW_BUDGET - 2000 && f.refused > 0); /* the budget was used up */
	CHECK(rig_sum(f.b, f.project, NOON) == v.spent && budget_count(f.b).reservations == 0);
	budget_unmap(f.b);
	close(fd);
}

int main(void)
{
	RUN(random_requests_agree_with_a_model);
	RUN(many_at_once_get_what_the_budget_has);
	RUN(money_in_motion_is_never_spent_twice);
	return unit_end();
}
