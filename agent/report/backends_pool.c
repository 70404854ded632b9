/* SPDX-License-Identifier: MIT
 *
 * The HAProxy sections of pools. A pool's backend chooses a member by rules and sends the request to the member's leg.
 * If the member declines, HAProxy's own retry brings the request to the server `next_member`, a socket that leads back
 * to the same backend, where the rules choose among the members that were not tried. So each attempt is a request of
 * its own.
 */
#include "report/backends_impl.h"

enum {
	ERRORS_MAX_IN_A_ROW = 10, /* answers of 5xx that are no declining ones, until HAProxy passes a member over */
	SCORE = 1
		<< 24, /* by this the load of `least` is multiplied, so that dividing it by weights tells them apart */
	SLOW_START_S = 30, /* until a member that comes back has its whole share again */
	TIES = 256,        /* less than the smallest difference of two such scores */
};

/* Of each declined attempt the answer's status, by the request's id and the member. HAProxy's retry loses it. */
static void write_table(FILE *f)
{
	fprintf(f, "# Pools: routes with several upstreams.\n"
		   "global\n"
		   "    .if version_atleast(3.4)\n"
		   "        tune.bufsize.small 65536\n"
		   "    .endif\n\n"
		   "backend leg.tried\n"
		   "    # Why members declined a request, for its log line.\n"
		   "    stick-table type string len 96 size 100k expire 60s store gpt0\n\n");
}

unsigned backends_pool_timeout(const route_table *t, const backends_settings *s, const pool *p)
{
	unsigned sum = 0;

	for (size_t i = 0; i < p->count; i++)
		sum += backends_leg(t, s, &p->members[i]).timeout + backends_wait(s);
	return sum;
}

static unsigned pool_tunnel(const pool *p)
{
	unsigned most = 3600;

	for (size_t i = 0; i < p->count; i++)
		if (p->members[i].connect.timeout > most)
			most = p->members[i].connect.timeout;
	return most;
}

/* ---- the choice */

