/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm explain`: says what would be done with a request, and why. */
#include "report/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "budget/budget.h"
#include "commands/cli.h"
#include "config/clients.h"
#include "report/ledger_store.h"
#include "report/pricing.h"
#include "report/print.h"

enum { BODY_MAX = 64 << 20, KEY_ROOM = 256 };

static char *read_body(const char *path, size_t *len)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text = f ? malloc(BODY_MAX) : NULL;

	if (text)
		*len = fread(text, 1, BODY_MAX, f);
	if (!text || ferror(f)) {
		fprintf(stderr, "spoa-llm: --body %s: %s\n", path, strerror(errno));
		free(text);
		text = NULL;
	}
	if (f && f != stdin)
		fclose(f);
	return text;
}

/* NULL: what is wrong was said. */
static client_table *load_clients(const config *c)
{
	err_list all = { .items = NULL };
	err e = { 0 };
	client_table *t = clients_load(c->clients, &all, &e);

	err_list_sum(&all, &e);
	if (!t)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	err_list_deinit(&all);
	return t;
}

/* Reads the key of a client from standard input. A key on the command line would be in the list of processes. */
static bool read_key(const explain_flags *ask, char key[KEY_ROOM])
{
	if (strcmp(ask->key, "-") != 0) {
		fprintf(stderr,
			"spoa-llm: --key: only - is allowed, and the key on standard input, because everybody sees the "
			"command line in the list of processes; take this key out of use if it is one\n");
		return false;
	}
	if (ask->body && strcmp(ask->body, "-") == 0) {
		fprintf(stderr, "spoa-llm: --key - and --body - cannot both read standard input\n");
		return false;
	}
	if (!fgets(key, KEY_ROOM, stdin))
		*key = '\0';
	key[strcspn(key, "\r\n")] = '\0';
	return true;
}

/* ---- the budgets of a client */

/* Adds an account, if there is a limit, with what was spent by the ledger. False: `e` says what failed. */
static bool add_account(budget *b, store *s, bool fleet, account_kind kind, const char *name, const client_limits *l,
			int64_t now, uint32_t *account, err *e)
{
	period_kind period = (period_kind)l->period;
	int64_t first = period_first(period, period_day(now)), spent;
	budget_noted noted = { .until = period_next(period, period_day(now)) };
	store_elsewhere there = { kind == ACCOUNT_PROJECT, name, noted.until * (DAY_MS / 1000), 0, 0 };
	store_result result;
	int tries = 0;

	if (l->budget_nano == BUDGET_NONE && l->tokens_per_minute == 0)
		return true;
	do {
		result = store_spent(s, there.project, slice_cstr(name), first * (DAY_MS / 1000), &spent, e);
		if (result == STORE_OK && fleet)
			result = store_elsewhere_of(s, &there, e);
	} while (ledger_store_retry(result, &tries));
	if (result != STORE_OK)
		return false;
	*account = budget_account(b, kind, slice_cstr(name));
	budget_account_rules(b, *account, l->budget_nano, period);
	budget_keep_seed(b, *account, period, now, spent);
	noted.nano = there.nano;
	noted.withheld = there.withheld;
	budget_fleet_seed(b, *account, &noted, now);
	return true;
}

/* Gives `p` prices, and budgets in which the client of the key has spent what the ledger says. False: `e` says why it
 * could not. */
static bool equip(const config *c, policy *p, budget *b, const client_key *key, err *e)
{
	client_table *t = p->clients;
	client *who = &t->clients[key->client];
	client_project *project = client_project_of(t, who);
	int64_t now = clock_wall_ms();
	int code;
	store *s = ledger_store_open(c->ledger, false, false, &code, e);
	bool ok = s &&
		  add_account(b, s, *c->fleet_uri != '\0', ACCOUNT_CLIENT, who->name, &who->limits, now, &who->account,
			      e) &&
		  (!project || add_account(b, s, *c->fleet_uri != '\0', ACCOUNT_PROJECT, project->name,
					   &project->limits, now, &project->account, e));
	store_close(s);
	price_table *prices = ok ? price_table_load(*c->prices ? c->prices : NULL, e) : NULL;
	pricing *k = prices ? pricing_new(b, prices) : NULL;
	if (prices && !k)
		err_memory(e);
	if (k)
		policy_set_pricing(p, k);
	return k;
}

/* Explains for the client of the key, whose budget is looked up. */
static bool explain_client_of(const config *c, policy *p, const explain_request *ask, bool json, err *e)
{
	unsigned char hash[CLIENT_HASH_LEN];
	const client_key *key = client_key_hash(slice_cstr(ask->key), hash) ? client_key_find(p->clients, hash) : NULL;
	bool foreign;
	int fd = key && *c->ledger ? budget_memory(e) : -1;
	budget *b = fd >= 0 ? budget_map(fd, &foreign, e) : NULL;

	if (key && *c->ledger && !(b && equip(c, p, b, key, e)))
		fprintf(stderr, "spoa-llm: what was spent is not known, and so not what would be reserved: %s\n",
			e->text);
	bool ok = explain_write(stdout, p, ask, json, e);
	budget_unmap(b);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* ---- the command */

/* Explains for the client of `key`, which may be NULL. Returns the exit code. */
static int explain_for(config *c, const explain_flags *ask, const char *key)
{
	explain_request request = ask->request;
	char *body = NULL;
	client_table *clients = NULL;
	err e;

	request.key = key;
	if (*c->clients && !(clients = load_clients(c)))
		return EX_CONFIG;
	if (ask->body && !(body = read_body(ask->body, &request.body.len))) {
		client_table_unref(clients);
		return EX_NOINPUT;
	}
	request.body.ptr = body;
	policy *p = policy_new(c->table, clients);
	c->table = NULL;
	if (!p) {
		free(body);
		fprintf(stderr, "spoa-llm: out of memory\n");
		return EX_OSERR;
	}
	request.by_ledger = true;
	bool ok = request.key && p->clients ? explain_client_of(c, p, &request, ask->json, &e) :
					      explain_write(stdout, p, &request, ask->json, &e);
	if (!ok)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	policy_unref(p);
	free(body);
	return ok ? finish_output() : EX_USAGE;
}

int command_explain(config *c, const explain_flags *ask)
{
	char key[KEY_ROOM];

	/* explain_write() says so too, but after standard input was read. */
	if (ask->request.model && ask->body) {
		fprintf(stderr, "spoa-llm: give --model or --body, not both: the body names the model\n");
		return EX_USAGE;
	}
	prctl(PR_SET_DUMPABLE, 0);
	if (ask->key && !read_key(ask, key))
		return EX_USAGE;
	int code = explain_for(c, ask, ask->key ? key : NULL);
	explicit_bzero(key, sizeof key);
	return code;
}
