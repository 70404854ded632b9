/* SPDX-License-Identifier: MIT
 *
 * The HAProxy sections of pools. A pool's backend chooses a member by rules and sends the request to the member's leg.
 * If the member declines, HAProxy's own retry brings the request to the server `next_member`, a socket that leads back
 * to the same backend, where the rules choose among the members that were not tried. So each attempt is a request of
 * its own.
 */
#include "report/backends_impl.h"

enum {
	/* Answers with a 5xx that is not in `retry_on`, one after the other: then HAProxy passes the member over. */
	ERRORS_MAX_IN_A_ROW = 10,
	/* The factor of a member's load in `least`: loads that differ also differ after the division by the weight. */
	SCORE = 1 << 24,
	SLOW_START_S = 30, /* seconds until a member that comes back has its whole share again */
	TIES = 256,        /* a random number below this decides between equal loads; unequal ones differ by more */
};

/* Writes the table in which a leg notes why its member declined, under REQUEST-ID:MEMBER, because HAProxy's retry keeps
 * nothing of the declining answer. Its numbers: the status of the answer; 1: the member rests; 2: it has no credential.
 */
static void write_table(FILE *f)
{
	fprintf(f,
		"# Pools: routes with several upstreams.\n"
		"global\n"
		"    .if version_atleast(3.4)\n"
		"        # Bytes of the copy that HAProxy keeps of a pool's request, if the request fits that.\n"
		"        tune.bufsize.small 65536\n"
		"    .endif\n\n"
		"backend leg.tried\n"
		"    # Why a member did not serve a request, for the log line, by REQUEST-ID:MEMBER. The status of the member's answer; 1: it rests;\n"
		"    # 2: it has no credential.\n"
		"    stick-table type string len 96 size 100k expire 60s store gpt0\n\n");
}

unsigned backends_pool_timeout(const route_table *t, const backends_settings *s, const pool *p)
{
	unsigned sum = 0;

	for (size_t i = 0; i < p->count; i++)
		sum += backends_leg(t, s, &p->members[i]).timeout + backends_wait(s);
	return sum;
}

/* Returns the seconds for which a WebSocket through the pool may be silent: as long as its most patient member lets it.
 */
static unsigned pool_tunnel(const pool *p)
{
	unsigned most = 3600;

	for (size_t i = 0; i < p->count; i++)
		if (p->members[i].connect.timeout > most)
			most = p->members[i].connect.timeout;
	return most;
}

/* ---- the choice */

/* Writes the rules that set txn.llm_m0, txn.llm_m1 and so on for the members that may be chosen, and txn.llm_left to
 * their number. */
static void write_open(FILE *f, const route_table *t, const pool *p)
{
	fprintf(f,
		"    # The members that can serve this request: they are up, were not tried yet, and the agent does not pass them over. (In an old process,\n"
		"    # after a reload, nbsrv is 0 for each backend, so `stopping` counts as up.) txn.llm_left: how many there are.\n"
		"    http-request set-var(txn.llm_left) int(0)\n");
	for (size_t i = 0; i < p->count; i++) {
		const char *name = p->members[i].member, *backend = route_backend(t, &p->members[i]);
		fprintf(f,
			"    acl up%zu   nbsrv(%s) gt 0\n"
			"    acl up%zu   stopping\n"
			"    acl open%zu var(txn.llm_m%zu) -m found\n"
			"    http-request set-var(txn.llm_m%zu)  bool(true) if up%zu { srv_is_up(%s/%s) } !{ req.hdr(x-llm-tried) -m str %s } !{ req.hdr(x-llm-rest) -m str %s }\n"
			"    http-request set-var(txn.llm_left) var(txn.llm_left),add(1) if open%zu\n",
			i, backend, i, i, i, i, i, p->backend, name, name, name, i);
	}
}

/* Writes the rules that take a member whose `max_connections` are all in use out of the choice, as long as another
 * member has a free connection. */
