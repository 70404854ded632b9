/* SPDX-License-Identifier: MIT */
#include "report/haproxy_files.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "decide/leg.h"

/* What is new in each version of the contract for the routes that replace the credential. */
static const char *const news[CONTRACT_SAFE + 1] = {
	[1] = "the operator's credential goes along only where the endpoint runs a model, with GET /v1/models/NAME, and "
	      "with what the route's `paths` names; known headers of the client's, and those of `forward_headers`, go along, and "
	      "no parameter of the query that carries a key; answers bring no cookies and no account of the operator's",
};

/* ---- reading */

enum { WORDS_MAX = 32 }; /* words of a line that are looked at */

typedef struct line_words {
	slice words[WORDS_MAX];
	size_t count;
	slice line;
} line_words;

/* Splits a line up to its comment. Quotes do not matter, because the words that are looked for need none. */
static line_words split(slice line)
{
	line_words w = { .count = 0, .line = line };
	size_t at = 0;

	while (w.count < WORDS_MAX) {
		while (at < line.len && slice_has(SLICE(" \t\r\n"), line.ptr[at]))
			at++;
		size_t from = at;
		while (at < line.len && !slice_has(SLICE(" \t\r\n"), line.ptr[at]))
			at++;
		if (at == from || line.ptr[from] == '#')
			break;
		w.words[w.count++] = slice_of(line.ptr + from, at - from);
	}
	return w;
}

/* Reads the N of "int(N)...". 0: `word` is something else. */
static uint64_t number_of(slice word)
{
	slice digits = slice_from(word, 4);
	uint64_t n = 0;
	size_t at = 0;

	for (; at < digits.len && digits.ptr[at] >= '0' && digits.ptr[at] <= '9' && n < UINT64_MAX / 10; at++)
		n = n * 10 + (uint64_t)(digits.ptr[at] - '0');
	return slice_starts(word, SLICE("int(")) && at < digits.len && digits.ptr[at] == ')' ? n : 0;
}

/* Reads a whole number, perhaps in quotes; 0: `word` is none. */
static uint64_t plain_number(slice word)
{
	uint64_t n = 0;

	if (word.len > 2 && word.ptr[0] == '"' && word.ptr[word.len - 1] == '"')
		word = slice_of(word.ptr + 1, word.len - 2);
	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] < '0' || word.ptr[i] > '9' || n > UINT32_MAX)
			return 0;
		n = n * 10 + (uint64_t)(word.ptr[i] - '0');
	}
	return n;
}

/* Reads how many connections and files HAProxy may have open. */
static void read_limits(haproxy_file *file, const line_words *w)
{
	static const slice others[] = { SLICE_INIT("defaults"),  SLICE_INIT("frontend"), SLICE_INIT("backend"),
					SLICE_INIT("listen"),    SLICE_INIT("ring"),     SLICE_INIT("peers"),
					SLICE_INIT("resolvers"), SLICE_INIT("program") };

	if (w->count && slice_eq(w->words[0], SLICE("global")))
		file->in_global = true;
	for (size_t i = 0; w->count && i < sizeof others / sizeof others[0]; i++)
		if (slice_eq(w->words[0], others[i]))
			file->in_global = false;
	if (!file->in_global || w->count < 2)
		return;
	if (slice_eq(w->words[0], SLICE("maxconn")))
		file->maxconn = plain_number(w->words[1]);
	if (slice_eq(w->words[0], SLICE("ulimit-n")))
		file->ulimit_n = plain_number(w->words[1]);
	if (w->count > 2 && slice_eq(w->words[1], SLICE("LLM_MAXCONN")) &&
	    (slice_eq(w->words[0], SLICE("presetenv")) || slice_eq(w->words[0], SLICE("setenv")))) {
		uint64_t n = plain_number(w->words[2]);
		file->clients = n && (!file->clients || n < file->clients) ? n : file->clients;
	}
}

/* Returns the line from `at` on, which points into it. */
static slice rest_of(const line_words *w, const char *at)
{
	return slice_from(w->line, (size_t)(at - w->line.ptr));
}

