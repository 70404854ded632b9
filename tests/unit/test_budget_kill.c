/* SPDX-License-Identifier: MIT
 *
 * The budgets' memory when a process is killed, or another one comes in between, at any step. The sources are compiled
 * here with a hook at each atomic access: each names a memory order. */
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "budget/budget_impl.h"

#include "budget_rig.h"

static void step(void);
static void (*hook)(void);

#undef RELAXED
#undef ACQUIRE
#undef RELEASE
#undef ACQ_REL
#define RELAXED ((void)step(), memory_order_relaxed)
#define ACQUIRE ((void)step(), memory_order_acquire)
#define RELEASE ((void)step(), memory_order_release)
#define ACQ_REL ((void)step(), memory_order_acq_rel)

#include "budget/keep.c"
#include "budget/region.c"
#include "budget/reserve.c"

/* Tokens a minute, of which each request takes one. The clock stands still, so all requests of a test have to fit. */
enum { TOKENS = 100000 };

static int steps_left; /* until the hook is called; below 0: never */

static void step(void)
{
	if (steps_left >= 0 && steps_left-- == 0)
		hook();
}

/* One client with a project; each test begins with a new one. */
typedef struct world {
	int fd;
	budget *b;
	uint32_t client, project;
	int64_t nano, project_nano;
} world;

static world fresh(int64_t nano)
{
	world w = { .nano = nano, .project_nano = nano };

	w.b = rig_budget(&w.fd);
	w.client = rig_account(w.b, ACCOUNT_CLIENT, "alice", nano, PERIOD_DAY);
	w.project = rig_account(w.b, ACCOUNT_PROJECT, "search", nano, PERIOD_MONTH);
	return w;
}

static void end(world *w)
{
	budget_unmap(w->b);
	close(w->fd);
}

static budget_result ask(const world *w, const char *id, int64_t nano)
{
	budget_ask a = { slice_cstr(id), rig_limit(w->client, w->nano, PERIOD_DAY, TOKENS),
			 rig_limit(w->project, w->project_nano, PERIOD_MONTH, TOKENS), nano, 1 };
	budget_answer out;

	budget_reserve(w->b, &a, SECOND_NS, NOON, &out);
	return out.result;
}

/* ---- killed at each step */

static void end_by_kill(void)
{
	kill(getpid(), SIGKILL);
}

/* Runs `act` in another process that is killed at its step `at`. True: it was; false: it has fewer steps. */
static bool killed_at(int at, void (*act)(const world *w), const world *w)
{
	int status;

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		hook = end_by_kill;
		steps_left = at;
		act(w);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return WIFSIGNALED(status);
}

static void act_reserve(const world *w)
{
	(void)ask(w, "1", 60);
}

static void act_raise(const world *w)
{
	(void)ask(w, "1", 80);
}

static void act_release(const world *w)
{
	budget_release(w->b, SLICE("1"));
}

static void act_settle(const world *w)
{
	(void)rig_settle(w->b, "1", w->client, w->project, 50, NOON);
}

static void act_charge(const world *w)
{
	(void)budget_keep_time(w->b, 99999 * SECOND_NS, NOON);
}

static void act_roll(const world *w)
{
	(void)budget_keep_time(w->b, SECOND_NS, NOON + DAY_OF_MS);
}

/* After budget_recount(), what is reserved is what the reservations say, in both accounts. */
static void check_reserved(const world *w)
{
	CHECK(budget_recount(w->b, w->fd));
	int64_t slots = budget_keep_reserved(w->b, SLICE("1"));
	CHECK(budget_account_view(w->b, w->client, NOON).reserved == (slots > 0 ? slots : 0));
	CHECK(budget_account_view(w->b, w->project, NOON).reserved == (slots > 0 ? slots : 0));
}

static void a_decider_is_killed_while_it_reserves(void)
{
	bool killed = true;
	int at = 0, kept = 0;

	for (; killed; at++) {
		world w = fresh(100);
		killed = killed_at(at, act_reserve, &w);
		check_reserved(&w);
		kept += rig_sum(w.b, w.client, NOON) == 60;
		/* The budget is there for the next ones, and not more of it. */
		budget_release(w.b, SLICE("1"));
		CHECK(ask(&w, "2", 100) == BUDGET_ADMITTED && ask(&w, "3", 1) == BUDGET_SPENT);
		CHECK(budget_count(w.b).reservations == 1);
		end(&w);
	}
	CHECK(at > 20 && kept >= 1 && kept < at / 2);
}

