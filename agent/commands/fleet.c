/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm fleet init`, `add`, `list`, `retire` and `drop`. */
#include "ship/fleet.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sum.h"
#include "base/whole_file.h"
#include "commands/ask.h"
#include "commands/fleet_command.h"
#include "commands/interrupt.h"
#include "commands/progress.h"
#include "config/fleet.h"
#include "report/fleet_list.h"
#include "report/print.h"

/* ---- init */

typedef struct filling {
	progress shown;
	int64_t days;
	bool stopped;
} filling;

static bool on_filled(void *ctx, const char *gateway, int64_t day_s)
{
	filling *f = ctx;

	(void)gateway;
	(void)day_s;
	progress_time(&f->shown, ++f->days, 0);
	f->stopped = interrupted();
	return !f->stopped;
}

/* Makes the sums that a newer version of the schema has of what was there before. */
static int fill(pq *conn)
{
	filling f = { .shown = progress_begin("adding up days") };
	char count[PRINT_NUMBER];
	err e;

	interrupt_begin();
	pq_result result = fleet_fill(conn, on_filled, &f, &e);
	progress_end(&f.shown);
	if (result != PQ_OK)
		return fleet_command_failed(result, &e);
	if (f.stopped)
		printf("stopped after %s days of gateways, the newest ones; `spoa-llm fleet init` goes on with the others\n",
		       print_count(count, f.days));
	else if (f.days)
		printf("%s days of gateways that were there before are added up by day and by all labels\n",
		       print_count(count, f.days));
	return f.stopped ? EXIT_INTERRUPTED : EX_OK;
}

int command_fleet_init(const config *c, const ledger_request *ask)
{
	int code = EX_OK, was, is;
	err e;

	(void)ask;
	pq *conn = fleet_command_open(c, true, 3600, &code);
	if (!conn)
		return code;
	pq_result result = fleet_init(conn, &was, &is, &e);
	if (result != PQ_OK)
		code = fleet_command_failed(result, &e);
	else if (was == is)
		printf("the schema spoa_llm has version %d, as it had\n", is);
	else if (was)
		printf("the schema spoa_llm has version %d now; it had version %d\n", is, was);
	else
		printf("the schema spoa_llm is made, version %d; `spoa-llm fleet add NAME` makes the role of a gateway\n",
		       is);
	if (result == PQ_OK)
		code = fill(conn);
	pq_close(conn);
	int output = finish_output();
	return code == EX_OK ? output : code;
}

/* ---- add */

enum { PASSWORD_BYTES = 24, PASSWORD_LEN = 2 * PASSWORD_BYTES };

static bool draw_password(char out[PASSWORD_LEN + 1])
{
	unsigned char bits[PASSWORD_BYTES];

	if (getrandom(bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
		fprintf(stderr, "spoa-llm: the kernel gives no random bits: %s\n", strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof bits; i++)
		snprintf(out + 2 * i, 3, "%02x", bits[i]);
	explicit_bzero(bits, sizeof bits);
	return true;
}

/* Begins the file of the password. A new file is for its owner alone; one that is replaced stays readable for its group
 * if it was. */
static bool begin_file(whole_file *file, const char *path, err *e)
{
	struct stat st;
	mode_t mode = stat(path, &st) == 0 ? st.st_mode & 0640 : 0600;

	if (!whole_file_begin(file, path, e))
		return false;
	if (fchmod(fileno(file->f), mode) == 0)
		return true;
	whole_file_drop(file);
	return err_set(e, "%.200s: its permissions cannot be set: %s", path, strerror(errno));
}

/* Writes the password where it was asked for. `file` was begun if there is an `output`. */
static int give_password(const ledger_request *ask, whole_file *file, const char *password)
{
	bool to_file = ask->output && strcmp(ask->output, "-") != 0;
	err e;

	fprintf(stderr, "the role " FLEET_ROLE "%s %s; its password %s%s\n", ask->name,
		ask->replace ? "has a new password" : "is made",
		to_file ? "is in " : "comes once:", to_file ? ask->output : "");
	if (!to_file) {
		printf("%s\n", password);
		return finish_output();
	}
	fprintf(file->f, "%s\n", password);
	if (whole_file_end(file, &e))
		return EX_OK;
	fprintf(stderr,
		"spoa-llm: %s\nspoa-llm: the password is lost: `spoa-llm fleet add %s --replace` makes another one\n",
		e.text, ask->name);
	return EX_CANTCREAT;
}

int command_fleet_add(const config *c, const ledger_request *ask)
{
	bool to_file = ask->output && strcmp(ask->output, "-") != 0;
	char password[PASSWORD_LEN + 1];
	whole_file file = { .f = NULL };
	int code = EX_OK;
	err e;

	if (!fleet_name_check(slice_cstr(ask->name), &e)) {
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		return EX_USAGE;
	}
	pq *conn = fleet_command_open(c, true, 0, &code);
	if (!conn)
		return code;
	if (to_file && !begin_file(&file, ask->output, &e)) {
		file.f = NULL;
		fprintf(stderr, "spoa-llm: %s\n", e.text);
		code = EX_CANTCREAT;
	} else if (!draw_password(password)) {
		code = EX_OSERR;
	} else {
		pq_result result = fleet_add(conn, ask->name, ask->reader, ask->replace, password, &e);
		code = result == PQ_OK ? give_password(ask, &file, password) : fleet_command_failed(result, &e);
		if (result == PQ_OK)
			file.f = NULL;
		explicit_bzero(password, sizeof password);
	}
	if (file.f)
		whole_file_drop(&file);
	pq_close(conn);
	return code;
}

/* ---- list */

/* Writes a span as "12 s", "3 h"; "-" for none. */
static const char *span(char out[PRINT_NUMBER], int64_t ms)
{
	static const struct {
		int64_t ms;
		const char *unit;
	} units[] = { { 86400000, "d" }, { 3600000, "h" }, { 60000, "min" }, { 1000, "s" } };

	snprintf(out, PRINT_NUMBER, ms > 0 ? "0 s" : "-");
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (ms >= 2 * units[i].ms || (i == 3 && ms >= units[i].ms)) {
			snprintf(out, PRINT_NUMBER, "%" PRId64 " %s", ms / units[i].ms, units[i].unit);
			break;
		}
	return out;
}

static void list_difference(const fleet_gateway *g, const char *name, const char *part, int64_t since_ms)
{
	char time[PRINT_NUMBER];

	/* By the server's clock, as `since_ms` is. */
	if (since_ms)
		printf("  %s has other %s than most gateways, for %s\n", name, part,
		       span(time, sub_capped(add_capped(g->seen_ms, g->quiet_ms), since_ms)));
}

static void list_one(void *ctx, const fleet_gateway *g)
{
	size_t *count = ctx;
	terminal plain = { .utf8 = terminal_of(stdout).utf8 };
	char name[PRINT_LABEL], version[PRINT_LABEL], uuid[PRINT_LABEL];
	char rows[PRINT_NUMBER], behind[PRINT_NUMBER], lag[PRINT_NUMBER], quiet[PRINT_NUMBER];

	if (!(*count)++)
		printf("%-24s %14s %12s %8s %10s %6s  %-10s %s\n", "GATEWAY", "ROWS", "BEHIND", "LAG", "LAST SEEN",
		       "EPOCH", "VERSION", "UUID");
	int width = print_label(name, &plain, g->name, 24);
	print_label(version, &plain, g->version, 40);
	print_label(uuid, &plain, g->uuid, 40);
	printf("%s%*s %14s %12s %8s %10s %6" PRId64 "  %-10s %s%s\n", name, 24 - width, "", print_count(rows, g->rows),
	       print_count(behind, g->behind), span(lag, g->lag_ms), span(quiet, g->quiet_ms), g->epoch, version, uuid,
	       *g->writer ? "" : " (retired)");
	list_difference(g, name, "routes", g->routes_since_ms);
	list_difference(g, name, "clients", g->clients_since_ms);
}

int command_fleet_list(const config *c, const ledger_request *ask)
{
	size_t count = 0;
	int code = EX_OK;
	err e;

	pq *conn = fleet_command_open(c, false, 0, &code);
	if (!conn)
		return code;
	pq_result result = ask->json ? fleet_list_write(conn, stdout, &e) : fleet_gateways(conn, list_one, &count, &e);
	if (result == PQ_OK && !ask->json && !count)
		printf("no gateway has registered yet: `spoa-llm fleet add NAME` makes its role, and `spoa-llm ship` registers it\n");
	pq_close(conn);
	code = finish_output();
	return result == PQ_OK ? code : fleet_command_failed(result, &e);
}

/* ---- retire */

int command_fleet_retire(const config *c, const ledger_request *ask)
{
	bool was = false;
	int code = EX_OK;
	err e;

	pq *conn = fleet_command_open(c, true, 0, &code);
	if (!conn)
		return code;
	pq_result result = fleet_retire(conn, ask->name, &was, &e);
	if (result != PQ_OK) {
		code = fleet_command_failed(result, &e);
	} else if (!was) {
		fprintf(stderr, "spoa-llm: no gateway that writes has this name; `spoa-llm fleet list` shows all\n");
		code = EX_DATAERR;
	} else {
		printf("the name and the role of the gateway are free for another ledger; its rows stay\n");
		code = finish_output();
	}
	pq_close(conn);
	return code;
}

/* ---- drop */

/* Reads YYYY-MM. */
static bool month_of(const char *text, int64_t *ms)
{
	static const char form[] = "dddd-dd";
	struct tm tm = { .tm_mday = 1 };

	if (!text || strlen(text) != sizeof form - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != form[i])
			return false;
	tm.tm_year = (int)strtol(text, NULL, 10) - 1900;
	tm.tm_mon = (int)strtol(text + 5, NULL, 10) - 1;
	if (tm.tm_mon < 0 || tm.tm_mon > 11) /* which timegm() would move to another year */
		return false;
	*ms = (int64_t)timegm(&tm) * 1000;
	return true;
}

static void show_month(void *ctx, const char *name)
{
	size_t *count = ctx;
	terminal plain = { .utf8 = terminal_of(stdout).utf8 };
	char label[PRINT_LABEL];

	++*count;
	print_label(label, &plain, name, 64);
	printf("  spoa_llm.%s\n", label);
}

/* Asks at the terminal. */
static bool agreed(const ledger_request *ask)
{
	if (ask->yes)
		return true;
	if (!ask_possible()) {
		fprintf(stderr, "spoa-llm: nothing is removed: say --yes, because nobody can be asked here\n");
		return false;
	}
	return fflush(stdout) == 0 && ask_yes("Remove these rows for ever?");
}

int command_fleet_drop(const config *c, const ledger_request *ask)
{
	int64_t before = 0;
	size_t count = 0;
	int code = EX_OK;
	err e;

	if (!month_of(ask->before, &before)) {
		fprintf(stderr, "spoa-llm: --before YYYY-MM is needed: the first month whose requests stay\n");
		return EX_USAGE;
	}
	if (before > clock_wall_ms()) {
		fprintf(stderr, "spoa-llm: %s has not begun: gateways would send no requests until then\n",
			ask->before);
		return EX_USAGE;
	}
	pq *conn = fleet_command_open(c, true, 3600, &code);
	if (!conn)
		return code;
	printf("the requests of all gateways before %s, and what the default partition has of that time; their sums stay:\n",
	       ask->before);
	pq_result result = fleet_droppable(conn, before, show_month, &count, &e);
	if (result == PQ_OK && !agreed(ask)) {
		pq_close(conn);
		return EX_USAGE;
	}
	if (result == PQ_OK)
		result = fleet_drop(conn, before, &e);
	pq_close(conn);
	if (result != PQ_OK)
		return fleet_command_failed(result, &e);
	printf("%zu months are removed\n", count);
	return finish_output();
}
