/* SPDX-License-Identifier: MIT
 *
 * Two configurations that decide alike have the same hash, and each difference in what decides gives another one. */
#include "unit.h"

#include <unistd.h>

#include "config/clients.h"
#include "config/config.h"
#include "decide/settings_hash.h"

/* The hash of the clients in `text`; "" for a text that cannot be read. */
static const char *clients(const char *text, char hash[SETTINGS_HASH_LEN + 1])
{
	err_list all = { .items = NULL };
	err e = { 0 };
	client_table *t = clients_parse("f", text, &all, &e);

	*hash = '\0';
	if (t)
		settings_hash_clients(t, hash);
	else
		printf("  %s: %s\n", text, all.count ? all.items[0].text : e.text);
	client_table_unref(t);
	err_list_deinit(&all);
	return hash;
}

#define KEY(first) "{\"sha256\": \"" first "0112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\""
#define CLIENT(name, members) "{\"name\": \"" name "\", \"keys\": [" KEY("0") "}, " KEY("1") "}]" members "}"
#define FILE_OF(members) "{\"clients\": [" members "]}"

static void clients_that_mean_the_same(void)
{
	static const char *const same[][2] = {
		{ FILE_OF(CLIENT("a", "") ", {\"name\": \"b\"}"), FILE_OF("{\"name\": \"b\"}, " CLIENT("a", "")) },
		{ FILE_OF("{\"name\": \"a\", \"keys\": [" KEY("0") "}, " KEY("1") "}]}"),
		  FILE_OF("{\"keys\": [" KEY("1") "}, " KEY("0") "}], \"name\": \"a\"}") },
		{ FILE_OF("{\"name\": \"a\", \"models\": [\"x\", \"y\"], \"routes\": [\"*\"]}"),
		  FILE_OF("{\"name\": \"a\", \"models\": [\"y\", \"x\"], \"enabled\": true}") },
		{ FILE_OF("{\"name\": \"a\", \"budget\": {\"usd\": \"5.00\", \"per\": \"day\"}}"),
		  FILE_OF("{\"name\": \"a\", \"budget\": {\"per\": \"day\", \"usd\": 5}}") },
		{ "{\"clients\": [{\"name\": \"a\", \"project\": \"p\"}], \"projects\": [{\"name\": \"p\"}]}",
		  FILE_OF("{\"name\": \"a\", \"project\": \"p\"}") },
	};
	char one[SETTINGS_HASH_LEN + 1], other[SETTINGS_HASH_LEN + 1];

	for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
		bool equal = strcmp(clients(same[i][0], one), clients(same[i][1], other)) == 0 && *one;
		if (!equal)
			printf("  %s\n  %s\n", same[i][0], same[i][1]);
		CHECK(equal);
	}
}

static void clients_that_differ(void)
{
	static const char *const files[] = {
		FILE_OF(""),
		FILE_OF(CLIENT("a", "")),
		FILE_OF(CLIENT("b", "")),
		FILE_OF("{\"name\": \"a\"}"),
		FILE_OF("{\"name\": \"a\", \"keys\": [" KEY("0") "}]}"),
		FILE_OF("{\"name\": \"a\", \"keys\": [" KEY("0") ", \"expires_at\": \"2027-01-01T00:00:00Z\"}]}"),
		/* Keys that two clients have the other way round. */
		FILE_OF("{\"name\": \"a\", \"keys\": [" KEY("0") "}]}, {\"name\": \"b\", \"keys\": [" KEY("1") "}]}"),
		FILE_OF("{\"name\": \"a\", \"keys\": [" KEY("1") "}]}, {\"name\": \"b\", \"keys\": [" KEY("0") "}]}"),
		FILE_OF(CLIENT("a", ", \"project\": \"p\"")),
		FILE_OF(CLIENT("a", ", \"models\": []")),
		FILE_OF(CLIENT("a", ", \"models\": [\"x\"]")),
		FILE_OF(CLIENT("a", ", \"routes\": [\"x\"]")),
		FILE_OF(CLIENT("a", ", \"requests_per_minute\": 1")),
		FILE_OF(CLIENT("a", ", \"parallel\": 1")),
		FILE_OF(CLIENT("a", ", \"tokens_per_minute\": 1")),
		FILE_OF(CLIENT("a", ", \"budget\": {\"usd\": 1, \"per\": \"day\"}")),
		FILE_OF(CLIENT("a", ", \"budget\": {\"usd\": 1, \"per\": \"week\"}")),
		FILE_OF(CLIENT("a", ", \"budget\": {\"usd\": 2, \"per\": \"day\"}")),
		FILE_OF(CLIENT("a", ", \"budget\": {\"usd\": 2, \"per\": \"day\"}, \"allow_unpriced\": true")),
		FILE_OF(CLIENT("a", ", \"enabled\": false")),
		"{\"clients\": [" CLIENT("a", "") "], \"projects\": [{\"name\": \"p\", \"tokens_per_minute\": 7}]}",
	};
	enum { COUNT = sizeof files / sizeof files[0] };
	char hashes[COUNT + 1][SETTINGS_HASH_LEN + 1];

	settings_hash_clients(NULL, hashes[COUNT]);
	for (size_t i = 0; i < COUNT; i++) {
		CHECK(*clients(files[i], hashes[i]));
		CHECK(strcmp(hashes[i], hashes[COUNT]) != 0);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(hashes[i], hashes[k]) == 0)
				printf("  %s\n  %s\n", files[i], files[k]);
			CHECK(strcmp(hashes[i], hashes[k]) != 0);
		}
	}
}

