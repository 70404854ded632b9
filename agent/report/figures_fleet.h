/* SPDX-License-Identifier: MIT
 *
 * The figures of the page out of the fleet's PostgreSQL. */
#ifndef REPORT_FIGURES_FLEET_H
#define REPORT_FIGURES_FLEET_H

#include "report/figures.h"
#include "ship/pq.h"

enum {
	FIGURES_FLEET_LINES = 20000
}; /* of a report: the hours of two years; so an answer needs 20 MB, whatever
      others have written */

typedef struct figures_fleet {
	pq *c;
	const char *gateway; /* as fleet_facets() */
	pq_result result;    /* of the last call, whose number the functions of the source return, too */
} figures_fleet;

/* Returns the source that reads `from`. */
figures_source figures_of_fleet(figures_fleet *from);

#endif
