/* SPDX-License-Identifier: MIT
 *
 * The follower of HTTP/1.1 exchanges: what it says of whole connections, however their bytes are split. */
#include "tap_http_rig.h"

static void check_row(const step *steps, const char *request, const char *answer)
{
	static play p;
	size_t longest = 0;

	for (const step *s = steps; s->from; s++)
		longest = s->bytes && strlen(s->bytes) > longest ? strlen(s->bytes) : longest;
	/* Whole, every cut in two, and in pieces of every size. */
	for (size_t n = 0; n < 2 * longest + 1; n++) {
		bool cut = n <= longest;
		play_steps(&p, steps, cut ? n : n - longest, cut ? SIZE_MAX : n - longest);
		bool ok = strcmp(p.request, request) == 0 && strcmp(p.answer, answer) == 0;
		CHECK(ok);
		if (!ok) {
			printf("  request:  \"%s\"\n  expected: \"%s\"\n  answer:   \"%s\"\n  expected: \"%s\"\n  %s %zu\n",
			       p.request, request, p.answer, answer, cut ? "cut at" : "pieces of",
			       cut ? n : n - longest);
			return;
		}
	}
}

typedef struct row {
	step steps[STEPS];
	const char *request, *answer;
} row;

#define ROWS(rows) \
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) \
	check_row(rows[i].steps, rows[i].request, rows[i].answer)