static void a_decider_is_killed_while_it_asks_again(void)
{
	bool killed = true;
	int at = 0;

	for (; killed; at++) {
		world w = fresh(100);
		CHECK(ask(&w, "1", 60) == BUDGET_ADMITTED);
		killed = killed_at(at, act_raise, &w);
		CHECK(rig_sum(w.b, w.client, NOON) >= 60 && rig_sum(w.b, w.project, NOON) >= 60);
		CHECK(budget_recount(w.b, w.fd));
		int64_t sum = rig_sum(w.b, w.client, NOON);
		CHECK(sum == (killed && sum == 60 ? 60 : 80) && rig_sum(w.b, w.project, NOON) == sum);
		CHECK(budget_keep_reserved(w.b, SLICE("1")) == sum);
		end(&w);
	}
	CHECK(at > 20);
}

static void a_decider_is_killed_while_it_releases(void)
{
	bool killed = true;

	for (int at = 0; killed; at++) {
		world w = fresh(100);
		CHECK(ask(&w, "1", 60) == BUDGET_ADMITTED);
		killed = killed_at(at, act_release, &w);
		check_reserved(&w);
		end(&w);
	}
}

static void the_keeper_is_killed_while_it_settles(void)
{
	bool killed = true;
	int at = 0;

	for (; killed; at++) {
		world w = fresh(100);
		CHECK(ask(&w, "1", 60) == BUDGET_ADMITTED);
		killed = killed_at(at, act_settle, &w);
		/* What it cost is in the sum, whenever a decider looks. */
		CHECK(rig_sum(w.b, w.client, NOON) >= 50 && rig_sum(w.b, w.project, NOON) >= 50);
		CHECK(ask(&w, "2", 51) == BUDGET_SPENT);
		CHECK(budget_recount(w.b, w.fd));
		CHECK(rig_sum(w.b, w.client, NOON) >= 50 && rig_sum(w.b, w.project, NOON) >= 50);
		/* The next one begins with what the ledger has, and gets the record again. */
		budget_keep_seed(w.b, w.client, PERIOD_DAY, NOON, 50);
		budget_keep_seed(w.b, w.project, PERIOD_MONTH, NOON, 50);
		(void)rig_settle(w.b, "1", w.client, w.project, 0, NOON);
		CHECK(rig_sum(w.b, w.client, NOON) == 50 && rig_sum(w.b, w.project, NOON) == 50);
		CHECK(budget_count(w.b).reservations == 0 && ask(&w, "3", 50) == BUDGET_ADMITTED);
		end(&w);
	}
	CHECK(at > 20);
}

static void the_keeper_is_killed_while_it_charges(void)
{
	bool killed = true, twice = false;
	int at = 0;

	for (; killed && at < 100; at++) {
		world w = fresh(1000);
		CHECK(ask(&w, "1", 60) == BUDGET_ADMITTED);
		/* The keeper looks at all slots. Kill it only from the reservation's on: the steps before are alike. */
		int far = 0;
		while (w.b->r->tags[far / WAYS][far % WAYS] == 0)
			far++;
		killed = killed_at(far + at, act_charge, &w);
		CHECK(rig_sum(w.b, w.client, NOON) >= 60 && rig_sum(w.b, w.project, NOON) >= 60);
		CHECK(budget_recount(w.b, w.fd));
		CHECK(rig_sum(w.b, w.client, NOON) >= 60 && rig_sum(w.b, w.project, NOON) >= 60);
		(void)budget_keep_time(w.b, 99999 * SECOND_NS, NOON);
		int64_t sum = rig_sum(w.b, w.client, NOON);
		CHECK(sum == 60 || sum == 120);
		twice |= sum == 120;
		end(&w);
	}
	CHECK(twice);
}

static void the_keeper_is_killed_while_a_period_begins(void)
{
	bool killed = true;

	for (int at = 0; killed && at < 60; at++) {
		world w = fresh(100);
		budget_keep_seed(w.b, w.client, PERIOD_DAY, NOON, 70);
		killed = killed_at(at, act_roll, &w);
		/* The old period's sums are whole, or 0 where the new one may have begun. */
		CHECK(rig_sum(w.b, w.client, NOON + DAY_OF_MS) == 0);
		int64_t sum = rig_sum(w.b, w.client, NOON);
		CHECK(sum == 70 || sum == 0);
		end(&w);
	}
}

/* ---- another one in between, at each step */

static const world *between;
static budget_result third;

/* Settles a request, and admits another one that takes its place: `reserved` is what it was. */
static void settle_and_admit(void)
{
	hook = NULL;
	(void)rig_settle(between->b, "settled", between->client, between->project, 30, NOON);
	third = ask(between, "third", 30);
}