/* Reads the variable `name`, if the line sets it. False: it does not. */
static bool read_setting(haproxy_setting *setting, const line_words *w, slice name)
{
	setting_from from = SET_NOWHERE;

	if (w->count >= 3 && slice_eq(w->words[1], name)) {
		from = slice_eq(w->words[0], SLICE("setenv"))    ? SET_ALWAYS :
		       slice_eq(w->words[0], SLICE("presetenv")) ? SET_PRESET :
								   SET_NOWHERE;
		haproxy_setting_read(setting, from, rest_of(w, w->words[2].ptr));
	} else if (w->count >= 1 && slice_starts(w->words[0], name) &&
		   slice_starts(slice_from(w->words[0], name.len), SLICE("="))) {
		haproxy_setting_read(setting, SET_ENVIRONMENT, rest_of(w, w->words[0].ptr + name.len + 1));
	}
	return from == SET_PRESET || from == SET_ALWAYS;
}

/* Reads the addresses that stand in the backend of agents, in rings and behind `log`. */
static void read_servers(haproxy_file *file, const line_words *w)
{
	static const slice sections[] = { SLICE_INIT("global"), SLICE_INIT("defaults"), SLICE_INIT("frontend"),
					  SLICE_INIT("listen"), SLICE_INIT("backend"),  SLICE_INIT("ring") };

	for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
		if (slice_eq(w->words[0], sections[i]))
			file->in_servers = slice_eq(w->words[0], SLICE("ring")) ||
					   (w->count >= 2 && slice_eq(w->words[1], SLICE("llm-agent")));
	bool server = file->in_servers && w->count >= 3 && slice_eq(w->words[0], SLICE("server"));
	bool log = w->count >= 2 && slice_eq(w->words[0], SLICE("log"));
	haproxy_setting address = { .from = SET_NOWHERE };
	if ((!server && !log) || file->servers.count == SERVERS_MAX)
		return;
	haproxy_setting_read(&address, SET_ALWAYS, rest_of(w, w->words[server ? 2 : 1].ptr));
	if (!address.unknown && strlen(address.value) < SERVER_TEXT)
		snprintf(file->servers.text[file->servers.count++], SERVER_TEXT, "%.*s", SERVER_TEXT - 1,
			 address.value);
}

/* Looks at the name of the variable that the line sets, if it sets one. */
static void read_name_of_setting(haproxy_file *file, const line_words *w)
{
	bool set = w->count >= 3 &&
		   (slice_eq(w->words[0], SLICE("setenv")) || slice_eq(w->words[0], SLICE("presetenv")));
	bool exported = w->count >= 2 && slice_eq(w->words[0], SLICE("export"));
	slice name = set || exported ? w->words[1] : w->words[0];
	size_t len = 0;

	while (len < name.len && name.ptr[len] != '=')
		len++;
	if (!set && len == name.len)
		return;
	name.len = len;
	file->settings |= slice_starts(name, SLICE("LLM_"));
	file->exports |= exported && slice_starts(name, SLICE("LLM_"));
	mistyped_look(&file->names, name);
}

/* Reads what the file sets of HAProxy's environment, and which addresses it names without that. */
static void read_settings(haproxy_file *file, const line_words *w)
{
	if (!w->count)
		return;
	if (w->count >= 2 && slice_eq(w->words[0], SLICE("spoe-group")) && slice_eq(w->words[1], SLICE("llm-client")))
		file->key_question = true;
	file->key_rules |= read_setting(&file->keys, w, SLICE("LLM_CLIENTS"));
	file->ledger_rules |= read_setting(&file->ledger, w, SLICE("LLM_LEDGER"));
	read_setting(&file->agent, w, SLICE("LLM_AGENT"));
	read_setting(&file->ring, w, SLICE("LLM_LOG_RING"));
	read_setting(&file->datagrams, w, SLICE("LLM_LOG_UDP"));
	read_setting(&file->origins, w, SLICE("LLM_CORS_ORIGINS"));
	read_servers(file, w);
	read_name_of_setting(file, w);
}

