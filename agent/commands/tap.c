/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm tap`: relays streams between HAProxy and HAProxy's legs, and tells the agent what they used. Reads no
 * configuration file, because it needs no policy and must see no credential. With --drain: asks the tap that runs to
 * drain, and waits for that. */
#include "tap/tap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/address.h"
#include "base/log.h"
#include "commands/cli.h"
#include "config/variables.h"
#include "tap/orders.h"

static int complain(const char *what, const char *more)
{
	fprintf(stderr, "spoa-llm: %s%s\n", what, more);
	return EX_USAGE;
}

/* Reads a whole number from `least` to `most`. NULL leaves `*out` as it is. */
static bool take_number(uint64_t *out, const char *text, uint64_t least, uint64_t most)
{
	char *end;

	if (!text)
		return true;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || n < least || n > most)
		return false;
	*out = n;
	return true;
}

/* ---- of the options, those that a tap has */

/* Returns the place of an option's value among its choices: of its flag, else its variable, else its default. -1: it is
 * none of the choices, which was said. */
static int choice(const char *key, const option_text *flags, size_t count)
{
	const option_info *option = option_by_key(key);
	const char *text = option->fallback;
	char variable[64];

	option_variable(option, variable, sizeof variable);
	const char *set = getenv(variable);
	/* An empty variable counts as one that is not set. */
	if (set && *set)
		text = set;
	for (size_t i = 0; i < count; i++)
		if (flags[i].option == option)
			text = flags[i].text;
	for (int i = 0; option->choices[i]; i++)
		if (strcmp(option->choices[i], text) == 0)
			return i;
	fprintf(stderr, "spoa-llm: %s is \"%.40s\"; give one of", key, text);
	for (int i = 0; option->choices[i]; i++)
		fprintf(stderr, "%s %s", i ? "," : "", option->choices[i]);
	fputs("\n", stderr);
	return -1;
}

/* Returns whether `address` is that of a unix socket of this kind, and says what is wrong with it if it is not. */
static bool is_socket(const char *flag, const char *address, bool datagram)
{
	const address_rules rules = { .allow_remote = true, .datagrams = true };
	const char *kind = datagram ? "dgram@" : "unix@";
	socket_address a;
	err e;

	bool parsed = address_parse(&a, address, &rules, &e);
	if (parsed && a.sa.sa_family == AF_UNIX && a.datagram == datagram)
		return true;
	if (!parsed && strncmp(address, kind, strlen(kind)) == 0)
		fprintf(stderr, "spoa-llm: --%s: %s\n", flag, e.text);
	else
		fprintf(stderr, "spoa-llm: --%s \"%.120s\": a unix %s socket is needed here: %s/PATH\n", flag, address,
			datagram ? "datagram" : "stream", kind);
	return false;
}

static bool are_sockets(const tap_settings *s)
{
	bool ok = is_socket("control", s->control, false) && (!*s->report || is_socket("report", s->report, true));

	for (size_t i = 0; ok && i < s->listen_count; i++)
		ok = is_socket("listen", s->listen[i], false);
	return ok;
}

/* True if both addresses are of one file. */
static bool same_path(const char *a, const char *b)
{
	a += strncmp(a, "unix@", 5) == 0 ? 5 : 0;
	b += strncmp(b, "unix@", 5) == 0 ? 5 : strncmp(b, "dgram@", 6) == 0 ? 6 : 0;
	return strcmp(a, b) == 0;
}

static int take_options(tap_settings *s, const option_text *flags, size_t count)
{
	char flag[64];

	for (size_t i = 0; i < count; i++) {
		const char *key = flags[i].option->key;
		bool list = flags[i].option->type == OPTION_LIST;
		for (size_t k = 0; k < i && !list; k++)
			if (flags[k].option == flags[i].option)
				return complain("this option is given twice: ", key);
		if (strcmp(key, "listen") == 0) {
			if (s->listen_count == TAP_DOORS)
				return complain("a tap listens on at most 8 sockets", "");
			for (size_t k = 0; k < s->listen_count; k++)
				if (same_path(s->listen[k], flags[i].text))
					return complain("a tap listens on a socket once: --listen ", flags[i].text);
			s->listen[s->listen_count++] = flags[i].text;
		} else if (strcmp(key, "log_level") != 0 && strcmp(key, "log_format") != 0) {
			option_flag(flags[i].option, flag, sizeof flag);
			fprintf(stderr,
				"spoa-llm: tap has no --%s; of the options it has --listen, --log-level and "
				"--log-format\n",
				flag);
			return EX_USAGE;
		}
	}
	if (!s->listen_count)
		s->listen[s->listen_count++] = TAP_LISTEN;
	int level = choice("log_level", flags, count), format = choice("log_format", flags, count);
	if (level < 0 || format < 0)
		return EX_USAGE;
	log_setup((log_level)level, (log_format)format);
	return EX_OK;
}

/* ---- --drain */

static int connect_to(const char *address)
{
	const address_rules rules = { .allow_remote = false };
	socket_address a;
	err e;

	if (!address_parse(&a, address, &rules, &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return -1;
	}
	int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, &a.sa, a.len) == 0)
		return fd;
	fprintf(stderr, "spoa-llm: no tap answers at %s: %s\n", address, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Asks the tap at `address` to drain, and waits until it has. */
static int drain(const char *address)
{
	bool terminal = isatty(STDERR_FILENO);
	char line[32];
	long left = -1;

	int fd = connect_to(address);
	if (fd < 0)
		return EX_UNAVAILABLE;
	FILE *f = fdopen(fd, "r+");
	if (!f || fputs(ORDER_DRAIN, f) < 0 || fflush(f) != 0) {
		fprintf(stderr, "spoa-llm: %s: %s\n", address, strerror(errno));
		if (f)
			fclose(f);
		return EX_IOERR;
	}
	while (fgets(line, sizeof line, f)) {
		left = strtol(line, NULL, 10);
		if (terminal)
			fprintf(stderr, "\r%ld streams are left \x1b[K", left);
	}
	if (terminal)
		fputs("\r\x1b[K", stderr);
	fclose(f);
	if (left == 0)
		return EX_OK;
	fprintf(stderr,
		left < 0 ? "spoa-llm: %s: the tap does not take orders from this user\n" :
			   "spoa-llm: %s: the tap ended before its streams had\n",
		address);
	return left < 0 ? EX_NOPERM : EX_UNAVAILABLE;
}

int command_tap(const option_text *flags, size_t count, const tap_flags *ask)
{
	/* --listen has no variable here, because SPOA_LLM_LISTEN is the agent's. */
	static const char *const variables[] = { "log_level", "log_format", NULL };
	tap_settings s = { .legs = ask->legs ? ask->legs : TAP_LEGS,
			   .report = ask->report ? ask->report : TAP_REPORT,
			   .control = ask->control ? ask->control : TAP_CONTROL,
			   .argv = ask->argv };
	uint64_t streams = TAP_STREAMS, memory = TAP_MEMORY;

	/* Forbid core files, and debuggers of the same user, because prompts and answers pass through. */
	prctl(PR_SET_DUMPABLE, 0);
	if (ask->file)
		return complain("tap reads no configuration file", "");
	int code = take_options(&s, flags, count);
	if (code != EX_OK)
		return code;
	if (!are_sockets(&s))
		return EX_USAGE;
	variables_check(NULL, variables);
	if (ask->drain)
		return drain(s.control);
	for (size_t i = 0; i < s.listen_count; i++) {
		if (same_path(s.listen[i], s.control))
			return complain("--control needs a socket of its own, which is not one of --listen: ",
					s.control);
		if (same_path(s.listen[i], s.report))
			return complain("--report is a socket of the agent's, which is not one of --listen: ",
					s.report);
	}
	if (same_path(s.control, s.report))
		return complain("--report is a socket of the agent's, and not that of --control: ", s.report);
	if (*s.legs != '/')
		return complain("--legs takes the absolute path of a directory, not ", s.legs);
	if (strlen(s.legs) > TAP_LEGS_MAX) {
		fprintf(stderr,
			"spoa-llm: --legs: a unix socket could not have a path as long as that of a leg in %s (%zu bytes); "
			"choose a directory whose path has at most %d\n",
			s.legs, strlen(s.legs), (int)TAP_LEGS_MAX);
		return EX_USAGE;
	}
	if (!take_number(&streams, ask->streams, 1, 1000000))
		return complain("--streams takes a whole number from 1 to 1000000, not ", ask->streams);
	if (!take_number(&memory, ask->memory, 1048576, UINT64_C(1) << 40))
		return complain("--memory takes a whole number of bytes from 1048576 to 1099511627776, not ",
				ask->memory);
	s.streams = (unsigned)streams;
	s.memory = (size_t)memory;
	return tap_run(&s);
}
