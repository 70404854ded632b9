/* SPDX-License-Identifier: MIT
 *
 * Reads nothing, until usage.c is there, whose functions the linker prefers to these. */
#include "base/unused.h"
#include "tap/usage.h"

#define WEAK __attribute__((weak))

WEAK void tap_usage_begin(tap_usage *u, slice content_type UNUSED, slice content_encoding UNUSED)
{
	*u = (tap_usage){ .state = NULL };
}

WEAK void tap_usage_feed(tap_usage *u UNUSED, slice bytes UNUSED)
{
}

WEAK void tap_usage_end(tap_usage *u UNUSED, bool whole UNUSED, tap_usage_told *told)
{
	*told = (tap_usage_told){ .events = 0 };
}

WEAK size_t tap_usage_memory(const tap_usage *u UNUSED)
{
	return 0;
}

WEAK void tap_usage_free(tap_usage *u UNUSED)
{
}
