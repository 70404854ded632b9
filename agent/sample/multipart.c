/* SPDX-License-Identifier: MIT */
#include "sample/multipart.h"

/* One "; name=value" of a header. */
typedef struct param {
	slice name, value;
	bool escaped; /* the value is quoted and holds backslashes */
	bool blanks;  /* the value is not quoted, and there are blanks around it: PHP keeps them, Go refuses them */
} param;

/* True for what stands without quotes: the characters of a token (RFC 9110). */
static bool token(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alnum(s.ptr[i]) && !slice_has(SLICE("!#$%&'*+-.^_`|~"), s.ptr[i]))
			return false;
	return s.len > 0;
}

/* Reads the next parameter at header[*at], which is a ';' or the end. 1: *out is set; 0: there is none; -1: malformed.
 */
static int param_next(slice header, size_t *at, param *out)
{
	size_t i = *at;

	if (i == header.len)
		return 0;
	if (header.ptr[i] != ';')
		return -1;
	i++;
	while (i < header.len && (header.ptr[i] == ' ' || header.ptr[i] == '\t'))
		i++;
	if (i == header.len) /* all parsers skip an empty parameter at the end, but not all elsewhere */
		return 0;

	size_t equals = slice_find(header, i, '=');
	if (equals == header.len)
		return -1;
	out->name = slice_of(header.ptr + i, equals - i);
	if (!token(out->name))
		return -1;
	out->escaped = out->blanks = false;
	i = equals + 1;
	size_t begin = i;
	if (i < header.len && header.ptr[i] == '"') {
		for (begin = ++i; i < header.len && header.ptr[i] != '"'; i++) {
			if (header.ptr[i] == '\\') {
				out->escaped = true;
				i++;
			}
		}
		if (i >= header.len)
			return -1;
		out->value = slice_of(header.ptr + begin, i - begin);
		i++;
	} else {
		if (i < header.len && header.ptr[i] == '\'') /* PHP takes it for a quote */
			return -1;
		i = slice_find(header, i, ';');
		out->value = slice_trim(slice_of(header.ptr + begin, i - begin));
		/* Blanks at the header's end are none of its value. */
		out->blanks = out->value.ptr > header.ptr + begin || (i < header.len && out->value.len < i - begin);
		if (!token(out->value))
			return -1;
	}
	while (i < header.len && (header.ptr[i] == ' ' || header.ptr[i] == '\t'))
		i++;
	*at = i;
	return 1;
}

/* True if `value` holds "name=", which parsers that look for that text take for a parameter. */
static bool hides(slice value, slice name)
{
	for (size_t at = 0; at + name.len < value.len; at++) {
		if (!slice_istarts(slice_from(value, at), name) || (at > 0 && ascii_is_alnum(value.ptr[at - 1])))
			continue;
		slice behind = slice_trim(slice_from(value, at + name.len));
		if (behind.len > 0 && (behind.ptr[0] == '=' || behind.ptr[0] == '*'))
			return true;
	}
	return false;
}

/* True if a value of `charset` is UTF-8, or ASCII, which is the same for all that is ASCII. */
static bool charset_utf8(slice value)
{
	return slice_ieq(value, SLICE("utf-8")) || slice_ieq(value, SLICE("utf8")) ||
	       slice_ieq(value, SLICE("us-ascii")) || slice_ieq(value, SLICE("ascii"));
}

/* True if a parameter named `name` follows at header[at]. */
static bool again(slice header, size_t at, slice name)
{
	param p;

	while (param_next(header, &at, &p) > 0)
		if (slice_ieq(p.name, name))
			return true;
	return false;
}

