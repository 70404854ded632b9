/* SPDX-License-Identifier: MIT
 *
 * The Nth allocation fails, for every N that a scenario reaches, and then every allocation from the Nth on. Nothing may
 * crash, nothing may leak, and a decision is the right one or a refusal. Allocations of the libraries fail too, because
 * this program replaces malloc(). Under a sanitizer, which replaces it itself, the scenarios run without failures. */
#include "unit.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <stdbool.h>
#include <zlib.h>

#include "base/buf.h"
#include "config/clients.h"
#include "config/config.h"
#include "decide/decision.h"
#include "decide/response.h"
#include "ledger/logline.h"
#include "ledger/price.h"
#include "spop/session.h"

static unsigned long count;   /* allocations since the scenario began */
static unsigned long fail_at; /* the number of the allocation that fails; 0: none fails */
static bool fail_on;          /* all behind it fail too */
static long live;             /* blocks that are not freed */

#ifndef SANITIZED
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *ptr, size_t size);
void __libc_free(void *ptr);

static bool refused(void)
{
	count++;
	if (!fail_at || (count != fail_at && !(fail_on && count > fail_at)))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	void *ptr = refused() ? NULL : __libc_malloc(size);
	live += ptr != NULL;
	return ptr;
}

void *calloc(size_t n, size_t size)
{
	void *ptr = refused() ? NULL : __libc_calloc(n, size);
	live += ptr != NULL;
	return ptr;
}

void *realloc(void *old, size_t size)
{
	void *ptr = refused() ? NULL : __libc_realloc(old, size);
	live += ptr != NULL && old == NULL;
	return ptr;
}

void free(void *ptr)
{
	live -= ptr != NULL;
	__libc_free(ptr);
}
#endif

/* Runs `scenario` with every N. A scenario returns false if it saw something wrong. */
static void every(bool (*scenario)(void))
{
	fail_at = 0;
	scenario(); /* libc and the libraries now allocate what they keep for good */
	for (unsigned on = 0; on < 2; on++) {
		fail_on = on != 0;
		for (unsigned long n = 1; n < 100000; n++) {
			long before = live;
			count = 0;
			fail_at = n;
			bool good = scenario();
			bool reached = count >= n;
			fail_at = 0;
			if (!good || live != before)
				printf("allocation %lu%s failed: %s result, %ld blocks not freed\n", n,
				       on ? " and all behind it" : "", good ? "right" : "wrong", live - before);
			CHECK(good);
			CHECK(live == before);
			if (!reached)
				break;
			CHECK(n < 99999);
		}
	}
}

/* ---- the configuration */

static char path[64], secret_path[64];

static const char configuration[] =
	"{\"listen\":[\"unix@/a\",\"127.0.0.1:1\"],\"log_level\":\"error\",\"unresolved\":\"fallthrough\",\"routes\":["
	"{\"model_prefix\":\"glm-\",\"upstream\":\"https://glm.test/v1\",\"auth\":\"env:OOM_GLM\",\"name\":\"glm\",\"models\":[\"glm-1\",\"glm-2\"]},"
	"{\"model_prefix\":\"claude-\",\"upstream\":\"https://claude.test\",\"auth\":\"file:%s\",\"auth_header\":\"x-api-key\"},"
	"{\"model_prefix\":\"*\",\"upstream\":\"https://star.test\",\"reference_model\":\"m\"}]}";

/* The configuration has no error, so that only memory can fail, and the error has to say so. */
static bool only_memory(const err *e)
{
	if (e->kind != ERR_MEMORY)
		printf("not an error of memory: %s\n", e->text);
	return fail_at != 0 && e->kind == ERR_MEMORY && e->text[0];
}

