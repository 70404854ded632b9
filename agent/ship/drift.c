/* SPDX-License-Identifier: MIT */
#include "ship/drift.h"

pq_result drift_compare(pq *c, const store_settings *own, bool even, drift *d, err *e)
{
	const char *values[] = { own->routes, own->clients, even ? "true" : "false" };
	pq_rows *rows = NULL;

	pq_result result = pq_run(c, "SELECT gateways, routes, clients FROM spoa_llm.compare($1, $2, $3::boolean)", 3,
				  values, &rows, e);
	if (result != PQ_OK)
		return result;
	*d = (drift){ .gateways = pq_int(rows, 0, 0), .routes = pq_int(rows, 0, 1), .clients = pq_int(rows, 0, 2) };
	pq_rows_free(rows);
	return PQ_OK;
}
