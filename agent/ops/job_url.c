/* SPDX-License-Identifier: MIT */
#include "ops/job_url.h"

#include <stdlib.h>

#include "base/text.h"

/* Reads the argument `name` of the URL. `*value` NULL: not given or empty. */
static bool argument(struct MHD_Connection *c, const char *name, const char **value, err *e)
{
	size_t len = 0;

	*value = NULL;
	if (MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, name, strlen(name), value, &len) != MHD_YES)
		*value = NULL;
	if (*value && strlen(*value) != len)
		return err_set(e, "%s has a NUL in it", name);
	if (*value && !**value)
		*value = NULL;
	return true;
}

/* The arguments that a path has. */
typedef struct knowing {
	const char *names; /* "model, body": with commas between them */
	const char *often; /* the one that may be given several times; NULL: none */
	uint32_t given;    /* a bit each, of those that were given, by their place in `names` */
	bool unknown, twice;
} knowing;

static enum MHD_Result on_name(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value,
			       size_t value_len)
{
	knowing *k = cls;
	uint32_t bit = 1;
	const char *at = k->names;
	size_t len = strcspn(at, ",");

	(void)kind, (void)value, (void)value_len;
	for (; *at && !slice_eq(slice_of(at, len), slice_of(name, name_len)); len = strcspn(at, ","), bit <<= 1)
		at += at[len] ? len + 2 : len;
	k->unknown |= !*at && (name_len || value);
	k->twice |= *at && k->given & bit && (!k->often || strcmp(k->often, name) != 0);
	k->given |= bit;
	return MHD_YES;
}

/* False: the URL has another argument than `names`, or has one twice that is not `often`. The message names none that
 * is unknown, because it may be a key. */
static bool only(struct MHD_Connection *c, const char *names, const char *often, err *e)
{
	knowing k = { .names = names, .often = often };

	MHD_get_connection_values_n(c, MHD_GET_ARGUMENT_KIND, on_name, &k);
	return k.unknown ? err_set(e, "an argument is none of %s", names) :
	       k.twice   ? err_set(e, "one of %s is given more than once", names) :
			   true;
}

/* ---- figures */

typedef struct taking {
	host_question *q;
	err *e;
	bool bad;
} taking;

static bool take(host_question *q, const char *name, size_t name_len, const char *value, size_t value_len, err *e)
{
	if (!name_len && !value) /* "&&" */
		return true;
	if (strlen(name) != name_len || name_len > HOST_NAME_MAX_LEN)
		return err_set(e, "the name of an argument has a NUL in it, or more than %d bytes", HOST_NAME_MAX_LEN);
	if (!value || strlen(value) != value_len)
		return err_set(e, "%s has %s", name, value ? "a NUL in it" : "no value: write name=value");
	for (size_t i = 0; i < q->count; i++)
		if (strcmp(q->items[i].name, name) == 0)
			return err_set(e, "%s is given more than once", name);
	if (q->count == HOST_PARAMETERS)
		return err_set(e, "more than %d arguments", HOST_PARAMETERS);
	host_parameter *p = &q->items[q->count++];
	*p = (host_parameter){ strdup(name), strdup(value) };
	return (p->name && p->value) || err_memory(e);
}

static enum MHD_Result on_argument(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
				   const char *value, size_t value_len)
{
	taking *t = cls;

	(void)kind;
	t->bad = !take(t->q, name, name_len, value, value_len, t->e);
	return t->bad ? MHD_NO : MHD_YES;
}

static bool has(const host_question *q, const char *name, const char *value)
{
	for (size_t i = 0; i < q->count; i++)
		if (strcmp(q->items[i].name, name) == 0)
			return strcmp(q->items[i].value, value) == 0;
	return false;
}

static bool take_figures(job *j, const char *about, struct MHD_Connection *c, err *e)
{
	taking t = { &j->question, e, false };

	j->question.about = about;
	MHD_get_connection_values_n(c, MHD_GET_ARGUMENT_KIND, on_argument, &t);
	j->csv = has(&j->question, "format", "csv");
	j->fleet = has(&j->question, "scope", "fleet") || strcmp(about, "gateways") == 0;
	return !t.bad;
}

/* ---- Headroom's history */

static bool take_history(job *j, struct MHD_Connection *c, err *e)
{
	const char *format, *series;

	if (!only(c, "format, series", NULL, e) || !argument(c, "format", &format, e) ||
	    !argument(c, "series", &series, e))
		return false;
	j->csv = format && strcmp(format, "csv") == 0;
	if (format && !j->csv && strcmp(format, "json") != 0)
		return err_set(e, "format is neither json nor csv");
	j->text = series ? strdup(series) : NULL;
	return !series || j->text || err_memory(e);
}

/* ---- what explain is asked */

typedef struct header_list {
	FILE *f;
	size_t count;
	bool bad;
} header_list;

static enum MHD_Result on_header(void *cls, enum MHD_ValueKind kind, const char *key, size_t key_len, const char *value,
				 size_t value_len)
{
	header_list *l = cls;

	(void)kind;
	if (!slice_eq(slice_of(key, key_len), SLICE("header")) || !value)
		return MHD_YES;
	l->bad = l->bad || strlen(value) != value_len;
	fputs(l->count++ ? "," : "", l->f);
	json_write_text(l->f, value);
	return MHD_YES;
}

/* Makes from GET /explain?model=&method=&path=&header=&body= the JSON that a POST has as its body. */
static bool take_explain(job *j, struct MHD_Connection *c, err *e)
{
	static const char *const names[] = { "model", "method", "path", "body" };

	if (MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "key"))
		return err_set(
			e,
			"\"key\": a client's key belongs in the body of a POST, because addresses are written to logs; "
			"take this key out of use if it is one");
	if (!only(c, "model, method, path, header, body", "header", e))
		return false;
	header_list headers = { open_memstream(&j->text, &j->len), 0, false };
	FILE *f = headers.f;
	const char *value;
	bool ok = true;
	if (!f)
		return err_memory(e);
	fputs("{\"headers\":[", f);
	MHD_get_connection_values_n(c, MHD_GET_ARGUMENT_KIND, on_header, &headers);
	fputc(']', f);
	for (size_t i = 0; i < sizeof names / sizeof names[0] && ok; i++) {
		ok = argument(c, names[i], &value, e);
		if (!value)
			continue;
		fprintf(f, ",\"%s\":", names[i]);
		json_write_text(f, value);
	}
	fputc('}', f);
	if (fclose(f) != 0)
		return err_memory(e);
	return ok && (!headers.bad || err_set(e, "header has a NUL in it"));
}

/* ---- */

bool job_take_url(job *j, const char *about, struct MHD_Connection *c, err *e)
{
	switch (j->kind) {
	case JOB_FIGURES:
		return take_figures(j, about, c, e);
	case JOB_STATS_HISTORY:
		return take_history(j, c, e);
	case JOB_EXPLAIN:
		return take_explain(j, c, e);
	case JOB_RELOAD:
	case JOB_TOTALS:
		break;
	}
	return true;
}

void job_take_body(job *j, char **body, size_t len)
{
	if (j->kind != JOB_EXPLAIN)
		return;
	j->text = *body;
	j->len = len;
	*body = NULL;
}
