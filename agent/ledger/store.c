/* SPDX-License-Identifier: MIT
 *
 * The database file: opening it, and what can go wrong with it. */
#include "ledger/store_impl.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sum.h"

enum {
	WAL_PAGES = 4000,    /* the WAL is written back at 16 MB; with 1000 pages inserts are a fifth slower */
	WAL_KEPT = 32 << 20, /* bytes that the WAL file keeps after a long reader has made it grow */
};

/* Why the table has this layout, measured with SQLite 3.40 on one core, 400,000 rows in batches of 1000, ids by time:
 *
 *   layout                                    thousand rows/s   bytes a row
 *   unique index on id                              172             253
 *   unique index on id, index on time               135             273   the one chosen
 *   one tree by id                                  108             222
 *   one tree by id, index on time                    65             286
 *   one tree by (time, id)                          112             223
 *
 * Numbers for the labels instead of texts would be 11 % faster and 29 % smaller; but labels without a row would have to
 * be found and removed, and nobody could read the table. */

const char *store_result_name(store_result result)
{
	switch (result) {
	case STORE_OK:
		return "ok";
	case STORE_BUSY:
		return "busy";
	case STORE_FULL:
		return "full";
	case STORE_CORRUPT:
		return "corrupt";
	case STORE_NEWER:
		return "newer";
	case STORE_ERROR:
		return "error";
	}
	return "error";
}

int64_t store_floor(int64_t t, int64_t unit)
{
	int64_t rest = t % unit;
	return t - (rest < 0 ? rest + unit : rest);
}

int64_t store_hour_of(int64_t time_ms)
{
	return store_floor(time_ms, HOUR * 1000LL) / 1000;
}

int64_t store_time_of(const record *r)
{
	const int64_t last = 253402300799999; /* of the year 9999 */
	return r->time_ms < 0 ? 0 : r->time_ms > last ? last : r->time_ms;
}

/* ---- SQLite with less ceremony */

int store_prepare(store *s, const char *sql, sqlite3_stmt **out)
{
	return sqlite3_prepare_v3(s->db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, NULL);
}

int store_run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);
	/* sqlite3_reset() returns the same error again. */
	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

int store_exec(store *s, const char *sql)
{
	return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

void sql_list(char *out, size_t room, size_t count, const char *(*name)(size_t i), const char *pattern)
{
	const char *dollar = strchr(pattern, '$');
	size_t before = dollar ? (size_t)(dollar - pattern) : strlen(pattern), len = 0;

	for (size_t i = 0; i < count; i++) {
		len += (size_t)snprintf(out + len, room - len, "%s%.*s%s%s", i ? ", " : "", (int)before, pattern,
					dollar ? name(i) : "", dollar ? dollar + 1 : "");
		assert(len < room);
	}
}

const char *row_name(size_t i)
{
	return record_columns[i].stored;
}

int store_int(store *s, const char *sql, int64_t *out)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK) {
		rc = sqlite3_step(st);
		*out = rc == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
		rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
	}
	sqlite3_finalize(st);
	return rc;
}

void store_close_db(store *s)
{
	for (size_t i = 0; i < ST_WRITER_COUNT; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	sqlite3_close(s->db);
	s->db = NULL;
	s->frozen = false;
	s->facets_sequence = -1;
	s->filling.going = false;
}

static store_result result_of(store *s, int rc)
{
	int why = s->db ? sqlite3_system_errno(s->db) : 0;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return STORE_BUSY;
	case SQLITE_FULL:
		return STORE_FULL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return STORE_CORRUPT;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return why == ENOSPC || why == EDQUOT ? STORE_FULL : STORE_ERROR;
	default:
		return STORE_ERROR;
	}
}