static void write_full(FILE *f, const route_table *t, const pool *p)
{
	bool limited = false;

	for (size_t i = 0; i < p->count; i++)
		limited |= p->members[i].connect.max_connections != 0;
	if (!limited)
		return;
	fprintf(f,
		"    # A member whose connections are all in use is left out, as long as another one has a free connection.\n"
		"    http-request set-var(txn.llm_free) int(0)\n");
	for (size_t i = 0; i < p->count; i++) {
		unsigned most = p->members[i].connect.max_connections;
		fprintf(f, "    acl full%zu var(txn.llm_f%zu) -m found\n", i, i);
		if (most)
			fprintf(f,
				"    http-request set-var(txn.llm_f%zu) bool(true) if open%zu { be_conn(%s) ge %u }\n",
				i, i, route_backend(t, &p->members[i]), most);
		fprintf(f, "    http-request set-var(txn.llm_free) var(txn.llm_free),add(1) if open%zu !full%zu\n", i,
			i);
	}
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    http-request unset-var(txn.llm_m%zu) if full%zu { var(txn.llm_free) -m int gt 0 }\n", i,
			i);
}

/* Writes the rules that set txn.llm_w0, txn.llm_w1 and so on to the weights that the members have at this moment. */
static void write_weights(FILE *f, const pool *p)
{
	fprintf(f,
		"    # The members' weights at this moment: that of a member that has just come back is small at first.\n");
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    http-request set-var(txn.llm_w%zu) srv_weight(weights.%s/%s) if open%zu\n", i,
			p->backend, p->members[i].member, i);
}

static void write_weighted(FILE *f, const pool *p)
{
	fprintf(f,
		"    # By lot: draws a number below the sum of the weights, and subtracts one weight after the other; the member whose weight makes it\n"
		"    # negative is chosen.\n"
		"    http-request set-var(txn.llm_sum) int(0)\n");
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    http-request set-var(txn.llm_sum) var(txn.llm_sum),add(txn.llm_w%zu) if open%zu\n", i,
			i);
	fprintf(f,
		"    http-request set-var(txn.llm_draw) rand,mod(txn.llm_sum) if { var(txn.llm_sum) -m int gt 0 }\n");
	for (size_t i = 0; i < p->count; i++)
		fprintf(f,
			"    http-request set-var(txn.llm_draw) var(txn.llm_draw),sub(txn.llm_w%zu) if !picked open%zu\n"
			"    http-request set-var(txn.llm_pick) str(%s) if !picked open%zu { var(txn.llm_draw) -m int lt 0 }\n",
			i, i, p->members[i].member, i);
}

static void write_least(FILE *f, const pool *p)
{
	fprintf(f,
		"    # Chooses the member that has the fewest requests for its weight, this request counted in; among equals by lot.\n");
	for (size_t i = 0; i < p->count; i++)
		fprintf(f,
			"    http-request set-var(txn.llm_tie)   rand(%d)\n"
			"    http-request set-var(txn.llm_load)  srv_conn(%s/%s),add(1),mul(%d),div(txn.llm_w%zu),add(txn.llm_tie) if open%zu\n"
			"    http-request set-var(txn.llm_least) var(txn.llm_load) if open%zu !picked || open%zu { var(txn.llm_load),sub(txn.llm_least) lt 0 }\n"
			"    http-request set-var(txn.llm_pick)  str(%s) if open%zu { var(txn.llm_load),sub(txn.llm_least) eq 0 }\n",
			TIES, p->backend, p->members[i].member, SCORE, i, i, i, i, p->members[i].member, i);
}

static void write_choice(FILE *f, const pool *p)
{
	fprintf(f, "    acl picked var(txn.llm_pick) -m found\n");
	if (p->balance != BALANCE_FIRST)
		write_weights(f, p);
	if (p->balance == BALANCE_WEIGHTED)
		write_weighted(f, p);
	else if (p->balance == BALANCE_LEAST)
		write_least(f, p);
	else
		for (size_t i = 0; i < p->count; i++)
			fprintf(f, "    http-request set-var(txn.llm_pick) str(%s) if !picked open%zu\n",
				p->members[i].member, i);
}

