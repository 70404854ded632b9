/* SPDX-License-Identifier: MIT */
#include "report/haproxy_names.h"

#include <strings.h>
#include <unistd.h>

#include "base/nearest.h"

#define PREFIX "LLM_"
#define PREFIX_OF_AGENT "SPOA_"

/* Every setting of llm.cfg and of the backends (docs/haproxy.md, "Settings"). */
static const char *const variables[] = {
	"LLM_BIND",          "LLM_AGENT",   "LLM_SPOE_CONF",     "LLM_BUFSIZE",      "LLM_BUFSIZE_LARGE",
	"LLM_MAXCONN",       "LLM_HEAD",    "LLM_TAIL",          "LLM_LOG_RING",     "LLM_LOG_UDP",
	"LLM_LOG_RING_SIZE", "LLM_TAP",     "LLM_LEGS",          "LLM_LEGS_INSIDE",  "LLM_LEG_ACCESS",
	"LLM_CLIENTS",       "LLM_MINUTES", "LLM_OTHER_MINUTES", "LLM_CORS_ORIGINS", "LLM_ANSWER_TRAILERS",
	"LLM_LEDGER",        "LLM_TRACE",   "SPOA_LLM_LOG_KEY",
};

static bool begins(const char *name, const char *prefix)
{
	return strncasecmp(name, prefix, strlen(prefix)) == 0;
}

/* Returns what stands behind the prefix; NULL: `name` has another one. */
static const char *after_prefix(const char *name)
{
	name += begins(name, PREFIX_OF_AGENT) ? strlen(PREFIX_OF_AGENT) : 0;
	return begins(name, PREFIX) ? name + strlen(PREFIX) : NULL;
}

/* Returns the variable that is probably meant by `name`; NULL: `name` is one, or is similar to none. */
static const char *meant_by(const char *name)
{
	const char *rest = after_prefix(name), *meant = NULL;

	if (!rest)
		return NULL;
	nearest n = nearest_to(rest);
	for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
		const char *before = n.word;
		if (strcmp(variables[i], name) == 0)
			return NULL;
		nearest_look(&n, after_prefix(variables[i]));
		if (n.word != before)
			meant = variables[i];
	}
	return meant;
}

void mistyped_look(mistyped *to, slice name)
{
	char text[MISTYPED_NAME];

	if (to->count == MISTYPED_MAX || name.len >= sizeof text)
		return;
	snprintf(text, sizeof text, "%.*s", (int)name.len, name.ptr);
	const char *meant = meant_by(text);
	for (size_t i = 0; i < to->count; i++)
		if (strcmp(to->names[i], text) == 0)
			return;
	if (!meant)
		return;
	memcpy(to->names[to->count], text, sizeof text);
	to->meant[to->count++] = meant;
}

void mistyped_look_here(mistyped *to)
{
	for (char **one = environ; *one; one++) {
		const char *value = strchr(*one, '=');
		/* Variables that begin with SPOA_ are the agent's: config/variables.h looks at them. */
		if (value && begins(*one, PREFIX))
			mistyped_look(to, slice_of(*one, (size_t)(value - *one)));
	}
}

void mistyped_write(findings *to, const mistyped *found, const char *where)
{
	for (size_t i = 0; i < found->count; i++)
		finding(to, FOUND_WARNING, "haproxy", found->names[i],
			"is in %s, and HAProxy has no such setting: is %s meant?", where, found->meant[i]);
}
