/* SPDX-License-Identifier: MIT
 *
 * The dashboard's files, put into the program by the Makefile: agent/ops/page/ and Chart.js from Debian. */
#ifndef OPS_PAGE_H
#define OPS_PAGE_H

#include <stddef.h>

typedef struct page_file {
	const char *path; /* in the URL */
	const char *type;
	const unsigned char *bytes;
	size_t len;
	const unsigned char *packed; /* the same, compressed by gzip */
	size_t packed_len;
	const char *etag; /* a weak one, for both, with its quotes */
} page_file;

extern const page_file page_files[];
extern const size_t page_files_count;

#endif