/* Writes the rules that note why the attempt before this one failed, refuse a request for which no member is left, and
 * prepare this attempt. */
static void write_attempt(FILE *f, const pool *p)
{
	fprintf(f,
		"    # Why the member that was tried last did not serve: the status of its answer, or a word. The list goes along in x-llm-why.\n"
		"    acl again   req.fhdr_cnt(x-llm-tried) gt 0\n"
		"    http-request set-var(txn.llm_last)   req.hdr(x-llm-tried,-1) if again\n"
		"    http-request set-var(txn.llm_status) req.fhdr(x-request-id),concat(:,txn.llm_last),table_gpt0(leg.tried) if again\n"
		"    http-request set-var-fmt(txn.llm_why) \"%%[var(txn.llm_last)]:%%[var(txn.llm_status)]\" if again\n"
		"    http-request set-var-fmt(txn.llm_why) \"%%[var(txn.llm_last)]:unreachable\" if again { var(txn.llm_status) -m int 0 }\n"
		"    http-request set-var-fmt(txn.llm_why) \"%%[var(txn.llm_last)]:resting\"     if again { var(txn.llm_status) -m int 1 }\n"
		"    http-request set-var-fmt(txn.llm_why) \"%%[var(txn.llm_last)]:credential\"  if again { var(txn.llm_status) -m int 2 }\n"
		"    http-request set-var-fmt(txn.llm_why) \"%%[req.fhdr(x-llm-why)],%%[var(txn.llm_why)]\" if again { req.fhdr_cnt(x-llm-why) gt 0 }\n"
		"    http-request set-header x-llm-why %%[var(txn.llm_why)] if again\n"
		"    http-request set-var(txn.llm.code) str(upstream_unavailable) if !picked\n"
		"    http-request return status 503 content-type application/json hdr x-llm-leg upstream_unavailable hdr retry-after 1 lf-string " ERROR_BODY(
			"The upstream cannot be reached.", "upstream_unavailable",
			"503") " if !picked\n"
			       "    # No member comes after this one, so its own answer goes to the client, whatever it is.\n"
			       "    http-request disable-l7-retry if { var(txn.llm_left) -m int le 1 } || { req.fhdr_cnt(x-llm-tried) ge %u }\n"
			       "    http-request set-header x-llm-only 1 if { var(txn.llm_left) -m int le 1 }\n"
			       "    http-request add-header x-llm-tried %%[var(txn.llm_pick)]\n"
			       "    # Until there is an answer, the log line names the member of the first attempt.\n"
			       "    http-request set-var(txn.llm_line)  var(txn.llm.line)\n"
			       "    acl first   var(txn.llm_line) -m found\n"
			       "    http-request set-var-fmt(txn.llm.line) '%%[var(txn.llm_line)],\"member\":\"%%[var(txn.llm_pick)]\",\"tried\":\"\"' if first\n",
		p->retries);
}

/* Writes the rules for answers. An answer passes them once for each attempt, from the last attempt back to the first,
 * which writes the log line. The later attempts name the member in headers, also on the 502 that HAProxy itself makes
 * when a leg closes its connection: from 3.0 on, a leg closes without an answer if its connection to the upstream was
 * not new. The first attempt adds no header before the rules of the clients' frontend, because HAProxy 3.4 copies a
 * whole buffer to look at the body of an answer to which a header was added. */
