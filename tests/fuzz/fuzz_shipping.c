/* SPDX-License-Identifier: MIT
 *
 * Any datagrams as what a shipper says of rows, budgets and spans. Checked: what the ledger and the budgets are told
 * fits its places, no number is negative, and texts are printable. */
#include "fuzz.h"

#include "serve/shipping.h"
#include "serve/spans.h"

static bool printable(const char *text)
{
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			return false;
	return true;
}

void ledger_shipped(ledger *l, const char *uuid, const char *epoch, int64_t position)
{
	HOLDS(!l && strlen(uuid) <= 36 && strlen(epoch) <= 16 && printable(uuid) && printable(epoch) && position >= 0);
}

void spending_told(spending *s, const spending_elsewhere *a, int64_t day, uint32_t pass)
{
	(void)pass;
	HOLDS(s && a->len <= sizeof a->name && day >= 0);
}

bool spending_whole(spending *s, uint32_t pass, uint32_t gateways)
{
	HOLDS(s && gateways > 0);
	return pass & 1;
}

int64_t spending_alone(spending *s)
{
	HOLDS(s);
	return 1;
}

int64_t spending_sharers(const spending *s, bool *alone)
{
	HOLDS(s);
	*alone = false;
	return 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char place;
	shipping s;
	spans p;

	shipping_init(&s);
	spans_init(&p);
	shipping_keep(&s, (spending *)(void *)&place);
	/* A line for each datagram. */
	for (slice rest = slice_of(data, size); rest.len;) {
		const char *end = memchr(rest.ptr, '\n', rest.len);
		size_t len = end ? (size_t)(end - rest.ptr) : rest.len;
		char *exact = malloc(len ? len : 1);
		HOLDS(exact);
		memcpy(exact, rest.ptr, len);
		shipping_take(&s, slice_of(exact, len), NULL);
		spans_take(&p, slice_of(exact, len));
		free(exact);
		rest = slice_of(rest.ptr + len + (end != NULL), rest.len - len - (end != NULL));
		host_fleet told = shipping_tell(&s);
		HOLDS(told.sent >= 0 && told.rejected >= 0 && told.position >= 0 && told.behind >= 0 &&
		      told.lag_ms >= 0);
		HOLDS(printable(told.state) && printable(told.problem));
		host_spans of_spans = spans_tell(&p);
		HOLDS(of_spans.sent >= 0 && of_spans.dropped >= 0 && of_spans.unsampled >= 0 && of_spans.behind >= 0);
		HOLDS(printable(of_spans.state) && printable(of_spans.problem));
	}
	spans_deinit(&p);
	s.told_ms = s.began_ms = -1000000;
	shipping_look(&s);
	shipping_deinit(&s);
	return 0;
}
