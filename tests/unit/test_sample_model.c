/* SPDX-License-Identifier: MIT
 *
 * Models in JSON bodies, and agreement of body, path, query and header. */
#include "sample_rig.h"

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
		{ "application/x-www-form-urlencoded", "_charset_=utf-16&model=a", "bad form" },
		{ "application/x-www-form-urlencoded", "?model=a", "invalid" }, /* Node takes the question mark off */
		{ "application/x-www-form-urlencoded", "model=a&model[]=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "[model]=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "%5bmodel%5d=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "\xef\xbb\xbfmodel=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model]=b&model=a", "ambiguous" },
		{ "application/x-www-form-urlencoded", "model;&model=a", "bad form" },
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
		/* An object behind what is no white space of JSON: some servers trim it. */
		{ "text/plain", "\f{\"model\":\"a\"}", "malformed" },
		{ "", "\v \n{\"model\":\"a\"}", "malformed" },
		{ "text/plain", "\x1e{\"model\":\"a\"}\n", "malformed" },
		{ "text/plain", "\x01{\"model\":\"a\"}", "malformed" },
		{ "text/plain", "\xc2\xa0{\"model\":\"a\"}", "malformed" },
		{ "text/plain", "\xe2\x80\xa8{\"model\":\"a\"}", "malformed" },
		{ "text/plain", "\xef\xbb\xbf\xef\xbb\xbf{\"model\":\"a\"}", "malformed" },
		{ "application/x-www-form-urlencoded", "\f{\"model\":\"a\"}", "bad form" },
		{ "text/plain", " \f\f ", "malformed" }, /* the object may stand behind the sample */
		{ "text/plain", "\x01\x02\xff\x01", "none" },
		{ "text/plain", "\xc2", "none" },
		{ "text/plain", "\f[1]", "none" },
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
		{ "application/x-www-form-urlencoded", "x=1;model=a", "bad form" },
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
		" ",       "\\t",     "\\n",      "\\u00a0",        "\\u00ad",        "\\u034f",
		"\\u1680", "\\u180e", "\\u2003",  "\\u200b",        "\\u200e",        "\\u200f",
		"\\u2028", "\\u202f", "\\u2060",  "\\u2800",        "\\u3000",        "\\u3164",
		"\\ufe0f", "\\ufeff", "\xc2\xa0", "\xe2\x80\x8b",   "\xef\xbb\xbf",   "\xf3\xa0\x80\xa0",
		"\\ufff1", "\\ufdd0", "\\uffff",  "\\ud834\\udd73", "\\ud82f\\udca0", "\xf3\xa0\x80\xa1",
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