static void framing(void)
{
	static const row rows[] = {
		{ { { '>', ASK "content-length: 5\r\n\r\nhello" },
		    { '<', OK "content-length: 3\r\n\r\nbye" },
		    { '.', NULL } },
		  " head [hello] END",
		  " 200 [bye] END idle" },
		{ { { '>', GET }, { '<', OK "content-length: 0\r\n\r\n" } }, " head END", " 200 END" },
		{ { { '>', ASK CHUNKED "\r\n5\r\nhello\r\n00A \r\n0123456789\r\n0\r\n\r\n" },
		    { '<', OK CHUNKED "\r\n1\r\na\r\n1;x=\"y\"\r\nb\r\n000;z\r\nx-a: 1\r\ncontent-length: 9\r\n\r\n" },
		    { '.', NULL } },
		  " head [hello0123456789] END",
		  " 200 [ab] END idle" },
		/* To the connection's end. */
		{ { { '>', GET }, { '<', OK "\r\nabc" }, { '<', "def" }, { '.', NULL } },
		  " head END",
		  " 200 [abcdef] END" },
		{ { { '>', GET }, { '<', OK "\r\n" }, { '.', NULL } }, " head END", " 200 END" },
		{ { { '>', GET }, { '<', "HTTP/1.0 200\r\n\r\nx" }, { '.', NULL } }, " head END", " 200 [x] END" },
		{ { { '>', GET },
		    { '<', OK "Transfer-Encoding: gzip\r\ncontent-length: 1\r\n\r\nxyz" },
		    { '.', NULL } },
		  " head END",
		  " 200 coding=gzip [xyz] END" },
		{ { { '>', GET }, { '<', OK "Transfer-Encoding: gzip, Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n" } },
		  " head END",
		  " 200 coding=gzip [x] END" },
		{ { { '>', GET }, { '<', OK "transfer-encoding: gzip\r\n" CHUNKED "\r\n1\r\nx\r\n0\r\n\r\n" } },
		  " head END",
		  " 200 coding=gzip [x] END" },
		{ { { '>', GET },
		    { '<', OK "transfer-encoding: chunked, gzip\r\ncontent-length: 1\r\n\r\n1\r\n" },
		    { '.', NULL } },
		  " head END",
		  " 200 coding=gzip [1\r\n] END" },
		{ { { '>', GET }, { '<', OK "transfer-encoding: ,, Chunked ,\r\n\r\n1\r\nx\r\n0\r\n\r\n" } },
		  " head END",
		  " 200 [x] END" },
		/* transfer-encoding counts for more than content-length. */
		{ { { '>', ASK CHUNKED "content-length: 7\r\n\r\n1\r\nx\r\n0\r\n\r\n" GET },
		    { '<', OK "content-length: 9\r\n" CHUNKED "\r\n1\r\nx\r\n0\r\n\r\n" } },
		  " head [x] END head END",
		  " 200 [x] END" },
		{ { { '>', ASK "Content-Length: 5, 5\r\ncontent-length:5 \r\n\r\nhello" },
		    { '<', OK "CONTENT-LENGTH:\t 0003\r\n\r\nbye" } },
		  " head [hello] END",
		  " 200 [bye] END" },
		/* Statuses as HAProxy reads them. */
		{ { { '>', GET },
		    { '<', "HTTP/1.1 0 \r\ncontent-length: 1\r\n\r\na" },
		    { '>', GET },
		    { '<', "HTTP/1.1 99\r\ncontent-length: 1\r\n\r\nb" },
		    { '>', GET },
		    { '<', "HTTP/1.1 1000 X\r\ncontent-length: 1\r\n\r\nc" } },
		  " head END head END head END",
		  " 0 [a] END 99 [b] END 1000 [c] END" },
		{ { { '>', GET },
		    { '<', "HTTP/1.1 65640 Early\r\n\r\nHTTP/1.1 00065740 Z\r\n\r\n" },
		    { '>', GET },
		    { '<', OK "content-length: 0\r\n\r\n" } },
		  " head END head END",
		  " 204 END 200 END" },
		/* No body, whatever the head says. */
		{ { { '>', "HEAD / HTTP/1.1\r\n\r\n" }, { '<', OK "content-length: 9\r\n\r\n" }, { '.', NULL } },
		  " head END",
		  " 200 END idle" },
		{ { { '>', "HEAD / HTTP/1.1\r\n\r\n" }, { '<', OK CHUNKED "\r\n" } }, " head END", " 200 END" },
		{ { { '>', GET }, { '<', "HTTP/1.1 204 No Content\r\n\r\n" } }, " head END", " 204 END" },
		{ { { '>', GET }, { '<', "HTTP/1.1 304 \r\ncontent-length: 7\r\n\r\n" } }, " head END", " 304 END" },
		{ { { '>', "head / HTTP/1.1\r\n\r\n" }, { '<', OK "content-length: 1\r\n\r\nx" } },
		  " head END",
		  " 200 [x] END" },
		/* What comes before the answer. */
		{ { { '>', ASK "content-length: 2\r\n\r\n" },
		    { '<', "HTTP/1.1 100 Continue\r\n\r\n" },
		    { '>', "hi" },
		    { '<', "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\ncontent-length: 5\r\n\r\n" OK
			   "content-length: 1\r\n\r\nx" } },
		  " head [hi] END",
		  " 200 [x] END" },
	};

	ROWS(rows);
}

