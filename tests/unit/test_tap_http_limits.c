/* SPDX-License-Identifier: MIT
 *
 * The follower of HTTP/1.1 exchanges: how much of a head, a chunk or a connection it takes. */
#include "tap_http_rig.h"

/* A request's head has HTTP_HEAD_MAX bytes at most. Other heads, trailers and a chunk's line have any length. */
static void limits(void)
{
	static const struct {
		const char *before, *begin, *end, *after; /* as many bytes as fit are put between begin and end */
		bool answer;
		const char *says, *says_over;
	} rows[] = {
		{ "", "GET /", " HTTP/1.1\r\nx-request-id: a\r\n\r\n", "", false, " head id=a END", " BAD" },
		{ "", "GET / HTTP/1.1\r\na: ", "\r\nx-request-id: a\r\n\r\n", "", false, " head id=a END", " BAD" },
		{ "", "GET / HTTP/1.1\r\na", ": b\r\nx-request-id: a\r\n\r\n", "", false, " head id=a END", " BAD" },
		{ "POST / HTTP/1.1\r\n" CHUNKED "\r\n0\r\n", "a: ", "\r\n\r\n", "", false, " head END", " head END" },
		{ "", "HTTP/1.1 200 ", "\r\n\r\n", "a", true, " 200 [a]", " 200 [a]" },
		{ OK CHUNKED "\r\n", "1;", "\r\n", "a\r\n0\r\n\r\n", true, " 200 [a] END", " 200 [a] END" },
		{ OK CHUNKED "\r\n", "000", "1\r\n", "a\r\n0\r\n\r\n", true, " 200 [a] END", " 200 [a] END" },
		{ OK CHUNKED "\r\n0\r\n", "a: 1\r\nb:", "\r\nc: d\r\n\r\n", "", true, " 200 END", " 200 END" },
	};
	static play p;
	static char text[ROOM];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		for (size_t over = 0; over < 2; over++) {
			for (size_t piece = 0; piece < 2; piece++) {
				size_t fill = HTTP_HEAD_MAX + over - strlen(rows[i].begin) - strlen(rows[i].end);
				int len = snprintf(text, sizeof text, "%s%s%0*d%s%s", rows[i].before, rows[i].begin,
						   (int)fill, 0, rows[i].end, rows[i].after);
				CHECK(len >= HTTP_HEAD_MAX && (size_t)len < sizeof text);
				step steps[] = { { '>', GET }, { '<', text }, { 0, NULL } };
				step asked[] = { { '>', text }, { 0, NULL } };
				play_steps(&p, rows[i].answer ? steps : asked, piece ? 1 : SIZE_MAX,
					   piece ? 1 : SIZE_MAX);
				const char *said = rows[i].answer ? p.answer : p.request;
				const char *says = over ? rows[i].says_over : rows[i].says;
				bool ok = over ? strncmp(said, says, strlen(says)) == 0 : strcmp(said, says) == 0;
				CHECK(ok);
				if (!ok)
					printf("  row %zu, %zu over: %s\n", i, over, said);
			}
		}
	}
}

/* Chunks and 1xx answers without end need no more than what one may have. */
static void endless(void)
{
	static play p;
	bool ended = false;

	memset(&p, 0, sizeof p);
	http_init(&p.flow);
	give_request(&p, SLICE(GET));
	for (int i = 0; i < 10000; i++)
		(void)give(&p, true, SLICE("HTTP/1.1 103 Early Hints\r\nlink: </x>; rel=preload\r\n\r\n"), &ended);
	(void)give(&p, true, SLICE(OK CHUNKED "\r\n"), &ended);
	for (int i = 0; i < 10000; i++)
		(void)give(&p, true, SLICE("1;some=extension\r\na\r\n"), &ended);
	CHECK(strncmp(p.answer, " 200 [aaa", 9) == 0 && !ended);
	(void)give(&p, true, SLICE("0\r\n\r\n"), &ended);
	CHECK(ended);
}

int main(void)
{
	play_begin();
	RUN(limits);
	RUN(endless);
	return unit_end();
}