static bool loading(void)
{
	config c;
	err e = { 0 };

	if (!config_load(&c, path, NULL, 0, &e))
		return only_memory(&e);
	/* A configuration that was loaded is complete. */
	bool good = c.table->count == 3 && c.table->enabled == 3 && c.listen.count == 2;
	for (size_t i = 0; i < c.table->count; i++)
		good = good && c.table->routes[i].name && c.table->routes[i].prefix &&
		       route_backend(c.table, &c.table->routes[i]);
	good = good && c.table->routes[0].auth.kind == AUTH_ENV && c.table->routes[1].auth.kind == AUTH_FILE &&
	       c.table->routes[1].auth.source;
	config_deinit(&c);
	return good;
}

static bool loading_the_variable(void)
{
	config c;
	err e = { 0 };
	bool ok = config_load(&c, NULL, NULL, 0, &e);
	if (!ok)
		return only_memory(&e);
	/* Without memory to read the variable, loading has to fail: without routes, every request would pass through.
	 */
	bool good = c.table->count == 3 && c.table->routes[0].auth.kind == AUTH_ENV &&
		    route_backend(c.table, &c.table->routes[1]) == NULL;
	if (!good)
		printf("%zu routes\n", c.table->count);
	config_deinit(&c);
	return good;
}

/* ---- decisions */

static struct {
	const char *name;
	unsigned char bytes[512];
	size_t len;
	const char *ctype, *cenc, *backend, *credential;
} requests[] = {
	{ "plain", "{\"model\":\"glm-1\"}", 17, "application/json", "", "llm-glm.test_v1", "Bearer sk-oom-glm" },
	{ "file", "{\"model\":\"claude-1\"}", 20, "application/json", "", "llm-claude.test", "sk-oom-file" },
	{ "star", "{\"model\":\"other\"}", 17, "application/json", "", "llm-star.test", "" },
	{ "gzip", "", 0, "application/json", "gzip", "llm-glm.test_v1", "Bearer sk-oom-glm" },
	{ "deflate", "", 0, "application/json", "deflate", "llm-claude.test", "sk-oom-file" },
	{ "zstd", "\x28\xb5\x2f\xfd\x20\x11\x89\x00\x00{\"model\":\"glm-1\"}", 26, "application/json", "zstd",
	  "llm-glm.test_v1", "Bearer sk-oom-glm" },
	{ "br", "\x0b\x08\x80{\"model\":\"glm-1\"}\x03", 21, "application/json", "br", "llm-glm.test_v1",
	  "Bearer sk-oom-glm" },
	{ "multipart", "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nglm-1\r\n--b--\r\n", 67,
	  "multipart/form-data; boundary=b", "", "llm-glm.test_v1", "Bearer sk-oom-glm" },
	{ "form", "a=b&model=glm-1", 15, "application/x-www-form-urlencoded", "", "llm-glm.test_v1",
	  "Bearer sk-oom-glm" },
};

enum { REQUESTS = sizeof requests / sizeof requests[0] };

