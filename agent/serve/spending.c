/* SPDX-License-Identifier: MIT */
#include "serve/spending.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "budget/budget.h"
#include "decide/decision.h"
#include "report/pricing.h"

enum {
	WAIT_MS = 1000,
	WAIT_STEP_MS = 5,
	SWEEP_MS = 5000, /* between looks for reservations that have expired */
	KEEP_MS = 1000,  /* between looks for what others spent, which the ledger notes */
	KEEP_SHARE = 50, /* if noting takes long, the pause is so many times as long */
};

struct spending {
	budget *budget;
	bool fleet;
	pthread_mutex_t lock; /* guards `clients` */
	client_table *clients;
	/* The ledger's thread alone uses these. */
	client_table *seeded; /* whose accounts were read from the ledger; NULL: none were */
	int64_t sweep_at;
	int64_t gateways_kept; /* in the ledger */
	int64_t keep_at;
};

/* ---- the memory */

static int own_memory(control *master, err *e)
{
	int fd = budget_memory(e);

	if (fd >= 0 && control_say(master, CONTROL_MEMORY, (slice){ NULL, 0 }, &fd, 1, e))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

spending *spending_new(control *master, bool fleet, err *e)
{
	spending *s = calloc(1, sizeof *s);
	bool foreign = false;

	if (!s) {
		err_memory(e);
		return NULL;
	}
	pthread_mutex_init(&s->lock, NULL);
	s->fleet = fleet;
	int fd = master->memory;
	if (fd >= 0)
		s->budget = budget_map(fd, &foreign, e);
	if (foreign)
		log_event(budgets_anew, LOG_C("problem", e->text));
	if (fd < 0 || foreign) {
		fd = own_memory(master, e);
		s->budget = fd >= 0 ? budget_map(fd, &foreign, e) : NULL;
	}
	if (!s->budget) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return NULL;
	}
	/* The descriptor stays open as long as the process lives: it holds the lock. */
	budget_recount(s->budget, fd);
	return s;
}

