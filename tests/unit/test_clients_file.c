/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "config/clients.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
#define HASH2 "10112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static client_table *parse(const char *text, err_list *all)
{
	err e = { 0 };

	*all = (err_list){ .items = NULL };
	client_table *t = clients_parse("f", text, all, &e);
	CHECK(!t == (all->count > 0));
	return t;
}

static void a_whole_file_is_read(void)
{
	err_list all;
	client_table *t = parse(
		"{\"clients\": [{\"name\": \"alice\", \"project\": \"search\", \"keys\": [{\"sha256\": \"" HASH
		"\", \"expires_at\": \"2027-01-01T00:00:00Z\"}, {\"sha256\": \"" HASH2
		"\"}], \"models\": [\"gpt-*\", \"Claude-5\"], \"routes\": [\"gpt\"], \"requests_per_minute\": 60, "
		"\"parallel\": 10, \"tokens_per_minute\": 1e5, \"budget\": {\"usd\": \"12.500000001\", \"per\": \"week\"}, "
		"\"allow_unpriced\": true, \"enabled\": false}, {\"name\": \"b\\u00f6b\", \"project\": \"other\", \"models\": []},"
		" {\"name\": \"c\", \"models\": [\"a\", \"*\"], \"routes\": [\"*\"]}],"
		" \"projects\": [{\"name\": \"search\", \"budget\": {\"usd\": 0.5, \"per\": \"month\"}, \"tokens_per_minute\": 7}]}",
		&all);

	if (!t) {
		printf("  %s\n", all.count ? all.items[0].text : "");
		CHECK(t);
		return;
	}
	const client *a = &t->clients[0], *b = &t->clients[1], *c = &t->clients[2];
	CHECK(t->count == 3 && t->keys_count == 2 && t->projects_count == 2);
	CHECK(strcmp(a->name, "alice") == 0 && strcmp(a->project, "search") == 0 && a->project_at == 0);
	CHECK(a->first_key == 0 && a->keys_count == 2 && t->keys[0].expires_ms == 1798761600000 &&
	      t->keys[1].expires_ms == KEY_FOR_EVER && t->keys[1].client == 0);
	CHECK(a->models_count == 2 && strcmp(a->models[1], "Claude-5") == 0 && a->routes_count == 1);
	CHECK(a->requests_per_minute == 60 && a->parallel == 10 && a->limits.tokens_per_minute == 100000);
	CHECK(a->limits.budget_nano == INT64_C(12500000001) && a->limits.period == BUDGET_WEEK && a->allow_unpriced &&
	      !a->enabled);
	CHECK(strcmp(b->name, "b\303\266b") == 0 && b->project_at == 1 && b->models && b->models_count == 0 &&
	      b->enabled && b->limits.budget_nano == BUDGET_NONE && b->keys_count == 0);
	CHECK(!c->models && !c->routes && c->project_at == NO_PROJECT);
	CHECK(t->projects[0].listed && t->projects[0].limits.budget_nano == 500000000 &&
	      t->projects[0].limits.tokens_per_minute == 7 && !t->projects[1].listed &&
	      strcmp(t->projects[1].name, "other") == 0);
	key_problem why;
	unsigned char hash[CLIENT_HASH_LEN];
	CHECK(client_hash(SLICE(HASH2), hash) && !client_find(t, hash, 0, &why) && why == KEY_DISABLED);
	client_table_unref(t);
}

#define ONE(members) "{\"clients\": [{\"name\": \"a\", " members "}]}"
#define KEYS(keys) ONE("\"keys\": [" keys "]")