const char *content_type_fault(slice ctype, bool strict)
{
	bool quoted = false;
	size_t at = slice_find(ctype, 0, ';');
	int more;
	param p;

	for (size_t i = 0; i < ctype.len; i++) {
		if (quoted && ctype.ptr[i] == '\\')
			i++;
		else if (ctype.ptr[i] == '"')
			quoted = !quoted;
		else if (ctype.ptr[i] == ',' && !quoted)
			return "the content-type has two values";
	}
	while ((more = param_next(ctype, &at, &p)) > 0) {
		if (slice_icontains(p.name, SLICE("charset")) &&
		    (!slice_ieq(p.name, SLICE("charset")) || !charset_utf8(p.value)))
			return "the content-type's charset is not UTF-8";
		if (strict && p.blanks)
			return "the content-type has blanks around a value";
		if (strict && again(ctype, at, p.name))
			return "the content-type has a parameter twice";
	}
	return more < 0 && (strict || slice_icontains(ctype, SLICE("charset"))) ? "the content-type is malformed" :
										  NULL;
}

/* True for the characters that RFC 2046 allows in a boundary, except the blank. */
static bool boundary_chars(slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alnum(s.ptr[i]) && !slice_has(SLICE("'()+_,-./:=?"), s.ptr[i]))
			return false;
	return true;
}

slice multipart_boundary(slice ctype)
{
	slice found = { NULL, 0 };
	size_t at = slice_find(ctype, 0, ';');
	int more;
	param p;

	while ((more = param_next(ctype, &at, &p)) > 0) {
		if (!slice_ieq(p.name, SLICE("boundary"))) {
			if (slice_icontains(p.name, SLICE("boundary")) || hides(p.value, SLICE("boundary")))
				return slice_of(NULL, 0);
			continue;
		}
		if (found.len > 0 || p.value.len > MULTIPART_BOUNDARY_MAX || !boundary_chars(p.value))
			return slice_of(NULL, 0);
		found = p.value;
	}
	return more < 0 ? slice_of(NULL, 0) : found;
}

/* What the headers of a part say. */
typedef struct part {
	slice name;
	bool named, file, coded;
	bool parts; /* it consists of parts itself */
} part;

static const char *disposition(slice value, part *p)
{
	size_t at = slice_find(value, 0, ';');
	int more;
	param one;

	if (!slice_ieq(slice_trim(slice_first(value, at)), SLICE("form-data")))
		return "a part is not form-data";
	while ((more = param_next(value, &at, &one)) > 0) {
		if (one.blanks)
			return "a part's content-disposition has blanks around a value";
		if (hides(one.value, SLICE("name")))
			return "a parameter of a part holds another name";
		if (slice_ieq(one.name, SLICE("filename")) || slice_istarts(one.name, SLICE("filename*"))) {
			p->file = true;
			continue;
		}
		if (!slice_ieq(one.name, SLICE("name"))) {
			if (slice_icontains(one.name, SLICE("name")))
				return "a part's name is encoded or given in pieces";
			continue;
		}
		/* Python decodes charset'language'name, although RFC 2231 has that for `name*` only. */
		size_t quote = slice_find(one.value, 0, '\'');
		if (one.escaped || slice_icontains(one.value, SLICE("=?")) ||
		    slice_find(one.value, quote + 1, '\'') < one.value.len)
			return "a part's name is escaped";
		if (p->named)
			return "a part has two names";
		p->named = true;
		p->name = one.value;
	}
	return more < 0 ? "a part's content-disposition is malformed" : NULL;
}

