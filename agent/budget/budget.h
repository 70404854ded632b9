/* SPDX-License-Identifier: MIT
 *
 * What clients and projects have spent, and what is reserved for their requests in flight: a region of shared memory (a
 * memfd) that every worker process maps and that outlives each of them. After budget_map() no function allocates or
 * waits, and only budget_recount() and budget_unmap() make system calls; the callers tell the time.
 *
 * Units: money in nano-dollars, tokens as counts, `mono_ns` of CLOCK_MONOTONIC, which all processes of a boot share,
 * `wall_ms` milliseconds since 1970 (UTC). Names and ids are kept as hashes with a key that is drawn with the region.
 *
 * The region has an account for each client or project that has a limit: what was spent and charged in its period, what
 * is reserved, and the tokens of the last minute. Accounts are never removed; a full region takes no new ones. It has a
 * reservation for each admitted request, by the hash of its id, until the request is settled; 64-bit hashes: among
 * 65,536 requests in flight two are taken for one with a probability of 10^-10. And it has, by model, how many tokens
 * its answers took lately.
 *
 * Deciders, which are any thread of any process, call budget_reserve() and budget_release(). The keeper, one thread of
 * one process at a time, that of the ledger, calls budget_keep_*(). The listener, one thread of one process at a time,
 * that which hears the shipper, calls budget_fleet_*() if there is a fleet. Any thread may call the others.
 *
 * A budget holds: no request is admitted that makes spent + charged + reserved exceed it, what other gateways of the
 * fleet spent (`others`) included. budget_reserve() adds to `reserved` by a compare-and-swap, and then reads all three
 * again; budget_keep_settle() adds a request to `spent` before it takes the request from `reserved`. So a decider
 * misses no request that is just being settled, but may count it twice.
 *
 * What a SIGKILL between any two stores costs: nothing that was admitted is forgotten. A decider may leave money
 * reserved that belongs to no reservation, that of one request for each thread; budget_recount() puts that right at the
 * next start of a worker beside which no other one runs. A keeper may leave a request counted in `spent` and still
 * reserved: the ledger brings its record again, and budget_keep_seed() sets `spent` to what the ledger has. A request
 * that it was charging may be charged twice. Tokens of a minute that a killed decider took come back with the minute.
 */
#ifndef BUDGET_BUDGET_H
#define BUDGET_BUDGET_H

#include "base/err.h"
#include "base/must_check.h"
#include "base/slice.h"
#include "budget/period.h"

enum {
	BUDGET_ACCOUNTS = 1 << 17,     /* the most clients and projects with a limit */
	BUDGET_RESERVATIONS = 1 << 17, /* room for so many; with 65,536 of them none finds its place taken */
	BUDGET_OUTPUTS = 1024,         /* models of which the region knows how long their answers are */
	BUDGET_EXPIRES_S = 4 * 3600,   /* a request without a record for so long is charged */
};

#define BUDGET_NO_ACCOUNT UINT32_MAX
#define BUDGET_NO_LIMIT INT64_C(-1)

typedef struct budget budget;

/* ---- the region */

/* Makes the memory of a new region, close-on-exec, which nobody can make smaller. -1: `e` says why. */
MUST_CHECK int budget_memory(err *e);
/* Maps the region in `fd`, and sets it up if it is new. `fd` stays the caller's, and has to stay open: a lock of it
 * tells other processes that this one uses the region. NULL: `e` says why; `*foreign` if another version made it. */
MUST_CHECK budget *budget_map(int fd, bool *foreign, err *e);
/* Unmaps it. `b` may be NULL. */
void budget_unmap(budget *b);
/* Sets what is reserved to the sum of the reservations, if no other process uses the region: to be called before this
 * process admits anything. Returns whether it did. */
bool budget_recount(budget *b, int fd);

/* ---- accounts */

typedef enum account_kind { ACCOUNT_CLIENT = 1, ACCOUNT_PROJECT } account_kind;