store_result store_fail(store *s, int rc, const char *doing, err *e)
{
	store_result result = result_of(s, rc);
	const char *what = s->db && rc != SQLITE_NOMEM ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);

	switch (result) {
	case STORE_CORRUPT:
		err_set(e,
			"ledger %s: %s: %s; the file stays as it is: move it away, and the agent begins a new one; "
			"`sqlite3 FILE .recover` on a copy gets back what can be read",
			s->path, doing, what);
		break;
	case STORE_FULL:
		err_set(e, "ledger %s: %s: the disk is full", s->path, doing);
		break;
	case STORE_BUSY:
		err_set(e, "ledger %s: %s: another process is writing to it", s->path, doing);
		break;
	case STORE_OK:
	case STORE_NEWER:
	case STORE_ERROR:
		err_set(e, "ledger %s: %s: %s", s->path, doing, what);
		break;
	}
	if (s->db && !sqlite3_get_autocommit(s->db))
		store_exec(s, "ROLLBACK");
	if (s->db && (result == STORE_CORRUPT || result == STORE_ERROR))
		store_close_db(s);
	return result;
}

/* ---- opening */

static int prepare_all(store *s)
{
	static const char *const fixed[] = {
		[ST_BEGIN] = "BEGIN IMMEDIATE",
		[ST_COMMIT] = "COMMIT",
		[ST_PRUNED] = "SELECT value FROM meta WHERE key = 'pruned_before'",
		[ST_LABELS] = "SELECT count(*) FROM daily WHERE kind = ? AND bucket = ?",
	};
	char names[SQL_LIST], values[SQL_LIST], sql[SQL_MAX];
	int rc = changes_prepare(s);

	for (size_t i = 0; rc == SQLITE_OK && i < sizeof fixed / sizeof fixed[0]; i++)
		rc = store_prepare(s, fixed[i], &s->statements[i]);
	if (rc == SQLITE_OK)
		rc = rows_prepare(s);
	for (int daily = 0; rc == SQLITE_OK && daily < 2; daily++) {
		const char *table = daily ? "daily" : "hourly";
		sql_list(names, sizeof names, SUMS_COUNT, sums_name, "$");
		sql_list(values, sizeof values, SUMS_COUNT, sums_name, "?");
		snprintf(sql, sizeof sql, "INSERT INTO %s (kind, bucket, label, %s) VALUES (?,?,?,%s)", table, names,
			 values);
		rc = store_prepare(s, sql, &s->statements[daily ? ST_DAILY_INSERT : ST_HOURLY_INSERT]);
		/* The UPDATE has the same parameters at the same places. */
		size_t len = (size_t)snprintf(sql, sizeof sql, "UPDATE %s SET ", table);
		for (size_t i = 0; i < SUMS_COUNT; i++)
			len += (size_t)snprintf(sql + len, sizeof sql - len, "%s%s = %s + ?%zu", i ? ", " : "",
						sums_name(i), sums_name(i), i + 4);
		snprintf(sql + len, sizeof sql - len, " WHERE kind = ?1 AND bucket = ?2 AND label = ?3");
		if (rc == SQLITE_OK)
			rc = store_prepare(s, sql, &s->statements[daily ? ST_DAILY_UPDATE : ST_HOURLY_UPDATE]);
	}
	if (rc == SQLITE_OK)
		rc = facets_prepare(s);
	if (rc == SQLITE_OK)
		rc = join_prepare(s);
	return rc == SQLITE_OK ? spending_prepare(s) : rc;
}

/* The SQL function ssum(): as sum(), but an overflow gives INT64_MAX instead of an error. */
static void ssum_step(sqlite3_context *context, int argc, sqlite3_value **argv)
{
	int64_t *sum = sqlite3_aggregate_context(context, sizeof *sum);
	(void)argc;
	if (!sum)
		return;
	int64_t value = sqlite3_value_int64(argv[0]);
	*sum = add_capped(*sum, value);
}

static void ssum_final(sqlite3_context *context)
{
	const int64_t *sum = sqlite3_aggregate_context(context, 0);
	sqlite3_result_int64(context, sum ? *sum : 0);
}