/* Reads the contract from the name of a message or group: `llm-request-N`, or `llm-request` with files of contract 1,
 * which say their number elsewhere. False: it is another name. */
static bool read_name(haproxy_file *file, slice name)
{
	static const slice first = SLICE_INIT("llm-request");

	if (!slice_starts(name, first) || (name.len > first.len && name.ptr[first.len] != '-'))
		return false;
	if (name.len > first.len)
		file->contract = plain_number(slice_from(name, first.len + 1));
	return true;
}

static void read_line(haproxy_file *file, slice line)
{
	line_words w = split(line);

	read_limits(file, &w);
	read_settings(file, &w);

	if (w.count >= 2 && slice_eq(w.words[0], SLICE("spoe-message")))
		file->question |= read_name(file, w.words[1]);
	if (w.count >= 2 && slice_eq(w.words[0], SLICE("spoe-group")) && slice_eq(w.words[1], SLICE("llm-member")))
		file->leg_question = true;
	if (w.count >= 2 && slice_eq(w.words[0], SLICE("spoe-group")) && slice_eq(w.words[1], SLICE("llm-declined")))
		file->declined = true;
	if (w.count >= 2 && slice_eq(w.words[1], SLICE("set-var(txn.llm_tapped)")))
		file->leg_rules = true;
	if (w.count >= 4 && slice_eq(w.words[1], SLICE("send-spoe-group")))
		file->rules |= read_name(file, w.words[3]);
	if (w.count >= 3 && slice_eq(w.words[1], SLICE("set-var(txn.llm_contract)")))
		file->contract = number_of(w.words[2]);
	file->backends |= slice_starts(line, SLICE("# Made by `spoa-llm backends`"));
	if (w.count >= 3 && slice_eq(w.words[0], SLICE("set-var")) &&
	    slice_eq(w.words[1], SLICE("proc.llm_backends"))) {
		slice hash = slice_from(w.words[2], 4);
		file->backends = true;
		if (slice_starts(w.words[2], SLICE("str(")) && hash.len == BACKENDS_HASH_LEN + 1 &&
		    hash.ptr[BACKENDS_HASH_LEN] == ')')
			memcpy(file->hash, hash.ptr, BACKENDS_HASH_LEN);
	}
	for (size_t i = 1; i < w.count && slice_eq(w.words[0], SLICE("args")); i++)
		if (slice_starts(w.words[i], SLICE("contract=")))
			file->contract = number_of(slice_from(w.words[i], 9));
}

bool haproxy_file_read(haproxy_file *file, FILE *f)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t len;

	*file = (haproxy_file){ .contract = 0 };
	while ((len = getline(&line, &room, f)) >= 0)
		read_line(file, slice_of(line, (size_t)len));
	free(line); /* keeps errno */
	return feof(f) != 0;
}

