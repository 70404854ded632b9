/* SPDX-License-Identifier: MIT
 *
 * Makes COUNT decisions as for a connection of HAProxy, from frame to ACK, but without sockets, so that valgrind can
 * count their instructions.
 *
 *   decision_driver LEVEL COUNT BODY [HEAD TAIL]      LEVEL: portable, sse4, avx2, avx512
 *
 * CLIENTS=N in the environment: the requests have keys of N clients. LEDGER_OFF: HAProxy sends no records.
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

/* ---- clients: with CLIENTS=N in the environment, each decision is about a request of another one of N clients */

static uint64_t clients;
static char *key_at; /* in the request */

/* Makes the hash of the key of client `i`, as random as SHA-256. */
static void put_hash(uint64_t i, void *out)
{
	for (uint64_t at = 0; at < CLIENT_HASH_LEN / 8; at++) {
		uint64_t x = (i * 4 + at + 1) * UINT64_C(0x9e3779b97f4a7c15);
		x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
		x ^= x >> 31;
		memcpy((char *)out + 8 * at, &x, 8);
	}
}

static client_table *make_clients(void)
{
	client_table *t = client_table_new();

	for (uint64_t i = 0; t && i < clients; i++) {
		client *c = client_table_add(t);
		client_key *k = c ? client_table_add_key(t) : NULL;
		if (!k)
			return NULL;
		c->name = "client";
		c->project = "project";
		put_hash(i, k->sha256);
	}
	return t && client_table_finish(t) ? t : NULL;
}

/* Adds what HAProxy says of a key to the message, whose name and number of arguments stand in front. */
static void add_key(unsigned char *message, spop_writer *w)
{
	static const char none[CLIENT_HASH_LEN];

	message[1 + message[0]] += 3;
	spop_put_name(w, SLICE("guard"));
	spop_put_bool(w, true);
	spop_put_name(w, SLICE("key"));
	spop_put_u8(w, SPOP_BIN);
	spop_put_varint(w, sizeof none);
	key_at = (char *)w->pos;
	spop_put_bytes(w, none, sizeof none);
	spop_put_name(w, SLICE("keys_differ"));
	spop_put_u8(w, SPOP_NULL);
}

/* Sets the routes' credential, as long as OpenAI's are, behind the variables that systemd sets. */
static void set_credential(void)
{
	static const char *const others[] = { "HOME",          "LOGNAME",        "USER",          "SHELL",
					      "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "RUNTIME_DIRECTORY" };
	char value[165];

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		setenv(others[i], "x", 0);
	memset(value, 'k', sizeof value - 1);
	value[sizeof value - 1] = '\0';
	setenv("BENCH_CREDENTIAL", value, 1);
}

static policy *make_policy(void)
{
	client_table *keyed = clients ? make_clients() : NULL;
	route_table *t = route_table_new();
	err e;

	for (size_t i = 0; t && i < sizeof routes / sizeof routes[0]; i++) {
		route *r = route_table_add(t);
		if (!r || !upstream_parse(&r->own, slice_cstr(routes[i].upstream), &e))
			return NULL;
		r->name = strdup(routes[i].name);
		r->prefix = strdup(routes[i].prefix);
		r->upstream_given = strdup(routes[i].upstream);
		r->auth = (credential){ AUTH_ENV, strdup("BENCH_CREDENTIAL"), HEADER_AUTHORIZATION };
		t->enabled++;
	}
	return t && !keyed == !clients ? policy_new(t, keyed) : NULL;
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
	if (!spop_message_next(&messages, &m) || !slice_eq(m.name, SLICE(REQUEST_MESSAGE)))
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
	clients = getenv("CLIENTS") ? strtoull(getenv("CLIENTS"), NULL, 10) : 0;
	set_credential();
	policy *p = make_policy();
	if (body.len == 0 || !bytes || !p || !greet(&s)) {
		fputs("decision_driver: cannot begin\n", stderr);
		return 2;
	}
	spop_writer w = frame_begin(bytes, cap, (uint32_t)cap, FRAME_NOTIFY, 1000000, 1);
	unsigned char *message = w.pos;
	w.pos += notify_payload(w.pos, (size_t)(w.end - w.pos), body, argc > 5 ? (size_t)atol(argv[4]) : 0,
				argc > 5 ? (size_t)atol(argv[5]) : 0, getenv("LEDGER_OFF") ? FLAG_NO_RECORDS : 0);
	if (clients)
		add_key(message, &w);
	slice in = slice_of(bytes, frame_end(&w));
	for (long i = 0; i < count; i++) {
		if (clients)
			put_hash((uint64_t)i * 7919 % clients, key_at);
		if (!answer(&s, p, in, room, sizeof room)) {
			fputs("decision_driver: an answer does not forward\n", stderr);
			return 1;
		}
	}
	return 0;
}
