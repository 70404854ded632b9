/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm explain`: says what would be done with a request, and why. */
#include "report/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "commands/cli.h"
#include "config/clients.h"

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

int command_explain(config *c, const explain_flags *ask)
{
	explain_request request = ask->request;
	char *body = NULL, key[KEY_ROOM];
	client_table *clients = NULL;
	err e;

	/* explain_write() says so too, but after standard input was read. */
	if (request.model && ask->body) {
		fprintf(stderr, "spoa-llm: give --model or --body, not both: the body names the model\n");
		return EX_USAGE;
	}
	prctl(PR_SET_DUMPABLE, 0);
	if (ask->key && !read_key(ask, key))
		return EX_USAGE;
	request.key = ask->key ? key : NULL;
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
	bool ok = explain_write(stdout, p, &request, ask->json, &e);
	if (!ok)
		fprintf(stderr, "spoa-llm: %s\n", e.text);
	policy_unref(p);
	free(body);
	explicit_bzero(key, sizeof key);
	return ok ? EX_OK : EX_USAGE;
}