/* Returns 0, or the errno that says why `path` cannot be read. */
static int read_path(haproxy_file *file, const char *path)
{
	struct stat st;
	/* O_NONBLOCK: opening a FIFO does not wait for its writer. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), why = errno;

	if (fd < 0)
		return why;
	FILE *f = fdopen(fd, "r");
	if (!f) {
		why = errno;
		close(fd);
		return why;
	}
	if (fstat(fd, &st) != 0)
		why = errno;
	else if (!S_ISREG(st.st_mode))
		why = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
	else
		why = haproxy_file_read(file, f) ? 0 : errno;
	fclose(f);
	return why;
}

/* ---- writing */

typedef struct looked_at {
	const char *path;
	int why; /* an errno: it cannot be read */
	haproxy_file file;
} looked_at;

/* Says whether the backends are those that the agent's routes need, whose hash is `needed`. */
static void write_backends(findings *to, const looked_at *l, const char *needed)
{
	const char *hash = l->file.hash;

	if (strcmp(hash, needed) == 0)
		finding(to, FOUND_OK, "backends", l->path, "made for these routes (hash %s)", needed);
	else
		finding(to, FOUND_OLDER, "backends", l->path,
			"made for other routes, targets or options (%s%s, these need %s): make them again by "
			"spoa-llm backends, and reload HAProxy",
			*hash ? "hash " : "no hash", hash, needed);
}

static void write_file(findings *to, const looked_at *l, bool named, bool refused)
{
	const haproxy_file *file = &l->file;
	bool old = file->contract < CONTRACT_SAFE;
	bool unknown = file->contract > CONTRACT;
	char contract[48] = "no contract", needed[96] = "";

	if (file->contract)
		snprintf(contract, sizeof contract, "contract %" PRIu64, file->contract);
	if (old)
		snprintf(needed, sizeof needed, "; this agent needs %d", CONTRACT_SAFE);
	else if (unknown)
		snprintf(needed, sizeof needed, ", which this agent does not know: upgrade the agent");
	else if (file->contract < CONTRACT)
		snprintf(needed, sizeof needed, "; with contract %d, HAProxy has less to do", CONTRACT);
	if (l->why) {
		if (named || l->why != ENOENT)
			finding(to, named ? FOUND_PROBLEM : FOUND_UNKNOWN, "file", l->path, "cannot be read: %s",
				strerror(l->why));
	} else if (file->rules || file->question) {
		finding(to,
			unknown || (old && refused) ? FOUND_PROBLEM :
			file->contract < CONTRACT   ? FOUND_OLDER :
						      FOUND_OK,
			"file", l->path, "%s%s", contract, needed);
	} else if (named && !file->backends && !file->settings) {
		finding(to, FOUND_UNKNOWN, "file", l->path, "has nothing of the gateway");
	}
}

static bool replaces(const route *r)
{
	return r->enabled && route_lends(r);
}

/* Says what becomes of the `routes` routes that replace the credential, beside files of `contract`, which is older than
 * CONTRACT_SAFE. */
static void write_routes(findings *to, const route_table *t, size_t routes, uint64_t contract, bool refused)
{
	for (size_t i = 0; i < routes_total(t); i++)
		if (replaces(routes_at(t, i)))
			finding(to, refused ? FOUND_PROBLEM : FOUND_OLDER, "route", routes_at(t, i)->name, "%s",
				refused ? "refuses every request (503 contract_outdated) until HAProxy has new files" :
					  "still takes requests, because allow_older_contract is set");
	for (uint64_t n = contract + 1; routes && n <= CONTRACT_SAFE; n++)
		finding_note(to, "New in contract %" PRIu64 ", for these routes: %s.", n, news[n]);
}

/* Says whether HAProxy may have as many connections and files open as requests through the tap take: a client's
 * connection and a leg's, and for each of the two one to the other side. */
static void write_limits(findings *to, const looked_at *all, size_t count)
{
	const char *set = getenv("LLM_MAXCONN");
	uint64_t clients = set ? plain_number(slice_cstr(set)) : 0, preset = 0, maxconn = 0, ulimit_n = 0;

	for (size_t i = 0; i < count; i++) {
		const haproxy_file *file = &all[i].file;
		preset = file->clients ? file->clients : preset;
		maxconn = file->maxconn ? file->maxconn : maxconn;
		ulimit_n = file->ulimit_n ? file->ulimit_n : ulimit_n;
	}
	clients = clients ? clients : preset;
	if (!clients)
		return;
	uint64_t connections = 2 * clients, files = 4 * clients + HAPROXY_OWN_FILES;
	if (maxconn && maxconn < connections)
		finding(to, FOUND_WARNING, "haproxy", "maxconn",
			"global allows %" PRIu64
			" connections, but a request through the tap or of a pool takes two or more, so that LLM_MAXCONN=%" PRIu64
			" takes %" PRIu64 ": clients that hold all of them would wait for legs that cannot accept",
			maxconn, clients, connections);
	else if (ulimit_n && ulimit_n < files)
		finding(to, FOUND_WARNING, "haproxy", "ulimit-n",
			"global allows %" PRIu64
			" open files, but a request through the tap or of a pool takes four or more, so that LLM_MAXCONN=%" PRIu64
			" takes %" PRIu64,
			ulimit_n, clients, files);
	else
		finding(to, FOUND_OK, "haproxy", "limits",
			"with LLM_MAXCONN=%" PRIu64 ", requests through the tap or of a pool take %" PRIu64
			" connections and %" PRIu64 " open files of HAProxy's",
			clients, connections, files);
}

/* Says whether the file is from before there were legs, or pools. */
static void write_leg_rules(findings *to, const looked_at *l, const route_table *t)
{
	if (l->file.question && !l->file.leg_question)
		finding(to, FOUND_PROBLEM, "file", l->path,
			"has no group llm-member, by which a leg asks for its credential: HAProxy would not start with backends "
			"that have legs; copy spoe.conf of this version, and llm.cfg with it");
	else if (l->file.question && !l->file.declined && t->members_count)
		finding(to, FOUND_PROBLEM, "file", l->path,
			"has no group llm-declined, by which a pool's member tells that its upstream declined: HAProxy would not start "
			"with the backends of a pool; copy spoe.conf of this version, and llm.cfg with it");
	if (l->file.rules && !l->file.leg_rules && routes_tapped(t))
		finding(to, FOUND_OLDER, "file", l->path,
			"sends no request through the tap: copy llm.cfg of this version, and spoe.conf with it");
}

/* ---- settings */

/* Finds the variable `name`, which is at offset `at` of each file. */
static known_setting find_setting(const looked_at *all, size_t count, const char *name, size_t at)
{
	known_setting is = { getenv(name), "this environment", SET_NOWHERE };

	if (is.value)
		is.from = SET_ENVIRONMENT;
	for (size_t i = 0; i < count; i++) {
		const haproxy_setting *one = (const void *)((const char *)&all[i].file + at);
		if (one->from > is.from)
			is = (known_setting){ one->unknown ? NULL : one->value, all[i].path, one->from };
	}
	return is;
}

/* Says which of the gateway's files are from before there were keys of clients. Returns whether one is. */
static bool write_without_keys(findings *to, const looked_at *all, size_t count)
{
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		const haproxy_file *file = &all[i].file;
		bool rules = file->rules && !file->key_rules, question = file->question && !file->key_question;
		if (rules || question)
			finding(to, FOUND_PROBLEM, "file", all[i].path,
				"has %s keys of clients, so the agent refuses every request (503 contract_outdated): copy llm.cfg and "
				"spoe.conf of this version, both",
				rules ? "no rules about" : "no group llm-client, which asks about");
		any |= rules || question;
	}
	return any;
}

