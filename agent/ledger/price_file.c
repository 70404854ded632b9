/* SPDX-License-Identifier: MIT
 *
 * A price file becomes a table. */
#include "ledger/price_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A table that is being built. */
typedef struct building {
	price_table *t;
	uint32_t model_cap, row_cap;
	size_t text_cap;
	price_draft draft; /* of the model that is read */
} building;

/* Makes room for `more` items of `size` bytes in `*items`, of which `count` are used. False: no memory. */
static bool grow(void **items, uint32_t *cap, uint32_t count, uint32_t more, size_t size)
{
	if (*cap - count >= more)
		return true;
	uint32_t want = *cap ? *cap * 2 : 256;
	void *larger = realloc(*items, want * size);
	if (!larger)
		return false;
	*items = larger;
	*cap = want;
	return true;
}

static bool text_grow(char **text, size_t want)
{
	char *larger = realloc(*text, want);
	if (larger)
		*text = larger;
	return larger != NULL;
}

/* Adds `text` to the names. False: no memory. */
static bool text_add(building *b, slice text, uint32_t *at)
{
	price_table *t = b->t;

	*at = (uint32_t)t->text_len;
	if (b->text_cap - t->text_len < text.len) {
		size_t want = (b->text_cap ? b->text_cap * 2 : 16384) + text.len;
		if (!text_grow(&t->folded, want) || !text_grow(&t->written, want))
			return false;
		b->text_cap = want;
	}
	if (text.len == 0)
		return true;
	memcpy(t->written + t->text_len, text.ptr, text.len);
	price_fold(text, t->folded + t->text_len);
	t->text_len += text.len;
	return true;
}

/* Adds the model of the draft. False: no memory. */
static bool model_add(building *b, slice name)
{
	price_table *t = b->t;
	price_draft *d = &b->draft;
	void *models = t->models, *rows = t->rows;
	bool grown = grow(&models, &b->model_cap, t->model_count, 1, sizeof t->models[0]);

	t->models = models;
	grown = grown && grow(&rows, &b->row_cap, t->row_count, PRICE_ROWS_MAX, sizeof t->rows[0]);
	t->rows = rows;
	d->other = slice_first(d->other, RECORD_LABEL_MAX);
	if (!grown || !text_add(b, name, &d->model.name) || !text_add(b, d->other, &d->model.other))
		return false;
	d->model.name_len = (uint32_t)name.len;
	d->model.other_len = (uint32_t)d->other.len;
	d->model.row = t->row_count;
	d->model.rows = d->n;
	memcpy(t->rows + t->row_count, d->rows, d->n * sizeof d->rows[0]);
	t->models[t->model_count++] = d->model;
	t->row_count += d->n;
	t->priced += d->n > 0;
	return true;
}

static bool fail_at(err *e, const char *source, slice json, size_t at, const char *why)
{
	size_t line = 1, begin = 0;

	if (at > json.len)
		at = json.len;
	for (size_t i = 0; i < at; i++)
		if (json.ptr[i] == '\n') {
			line++;
			begin = i + 1;
		}
	return err_set(e, "%s:%zu:%zu: %s", source, line, at - begin + 1, why);
}

static bool models_parse(building *b, slice json, const char *source, err *e)
{
	json_iter it, inner;
	json_member m;
	json_step step;

	json_iter_init(&it, json);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		char text[RECORD_MODEL_MAX];
		size_t len = 0;
		if (m.type != JSON_OBJECT || json_key_is(m.key, SLICE("sample_spec")) ||
		    (m.key.len && m.key.ptr[0] == '_'))
			continue;
		bool named = json_text(m.key, text, sizeof text, &len) == JSON_TEXT_OK && len > 0;
		slice name = slice_of(text, named ? len : 0);
		json_iter_init(&inner, m.value);
		if (!price_model_read(&inner, name, &b->draft))
			return fail_at(e, source, json, (size_t)(m.value.ptr - json.ptr) + inner.at,
				       inner.why ? inner.why : "the model's object is cut");
		if (!named) {
			b->t->bad++; /* no request can name that model */
			continue;
		}
		b->t->bad += !b->draft.good;
		if (b->t->model_count == PRICE_MODELS_MAX)
			return err_set(e, "%s: more than %u models", source, PRICE_MODELS_MAX);
		if (!model_add(b, name))
			return err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
	}
	if (step == JSON_CUT)
		return fail_at(e, source, json, json.len, "the file ends in the middle");
	if (step == JSON_BAD || it.array)
		return fail_at(e, source, json, it.at, it.why ? it.why : "an object of models is expected");
	if (b->t->priced == 0)
		return err_set(e,
			       "%s: no model has a price; the file should be in the format of LiteLLM's "
			       "model_prices_and_context_window.json",
			       source);
	return true;
}

static void table_free(price_table *t)
{
	free(t->folded);
	free(t->written);
	free(t->models);
	free(t->rows);
	free(t->keys);
	free(t);
}

price_table *price_table_parse(slice json, const char *source, err *e)
{
	building b = { .t = calloc(1, sizeof(price_table)) };

	if (!b.t) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
		return NULL;
	}
	atomic_init(&b.t->refs, 1);
	if (!models_parse(&b, json, source, e)) {
		table_free(b.t);
		return NULL;
	}
	if (!price_names_build(b.t)) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", source);
		table_free(b.t);
		return NULL;
	}
	return b.t;
}

/* Reads a regular file whole; the caller frees it. NULL: `e` says why. */
static char *file_read(const char *path, size_t *len, err *e)
{
	struct stat st;
	char *bytes = NULL;
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		err_set(e, "%s: %s", path, strerror(errno));
		return NULL;
	}
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		err_set(e, "%s: not a regular file", path);
		goto out;
	}
	if (st.st_size > (off_t)PRICE_FILE_MAX) {
		err_set(e, "%s: larger than %u MB", path, PRICE_FILE_MAX >> 20);
		goto out;
	}
	size_t room = (size_t)st.st_size + 1; /* one more than its size, to notice that it grows */
	bytes = malloc(room);
	if (!bytes) {
		err_set_kind(e, ERR_MEMORY, "%s: out of memory", path);
		goto out;
	}
	for (;;) {
		ssize_t got = read(fd, bytes + used, room - used);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			err_set(e, "%s: %s", path, strerror(errno));
			break;
		}
		used += (size_t)got;
		if (got == 0) {
			*len = used;
			close(fd);
			return bytes;
		}
		if (used == room) {
			err_set(e, "%s: it is being written; replace it by renaming", path);
			break;
		}
	}
out:
	free(bytes);
	close(fd);
	return NULL;
}

price_table *price_table_load(const char *path, err *e)
{
	size_t len = 0;

	if (!path)
		return price_table_parse(slice_of(price_builtin, price_builtin_len), "the built-in price table", e);
	char *bytes = file_read(path, &len, e);
	if (!bytes)
		return NULL;
	price_table *t = price_table_parse(slice_of(bytes, len), path, e);
	free(bytes);
	return t;
}

price_table *price_table_ref(price_table *t)
{
	if (t)
		atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void price_table_unref(price_table *t)
{
	if (t && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
		table_free(t);
}