static int open_file(store *s, const char *name, int flags)
{
	int rc = sqlite3_open_v2(name, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	char sql[64];

	if (rc != SQLITE_OK)
		return rc;
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_busy_timeout(s->db, STORE_BUSY_MS);
	snprintf(sql, sizeof sql, "PRAGMA cache_size = -%d", STORE_CACHE_KIB);
	rc = store_exec(s, sql);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(s->db, "ssum", 1, SQLITE_UTF8, NULL, NULL, ssum_step, ssum_final);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(s->db, "times_sum", 2, SQLITE_UTF8, s, facets_times_sum, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_create_function(s->db, "page_look", 2, SQLITE_UTF8, &s->look, page_look, NULL, NULL);
	return rc;
}

static store_result open_writer(store *s, err *e)
{
	int64_t version = 0;
	bool is_new = false;
	char sql[200];
	/* SQLite makes -wal and -shm with the same mode. A file that is there is never opened and closed here, because
	 * that would give up the locks of a reader in this process, and then this writer would have none either. */
	int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);

	if (fd >= 0)
		close(fd);
	else if (errno != EEXIST || access(s->path, R_OK | W_OK) != 0) {
		int why = errno;
		err_set(e, "ledger %s: %s", s->path, strerror(why));
		return why == ENOSPC || why == EDQUOT ? STORE_FULL : STORE_ERROR;
	}
	int rc = open_file(s, s->path, SQLITE_OPEN_READWRITE);
	if (rc != SQLITE_OK)
		return store_fail(s, rc, "opening it", e);
	/* Change nothing before it is certain that the file is a ledger. */
	store_result result = store_check_version(s, &version, &is_new, e);
	if (result != STORE_OK) {
		store_close_db(s);
		return result;
	}
	/* Only a file without a table takes auto_vacuum; to set it again would take a lock. */
	snprintf(sql, sizeof sql,
		 "%sPRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = %d;"
		 "PRAGMA journal_size_limit = %d",
		 is_new ? "PRAGMA auto_vacuum = INCREMENTAL; " : "", WAL_PAGES, WAL_KEPT);
	rc = store_exec(s, sql);
	if (rc != SQLITE_OK) {
		result = store_fail(s, rc, "opening it to write", e);
		store_close_db(s);
		return result;
	}
	if (version < STORE_SCHEMA_VERSION)
		result = store_migrate(s, e);
	if (result == STORE_OK && ((rc = identity_ensure(s)) != SQLITE_OK || (rc = prepare_all(s)) != SQLITE_OK))
		result = store_fail(s, rc, "preparing to write", e);
	if (result != STORE_OK)
		store_close_db(s);
	return result;
}

/* Returns "file:PATH?immutable=1", which makes SQLite open a file that nobody writes without making files beside it.
 * NULL: no memory. */
static char *immutable_uri(const char *path)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t len = strlen(path);
	char *uri = malloc(len * 3 + 32), *at = uri;

	if (!uri)
		return NULL;
	at += sprintf(at, "file:");
	for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
		if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
		    strchr("/._-", *p)) {
			*at++ = (char)*p;
		} else {
			*at++ = '%';
			*at++ = hex[*p >> 4];
			*at++ = hex[*p & 15];
		}
	}
	sprintf(at, "?immutable=1");
	return uri;
}

static bool wal_is_empty(const char *path)
{
	char *wal;
	struct stat st;

	if (asprintf(&wal, "%s-wal", path) < 0)
		return false;
	bool empty = stat(wal, &st) == 0 ? st.st_size == 0 : errno == ENOENT;
	free(wal);
	return empty;
}

