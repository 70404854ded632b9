/* SPDX-License-Identifier: MIT
 *
 * Models in multipart and urlencoded forms. */
#include "sample_rig.h"

#define B "--xyz\r\n"
#define FIELD(name) "Content-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define FILE_PART \
	B "Content-Disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".mp3\"\r\nContent-Type: audio/mpeg\r\n\r\n\x01\x02{\"model\":\"x\"}\r\n\r\n--xy\r\n"

static void forms(void)
{
	static const char type[] = "multipart/form-data; boundary=xyz";
	static const struct {
		const char *body, *says;
	} rows[] = {
		{ B FIELD("model") "whisper-1\r\n" FILE_PART "--xyz--\r\n", "whisper-1 from form" },
		{ FILE_PART B FIELD("model") "whisper-1\r\n--xyz--", "whisper-1 from form" },
		{ "\r\n" FILE_PART B FIELD("stream") "true\r\n" B FIELD("model") "m\r\n--xyz--\r\n",
		  "m from form stream" },
		{ B "content-type: text/plain\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--xyz--\r\n",
		  "m from form" },
		{ FILE_PART "--xyz--\r\n", "none" },
		{ "--xyz--\r\n", "none" },
		{ B FIELD("model") "a\r\n" B FIELD("model") "b\r\n--xyz--\r\n", "ambiguous" },
		{ B FIELD("model") "a\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "a from form" },
		{ B FIELD("Model") "a\r\n--xyz--\r\n", "invalid" },
		{ B FIELD("model") " a\r\n--xyz--\r\n", "invalid" },
		{ B FIELD("model") "models/a\r\n--xyz--\r\n", "a from form" },
		{ B FIELD("model[]") "b\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "ambiguous" },
		{ B FIELD(" model") "b\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "ambiguous" },
		{ B FIELD("[model]") "b\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "ambiguous" },
		{ B FIELD("stream") "true\r\n" B FIELD("stream") "false\r\n" B FIELD("model") "a\r\n--xyz--\r\n",
		  "ambiguous" },
		{ B FIELD("Stream") "true\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "ambiguous" },
		{ B "Content-Type: text/plain; charset=utf-8\r\n" FIELD("model") "a\r\n--xyz--\r\n", "a from form" },
		{ B "Content-Type: text/plain; charset=utf-16\r\n" FIELD("model") "a\r\n--xyz--\r\n", "invalid" },
		{ B "Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 8bit\r\n" FIELD(
			  "model") "YQ==\r\n--xyz--\r\n",
		  "invalid" },
		{ B FIELD("model") "\r\n--xyz--\r\n", "invalid" },
		{ B FIELD("model") "a\r\nb\r\n--xyz--\r\n", "invalid" },
		{ B "Content-Disposition: form-data; name=\"model\"; filename=\"a\"\r\n\r\na\r\n--xyz--\r\n",
		  "invalid" },
		{ B
		  "Content-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nYQ==\r\n--xyz--\r\n",
		  "invalid" },
		/* Cases in which parsers differ. */
		{ B FIELD("model") "a\r\n", "bad form" },
		{ "x\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B FIELD("model") "a\r\n--xyz--\r\n" B FIELD("model") "b\r\n--xyz--", "bad form" },
		{ B FIELD("file") "x\n--xyz\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B FIELD("file") "x\n--xyz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B FIELD("file") "x --xyz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B FIELD("file") "x\r\n--xyzz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=\"x\"; name=\"model\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name*=utf-8''model\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name*0=\"mo\"; name*1=\"del\"\r\n\r\nb\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; NAME*0*=utf-8''mo; name*1=\"del\"\r\n\r\nb\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; name =\"model\"\r\n\r\nb\r\n" B FIELD("model") "a\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; name= model\r\n\r\na\r\n--xyz--\r\n",
		  "bad form" }, /* Go finds no name */
		{ B "Content-Disposition: form-data; filename=\tx; name=\"model\"\r\n\r\na\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; name*=utf-8''model; name=\"x\"\r\n\r\na\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; name=\"=?utf-8?q?model?=\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=model/\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=8''model\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=\"utf-8'en'mo%64el\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "C\x88: d\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" }, /* Python ends the headers there */
		{ B "Content-Type: text/plain; name=a.txt\r\n" FIELD("model") "a\r\n--xyz--\r\n",
		  "invalid" }, /* a file for Python */
		{ B "Content-Type: multipart/mixed\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Type: \xc2\xa0multipart/mixed\r\n" FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Type: \xc2\xa0message/rfc822\r\n" FIELD("model") "a\r\n--xyz--\r\n", "invalid" },
		{ B "Content-Disposition: form-data; name=\"mo\\del\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B
		  "Content-Disposition: form-data; filename=\"a; name=model; b\"; name=\"file\"\r\n\r\na\r\n--xyz--\r\n",
		  "bad form" },
		{ B "Content-Disposition: form-data; x-name=model; name=\"file\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=\"file\"; filename=\"rename=1.mp3\"\r\n\r\na\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "a from form" },
		{ B "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''a.mp3\r\n\r\na\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "a from form" },
		{ B FIELD("_charset_") "utf-16\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data;\r\n name=\"model\"\r\n\r\na\r\n--xyz--\r\n", "bad form" },
		{ B "Content-Disposition: form-data; name=\"model\"\n\na\r\n--xyz--\r\n", "bad form" },
		{ B
		  "Content-Disposition: form-data; name=\"model\"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\na\r\n--xyz--\r\n",
		  "bad form" },
		{ "{\"model\":\"a\"}", "bad form" },
		{ "", "none" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = whole(type, rows[i].body, strlen(rows[i].body));
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s: %s, not %s\n", rows[i].body, said, rows[i].says), 0));
	}
	static const struct {
		const char *ctype, *says;
	} types[] = {
		{ "multipart/form-data; boundary=\"xyz\"", "a from form" },
		{ "multipart/form-data; charset=utf-8; Boundary=xyz ", "a from form" },
		{ "multipart/form-data", "bad form" },
		{ "multipart/form-data; boundary=", "ambiguous" },
		{ "multipart/form-data; boundary=xyz; boundary=abc", "ambiguous" },
		{ "multipart/form-data; boundary=\"x\\yz\"", "bad form" },
		{ "multipart/form-data; boundary=xyz,abc", "ambiguous" },
		{ "multipart/form-data; boundary*=xyz", "bad form" },
		{ "multipart/form-data; boundary*0=\"xy\"; boundary*1=z", "bad form" },
		{ "multipart/form-data; boundary=xyz; BOUNDARY*0*=utf-8''abc", "bad form" },
		{ "multipart/form-data; boundary =abc; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; x-boundary=abc; boundary=xyz", "bad form" },
		{ "multipart/form-data; x=\"boundary=abc\"; boundary=xyz", "bad form" },
		{ "multipart/form-data; boundary=\"xyz \"", "bad form" },
		{ "multipart/form-data; charset=utf-16; boundary=xyz", "ambiguous" },
		{ "multipart/form-data;; boundary=xyz", "ambiguous" }, /* Go finds no form */
		{ "multipart/form-data; boundary=xyz;", "a from form" },
		{ "multipart/form-data; a=b; A=c; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; boundary==xyz", "ambiguous" },
		{ "multipart/form-data; boundary= xyz", "ambiguous" }, /* PHP's boundary begins with the blank */
		{ "multipart/form-data; boundary=\txyz", "ambiguous" },
		{ "multipart/form-data; boundary=xyz ; a=b", "ambiguous" },
		{ "multipart/form-data; a= b; boundary=xyz", "ambiguous" }, /* Go finds no form */
		{ "multipart/mixed; boundary=xyz", "ambiguous" },           /* Go's MultipartReader reads it */
		{ "text/plain, multipart/form-data; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
		  "bad form" },
	};
	for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
		static const char body[] = B FIELD("model") "a\r\n--xyz--\r\n";
		model_sample s = whole(types[i].ctype, body, sizeof body - 1);
		SAYS(&s, types[i].says);
	}
}

/* True if the first `len` bytes of `body` end within the headers of a part. */
static bool in_headers(const char *body, size_t len)
{
	size_t begin = 0;

	for (size_t i = 7; i <= len; i++)
		if (memcmp(body + i - 7, "--xyz\r\n", 7) == 0)
			begin = i;
	return !memmem(body + begin, len - begin, "\r\n\r\n", 4);
}

static void cut_forms(void)
{
	static const char type[] = "multipart/form-data; boundary=xyz";
	static const char first[] = B FIELD("model") "a\r\n" FILE_PART FILE_PART FILE_PART "--xyz--\r\n";
	static const char last[] = FILE_PART FILE_PART FILE_PART B FIELD("model") "a\r\n--xyz--\r\n";
	/* A field is known if the delimiters before and behind it were seen. */
	const size_t from_begin = strlen(B FIELD("model") "a\r\n--xyz\r\n"),
		     from_end = strlen(B FIELD("model") "a\r\n--xyz--\r\n");
	model_sample s;

	for (size_t head = 1; head < sizeof first - 1; head++) {
		s = whole(type, first, head);
		s.length = sizeof first - 1;
		SAYS(&s, head < from_begin ? "unknown" : "a from form");
		s = whole(type, first, head);
		s.sized = false; /* the body may end there, and then some parsers read a part without its end */
		SAYS(&s, head < from_begin || in_headers(first, head) ? "unknown" : "a from form");
	}
	for (size_t tail = 1; tail < sizeof last - 30; tail++) {
		s = ends(type, last, 20, tail);
		SAYS(&s, tail < from_end ? "unknown" : "a from form");
	}
	s = ends(type, B FIELD("model") "a\r\n" FILE_PART FILE_PART B FIELD("model") "b\r\n--xyz--\r\n", 100, 100);
	SAYS(&s, "ambiguous");
	s = ends(type, B FIELD("model") "a\r\n" FILE_PART FILE_PART B FIELD("model") "b\r\n--xyz--\r\n", 100, 30);
	SAYS(&s, "a from form");

	static const char fields[] = "a=1&prompt=.........................................................&model=m";
	s = ends("application/x-www-form-urlencoded", fields, 10, 8);
	SAYS(&s, "m from form");
	/* The end of a body in chunks is not known, so a field at the end may go on. */
	static const char again[] = "model=a&model=b";
	s = whole("application/x-www-form-urlencoded", again, sizeof again - 1);
	s.sized = false;
	SAYS(&s, "unknown");
	s = ends("application/x-www-form-urlencoded", fields, 10, 7);
	SAYS(&s, "unknown");
	s = whole("application/x-www-form-urlencoded", fields, sizeof fields - 1);
	s.sized = false;
	SAYS(&s, "unknown");
}

int main(void)
{
	RUN(forms);
	RUN(cut_forms);
	return unit_end();
}