void spending_free(spending *s)
{
	if (!s)
		return;
	client_table_unref(s->clients);
	client_table_unref(s->seeded);
	budget_unmap(s->budget);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* ---- accounts and prices */

static bool open_account(budget *b, account_kind kind, const char *name, const client_limits *l, uint32_t *account,
			 err *e)
{
	if (!client_limits_counted(l))
		return true;
	*account = budget_account(b, kind, slice_cstr(name));
	if (*account == BUDGET_NO_ACCOUNT)
		return err_set(
			e,
			"the budgets have room for %d clients and projects with limits, those of before included: "
			"stop the agent, and start it again",
			BUDGET_ACCOUNTS);
	budget_account_rules(b, *account, l->budget_nano, (period_kind)l->period);
	return true;
}

bool spending_equip(spending *s, policy *next, price_table *prices, err *e)
{
	client_table *t = next->clients;
	pricing *p = pricing_new(s->budget, prices);
	bool ok = p || err_memory(e);

	for (uint32_t i = 0; ok && t && i < t->count; i++)
		ok = open_account(s->budget, ACCOUNT_CLIENT, t->clients[i].name, &t->clients[i].limits,
				  &t->clients[i].account, e);
	for (uint32_t i = 0; ok && t && i < t->projects_count; i++)
		ok = open_account(s->budget, ACCOUNT_PROJECT, t->projects[i].name, &t->projects[i].limits,
				  &t->projects[i].account, e);
	if (!ok) {
		pricing_unref(p);
		return false;
	}
	policy_set_pricing(next, p);
	return true;
}

void spending_use(spending *s, const policy *p)
{
	pthread_mutex_lock(&s->lock);
	client_table *old = s->clients;
	s->clients = p->clients ? client_table_ref(p->clients) : NULL;
	pthread_mutex_unlock(&s->lock);
	client_table_unref(old);
}

/* ---- the keeper: the ledger's thread */

/* Reads what the ledger has noted of the fleet: how many gateways there were, and what they spent. */
static void begin_fleet(spending *s, store *db)
{
	int64_t gateways;
	err e;

	if (!s->fleet) {
		budget_fleet_end(s->budget);
		return;
	}
	if (budget_fleet_now(s->budget).gateways > 0 || store_gateways(db, &gateways, &e) != STORE_OK)
		return;
	budget_fleet_begin(s->budget, gateways > 1 && gateways <= UINT32_MAX ? (uint32_t)gateways : 1);
}

static void seed_elsewhere(spending *s, store *db, bool project, const char *name, period_kind period, uint32_t account,
			   int64_t now)
{
	store_elsewhere there = { .project = project, .name = name };
	budget_noted noted = { .until = period_next(period, period_day(now)) };
	err e;

	there.until_s = noted.until * (DAY_MS / 1000);
	if (store_elsewhere_of(db, &there, &e) != STORE_OK)
		return;
	noted.nano = there.nano;
	noted.withheld = there.withheld;
	budget_fleet_seed(s->budget, account, &noted, now);
}

static void seed(spending *s, store *db, account_kind kind, const char *name, const client_limits *l, uint32_t account)
{
	int64_t now = clock_wall_ms(), nano = 0;
	err e;

	/* The keeper has counted what an account that is known spent since it was read. */
	if (account == NO_ACCOUNT ||
	    (s->seeded && budget_account_known(s->budget, account, (period_kind)l->period, now)))
		return;
	int64_t first = period_first((period_kind)l->period, period_day(now));
	if (store_spent(db, kind == ACCOUNT_PROJECT, slice_cstr(name), first * (DAY_MS / 1000), &nano, &e) != STORE_OK)
		return;
	budget_keep_seed(s->budget, account, (period_kind)l->period, now, nano);
	if (s->fleet)
		seed_elsewhere(s, db, kind == ACCOUNT_PROJECT, name, (period_kind)l->period, account, now);
}

static void tell_crossed(spending *s, const char *of, const char *name, uint32_t account)
{
	int percent = account == NO_ACCOUNT ? 0 : budget_keep_crossed(s->budget, account, clock_wall_ms());

	if (percent)
		log_event(budget_spent, LOG_C("of", of), LOG_C("name", name), LOG_I("percent", percent));
}

static void seed_all(spending *s, store *db, const client_table *t)
{
	for (uint32_t i = 0; i < t->count; i++)
		seed(s, db, ACCOUNT_CLIENT, t->clients[i].name, &t->clients[i].limits, t->clients[i].account);
	for (uint32_t i = 0; i < t->projects_count; i++)
		seed(s, db, ACCOUNT_PROJECT, t->projects[i].name, &t->projects[i].limits, t->projects[i].account);
}

/* ---- what others spent, noted for the next start and for commands */

enum { KEPT_AT_ONCE = 1000 }; /* accounts in one transaction, so that records come in between */

typedef struct keeping {
	spending *s;
	store *db;
	store_elsewhere items[KEPT_AT_ONCE];
	uint32_t accounts[KEPT_AT_ONCE];
	size_t count;
	int64_t gateways;
	bool failed;
} keeping;

static void keep_now(keeping *k)
{
	err e;

	k->failed = store_keep_elsewhere(k->db, k->items, k->count, k->gateways, &e) != STORE_OK;
	for (size_t i = 0; k->failed && i < k->count; i++)
		budget_fleet_again(k->s->budget, k->accounts[i]);
	if (!k->failed)
		k->s->gateways_kept = k->gateways;
	k->count = 0;
}

static void keep(keeping *k, bool project, const char *name, uint32_t account)
{
	budget_noted noted;

	if (k->failed || account == NO_ACCOUNT || !budget_fleet_changed(k->s->budget, account, &noted))
		return;
	k->accounts[k->count] = account;
	k->items[k->count++] = (store_elsewhere){ project, name, noted.until * (DAY_MS / 1000), noted.nano,
						  noted.withheld };
	if (k->count == KEPT_AT_ONCE)
		keep_now(k);
}

static void keep_elsewhere(spending *s, store *db)
{
	const client_table *t = s->seeded;
	budget_fleet fleet = budget_fleet_now(s->budget);
	keeping k = { .s = s, .db = db, .gateways = fleet.gateways };
	int64_t began = clock_mono_ms();

	if (!t || fleet.gateways == 0 || began < s->keep_at)
		return;
	for (uint32_t i = 0; i < t->count; i++)
		keep(&k, false, t->clients[i].name, t->clients[i].account);
	for (uint32_t i = 0; i < t->projects_count; i++)
		keep(&k, true, t->projects[i].name, t->projects[i].account);
	if (!k.failed && (k.count || s->gateways_kept != k.gateways))
		keep_now(&k);
	int64_t ended = clock_mono_ms(), pause = (ended - began) * KEEP_SHARE;
	s->keep_at = ended + (pause > KEEP_MS ? pause : KEEP_MS);
}

static void on_look(void *ctx, store *db)
{
	spending *s = ctx;
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&s->lock);
	client_table *t = s->clients && s->clients != s->seeded ? client_table_ref(s->clients) : NULL;
	pthread_mutex_unlock(&s->lock);
	if (t) {
		begin_fleet(s, db);
		seed_all(s, db, t);
		client_table_unref(s->seeded);
		s->seeded = t;
	}
	keep_elsewhere(s, db);
	if (now < s->sweep_at)
		return;
	/* Read the accounts that could not be read before, or whose period is no longer this one, because somebody set
	 * the clock back. */
	if (!t && s->seeded)
		seed_all(s, db, s->seeded);
	s->sweep_at = now + SWEEP_MS;
	size_t charged = budget_keep_time(s->budget, clock_mono_ns(), clock_wall_ms());
	if (charged)
		log_event(budget_charged, LOG_I("requests", charged));
	for (uint32_t i = 0; s->seeded && i < s->seeded->count; i++)
		tell_crossed(s, "client", s->seeded->clients[i].name, s->seeded->clients[i].account);
	for (uint32_t i = 0; s->seeded && i < s->seeded->projects_count; i++)
		tell_crossed(s, "project", s->seeded->projects[i].name, s->seeded->projects[i].account);
}

