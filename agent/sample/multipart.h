/* SPDX-License-Identifier: MIT
 *
 * multipart/form-data (RFC 7578), as far as needed to find the fields `model` and `stream`. body_multipart() is in
 * body.h.
 *
 * Why a tail can be read: a boundary must not occur inside a part, so in a valid body each occurrence of "--boundary"
 * is a delimiter, whatever stands before it. The tail is therefore read forward from its first delimiter. A field is
 * known if the delimiters on both sides of it were seen.
 *
 * What is refused: bodies in which another parser could find other parts than this one did. These are a boundary that
 * is not a whole delimiter line, or that follows a bare LF; text before the first or behind the closing delimiter;
 * folded headers, or headers that end in a bare LF; two names, a name that is escaped, encoded or given in pieces
 * (`name*`, `name*0`), or a second one inside another parameter. */
#ifndef SAMPLE_MULTIPART_H
#define SAMPLE_MULTIPART_H

#include "sample/body.h"

/* RFC 2046's limit. */
#define MULTIPART_BOUNDARY_MAX 70
/* The headers of one part, in bytes. Go allows 10 MB for all parts, but only a file name makes headers long. */
#define MULTIPART_HEADERS_MAX 4096

/* Returns what makes a content-type mean different things to different parsers, as static text: two values, or a
 * charset other than UTF-8; with `strict` also parameters that are malformed or stand there twice, because of which
 * some parsers do not read a form at all. NULL: nothing. */
const char *content_type_fault(slice ctype, bool strict);

/* Returns the boundary parameter of a content-type; empty: there is none that all parsers read alike. */
slice multipart_boundary(slice ctype);

#endif
