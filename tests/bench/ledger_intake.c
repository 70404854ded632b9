/* SPDX-License-Identifier: MIT
 *
 * What the ledger makes of log lines as HAProxy sends them, each twice: parses them, drops the second copy, adds
 * prices, writes the journal, and commits to SQLite.
 *
 *   ledger_intake DIR [RECORDS]   prints records for each second of CPU; exit 1 where they are fewer than 50,000 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "ledger/ledger.h"

enum { TURN = 64, LINE_ROOM = 1200 };

static double clock_of(clockid_t which)
{
	struct timespec t;
	clock_gettime(which, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t line(char *out, long i, long long now)
{
	return (size_t)snprintf(
		out, LINE_ROOM,
		"<134>1 2026-11-22T14:55:20.748917+00:00 - haproxy 27748 - [llm@32473 key=\"0123456789abcdef0123456789abcdef\"] "
		"{\"v\":1,\"id\":\"%08llx-%04llx-7%03lx-8000-%012lx\",\"te\":%lld,\"src\":\"127.0.0.1:58788\",\"method\":\"POST\","
		"\"route\":\"route-%ld\",\"backend\":\"llm-api.openai.com\",\"protocol\":\"openai\",\"model\":\"gpt-4o%s\",\"project\":\"p-%ld\","
		"\"client\":\"\",\"ua\":\"codex_exec\\/0.1 (linux)\",\"status\":200,\"code\":\"\",\"term\":\"--\",\"stream\":\"0\",\"in\":2590,"
		"\"out\":3280,\"tr\":0,\"tw\":0,\"tc\":1,\"trs\":400,\"ta\":1300,\"ctype\":\"application\\/json\",\"usage\":\"{\\\"prompt_tokens\\\": "
		"%ld, \\\"completion_tokens\\\": 7, \\\"total_tokens\\\": 18, \\\"prompt_tokens_details\\\": {\\\"cached_tokens\\\": 1024}}\","
		"\"hb\":\"\",\"ha\":\"\",\"hs\":\"\",\"spoe\":\"\"}",
		(unsigned long long)now >> 16, (unsigned long long)now & 0xffff, (unsigned long)i & 0xfff,
		(unsigned long)i, now, i % 20, i % 2 ? "-mini" : "", i % 50, 2000 + i % 1000);
}

int main(int argc, char **argv)
{
	const char *dir = argc > 1 ? argv[1] : ".";
	long records = argc > 2 ? atol(argv[2]) : 200000;
	char text[LINE_ROOM];
	err e;

	log_setup(LOG_ERROR, LOG_KV);
	ledger_options o = { dir, "0123456789abcdef0123456789abcdef", UINT64_C(1) << 32, 0, .backlog = -1 };
	price_table *prices = price_table_load(NULL, &e);
	ledger *l = prices ? ledger_open(&o, prices, &e) : NULL;
	if (!l) {
		fprintf(stderr, "ledger_intake: %s\n", e.text);
		return 2;
	}
	double wall = clock_of(CLOCK_MONOTONIC), core = clock_of(CLOCK_PROCESS_CPUTIME_ID), writing = 0;
	long long begin = 1795359320000;
	for (long i = 0; i < records; i++) {
		/* The time to make a line is left out. */
		double before = clock_of(CLOCK_THREAD_CPUTIME_ID);
		size_t len = line(text, i, begin + i / 50);
		writing += clock_of(CLOCK_THREAD_CPUTIME_ID) - before;
		ledger_take(l, slice_of(text, len));
		ledger_take(l, slice_of(text, len));
		if (i % TURN == TURN - 1)
			ledger_flush(l);
	}
	ledger_flush(l);
	while (ledger_get_stats(l).stored < (uint64_t)records) {
		if (clock_of(CLOCK_MONOTONIC) - wall > 120) {
			fprintf(stderr, "ledger_intake: %llu of %ld records stored in two minutes\n",
				(unsigned long long)ledger_get_stats(l).stored, records);
			return 2;
		}
		usleep(1000);
	}
	wall = clock_of(CLOCK_MONOTONIC) - wall;
	core = clock_of(CLOCK_PROCESS_CPUTIME_ID) - core - writing;
	ledger_stats s = ledger_get_stats(l);
	printf("from log lines to committed records, each line twice: %.0f records for each second of CPU, %.0f records/s\n"
	       "  (%llu lines, %llu duplicates, %llu malformed, %llu dropped)\n",
	       (double)records / core, (double)records / wall, (unsigned long long)s.lines,
	       (unsigned long long)s.duplicates, (unsigned long long)s.malformed,
	       (unsigned long long)s.journal.dropped);
	ledger_close(l);
	return (double)records / core >= 50000 ? 0 : 1;
}
