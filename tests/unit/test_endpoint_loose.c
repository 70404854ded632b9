/* SPDX-License-Identifier: MIT
 *
 * Paths as some server may read them: decoded once, without empty and dot segments, or in lower case. */
#include "decide/endpoint.h"

#include "unit.h"

static void a_post_that_costs_tokens(void)
{
	static const char *const metered[] = { "/v1/chat/completions",         "/V1/Chat/Completions",
					       "//v1//chat/./completions",     "/v1/x/../chat/completions",
					       "/v1%2fchat%2Fcompletions",     "/v1\\chat\\completions",
					       "/v1;a=b/chat;c/completions;d", "/../v1/chat/completions/.",
					       "/x/../../v1/messages" };
	static const char *const free_of_charge[] = { "/v1/models", "/", "/v1/files/x",
						      "/v1/chat/completions/../models" };

	for (size_t i = 0; i < sizeof metered / sizeof metered[0]; i++)
		CHECK(endpoint_metered_loosely(slice_cstr(metered[i])) || !printf("  %s\n", metered[i]));
	for (size_t i = 0; i < sizeof free_of_charge / sizeof free_of_charge[0]; i++)
		CHECK(!endpoint_metered_loosely(slice_cstr(free_of_charge[i])) || !printf("  %s\n", free_of_charge[i]));
}

/* What is too long to be read counts as the worse. The slash and what stands behind it begin at each place around the
 * longest length. */
static void a_path_of_any_length(void)
{
	enum { BEFORE = 1100, BEHIND = 3000 };
	static char path[1 + BEFORE + 1 + BEHIND];

	for (size_t before = 900; before < BEFORE; before++) {
		memset(path, 'a', sizeof path);
		path[0] = path[before] = '/';
		slice s = slice_of(path, before + 1 + BEHIND);
		CHECK(endpoint_metered_loosely(s) && endpoint_names_deployment(s) && endpoint_hides_model(s));
		memset(path, '/', before);
		CHECK(endpoint_metered_loosely(s));
		memset(path, '.', before);
		path[0] = '/';
		CHECK(endpoint_metered_loosely(s));
	}
	memset(path, '/', sizeof path);
	CHECK(!endpoint_metered_loosely(slice_of(path, sizeof path)));
}

int main(void)
{
	RUN(a_post_that_costs_tokens);
	RUN(a_path_of_any_length);
	return unit_end();
}
