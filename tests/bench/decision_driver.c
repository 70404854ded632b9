/* SPDX-License-Identifier: MIT
 *
 * Makes COUNT decisions as for a connection of HAProxy, from frame to ACK, but without sockets, so that valgrind can
 * count their instructions.
 *
 *   decision_driver LEVEL COUNT BODY [HEAD TAIL]      LEVEL: portable, sse4, avx2, avx512
 *
 * Exit 1: an answer does not forward. Exit 3: this CPU, or the one that valgrind emulates, has no such level. */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "decide/decision.h"
#include "notify.h"

/* Three routes and a catch-all: the third one matches. */
static const struct {
	const char *name, *prefix, *upstream;
} routes[] = {
	{ "glm-", "glm-", "https://ollama.com" },
	{ "claude-", "claude-", "https://api.anthropic.com" },
	{ "gpt-", "gpt-", "https://api.openai.com" },
	{ "*", "*", "https://api.openai.com" },
};

slice bench_read(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t cap = 4 * 1024 * 1024, len;
	char *bytes = malloc(cap);

	if (!f || !bytes)
		return (slice){ NULL, 0 };
	len = fread(bytes, 1, cap, f);
	fclose(f);
	return slice_of(bytes, len);
}

static policy *make_policy(void)
{
	route_table *t = route_table_new();
	err e;

	for (size_t i = 0; t && i < sizeof routes / sizeof routes[0]; i++) {
		route *r = route_table_add(t);
		if (!r || !upstream_parse(&r->own, slice_cstr(routes[i].upstream), &e))
			return NULL;
		r->name = strdup(routes[i].name);
		r->prefix = strdup(routes[i].prefix);
		r->upstream_given = strdup(routes[i].upstream);
		t->enabled++;
	}
	return t ? policy_new(t, NULL) : NULL;
}

static bool level(const char *name)
{
	for (unsigned i = 0; i < JSON_LEVELS; i++)
		if (json_force_level((json_level)i) && strcmp(json_level_name(), name) == 0)
			return true;
	return false;
}

/* Says HELLO, which the session wants before anything else. */
static bool greet(spop_session *s)
{
	unsigned char room[256];
	spop_writer w = frame_begin(room, sizeof room, sizeof room - FRAME_PREFIX, FRAME_HAPROXY_HELLO, 0, 0);

	spop_put_name(&w, SLICE("supported-versions"));
	spop_put_str(&w, SLICE("2.0"));
	spop_put_name(&w, SLICE("max-frame-size"));
	spop_put_uint32(&w, 1048572);
	spop_put_name(&w, SLICE("capabilities"));
	spop_put_str(&w, SLICE("pipelining"));
	slice in = slice_of(room, frame_end(&w));
	spop_session_init(s, 1048576, true);
	return spop_session_next(s, &in).type == SPOP_HELLO;
}

/* Makes one decision, and writes its ACK to `room`. False: it does not forward. */
static bool answer(spop_session *s, const policy *p, slice in, unsigned char *room, size_t room_len)
{
	static llm_request request; /* not cleared for every request, as in an SPOP thread */
	static decision d;
	spop_message m;
	bool fell_back;

	spop_event e = spop_session_next(s, &in);
	if (e.type != SPOP_NOTIFY)
		return false;
	cursor messages = cursor_of(e.messages);
	if (!spop_message_next(&messages, &m) || !slice_eq(m.name, SLICE("llm-request")))
		return false;
	request_read(&request, &m);
	if (!spop_messages_skip(&messages))
		return false;
	decide(p, &request, &d);
	return decision_ack_room(&d) <= room_len &&
	       decision_ack(&d, s, room, room_len, e.stream_id, e.frame_id, &fell_back) > 0 && !fell_back &&
	       d.refusal == REFUSE_NOT && d.route == &p->table->routes[2];
}

int main(int argc, char **argv)
{
	static unsigned char room[8192];
	spop_session s;

	if (argc < 4) {
		fputs("usage: decision_driver LEVEL COUNT BODY [HEAD TAIL]\n", stderr);
		return 64;
	}
	if (!level(argv[1]))
		return 3;
	long count = atol(argv[2]);
	slice body = bench_read(argv[3]);
	size_t cap = body.len + NOTIFY_EXTRA + 64;
	unsigned char *bytes = malloc(cap);
	policy *p = make_policy();
	if (body.len == 0 || !bytes || !p || !greet(&s)) {
		fputs("decision_driver: cannot begin\n", stderr);
		return 2;
	}
	spop_writer w = frame_begin(bytes, cap, (uint32_t)cap, FRAME_NOTIFY, 1000000, 1);
	w.pos += notify_payload(w.pos, (size_t)(w.end - w.pos), body, argc > 5 ? (size_t)atol(argv[4]) : 0,
				argc > 5 ? (size_t)atol(argv[5]) : 0);
	slice in = slice_of(bytes, frame_end(&w));
	for (long i = 0; i < count; i++)
		if (!answer(&s, p, in, room, sizeof room)) {
			fputs("decision_driver: an answer does not forward\n", stderr);
			return 1;
		}
	return 0;
}
