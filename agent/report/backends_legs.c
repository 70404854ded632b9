/* SPDX-License-Identifier: MIT
 *
 * The HAProxy sections for requests that go through the tap (docs/haproxy.md, "The tap"). Each leg has two: a backend,
 * from which requests go to the tap, and a frontend, to which the tap sends them. */
#include "decide/leg.h"
#include "report/backends_impl.h"

static void write_sockets(FILE *f)
{
	fprintf(f,
		"# Legs: frontends on unix sockets, through which the requests of pools, and those from the tap, reach their upstreams.\n"
		"global\n"
		"    # The directory of the legs' sockets. HAProxy makes the sockets in LLM_LEGS when it starts. Once it is in a chroot, it sees them in\n"
		"    # LLM_LEGS_INSIDE.\n"
		"    presetenv LLM_LEGS        \"/run/spoa-llm-legs\"\n"
		"    presetenv LLM_LEGS_INSIDE \"$LLM_LEGS\"\n"
		"    # Only HAProxy and the tap may connect to a leg, because a leg adds the operator's credential to each request.\n"
		"    presetenv LLM_LEG_ACCESS  \"mode 600\"\n\n");
}

static void write_tap(FILE *f, const char *check)
{
	fprintf(f,
		"# What goes through the tap: each request whose answer streams, or may be larger than HAProxy's buffer.\n"
		"global\n"
		"    # The socket of the tap, as HAProxy sees it.\n"
		"    presetenv LLM_TAP         \"unix@/run/spoa-llm-tap/tap.sock\"\n"
		"    # The switch. If the runtime API sets it to false, new requests go without the tap, and streams in the tap go on to their end.\n"
		"    set-var proc.llm_tap bool(true)\n\n"
		"backend llm-tap\n"
		"    # Asks a leg through the tap, because a tap that hangs still accepts connections. Nothing is cut when the check fails.\n"
		"    mode http\n"
		"    timeout connect 500ms\n"
		"    timeout check 1s\n"
		"    option httpchk\n"
		"    http-check send meth GET uri /.tap ver HTTP/1.1 hdr host tap hdr x-llm-leg %s\n"
		"    http-check expect status 200\n"
		"    server tap \"$LLM_TAP\" check inter 500ms fall 2 rise 1\n\n",
		check);
}

/* Writes the backend from which requests go through the tap to the leg `l`. If the leg sets a credential, the client's
 * own was removed before. HAProxy checks only the leg `checked`, and takes it for all, because it reaches all legs or
 * none. */
static void write_way(FILE *f, const backends_settings *s, const leg *l, const char *checked)
{
	fprintf(f,
		"backend %s\n"
		"    # To the tap, and from there to the leg; straight to the leg while the tap is down, or takes no more.\n"
		"    mode http\n"
		"    # Does not log when the tap goes down or up, because llm-tap logs it once for all legs.\n"
		"    no log\n"
		"    timeout connect 2s\n"
		"    # Longer than all that the leg may wait for (a free connection, each address, the upstream), so that the leg's own time-out comes first.\n"
		"    timeout server %us\n"
		"    retries 3\n"
		"    retry-on conn-failure\n"
		"    option redispatch 1\n"
		"%s%s"
		"    http-request set-header x-llm-leg %s\n"
		"    http-request set-header x-llm-protocol %%[var(txn.llm.protocol)]\n"
		"%s"
		"    # The tap reads no compressed answer.\n"
		"    http-request set-header accept-encoding identity\n"
		"    # What the leg answered in place of the upstream; the client does not see this header.\n"
		"    http-response set-var(txn.llm.code) res.fhdr(x-llm-leg) if { res.fhdr_cnt(x-llm-leg) gt 0 }\n"
		"%s"
		"    use-server tap if TRUE\n"
		"    server tap \"$LLM_TAP\" weight 0 track llm-tap/tap\n"
		"    # If HAProxy cannot reach the legs (LLM_LEG_ACCESS, a chroot), requests go to their upstreams without them. One leg is checked for all.\n"
		"    server leg \"unix@${LLM_LEGS_INSIDE}/%s.sock\"",
		l->name, l->timeout + backends_wait(s), l->pool ? POOL_ONE_EACH : "    http-reuse safe\n",
		l->auth || (l->pool && l->pool->replaces) ? DROP_TRAILERS : "", l->name, l->pool ? POOL_ASK : "",
		l->pool ? POOL_TOLD : "", l->name);
	if (strcmp(l->name, checked) == 0)
		fprintf(f, " check inter 2s fastinter 500ms fall 2 rise 1\n\n");
	else
		fprintf(f, " track %s/leg\n\n", checked);
}

