/* SPDX-License-Identifier: MIT
 *
 * The ledger from log lines and the tap's reports to rows: through journal and database, over kills of the process. */
#include "store_rig.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "ledger/journal_entry.h"
#include "ledger/ledger_impl.h"

static char journal_path[250];

static const char prices[] = "{\"m\":{\"input_cost_per_token\":0.000001,\"output_cost_per_token\":0.00001}}";

static ledger *open_ledger_of(uint64_t journal_max)
{
	char file[250];
	err e = { 0 };

	snprintf(file, sizeof file, "%s/prices.json", base);
	FILE *f = fopen(file, "w");
	if (!f || fputs(prices, f) < 0 || fclose(f) != 0)
		abort();
	price_table *table = price_table_load(file, &e);
	unlink(file);
	ledger *l = ledger_open(&(ledger_options){ .dir = base, .key = "", .journal_max = journal_max, .backlog = -1 },
				table, &e);
	if (!table || !l) {
		printf("%s\n", e.text);
		abort();
	}
	return l;
}

static ledger *open_ledger(void)
{
	return open_ledger_of(64 << 20);
}

static void line(ledger *l, int n, const char *server)
{
	char text[600];

	snprintf(
		text, sizeof text,
		"{\"v\":2,\"id\":\"id-%d\",\"te\":1763942400000,\"route\":\"r\",\"protocol\":\"openai\",\"model\":\"m\",\"project\":\"p\","
		"\"stream\":\"1\",\"metered\":\"1\",\"behind\":\"llm-x\",\"backend\":\"leg.x\",\"srv\":\"%s\",\"status\":200,\"term\":\"--\",\"in\":900,"
		"\"out\":22400,\"ta\":5,\"ctype\":\"text/event-stream\",\"text\":\"460\"}",
		n, server);
	ledger_take(l, slice_cstr(text));
}

static void told(ledger *l, int n, const char *usage)
{
	char text[600];

	snprintf(
		text, sizeof text,
		"{\"v\":1,\"kind\":\"stream\",\"id\":\"id-%d\",\"end\":\"whole\",\"status\":200,\"content\":60,\"final\":true%s%s}",
		n, *usage ? ",\"last\":" : "", usage);
	ledger_take_report(l, slice_cstr(text));
}

#define USAGE "{\"prompt_tokens\":1000,\"completion_tokens\":50}"

static void empty(void)
{
	char command[600];

	snprintf(command, sizeof command, "rm -rf %s %s", path, journal_path);
	remove_files(path);
	if (system(command) != 0)
		abort();
}

static void until_stored(ledger *l, uint64_t rows)
{
	for (int i = 0; i < 1000 && ledger_get_stats(l).stored < rows; i++)
		usleep(10000);
	CHECK(ledger_get_stats(l).stored == rows);
}

static const char rows_as_text[] =
	"SELECT group_concat(id || ' ' || usage_from || ' ' || tap || ' ' || input || ' ' || output || ' ' || CAST(cost_usd * 1e6 AS INTEGER), ', ')"
	" FROM (SELECT * FROM ledger ORDER BY id)";

static bool whole(void)
{
	store *s = open_store(false);
	bool ok = sound(s);
	store_close(s);
	return ok;
}

static void each_order_gives_one_row(void)
{
	empty();
	ledger *l = open_ledger();
	line(l, 1, "tap");
	ledger_flush(l);
	until_stored(l, 1); /* with its estimate */
	CHECK(strcmp(ask(rows_as_text), "id-1 estimated missing 100 100 1100") == 0);
	told(l, 1, USAGE);
	told(l, 2, USAGE);
	line(l, 2, "tap");
	line(l, 3, "tap");
	told(l, 3, "");
	line(l, 4, "leg");
	told(l, 5, USAGE); /* its line never comes */
	line(l, 1, "tap");
	ledger_flush(l);
	until_stored(l, 4);
	ledger_close(l);
	CHECK(strcmp(ask(rows_as_text), "id-1 stream told 1000 50 1500, id-2 stream told 1000 50 1500,"
					" id-3 estimated untold 100 60 700, id-4 estimated no 100 100 1100") == 0);
	CHECK(strcmp(ask("SELECT requests, input, output, untold_requests, estimated_requests, CAST(cost_usd * 1e6 AS INTEGER)"
			 " FROM ledger_hourly WHERE kind = 'model'"),
		     "4|2200|260|1|2|4800") == 0);
	CHECK(strcmp(ask("SELECT group_concat(id) FROM reports"), "id-5") == 0);
	CHECK(whole());
}

