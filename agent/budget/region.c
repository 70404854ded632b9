/* SPDX-License-Identifier: MIT
 *
 * The region: its memory, and its accounts. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "budget/budget_impl.h"

int budget_memory(err *e)
{
	int fd = memfd_create("spoa-llm-budget", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, (off_t)sizeof(region)) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	err_set(e, "the memory of the budgets: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Locks the region's first byte: F_RDLCK says that this process uses the region, and waits for the end of a recount;
 * F_WRLCK fails if another process uses it. The kernel takes the lock away when the process ends. */
static bool lock(int fd, short type)
{
	struct flock l = { .l_type = type, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1 };
	return fcntl(fd, type == F_RDLCK ? F_SETLKW : F_SETLK, &l) == 0;
}

/* Sets up a region that is all zeros. */
static bool set_up(region *r, err *e)
{
	if (getrandom(&r->key, sizeof r->key, 0) != (ssize_t)sizeof r->key)
		return err_set(e, "the kernel gives no random bytes: %s", strerror(errno));
	r->version = LAYOUT_VERSION;
	r->header_size = offsetof(region, accounts);
	r->account_size = sizeof(account);
	r->slot_size = sizeof(slot);
	atomic_store_explicit(&r->magic, LAYOUT_MAGIC, RELEASE);
	return true;
}

budget *budget_map(int fd, bool *foreign, err *e)
{
	budget *b = calloc(1, sizeof *b);
	struct stat st;

	*foreign = false;
	if (!b) {
		err_memory(e);
		return NULL;
	}
	if (fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(region)) {
		*foreign = true;
		err_set(e, "the memory has another size");
		goto failed;
	}
	void *at = mmap(NULL, sizeof(region), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED) {
		err_set(e, "mapping the memory of the budgets: %s", strerror(errno));
		goto failed;
	}
	b->r = at;
	uint64_t magic = atomic_load_explicit(&b->r->magic, ACQUIRE);
	if (magic == 0 && !set_up(b->r, e))
		goto failed;
	if (magic != 0 && (magic != LAYOUT_MAGIC || b->r->version != LAYOUT_VERSION ||
			   b->r->header_size != offsetof(region, accounts) || b->r->account_size != sizeof(account) ||
			   b->r->slot_size != sizeof(slot))) {
		*foreign = true;
		err_set(e, "the memory has another layout");
		goto failed;
	}
	if (lock(fd, F_RDLCK))
		return b;
	err_set(e, "locking the memory of the budgets: %s", strerror(errno));
failed:
	budget_unmap(b);
	return NULL;
}

void budget_unmap(budget *b)
{
	if (b && b->r)
		munmap(b->r, sizeof *b->r);
	free(b);
}

/* ---- accounts */

static void hash_name(const region *r, account_kind kind, slice name, uint64_t key[2])
{
	key[0] = hash_of(&r->key, (uint64_t)kind * 2, name);
	key[1] = hash_of(&r->key, (uint64_t)kind * 2 + 1, name);
}

/* Returns the account that has `key`. BUDGET_NO_ACCOUNT: none has; `*at` is then where the index is free. */
static uint32_t find(const region *r, const uint64_t key[2], size_t *at)
{
	for (*at = key[0] % INDEX;; *at = (*at + 1) % INDEX) { /* at least half of the index is free */
		uint32_t number = atomic_load_explicit(&r->index[*at], ACQUIRE);
		if (number == 0)
			return BUDGET_NO_ACCOUNT;
		const account *a = &r->accounts[number - 1];
		if (a->key[0] == key[0] && a->key[1] == key[1])
			return number - 1;
	}
}

uint32_t budget_account_find(const budget *b, account_kind kind, slice name)
{
	uint64_t key[2];
	size_t at;

	hash_name(b->r, kind, name, key);
	return find(b->r, key, &at);
}

/* Takes the number of a new account. A process that is killed before the index has the account loses the number. */
static uint32_t take_number(region *r)
{
	uint32_t number = atomic_load_explicit(&r->accounts_used, RELAXED);

	do {
		if (number >= BUDGET_ACCOUNTS)
			return BUDGET_NO_ACCOUNT;
	} while (!atomic_compare_exchange_weak_explicit(&r->accounts_used, &number, number + 1, RELAXED, RELAXED));
	return number;
}

uint32_t budget_account(budget *b, account_kind kind, slice name)
{
	uint64_t key[2];
	size_t at;

	hash_name(b->r, kind, name, key);
	uint32_t number = find(b->r, key, &at);
	if (number != BUDGET_NO_ACCOUNT)
		return number;
	number = take_number(b->r);
	if (number == BUDGET_NO_ACCOUNT)
		return number;
	account *a = &b->r->accounts[number];
	a->key[0] = key[0];
	a->key[1] = key[1];
	atomic_store_explicit(&a->nano, BUDGET_NO_LIMIT, RELAXED);
	for (;;) {
		uint32_t is = 0;
		if (atomic_compare_exchange_strong_explicit(&b->r->index[at], &is, number + 1, ACQ_REL, ACQUIRE))
			return number;
		/* Another process was faster here: with the same account, which counts then, or with another one. */
		uint32_t other = find(b->r, key, &at);
		if (other != BUDGET_NO_ACCOUNT)
			return other;
	}
}