static void on_opened(void *ctx)
{
	spending *s = ctx;

	client_table_unref(s->seeded);
	s->seeded = NULL;
}

static int64_t on_reserved(void *ctx, const record *r)
{
	const spending *s = ctx;
	int64_t nano = budget_keep_reserved(s->budget, slice_cstr(r->id));

	return nano > 0 ? nano : 0;
}

static int64_t positive(int64_t count)
{
	return count > 0 ? count : 0;
}

static void on_settled(void *ctx, const record *r, int64_t nano)
{
	spending *s = ctx;
	budget_end end = { .id = slice_cstr(r->id), .wall_ms = r->time_ms, .nano = nano, .tokens = -1 };

	end.client = end.project = BUDGET_NO_ACCOUNT;
	if (r->keyed) {
		end.client = budget_account_find(s->budget, ACCOUNT_CLIENT, slice_cstr(r->client));
		if (r->project[0])
			end.project = budget_account_find(s->budget, ACCOUNT_PROJECT, slice_cstr(r->project));
		if (strcmp(r->code, refusal_describe(REFUSE_RATE)->code) == 0)
			budget_keep_refused(s->budget, end.client, BUDGET_TOKENS, r->time_ms);
	}
	if (record_is_settled(r))
		end.tokens = positive(r->input) + positive(r->output) + positive(r->cache_read) +
			     positive(r->cache_write);
	/* An answer that broke off does not tell how long those of its model are. */
	if (record_is_settled(r) && r->model[0] && r->output > 0 && r->termination[0] == '-')
		budget_keep_output(s->budget, slice_cstr(r->model), (uint64_t)r->output);
	(void)budget_keep_settle(s->budget, &end, clock_wall_ms());
}

ledger_budgets spending_budgets(spending *s)
{
	return (ledger_budgets){ on_reserved, on_settled, on_opened, on_look, s };
}

/* ---- the fleet: the thread that hears the shipper */

void spending_told(spending *s, const spending_elsewhere *a, int64_t day, uint32_t pass)
{
	if (s->fleet)
		budget_fleet_told(s->budget, a->project ? ACCOUNT_PROJECT : ACCOUNT_CLIENT, slice_of(a->name, a->len),
				  day, a->nano, pass);
}

bool spending_whole(spending *s, uint32_t pass, uint32_t gateways)
{
	bool alone = budget_fleet_now(s->budget).alone;

	if (s->fleet)
		budget_fleet_whole(s->budget, pass, gateways);
	return s->fleet && alone;
}

int64_t spending_alone(spending *s)
{
	return s->fleet && budget_fleet_alone(s->budget, clock_wall_ms()) ? budget_fleet_now(s->budget).gateways : 0;
}

int64_t spending_sharers(const spending *s, bool *alone)
{
	budget_fleet fleet = budget_fleet_now(s->budget);

	*alone = fleet.alone;
	return fleet.gateways;
}

/* ---- the start */

static bool known(const spending *s, const client_limits *l, uint32_t account)
{
	return account == NO_ACCOUNT ||
	       budget_account_known(s->budget, account, (period_kind)l->period, clock_wall_ms());
}

void spending_wait(spending *s, const policy *p)
{
	const client_table *t = p->clients;
	int64_t until = clock_mono_ms() + WAIT_MS;

	for (uint32_t i = 0; t && i < t->count + t->projects_count; i++) {
		const client *c = i < t->count ? &t->clients[i] : NULL;
		const client_project *project = c ? NULL : &t->projects[i - t->count];
		while (!known(s, c ? &c->limits : &project->limits, c ? c->account : project->account)) {
			if (clock_mono_ms() >= until)
				return;
			poll(NULL, 0, WAIT_STEP_MS);
		}
	}
}
