/* SPDX-License-Identifier: MIT
 *
 * Writes the file of clients: a client a line, so that a comparison of two versions shows who changed. */
#include <inttypes.h>

#include "base/rfc3339.h"
#include "base/text.h"
#include "config/clients.h"

static void write_text(FILE *f, const char *key, const char *text)
{
	fprintf(f, "\"%s\": ", key);
	json_write_text(f, text);
}

static void write_budget(FILE *f, const client_limits *l)
{
	int64_t whole = l->budget_nano / 1000000000, part = l->budget_nano % 1000000000;
	int decimals = 9;

	if (l->budget_nano == BUDGET_NONE)
		return;
	for (; decimals > 2 && part % 10 == 0; decimals--)
		part /= 10;
	fprintf(f, ", \"budget\": {\"usd\": \"%" PRId64 ".%0*" PRId64 "\", \"per\": \"%s\"}", whole, decimals, part,
		client_periods[l->period]);
}

static void write_limits(FILE *f, const client_limits *l)
{
	if (l->tokens_per_minute)
		fprintf(f, ", \"tokens_per_minute\": %" PRIu64, l->tokens_per_minute);
	write_budget(f, l);
}

static void write_keys(FILE *f, const client_table *t, const client *c)
{
	char expires[RFC3339_TEXT];

	fputs(", \"keys\": [", f);
	for (uint32_t i = 0; i < c->keys_count; i++) {
		const client_key *k = &t->keys[c->first_key + i];
		fputs(i ? ", {\"sha256\": \"" : "{\"sha256\": \"", f);
		for (size_t at = 0; at < CLIENT_HASH_LEN; at++)
			fprintf(f, "%02x", k->sha256[at]);
		fputc('"', f);
		if (k->expires_ms != KEY_FOR_EVER) {
			rfc3339_write(k->expires_ms, expires);
			fprintf(f, ", \"expires_at\": \"%s\"", expires);
		}
		fputc('}', f);
	}
	fputc(']', f);
}

static void write_names(FILE *f, const char *key, const char *const *names, uint32_t count)
{
	if (!names)
		return;
	fprintf(f, ", \"%s\": [", key);
	for (uint32_t i = 0; i < count; i++) {
		fputs(i ? ", " : "", f);
		json_write_text(f, names[i]);
	}
	fputc(']', f);
}

void client_write(FILE *f, const client_table *t, const client *c)
{
	fputc('{', f);
	write_text(f, "name", c->name);
	if (c->project) {
		fputs(", ", f);
		write_text(f, "project", c->project);
	}
	write_keys(f, t, c);
	write_names(f, "models", c->models, c->models_count);
	write_names(f, "routes", c->routes, c->routes_count);
	if (c->requests_per_minute)
		fprintf(f, ", \"requests_per_minute\": %" PRIu32, c->requests_per_minute);
	if (c->parallel)
		fprintf(f, ", \"parallel\": %" PRIu32, c->parallel);
	write_limits(f, &c->limits);
	fputs(c->allow_unpriced ? ", \"allow_unpriced\": true" : "", f);
	fputs(c->enabled ? "}" : ", \"enabled\": false}", f);
}

void clients_write(FILE *f, const client_table *t)
{
	bool any = false;

	fputs("{\n  \"clients\": [", f);
	for (uint32_t i = 0; i < t->count; i++) {
		fputs(i ? ",\n    " : "\n    ", f);
		client_write(f, t, &t->clients[i]);
	}
	fputs(t->count ? "\n  ]" : "]", f);
	for (uint32_t i = 0; i < t->projects_count; i++) {
		const client_project *p = &t->projects[i];
		if (!p->listed)
			continue;
		fputs(any ? ",\n    {" : ",\n  \"projects\": [\n    {", f);
		write_text(f, "name", p->name);
		write_limits(f, &p->limits);
		fputc('}', f);
		any = true;
	}
	fputs(any ? "\n  ]\n}\n" : "\n}\n", f);
}