static void write_answers(FILE *f, const backends_settings *s, const pool *p)
{
	fprintf(f,
		"    # Tells the first attempt, which writes the log line, which member served, and why the members before it did not.\n"
		"    acl told    res.fhdr_cnt(x-llm-member) gt 0\n"
		"    http-after-response set-header x-llm-why    %%[var(txn.llm_why)]  if !first !told\n"
		"    http-after-response set-header x-llm-member %%[var(txn.llm_pick)] if !first !told\n"
		"    http-response set-var-fmt(txn.llm.line) '%%[var(txn.llm_line)]" MEMBER_TOLD "' if first told\n"
		"    # What the leg answered in place of the upstream; the client does not see this header.\n"
		"    http-response set-var(txn.llm.code) res.fhdr(x-llm-leg) if { res.fhdr_cnt(x-llm-leg) gt 0 }\n"
		"    # The leg put a status of its own in place of the answer's: puts the answer's back.\n"
		"    http-response set-status 425 if { res.fhdr(x-llm-status) -m str 425 }\n");
	for (unsigned i = 0; i < POOL_STATUSES; i++)
		fprintf(f, "    http-response set-status %d if { res.fhdr(x-llm-status) -m str %d }\n",
			pool_statuses[i], pool_statuses[i]);
	if (!pool_status_bit(s->refusal_status))
		fprintf(f, "    http-response set-status %d if { res.fhdr(x-llm-status) -m str %d }\n",
			s->refusal_status, s->refusal_status);
	if (p->tells_client)
		fprintf(f,
			"    http-response set-var(txn.llm_served) var(txn.llm_pick)\n"
			"    http-response set-var(txn.llm_served) res.fhdr(x-llm-member) if told\n"
			"    http-after-response set-header llm-served-by %%[var(txn.llm_served)] if { var(txn.llm_served) -m found }\n");
}

/* Refuses a request of which an agent with other routes said that the client's own credential passes through. */
static void write_guard(FILE *f)
{
	fprintf(f,
		"    # The members have credentials of their own. Nothing else of the client's goes along only where the agent has said so, too.\n"
		"    acl passed  var(txn.llm.allow) -m str passthrough\n"
		"    http-request set-var(txn.llm.code) str(gateway_unavailable) if passed\n"
		"    http-request return status 503 content-type application/json hdr retry-after 1 lf-string " ERROR_BODY(
			"The gateway could not decide where to send the request.", "gateway_unavailable",
			"503") " if passed\n");
}

static void write_backend(FILE *f, const backends_settings *s, const route_table *t, const route *r)
{
	const pool *p = r->pool;

	fprintf(f,
		"backend %s\n"
		"    # The pool of route %s. If a member declines, HAProxy sends the request to the server `next_member`, which is the frontend\n"
		"    # below: it brings the request back here, where the rules choose among the members that were not tried yet.\n"
		"    mode http\n"
		"    no log\n"
		"    timeout connect 2s\n"
		"    # Longer than all members may take one after the other, so that a leg answers with its own time-out before this one ends.\n"
		"    timeout server %us\n"
		"    timeout tunnel %us\n"
		"    retries 1\n"
		"    option redispatch 1\n"
		"    # A leg gives the status 425 to each answer by which its member declines, because HAProxy's health checks do not count 425 as an error.\n"
		"    # A 503 is HAProxy's own: it could not reach the upstream. A request that got no answer is not sent again, because it may have been run.\n"
		"    retry-on conn-failure 425 503\n"
		"    .if version_atleast(3.4)\n"
		"        # HAProxy keeps a copy of each request until its answer begins. The copy takes 64 KB if the request fits that, else a whole buffer.\n"
		"        option use-small-buffers l7-retries\n"
		"    .endif\n" POOL_ONE_EACH "    http-request set-header x-llm-protocol %%[var(txn.llm.protocol)]\n"
		"%s",
		p->backend, r->name, backends_pool_timeout(t, s, p), pool_tunnel(p), POOL_ASK);
	if (p->replaces)
		write_guard(f);
	write_open(f, t, p);
	write_full(f, t, p);
	write_choice(f, p);
	write_attempt(f, p);
	write_answers(f, s, p);
	fprintf(f,
		"    use-server %%[var(txn.llm_pick)] if TRUE\n"
		"    # HAProxy takes a member down for up to two seconds after that many errors in a row (5xx) by which it did not decline.\n"
		"    default-server weight 0 check inter 2s fastinter 1s downinter 10s fall 2 rise 1 observe layer7 error-limit %d on-error mark-down\n",
		ERRORS_MAX_IN_A_ROW);
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    server %s \"unix@${LLM_LEGS_INSIDE}/%s.sock\"\n", p->members[i].member,
			p->members[i].leg);
	fprintf(f, "    server next_member \"unix@${LLM_LEGS_INSIDE}/%s.sock\" weight 1 no-check\n\n", p->leg);
}

