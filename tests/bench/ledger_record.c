/* SPDX-License-Identifier: MIT
 *
 * What a record costs the agent's ledger, for callgrind to count (tests/bench/record.py).
 *
 *   ledger_record intake DIR LINES         takes lines in, each twice, as HAProxy sends them
 *   ledger_record store DIR ROWS BATCH     stores the records of such lines, BATCH in a transaction */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ledger/ledger.h"
#include "ledger/logline.h"
#include "ledger/price_table.h"
#include "ledger/store.h"

enum { TURN = 16, LINE_ROOM = 1400, PER_MS = 10 };

#define BEGIN_MS INT64_C(1795359320000)
#define KEY "0123456789abcdef0123456789abcdef"

/* A line of HAProxy's by haproxy.cfg.example, as for a plain request with a chat answer: 3 routes, 5 projects. */
static slice line(char out[LINE_ROOM], long i)
{
	long long now = BEGIN_MS + i / PER_MS;
	int len = snprintf(
		out, LINE_ROOM,
		"<134>1 2026-11-22T14:55:20.748917+00:00 - haproxy 27748 - [llm@32473 key=\"" KEY "\"] "
		"{\"v\":2,\"id\":\"%08llx-%04llx-7%03lx-8000-%012lx\",\"te\":%lld,\"src\":\"127.0.0.1:58788\",\"method\":\"POST\","
		"\"route\":\"route-%ld\",\"protocol\":\"openai\",\"model\":\"gpt-4.1%s\",\"project\":\"project-%ld\",\"client\":\"\","
		"\"ua\":\"OpenAI\\/Python 1.109.1\",\"stream\":\"0\",\"metered\":\"1\",\"backend\":\"llm-api.openai.com\","
		"\"srv\":\"s0\",\"status\":200,\"code\":\"\",\"term\":\"--\",\"in\":%ld,\"out\":%ld,\"tr\":0,\"tw\":0,\"tc\":1,"
		"\"trs\":%ld,\"ta\":%ld,\"ctype\":\"application/json\",\"seen\":\"all\",\"usage\":\"{\\\"prompt_tokens\\\": %ld, "
		"\\\"completion_tokens\\\": %ld, \\\"total_tokens\\\": 2100, \\\"prompt_tokens_details\\\": {\\\"cached_tokens\\\": 1024, "
		"\\\"audio_tokens\\\": 0}, \\\"completion_tokens_details\\\": {\\\"reasoning_tokens\\\": 0, \\\"audio_tokens\\\": 0}}\","
		"\"coding\":\"\",\"tier\":\"default\",\"hb\":\"\",\"ha\":\"\",\"hs\":\"\",\"text\":\"\",\"comp\":\"0\",\"spoe\":\"\"}",
		(unsigned long long)now >> 16, (unsigned long long)now & 0xffff, (unsigned long)i & 0xfff,
		(unsigned long)i, now, i % 3, i % 2 ? "-mini" : "", i % 5, 900 + i % 700, 1000 + i % 4000,
		400 + i % 300, 1300 + i % 900, 2000 + i % 1000, 80 + i % 50);
	return slice_of(out, (size_t)len);
}

static int fail(const char *why)
{
	fprintf(stderr, "ledger_record: %s\n", why);
	return 2;
}

static int intake(const char *dir, price_table *prices, long lines)
{
	ledger_options o = { dir, KEY, UINT64_C(1) << 32, 0, .backlog = -1 };
	char text[LINE_ROOM];
	err e;
	ledger *l = ledger_open(&o, prices, &e);

	if (!l)
		return fail(e.text);
	for (long i = 0; i < lines; i++) {
		ledger_take(l, line(text, i));
		ledger_take(l, line(text, i));
		if (i % TURN == TURN - 1)
			ledger_flush(l);
	}
	ledger_stats s = ledger_get_stats(l);
	ledger_close(l);
	bool all = s.records == (uint64_t)lines && s.duplicates == (uint64_t)lines && s.malformed == 0;
	return all ? 0 : fail("not each line was taken in once");
}

/* Makes the record of a line, as ledger_take() does. */
static bool make(const price_table *prices, long i, record *out)
{
	static logline p;
	char text[LINE_ROOM];
	usage_parts parts;

	if (logline_parse(line(text, i), slice_cstr(KEY), &p) != LOGLINE_OK)
		return false;
	usage_apply(&p.record, p.usage, &p.hints, &parts);
	price_apply(prices, &p.record, &parts, slice_of(NULL, 0));
	*out = p.record;
	return p.record.price == PRICE_TABLE;
}

static int rows(const char *dir, const price_table *prices, long count, size_t size)
{
	record *records = malloc(size * sizeof *records);
	store_result result = STORE_OK;
	char path[512];
	err e = { 0 };
	long at = 0;

	snprintf(path, sizeof path, "%s/ledger.db", dir);
	store *s = records ? store_open(path, true, &result, &e) : NULL;
	if (!s)
		return fail(e.text);
	for (size_t n = 0; at < count; at += (long)n) {
		store_batch batch = { .records = records };
		store_added added;
		for (n = 0; n < size && at + (long)n < count; n++)
			if (!make(prices, at + (long)n, &records[n]))
				return fail("a line has no price");
		batch.count = n;
		if (store_add(s, &batch, NULL, &added, &e) != STORE_OK || added.rows != n)
			return fail(e.text);
	}
	store_close(s);
	free(records);
	return 0;
}

int main(int argc, char **argv)
{
	err e;

	log_setup(LOG_ERROR, LOG_KV);
	price_table *prices = price_table_load(NULL, &e);
	if (!prices)
		return fail(e.text);
	if (argc == 4 && strcmp(argv[1], "intake") == 0)
		return intake(argv[2], prices, atol(argv[3]));
	if (argc == 5 && strcmp(argv[1], "store") == 0) {
		int code = rows(argv[2], prices, atol(argv[3]), (size_t)atol(argv[4]));
		price_table_unref(prices);
		return code;
	}
	return fail("ledger_record intake DIR LINES | store DIR ROWS BATCH");
}