static bool any_rules(const looked_at *all, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (all[i].file.rules)
			return true;
	return false;
}

/* Says whether HAProxy looks for keys of clients where the agent has clients, and nowhere else. */
static void write_keys(findings *to, const policy *p, const looked_at *all, size_t count)
{
	known_setting is = find_setting(all, count, "LLM_CLIENTS", offsetof(haproxy_file, keys));
	bool off = is.value && strcmp(is.value, "off") == 0, on = is.value && strcmp(is.value, "on") == 0,
	     required = is.value && strcmp(is.value, "required") == 0;
	const char *name = "LLM_CLIENTS";

	if (!any_rules(all, count) || (p->clients && write_without_keys(to, all, count)) || !is.value)
		return;
	if (!off && !on && !required)
		finding(to, FOUND_PROBLEM, "haproxy", name, "is neither off, on nor required: HAProxy does not start");
	else if (p->clients && off)
		finding(to, is.from == SET_PRESET ? FOUND_WARNING : FOUND_PROBLEM, "haproxy", name,
			"is off%s, and the agent has clients, so it refuses every request (503 contract_outdated): set "
			"LLM_CLIENTS=on or LLM_CLIENTS=required in HAProxy's environment, and restart HAProxy",
			is.from == SET_PRESET ? " unless HAProxy's environment says otherwise" : "");
	else if (p->clients && required && !p->table->require_client)
		finding(to, FOUND_WARNING, "haproxy", name,
			"is required, and the agent's option \"require_client\" is not set: a request without a key that comes by "
			"another HAProxy is let in");
	else if (p->clients)
		finding(to, FOUND_OK, "haproxy", name, "is %s%s", is.value,
			on && p->table->require_client ?
				"; with required, HAProxy would refuse requests without a key before their bodies" :
				"");
	else if (required)
		finding(to, FOUND_PROBLEM, "haproxy", name,
			"is required, and the agent has no clients (option \"clients\"), so every request is refused (401 "
			"invalid_api_key)");
	else if (on)
		finding(to, FOUND_WARNING, "haproxy", name,
			"is on, and the agent has no clients (option \"clients\"): HAProxy looks for keys that nobody has, "
			"which costs time");
}

