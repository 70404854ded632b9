/* SPDX-License-Identifier: MIT
 *
 * Which model does this request name?
 *
 * Looks where clients put the model's name (body, path, query, form field, header) and says where it was found, or why
 * it cannot be known. Allocates nothing for a plain JSON body; keeps no state; never reads past the slices. */
#ifndef SAMPLE_MODEL_H
#define SAMPLE_MODEL_H

#include "base/slice.h"

/* Longest model name, in bytes after JSON or percent decoding. A longer one is MODEL_INVALID. */
#define MODEL_MAX 256

typedef enum model_status {
	MODEL_FOUND,
	MODEL_NONE,       /* everything was read, and no model is named */
	MODEL_UNKNOWN,    /* bytes that could name a model are missing: cut body, unknown content-encoding */
	MODEL_AMBIGUOUS,  /* two members, two places, or two ways of reading one of them, name different models */
	MODEL_INVALID,    /* not a string, empty, longer than MODEL_MAX, with control characters or a blank at an end */
	MODEL_MALFORMED,  /* the body says or seems to be JSON, and is not */
	MODEL_BAD_FORM,   /* the body says that it is a form, and is malformed, or parsers read it in different ways */
	MODEL_BAD_CODING, /* the body is not compressed as its content-encoding says */
} model_status;

/* Where the model was found. model_from_name() gives the names that HAProxy gets. */
typedef enum model_from {
	MODEL_FROM_NONE,
	MODEL_FROM_BODY,
	MODEL_FROM_PATH,
	MODEL_FROM_QUERY,
	MODEL_FROM_HEADER,
	MODEL_FROM_FORM,
} model_from;

/* Whether a request asks for the usage at the end of its stream: `"stream_options": {"include_usage": true}`. */
typedef enum stream_usage {
	STREAM_USAGE_UNSEEN, /* bytes of the body that could ask for it are missing */
	STREAM_USAGE_ASKED,
	STREAM_USAGE_NOT_ASKED,
} stream_usage;

/* What HAProxy says of the bytes that it holds between the beginning and the end that it sends. Larger numbers mean the
 * same as BETWEEN_UNCLEAR. */
typedef enum model_between {
	BETWEEN_LATER,   /* HAProxy sends them if it has to ask again */
	BETWEEN_CLEAR,   /* they fit no frame, and nothing in them can be a model */
	BETWEEN_UNCLEAR, /* they fit no frame, and something in them may be a model */
} model_between;

/* What HAProxy sends of one request. Every slice may be empty. */
typedef struct model_sample {
	slice method;
	slice path;        /* without the query string, percent-encoded as the client sent it */
	slice model_param; /* the `model` query parameter as HAProxy's url_param gives it: percent-decoded or not */
	slice deployment_param; /* the `deployment` query parameter, likewise: Azure's name for the model of a WebSocket
				 */
	slice model_hint;       /* the x-codex-turn-metadata header */
	slice ctype;            /* content-type */
	slice cenc;             /* content-encoding */
	slice body;             /* the buffered body, or its first bytes */
	slice tail;             /* the last bytes of the buffered body if `body` is cut; may overlap `body` */
	uint64_t buffered;      /* bytes of body that HAProxy holds */
	uint64_t length;        /* the content-length; == buffered if HAProxy holds all of the body; 0: there is none */
	uint64_t between;       /* a model_between: the bytes between `body` and `tail` */
	bool sized;   /* there is a content-length. Without one (chunked) only the end of the JSON or form shows whether
			 HAProxy holds all of the body */
	bool upgrade; /* a WebSocket handshake */
	bool query_unclear; /* beside one plain `model=` the query has a parameter that some parser reads as `model` */
	bool query_decides; /* the upstream obeys the query, whatever the body says */
	bool path_names_none; /* the caller knows that the path names no model; false: it does not know */
	bool headers_unclear; /* more than one content-type or content-encoding, or x-codex-turn-metadata of a handshake
			       */
} model_sample;

typedef struct model_result {
	model_status status;
	model_from from;
	bool stream; /* the request asks for a stream; false if that is not known */
	bool whole;  /* the request says that it wants no stream */
	stream_usage stream_usage;
	bool no_memory; /* UNKNOWN because memory ran out: a second try may succeed */
	uint16_t len;
	char name[MODEL_MAX]; /* set for FOUND only */
	uint64_t looked;      /* bytes of the body that were read */
	const char *detail;   /* static text for logs and `explain` that says what is wrong; NULL for FOUND and NONE */
} model_result;

/* Sets every field of `*result`, but of `name` only the first `len` bytes. */
void model_find(const model_sample *sample, model_result *result);
/* True if the body is JSON, and what was sent of it has no base64: see plain_text(). */
bool model_plain(const model_sample *sample);
const char *model_from_name(model_from from);

#endif
