/* SPDX-License-Identifier: MIT
 *
 * `spoa-llm ledger backup` and `ledger restore`: the whole ledger in one file, while the agent runs; and back. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/unused.h"
#include "base/whole_file.h"
#include "commands/interrupt.h"
#include "commands/ledger_command.h"
#include "commands/progress.h"
#include "ledger/journal.h"
#include "report/ledger_store.h"
#include "report/print.h"

enum { BATCH = 1000, REPORTS = 250, PATH_ROOM = 4096 };

/* `unchanged` is what Ctrl-C leaves behind. */
static int complain(const err *e, const char *unchanged, int code)
{
	if (interrupted()) {
		fprintf(stderr, "spoa-llm: stopped; %s; run it again, which begins anew\n", unchanged);
		return EXIT_INTERRUPTED;
	}
	fprintf(stderr, "spoa-llm: %s\n", e->text);
	return code;
}

/* Syncs the directory that has `path`, so that a loss of power does not undo a rename. */
static void sync_dir_of(const char *path)
{
	char dir[PATH_ROOM];
	const char *slash = strrchr(path, '/');

	snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* Removes a database that this command has made, with what SQLite keeps beside it. */
static void discard(const char *path)
{
	static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
	char other[PATH_ROOM + 64];

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
		snprintf(other, sizeof other, "%s%s", path, ends[i]);
		unlink(other);
	}
}

static bool exists_beside(const char *path, const char *end)
{
	char other[PATH_ROOM + 64];
	struct stat st;

	snprintf(other, sizeof other, "%s%s", path, end);
	return lstat(other, &st) == 0;
}

/* ---- backup */

typedef struct journal_part {
	store *to;
	record *batch;       /* room for BATCH */
	tap_report *reports; /* room for REPORTS */
	size_t count, reports_count, added;
	store_result result;
	err *e;
} journal_part;

static bool insert(journal_part *p)
{
	const store_batch batch = { p->batch, p->count, p->reports, p->reports_count, false };
	store_added added;

	p->result = store_add(p->to, &batch, NULL, &added, p->e);
	p->added += added.rows;
	p->count = p->reports_count = 0;
	return p->result == STORE_OK;
}

/* Reports wait in the copy until an agent has prices for them. */
static bool on_entry(void *ctx, const record *r, const tap_report *report, journal_mark after UNUSED)
{
	journal_part *p = ctx;

	if (r)
		p->batch[p->count++] = *r;
	if (report)
		p->reports[p->reports_count++] = *report;
	return (p->count < BATCH && p->reports_count < REPORTS) || insert(p);
}

/* Adds to the copy at `path` the records of the journal that the database did not have. */
static int add_journal(const char *path, const journal_view *view, size_t *added, err *e)
{
	journal_part p = { .batch = malloc(BATCH * sizeof *p.batch),
			   .reports = malloc(REPORTS * sizeof *p.reports),
			   .e = e };
	bool ok = (p.batch && p.reports) || err_memory(e);

	if (ok) {
		p.to = store_open(path, true, &p.result, e);
		ok = p.to && journal_view_read(view, on_entry, &p, e) && p.result == STORE_OK && insert(&p);
	}
	store_close(p.to);
	free(p.batch);
	free(p.reports);
	*added = p.added;
	return ok ? EX_OK : p.result != STORE_OK ? ledger_store_exit_code(p.result) : EX_IOERR;
}