/* Returns the account of that name, a new one if there is none. BUDGET_NO_ACCOUNT: there is room for no more. */
uint32_t budget_account(budget *b, account_kind kind, slice name);
/* Returns the account of that name. BUDGET_NO_ACCOUNT: there is none. */
uint32_t budget_account_find(const budget *b, account_kind kind, slice name);
/* Notes what the keeper has to know: how much the account may spend in which period. */
void budget_account_rules(budget *b, uint32_t account, int64_t nano, period_kind period);
/* Returns whether budget_keep_seed() has told what was spent in a period of this kind. False also if the clock was set
 * back since then, so that the sums are of a period that is still to come. */
bool budget_account_known(const budget *b, uint32_t account, period_kind period, int64_t wall_ms);

typedef enum budget_result {
	BUDGET_ADMITTED,
	BUDGET_UNKNOWN,   /* what the account has spent is not known yet */
	BUDGET_SPENT,     /* the budget does not suffice */
	BUDGET_TOKENS,    /* the tokens of this minute do not suffice */
	BUDGET_TOO_LARGE, /* the request takes more tokens than a minute has */
	BUDGET_FULL,      /* there is no room for a reservation */
} budget_result;

enum { BUDGET_REFUSALS = BUDGET_FULL }; /* the results before it concern an account, and are counted in it */

typedef struct account_view {
	int64_t first_day, next_day; /* of the period, and of the following one */
	int64_t nano;                /* the budget; BUDGET_NO_LIMIT */
	int64_t spent, charged, reserved;
	int64_t elsewhere;                  /* what other gateways spent in the period, by the shipper's last message */
	int64_t withheld;                   /* while this gateway is alone: what is left to the others */
	int64_t refused_s;                  /* when a request was refused last, seconds since 1970; 0: none was */
	budget_result why;                  /* why that request was refused */
	uint32_t refusals[BUDGET_REFUSALS]; /* requests that deciders refused, by budget_result, since it was made */
	period_kind period;
} account_view;

/* Reads an account as it is at `wall_ms`. */
account_view budget_account_view(const budget *b, uint32_t account, int64_t wall_ms);

/* ---- deciders */

/* What one account may use. */
typedef struct budget_limit {
	uint32_t account; /* BUDGET_NO_ACCOUNT: there is no limit */
	period_kind period;
	int64_t nano;    /* dollars of a period; BUDGET_NO_LIMIT */
	uint64_t tokens; /* of a minute; 0: no limit */
} budget_limit;

typedef struct budget_ask {
	slice id;
	budget_limit client, project;
	int64_t nano;    /* the most that the request may cost, 0 or more */
	uint64_t tokens; /* the most that it may take, input and output */
} budget_ask;

typedef struct budget_answer {
	budget_result result;
	bool project;     /* the project's limit refuses, not the client's */
	uint64_t wait_ns; /* BUDGET_TOKENS: how long until there are enough tokens */
	/* Of the two budgets, the one that is nearer to its end: the part that is used, with this request's
	 * reservation. 0: there is no budget. */
	int used_percent;
	/* Of the two limits of tokens a minute, the one that has least left. 0: there is no limit. */
	uint64_t tokens_limit;
	uint64_t tokens_left;     /* after this request */
	uint64_t tokens_reset_ns; /* how long until all tokens of the minute are there again */
} budget_answer;

/* Admits a request and reserves what `ask` says it takes, for client and project or for neither. A request that was
 * admitted before, by its id, keeps its reservation, which becomes the larger of both. Sets `*out`. */
void budget_reserve(budget *b, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out);
/* Sets `*out` to what budget_reserve() would answer to a request that was not asked about before, and reserves nothing:
 * what is left is told without this request. */
void budget_look(const budget *b, const budget_ask *ask, uint64_t mono_ns, int64_t wall_ms, budget_answer *out);
/* Gives back what is reserved for a request that was admitted and does not go on. */
void budget_release(budget *b, slice id);
/* Returns how many tokens an answer of `model` takes, as budget_keep_output() has learned. 0: not known. */
uint64_t budget_output(const budget *b, slice model);

/* ---- the keeper */

