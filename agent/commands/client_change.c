/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm client add`, `rotate`, `disable`, `enable` and `remove`: read the file, write it anew as a whole, one
 * command at a time. A key is printed once, and stands nowhere else. */
#include "commands/client.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/sha256.h"
#include "base/whole_file.h"
#include "report/period.h"
#include "report/print.h"

enum { LOCK_TRIES = 100, LOCK_PAUSE_MS = 100, OVERLAP_HOURS = 24, RANDOM_LEN = 32 };

/* ---- one command at a time */

/* Locks the directory of the file against other commands that change it: a lock of the file itself would go with the
 * file that is replaced. Returns the descriptor that holds the lock; -1: what is wrong was said. */
static int lock(const char *path)
{
	char *real = realpath(path, NULL), *copy = real ? real : strdup(path);
	int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	bool locked = false;

	for (int i = 0; fd >= 0 && !locked && i < LOCK_TRIES; i++) {
		locked = flock(fd, LOCK_EX | LOCK_NB) == 0;
		if (!locked && errno != EWOULDBLOCK && errno != EINTR)
			break;
		if (!locked)
			nanosleep(&(struct timespec){ .tv_nsec = LOCK_PAUSE_MS * 1000000L }, NULL);
	}
	if (!locked) {
		fprintf(stderr, "spoa-llm: %s: %s\n", path,
			fd >= 0 && errno == EWOULDBLOCK ? "another process is changing the file: try again" :
							  strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	free(copy);
	return fd;
}

/* `from`: the clients of the file; `to`: those that the new file will have. Texts of `to` may belong to `from`. */
typedef struct change {
	int lock;
	client_table *from, *to;
	int64_t now_ms;
} change;

/* Locks and reads the file. Returns EX_OK, or the exit code: what is wrong was said. Call end() in either case. */
static int begin(change *ch, const config *c, bool missing)
{
	*ch = (change){ .lock = *c->clients ? lock(c->clients) : -1, .now_ms = clock_wall_ms() };
	if (*c->clients && ch->lock < 0)
		return EX_CANTCREAT;
	int code = client_read(c, missing, &ch->from);
	if (code)
		return code;
	ch->to = client_table_new();
	if (ch->to)
		return EX_OK;
	fprintf(stderr, "spoa-llm: out of memory\n");
	return EX_OSERR;
}

static void end(change *ch)
{
	client_table_unref(ch->to);
	client_table_unref(ch->from);
	if (ch->lock >= 0)
		close(ch->lock);
}

/* Appends a copy of the client to `ch->to`, without the keys that have expired unless `all_keys`. NULL: out of memory.
 */
static client *copy_client(change *ch, const client *c, bool all_keys)
{
	client *one = client_table_add(ch->to);

	if (!one)
		return NULL;
	uint32_t first = one->first_key;
	*one = *c;
	one->first_key = first;
	one->keys_count = 0;
	for (uint32_t i = 0; i < c->keys_count; i++) {
		const client_key *k = &ch->from->keys[c->first_key + i];
		if (!all_keys && k->expires_ms <= ch->now_ms)
			continue;
		client_key *copy = client_table_add_key(ch->to);
		if (!copy)
			return NULL;
		memcpy(copy->sha256, k->sha256, sizeof copy->sha256);
		copy->expires_ms = k->expires_ms;
	}
	return one;
}

static bool copy_projects(change *ch)
{
	for (uint32_t i = 0; i < ch->from->projects_count; i++) {
		client_project *p = client_table_add_project(ch->to);
		if (!p)
			return false;
		*p = ch->from->projects[i];
	}
	return true;
}

/* Writes the new table. First parses it again, so that no file is written that
 * nobody can read. A new file can be read by everybody, because the
 * agent is another user, and nothing in the file is secret. */
static int replace_file(const change *ch, const char *path)
{
	err_list all = { .items = NULL };
	char *text = NULL;
	size_t len = 0;
	whole_file file;
	err e = { 0 };

	FILE *f = open_memstream(&text, &len);
	if (f)
		clients_write(f, ch->to);
	bool ok = f && fclose(f) == 0;
	client_table *read = ok ? clients_parse(path, text, &all, &e) : NULL;
	if (!ok)
		err_set_kind(&e, ERR_MEMORY, "out of memory");
	err_list_sum(&all, &e);
	umask(0022);
	ok = read && whole_file_begin(&file, path, &e);
	if (ok) {
		fwrite(text, 1, len, file.f);
		ok = whole_file_end(&file, &e);
	}
	if (!ok)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	err_list_deinit(&all);
	client_table_unref(read);
	free(text);
	return ok ? EX_OK : EX_CANTCREAT;
}

/* ---- keys */

/* A new key, which getrandom() makes and standard output gets. */
typedef struct fresh_key {
	char text[CLIENT_KEY_LEN + 1];
	unsigned char hash[CLIENT_HASH_LEN];
	int64_t expires_ms;
} fresh_key;

static bool make_key(fresh_key *k)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	unsigned char bits[RANDOM_LEN + 1] = { 0 };
	size_t len = sizeof CLIENT_KEY_PREFIX - 1;

	if (getrandom(bits, RANDOM_LEN, 0) != RANDOM_LEN) {
		fprintf(stderr, "spoa-llm: the kernel gives no random bits: %s\n", strerror(errno));
		return false;
	}
	memcpy(k->text, CLIENT_KEY_PREFIX, len);
	for (size_t bit = 0; bit < RANDOM_LEN * 8; bit += 6)
		k->text[len++] = digits[(bits[bit / 8] << 8 | bits[bit / 8 + 1]) >> (10 - bit % 8) & 63];
	k->text[len] = '\0';
	explicit_bzero(bits, sizeof bits);
	if (client_key_hash(slice_of(k->text, len), k->hash))
		return true;
	fprintf(stderr, "spoa-llm: the new key does not have the form of a key: please report this fault\n");
	return false;
}

/* Reads --expires: a span from now, a day or a time. */
static bool read_expires(const char *text, int64_t now_ms, int64_t *ms)
{
	int64_t span;
	err e = { 0 };

	*ms = KEY_FOR_EVER;
	if (!text)
		return true;
	if (period_span(text, &span))
		*ms = now_ms + span;
	else if (!rfc3339_read(slice_cstr(text), ms) && !period_point(text, now_ms, false, ms, &e))
		*ms = 0;
	if (*ms > now_ms && *ms != KEY_FOR_EVER)
		return true;
	fprintf(stderr,
		"spoa-llm: --expires: a time that is still to come is expected: 90d, 2027-01-01 or 2027-01-01T12:00:00Z\n");
	return false;
}

static bool put_key(change *ch, const fresh_key *k)
{
	if (ch->to->clients[ch->to->count - 1].keys_count == CLIENT_KEYS_MAX) {
		fprintf(stderr, "spoa-llm: the client has %d keys that are still good: take some out of the file\n",
			CLIENT_KEYS_MAX);
		return false;
	}
	client_key *to = client_table_add_key(ch->to);
	if (!to) {
		fprintf(stderr, "spoa-llm: out of memory\n");
		return false;
	}
	memcpy(to->sha256, k->hash, sizeof to->sha256);
	to->expires_ms = k->expires_ms;
	return true;
}

static void json_time(const char *key, int64_t ms)
{
	char text[RFC3339_TEXT];

	client_expires(ms, text);
	printf(ms == KEY_FOR_EVER ? ", \"%s\": null" : ", \"%s\": \"%s\"", key, text);
}

/* Prints the key, which is good as soon as the agent has read the file again. `old_ms`: when the old keys expire; 0:
 * there are none. */
static int print_key(const client_flags *ask, fresh_key *k, int64_t old_ms)
{
	bool overlap = old_ms > clock_wall_ms();
	char old[RFC3339_TEXT] = "";

	if (overlap)
		client_expires(old_ms, old);
	if (ask->json) {
		fputs("{\"client\": ", stdout);
		json_write_text(stdout, ask->name);
		printf(", \"key\": \"%s\", \"sha256\": \"", k->text);
		for (size_t i = 0; i < CLIENT_HASH_LEN; i++)
			printf("%02x", k->hash[i]);
		putchar('"');
		json_time("expires_at", k->expires_ms);
		if (old_ms)
			json_time("old_keys_expire_at", old_ms);
		puts("}");
	} else {
		puts(k->text);
	}
	int code = finish_output();
	if (code == EX_OK)
		fprintf(stderr,
			"spoa-llm: this key of %s is good within two seconds, and nobody can show it again%s%s\n",
			ask->name,
			overlap ? "; the old ones are good until " :
			old_ms  ? "; the old ones are no longer good" :
				  "",
			old);
	else
		fprintf(stderr, "spoa-llm: the key could not be printed: `spoa-llm client rotate` makes another one\n");
	return code;
}

/* ---- add */

static bool say(const char *flag, const err *e)
{
	fprintf(stderr, "spoa-llm: %s%s%s\n", flag, *flag ? ": " : "", e->text);
	return false;
}

static bool flag_number(const char *flag, const char *text, int64_t max, int64_t *out)
{
	char *last;
	err e;

	*out = 0;
	if (!text)
		return true;
	errno = 0;
	*out = strtoll(text, &last, 10);
	if (*text >= '0' && *text <= '9' && !*last && !errno && *out >= 1 && *out <= max)
		return true;
	err_set(&e, "a whole number from 1 to %lld is expected", (long long)max);
	return say(flag, &e);
}

/* Reads 12.50/month. */
static bool flag_budget(const char *text, client_limits *l)
{
	slice all = slice_cstr(text);
	size_t slash = slice_find(all, 0, '/');
	err e;

	if (!text)
		return true;
	if (slash == all.len)
		err_set(&e, "dollars and a period are expected, like 12.50/month");
	else if (client_dollars(slice_first(all, slash), &l->budget_nano, &e) &&
		 client_period(slice_from(all, slash + 1), &l->period, &e))
		return true;
	return say("--budget", &e);
}

/* Reads the names of several flags. *out NULL: there are none, so that all are allowed. */
static bool flag_names(client_table *t, const char *flag, const flag_list *given, bool (*check)(slice name, err *e),
		       const char *const **out, uint32_t *count)
{
	err e;

	*out = NULL;
	if (given->count == 0)
		return true;
	const char **names = client_table_list(t, given->count);
	for (size_t i = 0; i < given->count; i++) {
		if (!check(slice_cstr(given->items[i]), &e))
			return say(flag, &e);
		if (names)
			names[i] = given->items[i];
	}
	*out = names;
	*count = (uint32_t)given->count;
	return names || say("", &(err){ .text = "out of memory" });
}

/* Fills the client as the flags say. */
static bool read_flags(client_table *t, client *c, const client_flags *ask)
{
	int64_t requests, parallel, tokens;
	err e;

	if (!client_name_check(slice_cstr(ask->name), &e))
		return say("the client's name", &e);
	if (ask->project && !client_name_check(slice_cstr(ask->project), &e))
		return say("--project", &e);
	if (!flag_number("--requests-per-minute", ask->requests, CLIENTS_NUMBER_MAX, &requests) ||
	    !flag_number("--parallel", ask->parallel, CLIENTS_NUMBER_MAX, &parallel) ||
	    !flag_number("--tokens-per-minute", ask->tokens, CLIENTS_TOKENS_MAX, &tokens) ||
	    !flag_budget(ask->budget, &c->limits) ||
	    !flag_names(t, "--allow-model", &ask->models, client_model_check, &c->models, &c->models_count) ||
	    !flag_names(t, "--allow-route", &ask->routes, client_route_check, &c->routes, &c->routes_count))
		return false;
	c->name = ask->name;
	c->project = ask->project;
	c->requests_per_minute = (uint32_t)requests;
	c->parallel = (uint32_t)parallel;
	c->limits.tokens_per_minute = (uint64_t)tokens;
	c->allow_unpriced = ask->allow_unpriced;
	return true;
}

/* Copies all clients and appends a new one, which is returned. NULL: out of memory, which was said. */
static client *append_client(change *ch)
{
	bool ok = copy_projects(ch);

	for (uint32_t i = 0; i < ch->from->count && ok; i++)
		ok = copy_client(ch, &ch->from->clients[i], true);
	client *one = ok ? client_table_add(ch->to) : NULL;
	if (!one)
		fprintf(stderr, "spoa-llm: out of memory\n");
	return one;
}

static bool is_new(const change *ch, const char *name)
{
	for (uint32_t i = 0; i < ch->from->count; i++)
		if (strcmp(ch->from->clients[i].name, name) == 0) {
			fprintf(stderr,
				"spoa-llm: there is a client \"%s\" already: `spoa-llm client rotate` gives it a new key\n",
				name);
			return false;
		}
	return true;
}

int command_client_add(const config *c, const client_flags *ask)
{
	fresh_key key;
	change ch;

	prctl(PR_SET_DUMPABLE, 0); /* no core file with a key */
	int code = begin(&ch, c, true);
	if (!code) {
		client *one = append_client(&ch);
		if (!one)
			code = EX_OSERR;
		else if (!read_flags(ch.to, one, ask) || !read_expires(ask->expires, ch.now_ms, &key.expires_ms))
			code = EX_USAGE;
		else if (!is_new(&ch, ask->name))
			code = EX_DATAERR;
		else
			code = make_key(&key) && put_key(&ch, &key) ? replace_file(&ch, c->clients) : EX_OSERR;
		if (!code)
			code = print_key(ask, &key, 0);
	}
	explicit_bzero(&key, sizeof key);
	end(&ch);
	return code;
}

/* ---- the others */

/* What a command changes of the client that it names. NULL and false change nothing. */
typedef struct alteration {
	bool removed;
	const bool *enabled;
	fresh_key *key; /* to add */
	int64_t old_ms; /* with `key`: when the others expire at the latest */
} alteration;

/* Writes the file with the alteration of the client `name`. Returns the exit code. */
static int alter(change *ch, const config *c, const char *name, const alteration *a)
{
	const client *named = client_named(ch->from, name);
	bool ok = named && copy_projects(ch);

	if (!named)
		return EX_DATAERR;
	for (uint32_t i = 0; i < ch->from->count && ok; i++) {
		const client *old = &ch->from->clients[i];
		if (old == named && a->removed)
			continue;
		client *one = copy_client(ch, old, old != named || !a->key);
		ok = one != NULL;
		if (!ok || old != named)
			continue;
		one->enabled = a->enabled ? *a->enabled : one->enabled;
		for (uint32_t n = 0; a->key && n < one->keys_count; n++) {
			client_key *k = &ch->to->keys[one->first_key + n];
			k->expires_ms = k->expires_ms < a->old_ms ? k->expires_ms : a->old_ms;
		}
		if (a->key && !put_key(ch, a->key))
			return EX_DATAERR;
	}
	if (ok)
		return replace_file(ch, c->clients);
	fprintf(stderr, "spoa-llm: out of memory\n");
	return EX_OSERR;
}

int command_client_rotate(const config *c, const client_flags *ask)
{
	int64_t overlap = OVERLAP_HOURS * HOUR_MS;
	fresh_key key;
	change ch;

	prctl(PR_SET_DUMPABLE, 0);
	if (ask->overlap && !period_span(ask->overlap, &overlap)) {
		fprintf(stderr, "spoa-llm: --overlap: a span is expected, like 24h, 30m, 7d or 0m\n");
		return EX_USAGE;
	}
	int code = begin(&ch, c, false);
	if (!code) {
		alteration a = { .key = &key, .old_ms = ch.now_ms + overlap };
		if (!read_expires(ask->expires, ch.now_ms, &key.expires_ms))
			code = EX_USAGE;
		else
			code = make_key(&key) ? alter(&ch, c, ask->name, &a) : EX_OSERR;
		if (!code)
			code = print_key(ask, &key, a.old_ms);
	}
	explicit_bzero(&key, sizeof key);
	end(&ch);
	return code;
}

static int alter_only(const config *c, const client_flags *ask, const alteration *a, const char *what)
{
	change ch;
	int code = begin(&ch, c, false);

	if (!code)
		code = alter(&ch, c, ask->name, a);
	end(&ch);
	if (code)
		return code;
	if (ask->json) {
		fputs("{\"client\": ", stdout);
		json_write_text(stdout, ask->name);
		printf(", \"%s\": true}\n", what);
	} else {
		fprintf(stderr, "spoa-llm: %s is %s, which an agent that runs knows within two seconds\n", ask->name,
			what);
	}
	return finish_output();
}

int command_client_disable(const config *c, const client_flags *ask)
{
	return alter_only(c, ask, &(alteration){ .enabled = &(bool){ false } }, "disabled");
}

int command_client_enable(const config *c, const client_flags *ask)
{
	return alter_only(c, ask, &(alteration){ .enabled = &(bool){ true } }, "enabled");
}

int command_client_remove(const config *c, const client_flags *ask)
{
	return alter_only(c, ask, &(alteration){ .removed = true }, "removed");
}
