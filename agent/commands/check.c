/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm check`: says whether the prices, backends and credentials are there that a configuration without errors
 * names, and whether the files of HAProxy on this host are new enough. */
#include "report/check.h"

#include <sysexits.h>

#include "commands/cli.h"
#include "ledger/price.h"

/* Warns of each route whose savings cannot be told, because the model that it is compared with has no price. */
static void references_write(FILE *f, const route_table *routes, const price_table *prices)
{
	for (size_t i = 0; i < routes->count; i++) {
		const route *r = &routes->routes[i];
		bool priced = false;
		if (!r->enabled || !r->reference_model)
			continue;
		price_match(prices, slice_cstr(r->reference_model), &priced);
		if (!priced)
			fprintf(f,
				"%-8s route %-20s    its \"reference_model\" %s has no price, so the ledger says that routing saves "
				"nothing: correct the name, or give the model a price in the file that \"prices\" names\n",
				"WARNING", r->name, r->reference_model);
	}
}

int command_check(config *c, const check_flags *ask)
{
	policy *p = policy_new(c->table);
	err e;

	c->table = NULL;
	if (!p) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	price_table *prices = *c->ledger ? price_table_load(*c->prices ? c->prices : NULL, &e) : NULL;
	if (*c->ledger && !prices) {
		policy_unref(p);
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_CONFIG;
	}
	if (prices) {
		printf("%-8s prices %-19s -> %zu models\n", "ok", *c->prices ? "from the file" : "built in",
		       price_table_count(prices));
		references_write(stdout, p->table, prices);
	}
	price_table_unref(prices);
	size_t problems = check_write(stdout, p);
	problems += haproxy_files_write(stdout, p, ask->haproxy, ask->haproxy_count);
	policy_unref(p);
	return problems ? EX_CONFIG : EX_OK;
}