/* Says whether HAProxy sends records where the agent keeps a ledger, and nowhere else. Files from before LLM_LEDGER
 * send them always. */
static void write_ledger(findings *to, const policy *p, bool kept, const looked_at *all, size_t count)
{
	known_setting is = find_setting(all, count, "LLM_LEDGER", offsetof(haproxy_file, ledger));
	bool known = false, off = is.value && strcmp(is.value, "off") == 0,
	     on = is.value && strcmp(is.value, "on") == 0;
	const char *name = "LLM_LEDGER";

	for (size_t i = 0; i < count; i++)
		known |= all[i].file.ledger_rules;
	if (!any_rules(all, count) || !is.value)
		return;
	if (!known && !on)
		finding(to, FOUND_WARNING, "haproxy", name,
			"is %s, and HAProxy's files are from before it, so that HAProxy sends records: copy llm.cfg and spoe.conf of "
			"this version, and restart HAProxy",
			is.value);
	else if (!off && !on)
		finding(to, FOUND_PROBLEM, "haproxy", name, "is neither on nor off: HAProxy does not start");
	else if (off && clients_counted(p->clients))
		finding(to, FOUND_PROBLEM, "haproxy", name,
			"is off, and clients have a budget or tokens a minute, so the agent refuses their requests (503 "
			"ledger_off): set LLM_LEDGER=on in HAProxy's environment, and restart HAProxy");
	else if (off && kept)
		finding(to, FOUND_WARNING, "haproxy", name,
			"is off, and the agent keeps a ledger (option \"ledger\"), in which nothing arrives: set LLM_LEDGER=on, or "
			"remove the option");
	else if (on && !kept && is.from != SET_PRESET)
		finding(to, FOUND_WARNING, "haproxy", name,
			"is on, and the agent keeps no ledger (option \"ledger\"): HAProxy makes records that nobody takes");
	else if (on && !kept)
		finding(to, FOUND_OK, "haproxy", name,
			"is on unless HAProxy's environment says otherwise, and the agent keeps no ledger (option "
			"\"ledger\"): with LLM_LEDGER=off, HAProxy would make no records, which nobody takes");
	else
		finding(to, FOUND_OK, "haproxy", name, "is %s", is.value);
}

/* Says whether the agent listens where HAProxy looks for it, and which origins of web pages are none. */
static void write_settings(findings *to, const config *c, const looked_at *all, size_t count)
{
	known_setting ledger = find_setting(all, count, "LLM_LEDGER", offsetof(haproxy_file, ledger));
	haproxy_servers named = { .count = 0 };

	if (!any_rules(all, count))
		return;
	for (size_t i = 0; i < count; i++)
		for (size_t n = 0; n < all[i].file.servers.count && named.count < SERVERS_MAX; n++)
			memcpy(named.text[named.count++], all[i].file.servers.text[n], SERVER_TEXT);
	haproxy_addresses_write(to, c, &named, find_setting(all, count, "LLM_AGENT", offsetof(haproxy_file, agent)),
				!ledger.value || strcmp(ledger.value, "off") != 0,
				find_setting(all, count, "LLM_LOG_RING", offsetof(haproxy_file, ring)),
				find_setting(all, count, "LLM_LOG_UDP", offsetof(haproxy_file, datagrams)));
	haproxy_origins_write(to, find_setting(all, count, "LLM_CORS_ORIGINS", offsetof(haproxy_file, origins)));
}

