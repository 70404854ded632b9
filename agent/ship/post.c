/* SPDX-License-Identifier: MIT */
#include "ship/post.h"

/* Its checks of types are macros, which would take the place of members of `lib`. */
#define CURL_DISABLE_TYPECHECK
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"

enum {
	CONNECT_S = 10,
	ANSWER_S = 30,          /* for a whole request */
	HEADERS_MAX = 16 << 10, /* bytes of the file with headers */
};

/* ---- libcurl */

/* clang-format off */
#define CURL_FUNCTIONS(X) \
	X(curl_global_init) X(curl_easy_init) X(curl_easy_setopt) X(curl_easy_getinfo) X(curl_easy_cleanup) \
	X(curl_easy_strerror) X(curl_multi_init) X(curl_multi_add_handle) X(curl_multi_remove_handle) \
	X(curl_multi_perform) X(curl_multi_poll) X(curl_multi_info_read) X(curl_multi_cleanup) \
	X(curl_multi_strerror) X(curl_slist_append) X(curl_slist_free_all)
/* clang-format on */

static struct {
#define CURL_MEMBER(name) __typeof__(&(name)) name;
	CURL_FUNCTIONS(CURL_MEMBER)
} lib;

/* Loads libcurl once. False: it is not there. */
static bool load(void)
{
	static void *so;
	void *found;
	bool all = true;

	if (so)
		return true;
	so = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!so)
		so = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL);
	if (!so)
		return false;
