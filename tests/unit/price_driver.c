/* SPDX-License-Identifier: MIT
 *
 * Prices records that come on stdin, one a line, for tests/blackbox/test_prices.py.
 *
 * A line in: model, reference model, input, output, cache_read, cache_write, saved; then the members of usage_parts in
 * their order, the tier as a number; separated by tabs. A line out: none, table, unpriced or partial; what is missing,
 * `-` for nothing; cost, compression, cache, routing; whether the table has a price for the name, and the table's name
 * for it.
 *
 *   price_driver FILE      FILE: a price file, or - for the built-in table
 *   price_driver FILE N    looks each name up N times more, and says on stderr how many nanoseconds one took
 *
 * The first line out is: how many models have a price, how many a bad one. */
#include "ledger/price.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

static int64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The next field of *line, as its own string. */
static char *field(char **line)
{
	char *text = strsep(line, "\t\n");

	if (!text) {
		fputs("the line is cut\n", stderr);
		exit(2);
	}
	return text;
}

int main(int argc, char **argv)
{
	err e = { 0 };
	char *buffer = NULL;
	size_t cap = 0;
	int64_t spent = 0, lookups = 0;

	if (argc < 2)
		return 2;
	price_table *t = price_table_load(strcmp(argv[1], "-") == 0 ? NULL : argv[1], &e);
	if (!t) {
		printf("error: %s\n", e.text);
		return 1;
	}
	int64_t more = argc > 2 ? atoll(argv[2]) : 0;
	printf("%zu %zu\n", price_table_count(t), price_table_bad(t));
	while (getline(&buffer, &cap, stdin) > 0) {
		char *line = buffer;
		record r = { .cost = 1, .saved_compression = 1, .saved_cache = 1, .saved_routing = 1 };
		bool priced = false;
		snprintf(r.model, sizeof r.model, "%s", field(&line));
		char *reference = field(&line);
		r.input = atoll(field(&line));
		r.output = atoll(field(&line));
		r.cache_read = atoll(field(&line));
		r.cache_write = atoll(field(&line));
		r.saved = atoll(field(&line));
		usage_parts parts = usage_parts_untold();
		int64_t *const told[] = {
			&parts.audio_input,  &parts.image_input,  &parts.video_input, &parts.audio_read,
			&parts.audio_output, &parts.image_output, &parts.reasoning,   &parts.write_1h,
			&parts.images,       &parts.characters,   &parts.audio_ms,    &parts.searches,
			&parts.cost,
		};
		for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
			*told[i] = atoll(field(&line));
		parts.tier = (service_tier)atoll(field(&line));
		price_apply(t, &r, &parts, slice_cstr(reference));
		slice name = price_match(t, slice_cstr(r.model), &priced);
		printf("%s %s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %d %.*s\n", price_from_name(r.price),
		       *r.price_missing ? r.price_missing : "-", r.cost, r.saved_compression, r.saved_cache,
		       r.saved_routing, priced, (int)name.len, name.len ? name.ptr : "");
		int64_t begin = clock_ns();
		for (int64_t i = 0; i < more; i++, lookups++)
			name = price_match(t, slice_cstr(r.model), &priced);
		spent += clock_ns() - begin;
	}
	if (lookups)
		fprintf(stderr, "%.0f\n", (double)spent / (double)lookups);
	free(buffer);
	price_table_unref(t);
	return 0;
}
