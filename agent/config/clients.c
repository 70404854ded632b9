/* SPDX-License-Identifier: MIT */
#include "config/clients_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/rfc3339.h"
#include "base/whole_file.h"
#include "config/locate.h"

/* The object that is read, and what its members go into. */
typedef struct entry {
	unsigned of; /* OF_CLIENT or another one */
	const char *kind;
	uint32_t seen; /* the bit 1 << i: it has the field i */
	client *client;
	client_key *key;
	client_limits *limits;
	const char **name;
} entry;

void clients_mistake(reader *r, const char *at, const char *fmt, ...)
{
	place p = { r->name, r->text, (size_t)(at - r->text), NULL };
	char message[384];
	va_list args;
	err e;

	va_start(args, fmt);
	vsnprintf(message, sizeof message, fmt, args);
	va_end(args);
	place_error(&e, p, "%s", message);
	err_list_add(r->all, &e);
}

/* Gives each member or element of `value` to `take`. */
static void each(reader *r, slice value, entry *to, void (*take)(reader *r, entry *to, const json_member *m))
{
	json_iter it;
	json_member m;
	json_step step = JSON_BAD;

	json_iter_init(&it, value);
	while (!clients_done(r) && (step = json_next(&it, &m)) == JSON_MEMBER)
		take(r, to, &m);
	if (!clients_done(r) && step != JSON_DONE)
		clients_mistake(r, value.ptr + it.at, "this is not valid JSON: %s",
				step == JSON_CUT ? "the text ends here" : it.why);
}

/* Decodes the text of `m` into `buf`. False: `m` is no text, or its text is longer than `cap`; a mistake that says what
 * is `expected` was noted. */
static bool text_of(reader *r, const json_member *m, char *buf, size_t cap, slice *out, const char *expected)
{
	size_t len = 0;
	bool ok = m->type == JSON_STRING && json_text(m->value, buf, cap, &len) == JSON_TEXT_OK;

	if (!ok)
		clients_mistake(r, m->value.ptr, "%s", expected);
	*out = slice_of(buf, len);
	return ok;
}

static const char *keep(reader *r, slice text)
{
	const char *copy = client_table_text(r->t, text);

	r->starved |= !copy;
	return copy;
}

/* ---- the members of a client, of a project, and of what is in them */

static void read_label(reader *r, const char **to, const json_member *m)
{
	char buf[CLIENT_NAME_MAX + 1];
	slice name;
	err e;

	if (!text_of(r, m, buf, sizeof buf, &name, "a name is expected, a text of 1 to 64 bytes"))
		return;
	if (client_name_check(name, &e))
		*to = keep(r, name);
	else
		clients_mistake(r, m->value.ptr, "%s", e.text);
}

static void read_name(reader *r, entry *to, const json_member *m)
{
	read_label(r, to->name, m);
}

static void read_project(reader *r, entry *to, const json_member *m)
{
	read_label(r, &to->client->project, m);
}

static bool read_number(reader *r, const json_member *m, int64_t max, int64_t *out)
{
	if (m->type == JSON_NUMBER && json_whole(m->value, out) && *out >= 1 && *out <= max)
		return true;
	clients_mistake(r, m->value.ptr, "a whole number from 1 to %lld is expected", (long long)max);
	return false;
}

static void read_requests(reader *r, entry *to, const json_member *m)
{
	int64_t n;

	if (read_number(r, m, CLIENTS_NUMBER_MAX, &n))
		to->client->requests_per_minute = (uint32_t)n;
}

static void read_parallel(reader *r, entry *to, const json_member *m)
{
	int64_t n;

	if (read_number(r, m, CLIENTS_NUMBER_MAX, &n))
		to->client->parallel = (uint32_t)n;
}

static void read_tokens(reader *r, entry *to, const json_member *m)
{
	int64_t n;

	if (read_number(r, m, CLIENTS_TOKENS_MAX, &n))
		to->limits->tokens_per_minute = (uint64_t)n;
}

static void read_bool(reader *r, bool *to, const json_member *m)
{
	if (m->type == JSON_TRUE || m->type == JSON_FALSE)
		*to = m->type == JSON_TRUE;
	else
		clients_mistake(r, m->value.ptr, "true or false is expected");
}

static void read_enabled(reader *r, entry *to, const json_member *m)
{
	read_bool(r, &to->client->enabled, m);
}

static void read_unpriced(reader *r, entry *to, const json_member *m)
{
	read_bool(r, &to->client->allow_unpriced, m);
}

static void read_usd(reader *r, entry *to, const json_member *m)
{
	char buf[32];
	slice text = m->value;
	err e;

	if (m->type != JSON_NUMBER &&
	    !text_of(r, m, buf, sizeof buf, &text, "dollars are expected, a text or a number like 12.50"))
		return;
	if (!client_dollars(text, &to->limits->budget_nano, &e))
		clients_mistake(r, m->value.ptr, "%s", e.text);
}