static void what_stands_between_counts(void)
{
	static const char text[] = "{\"model\":\"a\",\"x\":\"----------\",\"y\":1}";
	model_sample s = whole("application/json", text, 20);

	s.tail = slice_cstr(text + sizeof text - 1 - 6);
	s.buffered = s.length = sizeof text - 1;
	SAYS(&s, "a from body");
	s.between = BETWEEN_CLEAR;
	SAYS(&s, "a from body");
	s.between = BETWEEN_UNCLEAR;
	SAYS(&s, "unknown");
	s.between = 99;
	SAYS(&s, "unknown");
	s.path = SLICE("/v1beta/models/a:generateContent");
	SAYS(&s, "a from path");
	/* What is no object names no model, whatever is in it. */
	s = whole("audio/wav", "RIFF \"model\":\"b\"", 10);
	s.length = s.buffered = 17;
	s.between = BETWEEN_UNCLEAR;
	SAYS(&s, "none");
	/* An object may begin behind white space that fills the head. */
	static const char *const blanks[] = { "    ", "\xef\xbb\xbf " };
	for (int i = 0; i < 2; i++) {
		s = whole("application/json", blanks[i], 4);
		s.tail = SLICE("1,\"model\":\"a\"}");
		s.length = s.buffered = 100;
		s.between = BETWEEN_CLEAR;
		SAYS(&s, "a from body");
		s.between = BETWEEN_UNCLEAR;
		SAYS(&s, "unknown");
	}
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
	s.query_decides = true; /* but at an endpoint whose upstream obeys the query */
	SAYS(&s, "q from query");
	s.query_decides = false;
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

static void streams_ask_for_their_usage(void)
{
	static const struct {
		const char *body;
		stream_usage usage;
	} rows[] = {
		{ "{\"stream\":true}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":true}}", STREAM_USAGE_ASKED },
		{ "{\"stream_options\": {\"x\":[{}], \"include_usage\" : true }}", STREAM_USAGE_ASKED },
		{ "{\"stream\\u005foptions\":{\"include\\u005fusage\":true}}", STREAM_USAGE_ASKED },
		{ "{\"stream_options\":{\"include_usage\":false}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":\"true\"}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":1}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":true,\"include_usage\":false}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"x\":{\"include_usage\":true}}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"Include_usage\":true}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":null}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":[\"include_usage\",true]}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":\"{\\\"include_usage\\\":true}\"}", STREAM_USAGE_NOT_ASKED },
		{ "{\"Stream_options\":{\"include_usage\":true}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"messages\":[{\"stream_options\":{\"include_usage\":true}}]}", STREAM_USAGE_NOT_ASKED },
		{ "{\"include_usage\":true}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":null,\"stream_options\":{\"include_usage\":true}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":true},\"stream_options\":{}}", STREAM_USAGE_NOT_ASKED },
		{ "{\"stream_options\":{\"include_usage\":true},\"stream_options\":{\"include_usage\":true}}",
		  STREAM_USAGE_ASKED },
	};
	static const char asks[] = "\"stream_options\":{\"include_usage\":true}";
	model_result r;
	model_sample s;
	char body[200];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		s = whole("application/json", rows[i].body, strlen(rows[i].body));
		model_find(&s, &r);
		CHECK(r.stream_usage == rows[i].usage || (printf("  %s: %d\n", rows[i].body, (int)r.stream_usage), 0));
		s.path = SLICE("/v1/engines/a/completions"); /* where the path names the model */
		model_find(&s, &r);
		CHECK(r.stream_usage == rows[i].usage);
	}
	/* In the head, in the tail, cut by either, between the two. */
	for (size_t before = 0; before < 100; before++) {
		int n = snprintf(body, sizeof body, "{\"model\":\"a\",\"x\":\"%0*d\",%s,\"y\":\"%0*d\",\"z\":1}",
				 (int)before + 1, 7, asks, (int)(100 - before), 7);
		size_t at = (size_t)(strstr(body, asks) - body), end = at + sizeof asks - 1;
		s = ends("application/json", body, 60, 60);
		model_find(&s, &r);
		bool seen = end <= 60 || at > (size_t)n - 60;
		CHECK(r.status == MODEL_FOUND && r.stream_usage == (seen ? STREAM_USAGE_ASKED : STREAM_USAGE_UNSEEN));
		s = ends("application/json", body, (size_t)n / 2, (size_t)n - (size_t)n / 2);
		model_find(&s, &r);
		CHECK(r.stream_usage == STREAM_USAGE_ASKED);
	}
	/* A body without a length that may go on. */
	s = whole("application/json", "{\"model\":\"a\",\"stream\":true", 27);
	s.sized = false;
	s.length = 0;
	model_find(&s, &r);
	CHECK(r.stream_usage == STREAM_USAGE_UNSEEN);
}

int main(void)
{
	RUN(bodies);
	RUN(names_have_no_unseen_ends);
	RUN(names_have_a_longest_length);
	RUN(cut_bodies);
	RUN(what_stands_between_counts);
	RUN(places_have_to_agree);
	RUN(handshakes);
	RUN(streams_ask_for_their_usage);
	return unit_end();
}