void budget_account_rules(budget *b, uint32_t at, int64_t nano, period_kind period)
{
	account *a = account_at(b->r, at);

	if (!a)
		return;
	/* What was told of a period of another kind says nothing of this one. */
	if (atomic_load_explicit(&a->kind, RELAXED) != (uint32_t)period)
		atomic_store_explicit(&a->others_until, 0, RELEASE);
	fleet_resized(b->r, a, nano);
	atomic_store_explicit(&a->nano, nano, RELAXED);
	atomic_store_explicit(&a->kind, (uint32_t)period, RELAXED);
}

bool budget_account_known(const budget *b, uint32_t at, period_kind period, int64_t wall_ms)
{
	const account *a = account_at(b->r, at);
	uint64_t word = a ? atomic_load_explicit(&a->period, ACQUIRE) : 0;

	return (word & WORD_KNOWN) && word_kind(word) == period && word_first(word) <= period_day(wall_ms);
}

account_view budget_account_view(const budget *b, uint32_t at, int64_t wall_ms)
{
	const account *a = account_at(b->r, at);
	account_view v = { .nano = BUDGET_NO_LIMIT };

	if (!a)
		return v;
	uint64_t word = atomic_load_explicit(&a->period, ACQUIRE);
	uint64_t refused = atomic_load_explicit(&a->refused, RELAXED);
	v.period = (period_kind)atomic_load_explicit(&a->kind, RELAXED);
	v.first_day = period_first(v.period, period_day(wall_ms));
	v.next_day = period_next(v.period, v.first_day);
	v.nano = atomic_load_explicit(&a->nano, RELAXED);
	v.reserved = atomic_load_explicit(&a->reserved, RELAXED);
	v.refused_s = (int64_t)(refused >> 8);
	v.why = (budget_result)(refused & 0xff);
	for (size_t i = 0; i < BUDGET_REFUSALS; i++)
		v.refusals[i] = atomic_load_explicit(&a->refusals[i], RELAXED);
	if (word_next(word) > period_day(wall_ms)) {
		v.spent = atomic_load_explicit(&a->spent, RELAXED);
		v.charged = atomic_load_explicit(&a->charged, RELAXED);
	}
	if (atomic_load_explicit(&a->others_until, ACQUIRE) > period_day(wall_ms))
		v.elsewhere = atomic_load_explicit(&a->told, RELAXED);
	v.withheld = others_of(b->r, a, v.nano, period_day(wall_ms)) - v.elsewhere;
	if (v.withheld < 0) /* a message of the shipper has come in between */
		v.withheld = 0;
	return v;
}

/* ---- at a start */

/* Adds a reservation to what is reserved of its accounts. */
static void add_again(region *r, const slot *s)
{
	int64_t nano = atomic_load_explicit(&s->nano, RELAXED);
	account *client = account_at(r, atomic_load_explicit(&s->client, RELAXED));
	account *project = account_at(r, atomic_load_explicit(&s->project, RELAXED));

	if (client)
		atomic_fetch_add_explicit(&client->reserved, nano, RELAXED);
	if (project)
		atomic_fetch_add_explicit(&project->reserved, nano, RELAXED);
}

bool budget_recount(budget *b, int fd)
{
	region *r = b->r;

	if (!lock(fd, F_WRLCK))
		return false;
	for (uint32_t i = 0; i < accounts_used(r); i++)
		atomic_store_explicit(&r->accounts[i].reserved, 0, RELAXED);
	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < WAYS; way++) {
			slot *s = &r->slots[set][way];
			if (atomic_load_explicit(&r->tags[set][way], RELAXED) == 0)
				continue;
			switch ((slot_state)atomic_load_explicit(&s->state, RELAXED)) {
			case SLOT_FREE:
			case SLOT_BEGUN: /* its request was not answered */
				slot_free(r, set, way);
				break;
			case SLOT_RAISED:
			case SLOT_CHARGING:
			case SLOT_ENDS: /* may be charged or settled twice, rather than be forgotten */
				atomic_store_explicit(&s->state, SLOT_RESERVED, RELAXED);
				add_again(r, s);
				break;
			case SLOT_RESERVED:
				add_again(r, s);
				break;
			case SLOT_CHARGED:
				break;
			}
		}
	}
	return lock(fd, F_RDLCK);
}

budget_counts budget_count(const budget *b)
{
	budget_counts c = { .accounts = accounts_used(b->r) };

	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < WAYS; way++) {
			if (atomic_load_explicit(&b->r->tags[set][way], RELAXED) == 0)
				continue;
			bool charged = atomic_load_explicit(&b->r->slots[set][way].state, RELAXED) == SLOT_CHARGED;
			c.charged += charged;
			c.reservations += !charged;
		}
	}
	return c;
}

uint64_t budget_charged(const budget *b)
{
	return atomic_load_explicit(&b->r->charged, RELAXED);
}
