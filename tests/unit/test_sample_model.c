/* SPDX-License-Identifier: MIT */
#include "unit.h"

#include "sample/model.h"

static const char *const status_names[] = { "found", "none", "unknown", "ambiguous", "invalid", "malformed" };

/* Writes the result as text: "NAME from PLACE", with " stream" if the request asks for one, or the status. */
static const char *say(const model_sample *s)
{
	static char out[400];
	model_result r;

	memset(&r, 0xa5, sizeof r);
	model_find(s, &r);
	if (r.status == MODEL_FOUND)
		snprintf(out, sizeof out, "%.*s from %s%s", (int)r.len, r.name, model_from_name(r.from),
			 r.stream ? " stream" : "");
	else
		snprintf(out, sizeof out, "%s", status_names[r.status]);
	if ((r.status == MODEL_FOUND || r.status == MODEL_NONE) != (r.detail == NULL))
		snprintf(out, sizeof out, "%s, and detail %s", status_names[r.status], r.detail ? r.detail : "missing");
	if (r.status != MODEL_FOUND && r.from != MODEL_FROM_NONE)
		return "from, though not found";
	return out;
}

#define SAYS(sample, text) \
	do { \
		const char *said = say(sample); \
		CHECK(strcmp(said, text) == 0 || (printf("  said %s, not %s\n", said, text), 0)); \
	} while (0)

static model_sample whole(const char *ctype, const void *body, size_t len)
{
	const unsigned char *copy = unit_guarded(body, len);
	return (model_sample){ .path = SLICE("/v1/chat/completions"),
			       .ctype = slice_cstr(ctype),
			       .body = slice_of(copy, len),
			       .buffered = len,
			       .length = len,
			       .sized = true };
}

