/* SPDX-License-Identifier: MIT */
#include "config/values.h"

#include <errno.h>
#include <stdlib.h>

static void *slot_of(config *c, const option_info *o)
{
	return (char *)c + o->offset;
}

static bool set_bool(bool *to, const char *text, err *e)
{
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return err_set(e, "true or false is expected");
	*to = text[0] == 't';
	return true;
}

/* Takes digits alone: no sign, no white space. */
static bool parse_digits(const char *text, int base, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, base);
	return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0;
}

static bool set_int(int64_t *to, const option_info *o, const char *text, err *e)
{
	int64_t value;

	if (!parse_digits(text, 10, &value) || value < o->min || value > o->max)
		return err_set(e, "a whole number from %lld to %lld is expected", (long long)o->min, (long long)o->max);
	*to = value;
	return true;
}

static bool set_mode(int64_t *to, const char *text, err *e)
{
	int64_t value;

	if (!parse_digits(text, 8, &value) || value > 0777)
		return err_set(e, "octal permissions like \"0660\" are expected");
	*to = value;
	return true;
}

static bool set_choice(int64_t *to, const option_info *o, const char *text, err *e)
{
	char all[128] = "";
	size_t len = 0;

	for (int i = 0; o->choices[i]; i++) {
		if (strcmp(o->choices[i], text) == 0) {
			*to = i;
			return true;
		}
		len += (size_t)snprintf(all + len, sizeof all - len, "%s%s",
					i == 0            ? "" :
					o->choices[i + 1] ? ", " :
							    " or ",
					o->choices[i]);
	}
	return err_set(e, "%s is expected", all);
}

static bool set_string(char **to, const option_info *o, const char *text, err *e)
{
	size_t len = strlen(text);

	if (len < (size_t)o->min || len > (size_t)o->max)
		return err_set(e, "a text of %lld to %lld bytes is expected", (long long)o->min, (long long)o->max);
	char *copy = strdup(text);
	if (!copy)
		return err_memory(e);
	free(*to);
	*to = copy;
	return true;
}

bool value_add(config *c, const option_info *o, slice text, err *e)
{
	address_list *list = slot_of(c, o);

	text = slice_trim(text);
	if (o->min == 0 && slice_eq(text, SLICE("none")))
		return true;
	if (text.len == 0 || text.len < (size_t)o->min || text.len > (size_t)o->max)
		return err_set(e, "an address of 1 to %lld bytes is expected", (long long)o->max);
	if (list->count == LISTEN_MAX)
		return err_set(e, "more than %d addresses", LISTEN_MAX);
	list->items[list->count] = strndup(text.ptr, text.len);
	if (!list->items[list->count])
		return err_memory(e);
	list->count++;
	return true;
}

bool value_none_alone(config *c, const option_info *o, size_t given, err *e)
{
	const address_list *list = slot_of(c, o);

	return list->count == 0 || list->count >= given || err_set(e, "\"none\" cannot stand beside addresses");
}

static bool add_all(config *c, const option_info *o, slice text, err *e)
{
	size_t given = 0;

	for (size_t at = 0; at <= text.len; given++) {
		size_t comma = slice_find(text, at, ',');
		if (!value_add(c, o, slice_of(text.ptr + at, comma - at), e))
			return false;
		at = comma + 1;
	}
	return value_none_alone(c, o, given, e);
}

bool value_set(config *c, const option_info *o, const char *text, err *e)
{
	void *slot = slot_of(c, o);

	switch (o->type) {
	case OPTION_BOOL:
		return set_bool(slot, text, e);
	case OPTION_INT:
		return set_int(slot, o, text, e);
	case OPTION_MODE:
		return set_mode(slot, text, e);
	case OPTION_CHOICE:
		return set_choice(slot, o, text, e);
	case OPTION_STRING:
		return set_string(slot, o, text, e);
	case OPTION_LIST:
		return add_all(c, o, slice_cstr(text), e);
	case OPTION_ROUTES:
		break;
	}
	return err_set(e, "the routes are no single value");
}

void value_clear(config *c, const option_info *o)
{
	if (o->type == OPTION_STRING) {
		char **text = slot_of(c, o);
		free(*text);
		*text = NULL;
	} else if (o->type == OPTION_LIST) {
		address_list *list = slot_of(c, o);
		while (list->count)
			free(list->items[--list->count]);
	}
}

static size_t size_of(const option_info *o)
{
	switch (o->type) {
	case OPTION_BOOL:
		return sizeof(bool);
	case OPTION_INT:
	case OPTION_MODE:
	case OPTION_CHOICE:
		return sizeof(int64_t);
	case OPTION_STRING:
		return sizeof(char *);
	case OPTION_LIST:
		return sizeof(address_list);
	case OPTION_ROUTES:
		break;
	}
	return 0;
}

static bool same_list(const address_list *a, const address_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

bool value_same(config *a, config *b, const option_info *o)
{
	if (o->type == OPTION_LIST)
		return same_list(slot_of(a, o), slot_of(b, o));
	if (o->type == OPTION_STRING)
		return strcmp(*(char **)slot_of(a, o), *(char **)slot_of(b, o)) == 0;
	return memcmp(slot_of(a, o), slot_of(b, o), size_of(o)) == 0;
}

void value_swap(config *a, config *b, const option_info *o)
{
	unsigned char kept[sizeof(address_list)];
	size_t size = size_of(o);

	memcpy(kept, slot_of(a, o), size);
	memcpy(slot_of(a, o), slot_of(b, o), size);
	memcpy(slot_of(b, o), kept, size);
}
