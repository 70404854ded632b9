/* SPDX-License-Identifier: MIT
 *
 * A report of `spoa-llm tap`: what an answer that went through it told of its usage. The report is one datagram with a
 * JSON object, sent when the answer ends:
 *
 *   v        1
 *   kind     "stream"
 *   id       the request's id, which its log line has too
 *   end      "whole"; "client" or "upstream", who broke the answer off; "lost": the tap could not read all of it
 *   status   of the answer
 *   content  events that carry text, reasoning or arguments of tools: about a token each
 *   final    true: `last` has the sums of the whole answer
 *   first    the first usage object, as the upstream wrote it; absent: none
 *   last     the last one, which may be the same
 *   tier     the service tier, if it was told beside the usage
 *
 * Other members are ignored. Whoever can write to the tap's socket can write reports, so nothing in one is trusted: it
 * changes only a row whose log line says that its answer went through the tap. */
#ifndef LEDGER_TAP_REPORT_H
#define LEDGER_TAP_REPORT_H

#include "base/must_check.h"
#include "ledger/record.h"

enum {
	TAP_REPORT_MAX = 4096,        /* bytes of a datagram */
	TAP_REPORT_OBJECT_MAX = 1280, /* bytes of a usage object; real ones have a few hundred */
	TAP_REPORT_TIER_MAX = 16,
};

typedef enum tap_end { TAP_END_WHOLE, TAP_END_CLIENT, TAP_END_UPSTREAM, TAP_END_LOST } tap_end;

typedef struct tap_report {
	char id[RECORD_ID_MAX + 1];
	int64_t time_ms; /* when the report came */
	tap_end end;
	int32_t status;
	bool final;
	int64_t content;
	char tier[TAP_REPORT_TIER_MAX + 1];
	char first[TAP_REPORT_OBJECT_MAX + 1], last[TAP_REPORT_OBJECT_MAX + 1]; /* "": none */
} tap_report;

enum {
	TAP_REPORT_CODEC = 0x81, /* the first byte of an encoded report; no version of a record has its highest bit */
	TAP_REPORT_ENCODED_MIN = 10,   /* bytes of a report with nothing in it */
	TAP_REPORT_ENCODED_MAX = 2816, /* the largest report has fewer than 2,700 */
};

/* Writes `r` to `out`, for the journal, and returns the number of bytes. */
size_t tap_report_encode(const tap_report *r, unsigned char out[TAP_REPORT_ENCODED_MAX]);
/* Reads an encoded report. False: `bytes` are none; `*r` is zeroed then. */
MUST_CHECK bool tap_report_decode(slice bytes, tap_report *r);

/* Reads `datagram`, which came at `now_ms`. False: it is no report; `*problem` says why, and is static text. */
MUST_CHECK bool tap_report_parse(slice datagram, int64_t now_ms, tap_report *out, const char **problem);

#endif