/* Writes the backend whose servers have the members' weights. The servers of the pool's own backend cannot have them:
 * their weight is 0, so that HAProxy's own choice, which a retry makes, is always next_member. HAProxy gives a server
 * that comes back up a sixteenth of its weight (slowstart), and raises the weight from there. */
static void write_slow_start(FILE *f, const pool *p)
{
	unsigned heaviest = 1;

	for (size_t i = 0; i < p->count; i++)
		heaviest = p->members[i].weight > heaviest ? p->members[i].weight : heaviest;
	fprintf(f,
		"backend weights.%s\n"
		"    # Has the weights of the members, which the rules above read. No request comes here.\n"
		"    mode http\n"
		"    timeout connect 1s\n"
		"    timeout server 1s\n"
		"    balance roundrobin\n"
		"    default-server slowstart %ds\n",
		p->backend, SLOW_START_S);
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    server %s \"unix@${LLM_LEGS_INSIDE}/%s.sock\" track %s/%s weight %u\n",
			p->members[i].member, p->members[i].leg, p->backend, p->members[i].member,
			p->members[i].weight * (MEMBER_WEIGHT_MAX / heaviest));
	fprintf(f, "\n");
}

/* Writes where a request comes back for its next attempt, and where the tap brings streams. */
static void write_next(FILE *f, const pool *p)
{
	leg l = { .name = p->leg, .backend = p->backend, .pool = p };

	backends_leg_head(f, &l);
	fprintf(f,
		"    # HAProxy can try another member only while it has the whole request. So it waits until the body is there, or the buffer is full.\n"
		"    http-request wait-for-body time 24d\n");
	backends_leg_end(f, &l);
}

/* ---- the leg of a member */

void backends_member_refusals(FILE *f, const backends_settings *s)
{
	/* What the APIs call each status of rest_status(). HAProxy applies the first rule whose conditions hold. */
	static const struct {
		int status;
		const char *kind, *google, *protocol;
	} kinds[] = {
		{ 429, "rate_limit_error", "RESOURCE_EXHAUSTED", "" },
		{ 503, "api_error", "UNAVAILABLE", "" },
		{ 529, "overloaded_error", "UNAVAILABLE", " { var(txn.llm.protocol) -m str anthropic }" },
		{ 529, "api_error", "UNAVAILABLE", "" },
	};

	fprintf(f, "    acl rests       var(txn.llm.code) -m str upstream_resting\n"
		   "    acl no_key      var(txn.llm.code) -m str upstream_auth_unavailable\n"
		   "    http-request track-sc0 var(txn.llm_attempt) table leg.tried if rests || no_key\n"
		   "    http-request sc-set-gpt0(0) 1 if rests\n"
		   "    http-request sc-set-gpt0(0) 2 if no_key\n");
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		fprintf(f,
			"    http-request return status 425 content-type application/json hdr x-llm-leg upstream_resting hdr x-llm-status %d hdr retry-after \"%%[var(txn.llm.retry_after)]\" lf-string " ERROR_BODY_OF(
				"The upstream rests, because it declined the last requests.", "%s", "upstream_resting",
				"%d", "%s") " if rests { var(txn.llm.status) -m int %d }%s\n",
			kinds[i].status, kinds[i].kind, kinds[i].status, kinds[i].google, kinds[i].status,
			kinds[i].protocol);
	fprintf(f,
		"    http-request return status 425 content-type application/json hdr x-llm-leg upstream_auth_unavailable hdr x-llm-status %d hdr x-should-retry false lf-string " ERROR_BODY(
			"The gateway has no usable credential for the upstream of this model.",
			"upstream_auth_unavailable", "%d") " if no_key\n",
		s->refusal_status, s->refusal_status);
}