#define CURL_FIND(name) \
	found = dlsym(so, #name); \
	memcpy(&lib.name, &found, sizeof found); \
	all = all && found;
	CURL_FUNCTIONS(CURL_FIND)
	if (all && lib.curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		return true;
	dlclose(so);
	so = NULL;
	return false;
}

struct post {
	const post_settings *set;
	CURLM *multi; /* keeps the connection between two requests */
	CURL *easy;
	char problem[CURL_ERROR_SIZE];
	post_answer *answer;
};

static size_t take_body(char *bytes, size_t size, size_t count, void *ctx)
{
	post_answer *a = ((post *)ctx)->answer;
	size_t len = size * count, room = sizeof a->body - a->body_len;

	memcpy(a->body + a->body_len, bytes, len < room ? len : room);
	a->body_len += len < room ? len : room;
	return len <= room ? len : 0; /* ends the request: an answer without end would hold it up */
}

post *post_new(const post_settings *settings, err *e)
{
	if (!load()) {
		err_set(e, "libcurl is not there: install Debian's package libcurl4");
		return NULL;
	}
	post *p = calloc(1, sizeof *p);
	if (!p) {
		err_memory(e);
		return NULL;
	}
	p->set = settings;
	p->multi = lib.curl_multi_init();
	p->easy = lib.curl_easy_init();
	bool ok = p->multi && p->easy;
#define SET(option, value) ok = ok && lib.curl_easy_setopt(p->easy, option, value) == CURLE_OK
	SET(CURLOPT_URL, settings->url);
	SET(CURLOPT_USERAGENT, settings->agent);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	SET(CURLOPT_TIMEOUT, (long)ANSWER_S);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	/* What is not encrypted goes to its host alone. */
	if (strncmp(settings->url, "http://", 7) == 0)
		SET(CURLOPT_PROXY, "");
	SET(CURLOPT_ERRORBUFFER, p->problem);
	SET(CURLOPT_WRITEFUNCTION, take_body);
	SET(CURLOPT_WRITEDATA, p);
	SET(CURLOPT_POST, 1L);
	if (*settings->ca_file)
		SET(CURLOPT_CAINFO, settings->ca_file);
	if (ok)
		return p;
	post_free(p);
	err_set(e, "libcurl is too old, because it does not know a setting that is needed: install a newer libcurl4");
	return NULL;
}

void post_free(post *p)
{
	if (!p)
		return;
	if (p->easy)
		lib.curl_easy_cleanup(p->easy);
	if (p->multi)
		lib.curl_multi_cleanup(p->multi);
	free(p);
}

/* ---- headers */

/* Reads the file into `text`, which gets a NUL at its end. Nobody but its owner and group may read it, and its owner is
 * root or this process' user. */
static bool read_file(const char *path, char text[HEADERS_MAX], err *e)
{
	struct stat st;
	size_t len = 0;
	ssize_t n = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || fstat(fd, &st) != 0)
		err_set(e, "otlp_headers_file %.200s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		err_set(e, "otlp_headers_file %.200s is no file", path);
	else if (st.st_uid != 0 && st.st_uid != geteuid())
		err_set(e,
			"otlp_headers_file %.200s belongs to the user %u: it has to belong to root or to the user that reads it",
			path, (unsigned)st.st_uid);
	else if (st.st_mode & 027)
		err_set(e,
			"otlp_headers_file %.200s: others may read it, or its group may write it: chmod 0600 or 0640",
			path);
	else
		while (len < HEADERS_MAX - 1 && (n = read(fd, text + len, HEADERS_MAX - 1 - len)) > 0)
			len += (size_t)n;
	bool ok = n == 0 || (n < 0 && err_set(e, "otlp_headers_file %.200s: %s", path, strerror(errno)));
	if (fd >= 0 && n > 0 && len == HEADERS_MAX - 1)
		err_set(e, "otlp_headers_file %.200s has more than %d bytes", path, HEADERS_MAX - 2);
	if (fd >= 0)
		close(fd);
	text[len] = '\0';
	return ok;
}

/* True for a line `Name: value` that is one header. */
static bool is_header(const char *line)
{
	size_t name = strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");
	bool ok = name > 0 && line[name] == ':' && line[name + 1 + strspn(line + name + 1, " \t")];

	for (const char *c = line; ok && *c; c++)
		ok = (unsigned char)*c >= ' ' || *c == '\t';
	return ok;
}

static bool add(struct curl_slist **list, const char *line)
{
	struct curl_slist *longer = lib.curl_slist_append(*list, line);
	if (longer)
		*list = longer;
	return longer != NULL;
}

/* Adds the headers of the file to `*list`. */
static bool add_file(struct curl_slist **list, const char *path, err *e)
{
	char text[HEADERS_MAX], *rest = text;
	bool ok = !*path || read_file(path, text, e);
	int number = 0;

	for (char *line; *path && ok && (line = strsep(&rest, "\n"));) {
		size_t len = strlen(line);
		number++;
		if (len && line[len - 1] == '\r')
			line[len - 1] = '\0';
		if (!*line || *line == '#')
			continue;
		if (!is_header(line))
			ok = err_set(e, "otlp_headers_file %.200s, line %d: \"Name: value\" is expected", path, number);
		else if (!add(list, line))
			ok = err_memory(e);
	}
	explicit_bzero(text, sizeof text);
	return ok;
}

/* Frees the list, and wipes what it has. */
static void forget(struct curl_slist *list)
{
	for (struct curl_slist *at = list; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	lib.curl_slist_free_all(list);
}

/* ---- sending */

/* Waits until the request has ended. */
static post_result run(post *p, CURLcode *code, err *e)
{
	struct curl_waitfd stop = { .fd = p->set->stop_fd, .events = CURL_WAIT_POLLIN };
	int running = 1, left;

	for (;;) {
		CURLMcode rc = lib.curl_multi_perform(p->multi, &running);
		if (rc == CURLM_OK && !running)
			break;
		if (rc == CURLM_OK)
			rc = lib.curl_multi_poll(p->multi, &stop, 1, 1000, NULL);
		if (rc != CURLM_OK) {
			err_set(e, "the collector: %s", lib.curl_multi_strerror(rc));
			return POST_LOST;
		}
		if (stop.revents)
			return POST_STOPPED;
	}
	const CURLMsg *m = lib.curl_multi_info_read(p->multi, &left);
	*code = m && m->msg == CURLMSG_DONE ? m->data.result : CURLE_RECV_ERROR;
	return POST_ANSWERED;
}

/* Says whether a failure needs a person. */
static post_result failed(const post *p, CURLcode code, err *e)
{
	bool setting = code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE ||
		       code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;

	err_set(e, "the collector at %.150s: %s%s", p->set->url,
		*p->problem ? p->problem : lib.curl_easy_strerror(code),
		code == CURLE_SSL_CONNECT_ERROR ? "; does it speak TLS at this port?" : "");
	return setting ? POST_REFUSED : POST_LOST;
}

post_result post_send(post *p, slice body, post_answer *answer, err *e)
{
	struct curl_slist *headers = NULL;
	CURLcode code = CURLE_OK;
	post_result result = POST_REFUSED;
	long status = 0;
	curl_off_t retry = 0;

	memset(answer, 0, sizeof *answer);
	p->answer = answer;
	*p->problem = '\0';
	err_set(e, "libcurl does not take the request");
	bool ok = (add(&headers, "Content-Type: application/x-protobuf") && add(&headers, "Content-Encoding: gzip") &&
		   add(&headers, "Expect:")) ||
		  err_memory(e);
	ok = ok && add_file(&headers, p->set->headers_file, e);
	SET(CURLOPT_HTTPHEADER, headers);
	SET(CURLOPT_POSTFIELDS, body.ptr);
	SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
	if (ok && lib.curl_multi_add_handle(p->multi, p->easy) == CURLM_OK) {
		result = run(p, &code, e);
		lib.curl_multi_remove_handle(p->multi, p->easy);
	}
	answer->cut = code == CURLE_WRITE_ERROR && answer->body_len == sizeof answer->body;
	if (result == POST_ANSWERED && code != CURLE_OK && !answer->cut)
		result = failed(p, code, e);
	if (result == POST_ANSWERED) {
		lib.curl_easy_getinfo(p->easy, CURLINFO_RESPONSE_CODE, &status);
		lib.curl_easy_getinfo(p->easy, CURLINFO_RETRY_AFTER, &retry);
		answer->status = (int)status;
		answer->retry_s = retry > 0 ? (int64_t)retry : 0;
	}
	lib.curl_easy_setopt(p->easy, CURLOPT_HTTPHEADER, NULL);
	forget(headers);
	return result;
}