/* Syncs the whole copy and gives it its name. */
static int put_in_place(const char *beside, const char *file, err *e)
{
	int fd = open(beside, O_RDONLY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	ok = ok && rename(beside, file) == 0;
	if (!ok)
		err_set(e, "%s: %s", file, strerror(errno));
	sync_dir_of(file);
	return ok ? EX_OK : EX_IOERR;
}

static int backup(const char *ledger, const char *db, const char *file, size_t *added, err *e)
{
	char dir[PATH_ROOM], beside[PATH_ROOM];
	store_result result;
	int code = EX_OSERR;

	snprintf(beside, sizeof beside, "%s.XXXXXX", file);
	int fd = mkstemp(beside);
	if (fd < 0) {
		err_set(e, "%s: %s%s", file, strerror(errno), whole_file_hint(errno));
		return EX_CANTCREAT;
	}
	close(fd);
	/* The journal comes first: what leaves it after this moment is in the database, which is copied then. */
	snprintf(dir, sizeof dir, "%s/journal", ledger);
	journal_view *view = journal_view_open(dir, e);
	if (view) {
		progress p = progress_begin("copying");
		result = store_copy(db, beside, progress_bytes, &p, interrupted, e);
		progress_end(&p);
		code = result == STORE_OK ? add_journal(beside, view, added, e) : ledger_store_exit_code(result);
	}
	journal_view_close(view);
	if (code == EX_OK)
		code = put_in_place(beside, file, e);
	if (code != EX_OK)
		discard(beside);
	return code;
}

int command_ledger_backup(const config *c, const ledger_request *ask)
{
	char db[PATH_ROOM];
	struct stat ours, theirs;
	size_t added = 0;
	int code;
	err e = { 0 };

	interrupt_begin();
	store *s = ledger_command_open(c, false, false, &code, &e);
	if (!s)
		return code;
	store_close(s);
	snprintf(db, sizeof db, "%s/ledger.db", c->ledger);
	/* A database in use has files beside it, which would not belong to the new one. */
	if (exists_beside(ask->file, "-wal") || (stat(db, &ours) == 0 && stat(ask->file, &theirs) == 0 &&
						 ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)) {
		fprintf(stderr, "spoa-llm: %s is a database in use; name another file for the backup\n", ask->file);
		return EX_CANTCREAT;
	}
	code = backup(c->ledger, db, ask->file, &added, &e);
	if (code != EX_OK)
		return complain(&e, "no backup was made", code);
	printf("%s: the whole ledger; %zu records of it were only in the journal\n", ask->file, added);
	return finish_output();
}

/* ---- restore */

static void on_problem(void *ctx, const char *problem)
{
	err *e = ctx;

	if (!e->text[0])
		err_set(e, "%.400s", problem);
}

/* Copies `file` to `beside`, migrates it, and checks it. */
static int prepare(const char *file, const char *beside, err *e)
{
	store_result result;
	size_t problems = 0;
	err found = { 0 };

	discard(beside);
	progress p = progress_begin("copying");
	result = store_copy(file, beside, progress_bytes, &p, interrupted, e);
	progress_end(&p);
	store *s = result == STORE_OK ? store_open(beside, true, &result, e) : NULL;
	if (s) {
		p = progress_begin("verifying");
		store_on_progress(s, progress_requests, &p);
		store_stop_if(s, interrupted);
		result = store_verify(s, on_problem, &found, &problems, e);
		progress_end(&p);
	}
	/* Since the backup, the ledger that the copy replaces may have used sequences that the copy will give to other
	 * rows. */
	if (s && result == STORE_OK && !problems)
		result = store_new_epoch(s, e);
	store_close(s);
	if (result != STORE_OK)
		return ledger_store_exit_code(result);
	if (problems) {
		err_set(e, "%.200s: %zu problems, the first: %.200s; nothing was restored", file, problems, found.text);
		return EX_DATAERR;
	}
	return EX_OK;
}

static bool move(const char *from, const char *to, err *e)
{
	return rename(from, to) == 0 || errno == ENOENT || err_set(e, "%s: %s", from, strerror(errno));
}

/* Moves the old ledger away, with its write-ahead log: the new one must not find that. Whenever a loss of power
 * interrupts this, SQLite throws a log away that has no database. */
static bool replace(const char *db, const char *beside, err *e)
{
	char old[PATH_ROOM + 32], from[PATH_ROOM + 32], to[PATH_ROOM + 32];

	snprintf(old, sizeof old, "%s.replaced", db);
	if (!move(db, old, e))
		return false;
	snprintf(from, sizeof from, "%s-wal", db);
	snprintf(to, sizeof to, "%s.replaced-wal", db);
	if (!move(from, to, e))
		return false;
	snprintf(from, sizeof from, "%s-shm", db);
	if (unlink(from) != 0 && errno != ENOENT)
		return err_set(e, "%s: %s", from, strerror(errno));
	return move(beside, db, e);
}

/* Holds the journal, so that no agent runs, while the files change. */
static int restore(const char *ledger, const char *file, bool replacing, err *e)
{
	char db[PATH_ROOM], dir[PATH_ROOM], beside[PATH_ROOM];
	struct stat st;
	journal *lock = NULL;

	snprintf(db, sizeof db, "%s/ledger.db", ledger);
	snprintf(dir, sizeof dir, "%s/journal", ledger);
	snprintf(beside, sizeof beside, "%s/ledger.db.restoring", ledger);
	if (stat(ledger, &st) != 0) {
		err_set(e, "ledger directory %s: %s", ledger, strerror(errno));
		return EX_NOINPUT;
	}
	if (access(file, R_OK) != 0) {
		err_set(e, "%s: %s", file, strerror(errno));
		return EX_NOINPUT;
	}
	if ((access(db, F_OK) == 0 || exists_beside(db, "-wal")) && !replacing) {
		err_set(e, "%s is there already; --replace moves it to %s.replaced", db, db);
		return EX_CANTCREAT;
	}
	if (replacing && exists_beside(db, ".replaced")) {
		err_set(e, "%s.replaced is there already, from an earlier restore; move it away first", db);
		return EX_CANTCREAT;
	}
	if (access(dir, F_OK) == 0 && !(lock = journal_open(dir, 0, 0, e)))
		return EX_TEMPFAIL;
	int code = prepare(file, beside, e);
	/* The agent runs as the directory's owner. */
	if (code == EX_OK && geteuid() == 0 && chown(beside, st.st_uid, st.st_gid) != 0) {
		err_set(e, "%s: %s", beside, strerror(errno));
		code = EX_OSERR;
	}
	if (code == EX_OK && !replace(db, beside, e))
		code = EX_IOERR;
	if (code != EX_OK)
		discard(beside);
	sync_dir_of(db);
	journal_close(lock);
	return code;
}

int command_ledger_restore(const config *c, const ledger_request *ask)
{
	err e = { 0 };

	if (!*c->ledger) {
		fprintf(stderr, "spoa-llm: no ledger is configured: name its directory by --ledger DIR\n");
		return EX_CONFIG;
	}
	interrupt_begin();
	int code = restore(c->ledger, ask->file, ask->replace, &e);
	if (code != EX_OK)
		return complain(&e, "the ledger is as it was", code);
	printf("%s/ledger.db: restored from %s\n", c->ledger, ask->file);
	return finish_output();
}