/* Writes which members may be chosen: txn.llm_m0, txn.llm_m1 and so on, and how many, txn.llm_left. */
static void write_open(FILE *f, const route_table *t, const pool *p)
{
	fprintf(f,
		"    # The members that can serve: not tried yet, not passed over by the agent, and up. (In a process that a reload has replaced\n"
		"    # nbsrv is 0 for all backends.)\n"
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

/* Takes the members out of the choice whose connections are all in use, if another one has some to spare. */
static void write_full(FILE *f, const route_table *t, const pool *p)
{
	bool limited = false;

	for (size_t i = 0; i < p->count; i++)
		limited |= p->members[i].connect.max_connections != 0;
	if (!limited)
		return;
	fprintf(f, "    # Where the connections of a member are all in use, another one comes first.\n"
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

/* Writes the weights that the members have at this moment: txn.llm_w0, txn.llm_w1 and so on. */
static void write_weights(FILE *f, const pool *p)
{
	fprintf(f, "    # Their weights now: a member that comes back has little at first.\n");
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    http-request set-var(txn.llm_w%zu) srv_weight(weights.%s/%s) if open%zu\n", i,
			p->backend, p->members[i].member, i);
}

static void write_weighted(FILE *f, const pool *p)
{
	fprintf(f, "    # A number below the sum of their weights, which falls into the part of one of them.\n"
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
		"    # The one with the fewest requests for its weight, with this one; of several, one of them by lot.\n");
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

/* Writes what is noted of the attempt before this one, and what becomes of the request if there is no member left. */
static void write_attempt(FILE *f, const pool *p)
{
	fprintf(f,
		"    # What the member before this one said: the status of its answer, or why it gave none.\n"
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
			       "    # The last one's own answer goes to the client.\n"
			       "    http-request disable-l7-retry if { var(txn.llm_left) -m int le 1 } || { req.fhdr_cnt(x-llm-tried) ge %u }\n"
			       "    http-request set-header x-llm-only 1 if { var(txn.llm_left) -m int le 1 }\n"
			       "    http-request add-header x-llm-tried %%[var(txn.llm_pick)]\n"
			       "    # Until there is an answer, the log line knows of the first attempt only.\n"
			       "    http-request set-var(txn.llm_line)  var(txn.llm.line)\n"
			       "    acl first   var(txn.llm_line) -m found\n"
			       "    http-request set-var-fmt(txn.llm.line) '%%[var(txn.llm_line)],\"member\":\"%%[var(txn.llm_pick)]\",\"tried\":\"\"' if first\n",
		p->retries);
}

/* Writes the rules for answers, each time on the way back from attempt to attempt. Which member it was is also told of
 * the 502 with which HAProxy answers if a leg closes its connection: from 3.0 on a leg does that without an answer if
 * its own connection, to the upstream, was not new. The first attempt adds no header
 * that comes before the rules of the clients' frontend, because HAProxy 3.4 copies a whole buffer to look at a body
 * behind such a header. */
static void write_answers(FILE *f, const backends_settings *s, const pool *p)
{
	fprintf(f,
		"    # Which member served, and what the others said before: for the first attempt, which writes the log line.\n"
		"    acl told    res.fhdr_cnt(x-llm-member) gt 0\n"
		"    http-after-response set-header x-llm-why    %%[var(txn.llm_why)]  if !first !told\n"
		"    http-after-response set-header x-llm-member %%[var(txn.llm_pick)] if !first !told\n"
		"    http-response set-var-fmt(txn.llm.line) '%%[var(txn.llm_line)]" MEMBER_TOLD "' if first told\n"
		"    # What the leg answered in place of the upstream; the client does not see this header.\n"
		"    http-response set-var(txn.llm.code) res.fhdr(x-llm-leg) if { res.fhdr_cnt(x-llm-leg) gt 0 }\n"
		"    # The status that the leg gave another number.\n"
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

static void write_backend(FILE *f, const backends_settings *s, const route_table *t, const route *r)
{
	const pool *p = r->pool;

	fprintf(f,
		"backend %s\n"
		"    # The pool of route %s. If a member declines, the request goes by `next_member` to the frontend below, and comes back here.\n"
		"    mode http\n"
		"    no log\n"
		"    timeout connect 2s\n"
		"    # Longer than all its members one after the other, so that the leg of one of them tells first.\n"
		"    timeout server %us\n"
		"    timeout tunnel %us\n"
		"    retries 1\n"
		"    option redispatch 1\n"
		"    # A leg gives every answer by which its member declines the status 425, which HAProxy does not take for an error of the member's. A 503 is\n"
		"    # HAProxy's own: nobody was reached. An answer that is empty is never asked for twice.\n"
		"    retry-on conn-failure 425 503\n"
		"    .if version_atleast(3.4)\n"
		"        # HAProxy keeps a copy of each request until its answer begins, of the size of a buffer: of 64 KB, if the request fits that.\n"
		"        option use-small-buffers l7-retries\n"
		"    .endif\n" POOL_ONE_EACH "    http-request set-header x-llm-protocol %%[var(txn.llm.protocol)]\n"
		"%s",
		p->backend, r->name, backends_pool_timeout(t, s, p), pool_tunnel(p), POOL_ASK);
	write_open(f, t, p);
	write_full(f, t, p);
	write_choice(f, p);
	write_attempt(f, p);
	write_answers(f, s, p);
	fprintf(f,
		"    use-server %%[var(txn.llm_pick)] if TRUE\n"
		"    # A member that answers with errors, which are not among those that go on to the next one, is passed over for a while.\n"
		"    default-server weight 0 check inter 2s fastinter 1s downinter 10s fall 2 rise 1 observe layer7 error-limit %d on-error mark-down\n",
		ERRORS_MAX_IN_A_ROW);
	for (size_t i = 0; i < p->count; i++)
		fprintf(f, "    server %s \"unix@${LLM_LEGS_INSIDE}/%s.sock\"\n", p->members[i].member,
			p->members[i].leg);
	fprintf(f, "    server next_member \"unix@${LLM_LEGS_INSIDE}/%s.sock\" weight 1 no-check\n\n", p->leg);
}

/* Writes the backend that keeps the members' weights, because the weights of the pool's own servers say that rules
 * choose among them. HAProxy gives a server that it finds again a sixteenth of its weight, and raises that. */
static void write_slow_start(FILE *f, const pool *p)
{
	unsigned heaviest = 1;

	for (size_t i = 0; i < p->count; i++)
		heaviest = p->members[i].weight > heaviest ? p->members[i].weight : heaviest;
	fprintf(f,
		"backend weights.%s\n"
		"    # The weights of the members, for the rules above. No request comes here.\n"
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
		"    # HAProxy tries another member only if it has the whole request. It waits until all is there, or fills the buffer.\n"
		"    http-request wait-for-body time 24d\n");
	backends_leg_end(f, &l);
}

/* ---- the leg of a member */

void backends_member_refusals(FILE *f, const backends_settings *s)
{
	/* Of each status of rest_status() what the APIs call it. The first rule whose conditions hold is applied. */
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
		"        # 2.6 loses the timeout of a second question to the agent. With this it looks at each stream every five seconds.\n"
		"        option contstats\n"
		"    .endif\n"
		"    filter spoe engine llm config \"$LLM_SPOE_CONF\"\n"
		"    # Takes all of the request in before it may be answered, because who answers earlier, and ends the connection, breaks it for 2.6:\n"
		"    # then the pool would not see the answer, and would not try the next member. 3.4 copies the whole buffer if a header was removed before.\n"
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
		fprintf(f, "    # The upstream declines. The agent learns of it, and lets the member rest.\n"
			   "    acl declined status");
		for (unsigned i = 0; i < POOL_STATUSES; i++)
			if (p->retry_on & 1u << i)
				fprintf(f, " %d", pool_statuses[i]);
		fprintf(f,
			"\n"
			"    http-response send-spoe-group llm llm-declined if declined\n"
			"    # Where there are two agents, HAProxy asks them in turn: so the other one learns of it, too.\n"
			"    http-response send-spoe-group llm llm-declined if declined { nbsrv(llm-agent) gt 1 }\n"
			"    http-response track-sc0 var(txn.llm_attempt) table leg.tried if declined\n"
			"    http-response sc-set-gpt0(0) status if declined\n"
			"    http-response set-header x-llm-status %%[status] if declined\n");
	}
	fprintf(f, "    # This one is the client's, and means something else to the pool.\n"
		   "    http-response set-header x-llm-status 425 if { status 425 }\n"
		   "    http-response set-status 499 if { status 425 }\n");
	if (p->retry_on)
		fprintf(f, "    http-response set-status 425 if declined\n");
	fprintf(f,
		"    # Errors do not count against the only member that can serve, because they may be the doing of one client.\n"
		"    acl only        var(txn.llm_only) -m found\n"
		"    acl error       status 500 502 503 504 529\n"
		"    http-response set-header x-llm-status %%[status] if only error\n"
		"    http-response set-status 499 if only error\n");
	if (!(p->retry_on & pool_status_bit(503)))
		fprintf(f, "    # This one, too, means something else to the pool.\n"
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