static void read_per(reader *r, entry *to, const json_member *m)
{
	char buf[8];
	slice text;
	err e;

	if (text_of(r, m, buf, sizeof buf, &text, "day, week or month is expected") &&
	    !client_period(text, &to->limits->period, &e))
		clients_mistake(r, m->value.ptr, "%s", e.text);
}

static void read_sha256(reader *r, entry *to, const json_member *m)
{
	static const char expected[] =
		"64 hexadecimal digits are expected, the SHA-256 of a key; the key itself does not belong here";
	char buf[2 * CLIENT_HASH_LEN + 1];
	slice text;

	if (text_of(r, m, buf, sizeof buf, &text, expected) && !client_hash(text, to->key->sha256))
		clients_mistake(r, m->value.ptr, "%s", expected);
}

static void read_expires(reader *r, entry *to, const json_member *m)
{
	static const char expected[] = "a time with its offset is expected, like \"2026-11-29T01:23:45Z\"";
	char buf[64];
	slice text;

	if (text_of(r, m, buf, sizeof buf, &text, expected) && !rfc3339_read(text, &to->key->expires_ms))
		clients_mistake(r, m->value.ptr, "%s", expected);
}

/* ---- lists */

/* A list of models or routes while it is read. */
typedef struct names {
	entry base; /* each() passes it on */
	const char **items;
	uint32_t count;
	bool all; /* one of them is "*" */
	bool (*check)(slice name, err *e);
} names;

static void count_name(reader *r, entry *to, const json_member *m)
{
	(void)r;
	(void)m;
	((names *)(void *)to)->count++;
}

static void take_name(reader *r, entry *to, const json_member *m)
{
	names *n = (names *)(void *)to;
	char buf[CLIENT_MODEL_MAX + 1];
	slice name;
	err e;

	if (!text_of(r, m, buf, sizeof buf, &name, "a name is expected, a text"))
		return;
	if (!n->check(name, &e)) {
		clients_mistake(r, m->value.ptr, "%s", e.text);
		return;
	}
	n->all |= slice_eq(name, SLICE("*"));
	n->items[n->count++] = keep(r, name);
}

/* Returns the names of the array `m`. NULL: all are allowed, or something is wrong. */
static const char *const *read_names(reader *r, const json_member *m, bool (*check)(slice name, err *e),
				     uint32_t *count)
{
	names n = { .check = check };

	if (m->type != JSON_ARRAY) {
		clients_mistake(r, m->value.ptr, "an array of names is expected");
		return NULL;
	}
	each(r, m->value, &n.base, count_name);
	if (n.count > CLIENT_LIST_MAX) {
		clients_mistake(r, m->value.ptr, "more than %d names", CLIENT_LIST_MAX);
		return NULL;
	}
	n.items = client_table_list(r->t, n.count);
	if (!n.items) {
		r->starved = true;
		return NULL;
	}
	n.count = 0;
	each(r, m->value, &n.base, take_name);
	*count = n.all ? 0 : n.count;
	return n.all ? NULL : n.items;
}

static void read_models(reader *r, entry *to, const json_member *m)
{
	to->client->models = read_names(r, m, client_model_check, &to->client->models_count);
}

static void read_routes(reader *r, entry *to, const json_member *m)
{
	to->client->routes = read_names(r, m, client_route_check, &to->client->routes_count);
}

/* ---- objects */

static void read_budget(reader *r, entry *to, const json_member *m);
static void read_keys(reader *r, entry *to, const json_member *m);
static void read_clients(reader *r, entry *to, const json_member *m);
static void read_projects(reader *r, entry *to, const json_member *m);

enum { OF_CLIENT = 1, OF_PROJECT = 2, OF_KEY = 4, OF_BUDGET = 8, OF_FILE = 16 };

