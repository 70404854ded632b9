/* SPDX-License-Identifier: MIT */
#include "report/fleet_list.h"

#include <inttypes.h>

#include "report/print.h"
#include "ship/fleet.h"

typedef struct list {
	FILE *f;
	size_t count;
} list;

/* Writes a hash, and since when most gateways have had another one; null: they have the same. */
static void write_part(FILE *f, const char *part, const char *hash, int64_t since_ms)
{
	char since[PRINT_NUMBER];

	fprintf(f, ",\"%s_hash\":", part);
	json_write_text(f, hash);
	fprintf(f, ",\"%s_differ_since\":", part);
	if (since_ms)
		fprintf(f, "\"%s\"", print_time(since, since_ms));
	else
		fputs("null", f);
}

static void write_gateway(void *ctx, const fleet_gateway *g)
{
	char seen[PRINT_NUMBER];
	list *l = ctx;

	fprintf(l->f, "%s\n{\"name\":", l->count++ ? "," : "{\"gateways\":[");
	json_write_text(l->f, g->name);
	fputs(",\"uuid\":", l->f);
	json_write_text(l->f, g->uuid);
	fputs(",\"role\":", l->f);
	if (*g->writer)
		json_write_text(l->f, g->writer);
	else
		fputs("null", l->f);
	fprintf(l->f,
		",\"epoch\":%" PRId64 ",\"position\":%" PRId64 ",\"rows\":%" PRId64 ",\"behind\":%" PRId64
		",\"lag_ms\":%" PRId64 ",\"last_seen\":\"%s\",\"quiet_ms\":%" PRId64 ",\"version\":",
		g->epoch, g->position, g->rows, g->behind, g->lag_ms, print_time(seen, g->seen_ms), g->quiet_ms);
	json_write_text(l->f, g->version);
	write_part(l->f, "routes", g->routes_hash, g->routes_since_ms);
	write_part(l->f, "clients", g->clients_hash, g->clients_since_ms);
	fputc('}', l->f);
}

pq_result fleet_list_write(pq *c, FILE *f, err *e)
{
	list l = { .f = f };
	pq_result result = fleet_gateways(c, write_gateway, &l, e);

	if (result == PQ_OK)
		fputs(l.count ? "\n]}\n" : "{\"gateways\":[]}\n", f);
	return result;
}
