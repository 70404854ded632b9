/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "decide/decision.h"

static void an_upstream_is_taken_apart(void)
{
	static const struct {
		const char *url, *backend, *for_messages, *for_other;
	} rows[] = {
		{ "https://Ollama.com/", "llm-ollama.com", "https://ollama.com/v1/messages", "https://ollama.com/x" },
		{ "https://x/v1", "llm-x_v1", "https://x/v1/messages", "https://x/v1/x" },
		{ "https://x/v1//", "llm-x_v1", "https://x/v1/messages", "https://x/v1/x" },
		{ "https://x/api", "llm-x_api", "https://x/api/v1/messages", "https://x/api/x" },
		{ "https://x/api/v1/", "llm-x_api_v1", "https://x/api/v1/messages", "https://x/api/v1/x" },
		{ "http://x", "llm-x:80", "http://x/v1/messages", "http://x/x" },
		{ "https://x:80", "llm-x:80-tls", "https://x:80/v1/messages", "https://x:80/x" },
		{ "http://[::1]:8001", "llm-::1:8001", "http://[::1]:8001/v1/messages", "http://[::1]:8001/x" },
		{ "https://x/a_b~c", "llm-x_a__b:c", "https://x/a_b~c/v1/messages", "https://x/a_b~c/x" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		upstream u;
		err e;
		char url[200];
		CHECK(upstream_parse(&u, slice_cstr(rows[i].url), &e));
		CHECK(u.backend && strcmp(u.backend, rows[i].backend) == 0);
		CHECK(backend_name_valid(slice_cstr(u.backend)));
		upstream_url_for(&u, SLICE("/v1/messages"), url, sizeof url);
		CHECK(strcmp(url, rows[i].for_messages) == 0);
		upstream_url_for(&u, SLICE("/x"), url, sizeof url);
		CHECK(strcmp(url, rows[i].for_other) == 0);
		upstream_deinit(&u);
	}
}

static void what_is_no_upstream_is_refused(void)
{
	static const char *const urls[] = {
		"",
		"x",
		"ftp://x",
		"https://",
		"https:///p",
		"https://user:pw@x",
		"https://x?q",
		"https://x#f",
		"https://x:0",
		"https://x:65536",
		"https://x:",
		"https://x:8a",
		"https://[::1",
		"https://[::1]x",
		"https://x/a//b",
		"https://x/../b",
		"https://x/.",
		"https://x/a b",
		"https://x/a\"b",
		"https://x/%41",
		"https://x/a\nb",
		"https://-x",
		"https://x y",
		"https://x/$A",
		"https://x/'",
		"https://[zz]",
		"https://10.0.0.1",
		"https://[::1]:8443",
	};
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		upstream u;
		err e = { 0 };
		CHECK(!upstream_parse(&u, slice_cstr(urls[i]), &e));
		CHECK(e.text[0] && !strstr(e.text, "pw"));
		CHECK(!u.url && !u.host && !u.base && !u.backend);
	}
}

static void a_credential_that_cannot_be_a_header_is_missing(void)
{
	static const struct {
		const char *value, *read;
	} rows[] = {
		{ "sk-1", "sk-1" }, { " sk-1 ", "sk-1" }, { "a b", "a b" },     { "", "" },       { "   ", "" },
		{ "\t", "" },       { "sk\n", "" },       { "sk\r\nx: y", "" }, { "s\x7fk", "" }, { "s\x01k", "" },
	};
	credential c = { .kind = AUTH_ENV, .source = strdup("UNIT_CREDENTIAL") };
	secret none = { 0 };
	const char *problem;

	CHECK(credential_read(&c, &none, &problem).len == 0 && problem);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		setenv("UNIT_CREDENTIAL", rows[i].value, 1);
		slice got = credential_read(&c, &none, &problem);
		CHECK(slice_eq(got, slice_cstr(rows[i].read)));
		CHECK((problem == NULL) == (got.len > 0));
	}
	char *big = malloc(CREDENTIAL_MAX + 2);
	CHECK(big);
	memset(big, 'k', CREDENTIAL_MAX + 1);
	big[CREDENTIAL_MAX + 1] = '\0';
	setenv("UNIT_CREDENTIAL", big, 1);
	CHECK(credential_read(&c, &none, &problem).len == 0 && problem);
	setenv("UNIT_CREDENTIAL", big + 1, 1);
	CHECK(credential_read(&c, &none, &problem).len == CREDENTIAL_MAX);
	free(big);
	credential_deinit(&c);
}

int main(void)
{
	RUN(an_upstream_is_taken_apart);
	RUN(what_is_no_upstream_is_refused);
	RUN(a_credential_that_cannot_be_a_header_is_missing);
	return unit_end();
}
