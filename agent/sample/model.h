/* SPDX-License-Identifier: MIT
 *
 * Which model does this request name?
 *
 * Looks where clients put it (body, path, query, form field, header) and says where it was found, or why it
 * cannot be known. Allocates nothing for a plain JSON body; keeps no state; never reads past the slices. */
#ifndef SAMPLE_MODEL_H
#define SAMPLE_MODEL_H

#include "base/slice.h"

/* Longest model name, in bytes after JSON and percent decoding. A longer one is MODEL_INVALID. */
#define MODEL_MAX 256

typedef enum model_status {
	MODEL_FOUND,
	MODEL_NONE,      /* everything was looked at, and no model is named */
	MODEL_UNKNOWN,   /* bytes that could name it are missing: cut body, unknown content encoding */
	MODEL_AMBIGUOUS, /* two members, or two places, name different models */
	MODEL_INVALID,   /* no string, empty, over MODEL_MAX, or with control characters in it */
	MODEL_MALFORMED, /* the body says it is JSON (or starts an object) and is not */
} model_status;

/* Where it was found. The names on the wire are those of model_from_name(). */
typedef enum model_from {
	MODEL_FROM_NONE,
	MODEL_FROM_BODY,
	MODEL_FROM_PATH,
	MODEL_FROM_QUERY,
	MODEL_FROM_HEADER,
	MODEL_FROM_FORM,
} model_from;

/* What HAProxy sends of one request. Every slice may be empty. */
typedef struct model_sample {
	slice path;        /* without the query string, as on the wire (percent-encoded) */
	slice model_param; /* the `model` query parameter, already percent-decoded or not: as HAProxy's url_param gives
			      it */
	slice model_hint;  /* the x-codex-turn-metadata header */
	slice ctype;       /* content-type */
	slice cenc;        /* content-encoding */
	slice body;        /* the buffered body, or its first bytes */
	slice tail;        /* the last bytes of the buffered body, where `body` is cut; may overlap `body` */
	uint64_t buffered; /* bytes of body that HAProxy holds */
	uint64_t length;   /* bytes of body that the client announced; == buffered when all of it is there */
	bool sized;   /* `length` is from a Content-Length. Without one (chunked) HAProxy gives length == buffered even
		       * for a cut body, so the end of the body is known only where the JSON itself ends */
	bool upgrade; /* a WebSocket handshake */
} model_sample;

typedef struct model_result {
	model_status status;
	model_from from;
	bool stream;    /* the request asks for a stream; false when not known */
	bool no_memory; /* UNKNOWN for want of memory: asked again, it may be known */
	uint16_t len;
	char name[MODEL_MAX]; /* valid for FOUND only */
	uint64_t looked;      /* bytes of the body that were looked at */
	const char *detail;   /* static text: what is wrong, for logs and `explain`; NULL for FOUND and NONE */
} model_result;

void model_find(const model_sample *sample, model_result *result);
const char *model_from_name(model_from from);

#endif