/* clang-format off */
static const struct field {
	slice key;
	unsigned of;
	bool needed;
	void (*read)(reader *r, entry *to, const json_member *m);
} fields[] = {
	{ SLICE_INIT("clients"), OF_FILE, true, read_clients },
	{ SLICE_INIT("projects"), OF_FILE, false, read_projects },
	{ SLICE_INIT("name"), OF_CLIENT | OF_PROJECT, true, read_name },
	{ SLICE_INIT("project"), OF_CLIENT, false, read_project },
	{ SLICE_INIT("keys"), OF_CLIENT, false, read_keys },
	{ SLICE_INIT("models"), OF_CLIENT, false, read_models },
	{ SLICE_INIT("routes"), OF_CLIENT, false, read_routes },
	{ SLICE_INIT("requests_per_minute"), OF_CLIENT, false, read_requests },
	{ SLICE_INIT("parallel"), OF_CLIENT, false, read_parallel },
	{ SLICE_INIT("tokens_per_minute"), OF_CLIENT | OF_PROJECT, false, read_tokens },
	{ SLICE_INIT("budget"), OF_CLIENT | OF_PROJECT, false, read_budget },
	{ SLICE_INIT("allow_unpriced"), OF_CLIENT, false, read_unpriced },
	{ SLICE_INIT("enabled"), OF_CLIENT, false, read_enabled },
	{ SLICE_INIT("sha256"), OF_KEY, true, read_sha256 },
	{ SLICE_INIT("expires_at"), OF_KEY, false, read_expires },
	{ SLICE_INIT("usd"), OF_BUDGET, true, read_usd },
	{ SLICE_INIT("per"), OF_BUDGET, true, read_per },
};
/* clang-format on */

enum { FIELDS = sizeof fields / sizeof fields[0] };

/* Writes which members an object of the kind `of` may have: "name, project, keys". */
static const char *all_fields(unsigned of, char *out, size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < FIELDS; i++)
		if (fields[i].of & of && len < cap)
			len += (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", fields[i].key.ptr);
	return out;
}

static void take_field(reader *r, entry *to, const json_member *m)
{
	char all[256];
	size_t i = 0;

	while (i < FIELDS && (!(fields[i].of & to->of) || !json_key_is(m->key, fields[i].key)))
		i++;
	if (i == FIELDS) {
		bool secret = slice_contains(m->key, SLICE(CLIENT_KEY_PREFIX));
		char key[41];
		snprintf(key, sizeof key, "%.*s", secret ? 3 : (int)slice_first(m->key, 40).len,
			 secret ? "..." : m->key.ptr);
		nearest n = nearest_to(key);
		for (i = 0; i < FIELDS; i++)
			if (fields[i].of & to->of)
				nearest_look(&n, fields[i].key.ptr);
		clients_mistake(r, m->key.ptr - 1, "%s has no \"%s\"; %s%s%s %s", to->kind, key, n.word ? "is \"" : "",
				n.word ? n.word : "", n.word ? "\" meant? It has" : "it has",
				all_fields(to->of, all, sizeof all));
	} else if (to->seen & 1u << i) {
		clients_mistake(r, m->key.ptr - 1, "\"%s\" is given twice", fields[i].key.ptr);
	} else {
		to->seen |= 1u << i;
		fields[i].read(r, to, m);
	}
}

/* Reads the object `m` into what `to` names. False: `m` is no object, which was noted. */
static bool read_object(reader *r, entry *to, const json_member *m)
{
	if (m->type != JSON_OBJECT) {
		clients_mistake(r, m->value.ptr, "%s must be an object", to->kind);
		return false;
	}
	each(r, m->value, to, take_field);
	for (size_t i = 0; i < FIELDS && !clients_done(r); i++)
		if (fields[i].of & to->of && fields[i].needed && !(to->seen & 1u << i))
			clients_mistake(r, m->value.ptr, "%s needs \"%s\"", to->kind, fields[i].key.ptr);
	return true;
}

static void read_budget(reader *r, entry *to, const json_member *m)
{
	entry budget = { .of = OF_BUDGET, .kind = "a budget", .limits = to->limits };

	read_object(r, &budget, m);
}

/* Notes where the item of index `count` stands. */
static bool note_place(reader *r, uint32_t **places, uint32_t count, const char *at)
{
	if ((count & (count - 1)) == 0) {
		uint32_t *more = realloc(*places, (count ? (size_t)count * 2 : 1) * sizeof **places);
		if (!more) {
			r->starved = true;
			return false;
		}
		*places = more;
	}
	(*places)[count] = (uint32_t)(at - r->text);
	return true;
}

static void take_key(reader *r, entry *to, const json_member *m)
{
	if (to->client->keys_count == CLIENT_KEYS_MAX || r->t->keys_count == CLIENTS_MAX) {
		if (to->seen++ == 0)
			clients_mistake(r, m->value.ptr, "more than %d keys of a client, or more than %d of all",
					CLIENT_KEYS_MAX, CLIENTS_MAX);
		return;
	}
	if (!note_place(r, &r->keys_at, r->t->keys_count, m->value.ptr))
		return;
	entry key = { .of = OF_KEY, .kind = "a key", .key = client_table_add_key(r->t) };
	r->starved |= !key.key;
	if (key.key)
		read_object(r, &key, m);
}

static void read_keys(reader *r, entry *to, const json_member *m)
{
	entry keys = { .client = to->client };

	if (m->type == JSON_ARRAY)
		each(r, m->value, &keys, take_key);
	else
		clients_mistake(r, m->value.ptr, "an array of keys is expected");
}

