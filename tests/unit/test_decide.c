/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "base/clock.h"
#include "decide/backend_name.h"
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
		{ "https://x/api/paas/v4", "llm-x_api_paas_v4", "https://x/api/paas/v4/messages",
		  "https://x/api/paas/v4/x" },
		{ "https://x/v1beta/openai", "llm-x_v1beta_openai", "https://x/v1beta/openai/messages",
		  "https://x/v1beta/openai/x" },
		{ "https://x/v1/a/b/compat", "llm-x_v1_a_b_compat", "https://x/v1/a/b/compat/messages",
		  "https://x/v1/a/b/compat/x" },
		{ "https://x/v1.1", "llm-x_v1.1", "https://x/v1.1/messages", "https://x/v1.1/x" },
		{ "https://x/v2alpha1", "llm-x_v2alpha1", "https://x/v2alpha1/messages", "https://x/v2alpha1/x" },
		{ "https://x/openai", "llm-x_openai", "https://x/openai/v1/messages", "https://x/openai/x" },
		{ "https://x/v1/proxy", "llm-x_v1_proxy", "https://x/v1/proxy/v1/messages", "https://x/v1/proxy/x" },
		{ "https://x/v", "llm-x_v", "https://x/v/v1/messages", "https://x/v/x" },
		{ "https://x/v.1", "llm-x_v.1", "https://x/v.1/v1/messages", "https://x/v.1/x" },
		{ "https://x/vision", "llm-x_vision", "https://x/vision/v1/messages", "https://x/vision/x" },
		{ "https://x/v1gamma", "llm-x_v1gamma", "https://x/v1gamma/v1/messages", "https://x/v1gamma/x" },
		{ "https://x/api/v1/", "llm-x_api_v1", "https://x/api/v1/messages", "https://x/api/v1/x" },
		{ "http://x", "llm-x:80", "http://x/v1/messages", "http://x/x" },
		{ "https://x:80", "llm-x:80-tls", "https://x:80/v1/messages", "https://x:80/x" },
		{ "https://x:8443/v1", "llm-x:8443-tls_v1", "https://x:8443/v1/messages", "https://x:8443/v1/x" },
		{ "http://[::1]:8001", "llm-::1:8001", "http://[::1]:8001/v1/messages", "http://[::1]:8001/x" },
		{ "https://[::1]/a", "llm-::1:443-tls_a", "https://[::1]/a/v1/messages", "https://[::1]/a/x" },
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

/* The name of a backend stands for one upstream, so that a HAProxy whose files differ from the agent's refuses instead
 * of sending a credential to another upstream. */
static void no_two_upstreams_have_one_name(void)
{
	static const struct {
		const char *url, *host; /* NULL: the name does not tell the host */
		uint16_t port;
	} rows[] = {
		{ "https://a", "a", 443 },
		{ "http://a", "a", 80 },
		{ "https://a:80", "a", 80 },
		{ "http://a:443", "a", 443 },
		{ "https://a:8443", "a", 8443 },
		{ "http://a:8443", "a", 8443 },
		{ "https://a_/b", NULL, 0 },
		{ "https://a/_b", NULL, 0 },
		{ "https://a/b_/c", NULL, 0 },
		{ "https://a/b/_c", NULL, 0 },
		{ "https://a_b", "a_b", 443 },
		{ "https://a/b", "a", 443 },
		{ "https://a_b:81/c_d", "a_b", 81 },
		{ "https://[::1:8001]", "::1:8001", 443 },
		{ "http://[::1]:8001", "::1", 8001 },
		{ "https://[::1]:8001", "::1", 8001 },
		{ "https://[::1:443]", "::1:443", 443 },
		{ "https://[::1]", "::1", 443 },
		{ "https://a-pool", "a-pool", 443 },
		{ "https://a/b-pool", "a", 443 },
		{ "https://a/v1", "a", 443 },
		{ "https://a/v1-keep-v1", "a", 443 },
		{ "https://a-strip-v1", "a-strip-v1", 443 },
		{ "https://a-keep-v1", "a-keep-v1", 443 },
		{ "https://a-set-0123abcd", "a-set-0123abcd", 443 },
		{ "https://a-fwd-0123abcd", "a-fwd-0123abcd", 443 },
		{ "https://a-url-0123456789abcdef", "a-url-0123456789abcdef", 443 },
	};
	/* What is added to the name for a route's settings: nothing, what upstream_set_strip_v1() adds by itself, and
	 * others. */
	static const char *const added[] = { "", "", "-pool", "-set-0123abcd", "-fwd-0123abcd", "-pool-set-0123abcd" };
	enum { ROWS = sizeof rows / sizeof rows[0], ADDED = sizeof added / sizeof added[0] };
	static char names[ROWS * ADDED][300];
	size_t n = 0;

	for (size_t i = 0; i < ROWS; i++) {
		for (size_t k = 0; k < ADDED; k++, n++) {
			upstream u;
			err e;
			char host[UPSTREAM_HOST_MAX + 1];
			uint16_t port = 0;
			CHECK(upstream_parse(&u, slice_cstr(rows[i].url), &e));
			CHECK(k != 1 || upstream_set_strip_v1(&u, !u.strip_v1));
			snprintf(names[n], sizeof names[n], "%s%s", u.backend, added[k]);
			bool known = backend_name_server(slice_cstr(names[n]), host, &port);
			CHECK(known == (rows[i].host != NULL));
			CHECK(!known || (strcmp(host, rows[i].host) == 0 && port == rows[i].port));
			upstream_deinit(&u);
			for (size_t j = 0; j < n; j++)
				CHECK(strcmp(names[n], names[j]) != 0);
		}
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
	};
	for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
		upstream u;
		err e = { 0 };
		CHECK(!upstream_parse(&u, slice_cstr(urls[i]), &e));
		CHECK(e.text[0] && !strstr(e.text, "pw"));
		CHECK(!u.url && !u.host && !u.base && !u.backend);
	}
}