/* Reads the header lines in `lines`, each with its CRLF. NULL, or what is wrong. */
static const char *read_headers(slice lines, part *p)
{
	bool disposed = false;

	for (size_t at = 0; at < lines.len;) {
		size_t lf = slice_find(lines, at, '\n');
		if (lf == lines.len || lf == at || lines.ptr[lf - 1] != '\r')
			return "a part's header line does not end in CRLF";
		slice line = slice_of(lines.ptr + at, lf - 1 - at);
		at = lf + 1;
		size_t colon = slice_find(line, 0, ':');
		if (colon == line.len || colon == 0 || slice_find(line, 0, '\r') < line.len ||
		    slice_find(line, 0, '\0') < line.len)
			return "a part's header is malformed";
		slice name = slice_first(line, colon), value = slice_trim(slice_from(line, colon + 1));
		if (!token(name)) /* a folded line begins with white space */
			return "a part's header is malformed";
		if (slice_ieq(name, SLICE("content-transfer-encoding"))) {
			p->coded |= !slice_ieq(value, SLICE("binary")) && !slice_ieq(value, SLICE("8bit")) &&
				    !slice_ieq(value, SLICE("7bit"));
		} else if (slice_ieq(name, SLICE("content-type"))) {
			p->coded |= content_type_fault(value, true) != NULL ||
				    slice_icontains(value, SLICE("message/")) ||
				    slice_icontains(value, SLICE("name")); /* a file's name in e-mails */
			/* Anywhere in it, because Python takes away blanks of Unicode in front. */
			p->parts |= slice_icontains(value, SLICE("multipart"));
		} else if (slice_ieq(name, SLICE("content-disposition"))) {
			const char *why = disposed ? "a part has two content-dispositions" : disposition(value, p);
			if (why)
				return why;
			disposed = true;
		}
	}
	return p->parts ? "a part that consists of parts" : NULL;
}

/* Takes the value of the field that `p` describes. NULL, or what is wrong. */
static const char *take(const part *p, slice value, mentions *found)
{
	bool same = false;

	if (!p->named)
		return NULL;
	if (field_like(p->name, SLICE("model"), &same))
		mentions_add(found, same, value,
			     p->file  ? "the model is a file" :
			     p->coded ? "the model is encoded" :
			     !same    ? "the field must be spelled \"model\"" :
					NULL);
	else if (field_like(p->name, SLICE("stream"), &same))
		mentions_stream(found, same, p->file || p->coded ? STREAM_ODD : stream_of(value));
	else if (field_like(p->name, SLICE("_charset_"), &same) && !slice_ieq(value, SLICE("utf-8")))
		return "a field \"_charset_\" that is not UTF-8";
	return NULL;
}

/* Bytes of a body that are read in one go: head or tail. */
typedef struct region {
	slice bytes;
	slice mark; /* "--boundary" */
	bool first; /* the body begins here */
	bool last;  /* the body ends here */
	bool ends;  /* the body may end here: nobody knows */
} region;

/* A delimiter line. */
typedef struct delimiter {
	size_t begin;  /* of "--boundary" */
	size_t behind; /* the first byte behind the CRLF of the line, or behind the closing "--" */
	bool closing;
	bool cut; /* the region ends within the line */
} delimiter;

/* Finds the first delimiter at or behind `at`. BODY_ALL: *d is set; BODY_PART: there is none; BODY_BAD: *detail is set.
 */
static body_result delimiter_next(const region *r, size_t at, delimiter *d, const char **detail)
{
	slice s = r->bytes;
	const char *hit = at < s.len ? memmem(s.ptr + at, s.len - at, r->mark.ptr, r->mark.len) : NULL;

	if (!hit)
		return BODY_PART;
	*d = (delimiter){ .begin = (size_t)(hit - s.ptr) };
	bool unseen = !r->first && d->begin < 2; /* the bytes before it are not in the region */
	if (d->begin > 0 && hit[-1] != '\n' && !(unseen && d->begin == 0)) {
		*detail = "a boundary in the middle of a line";
		return BODY_BAD;
	}
	if (d->begin > 0 && !unseen && (d->begin < 2 || hit[-2] != '\r')) {
		*detail = "a line that does not end in CRLF before a boundary";
		return BODY_BAD;
	}
	size_t i = d->begin + r->mark.len;
	if (s.len - i >= 2 && s.ptr[i] == '-' && s.ptr[i + 1] == '-') {
		d->closing = true;
		d->behind = i + 2;
		return BODY_ALL;
	}
	while (i < s.len && (s.ptr[i] == ' ' || s.ptr[i] == '\t'))
		i++;
	d->cut = s.len - i < 2 && (s.len == i || s.ptr[i] == '\r' || s.ptr[i] == '-');
	if (!d->cut && (s.len - i < 2 || s.ptr[i] != '\r' || s.ptr[i + 1] != '\n')) {
		*detail = "a boundary is followed by other text on its line";
		return BODY_BAD;
	}
	d->behind = i + 2;
	return BODY_ALL;
}