static void money_that_moves_meanwhile_is_not_spent_twice(void)
{
	int refused = 0, at = 0;

	for (bool more = true; more; at++) {
		world w = fresh(100);
		w.project_nano = 1000; /* so that the project does not refuse what the client's budget should */
		CHECK(ask(&w, "settled", 30) == BUDGET_ADMITTED && ask(&w, "stays", 30) == BUDGET_ADMITTED);
		between = &w;
		hook = settle_and_admit;
		third = BUDGET_FULL;
		steps_left = at;
		budget_result first = ask(&w, "1", 40);
		more = steps_left < 0;
		steps_left = -1;
		refused += more && first == BUDGET_SPENT;
		int64_t admitted = 30 + 30 + (first == BUDGET_ADMITTED ? 40 : 0) + (third == BUDGET_ADMITTED ? 30 : 0);
		CHECK(admitted <= 100 && rig_sum(w.b, w.client, NOON) <= 100);
		CHECK(!more || first == BUDGET_ADMITTED || third == BUDGET_ADMITTED);
		end(&w);
	}
	CHECK(at > 20 && refused > 0);
}

static void admit_the_rest(void)
{
	hook = NULL;
	third = ask(between, "third", 41);
}

static void a_decider_never_sees_the_sum_dip(void)
{
	void (*const acts[])(const world *w) = { act_settle, act_charge };

	for (int i = 0; i < 2; i++) {
		int at = 0;
		for (bool more = true; more && at < 200; at++) {
			world w = fresh(90);
			CHECK(ask(&w, "1", 50) == BUDGET_ADMITTED);
			int far = 0;
			while (i && w.b->r->tags[far / WAYS][far % WAYS] == 0)
				far++;
			between = &w;
			hook = admit_the_rest;
			third = BUDGET_FULL;
			steps_left = at + far;
			acts[i](&w);
			more = steps_left < 0;
			steps_left = -1;
			CHECK(third == (more ? BUDGET_SPENT : BUDGET_FULL));
			end(&w);
		}
		CHECK(at > 15);
	}
}

/* ---- real processes, killed at random moments */

enum { REQUESTS = 4000, LAST = 200, DECIDERS = 2, ROUNDS = 25, KILLS = 25 };

/* What the test's own ledger has, in memory that all processes share. */
typedef struct truth {
	atomic_int next;               /* request */
	atomic_int limit;              /* the LAST ones wait until the keeper is dead */
	atomic_int answered[REQUESTS]; /* it was admitted */
	atomic_int rows[REQUESTS];     /* the ledger has its row */
	atomic_int joined[REQUESTS];   /* and the budget knows */
	atomic_int overrun;
} truth;

static int64_t reserved_for(int i)
{
	return 10 + i % 7;
}

static int64_t cost_of(int i)
{
	return 8 + i % 3; /* never more */
}

static int64_t rows_of(truth *t)
{
	int64_t sum = 0;

	for (int i = 0; i < REQUESTS; i++)
		sum += atomic_load(&t->rows[i]) ? cost_of(i) : 0;
	return sum;
}

static void name_of(char id[16], int i)
{
	snprintf(id, 16, "r%d", i);
}

static _Noreturn void decide_for_ever(const world *w, truth *t)
{
	char id[16];

	for (int i; (i = atomic_fetch_add(&t->next, 1)) < REQUESTS;) {
		while (i >= atomic_load(&t->limit))
			usleep(50);
		name_of(id, i);
		budget_result r = ask(w, id, reserved_for(i));
		while (r == BUDGET_SPENT && i % 3 == 0) { /* insists */
			sched_yield();
			r = ask(w, id, reserved_for(i));
		}
		if (r == BUDGET_ADMITTED)
			atomic_store(&t->answered[i], 1);
		usleep(1);
	}
	for (;;)
		pause();
}

static _Noreturn void keep_for_ever(const world *w, truth *t)
{
	char id[16];
	int64_t spent = rows_of(t);

	budget_keep_seed(w->b, w->client, PERIOD_DAY, NOON, spent);
	budget_keep_seed(w->b, w->project, PERIOD_MONTH, NOON, spent);
	for (;;) {
		for (int i = 0; i < REQUESTS; i++) {
			if (!atomic_load(&t->answered[i]) || atomic_load(&t->joined[i]))
				continue;
			bool is_new = !atomic_exchange(&t->rows[i], 1);
			name_of(id, i);
			(void)rig_settle(w->b, id, w->client, w->project, is_new ? cost_of(i) : 0, NOON);
			atomic_store(&t->joined[i], 1);
		}
		usleep(100);
	}
}

static pid_t start(const world *w, truth *t, bool keeper)
{
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0 && keeper)
		keep_for_ever(w, t);
	if (pid == 0)
		decide_for_ever(w, t);
	if (pid < 0)
		abort();
	return pid;
}

static void kill_and_wait(pid_t pid)
{
	kill(pid, SIGKILL);
	if (waitpid(pid, NULL, 0) != pid)
		abort();
}

static int in_flight_at_kills, admitted_in_all;

static bool any_in_flight(truth *t)
{
	for (int i = 0; i < REQUESTS; i++)
		if (atomic_load(&t->answered[i]) && !atomic_load(&t->rows[i]))
			return true;
	return false;
}

