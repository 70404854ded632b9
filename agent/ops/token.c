/* SPDX-License-Identifier: MIT */
#include "ops/token.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "base/token_source.h"

bool token_init(token *t, const char *option, const char *source)
{
	*t = (token){ .option = option };
	pthread_mutex_init(&t->lock, NULL);
	if (!*source)
		return true;
	t->source = strdup(source);
	return t->source != NULL;
}

void token_deinit(token *t)
{
	pthread_mutex_destroy(&t->lock);
	free(t->source);
}

/* Reads the token into `room`, and logs a change. Empty: there is none. */
static slice read_now(token *t, char room[TOKEN_MAX + 1])
{
	const char *problem;

	pthread_mutex_lock(&t->lock);
	slice now = token_source_read(t->source, room, &problem);
	uint64_t seen = hash_of(hash_own_key(), problem ? 1 : 0, problem ? slice_cstr(problem) : now);
	bool changed = !t->looked || t->seen != seen;
	t->looked = true;
	t->seen = seen;
	pthread_mutex_unlock(&t->lock);
	if (changed && problem)
		log_event(admin_token_missing, LOG_C("option", t->option), LOG_C("source", t->source),
			  LOG_C("problem", problem), LOG_C("instead", "requests that need the token are refused"));
	else if (changed)
		log_event(admin_token_read, LOG_C("option", t->option), LOG_C("source", t->source));
	return now;
}

void token_look(token *t)
{
	char room[TOKEN_MAX + 1];

	read_now(t, room);
	explicit_bzero(room, sizeof room);
}

/* Compares in a time that depends on the length of `given` only. */
static bool same(slice wanted, slice given)
{
	unsigned differ = wanted.len != given.len;

	for (size_t i = 0; i < given.len; i++)
		differ |= (unsigned char)given.ptr[i] ^ (unsigned char)(i < wanted.len ? wanted.ptr[i] : 0);
	return differ == 0;
}

bool token_matches(token *t, const char *authorization)
{
	char room[TOKEN_MAX + 1];
	slice given = slice_cstr(authorization);

	if (!t->source || !slice_istarts(given, SLICE("bearer ")) || given.len > TOKEN_MAX + 16)
		return false;
	slice wanted = read_now(t, room);
	bool ok = wanted.len > 0 && same(wanted, slice_trim(slice_from(given, 7)));
	explicit_bzero(room, sizeof room);
	return ok;
}