void backends_leg_credential(FILE *f, const backends_settings *s, const leg *l)
{
	const char *header = l->auth ? auth_header_name(l->auth->header) : NULL;

	fprintf(f, "    http-request send-spoe-group llm llm-member\n");
	if (l->member)
		backends_member_refusals(f, s);
	else
		fprintf(f,
			"    http-request return status %d content-type application/json hdr x-llm-leg upstream_auth_unavailable hdr x-should-retry false "
			"lf-string " ERROR_BODY("The gateway has no usable credential for the upstream of this model.",
						"upstream_auth_unavailable",
						"%d") " if { var(txn.llm.code) -m str upstream_auth_unavailable }\n",
			s->refusal_status, s->refusal_status);
	fprintf(f,
		"    http-request return status %s content-type application/json hdr x-llm-leg gateway_unavailable hdr retry-after 1 "
		"lf-string " ERROR_BODY(
			"The gateway could not decide where to send the request.", "gateway_unavailable",
			"503") " unless { var(txn.llm.deny) -m int 0 } { var(txn.llm.deny) -m str 0 } { var(txn.llm.backend) -m str %s } { var(txn.llm.auth) -m str %s }",
		l->member ? "425 hdr x-llm-status 503" : "503", l->backend, l->auth ? "replace" : "passthrough");
	if (!l->auth) {
		fprintf(f, "\n");
		return;
	}
	fprintf(f,
		" { var(txn.llm.auth_header) -m str %s } { var(txn.llm.auth_value) -m len gt 0 }\n"
		"    http-request del-header ^(authorization|x-api-key|api-key|x-goog-api-key|proxy-authorization|cookie)$ -m reg\n"
		"    http-request set-header %s %%[var(txn.llm.auth_value)]\n"
		"    # A cookie would let its holder go on with the operator's session, so it reaches neither the tap nor the client.\n"
		"    http-response del-header set-cookie -m beg\n",
		header, header);
}

void backends_leg_head(FILE *f, const leg *l)
{
	fprintf(f,
		"frontend %s.in\n"
		"    # The leg to %s: a socket of HAProxy's own, to which the tap or a backend sends requests.\n"
		"    mode http\n"
		"    no log\n"
		"    bind \"unix@${LLM_LEGS}/%s.sock\" \"${LLM_LEG_ACCESS[*]}\" backlog 16384\n"
		"    # Long, because the clients' frontend limits these times for its clients, and the other end of the socket closes idle connections.\n"
		"    timeout client 1d\n"
		"    timeout http-keep-alive 1d\n"
		"    http-request return status 200 if { path /.tap } !{ req.fhdr_cnt(x-request-id) gt 0 }\n"
		"    http-request set-var(txn.llm.protocol) req.fhdr(x-llm-protocol)\n",
		l->name, l->backend, l->name);
}

void backends_leg_end(FILE *f, const leg *l)
{
	fprintf(f,
		"    # Marks what HAProxy itself answers in place of the upstream. No upstream can set such a mark.\n"
		"    http-response set-var(txn.llm_answered) bool(true)\n"
		"    acl marked res.fhdr_cnt(x-llm-leg) gt 0\n"
		"    http-after-response allow if { var(txn.llm_answered) -m found }\n"
		"    http-after-response set-header x-llm-leg upstream_error       if !marked { status 502 }\n"
		"    http-after-response set-header x-llm-leg upstream_unavailable if !marked { status 503 }\n"
		"    http-after-response set-header x-llm-leg upstream_timeout     if !marked { status 504 }\n"
		"    http-after-response set-header x-llm-leg gateway_error        if !marked { status 500 }\n");
	if (l->member)
		fprintf(f, "    http-after-response set-header x-llm-status %%[status] if only { status 502 504 }\n"
			   "    http-after-response set-status 499 if only { status 502 504 }\n");
	fprintf(f, "    default_backend %s\n\n", l->backend);
}

static void write_leg(FILE *f, const backends_settings *s, const leg *l)
{
	backends_leg_head(f, l);
	fprintf(f, "    http-request del-header x-llm- -m beg\n");
	if (l->auth) {
		fprintf(f,
			"    filter spoe engine llm config \"$LLM_SPOE_CONF\"\n"
			"    http-request set-var(txn.llm_member) str(%s)\n",
			l->name);
		backends_leg_credential(f, s, l);
	}
	fprintf(f, "    http-response del-header x-llm- -m beg\n");
	backends_leg_end(f, l);
}

leg backends_leg(const route_table *t, const backends_settings *s, const route *r)
{
	leg l = { .name = r->leg, .backend = route_backend(t, r), .pool = r->pool, .member = r->member ? r : NULL };

	l.auth = r->auth.kind == AUTH_PASSTHROUGH ? NULL : &r->auth;
	l.timeout = r->own_backend && r->connect.timeout ? r->connect.timeout : UPSTREAM_TIMEOUT;
	if (r->pool)
		l.timeout = backends_pool_timeout(t, s, r->pool);
	return l;
}

/* True if a leg before that of the route number `routes` and the target number `targets` has this name. */
static bool is_written(const route_table *t, size_t routes, size_t targets, const char *name)
{
	for (size_t i = 0; i < routes; i++)
		if (t->routes[i].leg && strcmp(t->routes[i].leg, name) == 0)
			return true;
	for (size_t i = 0; i < targets; i++)
		if (strcmp(t->target_legs[i], name) == 0)
			return true;
	return false;
}

void backends_legs(FILE *f, const backends_settings *s, const route_table *t)
{
	const char *first = t->target_legs[0];

	for (size_t i = t->count; i-- > 0;)
		if (t->routes[i].leg)
			first = t->routes[i].leg;
	if (legs_any(t))
		write_sockets(f);
	backends_pools(f, s, t);
	if (!first)
		return;
	write_tap(f, first);
	for (size_t i = 0; i < t->count; i++) {
		leg l = backends_leg(t, s, &t->routes[i]);
		if (!l.name || is_written(t, i, 0, l.name))
			continue;
		write_way(f, s, &l, first);
		if (!l.pool)
			write_leg(f, s, &l);
	}
	for (size_t i = 0; i < PROTOCOLS && t->tap; i++) {
		leg l = { .name = t->target_legs[i], .backend = t->targets[i].backend, .timeout = UPSTREAM_TIMEOUT };
		if (is_written(t, t->count, i, l.name))
			continue;
		write_way(f, s, &l, first);
		write_leg(f, s, &l);
	}
}
