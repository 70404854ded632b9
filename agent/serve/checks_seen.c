/* SPDX-License-Identifier: MIT */
#include "serve/checks_seen.h"

#include <stdlib.h>

#include "serve/checks.h"

enum {
	STUCK_MS = 3000,      /* a thread without an event loop iteration for so long has hung */
	LINES_MS = 5 * 60000, /* how long the check of log lines fails after one was lost */
	CONTRACT_MS = 10000,  /* how long contract and backends fail at least, after a request that does not fit */
};

#define CONTRACT_OUTDATED \
	"%llu requests came by a haproxy.cfg and spoe.conf that do not fit the agent, and %llu of them were refused: install the agent and both files of one version, and reload HAProxy"
#define CONTRACT_UNGUARDED \
	"%llu requests were refused, because the agent has clients, and HAProxy's rules about their keys are off: set LLM_CLIENTS=on or LLM_CLIENTS=required in HAProxy's environment, and restart HAProxy"
#define CONTRACT_CLIENTLESS \
	"%llu requests were refused (401 invalid_api_key), because HAProxy looks for keys of clients, and the agent has none: set LLM_CLIENTS=off in HAProxy's environment and restart HAProxy, or set the agent's option clients"

bool checks_seen_init(checks_seen *seen, unsigned threads)
{
	*seen = (checks_seen){ .iterations = calloc(threads, sizeof *seen->iterations) };
	return seen->iterations;
}

void checks_seen_deinit(checks_seen *seen)
{
	free(seen->iterations);
}

static bool changed_lately(watched *w, uint64_t value, int64_t now, int64_t within)
{
	if (w->value != value) {
		w->value = value;
		w->changed_ms = now;
	}
	return w->changed_ms && now - w->changed_ms <= within;
}

void checks_threads(host_check *c, checks_seen *seen, const spop_threads *all, int64_t now)
{
	unsigned threads = spop_threads_count(all), stuck = 0;

	for (unsigned t = 0; t < threads; t++) {
		watched *w = &seen->iterations[t];
		if (!w->changed_ms)
			w->changed_ms = now;
		stuck += !changed_lately(w, counter_get(&spop_threads_counters(all, t)->iterations), now, STUCK_MS);
	}
	if (stuck)
		checks_set(c, "workers", false, true, "%u of %u threads have hung for more than %d seconds", stuck,
			   threads, STUCK_MS / 1000);
	else
		checks_set(c, "workers", true, true, "%u threads running", threads);
}

void checks_contract(host_check *c, checks_seen *seen, const spop_threads *all, const policy *p, uint64_t keyless,
		     int64_t now)
{
	uint64_t kept = 0, old = 0, off = 0, refused = 0, nobodys = keyless;

	for (unsigned t = 0; t < spop_threads_count(all); t++) {
		const net_counters *n = spop_threads_counters(all, t);
		kept += counter_get(&n->contract_kept);
		old += counter_get(&n->contract_outdated);
		off += counter_get(&n->unguarded);
		nobodys += counter_get(&n->clientless);
		refused += counter_get(&n->refusals[REFUSE_CONTRACT]);
	}
	changed_lately(&seen->contract_kept, kept, now, 0);
	if (p->clients) {
		seen->expected = nobodys;
		seen->clientless = (watched){ 0, 0 };
	}
	nobodys = nobodys > seen->expected ? nobodys - seen->expected : 0;
	if (nobodys < seen->clientless.value) /* the ledger is closed, which counted some of them */
		nobodys = seen->clientless.value;
	const int64_t kept_ms = seen->contract_kept.changed_ms;
	if (changed_lately(&seen->contract_outdated, old, now, CONTRACT_MS) ||
	    seen->contract_outdated.changed_ms > kept_ms)
		checks_set(c, "contract", false, false, CONTRACT_OUTDATED, (unsigned long long)old,
			   (unsigned long long)(refused - off));
	else if (changed_lately(&seen->unguarded, off, now, CONTRACT_MS) || seen->unguarded.changed_ms > kept_ms)
		checks_set(c, "contract", false, false, CONTRACT_UNGUARDED, (unsigned long long)off);
	else if (changed_lately(&seen->clientless, nobodys, now, CONTRACT_MS) || seen->clientless.changed_ms > kept_ms)
		checks_set(c, "contract", false, false, CONTRACT_CLIENTLESS, (unsigned long long)nobodys);
	else
		checks_set(c, "contract", true, false, "%s", kept ? "HAProxy's files fit the agent" : "no request yet");
}

void checks_backends(host_check *c, checks_seen *seen, const spop_threads *all, const policy *p, int64_t now)
{
	uint64_t same = 0, differ = 0;

	for (unsigned t = 0; t < spop_threads_count(all); t++) {
		const net_counters *n = spop_threads_counters(all, t);
		same += counter_get(&n->backends_same);
		differ += counter_get(&n->backends_differ);
	}
	bool lately = changed_lately(&seen->backends_differ, differ, now, CONTRACT_MS);
	changed_lately(&seen->backends_same, same, now, 0);
	if (lately || seen->backends_differ.changed_ms > seen->backends_same.changed_ms)
		checks_set(
			c, "backends", false, false,
			"%llu requests came from a HAProxy whose backends were made for other routes than these (%s): make them again by "
			"`spoa-llm backends --output`, and reload HAProxy and the agent",
			(unsigned long long)differ, p->table->backends_hash);
	else
		checks_set(c, "backends", true, false, "%s",
			   same ? "HAProxy's backends are those of these routes" :
				  "no request yet from a HAProxy that says for which routes its backends are");
}

void checks_log_lines(host_check *c, checks_seen *seen, const spop_threads *all, const ledger_stats *l, int64_t now)
{
	bool foreign = changed_lately(&seen->foreign, l->foreign, now, LINES_MS);
	bool malformed = changed_lately(&seen->malformed, l->malformed, now, LINES_MS);
	bool dropped = changed_lately(&seen->dropped, l->dropped, now, LINES_MS);
	uint64_t unrecorded = 0;

	for (unsigned t = 0; t < spop_threads_count(all); t++)
		unrecorded += counter_get(&spop_threads_counters(all, t)->unrecorded);
	bool off = changed_lately(&seen->unrecorded, unrecorded, now, LINES_MS);

	if (foreign || malformed || dropped)
		checks_set(
			c, "log_lines", false, false,
			"in the last 5 minutes lines were lost:%s%s%s; since the start %llu without the key, %llu malformed, %llu dropped",
			foreign ? " without the key" : "", malformed ? " malformed" : "",
			dropped ? " dropped by the kernel" : "", (unsigned long long)l->foreign,
			(unsigned long long)l->malformed, (unsigned long long)l->dropped);
	else if (off)
		checks_set(
			c, "log_lines", false, false,
			"%llu requests came from a HAProxy that sends no records (LLM_LEDGER=off), so the ledger lacks them: set "
			"LLM_LEDGER=on for HAProxy and restart it, or, to keep no ledger, remove the option ledger",
			(unsigned long long)unrecorded);
	else
		checks_set(c, "log_lines", true, false, "%llu lines", (unsigned long long)l->lines);
}
