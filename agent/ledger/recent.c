/* SPDX-License-Identifier: MIT */
#include "ledger/recent.h"

#include <stdlib.h>

#include "base/hash.h"

bool recent_init(recent *r, size_t capacity)
{
	*r = (recent){ .capacity = capacity, .mask = 2 * capacity - 1 };
	r->slots = calloc(2 * capacity, sizeof *r->slots);
	r->order = calloc(capacity, sizeof *r->order);
	if (r->slots && r->order)
		return true;
	recent_deinit(r);
	return false;
}

void recent_deinit(recent *r)
{
	free(r->slots);
	free(r->order);
	*r = (recent){ .capacity = 0 };
}

uint64_t recent_hash(slice text)
{
	uint64_t h = hash_of(hash_own_key(), 0, text);
	return h ? h : 1;
}

/* Removes `h`, and moves later hashes into its slot, so that no search for one of them ends at a free slot. */
static void forget(recent *r, uint64_t h)
{
	size_t at = h & r->mask;

	while (r->slots[at] != h)
		at = (at + 1) & r->mask;
	for (size_t next = (at + 1) & r->mask; r->slots[next]; next = (next + 1) & r->mask) {
		size_t home = r->slots[next] & r->mask;
		if (((next - home) & r->mask) < ((next - at) & r->mask))
			continue;
		r->slots[at] = r->slots[next];
		at = next;
	}
	r->slots[at] = 0;
}

bool recent_has(const recent *r, uint64_t h)
{
	for (size_t at = h & r->mask; r->slots[at]; at = (at + 1) & r->mask)
		if (r->slots[at] == h)
			return true;
	return false;
}

void recent_add(recent *r, uint64_t h)
{
	if (r->count == r->capacity)
		forget(r, r->order[r->next]);
	else
		r->count++;
	r->order[r->next] = h;
	r->next = (r->next + 1) & (r->capacity - 1);
	size_t at = h & r->mask;
	while (r->slots[at])
		at = (at + 1) & r->mask;
	r->slots[at] = h;
}

bool recent_seen(recent *r, slice text)
{
	uint64_t h = recent_hash(text);
	bool seen = recent_has(r, h);

	if (!seen)
		recent_add(r, h);
	return seen;
}
