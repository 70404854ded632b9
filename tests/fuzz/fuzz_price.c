/* SPDX-License-Identifier: MIT
 *
 * Any bytes as a price file, behind one line with the models that are looked up in it (separated by spaces). */
#include "ledger/price_table.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
	if (!good)
		abort();
}

static void look_up(const price_table *t, slice model, slice reference)
{
	static const int64_t counts[][5] = {
		{ 1, 0, 0, 0, 0 },
		{ 100, 200, 300, 400, 500 },
		{ 300000, 7, 9, 11, -13 },
		{ INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX },
		{ INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN },
		{ 0, 0, 0, 0, 0 },
	};
	bool has = false;
	slice name = price_match(t, model, &has);

	check(!has || name.len > 0);
	if (model.len > RECORD_MODEL_MAX || (model.len && memchr(model.ptr, '\0', model.len)))
		return; /* no record holds it */
	for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
		record r = { .input = counts[i][0],
			     .output = counts[i][1],
			     .cache_read = counts[i][2],
			     .cache_write = counts[i][3],
			     .saved = counts[i][4] };
		if (model.len)
			memcpy(r.model, model.ptr, model.len);
		usage_parts parts = usage_parts_untold();
		for (unsigned told = 0; told < 3; told++) {
			int64_t part = counts[(i + told) % 6][told];
			price_apply(t, &r, &parts, reference);
			check(r.cost >= 0);
			check(r.price == PRICE_TABLE || r.price == PRICE_PARTIAL ||
			      (r.cost == 0 && !r.saved_compression && !r.saved_cache && !r.saved_routing));
			check((r.price != PRICE_TABLE && r.price != PRICE_PARTIAL) || has);
			check((r.price == PRICE_PARTIAL) == (r.price_missing[0] != '\0'));
			/* A model against itself saves nothing by routing. */
			price_apply(t, &r, &parts, model);
			check(r.saved_routing == 0);
			parts = (usage_parts){ part, part, part, part, part, part, part,
					       part, part, part, part, part, -1,   (service_tier)(i % 4) };
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	slice all = slice_of(data, size);
	slice models = slice_first(all, slice_find(all, 0, '\n'));
	slice rest = slice_from(all, models.len + 1);
	err e = { 0 };
	/* Of exactly its length, so that a read past it is seen. */
	char *json = malloc(rest.len ? rest.len : 1);

	check(json != NULL);
	if (rest.len)
		memcpy(json, rest.ptr, rest.len);
	price_table *t = price_table_parse(slice_of(json, rest.len), "fuzz", &e);
	free(json); /* nothing of it is kept */
	check(t != NULL || e.text[0] != '\0');
	for (size_t at = 0, n = 0; t && at <= models.len && n < 20; n++) {
		size_t end = slice_find(models, at, ' ');
		look_up(t, slice_of(models.ptr + at, end - at), slice_first(models, slice_find(models, 0, ' ')));
		at = end + 1;
	}
	/* Every name in the table finds itself, unless a later model is called the same but for its case and dots. */
	for (uint32_t i = 0; t && i < t->model_count && i < 100; i++) {
		bool has = false;
		slice name = slice_of(t->written + t->models[i].name, t->models[i].name_len);
		slice found = price_match(t, name, &has);
		check(found.len == name.len);
		look_up(t, name, name);
	}
	price_table_unref(t);
	return 0;
}
