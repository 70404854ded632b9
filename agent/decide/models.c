/* SPDX-License-Identifier: MIT */
#include "decide/models.h"

#include <stdio.h>
#include <stdlib.h>

#include "decide/endpoint.h"
#include "sample/model.h"
#include "sample/path.h"

/* How an API writes a list and one model. No name needs an escape, because the configuration takes none that does. */
typedef struct shape {
	const char *head;  /* of the list */
	const char *model; /* with %s for each name */
	const char *tail;  /* with two %s for the first and the last name, or none */
	const char *empty; /* a list without models */
} shape;

/* clang-format off */
static const shape shapes[PROTOCOLS] = {
	[PROTOCOL_OPENAI] = {
		"{\"object\":\"list\",\"data\":[",
		"{\"id\":\"%s\",\"object\":\"model\",\"created\":0,\"owned_by\":\"spoa-llm\"}",
		"]}",
		"{\"object\":\"list\",\"data\":[]}" },
	[PROTOCOL_ANTHROPIC] = {
		"{\"data\":[",
		"{\"type\":\"model\",\"id\":\"%s\",\"display_name\":\"%s\",\"created_at\":\"1970-01-01T00:00:00Z\"}",
		"],\"has_more\":false,\"first_id\":\"%s\",\"last_id\":\"%s\"}",
		"{\"data\":[],\"has_more\":false,\"first_id\":null,\"last_id\":null}" },
	[PROTOCOL_GEMINI] = {
		"{\"models\":[",
		"{\"name\":\"models/%s\",\"displayName\":\"%s\",\"supportedGenerationMethods\":[\"generateContent\",\"streamGenerateContent\",\"countTokens\"]}",
		"]}",
		"{\"models\":[]}" },
};
/* clang-format on */

void models_deinit(model_list *l)
{
	for (size_t p = 0; p < PROTOCOLS; p++)
		free(l->text[p]);
	free(l->models);
	*l = (model_list){ .count = 0 };
}

const listed_model *models_find(const model_list *l, slice name)
{
	for (size_t i = 0; i < l->count; i++)
		if (slice_ieq(name, slice_cstr(l->models[i].name)))
			return &l->models[i];
	return NULL;
}

/* Writes `format`, in which at most two %s stand for the two names. */
static void write_named(FILE *f, const char *format, const char *first, const char *second)
{
	const char *names[] = { first, second };

	for (size_t i = 0; *format; format++) {
		if (format[0] == '%' && format[1] == 's') {
			fputs(names[i++ % 2], f);
			format++;
		} else {
			fputc(*format, f);
		}
	}
}

/* Writes the list in one shape, and notes where each model stands in it. */
static bool write_list(model_list *l, protocol p)
{
	size_t len = 0;
	FILE *f = open_memstream(&l->text[p], &len);

	if (!f)
		return false;
	fputs(shapes[p].head, f);
	for (size_t i = 0; i < l->count; i++) {
		listed_model *m = &l->models[i];
		if (i)
			fputc(',', f);
		m->at[p] = (size_t)ftell(f);
		write_named(f, shapes[p].model, m->name, m->name);
		m->len[p] = (size_t)ftell(f) - m->at[p];
	}
	write_named(f, shapes[p].tail, l->models[0].name, l->models[l->count - 1].name);
	bool ok = !ferror(f);
	ok = fclose(f) == 0 && ok;
	l->text_len[p] = len;
	return ok;
}

bool models_list(route_table *t)
{
	model_list *l = &t->listed;
	size_t most = 0;

	models_deinit(l);
	for (size_t i = 0; i < t->count; i++)
		most += t->routes[i].enabled ? t->routes[i].models_count : 0;
	if (most == 0)
		return true;
	l->models = calloc(most, sizeof *l->models);
	if (!l->models)
		return false;
	for (size_t i = 0; i < t->count; i++) {
		const route *r = &t->routes[i];
		for (size_t n = 0; r->enabled && n < r->models_count; n++)
			if (!models_find(l, slice_cstr(r->models[n])))
				l->models[l->count++] = (listed_model){ .name = r->models[n], .route = r->name };
	}
	for (size_t p = 0; p < PROTOCOLS; p++)
		if (!write_list(l, (protocol)p))
			return false;
	return true;
}

slice models_answer(const model_list *l, protocol p, const listed_model *m)
{
	return m ? slice_of(l->text[p] + m->at[p], m->len[p]) : slice_of(l->text[p], l->text_len[p]);
}

bool models_allowed(const listed_model *m, const client *c)
{
	return m && client_allows_model(c, slice_cstr(m->name)) && client_allows_route(c, m->route);
}

/* Copies `text` to `out`, unless that is NULL; returns the length. */
static size_t put(char *out, slice text)
{
	if (out && text.len)
		memcpy(out, text.ptr, text.len);
	return text.len;
}

#define AT(out, len) ((out) ? (out) + (len) : NULL)

/* Like write_named(), but writes to `out`, unless that is NULL, and returns the length. */
static size_t put_named(char *out, const char *format, const char *first, const char *second)
{
	const char *names[] = { first, second };
	size_t len = 0;

	for (size_t i = 0; *format;) {
		const char *name = strstr(format, "%s");
		slice plain = name ? slice_of(format, (size_t)(name - format)) : slice_cstr(format);
		len += put(AT(out, len), plain);
		if (name)
			len += put(AT(out, len), slice_cstr(names[i++ % 2]));
		format += plain.len + (name ? 2 : 0);
	}
	return len;
}

size_t models_write(const model_list *l, protocol p, const client *c, char *out)
{
	const listed_model *first = NULL, *last = NULL;
	size_t len = 0;

	for (size_t i = 0; i < l->count; i++) {
		const listed_model *m = &l->models[i];
		if (!models_allowed(m, c))
			continue;
		len += put(AT(out, len), first ? SLICE(",") : slice_cstr(shapes[p].head));
		len += put(AT(out, len), models_answer(l, p, m));
		first = first ? first : m;
		last = m;
	}
	if (!first)
		return put(out, slice_cstr(shapes[p].empty));
	return len + put_named(AT(out, len), shapes[p].tail, first->name, last->name);
}

models_question models_asked(slice path, char *buf, slice *name)
{
	static const slice word = SLICE_INIT("/models");
	bool longer = false;

	path = slice_first(path, path.len - (path.len > 1 && path.ptr[path.len - 1] == '/'));
	for (size_t at = 0; at + word.len <= path.len; at++) {
		size_t end = at + word.len;
		if (!slice_starts(slice_from(path, at), word) || (end < path.len && path.ptr[end] != '/') ||
		    endpoint_find(SLICE("GET"), slice_first(path, end), false) != ENDPOINT_MODELS)
			continue;
		if (end == path.len)
			return MODELS_ALL;
		name->ptr = buf;
		return percent_decode(slice_from(path, end + 1), false, buf, MODEL_MAX, &name->len, &longer) &&
				       !longer ?
			       MODELS_ONE :
			       MODELS_NOTHING;
	}
	return MODELS_NOTHING;
}
