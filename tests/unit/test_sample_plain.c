/* SPDX-License-Identifier: MIT
 *
 * Whether a body is plain text: what plain_text() says, compared with a look at each byte. */
#include "unit.h"

#include "sample/model.h"
#include "sample/plain.h"

static const char dense[] = "ABCXYZabcxyz0189+/-_\\", other[] = " \"\n.,:;={}@[`\x01\x7f\xc3\xa9";

/* The longest run of bytes that base64 could be made of. */
static size_t longest(const char *s, size_t len)
{
	size_t most = 0, now = 0;

	for (size_t i = 0; i < len; i++) {
		now = strchr(dense, s[i]) ? now + 1 : 0;
		most = now > most ? now : most;
	}
	return most;
}

static bool sees(const char *s, size_t len, size_t head, size_t tail)
{
	return plain_text(slice_of(unit_guarded(s, head), head), slice_of(unit_guarded(s + len - tail, tail), tail),
			  len);
}

static size_t fill(char *s, size_t most)
{
	static const size_t runs[] = { 1, 3, 7, 39, 40, 41, 150, 199, 200, 201, 260 };
	size_t len = 0;

	while (len < most) {
		size_t run = runs[(size_t)rand() % (rand() % 8 ? 7 : sizeof runs / sizeof runs[0])];
		for (size_t i = 0; i < run && len < most; i++)
			s[len++] = dense[(size_t)rand() % (sizeof dense - 1)];
		for (size_t i = rand() % 30 ? 1 : 250; i > 0 && len < most; i--)
			s[len++] = other[(size_t)rand() % (sizeof other - 1)];
	}
	return len;
}

static void of_a_whole_body(void)
{
	char s[1500];

	srand(1);
	for (int n = 0; n < 2000; n++) {
		size_t len = fill(s, (size_t)rand() % sizeof s);
		CHECK(sees(s, len, len, 0) == (longest(s, len) < PLAIN_RUN));
	}
	memset(s, 'a', sizeof s);
	CHECK(sees(s, 199, 199, 0) && !sees(s, 200, 200, 0) && sees(s, 0, 0, 0));
}

/* HAProxy looks through what is between head and tail, and through PLAIN_SEAM bytes of each: together the two looks
 * miss no run. */
static void of_the_ends_of_a_body(void)
{
	char s[1500];
	int both = 0;

	srand(2);
	for (int n = 0; n < 6000; n++) {
		size_t len = fill(s, 600 + (size_t)rand() % 900), head = 50 + (size_t)rand() % 250,
		       tail = 50 + (size_t)rand() % 250;
		bool middle = longest(s + head - PLAIN_SEAM, len - head - tail + 2 * PLAIN_SEAM) < PLAIN_RUN;
		bool seen = sees(s, len, head, tail);
		CHECK(!seen || !middle || longest(s, len) < PLAIN_RUN);
		both += seen && middle;
	}
	CHECK(both > 300);
}

static void each_byte(void)
{
	for (int c = 0; c < 256; c++) {
		char s[PLAIN_RUN];
		bool is = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			  (c && strchr("+/-_\\", c));

		memset(s, 'a', sizeof s);
		s[77] = (char)c;
		CHECK(sees(s, sizeof s, sizeof s, 0) == !is);
	}
}

/* Only a body that is JSON, and not compressed, is plain. */
static void of_a_request(void)
{
	static const struct {
		const char *ctype, *cenc, *body;
		bool plain;
	} rows[] = {
		{ "application/json", "", "{\"model\":\"a\",\"stream\":true}", true },
		{ "Application/Json; charset=utf-8", "", "{\"model\":\"a\",\"stream\":true}", true },
		{ "application/json", "identity", "{\"model\":\"a\",\"stream\":true}", false },
		{ "text/plain", "", "{\"model\":\"a\",\"stream\":true}", false },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		slice body = slice_cstr(rows[i].body);
		model_sample s = { .path = SLICE("/v1/chat/completions"),
				   .ctype = slice_cstr(rows[i].ctype),
				   .cenc = slice_cstr(rows[i].cenc),
				   .body = body,
				   .buffered = body.len,
				   .length = body.len,
				   .sized = true };
		CHECK(model_plain(&s) == rows[i].plain);
	}
}

int main(void)
{
	RUN(of_a_whole_body);
	RUN(of_the_ends_of_a_body);
	RUN(each_byte);
	RUN(of_a_request);
	return unit_end();
}
