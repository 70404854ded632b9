/* SPDX-License-Identifier: MIT
 *
 * The ledger as the dashboard of Headroom (a proxy that compresses prompts) reads it: proxy_savings.json and GET
 * /stats-history. Money is in nano-dollars. */
#ifndef REPORT_HEADROOM_H
#define REPORT_HEADROOM_H

#include "ledger/price.h"
#include "ledger/store.h"

/* The same limits as Headroom's. */
enum { HISTORY_MAX = 5000, PROJECTS_MAX = 50, HISTORY_DAYS = 365, HOURLY_DAYS = 7, SESSION_MINUTES = 60 };

typedef struct headroom_figures {
	int64_t requests, input_tokens; /* input_tokens: of the whole prompt, cached or not */
	int64_t tokens_saved;           /* by compression */
	int64_t cache_read;             /* tokens */
	int64_t saved, cache_saved;     /* money: by compression, by caching */
	int64_t input_cost;
} headroom_figures;

typedef struct headroom_point {
	int64_t time_ms;
	char model[RECORD_MODEL_MAX + 1];
	headroom_figures total; /* of all requests up to this point */
} headroom_point;

typedef struct headroom_project {
	char name[RECORD_MODEL_MAX + 1];
	headroom_figures total;
	int64_t cost;
	int64_t last_ms; /* 0: longer ago than the history goes back */
} headroom_project;

typedef struct headroom {
	store *store;
	price_table *prices;
	headroom_point *history;
	size_t points, history_room;
	headroom_project *projects;
	size_t project_count, project_room;
	headroom_figures lifetime, session;
	headroom_figures before;     /* what is older than the history */
	int64_t hourly_ms;           /* the history has a point for a day before this time, for an hour after it */
	int64_t cost;                /* of the lifetime */
	int64_t started_ms, last_ms; /* of the session; 0: there is none */
	/* only while headroom_read() runs */
	headroom_figures *into; /* where groups are added */
	int64_t bucket;         /* when the hour or day begins that is read */
	size_t in_bucket;       /* points of that hour or day so far */
	bool out_of_memory;
} headroom;

/* Reads everything that the two documents show. Borrows `s` and `prices` for as long as the result lives. Give the
 * result to headroom_free(), even if `*result` is an error. NULL: out of memory. */
headroom *headroom_read(store *s, price_table *prices, store_result *result, err *e);
void headroom_free(headroom *x);

/* Writes proxy_savings.json. */
void headroom_write(FILE *f, const headroom *x);

/* Write the members of lifetime, of display_session (`between` separates them), and of a point, without the braces. */
void headroom_write_lifetime(FILE *f, const headroom *x, const char *between);
void headroom_write_session(FILE *f, const headroom *x, const char *between);
void headroom_write_point(FILE *f, const headroom_point *p);

/* Is `series` history, hourly, daily, weekly or monthly? */
bool headroom_series_valid(const char *series);

/* Writes Headroom's GET /stats-history: as JSON all of it, as CSV one series (NULL: history). `storage` is the path of
 * the database, which the JSON names. */
void headroom_stats_history(FILE *f, const headroom *x, const char *storage, const char *series, bool csv);

#endif