static void take_client(reader *r, entry *to, const json_member *m)
{
	if (r->t->count == CLIENTS_MAX) {
		if (to->seen++ == 0)
			clients_mistake(r, m->value.ptr, "more than %d clients", CLIENTS_MAX);
		return;
	}
	client *c = note_place(r, &r->clients_at, r->t->count, m->value.ptr) ? client_table_add(r->t) : NULL;
	r->starved |= !c;
	if (!c)
		return;
	entry one = { .of = OF_CLIENT, .kind = "a client", .client = c, .limits = &c->limits, .name = &c->name };
	read_object(r, &one, m);
}

static void read_clients(reader *r, entry *to, const json_member *m)
{
	(void)to;
	entry clients = { .seen = 0 };
	if (m->type == JSON_ARRAY)
		each(r, m->value, &clients, take_client);
	else
		clients_mistake(r, m->value.ptr, "an array of clients is expected");
}

static void take_project(reader *r, entry *to, const json_member *m)
{
	if (r->t->projects_count == CLIENTS_MAX) {
		if (to->seen++ == 0)
			clients_mistake(r, m->value.ptr, "more than %d projects", CLIENTS_MAX);
		return;
	}
	client_project *p = note_place(r, &r->projects_at, r->t->projects_count, m->value.ptr) ?
				    client_table_add_project(r->t) :
				    NULL;
	r->starved |= !p;
	if (!p)
		return;
	p->listed = true;
	entry one = { .of = OF_PROJECT, .kind = "a project", .limits = &p->limits, .name = &p->name };
	read_object(r, &one, m);
}

static void read_projects(reader *r, entry *to, const json_member *m)
{
	(void)to;
	entry projects = { .seen = 0 };
	if (m->type == JSON_ARRAY)
		each(r, m->value, &projects, take_project);
	else
		clients_mistake(r, m->value.ptr, "an array of projects is expected");
}

/* ---- the file */

client_table *clients_parse(const char *name, const char *text, err_list *all, err *e)
{
	reader r = { .name = name, .text = text, .all = all, .t = client_table_new() };
	entry file = { .of = OF_FILE, .kind = "the file of clients" };
	json_member whole = { .value = slice_cstr(text), .type = JSON_OBJECT };
	size_t begin = json_skip_space(whole.value, slice_starts(whole.value, SLICE("\xef\xbb\xbf")) ? 3 : 0);

	r.starved = !r.t;
	whole.value = slice_from(whole.value, begin);
	if (text[begin] != '{')
		clients_mistake(&r, whole.value.ptr, "the file of clients must be a JSON object");
	else if (r.t)
		read_object(&r, &file, &whole);
	if (!r.starved && all->count == 0) {
		clients_check_clients(&r);
		clients_link_projects(&r);
		r.starved |= !r.starved && !client_table_finish(r.t);
		if (!r.starved)
			clients_check_keys(&r);
	}
	if (r.starved || all->failed)
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", name);
	if (r.starved || all->failed || all->count) {
		client_table_unref(r.t);
		r.t = NULL;
	}
	free(r.clients_at);
	free(r.projects_at);
	free(r.keys_at);
	return r.t;
}

char *clients_text(const char *path, size_t *len, err *e)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char *text = NULL;

	*len = 0;
	if (fd < 0 && errno == ENOENT)
		err_set(e, "%s: %s; `spoa-llm client add` makes a new file", path, strerror(errno));
	else if (fd < 0 || fstat(fd, &st) != 0)
		err_set(e, "%s: %s%s", path, strerror(errno), whole_file_read_hint(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(e, "%s: this is no file", path);
	else if (st.st_size > CLIENTS_FILE_MAX)
		err_set(e, "%s: larger than %d bytes", path, CLIENTS_FILE_MAX);
	else if (!(text = malloc((size_t)st.st_size + 1)))
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
	while (text && *len < (size_t)st.st_size) {
		ssize_t n = read(fd, text + *len, (size_t)st.st_size - *len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_set(e, "%s: %s", path, n ? strerror(errno) : "it became shorter while it was read");
			free(text);
			text = NULL;
			break;
		}
		*len += (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	if (text && memchr(text, '\0', *len)) {
		err_set(e, "%s: has a NUL byte in it, so it is no JSON text", path);
		free(text);
		text = NULL;
	}
	if (text)
		text[*len] = '\0';
	return text;
}

client_table *clients_load(const char *path, err_list *all, err *e)
{
	size_t len;
	char *text = clients_text(path, &len, e);
	client_table *t = text ? clients_parse(path, text, all, e) : NULL;

	free(text);
	return t;
}
