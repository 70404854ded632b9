/* SPDX-License-Identifier: MIT
 *
 * What a job is asked, from the address of a request or from its body. */
#ifndef OPS_JOB_URL_H
#define OPS_JOB_URL_H

#include "base/must_check.h"
#include "ops/jobs.h"

/* Reads what `j`, whose kind and connection are set, is asked by a GET of `about`, a path without its slash, which has
 * to live as long as `j`. False: `e` says which argument is wrong. */
MUST_CHECK bool job_take_url(job *j, const char *about, struct MHD_Connection *c, err *e);
/* The same by a POST: takes `*body`, of `len` bytes, over if `j` needs it. */
void job_take_body(job *j, char **body, size_t len);

#endif