static void bodies(void)
{
	static const struct {
		const char *ctype, *body, *says;
	} rows[] = {
		{ "application/json", "{\"model\":\"gpt-4o\"}", "gpt-4o from body" },
		{ "Application/JSON; charset=utf-8", "{\"model\":\"gpt-4o\",\"stream\":true}",
		  "gpt-4o from body stream" },
		{ "application/vnd.x+json", "{\"model\":\"a\"}", "a from body" },
		{ "", "{\"model\":\"a\"}", "a from body" },
		{ "text/plain", "\xef\xbb\xbf {\"model\":\"a\"}\r\n", "a from body" },
		{ "application/json", "{\"messages\":[{\"model\":\"b\"}],\"mod\\u0065l\":\"a\"}", "a from body" },
		{ "application/json",
		  "{\"messages\":[{\"content\":\"\\\"}],\\\"model\\\":\\\"evil\\\"\"}],\"model\":\"a\"}",
		  "a from body" },
		{ "application/json", "{}", "none" },
		{ "application/json", "{\"models\":\"a\"}", "none" },
		{ "application/json", "[{\"model\":\"a\"}]", "none" },
		{ "application/json", "\"model\"", "none" },
		{ "application/json", "12", "none" },
		{ "application/json", "[1", "malformed" },
		{ "application/json", "hello", "malformed" },
		{ "application/json", "  ", "malformed" },
		{ "application/json", "{\"model\":\"a\"", "malformed" },
		{ "application/json", "{\"model\":\"a\"} x", "malformed" },
		{ "application/json", "{\"model\":\"a\"}{\"model\":\"a\"}", "malformed" },
		{ "application/json", "{\"model\":\"a\",}", "malformed" },
		{ "application/json", "{\"model\":\"a\"/*\"*/}", "malformed" },
		{ "text/plain", "hello", "none" },
		{ "text/plain", "{hello}", "malformed" },
		{ "audio/wav", "RIFF{\"model\":\"a\"}", "none" },
		{ "application/json", "\xff\xfe{", "malformed" },
		{ "text/plain", "\xff\xfe{", "malformed" },
		{ "application/json", "{\"model\":\"a\",\"model\":\"b\"}", "ambiguous" },
		{ "application/json", "{\"model\":\"a\",\"mode\\u006c\":\"\\u0061\"}", "a from body" },
		{ "application/json", "{\"model\":\"a\",\"MODEL\":\"b\"}", "ambiguous" },
		{ "application/json", "{\"model\":\"a\",\"MODEL\":\"a\"}", "a from body" },
		{ "application/json", "{\"Model\":\"a\"}", "invalid" },
		{ "application/json", "{\"model\\u0000\":\"a\"}", "invalid" },
		{ "application/json", "{\"model\":5}", "invalid" },
		{ "application/json", "{\"model\":null}", "none" },
		{ "application/json", "{\"Model\":null,\"model\":null}", "none" },
		{ "application/json", "{\"model\":\"a\",\"model\":null}", "ambiguous" },
		{ "application/json", "{\"Model\":null,\"model\":\"a\"}", "ambiguous" },
		/* Google's own spelling. */
		{ "application/json", "{\"model\":\"models/a\"}", "a from body" },
		{ "application/json", "{\"model\":\"models/a\",\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"model\":\"models/a\",\"model\":\"b\"}", "ambiguous" },
		{ "application/json", "{\"model\":\"models\\/a\"}", "a from body" },
		{ "application/json", "{\"model\":\"models/\"}", "invalid" },
		{ "application/json", "{\"model\":\"models/ a\"}", "invalid" },
		{ "application/json", "{\"model\":\"models/models/a\"}", "models/a from body" },
		{ "application/json", "{\"model\":\"x/models/a\"}", "x/models/a from body" },
		{ "application/json", "{\"model\":5,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"model\":\"\"}", "invalid" },
		{ "application/json", "{\"model\":\"a\\n\"}", "invalid" },
		{ "application/json", "{\"model\":\"a\\u0000b\"}", "invalid" },
		{ "application/json", "{\"model\":\"\x7f\"}", "invalid" },
		{ "application/json", "{\"model\":\"\\u0085\"}", "invalid" },
		{ "application/json", "{\"model\":\"\\ud800\"}", "invalid" },
		{ "application/json", "{\"model\":\"\xff\"}", "invalid" },
		{ "application/json", "{\"model\":\"\\q\"}", "invalid" },
		{ "application/json", "{\"model\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80 from body" },
		{ "application/json", "{\"x\":\"\xff\",\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"stream\":true,\"stream\":false,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\":true,\"stream\":false}", "ambiguous" },
		{ "application/json", "{\"stream\":false,\"stream\":false,\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"stream\":null,\"stream\":false,\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"stream\":true,\"str\\u0065am\":true,\"model\":\"a\"}", "a from body stream" },
		{ "application/json", "{\"stream\":true,\"str\\u0065am\":null,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\":false,\"Stream\":true,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"STREAM\":true,\"stream\":true,\"model\":\"a\"}", "a from body stream" },
		{ "application/json", "{\"Stream\":true,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"Stream\":false,\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"\xc5\xbftream\":true,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"\\u017ftream\":true,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\\u0000\":true,\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\":\"true\",\"model\":\"a\"}", "a from body stream" },
		{ "application/json", "{\"stream\":1,\"model\":\"a\"}", "a from body stream" },
		{ "application/json", "{\"stream\":\"yes\",\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"stream\":{},\"model\":\"a\"}", "a from body" },
		{ "application/json", "{\"stream\":\"yes\",\"stream\":\"no\",\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\":{},\"stream\":{},\"model\":\"a\"}", "ambiguous" },
		{ "application/json", "{\"stream\":true,\"stream\":\"no\",\"model\":\"a\"}", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=a&stream=true&stream=false", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=a&stream=%74rue&stream=1", "a from form stream" },
		{ "application/x-www-form-urlencoded", "model=a&Stream=true", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=a&stream[]=true", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=a&stream=false", "a from form" },
		/* Names of fields that only some parsers read as "model". */
		{ "application/x-www-form-urlencoded", "model[]=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model%5b0%5d=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "+model=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "+++++++++++++++++++++++++++%20%20%20+++++++model=b&model=a",
		  "ambiguous" },
		{ "application/x-www-form-urlencoded", "model%00x=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model[]=a", "invalid" },
		{ "application/x-www-form-urlencoded", "_charset_=utf-16&model=a", "malformed" },
		{ "application/x-www-form-urlencoded", "?model=a", "invalid" }, /* Node takes the question mark off */
		{ "application/x-www-form-urlencoded", "model=a&model[]=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "[model]=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "%5bmodel%5d=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "\xef\xbb\xbfmodel=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model]=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model;&model=a", "malformed" },
		{ "application/x-www-form-urlencoded", "model=mod\xc3\xa8le", "invalid" }, /* Latin-1 to some */
		{ "application/x-www-form-urlencoded", "model=mod%C3%A8le", "mod\xc3\xa8le from form" },
		{ "application/x-www-form-urlencoded; a=1; a=2", "model=a", "ambiguous" },
		{ ",application/x-www-form-urlencoded", "model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "_charset_=UTF-8&model=a", "a from form" },
		{ "application/x-www-form-urlencoded", "model=a+", "invalid" },
		{ "application/x-www-form-urlencoded", "model=%C2%A0a", "invalid" },
		{ "application/x-www-form-urlencoded", "model=models%2Fa", "a from form" },
		/* Content-types that parsers read differently. */
		{ "application/json, multipart/form-data; boundary=x", "{\"model\":\"a\"}", "ambiguous" },
		{ "application/json; charset=utf-16", "{\"model\":\"a\"}", "ambiguous" },
		{ "application/json; charset=utf-7", "{\"model\":\"a\"}", "ambiguous" },
		{ "application/json; charset*=utf-7", "{\"model\":\"a\"}", "ambiguous" },
		{ "application/json; charset=utf-8; charset=utf-7", "{\"model\":\"a\"}", "ambiguous" },
		{ "text/plain; charset=utf-16", "{\"model\":\"a\"}", "ambiguous" },
		{ "text/plain; charset=utf-16", "hello", "none" },
		{ "application/json; charset=\"UTF-8\"", "{\"model\":\"a\"}", "a from body" },
		{ "application/json;charset=utf8;x=\"a,b\"", "{\"model\":\"a\"}", "a from body" },
		{ "application/x-www-form-urlencoded; charset=utf-16", "model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=gpt-4o&stream=true", "gpt-4o from form stream" },
		{ "application/x-www-form-urlencoded", "prompt=a+b&mod%65l=gpt%2D4o", "gpt-4o from form" },
		{ "application/x-www-form-urlencoded", "a=1", "none" },
		{ "application/x-www-form-urlencoded", "model=a&model=b", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model=a&Model=b", "ambiguous" },
		{ "application/x-www-form-urlencoded", "Model=b", "invalid" },
		{ "application/x-www-form-urlencoded", "model=", "invalid" },
		{ "application/x-www-form-urlencoded", "model=%zz", "invalid" },
		{ "application/x-www-form-urlencoded", "model=a;b", "invalid" },
		{ "application/x-www-form-urlencoded", "x=1;model=a", "malformed" },
		{ "application/x-www-form-urlencoded", "x=1;y=2&model=a", "a from form" },
		{ "application/x-www-form-urlencoded", "{\"model\":\"a\"}", "a from body" },
		{ "application/x-www-form-urlencoded", "{\"x\":\"&model=b&\",\"model\":\"a\"}", "ambiguous" },
		{ "application/x-www-form-urlencoded", "{\"x\":\"&model=a&\",\"model\":\"a\"}", "a from body" },
		{ "application/x-www-form-urlencoded", "{\"x\":\"&model=b&\"}", "ambiguous" },
		{ "application/x-www-form-urlencoded", "{\"x\":\";model=b\",\"model\":\"a\"}", "ambiguous" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = whole(rows[i].ctype, rows[i].body, strlen(rows[i].body));
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s %s: %s, not %s\n", rows[i].ctype, rows[i].body, said, rows[i].says), 0));
	}
	model_sample s = whole("application/json", "{\0", 2);
	SAYS(&s, "malformed");
	s = whole("text/plain", "\0{\0\"", 4);
	SAYS(&s, "malformed");
}

/* Servers trim different characters, so a name may neither begin nor end with one that nobody sees. */
static void names_have_no_unseen_ends(void)
{
	static const char *const unseen[] = {
		" ",       "\\t",     "\\n",      "\\u00a0",      "\\u00ad",      "\\u034f",
		"\\u1680", "\\u180e", "\\u2003",  "\\u200b",      "\\u200e",      "\\u200f",
		"\\u2028", "\\u202f", "\\u2060",  "\\u2800",      "\\u3000",      "\\u3164",
		"\\ufe0f", "\\ufeff", "\xc2\xa0", "\xe2\x80\x8b", "\xef\xbb\xbf", "\xf3\xa0\x80\xa0",
	};
	char body[100];
	model_sample s;

	for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++) {
		static const char *const around[][2] = {
			{ "", "glm-1" }, { "glm-1", "" }, { "", "" }, { "models/", "glm-1" }
		};
		for (size_t k = 0; k < sizeof around / sizeof around[0]; k++) {
			int n = snprintf(body, sizeof body, "{\"model\":\"%s%s%s\"}", around[k][0], unseen[i],
					 around[k][1]);
			s = whole("application/json", body, (size_t)n);
			SAYS(&s, "invalid");
		}
	}
	static const char inside[] = "{\"model\":\"g l\\u200bm\"}";
	s = whole("application/json", inside, sizeof inside - 1);
	SAYS(&s, "g l\xe2\x80\x8bm from body");
}

static void names_have_a_longest_length(void)
{
	char body[400];

	for (int len = MODEL_MAX - 1; len <= MODEL_MAX + 1; len++) {
		int n = snprintf(body, sizeof body, "{\"model\":\"%0*d\"}", len, 7);
		model_sample s = whole("application/json", body, (size_t)n);
		CHECK((strcmp(say(&s), "invalid") == 0) == (len > MODEL_MAX));
		n = snprintf(body, sizeof body, "{\"model\":\"%0*d\\u0041\"}", len - 1, 7);
		s = whole("application/json", body, (size_t)n);
		CHECK((strcmp(say(&s), "invalid") == 0) == (len > MODEL_MAX));
	}
}

/* Sends only the first `head` and the last `tail` bytes of a body. */
static model_sample ends(const char *ctype, const char *body, size_t head, size_t tail)
{
	size_t len = strlen(body);
	model_sample s = whole(ctype, body, head);

	s.tail = slice_of(unit_guarded(body + (len - tail), tail), tail);
	s.buffered = s.length = len;
	return s;
}

static void cut_bodies(void)
{
	static const char first[] =
		"{\"model\":\"a\",\"stream\":true,\"messages\":[\"........................................................\"]}";
	static const char last[] =
		"{\"messages\":[\"........................................................\"],\"stream\":true,\"model\":\"a\"}";
	static const char middle[] =
		"{\"m\":[\"........................\"],\"model\":\"a\",\"n\":[\"................................\"]}";
	static const char twice[] =
		"{\"model\":\"a\",\"messages\":[\".......................................................\"],\"model\":\"b\"}";
	const char *json = "application/json";
	model_sample s;

	s = ends(json, first, 20, 20);
	SAYS(&s, "a from body");
	s = ends(json, first, 30, 20);
	SAYS(&s, "a from body stream");
	s = ends(json, last, 20, 40);
	SAYS(&s, "a from body stream");
	s = ends(json, middle, 20, 20);
	SAYS(&s, "unknown");
	s = ends(json, middle, 50, strlen(middle) - 50);
	SAYS(&s, "a from body");
	s = ends(json, middle, 50, strlen(middle) - 30);
	SAYS(&s, "a from body");
	s = ends(json, twice, 20, 20);
	SAYS(&s, "ambiguous");
	s = ends(json, twice, 20, 8);
	SAYS(&s, "a from body");

	/* The head ends within a model. */
	static const char cut[] = "{\"model\":\"gpt\",\"messages\":[\"........................\"],\"model\":\"a\"}";
	s = ends(json, cut, 11, 20);
	SAYS(&s, "unknown");

	/* The tail is the end of the body only if the length is announced and all of it is there. */
	s = ends(json, last, 20, 40);
	s.sized = false;
	SAYS(&s, "unknown");
	s = ends(json, last, 20, 40);
	s.length++;
	SAYS(&s, "unknown");
	s = ends(json, first, 20, 20);
	s.length++;
	SAYS(&s, "a from body");

	/* If bytes are missing behind a nested object, it looks like the outermost one. */
	static const char nested[] =
		"{\"messages\":[{\"x\":\"...............................................\",\"model\":\"evil\"}";
	s = ends(json, nested, 20, 30);
	s.length += 100;
	SAYS(&s, "unknown");
	s = ends(json, nested, 20, 30);
	s.sized = false;
	SAYS(&s, "unknown");

	/* Two documents, a broken end, an array. */
	s = ends(json, "{\"x\":1}                                {\"model\":\"a\"}", 20, 20);
	SAYS(&s, "malformed");
	s = ends(json, "{\"x\":\"................\"}            {\"model\":\"a\"}", 10, 20);
	SAYS(&s, "malformed");
	s = ends(json, "                                        {\"model\":\"a\"}", 10, 20);
	SAYS(&s, "a from body");
	s = ends(json, "{\"x\":[\"................................\"],\"model\":\"a\"}]", 10, 20);
	SAYS(&s, "malformed");
	s = ends(json, "[{\"x\":[\"................................\"],\"model\":\"a\"}]", 10, 20);
	SAYS(&s, "none");

	/* Numbers that contradict each other. */
	s = whole(json, "{\"x\":1}", 7);
	s.tail = SLICE("{\"model\":\"a\"}");
	SAYS(&s, "none");
	s = whole(json, "", 0);
	s.buffered = s.length = 100;
	s.tail = SLICE("\"model\":\"a\"}");
	SAYS(&s, "unknown");
	s = whole(json, "", 0);
	s.length = 10;
	SAYS(&s, "unknown");
	s = whole(json, "", 0);
	SAYS(&s, "none");
	s = whole("audio/wav", "RIFF", 4);
	s.length = 1000000;
	SAYS(&s, "none");
}

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
		{ B FIELD("model") "a\r\n", "malformed" },
		{ "x\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B FIELD("model") "a\r\n--xyz--\r\n" B FIELD("model") "b\r\n--xyz--", "malformed" },
		{ B FIELD("file") "x\n--xyz\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B FIELD("file") "x\n--xyz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B FIELD("file") "x --xyz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B FIELD("file") "x\r\n--xyzz\r\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name=\"x\"; name=\"model\"\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name*=utf-8''model\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name*0=\"mo\"; name*1=\"del\"\r\n\r\nb\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; NAME*0*=utf-8''mo; name*1=\"del\"\r\n\r\nb\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; name =\"model\"\r\n\r\nb\r\n" B FIELD("model") "a\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; name*=utf-8''model; name=\"x\"\r\n\r\na\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; name=\"=?utf-8?q?model?=\"\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name=model/\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B "C\x88: d\r\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" }, /* Python ends the headers there */
		{ B "Content-Type: text/plain; name=a.txt\r\n" FIELD("model") "a\r\n--xyz--\r\n",
		  "invalid" }, /* a file for Python */
		{ B "Content-Type: multipart/mixed\r\n" FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name=\"mo\\del\"\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B
		  "Content-Disposition: form-data; filename=\"a; name=model; b\"; name=\"file\"\r\n\r\na\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; x-name=model; name=\"file\"\r\n\r\na\r\n--xyz--\r\n",
		  "malformed" },
		{ B "Content-Disposition: form-data; name=\"file\"; filename=\"rename=1.mp3\"\r\n\r\na\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "a from form" },
		{ B "Content-Disposition: form-data; name=\"file\"; filename*=utf-8''a.mp3\r\n\r\na\r\n" B FIELD(
			  "model") "a\r\n--xyz--\r\n",
		  "a from form" },
		{ B FIELD("_charset_") "utf-16\r\n" B FIELD("model") "a\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data;\r\n name=\"model\"\r\n\r\na\r\n--xyz--\r\n", "malformed" },
		{ B "Content-Disposition: form-data; name=\"model\"\n\na\r\n--xyz--\r\n", "malformed" },
		{ B
		  "Content-Disposition: form-data; name=\"model\"\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\na\r\n--xyz--\r\n",
		  "malformed" },
		{ "{\"model\":\"a\"}", "malformed" },
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
		{ "multipart/form-data", "malformed" },
		{ "multipart/form-data; boundary=", "ambiguous" },
		{ "multipart/form-data; boundary=xyz; boundary=abc", "ambiguous" },
		{ "multipart/form-data; boundary=\"x\\yz\"", "malformed" },
		{ "multipart/form-data; boundary=xyz,abc", "ambiguous" },
		{ "multipart/form-data; boundary*=xyz", "malformed" },
		{ "multipart/form-data; boundary*0=\"xy\"; boundary*1=z", "malformed" },
		{ "multipart/form-data; boundary=xyz; BOUNDARY*0*=utf-8''abc", "malformed" },
		{ "multipart/form-data; boundary =abc; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; x-boundary=abc; boundary=xyz", "malformed" },
		{ "multipart/form-data; x=\"boundary=abc\"; boundary=xyz", "malformed" },
		{ "multipart/form-data; boundary=\"xyz \"", "malformed" },
		{ "multipart/form-data; charset=utf-16; boundary=xyz", "ambiguous" },
		{ "multipart/form-data;; boundary=xyz", "ambiguous" }, /* Go finds no form */
		{ "multipart/form-data; boundary=xyz;", "a from form" },
		{ "multipart/form-data; a=b; A=c; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; boundary==xyz", "ambiguous" },
		{ "multipart/mixed; boundary=xyz", "ambiguous" }, /* Go's MultipartReader reads it */
		{ "text/plain, multipart/form-data; boundary=xyz", "ambiguous" },
		{ "multipart/form-data; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
		  "malformed" },
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

static void paths(void)
{
	static const struct {
		const char *path, *says;
	} rows[] = {
		{ "/v1beta/models/gemini-2.0-flash:generateContent", "gemini-2.0-flash from path" },
		{ "/v1/models/gemini-2.0-flash:streamGenerateContent", "gemini-2.0-flash from path stream" },
		{ "/v1beta/tunedModels/mine:generateContent", "tunedModels/mine from path" },
		{ "/v1/projects/p/locations/l/publishers/google/models/gemini-x:predict", "gemini-x from path" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/claude-3@20240229:streamRawPredict",
		  "claude-3@20240229 from path stream" },
		{ "/p/team/v1beta/models/g%65mini:countTokens", "gemini from path" },
		{ "/openai/deployments/my-gpt/chat/completions", "my-gpt from path" },
		{ "/OpenAI/Deployments/my%20gpt/embeddings", "my gpt from path" },
		{ "/model/anthropic.claude-v2%3A1/invoke", "anthropic.claude-v2:1 from path" },
		{ "/model/anthropic.claude-v2:1/converse-stream", "anthropic.claude-v2:1 from path stream" },
		{ "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A%3Afoundation-model%2Fclaude/invoke-with-response-stream",
		  "arn:aws:bedrock:us-east-1::foundation-model/claude from path stream" },
		{ "/v1/models/gpt-4o", "none" },
		{ "/v1/models", "none" },
		{ "/v1/models/", "none" },
		{ "/v1/chat/completions", "none" },
		{ "/v1//chat/completions", "none" },
		{ "/openai/deployments/my-gpt", "none" },
		{ "/openai/deployments/my-gpt/", "none" },
		{ "/v1/engines/my-gpt", "none" },
		{ "/v1/embeddings", "none" },
		{ "/model/x/other", "none" },
		{ "/model/info", "none" },
		{ "/v1/messages", "none" },
		{ "", "none" },
		{ "*", "none" },
		/* Azure's AI Inference, and Vertex's endpoint for all of Anthropic's models. */
		{ "/models/chat/completions", "none" },
		{ "/models/embeddings", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens%3ArawPredict", "none" },
		{ "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens-1:rawPredict",
		  "count-tokens-1 from path" },
		/* Decoded once, in any case, with a slash behind. */
		{ "/v1beta/models/gpt-9%3AgenerateContent", "gpt-9 from path" },
		{ "/v1beta/models/gpt-9%3a%73treamGenerateContent", "gpt-9 from path stream" },
		{ "/v1beta/%6dodels/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/MODELS/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/models/gpt-9:generateContent/", "gpt-9 from path" },
		{ "/v1beta/models/models/gpt-9:generateContent", "gpt-9 from path" },
		{ "/v1beta/TunedModels/mine:generateContent", "tunedModels/mine from path" },
		{ "/deployments/x/y", "x from path" },
		{ "/azure/deployments/gpt-9/chat/completions", "gpt-9 from path" },
		{ "/azure/deployments/gpt-9/chat/completions/", "gpt-9 from path" },
		{ "/v1/engines/gpt-9/chat/completions", "gpt-9 from path" },
		{ "/v1/Engines/gpt-9/embeddings", "gpt-9 from path" },
		{ "/MODEL/gpt-9/Invoke", "gpt-9 from path" },
		{ "/model/gpt-9/conver%73e", "gpt-9 from path" },
		{ "/model/gpt-9/converse-stream/", "gpt-9 from path stream" },
		{ "/model/arn:aws:bedrock:us-east-1:1:inference-profile/us.claude/converse",
		  "arn:aws:bedrock:us-east-1:1:inference-profile/us.claude from path" },
		{ "/model/arn:aws:bedrock:us-east-1:1:inference-profile%2Fus.claude/converse-stream/",
		  "arn:aws:bedrock:us-east-1:1:inference-profile/us.claude from path stream" },
		{ "/v1/models/:generateContent", "invalid" },
		{ "/v1/models/a%zz:generateContent", "invalid" },
		{ "/v1/models/a%2Fb:generateContent", "invalid" },
		{ "/v1/models/a%0a:generateContent", "invalid" },
		{ "/v1/models/%20a:generateContent", "invalid" },
		{ "/v1/models/a%E2%80%8B:generateContent", "invalid" },
		{ "/v1/models/%2e%2e:generateContent", "invalid" },
		{ "/openai/deployments/a%2fb/chat", "invalid" },
		/* Paths of which servers may read another model. */
		{ "/v1/models/gpt-9/chat/completions", "ambiguous" },
		{ "/v1/models/gpt-9/predict", "ambiguous" },
		{ "/v1/models/gpt-9:generateContent/x", "ambiguous" },
		{ "/v1/models/a:b:generateContent", "ambiguous" },
		{ "/v1/models/llama3:8b", "ambiguous" },
		{ "/v1/models/x:", "ambiguous" },
		{ "/v1/models/gpt-9:generate%20", "ambiguous" },
		{ "/openai/deployments/org/gpt-9/chat/completions", "ambiguous" },
		{ "/v1/engines/org/gpt-9/completions", "ambiguous" },
		{ "/model/org/gpt-9/converse", "ambiguous" },
		{ "/model/org%2Fgpt-9/converse", "invalid" },
		{ "/openai/deployments/../chat/completions", "ambiguous" },
		{ "/openai//deployments/x/chat", "ambiguous" },
		{ "/x/../openai/deployments/x/chat", "ambiguous" },
		{ "/v1/./models/x:generateContent", "ambiguous" },
		{ "/v1/%2e/models/x:generateContent", "ambiguous" },
		{ "/v1%2fmodels/x:generateContent", "ambiguous" },
		{ "/v1/models%2fx:generateContent", "ambiguous" },
		{ "/v1/engines%2fx/completions", "ambiguous" },
		{ "/model/x//invoke", "ambiguous" },
		{ "/v1/models;v=1/x:generateContent", "ambiguous" },
		{ "/v1/models%20/x:generateContent", "ambiguous" },
		{ "/v1/%256dodels/x:generateContent", "ambiguous" },
		{ "/v1/models/gpt-9%253AgenerateContent", "ambiguous" },
		{ "/openai/deployments/gpt-9;x/chat/completions", "ambiguous" },
		{ "/openai/deployments/a/models/b:generateContent", "ambiguous" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t len = strlen(rows[i].path);
		model_sample s = { .path = slice_of(unit_guarded(rows[i].path, len), len) };
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s: %s, not %s\n", rows[i].path, said, rows[i].says), 0));
	}
}

/* The quick check of a path looks at eight bytes at a time: it must find a word at every offset, with any number of
 * bytes behind it. */
static void paths_at_every_offset(void)
{
	static const struct {
		const char *names, *says;
	} ends[] = {
		{ "/models/a:generateContent", "a from path" },
		{ "/%6Dodels/a:generateContent", "a from path" },
		{ "/tunedModels/a:predict", "tunedModels/a from path" },
		{ "/model/a/invoke", "a from path" },
		{ "/openai/Deployments/a/c", "a from path" },
		{ "/Engines/a/c", "a from path" },
		{ "x%2fmodels/a:predict", "ambiguous" },
		{ "/m", "none" },
		{ "/chat/completions", "none" },
		{ "x%2fmodel", "ambiguous" },
	};
	char path[200];

	for (int before = 1; before <= 24; before++) {
		for (int behind = 0; behind <= 24; behind++) {
			for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
				/* More text behind a method or an operation makes another method or operation of it. */
				int more = i < 4 || i == 6 || i == 9 ? 0 : behind;
				int len = snprintf(path, sizeof path, "/%.*s%s%.*s", before, "xxxxxxxxxxxxxxxxxxxxxxxx",
						   ends[i].names, more, "yyyyyyyyyyyyyyyyyyyyyyyy");
				model_sample s = { .path = slice_of(unit_guarded(path, (size_t)len), (size_t)len) };
				const char *said = say(&s);
				CHECK(strcmp(said, ends[i].says) == 0 ||
				      (printf("  %s: %s, not %s\n", path, said, ends[i].says), 0));
			}
		}
	}
}

/* What a path says with one method, it may not say with another one. */
static void methods(void)
{
	static const struct {
		const char *method, *path, *says;
	} rows[] = {
		{ "GET", "/v1/models/gpt-4o", "gpt-4o from path" },
		{ "GET", "/v1/models/gpt-4o/", "gpt-4o from path" },
		{ "GET", "/v1/models/llama3:latest", "llama3:latest from path" },
		{ "GET", "/v1/models/models/a", "a from path" },
		{ "GET", "/v1/models/a%2Fb", "none" },
		{ "GET", "/v1/models/a/b", "none" },
		{ "GET", "/v1/models", "none" },
		{ "GET", "/v1/models/", "none" },
		{ "GET", "/v1/models/%20a", "invalid" },
		{ "GET", "/v1beta/tunedModels/a", "none" },
		{ "HEAD", "/v1/models/gpt-4o", "none" },
		{ "DELETE", "/v1/models/ft:gpt-4o:acme::x", "none" },
		{ "OPTIONS", "/v1/models/a/chat/completions", "none" },
		{ "POST", "/v1/models/gpt-4o", "none" },
		{ "POST", "/v1/models/a/chat/completions", "ambiguous" },
		{ "get", "/v1/models/a/chat/completions", "ambiguous" },
		{ "GET", "/openai/deployments/a/chat/completions", "a from path" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = { .path = slice_cstr(rows[i].path), .method = slice_cstr(rows[i].method) };
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 ||
		      (printf("  %s %s: %s, not %s\n", rows[i].method, rows[i].path, said, rows[i].says), 0));
	}
	model_sample s = { .path = SLICE("/v1/models/a:bidi"), .method = SLICE("GET"), .upgrade = true };
	SAYS(&s, "a from path");
}

/* Each request names models in several places. */
static void places_have_to_agree(void)
{
	static const struct {
		const char *path, *model, *deployment, *body, *says;
	} rows[] = {
		{ "/openai/deployments/a/chat/completions", "", "", "{\"model\":\"a\",\"stream\":true}",
		  "a from path stream" },
		{ "/openai/deployments/a/chat/completions", "", "", "{\"model\":null,\"stream\":true}",
		  "a from path stream" },
		{ "/openai/deployments/a/chat/completions", "", "", "{\"model\":\"b\"}", "ambiguous" },
		{ "/openai/deployments/a/chat/completions", "", "", "{\"model\":5}", "invalid" },
		{ "/openai/deployments/a/chat/completions", "", "", "{\"model\":\"b\",}", "malformed" },
		{ "/openai/deployments/a/chat/completions", "", "", "{\"Model\":\"a\"}", "invalid" },
		{ "/openai/deployments/a/chat/completions", "a", "a", "{}", "a from path" },
		{ "/openai/deployments/a/chat/completions", "b", "", "{}", "ambiguous" },
		{ "/openai/deployments/a/chat/completions", "", "b", "{}", "ambiguous" },
		{ "/v1beta/models/a:embedContent", "", "", "{\"model\":\"models/a\"}", "a from path" },
		{ "/v1beta/models/a:streamGenerateContent", "", "", "{\"stream\":false}", "a from path stream" },
		{ "/v1beta/models/a:generateContent", "", "", "{\"model\":\"b\"}", "ambiguous" },
		{ "/v1beta/models/gpt-9%3AgenerateContent", "", "", "{\"model\":\"glm-1\"}", "ambiguous" },
		{ "/v1/engines/gpt-9/completions", "", "", "{\"model\":\"glm-1\"}", "ambiguous" },
		{ "/model/a/invoke", "", "", "{\"model\":\"b\"}", "ambiguous" },
		{ "/v1/publishers/anthropic/models/count-tokens:rawPredict", "", "", "{\"model\":\"c\"}",
		  "c from body" },
		{ "/v1/chat/completions", "q", "", "{\"model\":\"b\"}", "ambiguous" },
		{ "/v1/chat/completions", "%62", "", "{\"model\":\"b\",\"stream\":true}", "b from body stream" },
		{ "/v1/chat/completions", "models/b", "", "{\"model\":\"b\"}", "b from body" },
		{ "/v1/chat/completions", "b%", "", "{\"model\":\"b\"}", "invalid" },
		{ "/v1/chat/completions", "b+", "", "{\"model\":\"b\"}", "invalid" },
		{ "/v1/chat/completions", "%20b", "", "{\"model\":\"b\"}", "invalid" },
		{ "/v1/chat/completions", "q", "", "{}", "q from query" },
		{ "/v1/chat/completions", "q", "", "{\"model\":null}", "q from query" },
		{ "/v1/chat/completions", "q", "", "{\"stream\":true,\"stream\":false}", "ambiguous" },
		{ "/v1/chat/completions", "", "q", "{}", "q from query" },
		{ "/v1/chat/completions", "q", "r", "{}", "ambiguous" },
		{ "/v1/chat/completions", "q", "q", "{}", "q from query" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		model_sample s = whole("application/json", rows[i].body, strlen(rows[i].body));
		s.path = slice_cstr(rows[i].path);
		s.model_param = slice_cstr(rows[i].model);
		s.deployment_param = slice_cstr(rows[i].deployment);
		const char *said = say(&s);
		CHECK(strcmp(said, rows[i].says) == 0 || (printf("  %s ?%s %s: %s, not %s\n", rows[i].path,
								 rows[i].model, rows[i].body, said, rows[i].says),
							  0));
	}

	model_sample s = whole("application/json", "{}", 2);
	s.model_param = SLICE("q");
	s.query_unclear = true;
	SAYS(&s, "ambiguous");
	s.model_param.len = 0;
	SAYS(&s, "ambiguous");
	s.query_unclear = false;
	s.headers_unclear = true;
	SAYS(&s, "ambiguous");
	s = (model_sample){ .path = SLICE("/v1/models"),
			    .headers_unclear = true }; /* without a body they mean nothing */
	SAYS(&s, "none");

	/* A body that is not seen whole: the query's model could be contradicted, the path's is obeyed by the upstream.
	 */
	s = whole("application/json", "{", 1);
	s.length = 3;
	s.model_param = SLICE("q");
	SAYS(&s, "unknown");
	s.path = SLICE("/v1beta/models/q:generateContent");
	SAYS(&s, "q from path");
	s.path = SLICE("/v1beta/models/a:generateContent");
	SAYS(&s, "ambiguous");
	s = whole("application/json", "{\"model\":\"b\",\"x", 14);
	s.length = 100;
	s.path = SLICE("/v1beta/models/a:generateContent");
	SAYS(&s, "ambiguous");
	s = whole("application/json", "xyz", 3);
	s.cenc = SLICE("lzma");
	s.path = SLICE("/v1beta/models/a:generateContent");
	SAYS(&s, "a from path");
}

static void handshakes(void)
{
	model_sample s = { .model_param = SLICE("q"), .path = SLICE("/v1/realtime") };

	SAYS(&s, "q from query");
	s.model_hint = SLICE("{\"model\":\"h\"}"); /* only for a handshake */
	s.model_param.len = 0;
	SAYS(&s, "none");
	s.upgrade = true;
	SAYS(&s, "h from header");
	s.model_param = SLICE("h");
	SAYS(&s, "h from query");
	s.model_param = SLICE("q");
	SAYS(&s, "ambiguous");
	s.path = SLICE("/openai/deployments/h/realtime");
	s.model_param.len = 0;
	SAYS(&s, "h from path");
	s.deployment_param = SLICE("q");
	SAYS(&s, "ambiguous");
	s = (model_sample){ .deployment_param = SLICE("q"), .path = SLICE("/openai/realtime"), .upgrade = true };
	SAYS(&s, "q from query");
	s.deployment_param.len = 0;
	s.model_hint = SLICE("{\"x\":{\"model\":\"h\"}}");
	SAYS(&s, "none");
	s.model_hint = SLICE("{\"model\":\"h\"");
	SAYS(&s, "none");
	s.model_hint = SLICE("{\"model\":\"h\",\"model\":\"i\"}");
	SAYS(&s, "ambiguous");
}

int main(void)
{
	RUN(bodies);
	RUN(names_have_no_unseen_ends);
	RUN(names_have_a_longest_length);
	RUN(cut_bodies);
	RUN(forms);
	RUN(cut_forms);
	RUN(paths);
	RUN(paths_at_every_offset);
	RUN(methods);
	RUN(places_have_to_agree);
	RUN(handshakes);
	return unit_end();
}