static void compress_one(size_t i, const char *text, int bits)
{
	z_stream z = { .next_in = (z_const Bytef *)(uintptr_t)text, .avail_in = (uInt)strlen(text) };

	deflateInit2(&z, 9, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
	z.next_out = requests[i].bytes;
	z.avail_out = sizeof requests[i].bytes;
	CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	requests[i].len = z.total_out;
	deflateEnd(&z);
}

static policy *decided_by;

static bool has(slice where, const char *what)
{
	return memmem(where.ptr, where.len, what, strlen(what)) != NULL;
}

static bool deciding(void)
{
	spop_session s;
	bool fell_back;

	spop_session_init(&s, 16380, true);
	for (size_t i = 0; i < REQUESTS; i++) {
		buf out;
		decision d;
		llm_request r = { .contract = CONTRACT,
				  .sample = { .method = SLICE("POST"),
					      .path = SLICE("/v1/responses"),
					      .ctype = slice_cstr(requests[i].ctype),
					      .cenc = slice_cstr(requests[i].cenc),
					      .body = slice_of(requests[i].bytes, requests[i].len),
					      .buffered = requests[i].len,
					      .length = requests[i].len,
					      .sized = true } };
		buf_init(&out, 65536);
		decide(decided_by, &r, &d);
		size_t room = decision_ack_room(&d);
		if (buf_reserve(&out, room))
			out.end += decision_ack(&d, &s, out.data, room, 1, 1, &fell_back);
		slice ack = buf_slice(&out);
		bool allowed = d.refusal == REFUSE_NOT;
		bool right = allowed && has(slice_of(d.backend.ptr, d.backend.len), requests[i].backend) &&
			     d.replace == (requests[i].credential[0] != '\0');
		bool safe = !allowed && (d.refusal == REFUSE_GATEWAY || d.refusal == REFUSE_AUTH_UNAVAILABLE) &&
			    fail_at != 0;
		if (allowed && ack.len)
			right = right && has(ack, requests[i].backend) && has(ack, requests[i].credential);
		if (!allowed && ack.len)
			safe = safe && !has(ack, "sk-oom") && !has(ack, "llm-");
		if (!ack.len && !fail_at)
			right = false;
		buf_deinit(&out);
		if (!right && !safe) {
			printf("%s: refusal %d, backend %.*s\n", requests[i].name, (int)d.refusal, (int)d.backend.len,
			       d.backend.ptr ? d.backend.ptr : "");
			return false;
		}
	}
	return true;
}

/* A credential file that could not be read for lack of memory is read at the next policy_refresh(). */
static bool policies(void)
{
	config c;
	err e;
	unsigned long at = fail_at;

	fail_at = 0;
	if (!config_load(&c, path, NULL, 0, &e))
		return false;
	unsigned long used = count;
	fail_at = at ? used + at : 0;
	policy *p = policy_new(c.table, NULL);
	c.table = NULL;
	bool good = true;
	for (unsigned round = 0; p && round < 3; round++) {
		if (round == 2)
			fail_at = 0; /* memory is back */
		policy *next = policy_refresh(p, NULL);
		if (next) {
			policy_unref(p);
			p = next;
		}
	}
	if (p) {
		const char *problem;
		slice got = credential_read(&p->table->routes[1].auth, &p->secrets[1], &problem);
		good = slice_eq(got, SLICE("sk-oom-file"));
	}
	policy_unref(p);
	config_deinit(&c);
	count -= used < count ? used : count;
	return good && (p || at);
}

/* ---- the rest that works without a socket */

static bool responding(void)
{
	unsigned char room[2048], message[1024];
	spop_session s;
	spop_message m;
	spop_writer w = { message, message, message + sizeof message, false };

	spop_put_name(&w, SLICE("llm-response"));
	spop_put_u8(&w, 2);
	spop_put_name(&w, SLICE("cenc"));
	spop_put_str(&w, SLICE("gzip"));
	spop_put_name(&w, SLICE("body"));
	spop_put_str(&w, slice_of(requests[3].bytes, requests[3].len));
	spop_session_init(&s, 1024, true);
	cursor c = cursor_of(slice_of(message, (size_t)(w.pos - message)));
	return spop_message_next(&c, &m) && response_ack(&m, &s, room, sizeof room, 1, 1) > 0;
}

static bool pricing(void)
{
	static const char line[] =
		"{\"v\":1,\"id\":\"a\",\"te\":9,\"status\":200,\"ta\":1,\"model\":\"gpt-5\",\"protocol\":\"openai\","
		"\"usage\":\"{\\\"prompt_tokens\\\":10,\\\"completion_tokens\\\":5,\\\"total_tokens\\\":15}\"}";
	static logline l;
	usage_parts parts;
	err e = { 0 };
	price_table *t = price_table_load(NULL, &e);

	if (!t && (!fail_at || !e.text[0]))
		return false;
	bool good = logline_parse(slice_cstr(line), slice_of(NULL, 0), &l) == LOGLINE_OK;
	usage_apply(&l.record, l.usage, &l.hints, &parts);
	price_apply(t, &l.record, &parts, SLICE("glm-4.6"));
	good = good && (t ? l.record.price == PRICE_TABLE && l.record.cost > 0 :
			    l.record.price == PRICE_UNPRICED && l.record.cost == 0);
	price_table_unref(t);
	return good;
}

/* A file of clients is taken whole, or memory is what is said to be missing; a mistake is never taken. */
static bool clients(void)
{
	static const char *const texts[] = {
		"{\"clients\":[{\"name\":\"a\",\"project\":\"p\",\"models\":[\"m\",\"n*\"],\"keys\":[{\"sha256\":"
		"\"0011223344556677889900112233445566778899001122334455667788990011\"}]},{\"name\":\"b\",\"project\":\"q\"}],"
		"\"projects\":[{\"name\":\"p\"}]}",
		"{\"clients\":[{\"name\":\"a\"},{\"name\":\"a\"},{\"nam\":1}]}"
	};
	bool good = true;

	for (size_t i = 0; i < 2; i++) {
		err_list all = { .items = NULL };
		err e = { 0 };
		client_table *t = clients_parse("file", texts[i], &all, &e);
		bool starved = !t && e.kind == ERR_MEMORY && fail_at;
		good = good && (i == 0 ? (t && t->count == 2 && t->keys_count == 1 && t->projects_count == 2 &&
					  t->clients[1].project_at == 1) ||
						 starved :
					 !t && (all.count == 2 || starved));
		client_table_unref(t);
		err_list_deinit(&all);
	}
	return good;
}

static void a_file_of_clients_is_whole_or_refused(void)
{
	every(clients);
}

static void a_configuration_is_whole_or_refused(void)
{
	every(loading);
}

static void a_variable_is_whole_or_refused(void)
{
	every(loading_the_variable);
}

static void a_decision_is_right_or_a_refusal(void)
{
	config c;
	err e;

	CHECK(config_load(&c, path, NULL, 0, &e));
	decided_by = policy_new(c.table, NULL);
	c.table = NULL;
	config_deinit(&c);
	every(deciding);
	policy_unref(decided_by);
}

static void a_policy_is_whole_in_the_end(void)
{
	/* A file that changed less than 2 s ago is read again in any case: wait until this one is older. */
	nanosleep(&(struct timespec){ 2, 200000000 }, NULL);
	every(policies);
}

static void a_response_is_answered(void)
{
	every(responding);
}

static void a_price_is_right_or_none(void)
{
	every(pricing);
}

static void write_file(char *where, size_t cap, const char *text, size_t len)
{
	snprintf(where, cap, "/tmp/oom-XXXXXX");
	int fd = mkstemp(where);
	CHECK(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
}

int main(void)
{
	char text[sizeof configuration + 64];

	setenv("OOM_GLM", "sk-oom-glm", 1);
	write_file(secret_path, sizeof secret_path, "sk-oom-file\n", 12);
	int len = snprintf(text, sizeof text, configuration, secret_path);
	write_file(path, sizeof path, text, (size_t)len);
	compress_one(3, "{\"messages\":[],\"model\":\"glm-1\"}", 15 + 16);
	compress_one(4, "{\"messages\":[],\"model\":\"claude-1\"}", 15);

	config_init();
	RUN(a_configuration_is_whole_or_refused);
	RUN(a_decision_is_right_or_a_refusal);
	RUN(a_policy_is_whole_in_the_end);
	RUN(a_response_is_answered);
	RUN(a_price_is_right_or_none);
	RUN(a_file_of_clients_is_whole_or_refused);
	setenv(ROUTES_VARIABLE,
	       "[{\"model_prefix\":\"glm-\",\"upstream\":\"https://glm.test\",\"auth\":\"env:OOM_GLM\"},5,"
	       "{\"model_prefix\":\"b\",\"upstream\":\"no url\",\"backend\":\"x\"},{\"model_prefix\":\"*\"}]",
	       1);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	dup2(null, STDERR_FILENO); /* the log's warnings */
	RUN(a_variable_is_whole_or_refused);
	unlink(path);
	unlink(secret_path);
	return unit_end();
}