static void a_certificate_is_verified_by_a_name(void)
{
	static const struct {
		const char *url, *sni;
		bool verifiable;
	} rows[] = {
		{ "https://10.0.0.1", NULL, false },    { "https://[::1]:8443", NULL, false },
		{ "https://10.0.0.1", "a.test", true }, { "https://[::1]:8443", "a.test", true },
		{ "https://a.test", NULL, true },       { "http://10.0.0.1", NULL, true },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		upstream u;
		err e = { 0 };
		CHECK(upstream_parse(&u, slice_cstr(rows[i].url), &e));
		CHECK(upstream_verifiable(&u, rows[i].sni, &e) == rows[i].verifiable);
		CHECK(!e.text[0] == rows[i].verifiable);
		upstream_deinit(&u);
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
	const char *problem;
	secret s;

	secret_variable(&s, c.source);
	CHECK(credential_read(&c, &s, &problem).len == 0 && problem);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		setenv("UNIT_CREDENTIAL", rows[i].value, 1);
		secret_variable(&s, c.source);
		slice got = credential_read(&c, &s, &problem);
		CHECK(slice_eq(got, slice_cstr(rows[i].read)));
		CHECK((problem == NULL) == (got.len > 0));
	}
	char *big = malloc(CREDENTIAL_MAX + 2);
	CHECK(big);
	memset(big, 'k', CREDENTIAL_MAX + 1);
	big[CREDENTIAL_MAX + 1] = '\0';
	setenv("UNIT_CREDENTIAL", big, 1);
	secret_variable(&s, c.source);
	CHECK(credential_read(&c, &s, &problem).len == 0 && problem);
	setenv("UNIT_CREDENTIAL", big + 1, 1);
	secret_variable(&s, c.source);
	CHECK(credential_read(&c, &s, &problem).len == CREDENTIAL_MAX);
	secret_deinit(&s); /* the environment's stays */
	CHECK(strlen(getenv("UNIT_CREDENTIAL")) == CREDENTIAL_MAX);
	free(big);
	credential_deinit(&c);
}