static const char *routes(const char *members, char hash[SETTINGS_HASH_LEN + 1])
{
	char path[] = "/tmp/settings-hash-XXXXXX", text[2048];
	int fd = mkstemp(path);
	config c;
	err e = { 0 };

	*hash = '\0';
	int len = snprintf(text, sizeof text, "{%s}", members);
	CHECK(fd >= 0 && write(fd, text, (size_t)len) == len);
	if (config_load(&c, path, NULL, 0, &e))
		settings_hash_routes(c.table, hash);
	else
		printf("  %s: %s\n", members, e.text);
	config_deinit(&c);
	close(fd);
	unlink(path);
	return hash;
}

#define ROUTE(members) \
	"\"routes\": [{\"model_prefix\": \"a\", \"name\": \"a\", \"upstream\": \"https://a.example\"" members "}]"
#define POOL(more, member) \
	"\"routes\": [{\"model_prefix\": \"a\", \"name\": \"a\", \"pool\": [{\"upstream\": \"https://a.example\", \"name\": \"x\"}," \
	" {\"upstream\": \"https://b.example\", \"name\": \"y\"" member "}]" more "}]"

static void routes_that_differ(void)
{
	static const char *const files[] = {
		"\"routes\": []",
		ROUTE(""),
		"\"routes\": [{\"model_prefix\": \"b\", \"name\": \"a\", \"upstream\": \"https://a.example\"}]",
		"\"routes\": [{\"model_prefix\": \"a\", \"name\": \"b\", \"upstream\": \"https://a.example\"}]",
		"\"routes\": [{\"model_prefix\": \"a\", \"name\": \"a\", \"upstream\": \"https://a.example/x\"}]",
		ROUTE(", \"protocol\": \"anthropic\""),
		ROUTE(", \"auth\": \"env:A\""),
		ROUTE(", \"auth\": \"env:B\""),
		ROUTE(", \"auth\": \"file:/A\""),
		ROUTE(", \"auth\": \"env:A\", \"auth_header\": \"x-api-key\""),
		ROUTE(", \"auth\": \"env:A\", \"paths\": [\"/v1/files\"]"),
		ROUTE(", \"auth\": \"env:A\", \"paths\": [\"GET /v1/files\"]"),
		ROUTE(", \"auth\": \"env:A\", \"forward_headers\": [\"x-a\"]"),
		ROUTE(", \"path_prefix\": \"/v1\""),
		ROUTE(", \"reference_model\": \"b\""),
		ROUTE(", \"models\": [\"a-1\"]"),
		ROUTE(", \"require_stream_usage\": true"),
		ROUTE(", \"timeout\": 7"),
		ROUTE(", \"max_connections\": 7"),
		ROUTE("") ", \"openai_target\": \"https://c.example\"",
		ROUTE("") ", \"require_client\": true, \"clients\": \"/dev/null\"",
		POOL("", ""),
		POOL("", ", \"weight\": 2"),
		POOL("", ", \"timeout\": 3"),
		POOL(", \"retry_on\": [429]", ""),
		/* The order of routes counts. */
		"\"routes\": [{\"model_prefix\": \"a\", \"name\": \"a\"}, {\"model_prefix\": \"b\", \"name\": \"b\"}]",
		"\"routes\": [{\"model_prefix\": \"b\", \"name\": \"b\"}, {\"model_prefix\": \"a\", \"name\": \"a\"}]",
	};
	enum { COUNT = sizeof files / sizeof files[0] };
	char hashes[COUNT][SETTINGS_HASH_LEN + 1], again[SETTINGS_HASH_LEN + 1];

	for (size_t i = 0; i < COUNT; i++) {
		CHECK(*routes(files[i], hashes[i]));
		CHECK(strcmp(hashes[i], routes(files[i], again)) == 0);
		for (size_t k = 0; k < i; k++) {
			if (strcmp(hashes[i], hashes[k]) == 0)
				printf("  %s\n  %s\n", files[i], files[k]);
			CHECK(strcmp(hashes[i], hashes[k]) != 0);
		}
	}
}

static void routes_that_mean_the_same(void)
{
	char one[SETTINGS_HASH_LEN + 1], other[SETTINGS_HASH_LEN + 1];

	CHECK(strcmp(routes(ROUTE(", \"auth\": \"env:A\""), one),
		     routes("\"admin_listen\": \"127.0.0.1:9\", \"routes\": [{\"upstream\": \"https://a.example/\", \"auth\": \"env:A\", \"name\": \"a\","
			    " \"model_prefix\": \"A\"}, {\"model_prefix\": \"b\", \"enabled\": false}]",
			    other)) == 0);
	/* The credential itself is no part of it. */
	setenv("A", "sk-1", 1);
	routes(ROUTE(", \"auth\": \"env:A\""), one);
	setenv("A", "sk-2", 1);
	CHECK(strcmp(routes(ROUTE(", \"auth\": \"env:A\""), other), one) == 0);
}

int main(void)
{
	RUN(clients_that_mean_the_same);
	RUN(clients_that_differ);
	RUN(routes_that_differ);
	RUN(routes_that_mean_the_same);
	return unit_end();
}