static void connections(void)
{
	static const row rows[] = {
		/* One after the other. */
		{ { { '>', GET },
		    { '<', OK CHUNKED "\r\n1\r\na\r\n0\r\n\r\n" },
		    { '>', "HEAD / HTTP/1.1\r\n\r\n" },
		    { '<', OK "content-length: 5\r\n\r\n" },
		    { '>', GET },
		    { '<', OK "content-length: 1\r\n\r\nx" } },
		  " head END head END head END",
		  " 200 [a] END 200 END 200 [x] END" },
		/* Too early: each waits for the answer to the one before. */
		{ { { '>', GET "HEAD / HTTP/1.1\r\nx-llm-leg: leg.b\r\n\r\n" ASK "content-length: 1\r\n\r\nx" },
		    { '<', OK "content-length: 1\r\n\r\na" },
		    { '<', OK "content-length: 1\r\n\r\n" },
		    { '<', OK "content-length: 1\r\n\r\nc" },
		    { '.', NULL } },
		  " head END head leg=leg.b END head [x] END",
		  " 200 [a] END 200 END 200 [c] END idle" },
		{ { { '>', GET GET }, { '<', OK "\r\nx" } }, " head END", " 200 [x]" },
		/* An answer that does not wait for the request's end. */
		{ { { '>', ASK "content-length: 4\r\n\r\nab" },
		    { '<', "HTTP/1.1 400 Bad\r\ncontent-length: 1\r\n\r\nx" },
		    { '>', "cd" GET },
		    { '<', OK "content-length: 0\r\n\r\n" } },
		  " head [abcd] END head END",
		  " 400 [x] END 200 END" },
		/* Trailers of a request in the middle of the answer's head. */
		{ { { '>', ASK CHUNKED "\r\n0\r\n" },
		    { '<', OK "content-length" },
		    { '>', "a: 7\r\nb: 8" },
		    { '<', ": 1" },
		    { '>', "\r\nx-request-id: c\r\n\r\n" },
		    { '<', "\r\n\r\nx" } },
		  " head END",
		  " 200 [x] END" },
		/* Tunnels. */
		{ { { '>', "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\n" },
		    { '<', "HTTP/1.1 101 Switching\r\n\r\n\x81\x01" },
		    { '>', GET },
		    { '<', OK },
		    { '.', NULL } },
		  " head END (" GET ")",
		  " 101 (\x81\x01" OK ") END" },
		{ { { '>', "GET / HTTP/1.1\r\nupgrade: websocket\r\n\r\nearly" },
		    { '<', "HTTP/1.1 101 Switching\r\n\r\n" } },
		  " head END (early)",
		  " 101" },
		{ { { '>', ASK "content-length: 3\r\n\r\na" },
		    { '<', "HTTP/1.1 101 Switching\r\n\r\nx" },
		    { '>', "bcdef" } },
		  " head [abc] END (def)",
		  " 101 (x)" },
		{ { { '>', "CONNECT a:1 HTTP/1.1\r\n\r\nx" }, { '<', OK "content-length: 1\r\n\r\nabc" } },
		  " head END (x)",
		  " 200 (abc)" },
		{ { { '>', "CONNECT a:1 HTTP/1.1\r\n\r\n" },
		    { '<', "HTTP/1.1 403 No\r\ncontent-length: 1\r\n\r\na" },
		    { '>', GET } },
		  " head END head END",
		  " 403 [a] END" },
		/* Ends that are too early. */
		{ { { '.', NULL } }, "", " idle" },
		{ { { '>', GET }, { '.', NULL } }, " head END", " CUT" },
		{ { { '>', GET }, { '<', "HTTP/1.1 100 Continue\r\n\r\n" }, { '.', NULL } }, " head END", " CUT" },
		{ { { '>', GET }, { '<', "HTTP/1." }, { '.', NULL } }, " head END", " CUT" },
		{ { { '>', GET }, { '<', OK "content-length: 2\r\n\r\na" }, { '.', NULL } },
		  " head END",
		  " 200 [a] CUT" },
		{ { { '>', GET }, { '<', OK CHUNKED "\r\n2\r\nab\r\n" }, { '.', NULL } },
		  " head END",
		  " 200 [ab] CUT" },
		{ { { '>', GET }, { '<', OK CHUNKED "\r\n0\r\n" }, { '.', NULL } }, " head END", " 200 CUT" },
	};

	ROWS(rows);
}

