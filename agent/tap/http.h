/* SPDX-License-Identifier: MIT
 *
 * Follows the HTTP/1.1 exchanges of one connection while somebody else relays their bytes: bytes in, events out. It has
 * no socket, allocates nothing, keeps no byte of a body, and changes none. Both peers are HAProxy, but a client and an
 * upstream choose what HAProxy passes on, so that nothing is taken for granted.
 *
 * One exchange at a time: a request that comes before the answer to the one before it has to wait (HTTP_WAIT). */
#ifndef TAP_HTTP_H
#define TAP_HTTP_H

#include "base/slice.h"

enum {
	/* Bytes of a request's head, which somebody has to keep until it has named its leg. Three times what
	 * haproxy.cfg.example lets through the tap. Nobody keeps the other parts, so that they may have any length. */
	HTTP_HEAD_MAX = 128 << 10,
	HTTP_VALUE_MAX = 127, /* bytes of a header's value that is looked at */
	HTTP_ID_MAX = 64,     /* bytes of a request's id, as of a record's in the ledger */
	HTTP_TYPE_MAX = 63,   /* bytes of a media type */
	HTTP_CODING_MAX = 23, /* bytes of a coding's name */
};

typedef enum http_event_type {
	HTTP_MORE,  /* the input is used up */
	HTTP_HEAD,  /* the head of a request or of a final answer (101 too) has ended: the http_flow says what is in it
		     */
	HTTP_BODY,  /* `bytes`, at least one, are of the body, without the framing of chunks */
	HTTP_END,   /* the request or the answer has ended, and the input stands behind it */
	HTTP_BLIND, /* `bytes`, at least one, came after a 101 or a CONNECT, and are not HTTP any more */
	HTTP_WAIT,  /* another request begins; it is to be given again when the answer to the last one has ended */
	HTTP_BAD,   /* the input stands at a byte that no reader of HTTP/1.1 should accept; `why` says what is wrong */
} http_event_type;

typedef struct http_event {
	http_event_type type;
	slice bytes;     /* BODY, BLIND: part of the input */
	const char *why; /* BAD: a static text */
} http_event;

/* What is known of one direction. Private to http.c. */
typedef struct http_side {
	uint8_t state, field; /* field: the header whose value is read */
	uint16_t seen;        /* the headers that were there, a bit each */
	bool trailers, chunked, coded_last, sized, cut;
	uint32_t head_len; /* bytes of a request's head, up to HTTP_HEAD_MAX */
	uint64_t left;     /* bytes to come of the body or of the chunk */
	const char *why;   /* what is wrong; NULL: nothing */
} http_side;

/* The texts end with a NUL and have visible ASCII only, without quotes and backslashes: they need no escaping in JSON.
 * A text is empty if its header is missing, came more than once, has other characters, or is too long. */
typedef struct http_flow {
	/* Of the last request, from its HEAD until the next request begins, which is never before the answer's END. */
	char id[HTTP_ID_MAX + 1];     /* x-request-id */
	char leg[HTTP_VALUE_MAX + 1]; /* x-llm-leg */
	/* Of the last answer, from its HEAD until the next request begins. */
	unsigned status;                  /* any number of 16 bits */
	char type[HTTP_TYPE_MAX + 1];     /* content-type in lower case, without parameters */
	char coding[HTTP_CODING_MAX + 1]; /* how the body is coded, in lower case; empty: it is as it is */
	/* A request's head has ended, and the answer to it has not. */
	bool open;

	/* Private to http.c. */
	bool head_only, connect; /* the method is HEAD, CONNECT */
	bool blind;              /* the answer ended HTTP */
	http_side request, answer;
	/* A header's name, and then its value. One is enough for both directions: the head of an answer is read only
	 * between the end of a request's head and the next request. */
	uint8_t value_len;
	char value[HTTP_VALUE_MAX + 1];
} http_flow;

/* Begins a connection on which nothing was sent yet. */
void http_init(http_flow *f);

/* Take the next part off `*in`, which has what the client or the upstream sent since the last call. To be called until
 * the event is MORE, WAIT or BAD. Bytes that were taken without an event (heads, framing, 1xx answers) are taken all
 * the same: what is relayed does not depend on events. How the bytes are split makes no difference to the events, but
 * that BODY and BLIND may come in more parts.
 *
 * After BAD the direction stays BAD. `http_answer_next` also gives it for an answer to which there is no request. */
http_event http_request_next(http_flow *f, slice *in);
http_event http_answer_next(http_flow *f, slice *in);

/* Notes that the upstream closed its side in order, after all of its bytes were given to http_answer_next(). END: that
 * ended the answer, which had no other end (or the tunnel after a 101). MORE: there was nothing to end. BAD: the answer
 * is cut, or never came. */
http_event_type http_answer_eof(http_flow *f);

/* True between two exchanges: closing the connection now breaks nothing. */
bool http_idle(const http_flow *f);

#endif
