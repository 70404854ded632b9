/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm explain`: says what would be done with a request, and why. */
#include "report/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <sysexits.h>

#include "commands/cli.h"

enum { BODY_MAX = 64 << 20 };

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

int command_explain(config *c, const explain_flags *ask)
{
	explain_request request = ask->request;
	char *body = NULL;
	err e;

	/* explain_write() says so too, but after standard input was read. */
	if (request.model && ask->body) {
		fprintf(stderr, "spoa-llm: give --model or --body, not both: the body names the model\n");
		return EX_USAGE;
	}
	if (ask->body && !(body = read_body(ask->body, &request.body.len)))
		return EX_NOINPUT;
	request.body.ptr = body;
	policy *p = policy_new(c->table, NULL);
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
	return ok ? EX_OK : EX_USAGE;
}
