/* SPDX-License-Identifier: MIT
 *
 * The key of a route that lists its models. */
#include <stdlib.h>

#include "config/routes_impl.h"

/* A name needs no escape in JSON, because label_valid() takes no quotes and no backslash. */
static bool name_valid(const char *name)
{
	return label_valid(name, ROUTE_PREFIX_MAX) && name[0] != ' ' && name[strlen(name) - 1] != ' ';
}

static bool add_model(route *r, const char *name)
{
	char **more = realloc(r->models, (r->models_count + 1) * sizeof *more);

	if (!more)
		return false;
	r->models = more;
	more[r->models_count] = strdup(name);
	return more[r->models_count] && ++r->models_count;
}

bool read_models(const problems *to, route *r, const cJSON *item, place p)
{
	int index = 0;

	while (r->models_count)
		free(r->models[--r->models_count]);
	if (!cJSON_IsArray(item))
		return problem(to, p, "it is ignored", "\"models\" must be an array");
	for (const cJSON *model = item->child; model; model = model->next, index++) {
		place here = place_child(p, index, false);
		if (index == MODELS_MAX)
			return place_error(to->e, here, "more than %d models", MODELS_MAX);
		if (!cJSON_IsString(model) || !name_valid(model->valuestring)) {
			if (!problem(
				    to, here, "it is left out",
				    "an entry of \"models\" must be the name of a model: 1 to %d printable ASCII characters "
				    "without quotes, backslashes and blanks at its ends",
				    ROUTE_PREFIX_MAX))
				return false;
		} else if (!add_model(r, model->valuestring)) {
			return err_memory(to->e);
		}
	}
	return true;
}
