/* SPDX-License-Identifier: MIT
 *
 * The ledger's sums in /metrics.
 *
 * gen_ai_client_token_usage_total is OpenTelemetry's gen_ai.client.token.usage with its attributes as labels. There it
 * is a histogram of the tokens of each request; here it is a counter, because the ledger has sums. */
#include "ops/metrics_impl.h"

#include <string.h>

#include "ledger/provider.h"
#include "ops/stats.h"

static size_t rows_of(const totals_group *g)
{
	return g->count + g->has_other;
}

static const store_sums *row_of(const totals_group *g, size_t i)
{
	return i < g->count ? &g->rows[i] : &g->rows[TOTALS_LABELS];
}

static uint64_t count(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

/* OpenTelemetry's name of the provider of a model; "": not known. */
static const char *provider_name(const char *model)
{
	const char *provider = model_provider(model);
	return strcmp(provider, "gemini") == 0 ? "gcp.gemini" : strcmp(provider, "unknown") == 0 ? "" : provider;
}

typedef enum which {
	REQUESTS,
	UNPRICED,
	PARTLY_PRICED,
	UNKNOWN,
	UNTOLD,
	COST,
	COST_ESTIMATED,
	SAVED,
	SAVED_ESTIMATED
} which;

static uint64_t requests_of(const store_sums *r, which w)
{
	return count(w == UNPRICED      ? r->unpriced_requests :
		     w == PARTLY_PRICED ? r->partly_priced_requests :
		     w == UNKNOWN       ? r->unknown_requests :
		     w == UNTOLD        ? r->untold_requests :
					  r->requests);
}

static void write_group(FILE *f, const totals_group *g, const char *name, const char *label, which w)
{
	for (size_t i = 0; i < rows_of(g); i++) {
		const store_sums *r = row_of(g, i);
		const struct {
			const char *kind, *by;
			int64_t nano, estimated;
		} kinds[] = {
			{ "compression", "gateway", r->saved_compression, r->estimated_saved_compression },
			{ "cache", "provider", r->saved_cache, r->estimated_saved_cache },
			{ "routing", "gateway", r->saved_routing, r->estimated_saved_routing },
		};
		int64_t cost = w == COST_ESTIMATED ? r->estimated_cost : r->cost;
		switch (w) {
		case REQUESTS:
		case UNPRICED:
		case PARTLY_PRICED:
		case UNKNOWN:
		case UNTOLD:
			labelled(f, name, label, r->label, NULL);
			value_u(f, requests_of(r, w));
			break;
		case COST:
		case COST_ESTIMATED:
			labelled(f, name, label, r->label, NULL);
			value_usd(f, cost > 0 ? cost : 0);
			break;
		case SAVED:
		case SAVED_ESTIMATED:
			for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
				labelled(f, name, label, r->label, "kind", kinds[k].kind, "by", kinds[k].by, NULL);
				value_usd(f, w == SAVED ? kinds[k].nano : kinds[k].estimated);
			}
			break;
		}
	}
}

void metrics_write_totals(FILE *f, const totals *t)
{
	const totals_group *m = &t->models;

	head(f, "gen_ai_client_token_usage_total", "counter",
	     "Tokens of all recorded requests: the sum of OpenTelemetry's gen_ai.client.token.usage. input is without cached tokens.");
	for (size_t i = 0; i < rows_of(m); i++) {
		const store_sums *r = row_of(m, i);
		const struct {
			const char *type;
			int64_t tokens;
		} types[] = { { "input", r->input },
			      { "output", r->output },
			      { "cache_read", r->cache_read },
			      { "cache_write", r->cache_write } };
		for (size_t k = 0; k < sizeof types / sizeof types[0]; k++) {
			labelled(f, "gen_ai_client_token_usage_total", "gen_ai_request_model", r->label,
				 "gen_ai_provider_name", provider_name(r->label), "gen_ai_token_type", types[k].type,
				 NULL);
			value_u(f, count(types[k].tokens));
		}
	}
	head(f, "spoa_llm_model_requests_total", "counter", "Recorded requests by model.");
	write_group(f, m, "spoa_llm_model_requests_total", "model", REQUESTS);
	head(f, "spoa_llm_model_unpriced_requests_total", "counter", "Recorded requests whose tokens have no price.");
	write_group(f, m, "spoa_llm_model_unpriced_requests_total", "model", UNPRICED);
	head(f, "spoa_llm_model_partly_priced_requests_total", "counter",
	     "Recorded requests whose cost is rough, because the price table and what was reported do not fit together.");
	write_group(f, m, "spoa_llm_model_partly_priced_requests_total", "model", PARTLY_PRICED);
	head(f, "spoa_llm_model_unknown_requests_total", "counter",
	     "Recorded requests whose tokens nobody reported. They are in no other figure of tokens or dollars.");
	write_group(f, m, "spoa_llm_model_unknown_requests_total", "model", UNKNOWN);
	head(f, "spoa_llm_model_untold_requests_total", "counter",
	     "Recorded streams that told no usage, because they did not ask for it, by model.");
	write_group(f, m, "spoa_llm_model_untold_requests_total", "model", UNTOLD);
	head(f, "spoa_llm_client_untold_requests_total", "counter",
	     "Recorded streams that told no usage, because they did not ask for it, by client.");
	write_group(f, &t->clients, "spoa_llm_client_untold_requests_total", "client", UNTOLD);
	head(f, "spoa_llm_model_cost_usd_total", "counter", "Cost of recorded requests in dollars, by model.");
	write_group(f, m, "spoa_llm_model_cost_usd_total", "model", COST);
	head(f, "spoa_llm_model_estimated_cost_usd_total", "counter",
	     "The part of the cost that is from requests with estimated tokens, by model.");
	write_group(f, m, "spoa_llm_model_estimated_cost_usd_total", "model", COST_ESTIMATED);
	head(f, "spoa_llm_model_saved_usd", "gauge",
	     "Dollars saved since the ledger was created, by model, and by whom: this gateway, or the provider's cache. Can be negative and can go down.");
	write_group(f, m, "spoa_llm_model_saved_usd", "model", SAVED);
	head(f, "spoa_llm_model_estimated_saved_usd", "gauge",
	     "The part of the saved dollars that is from requests with estimated tokens. Can be negative and can go down.");
	write_group(f, m, "spoa_llm_model_estimated_saved_usd", "model", SAVED_ESTIMATED);
	head(f, "spoa_llm_route_requests_total", "counter", "Recorded requests by route.");
	write_group(f, &t->routes, "spoa_llm_route_requests_total", "route", REQUESTS);
	head(f, "spoa_llm_route_cost_usd_total", "counter", "Cost of recorded requests in dollars, by route.");
	write_group(f, &t->routes, "spoa_llm_route_cost_usd_total", "route", COST);
	head(f, "spoa_llm_route_saved_usd", "gauge",
	     "Dollars saved since the ledger was created, by route, and by whom: this gateway, or the provider's cache. Can be negative and can go down.");
	write_group(f, &t->routes, "spoa_llm_route_saved_usd", "route", SAVED);
}