#define ID64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void heads(void)
{
#define ASKED(headers, says) \
	{ \
		{ { '>', "GET / HTTP/1.1\r\n" headers "\r\n" } }, " head" says " END", "" \
	}
#define ANSWERED(headers, says) \
	{ \
		{ { '>', GET }, { '<', OK headers "content-length: 0\r\n\r\n" } }, " head END", " 200" says " END" \
	}
	static const row rows[] = {
		ASKED("X-Request-Id:  abc-1 \r\nx-llm-LEG: leg.A_b.0\r\n", " id=abc-1 leg=leg.A_b.0"),
		ASKED("x-request-id: " ID64 "\r\n", " id=" ID64),
		ASKED("x-request-id: " ID64 "0\r\n", ""),
		ASKED("x-llm-leg: " ID64 ID64 "\r\nx-request-id: a\r\n", " id=a"),
		ASKED("x-request-id: " ID64 ID64 ID64 "\r\nx-request-id: a\r\n", ""),
		ASKED("x-request-id: a\r\nx-request-id: a\r\nx-request-id: a\r\nx-llm-leg: b\r\nx-llm-leg: c\r\n", ""),
		ASKED("x-request-id: a b\r\nx-llm-leg: \"\r\n", ""),
		ASKED("x-request-id: a\xff\r\nx-llm-leg: \\\r\n", ""),
		ASKED("x-request-id:\r\nx-llm-leg:\t \t\r\n", ""),
		ASKED("x-request-idx: a\r\nx-request-i: b\r\n", ""),
		ASKED("content-type: text/plain\r\nx-request-id: a\r\n", " id=a"),
		ASKED("content-length : 5\r\nx-\x01 y\xff: b\r\nx-request-id\t: c\r\n", ""),
		ASKED("x-" ID64 ID64 ID64 ": a\r\nx-request-id: a\r\n", " id=a"),
		ANSWERED("Content-Type: Text/Event-Stream; charset=UTF-8\r\n", " type=text/event-stream"),
		ANSWERED("content-type: application/json ;a\r\n", " type=application/json"),
		ANSWERED("content-type: text/html\r\ncontent-type: text/html\r\n", ""),
		ANSWERED("content-type: " ID64 "\r\n", ""),
		ANSWERED("content-type: ;\r\n", ""),
		ANSWERED("x-request-id: a\r\nx-llm-leg: b\r\n", ""),
		ANSWERED("content-encoding: GZIP\r\n", " coding=gzip"),
		ANSWERED("content-encoding: identity, ,identity\r\n", ""),
		ANSWERED("content-encoding: \r\n", ""),
		ANSWERED("content-encoding: identity, br, gzip\r\ncontent-encoding: zstd\r\n", " coding=br"),
		ANSWERED("content-encoding: identity\r\ncontent-encoding: zstd\r\n", " coding=zstd"),
		ANSWERED("content-encoding: \"\r\n", " coding=unknown"),
		ANSWERED("content-encoding: " ID64 "\r\n", " coding=unknown"),
		ANSWERED("content-encoding: " ID64 ID64 "\r\n", " coding=unknown"),
		/* Each head is of its own. */
		{ { { '>', "GET / HTTP/1.1\r\nx-request-id: a\r\nx-llm-leg: b\r\n\r\n" },
		    { '<', "HTTP/1.1 103 Early\r\ncontent-type: a\r\n\r\n" OK
			   "content-type: b\r\ncontent-encoding: c\r\ncontent-length: 0\r\n\r\n" },
		    { '>', GET },
		    { '<', "HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n" } },
		  " head id=a leg=b END head END",
		  " 200 type=b coding=c END 404 END" },
	};

	ROWS(rows);
}

