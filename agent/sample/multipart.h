/* SPDX-License-Identifier: MIT
 *
 * multipart/form-data (RFC 7578), as far as finding two small fields in it needs. body_multipart() is in body.h.
 *
 * What is known, and why. A boundary must not occur inside a part, so in a valid body each occurrence of "--boundary"
 * is a delimiter, whatever stands before the window: a tail can be read forward from the first one in it. A field is
 * known when the delimiters on both sides of it were seen. Bodies in which parsers could find other parts than this one
 * did are refused: an occurrence that is not a whole delimiter line, or follows a bare LF, text before the first or
 * behind the closing delimiter, folded or bare-LF headers, two names, a `name*`. */
#ifndef SAMPLE_MULTIPART_H
#define SAMPLE_MULTIPART_H

#include "sample/body.h"

/* RFC 2046's limit. */
#define MULTIPART_BOUNDARY_MAX 70
/* The headers of one part, in bytes; Go's limit for all of them is 10 MB, but a file name is what is long here. */
#define MULTIPART_HEADERS_MAX 4096

/* The boundary parameter of a content-type; empty when there is none that all parsers read alike. */
slice multipart_boundary(slice ctype);

#endif
