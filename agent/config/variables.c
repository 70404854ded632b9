/* SPDX-License-Identifier: MIT */
#include "config/variables.h"

#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"
#include "base/slice.h"

#define PREFIX "SPOA_LLM_"
#define LOG_KEY "log_key"
#define LOG_KEY_VARIABLE PREFIX "LOG_KEY"

enum { NAME_MAX_LEN = 64 };

static bool is_source(const char *source, const char *name)
{
	return source && strncmp(source, "env:", 4) == 0 && strcmp(source + 4, name) == 0;
}

/* True if the operator names this variable as the source of a credential or a token. */
static bool is_credential(const config *c, const char *name)
{
	for (size_t i = 0; c && i < routes_total(c->table); i++) {
		const credential *auth = &routes_at(c->table, i)->auth;
		if (auth->kind == AUTH_ENV && strcmp(auth->source, name) == 0)
			return true;
	}
	return c && (is_source(c->admin_token, name) || is_source(c->viewer_token, name));
}

/* True if Kubernetes makes variables of such a name for a service that is called spoa-llm or spoa-llm-log. */
static bool is_service(const char *name)
{
	return strstr(name, "_PORT") || strstr(name, "_SERVICE_");
}

static bool is_variable(const char *name)
{
	char known[NAME_MAX_LEN];

	for (const option_info *o = options; o < options + options_count; o++) {
		option_variable(o, known, sizeof known);
		if (strcmp(known, name) == 0)
			return true;
	}
	return strcmp(name, LOG_KEY_VARIABLE) == 0;
}

static bool is_among(const char *const *keys, const char *key)
{
	for (; *keys; keys++)
		if (strcmp(*keys, key) == 0)
			return true;
	return false;
}

/* Writes the name of the variable that is probably meant by `name`, of an option in `keys`. NULL: of any. False: none
 * is similar. */
static bool meant_by(const char *name, const char *const *keys, char *out, size_t cap)
{
	const option_info *option = NULL;
	char key[NAME_MAX_LEN];
	size_t len = 0;

	for (const char *at = name + strlen(PREFIX); *at; at++)
		key[len++] = ascii_lower(*at);
	key[len] = '\0';
	nearest n = nearest_to(key);

	for (const option_info *o = options; o < options + options_count; o++) {
		const char *before = n.word;
		if (!keys || is_among(keys, o->key))
			nearest_look(&n, o->key);
		if (n.word != before)
			option = o;
	}
	if (!keys)
		nearest_look(&n, LOG_KEY);
	if (!n.word)
		return false;
	if (strcmp(n.word, LOG_KEY) == 0)
		snprintf(out, cap, "%s", LOG_KEY_VARIABLE);
	else
		option_variable(option, out, cap);
	return true;
}

void variables_check(const config *c, const char *const *keys)
{
	char name[NAME_MAX_LEN], meant[NAME_MAX_LEN], hint[NAME_MAX_LEN + 16];

	for (char **one = environ; *one; one++) {
		const char *value = strchr(*one, '=');
		/* An empty variable counts as one that is not set, and so does an entry without a "=". */
		if (!value || value - *one >= NAME_MAX_LEN || strncasecmp(*one, PREFIX, strlen(PREFIX)) != 0 ||
		    !value[1])
			continue;
		snprintf(name, sizeof name, "%.*s", (int)(value - *one), *one);
		if (is_variable(name) || is_service(name) || is_credential(c, name) ||
		    !meant_by(name, keys, meant, sizeof meant))
			continue;
		snprintf(hint, sizeof hint, "is %s meant?", meant);
		log_event(variable_unknown, LOG_C("variable", name), LOG_C("hint", hint));
	}
}