static void what_comes_is_counted(void)
{
	empty();
	ledger *l = open_ledger();
	line(l, 1, "tap");
	told(l, 1, USAGE);
	line(l, 2, "leg");
	line(l, 3, "tap");
	ledger_take_report(l, SLICE("{\"v\":1,\"kind\":\"stream\"}"));
	ledger_take_report(l, SLICE("\x01garbage"));
	ledger_flush(l);
	until_stored(l, 3);
	ledger_stats stats = ledger_get_stats(l);
	CHECK(stats.reports == 1 && stats.reports_malformed == 2 && stats.joined == 1 && stats.fallbacks == 1);
	CHECK(stats.usage[USAGE_STREAM] == 1 && stats.usage[USAGE_ESTIMATED] == 2 && stats.orphans == 0);
	ledger_close(l);
}

/* The journal has lines and reports when the process is killed; the next one reads both. */
static void a_kill_loses_neither(void)
{
	empty();
	for (int life = 0; life < 6; life++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			ledger *l = open_ledger();
			for (int n = 20 * life; n < 20 * life + 20; n++) {
				if (n % 3)
					told(l, n, USAGE);
				line(l, n, "tap");
				if (n % 3 == 0)
					told(l, n, USAGE);
				/* Half of a pair may be with the next process. */
				if (n == 20 * life + 10)
					ledger_flush(l);
			}
			told(l, 20 * life + 20, USAGE);
			ledger_flush(l);
			if (life % 2)
				until_stored(l, 20);
			raise(SIGKILL);
		}
		waitpid(pid, NULL, 0);
	}
	ledger *l = open_ledger();
	line(l, 120, "tap");
	ledger_flush(l);
	for (int i = 0; i < 1000 && strcmp(ask("SELECT count(*) FROM requests"), "121") != 0; i++)
		usleep(10000);
	ledger_close(l);
	CHECK(strcmp(ask("SELECT count(*), min(usage_from), max(usage_from), sum(output), sum(cost_usd) FROM ledger"),
		     "121|stream|stream|6050|0.1815") == 0);
	CHECK(strcmp(ask("SELECT count(*) FROM reports"), "0") == 0);
	CHECK(whole());
}

/* While the database is locked, the queue to the store and the journal's files fill, and records wait in memory. When
 * the lock is gone, all of them are stored, although newer records are stored first and release what is before them. */