/* Reads the part in [from..to). `to` is where the next delimiter begins, or with `cut` the end of the region. */
static body_result read_part(const region *r, size_t from, size_t to, bool cut, mentions *found, const char **detail)
{
	slice s = slice_of(r->bytes.ptr + from, to - from);
	part p = { .named = false };
	size_t lines; /* bytes of headers, without the empty line behind them */

	if (slice_starts(s, SLICE("\r\n"))) {
		lines = 0;
	} else {
		slice within = slice_first(s, MULTIPART_HEADERS_MAX);
		const char *empty = within.len ? memmem(within.ptr, within.len, "\r\n\r\n", 4) : NULL;
		if (!empty) {
			*detail = "a part's headers are too long, or do not end";
			found->open = cut && r->ends;
			return cut && s.len < MULTIPART_HEADERS_MAX ? BODY_PART : BODY_BAD;
		}
		lines = (size_t)(empty - s.ptr) + 2;
	}
	*detail = read_headers(slice_first(s, lines), &p);
	if (*detail)
		return BODY_BAD;
	if (cut) {
		bool same = false;
		found->open = p.named && field_like(p.name, SLICE("model"), &same);
		return BODY_PART;
	}
	slice value = slice_from(s, lines + 2);
	if (value.len >= 2) /* the CRLF before a delimiter belongs to the delimiter */
		value.len -= 2;
	else
		value.len = 0;
	*detail = take(&p, value, found);
	return *detail ? BODY_BAD : BODY_ALL;
}

static body_result read_region(const region *r, mentions *found, const char **detail)
{
	delimiter here = { 0 }, next = { 0 };
	body_result end = delimiter_next(r, 0, &here, detail);

	if (end == BODY_ALL && r->first && here.begin > 0 && here.begin != 2) {
		*detail = "text before the first boundary";
		return BODY_BAD;
	}
	if (end == BODY_PART && r->first && r->bytes.len > r->mark.len + 2) {
		*detail = "the body does not begin with the boundary";
		return BODY_BAD;
	}
	while (end == BODY_ALL) {
		if (here.closing) {
			if (body_blank(slice_from(r->bytes, here.behind)))
				return BODY_ALL;
			*detail = "text behind the closing boundary";
			return BODY_BAD;
		}
		if (here.cut)
			break;
		end = delimiter_next(r, here.behind, &next, detail);
		if (end == BODY_BAD)
			return end;
		bool open = end == BODY_PART || next.cut;
		body_result part_end = read_part(r, here.behind, open ? r->bytes.len : next.begin, open, found, detail);
		if (part_end == BODY_BAD)
			return part_end;
		here = next;
	}
	if (end != BODY_BAD && r->last && r->first) {
		*detail = "the form is not closed";
		return BODY_BAD;
	}
	return end == BODY_BAD ? BODY_BAD : BODY_PART;
}

body_result body_multipart(const body_view *view, slice ctype, mentions *found, const char **detail)
{
	char mark[2 + MULTIPART_BOUNDARY_MAX] = "--";
	slice boundary = multipart_boundary(ctype);

	if (boundary.len == 0) {
		*detail = "the content-type has no usable boundary";
		return BODY_BAD;
	}
	memcpy(mark + 2, boundary.ptr, boundary.len);
	region head = { .bytes = view->head,
			.mark = slice_of(mark, boundary.len + 2),
			.first = true,
			.last = view->ended && !view->gap,
			.ends = !view->ended && !view->gap };
	body_result end = read_region(&head, found, detail);
	if (end == BODY_BAD || view->tail.len == 0)
		return end;
	if (end == BODY_ALL) {
		if (body_blank(view->tail))
			return BODY_ALL;
		*detail = "text behind the closing boundary";
		return BODY_BAD;
	}
	region tail = { .bytes = view->tail, .mark = head.mark, .last = true };
	return read_region(&tail, found, detail) == BODY_BAD ? BODY_BAD : BODY_PART;
}