static void malformed(void)
{
#define REFUSED(bytes, why) \
	{ \
		{ { '>', bytes } }, " BAD " why, "" \
	}
#define UNREADABLE(bytes, why) \
	{ \
		{ { '>', GET }, { '<', bytes } }, " head END", " BAD " why \
	}
#define CHUNK_BAD(bytes, says) \
	{ \
		{ { '>', GET }, { '<', OK CHUNKED "\r\n" bytes } }, " head END", " 200" says \
	}
	static const row rows[] = {
		REFUSED(" / HTTP/1.1\r\n\r\n", "a method with an odd character"),
		REFUSED("\r\nGET / HTTP/1.1\r\n\r\n", "a method with an odd character"),
		REFUSED("G\x80T / HTTP/1.1\r\n\r\n", "a method with an odd character"),
		REFUSED("GET /\r\n\r\n", "a request without a version"),
		REFUSED("GET /\n", "a request without a version"),
		REFUSED("GET / HTTP/2.0\r\n\r\n", "a version that is not HTTP/1.0 or HTTP/1.1"),
		REFUSED("GET / HTTP/1.2\r\n\r\n", "a version that is not HTTP/1.0 or HTTP/1.1"),
		REFUSED("GET / HTTP/1.1 \r\n\r\n", "a version that is not HTTP/1.0 or HTTP/1.1"),
		REFUSED("GET / http/1.1\r\n\r\n", "a version that is not HTTP/1.0 or HTTP/1.1"),
		REFUSED("GET / HTTP/1.1\r\r\n\r\n", "a carriage return without a line feed"),
		REFUSED("GET / HTTP/1.1\r\n: a\r\n\r\n", "a header without a name"),
		REFUSED("GET / HTTP/1.1\r\na: b\r\n c: d\r\n\r\n", "a header without a name"),
		REFUSED("GET / HTTP/1.1\r\na: b\r\n\tc: d\r\n\r\n", "a header without a name"),
		REFUSED("GET / HTTP/1.1\r\na\r\n\r\n", "a header without a colon"),
		REFUSED("GET / HTTP/1.1\r\na\nb: c\r\n\r\n", "a header without a colon"),
		REFUSED("GET / HTTP/1.1\r\n\n", "a header without a colon"),
		REFUSED("GET / HTTP/1.1\r\na: b\n\r\n", "a line feed without a carriage return"),
		REFUSED("GET / HTTP/1.1\r\na: b\r\rc: d\r\n\r\n", "a carriage return without a line feed"),
		REFUSED("GET / HTTP/1.1\r\na: b\r\n\r\r\n", "a carriage return without a line feed"),
		REFUSED(ASK "content-length: 1x\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: -1\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: +1\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: \r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: 1,\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: ,1\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: 18446744073709551616\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: " ID64 ID64 "\r\n\r\na", "a content-length that is no number"),
		REFUSED(ASK "content-length: 1, 2\r\n\r\na", "two lengths of one body"),
		REFUSED(ASK "content-length: 1\r\ncontent-length: 0\r\n\r\na", "two lengths of one body"),
		REFUSED(ASK "transfer-encoding: gzip\r\n\r\na", "a request whose end cannot be known"),
		REFUSED(ASK "transfer-encoding: xchunked\r\n\r\na", "a request whose end cannot be known"),
		REFUSED(ASK "transfer-encoding:\r\ncontent-length: 1\r\n\r\na", "a request whose end cannot be known"),
		REFUSED(ASK "transfer-encoding: chunked, gzip\r\n\r\na", "a coding behind chunked"),
		REFUSED(ASK CHUNKED CHUNKED "\r\na", "a coding behind chunked"),
		{ { { '>', GET "GET\r\n" }, { '<', OK "content-length: 0\r\n\r\n" } },
		  " head END BAD a method with an odd character",
		  " 200 END" },
		{ { { '>', ASK CHUNKED "\r\n1\r\nab\r\n" }, { '<', OK "content-length: 0\r\n\r\n" } },
		  " head [a] BAD a chunk that is longer than its length",
		  " 200 END" },

		UNREADABLE("HTTP/1.1 \r\n\r\n", "a status that is no number"),
		UNREADABLE("HTTP/1.1 -1\r\n\r\n", "a status that is no number"),
		UNREADABLE("HTTP/1.1 2x0 OK\r\n\r\n", "a status that is no number"),
		UNREADABLE("HTTP/1.1 200 OK\n\r\n", "a line feed without a carriage return"),
		UNREADABLE("HTTP/1.1 200\n\r\n", "a status that is no number"),
		UNREADABLE("HTTP/1.1  200 OK\r\n\r\n", "a status that is no number"),
		UNREADABLE("ICY 200 OK\r\n\r\n", "a version that is not HTTP/1.0 or HTTP/1.1"),
		UNREADABLE(OK "transfer-encoding: chunked, gzip, chunked\r\n\r\n", "a coding behind chunked"),
		UNREADABLE(OK "transfer-encoding: " ID64 ID64 ", chunked\r\n\r\n",
			   "a transfer-encoding that is too long"),
		UNREADABLE(OK CHUNKED CHUNKED "\r\n", "a coding behind chunked"),
		UNREADABLE(OK "content-length: 5\r\nContent-Length: 6\r\n\r\nhello", "two lengths of one body"),

		CHUNK_BAD("x\r\n", " BAD a chunk's length that is no number"),
		CHUNK_BAD("\r\n", " BAD a chunk's length that is no number"),
		CHUNK_BAD(" 1\r\n", " BAD a chunk's length that is no number"),
		CHUNK_BAD("0x1\r\n", " BAD a chunk's length that is no number"),
		CHUNK_BAD("-1\r\n", " BAD a chunk's length that is no number"),
		CHUNK_BAD("1\na", " BAD a chunk's length that is no number"),
		CHUNK_BAD("1;a\na", " BAD a line feed without a carriage return"),
		CHUNK_BAD("1\rab", " BAD a carriage return without a line feed"),
		CHUNK_BAD("10000000000000000\r\n", " BAD a chunk that is too long"),
		CHUNK_BAD("ffffffffffffffff\r\nab", " [ab]"),
		CHUNK_BAD("1\r\nabc", " [a] BAD a chunk that is longer than its length"),
		CHUNK_BAD("1\r\na\n", " [a] BAD a chunk that is longer than its length"),
		CHUNK_BAD("1\r\na\rb", " [a] BAD a carriage return without a line feed"),
		CHUNK_BAD("0\r\na\r\n", " BAD a header without a colon"),
		CHUNK_BAD("0\r\na: c\n\r\n", " BAD a line feed without a carriage return"),
		CHUNK_BAD("0\r\n\rx", " BAD a carriage return without a line feed"),

		/* An answer to nothing. */
		{ { { '<', OK } }, "", " BAD an answer without a request" },
		{ { { '>', "GET / HTTP/1.1\r\n" }, { '<', "HTTP/1.1 408 Timeout\r\n\r\n" }, { '>', "\r\n" } },
		  " head END",
		  " BAD an answer without a request" },
		{ { { '>', GET }, { '<', OK "content-length: 1\r\n\r\nab" } },
		  " head END",
		  " 200 [a] END BAD an answer without a request" },
	};

	ROWS(rows);
}

static void idle(void)
{
	static const struct {
		char from;
		const char *bytes;
		bool idle;
	} steps[] = {
		{ '>', "", true },
		{ '>', "G", false },
		{ '>', "ET / HTTP/1.1\r\n\r\n", false },
		{ '<', OK "content-length: 1\r\n\r\n", false },
		{ '<', "x", true },
		{ '>', ASK "content-length: 2\r\n\r\na", false },
		{ '<', OK "content-length: 0\r\n\r\n", false },
		{ '>', "b", true },
		{ '>', GET, false },
		{ '<', "HTTP/1.1 101 Go\r\n\r\n", false },
		{ '>', "x", false },
	};
	static play p;

	memset(&p, 0, sizeof p);
	http_init(&p.flow);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		take_step(&p, steps[i].from, slice_cstr(steps[i].bytes));
		CHECK(http_idle(&p.flow) == steps[i].idle);
	}
}

int main(void)
{
	play_begin();
	RUN(framing);
	RUN(connections);
	RUN(heads);
	RUN(malformed);
	RUN(idle);
	return unit_end();
}
