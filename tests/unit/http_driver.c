/* SPDX-License-Identifier: MIT
 *
 * Follows connections that come on stdin, one line each on stdout, for tests/blackbox/test_tap_http.py.
 *
 * A connection is a list of steps: one byte, four bytes of length (little-endian), and the bytes. The byte is '>' for
 * what the client sends, '<' for what the upstream sends, '.' for the upstream's end, and '!' for the connection's end.
 * ';' gives the bytes of requests that had to wait to the follower again.
 *
 * A line is what was said of requests, a '|', and what was said of answers. Of a head are said id and leg, or status,
 * type and coding; bodies (B) and tunnels (T) are in hex. */
#include "tap/http.h"

#include <stdio.h>
#include <stdlib.h>

#include "driver.h"

static http_flow flow;
static FILE *said[2];
static char *texts[2];
static size_t lengths[2];
static char in_body[2]; /* 'B' or 'T': its bytes are being written */
static bool failed[2];
static char *waits;
static size_t waits_len;

static void say_bytes(int to, char kind, slice bytes)
{
	if (in_body[to] != kind)
		fprintf(said[to], " %c ", kind);
	in_body[to] = kind;
	for (size_t i = 0; i < bytes.len; i++)
		fprintf(said[to], "%02x", (unsigned char)bytes.ptr[i]);
}

static void say(int to, const char *what)
{
	fprintf(said[to], " %s", what);
	in_body[to] = '\0';
}

/* Returns the bytes that have to wait. */
static slice give(int to, slice in)
{
	while (!failed[to]) {
		http_event e = to ? http_answer_next(&flow, &in) : http_request_next(&flow, &in);
		if (e.type == HTTP_MORE || e.type == HTTP_WAIT)
			return in;
		if (e.type == HTTP_BODY || e.type == HTTP_BLIND)
			say_bytes(to, e.type == HTTP_BODY ? 'B' : 'T', e.bytes);
		if (e.type == HTTP_END)
			say(to, "END");
		if (e.type == HTTP_BAD)
			say(to, "BAD");
		failed[to] = e.type == HTTP_BAD;
		if (e.type == HTTP_HEAD) {
			say(to, "HEAD");
			if (to)
				fprintf(said[1], " %u %s,%s", flow.status, flow.type, flow.coding);
			else
				fprintf(said[0], " %s,%s", flow.id, flow.leg);
		}
	}
	return slice_of(NULL, 0);
}

static void give_request(slice bytes)
{
	char *all = malloc(waits_len + bytes.len + 1);

	if (!all)
		exit(2);
	if (waits_len)
		memcpy(all, waits, waits_len);
	if (bytes.len)
		memcpy(all + waits_len, bytes.ptr, bytes.len);
	slice rest = give(0, slice_of(all, waits_len + bytes.len));
	free(waits);
	waits = malloc(rest.len + 1);
	if (!waits)
		exit(2);
	if (rest.len)
		memcpy(waits, rest.ptr, rest.len);
	waits_len = rest.len;
	free(all);
}

static void begin(void)
{
	http_init(&flow);
	waits_len = 0;
	for (int i = 0; i < 2; i++) {
		free(texts[i]);
		said[i] = open_memstream(&texts[i], &lengths[i]);
		if (!said[i])
			exit(2);
		in_body[i] = '\0';
		failed[i] = false;
	}
}

int main(void)
{
	char what;

	begin();
	while (driver_need(&what, 1)) {
		slice bytes = driver_text();
		if (what == '>')
			give_request(bytes);
		else if (what == '<')
			(void)give(1, bytes);
		else if (what == ';')
			give_request(slice_of(NULL, 0));
		else if (what == '.' && !failed[1])
			switch ((int)http_answer_eof(&flow)) {
			case HTTP_END:
				say(1, "END");
				break;
			case HTTP_MORE:
				say(1, "IDLE");
				break;
			default:
				say(1, "CUT");
			}
		if (what == '!') {
			fclose(said[0]);
			fclose(said[1]);
			printf("%s |%s\n", texts[0], texts[1]);
			begin();
		}
		free((void *)(uintptr_t)bytes.ptr);
	}
	fclose(said[0]);
	fclose(said[1]);
	free(texts[0]);
	free(texts[1]);
	free(waits);
	return 0;
}