static void a_mistake_is_said_with_its_place(void)
{
	static const struct {
		const char *text, *said;
	} rows[] = {
		{ "", "f:1:1: the file of clients must be a JSON object" },
		{ "[]", "f:1:1: the file of clients must be a JSON object" },
		{ "{}", "f:1:1: the file of clients needs \"clients\"" },
		{ "{\"clients\": []", "f:1:15: this is not valid JSON: the text ends here" },
		{ "{\"clients\": []} x", "f:1:17: this is not valid JSON" },
		{ "{\"clients\": [],}", "f:1:16: this is not valid JSON" },
		{ "{\"clients\": [],\n \"client\": []}",
		  "f:2:2: the file of clients has no \"client\"; is \"clients\" meant? It has clients, projects" },
		{ "{\"clients\": [],\n \"budget\": []}",
		  "f:2:2: the file of clients has no \"budget\"; it has clients, projects" },
		{ "{\"clients\": {}}", "f:1:13: an array of clients is expected" },
		{ "{\"clients\": [1]}", "f:1:14: a client must be an object" },
		{ "{\"clients\": [{}]}", "f:1:14: a client needs \"name\"" },
		{ "{\"clients\": [{\"name\": \"a\", \"name\": \"b\"}]}", "f:1:28: \"name\" is given twice" },
		{ "{\"clients\": [{\"name\": \"a\", \"na\\u006de\": \"b\"}]}", "f:1:28: \"name\" is given twice" },
		{ "{\"clients\": [{\"name\": \"a\"},\n{\"name\": \"b\"},\n {\"name\": \"a\"}]}",
		  "f:3:2: the client \"a\" stands in line 1 already" },
		{ "{\"clients\": [], \"projects\": [{\"name\": \"p\"},\n{\"name\": \"p\"}]}",
		  "f:2:1: the project \"p\" stands in line 1 already" },
		{ KEYS("{\"sha256\": \"" HASH "\"}"), NULL },
		{ KEYS("{\"sha256\": \"" HASH "\"},\n{\"sha256\": \"" HASH "\"}"),
		  "f:2:1: a key with this sha256 stands in line 1 already" },
		{ "\xef\xbb\xbf{\"clients\": []}", NULL }, /* a byte order mark */
		{ "\xef\xbb{\"clients\": []}", "f:1:1: the file of clients must be a JSON object" },
		{ KEYS("{\"sha256\": \"12\"}"), "f:1:48: 64 hexadecimal digits are expected" },
		{ KEYS("{\"sha256\": \"sk-spoa-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}"),
		  "f:1:48: 64 hexadecimal digits are expected" },
		{ KEYS("{}"), "f:1:37: a key needs \"sha256\"" },
		{ KEYS("{\"sha256\": \"" HASH "\", \"expires_at\": \"2027-01-01\"}"), "a time with its offset" },
		{ ONE("\"keys\": {}"), "an array of keys is expected" },
		{ ONE("\"enabled\": 1"), "f:1:39: true or false is expected" },
		{ ONE("\"parallel\": 0"), "a whole number from 1 to 1000000000 is expected" },
		{ ONE("\"parallel\": 1.5"), "a whole number" },
		{ ONE("\"tokens_per_minute\": 1000000000001"), "a whole number" },
		{ ONE("\"budget\": 5"), "a budget must be an object" },
		{ ONE("\"budget\": {\"usd\": 5}"), "a budget needs \"per\"" },
		{ ONE("\"budget\": {\"usd\": -5, \"per\": \"day\"}"), "dollars like 12.50" },
		{ ONE("\"budget\": {\"usd\": 1e3, \"per\": \"day\"}"), "dollars like 12.50" },
		{ ONE("\"budget\": {\"usd\": \"0.0000000001\", \"per\": \"day\"}"), "dollars like 12.50" },
		{ ONE("\"budget\": {\"usd\": \"1000000000.1\", \"per\": \"day\"}"), "dollars like 12.50" },
		{ ONE("\"budget\": {\"usd\": \"1.\", \"per\": \"day\"}"), "dollars like 12.50" },
		{ ONE("\"budget\": {\"usd\": \"1\", \"per\": \"year\"}"), "day, week or month is expected" },
		{ ONE("\"budget\": {\"usd\": \"1000000000\", \"per\": \"day\"}"), NULL },
		{ ONE("\"models\": [\"a*b\"]"), "the name of a model is expected" },
		{ ONE("\"models\": [\" a\"]"), "the name of a model is expected" },
		{ ONE("\"models\": \"gpt\""), "an array of names is expected" },
		{ ONE("\"models\": [1]"), "a name is expected" },
		{ ONE("\"routes\": [\"\"]"), "the name of a route is expected" },
		{ ONE("\"project\": \"\""), "a name has 1 to 64 bytes" },
		{ ONE("\"project\": \"a\\u0000b\""), "a name has 1 to 64 bytes" },
		{ ONE("\"project\": \"a\\u202eb\""), "a name has 1 to 64 bytes" },
		{ ONE("\"project\": \"sk-spoa-AAAAAAAA\""), "a key does not belong here" },
		{ ONE("\"sk-spoa-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\": 1"), "a client has no \"...\"" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		err_list all;
		client_table *t = parse(rows[i].text, &all);
		bool ok = rows[i].said ? all.count && strstr(all.items[0].text, rows[i].said) : t != NULL;
		if (!ok)
			printf("  %s\n  -> %s\n", rows[i].text, all.count ? all.items[0].text : "read");
		CHECK(ok);
		for (size_t n = 0; n < all.count; n++)
			CHECK(!strstr(all.items[n].text, "AAAAAAAA"));
		client_table_unref(t);
		err_list_deinit(&all);
	}
}

static void all_mistakes_are_said_up_to_a_limit(void)
{
	err_list all;
	char text[4096] = "{\"clients\": [", *at = text + strlen(text);

	client_table *t = parse("{\"clients\": [{\"nam\": 1}, {\"name\": \"a\", \"enabled\": 0, \"parallel\": 0}]}",
				&all);
	CHECK(!t && all.count == 4);
	err_list_deinit(&all);
	for (int i = 0; i < 100; i++)
		at += sprintf(at, "%s1", i ? ",\n" : "");
	strcpy(at, "]}");
	CHECK(!parse(text, &all) && all.count == 20);
	err_list_deinit(&all);
}

/* What is written is read as the same, and written as the same. */
static void a_file_is_written_as_it_is_read(void)
{
	static const char text[] =
		"{\n  \"clients\": [\n"
		"    {\"name\": \"alice\", \"project\": \"search\", \"keys\": [{\"sha256\": \"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\", \"expires_at\": \"2027-01-01T00:00:00Z\"}, {\"sha256\": \"10112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}], \"models\": [\"gpt-*\", \"Claude-5\"], \"routes\": [\"gpt\"], \"requests_per_minute\": 60, \"parallel\": 10, \"tokens_per_minute\": 100000, \"budget\": {\"usd\": \"12.500000001\", \"per\": \"week\"}, \"allow_unpriced\": true, \"enabled\": false},\n"
		"    {\"name\": \"b\303\266b\", \"project\": \"other\", \"keys\": [], \"models\": []}\n"
		"  ],\n  \"projects\": [\n"
		"    {\"name\": \"search\", \"tokens_per_minute\": 7, \"budget\": {\"usd\": \"0.50\", \"per\": \"month\"}},\n"
		"    {\"name\": \"zero\", \"budget\": {\"usd\": \"0.00\", \"per\": \"day\"}}\n"
		"  ]\n}\n";
	static const char *const texts[] = { text, "{\n  \"clients\": []\n}\n" };

	for (size_t i = 0; i < 2; i++) {
		err_list all;
		char *written = NULL;
		size_t len = 0;
		client_table *t = parse(texts[i], &all);
		FILE *f = open_memstream(&written, &len);
		if (!t || !f)
			abort();
		clients_write(f, t);
		fclose(f);
		if (strcmp(written, texts[i]) != 0)
			printf("%s", written);
		CHECK(strcmp(written, texts[i]) == 0);
		free(written);
		client_table_unref(t);
	}
}

int main(void)
{
	RUN(a_whole_file_is_read);
	RUN(a_mistake_is_said_with_its_place);
	RUN(all_mistakes_are_said_up_to_a_limit);
	RUN(a_file_is_written_as_it_is_read);
	return unit_end();
}