/* Names variables that are probably mistyped. The gateway's own files set some that are no settings (LLM_TRACED). */
static void write_mistyped(findings *to, const looked_at *all, size_t count)
{
	mistyped here = { .count = 0 };

	if (!any_rules(all, count))
		return;
	for (size_t i = 0; i < count; i++)
		if (!all[i].file.rules && !all[i].file.backends)
			mistyped_write(to, &all[i].file.names, all[i].path);
	for (size_t i = 0; i < count; i++)
		if (all[i].file.exports)
			finding(to, FOUND_WARNING, "haproxy", all[i].path,
				"has lines that begin with export, which systemd ignores: take this word away");
	mistyped_look_here(&here);
	mistyped_write(to, &here, "this environment");
}

bool haproxy_files_write(findings *to, const config *c, const policy *p, const char *const *named, size_t count)
{
	const char *spoe = getenv("LLM_SPOE_CONF");
	const char *const usual[] = { spoe && *spoe ? spoe : "/etc/haproxy/spoe.conf", "/etc/haproxy/llm.cfg",
				      "/etc/haproxy/haproxy.cfg", "/etc/haproxy/llm-backends.cfg",
				      "/etc/default/haproxy" };
	const char *const *paths = count ? named : usual;
	size_t paths_count = count ? count : sizeof usual / sizeof usual[0], found = 0, routes = 0;
	looked_at all[HAPROXY_FILES_MAX] = { 0 };
	/* `contract`: what HAProxy sends of files of contract 1: their numbers joined by `and`, which can be 0. */
	uint64_t contract = UINT64_MAX, least = UINT64_MAX, most = 0;

	assert(paths_count <= HAPROXY_FILES_MAX);
	for (size_t i = 0; i < paths_count; i++) {
		looked_at *l = &all[i];
		l->path = paths[i];
		l->why = read_path(&l->file, l->path);
		found += !l->why && (l->file.rules || l->file.question || l->file.backends);
		if (l->why || (!l->file.rules && !l->file.question))
			continue;
		contract &= l->file.contract;
		least = l->file.contract < least ? l->file.contract : least;
		most = l->file.contract > most ? l->file.contract : most;
	}
	bool mixed = least < most && most > 1;
	for (size_t i = 0; i < routes_total(p->table); i++)
		routes += replaces(routes_at(p->table, i));
	bool refused = contract < CONTRACT_SAFE && routes && !policy_allows_contract(p, contract);
	for (size_t i = 0; i < paths_count; i++) {
		write_file(to, &all[i], count != 0, refused);
		if (legs_any(p->table))
			write_leg_rules(to, &all[i], p->table);
		if (all[i].file.backends)
			write_backends(to, &all[i], p->table->backends_hash);
	}
	if (!found)
		finding(to, FOUND_UNKNOWN, "haproxy", "files",
			"none with the gateway found; name others by --haproxy FILE");
	if (legs_any(p->table))
		write_limits(to, all, paths_count);
	write_keys(to, p, all, paths_count);
	write_ledger(to, p, *c->ledger != '\0', all, paths_count);
	write_settings(to, c, all, paths_count);
	write_mistyped(to, all, paths_count);
	if (mixed)
		finding(to, FOUND_PROBLEM, "haproxy", "files",
			"of contract %" PRIu64 " and of contract %" PRIu64
			": HAProxy does not start with files of two contracts",
			least, most);
	else if (contract < CONTRACT_SAFE)
		write_routes(to, p->table, routes, contract, refused);
	if (mixed || contract < CONTRACT)
		finding_note(
			to,
			"To do: copy llm.cfg (haproxy.cfg.example) and spoe.conf of this version, both, make the backends again, and reload HAProxy.");
	return found;
}