static void write_member(FILE *f, const backends_settings *s, const route_table *t, const pool *p, const route *m)
{
	leg l = backends_leg(t, s, m);

	backends_leg_head(f, &l);
	fprintf(f,
		"    .if !version_atleast(3.0)\n"
		"        # 2.6 may lose the timeout of a stream's second question to the agent. With contstats it looks at each stream every five seconds,\n"
		"        # and finds that the time is over.\n"
		"        option contstats\n"
		"    .endif\n"
		"    filter spoe engine llm config \"$LLM_SPOE_CONF\"\n"
		"    # Takes all of the request in before the upstream may answer. With 2.6, an upstream that answers earlier and ends the connection breaks\n"
		"    # the request: the pool would not see the answer, and would not try the next member. This stands before all rules that remove a header,\n"
		"    # because 3.4 would copy the whole buffer after one.\n"
		"    http-request wait-for-body time 24d\n"
		"    http-request set-var(txn.llm_member)  str(%s)\n"
		"    http-request set-var(txn.llm_id)      req.fhdr(x-request-id)\n"
		"    http-request set-var(txn.llm_attempt) req.fhdr(x-request-id),concat(:%s)\n"
		"    http-request set-var(txn.llm_only)    bool(true) if { req.fhdr_cnt(x-llm-only) gt 0 }\n"
		"    http-request del-header x-llm- -m beg\n",
		l.name, m->member);
	backends_leg_credential(f, s, &l);
	fprintf(f, "    http-response del-header x-llm- -m beg\n");
	if (p->retry_on) {
		fprintf(f,
			"    # The upstream declines: tells the agent, which lets the member rest, and gives the answer the status 425 further below.\n"
			"    acl declined status");
		for (unsigned i = 0; i < POOL_STATUSES; i++)
			if (p->retry_on & 1u << i)
				fprintf(f, " %d", pool_statuses[i]);
		fprintf(f,
			"\n"
			"    http-response send-spoe-group llm llm-declined if declined\n"
			"    # Where there are two agents, HAProxy takes them in turn, so that the second message reaches the other one.\n"
			"    http-response send-spoe-group llm llm-declined if declined { nbsrv(llm-agent) gt 1 }\n"
			"    http-response track-sc0 var(txn.llm_attempt) table leg.tried if declined\n"
			"    http-response sc-set-gpt0(0) status if declined\n"
			"    http-response set-header x-llm-status %%[status] if declined\n");
	}
	fprintf(f,
		"    # An upstream's own 425 is for the client. It goes to the pool as 499, because 425 means there that the member declined.\n"
		"    http-response set-header x-llm-status 425 if { status 425 }\n"
		"    http-response set-status 499 if { status 425 }\n");
	if (p->retry_on)
		fprintf(f, "    http-response set-status 425 if declined\n");
	fprintf(f,
		"    # Errors do not count against the only member that can serve, because one client may have caused them: they go to the pool as 499,\n"
		"    # which HAProxy's health checks do not count.\n"
		"    acl only        var(txn.llm_only) -m found\n"
		"    acl error       status 500 502 503 504 529\n"
		"    http-response set-header x-llm-status %%[status] if only error\n"
		"    http-response set-status 499 if only error\n");
	if (!(p->retry_on & pool_status_bit(503)))
		fprintf(f,
			"    # An upstream's own 503 goes to the pool as 599, because 503 means there that the upstream was not reached.\n"
			"    http-response set-header x-llm-status 503 if { status 503 }\n"
			"    http-response set-status 599 if { status 503 }\n");
	backends_leg_end(f, &l);
}

void backends_pools(FILE *f, const backends_settings *s, const route_table *t)
{
	bool first = true;

	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		if (!r->enabled || !r->pool)
			continue;
		if (first)
			write_table(f);
		first = false;
		write_backend(f, s, t, r);
		if (r->pool->balance != BALANCE_FIRST)
			write_slow_start(f, r->pool);
		write_next(f, r->pool);
		for (size_t m = 0; m < r->pool->count; m++)
			write_member(f, s, t, r->pool, &r->pool->members[m]);
	}
}