static store_result open_reader(store *s, err *e)
{
	int64_t version = 0;
	bool is_new = false;
	struct stat st;

	if (stat(s->path, &st) != 0) {
		err_set(e, "ledger %s: %s%s", s->path, strerror(errno),
			errno == ENOENT ? "; the agent makes it when it starts" : "");
		return STORE_ERROR;
	}
	if (access(s->path, R_OK) != 0) {
		err_set(e, "ledger %s: %s; read it as its owner (uid %u)", s->path, strerror(errno),
			(unsigned)st.st_uid);
		return STORE_ERROR;
	}
	int rc = open_file(s, s->path, SQLITE_OPEN_READONLY);
	if (rc == SQLITE_OK)
		rc = store_int(s, "PRAGMA user_version", &version);
	if ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_READONLY) {
		/* To read a database in WAL mode SQLite needs its -shm file, which this user cannot make here. */
		store_close_db(s);
		if (!wal_is_empty(s->path)) {
			err_set(e,
				"ledger %s: it has changes in %s-wal that this user cannot read without writing beside it; "
				"read it as its owner (uid %u)",
				s->path, s->path, (unsigned)st.st_uid);
			return STORE_ERROR;
		}
		char *uri = immutable_uri(s->path);
		rc = uri ? open_file(s, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI) : SQLITE_NOMEM;
		s->frozen = true;
		free(uri);
	}
	if (rc != SQLITE_OK) {
		store_result result = store_fail(s, rc, "opening it to read", e);
		store_close_db(s);
		return result;
	}
	store_result result = store_check_version(s, &version, &is_new, e);
	if (result == STORE_OK && (is_new || (version < STORE_SCHEMA_VERSION && !s->any_version))) {
		err_set(e, "ledger %s: %s", s->path,
			is_new ?
				"it is empty: the agent has not recorded anything yet" :
				"its schema is of an older version: start the agent of this version once, to migrate it");
		result = STORE_ERROR;
	}
	if (result == STORE_OK && (rc = store_prepare(s, "SELECT value FROM meta WHERE key = 'pruned_before'",
						      &s->statements[ST_PRUNED])) != SQLITE_OK)
		result = store_fail(s, rc, "opening it to read", e);
	if (result != STORE_OK)
		store_close_db(s);
	return result;
}

store_result store_ready(store *s, err *e)
{
	int moved = 0;

	if (s->db &&
	    (s->frozen || (sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved)))
		store_close_db(s);
	if (s->db)
		return STORE_OK;
	return s->writer ? open_writer(s, e) : open_reader(s, e);
}

store_result store_ready_to_write(store *s, err *e)
{
	if (!s->writer) {
		err_set(e, "ledger %s: it was opened to read", s->path);
		return STORE_ERROR;
	}
	return store_ready(s, e);
}

/* SQLite would count its memory under a lock that all threads share, and nobody asks for that count. */
static void count_no_memory(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

store *store_open(const char *path, bool writer, store_result *result, err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	store *s = calloc(1, sizeof *s);

	pthread_once(&once, count_no_memory);
	if (!s || !(s->path = strdup(path))) {
		free(s);
		err_set_kind(e, ERR_MEMORY, "ledger %s: out of memory", path);
		*result = STORE_ERROR;
		return NULL;
	}
	s->writer = writer;
	*result = store_ready(s, e);
	if (*result != STORE_OK) {
		store_close(s);
		return NULL;
	}
	return s;
}

void store_close(store *s)
{
	if (!s)
		return;
	store_close_db(s);
	rollup_free(&s->batch);
	rollup_free(&s->spending);
	rollup_free(&s->untold);
	rollup_free(&s->filling.cells);
	free(s->log_bytes);
	free(s->settled);
	free(s->rows.each);
	free(s->kept);
	free(s->path);
	free(s);
}

void store_on_progress(store *s, store_progress tell, void *ctx)
{
	s->progress = tell;
	s->progress_ctx = ctx;
}

void store_stop_if(store *s, bool (*wanted)(void))
{
	s->stop = wanted;
}

int store_wants_end(void *ctx)
{
	const store *s = ctx;
	return s->stop && s->stop();
}

void store_tell(store *s, int64_t done, int64_t all)
{
	if (s->progress)
		s->progress(s->progress_ctx, done, all);
}

uint64_t store_skipped(const store *s)
{
	return s->skipped;
}