/* What a file holds, and the credential that is taken from it; NULL: none, for a reason that has these words in it. */
static void a_file_is_a_credential_or_json(void)
{
	static const struct {
		const char *text, *token, *why;
		int64_t expires_ms; /* 0: it does not say */
	} rows[] = {
		{ "sk-1", "sk-1", NULL, 0 },
		{ " sk-1 \r\n", "sk-1", NULL, 0 },
		{ "[1]", "[1]", NULL, 0 },
		{ "sk{\"token\":\"a\"}", "sk{\"token\":\"a\"}", NULL, 0 },
		{ "{\"token\":\"a\"}", "a", NULL, 0 },
		{ "\xef\xbb\xbf {\"token\":\"a\"}", "a", NULL, 0 },
		{ "\xef\xbb\xbfkey\r\n", "key", NULL, 0 },
		{ "\xef\xbb\xbf", NULL, "empty", 0 },
		{ "{\"token\":\"a\",\"expires_at\":\"1970-01-01T00:00:01Z\"}", "a", NULL, 1000 },
		{ "\xef\xbb\xbf \n{ \"expires_at\" : \"2026-11-29T01:23:45.678+01:00\",\r\n\"token\":\" \\u0061\\/b \" }\n\n",
		  "a/b", NULL, INT64_C(1795911825678) },
		{ "{\"token\":\"a\",\"expires_at\":null}", NULL, "expires_at", 0 },
		{ "{\"token\":\"a\",\"expires_at\":1795911825}", NULL, "expires_at", 0 },
		{ "{\"token\":\"a\",\"expires_at\":\"2026-11-29T01:23:45\"}", NULL, "expires_at", 0 },
		{ "{\"token\":\"a\",\"expires_at\":\"\"}", NULL, "expires_at", 0 },
		{ "{\"expires_at\":\"2026-11-29T01:23:45Z\",\"token\":\"a\",\"expires_at\":\"2036-11-29T01:23:45Z\"}",
		  NULL, "twice", 0 },
		{ "{\"token\":\"a\",\"token\":\"b\"}", NULL, "twice", 0 },
		{ "{\"token\":\"a\",\"expiresAt\":\"2026-11-29T01:23:45Z\"}", NULL, "another member", 0 },
		{ "{\"Token\":\"a\"}", NULL, "another member", 0 },
		{ "{\"access_token\":\"a\",\"expires_in\":3599}", NULL, "another member", 0 },
		{ "{\"expires_at\":\"2026-11-29T01:23:45Z\"}", NULL, "no \"token\"", 0 },
		{ "{}", NULL, "no \"token\"", 0 },
		{ "{\"token\":7}", NULL, "\"token\"", 0 },
		{ "{\"token\":\"\"}", NULL, "\"token\"", 0 },
		{ "{\"token\":\"  \"}", NULL, "empty", 0 },
		{ "{\"token\":\"a\\u0000b\"}", NULL, "control", 0 },
		{ "{\"token\":\"a\\nb\"}", NULL, "control", 0 },
		{ "{\"token\":\"a\\ud800\"}", NULL, "\"token\"", 0 },
		{ "{\"token\":\"a\"", NULL, "JSON object", 0 },
		{ "{\"token\":\"a\"}}", NULL, "JSON object", 0 },
		{ "{\"token\":\"a\"}\n{\"token\":\"a\"}", NULL, "JSON object", 0 },
		{ "{token:a}", NULL, "JSON object", 0 },
		{ "{", NULL, "JSON object", 0 },
		{ "", NULL, "empty", 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		secret s;
		size_t len = strlen(rows[i].text);
		secret_take(&s, slice_of((const char *)unit_guarded(rows[i].text, len), len));
		bool right = rows[i].token ? s.value && strcmp(s.value, rows[i].token) == 0 && !s.problem :
					     !s.value && s.problem && strstr(s.problem, rows[i].why);
		if (!right)
			printf("%s: %s, %s\n", rows[i].text, s.value, s.problem);
		CHECK(right);
		CHECK(s.expires == (rows[i].expires_ms != 0) && (!s.expires || s.expires_ms == rows[i].expires_ms));
		secret_deinit(&s);
	}
}

static void a_credential_ends_when_its_file_says_so(void)
{
	credential c = { .kind = AUTH_FILE };
	secret s = { .value = strdup("a"), .len = 1, .expires = true };
	int64_t now = clock_wall_ms();
	const char *problem;

	s.expires_ms = now + 60000;
	CHECK(credential_read(&c, &s, &problem).len == 1 && !problem);
	CHECK(secret_ends_soon(&s, s.expires_ms - CREDENTIAL_SOON_MS));
	CHECK(!secret_ends_soon(&s, s.expires_ms - CREDENTIAL_SOON_MS - 1));
	s.expires_ms = now;
	CHECK(credential_read(&c, &s, &problem).len == 0 && problem && strstr(problem, "expired"));
	s.expires = false;
	CHECK(credential_read(&c, &s, &problem).len == 1 && !problem);
	CHECK(!secret_ends_soon(&s, now));
	secret_deinit(&s);
}

int main(void)
{
	RUN(an_upstream_is_taken_apart);
	RUN(no_two_upstreams_have_one_name);
	RUN(what_is_no_upstream_is_refused);
	RUN(a_certificate_is_verified_by_a_name);
	RUN(a_credential_that_cannot_be_a_header_is_missing);
	RUN(a_file_is_a_credential_or_json);
	RUN(a_credential_ends_when_its_file_says_so);
	return unit_end();
}
