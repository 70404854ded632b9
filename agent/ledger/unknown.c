/* SPDX-License-Identifier: MIT */
#include "ledger/unknown.h"

/* HAProxy's termination state has two letters: who ended the request early ('-': nobody, 'L': HAProxy answered by
 * itself, without an upstream), and what HAProxy was waiting for. */
static bool answered_here(const record *r)
{
	return r->termination[0] == 'L';
}

/* HAProxy was connected to the upstream, and the head of the answer never came. 'H': it waited for that head; 'D'
 * without a head: it still sent the request's body. */
static bool left_in_the_dark(const record *r)
{
	const char *by = r->termination;

	return by[0] && by[0] != '-' && (by[1] == 'H' || (by[1] == 'D' && r->ttfb_ms < 0));
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
