/* SPDX-License-Identifier: MIT */
#include "ledger/unknown.h"

/* HAProxy's termination state has two letters: who ended the request early ('-': nobody, 'L': HAProxy answered by
 * itself, without an upstream), and what HAProxy was waiting for. */
static bool answered_here(const record *r)
{
	return r->termination[0] == 'L';
}

/* 'H': HAProxy was connected to the upstream, and waited for the head of its answer. */
static bool left_in_the_dark(const record *r)
{
	return r->termination[0] && r->termination[0] != '-' && r->termination[1] == 'H';
}

static bool may_have_used_tokens(const record *r, bool metered)
{
	if (answered_here(r))
		return false;
	if (r->status == 101)
		return true;
	return metered && ((r->status >= 200 && r->status < 300) || left_in_the_dark(r));
}

void unknown_apply(record *r, bool metered)
{
	if (r->usage == USAGE_NONE && may_have_used_tokens(r, metered))
		r->usage = USAGE_UNKNOWN;
	if (r->usage == USAGE_UNKNOWN)
		r->input = r->output = r->cache_read = r->cache_write = -1;
}