/* One request that ended, as its record tells it. */
typedef struct budget_end {
	slice id;
	uint32_t client, project; /* accounts, or BUDGET_NO_ACCOUNT */
	int64_t wall_ms;          /* when the request arrived: which period it belongs to */
	int64_t nano;             /* to add to what was spent; 0 if the ledger had counted it before; may be negative */
	int64_t tokens;           /* that the request took; -1: not known */
} budget_end;

/* Adds to what was spent, and gives back what was reserved for the request, or takes back that it was charged. Returns
 * what was reserved for it; -1: nothing. `now_ms` is the wall clock's time. */
int64_t budget_keep_settle(budget *b, const budget_end *end, int64_t now_ms);
/* Returns what is reserved for a request, or charged; -1: nothing is. */
int64_t budget_keep_reserved(const budget *b, slice id);
/* Notes that a request of the account was refused at `wall_ms`, by HAProxy. */
void budget_keep_refused(budget *b, uint32_t account, budget_result why, int64_t wall_ms);
/* Sets what the account has spent in the period of `now_ms`, as the ledger has it. */
void budget_keep_seed(budget *b, uint32_t account, period_kind period, int64_t now_ms, int64_t spent);
/* Charges the reservations that have expired, and begins the periods that have come. Returns how many were charged. */
size_t budget_keep_time(budget *b, uint64_t mono_ns, int64_t now_ms);
/* Notes that an answer of `model` took so many tokens. */
void budget_keep_output(budget *b, slice model, uint64_t tokens);
/* Returns 80 or 100 if the account has spent that share of its budget, in percent, or was refused for it (100), once
 * for each period; else 0. */
int budget_keep_crossed(budget *b, uint32_t account, int64_t now_ms);

/* ---- the listener: what other gateways of the fleet spend
 *
 * What they spent is told over and over, all accounts in one pass after the other. While nobody tells, this gateway is
 * alone: of what was left of each budget then, and of the budgets of periods that begin meanwhile, it takes the share
 * of one gateway, and the rest is withheld, as if others had spent it. */

/* Begins with a fleet of `gateways`, alone until the first pass was told. Does nothing if the region knows a fleet. */
void budget_fleet_begin(budget *b, uint32_t gateways);
/* Forgets what others spent: there is no fleet any more. */
void budget_fleet_end(budget *b);
/* Sets what others have spent by an account: `nano` by period_kind, of the periods that `day` is in. Each pass has
 * another number, `pass`. */
void budget_fleet_told(budget *b, account_kind kind, slice name, int64_t day, const int64_t nano[3], uint32_t pass);
/* Ends a pass in which all accounts were told of which others spent anything: those that were not told are at 0. The
 * fleet has `gateways`, this one included. */
void budget_fleet_whole(budget *b, uint32_t pass, uint32_t gateways);
/* Goes on alone from now on, and in periods that have begun since; call it each second. False: it is alone already, or
 * there is no fleet. */
bool budget_fleet_alone(budget *b, int64_t now_ms);

/* What the ledger notes of an account: what others had spent in the period that ends before the day `until`, and what
 * was withheld of it. */
typedef struct budget_noted {
	int64_t until, nano, withheld;
} budget_noted;

/* Sets what was noted, unless the fleet has told since, or that period is over. */
void budget_fleet_seed(budget *b, uint32_t account, const budget_noted *noted, int64_t now_ms);
/* Returns whether what there is to note has changed since the last call, and sets `*noted`. */
bool budget_fleet_changed(budget *b, uint32_t account, budget_noted *noted);
/* Has the next call of budget_fleet_changed() return true: what it told could not be noted. */
void budget_fleet_again(budget *b, uint32_t account);

typedef struct budget_fleet {
	uint32_t gateways; /* 0: there is no fleet */
	bool alone;
} budget_fleet;

budget_fleet budget_fleet_now(const budget *b);

/* ---- figures */

typedef struct budget_counts {
	size_t accounts, reservations, charged;
} budget_counts;

budget_counts budget_count(const budget *b);
/* Returns how many requests were charged since the region was made. */
uint64_t budget_charged(const budget *b);

#endif