/* All processes have ended: what was promised is what the memory says. */
static void check_truth(const world *w, truth *t)
{
	int64_t spent = rows_of(t), flight = 0;
	char id[16];

	for (int i = 0; i < REQUESTS; i++) {
		if (!atomic_load(&t->answered[i]))
			continue;
		admitted_in_all++;
		if (atomic_load(&t->rows[i]))
			continue;
		in_flight_at_kills++;
		name_of(id, i);
		CHECK(budget_keep_reserved(w->b, slice_cstr(id)) == reserved_for(i));
		flight += reserved_for(i);
	}
	CHECK(spent + flight <= w->nano);
	CHECK(rig_sum(w->b, w->client, NOON) >= spent + flight && rig_sum(w->b, w->project, NOON) >= spent + flight);
	CHECK(budget_recount(w->b, w->fd));
	budget_keep_seed(w->b, w->client, PERIOD_DAY, NOON, spent);
	budget_keep_seed(w->b, w->project, PERIOD_MONTH, NOON, spent);
	for (int i = 0; i < REQUESTS; i++) { /* whose row is there, and those that were never answered */
		name_of(id, i);
		if (atomic_load(&t->rows[i]) || !atomic_load(&t->answered[i]))
			(void)rig_settle(w->b, id, w->client, w->project, 0, NOON);
	}
	account_view c = budget_account_view(w->b, w->client, NOON), p = budget_account_view(w->b, w->project, NOON);
	CHECK(c.spent == spent && c.reserved == flight && c.charged == 0);
	CHECK(p.spent == spent && p.reserved == flight && p.charged == 0);
}

static void killed_processes_overrun_and_lose_nothing(void)
{
	const int64_t plenty = 100000; /* is never used up */
	const int64_t budgets[] = { 997, 4000, plenty };
	unsigned random = 12345;

	for (int round = 0; round < ROUNDS && !unit_bad; round++) {
		world w = fresh(budgets[round % 3]);
		truth *t = mmap(NULL, sizeof *t, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		pid_t pids[DECIDERS + 1];
		if (t == MAP_FAILED)
			abort();
		atomic_store(&t->limit, REQUESTS - LAST);
		for (int i = 0; i <= DECIDERS; i++)
			pids[i] = start(&w, t, i == DECIDERS);
		for (int i = 0; i < KILLS; i++) {
			random = random * 1103515245 + 12345;
			usleep(random >> 16 & 0x3ff);
			int which = (int)(random >> 8 & 0xff) % (DECIDERS + 1);
			kill_and_wait(pids[which]);
			pids[which] = start(&w, t, which == DECIDERS);
		}
		/* The keeper first: what is admitted after that is in flight. */
		kill_and_wait(pids[DECIDERS]);
		atomic_store(&t->limit, REQUESTS);
		for (int i = 0; i < 20000 && w.nano == plenty && !any_in_flight(t); i++)
			usleep(100);
		for (int i = 0; i < DECIDERS; i++)
			kill_and_wait(pids[i]);
		check_truth(&w, t);
		munmap(t, sizeof *t);
		end(&w);
	}
	printf("   %d admitted in %d rounds of %d kills, %d in flight at the last ones\n", admitted_in_all, ROUNDS,
	       KILLS + DECIDERS + 1, in_flight_at_kills);
	CHECK(admitted_in_all > ROUNDS * 50 && in_flight_at_kills > 0);
}

static void a_recount_waits_until_nobody_else_is_there(void)
{
	world w = fresh(100);
	int pipes[2], status;
	char byte;
	bool foreign;
	err e;

	if (pipe(pipes) != 0)
		abort();
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		if (budget_map(w.fd, &foreign, &e) && write(pipes[1], "x", 1) == 1)
			pause();
		_exit(1);
	}
	CHECK(pid > 0 && read(pipes[0], &byte, 1) == 1);
	CHECK(!budget_recount(w.b, w.fd));
	kill(pid, SIGKILL);
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(budget_recount(w.b, w.fd));
	close(pipes[0]);
	close(pipes[1]);
	end(&w);
}

int main(void)
{
	steps_left = -1;
	RUN(a_decider_is_killed_while_it_reserves);
	RUN(a_decider_is_killed_while_it_asks_again);
	RUN(a_decider_is_killed_while_it_releases);
	RUN(the_keeper_is_killed_while_it_settles);
	RUN(the_keeper_is_killed_while_it_charges);
	RUN(the_keeper_is_killed_while_a_period_begins);
	RUN(money_that_moves_meanwhile_is_not_spent_twice);
	RUN(a_decider_never_sees_the_sum_dip);
	RUN(killed_processes_overrun_and_lose_nothing);
	RUN(a_recount_waits_until_nobody_else_is_there);
	return unit_end();
}