static void neither_queue_nor_journal_has_room(void)
{
	enum { LINES = LEDGER_BATCH + LEDGER_QUEUE + 2000, NEWER = 500 };
	sqlite3 *other = NULL;

	empty();
	ledger *l = open_ledger_of(1);
	line(l, 0, "leg");
	ledger_flush(l);
	until_stored(l, 1);
	CHECK(sqlite3_open(path, &other) == SQLITE_OK);
	CHECK(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
	for (int n = 1; n <= LINES; n++) {
		line(l, n, "leg");
		if (n % 100 == 0)
			ledger_flush(l);
	}
	ledger_stats stats = ledger_get_stats(l);
	CHECK(stats.journal.failing && stats.journal.waiting > 0 && stats.journal.dropped == 0);
	CHECK(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(other);
	ledger_flush(l);
	for (int i = 0; i < 1000 && ledger_get_stats(l).stored <= LEDGER_QUEUE; i++)
		usleep(10000);
	for (int n = LINES + 1; n <= LINES + NEWER; n++)
		line(l, n, "leg");
	ledger_flush(l);
	until_stored(l, LINES + NEWER + 1);
	CHECK(ledger_get_stats(l).journal.dropped == 0);
	ledger_close(l);
	CHECK(whole());
}

static atomic_bool hangs, refuses; /* the disk */

/* The syncs of one file that the disk was asked for. */
typedef struct syncs {
	const char *end; /* of the file's path */
	atomic_int asked;
	_Atomic int64_t last_ms, pause_ms; /* when the last one was asked for, and the longest time between two */
} syncs;

static syncs of_database = { .end = ".db-wal" }, of_journal = { .end = ".journal" };

static void note_sync(syncs *s, const char *file)
{
	size_t len = strlen(file), end = strlen(s->end);
	int64_t now = clock_mono_ms();

	if (len < end || strcmp(file + len - end, s->end) != 0)
		return;
	if (now - s->last_ms > s->pause_ms)
		s->pause_ms = now - s->last_ms;
	s->last_ms = now;
	s->asked++;
}

/* In place of the C library's. */
int fdatasync(int fd)
{
	char self[64], file[300];

	while (hangs)
		usleep(1000);
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	ssize_t len = readlink(self, file, sizeof file - 1);
	file[len > 0 ? len : 0] = '\0';
	note_sync(&of_database, file);
	note_sync(&of_journal, file);
	if (!refuses)
		return 0; /* the disk itself is not asked, because the time that it takes is not what is tested */
	errno = EIO;
	return -1;
}

/* A sync that is refused writes everything again, so the next one waits longer each time. */
static void a_disk_that_refuses_is_asked_ever_more_seldom(void)
{
	empty();
	ledger *l = open_ledger();
	line(l, 0, "leg");
	ledger_flush(l);
	until_stored(l, 1);
	refuses = true;
	of_database.last_ms = of_journal.last_ms = clock_mono_ms();
	of_database.pause_ms = of_journal.pause_ms = 0;
	line(l, 1, "leg");
	ledger_flush(l);
	for (int i = 0; i < 1000 && (of_database.pause_ms < 1400 || of_journal.pause_ms < 1400); i++)
		usleep(10000);
	CHECK(of_database.pause_ms >= 1400 && of_journal.pause_ms >= 1400);
	ledger_stats stats = ledger_get_stats(l);
	CHECK(stats.state == LEDGER_FAILING && stats.journal.failing);
	refuses = false;
	for (int i = 0; i < 1000 && (stats.state != LEDGER_OK || stats.journal.failing); i++) {
		usleep(10000);
		stats = ledger_get_stats(l);
	}
	CHECK(stats.state == LEDGER_OK && !stats.journal.failing);
	/* And as often as before once it has taken one. Lines come all the time, because the journal is not synced
	 * while the database has all of it on the disk. */
	int n = 2;
	for (int times = 0; times < 2; times++) {
		int before = of_journal.asked;
		of_journal.pause_ms = 0;
		for (int i = 0; i < 2000 && of_journal.asked == before; i++) {
			line(l, n++, "leg");
			ledger_flush(l);
			usleep(5000);
		}
	}
	CHECK(of_journal.pause_ms > 0 && of_journal.pause_ms < 2500);
	ledger_close(l);
	CHECK(whole() && atol(ask("SELECT count(*) FROM requests")) == n);
}

/* While the disk hangs, no call fails, so that the state has to tell it by the time that has passed. */
static void a_disk_that_hangs_is_told(void)
{
	empty();
	ledger *l = open_ledger();
	line(l, 0, "leg");
	ledger_flush(l);
	until_stored(l, 1);
	hangs = true;
	ledger_stats stats = { .state = LEDGER_OK };
	for (int n = 1; n < 300 && stats.state == LEDGER_OK; n++) {
		line(l, n, "leg");
		ledger_flush(l);
		usleep(10000);
		stats = ledger_get_stats(l);
		CHECK(stats.state == LEDGER_OK || n > 150);
		if (n == 150) { /* half a minute passes; a thread that does not hang would show up after a quarter of a
				   second */
			pthread_mutex_lock(&l->lock);
			l->round_ms -= 31000;
			pthread_mutex_unlock(&l->lock);
			usleep(700000);
		}
	}
	CHECK(stats.state == LEDGER_BEHIND && strstr(stats.problem, "database has taken nothing for"));
	/* A flush finds it too, where nobody asks for the figures. */
	pthread_mutex_lock(&l->lock);
	l->hangs = false;
	pthread_mutex_unlock(&l->lock);
	ledger_flush(l);
	pthread_mutex_lock(&l->lock);
	bool found = l->hangs;
	pthread_mutex_unlock(&l->lock);
	CHECK(found);
	hangs = false;
	for (int i = 0; i < 1000 && ledger_get_stats(l).state != LEDGER_OK; i++)
		usleep(10000);
	CHECK(ledger_get_stats(l).state == LEDGER_OK);
	/* The intake flushes each second, if nothing holds it up. */
	pthread_mutex_lock(&l->lock);
	l->flush_ms -= 31000;
	pthread_mutex_unlock(&l->lock);
	stats = ledger_get_stats(l);
	CHECK(stats.state == LEDGER_BEHIND && strstr(stats.problem, "journal has taken nothing for 31 seconds"));
	ledger_flush(l);
	CHECK(ledger_get_stats(l).state == LEDGER_OK);
	ledger_close(l);
	CHECK(whole());
}

#ifndef SANITIZED
static _Atomic bool no_replay;   /* no replay gets memory */
static _Atomic unsigned refused; /* replays */

void *__libc_malloc(size_t size);
void *malloc(size_t size)
{
	if (!no_replay || size != sizeof(scan))
		return __libc_malloc(size);
	refused++;
	return NULL;
}

/* The agent stops while there is no memory for a replay of what the queue had no room for. Newer records are in the
 * queue; what they release must not include the others. */
static void a_stop_without_memory_loses_nothing(void)
{
	enum { LINES = LEDGER_BATCH + LEDGER_QUEUE + 500, NEWER = 10 };
	sqlite3 *other = NULL;

	empty();
	ledger *l = open_ledger();
	line(l, 0, "leg");
	ledger_flush(l);
	until_stored(l, 1);
	CHECK(sqlite3_open(path, &other) == SQLITE_OK);
	CHECK(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
	for (int n = 1; n <= LINES; n++)
		line(l, n, "leg");
	ledger_flush(l);
	no_replay = true;
	CHECK(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL) == SQLITE_OK);
	sqlite3_close(other);
	for (int i = 0; i < 1000 && !refused; i++)
		usleep(10000);
	CHECK(refused > 0);
	/* The wait is told. */
	ledger_stats stats = ledger_get_stats(l);
	for (int i = 0; i < 1000 && stats.state != LEDGER_FAILING; i++) {
		usleep(10000);
		stats = ledger_get_stats(l);
	}
	CHECK(stats.state == LEDGER_FAILING && strstr(stats.problem, "out of memory"));
	for (int n = LINES + 1; n <= LINES + NEWER; n++)
		line(l, n, "leg");
	ledger_flush(l);
	ledger_close(l);
	no_replay = false;
	l = open_ledger();
	for (int i = 0; i < 1000 && atol(ask("SELECT count(*) FROM requests")) < LINES + NEWER + 1; i++)
		usleep(10000);
	CHECK(atol(ask("SELECT count(*) FROM requests")) == LINES + NEWER + 1);
	ledger_close(l);
	CHECK(whole());
}
#endif

int main(void)
{
	store_rig_init();
	snprintf(journal_path, sizeof journal_path, "%s/journal", base);
	if (!getenv("UNIT_LOG") && !freopen("/dev/null", "w", stderr))
		abort();
	RUN(each_order_gives_one_row);
	RUN(what_comes_is_counted);
	RUN(a_kill_loses_neither);
	RUN(neither_queue_nor_journal_has_room);
	RUN(a_disk_that_hangs_is_told);
	RUN(a_disk_that_refuses_is_asked_ever_more_seldom);
#ifndef SANITIZED
	RUN(a_stop_without_memory_loses_nothing);
#endif
	empty();
	return store_rig_end();
}
