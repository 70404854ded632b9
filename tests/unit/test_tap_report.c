/* SPDX-License-Identifier: MIT
 *
 * Datagrams of the tap: which are reports, and what is read of them. */
#include "unit.h"

#include "ledger/tap_report.h"

static tap_report got;
static const char *problem;

static bool parse(const char *text)
{
	size_t len = strlen(text);

	return tap_report_parse(slice_of(unit_guarded(text, len), len), 1234, &got, &problem);
}

static void a_report_is_read(void)
{
	CHECK(parse(
		"{\"v\":1,\"kind\":\"stream\",\"id\":\"6741F3A2:1\",\"end\":\"client\",\"status\":200,\"ctype\":\"text/event-stream\","
		"\"coding\":\"\",\"bytes\":1234,\"events\":12,\"content\":34,\"final\":true,\"first\":{\"input_tokens\":5},"
		"\"last\":{\"output_tokens\":{\"x\":[1]}},\"tier\":\"flex\"}"));
	CHECK(strcmp(got.id, "6741F3A2:1") == 0 && got.time_ms == 1234 && got.end == TAP_END_CLIENT);
	CHECK(got.status == 200 && got.final && got.content == 34 && strcmp(got.tier, "flex") == 0);
	CHECK(strcmp(got.first, "{\"input_tokens\":5}") == 0);
	CHECK(strcmp(got.last, "{\"output_tokens\":{\"x\":[1]}}") == 0);
	/* What a newer tap adds is ignored; the order does not matter. */
	CHECK(parse(
		" {\"new\":[1],\"final\":false,\"content\":0,\"status\":0,\"end\":\"lost\",\"id\":\"x\",\"kind\":\"stream\",\"v\":1} "));
	CHECK(got.end == TAP_END_LOST && !got.final && !*got.first && !*got.last && !*got.tier);
}

#define HEAD "{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":1,\"final\":true,"

static void what_is_no_report_is_refused(void)
{
	static const char *const rows[] = {
		"",
		"x",
		"[1]",
		"{}",
		"{\"v\":1}",
		"{\"v\":1,\"kind\":\"tap\",\"pid\":1}",
		HEAD "\"id\":\"x\"",
		HEAD "\"id\":\"x\"}x",
		HEAD "\"id\":\"x\",\"id\":\"x\"}",
		HEAD "\"id\":\"\"}",
		HEAD "\"id\":\"a b\"}",
		HEAD "\"id\":\"a\\u0041\"}",
		HEAD "\"id\":\"\x1b[1m\"}",
		HEAD "\"id\":\"\xc3\xa4\"}",
		HEAD "\"id\":5}",
		HEAD "\"id\":\"12345678901234567890123456789012345678901234567890123456789012345\"}",
		HEAD "\"id\":\"x\",\"v\":1}",
		HEAD "\"id\":\"x\",\"last\":5}",
		HEAD "\"id\":\"x\",\"last\":null}",
		HEAD "\"id\":\"x\",\"last\":{\"a\":\"\n\"}}",
		HEAD "\"id\":\"x\",\"tier\":\"12345678901234567\"}",
		"{\"v\":2,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":1,\"final\":true,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"WHOLE\",\"status\":200,\"content\":1,\"final\":true,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":1000,\"content\":1,\"final\":true,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":-1,\"final\":true,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":1.5,\"final\":true,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":1,\"final\":1,\"id\":\"x\"}",
		"{\"v\":1,\"kind\":\"stream\",\"end\":\"whole\",\"status\":200,\"content\":9999999999999999,\"final\":true,\"id\":\"x\"}",
	};
	static const tap_report none;

	CHECK(parse(HEAD "\"id\":\"x\"}"));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		CHECK(!parse(rows[i]) || (printf("%s\n", rows[i]), false));
		CHECK(*problem && memcmp(&got, &none, sizeof got) == 0);
	}
}

static void sizes_are_bounded(void)
{
	static char text[2 * TAP_REPORT_MAX];
	static const struct {
		int pad;
		bool ok;
	} rows[] = { { TAP_REPORT_OBJECT_MAX - 8, true }, { TAP_REPORT_OBJECT_MAX - 7, false } };

	for (int i = 0; i < 2; i++) {
		/* {"a":""} has 8 bytes */
		snprintf(text, sizeof text, HEAD "\"id\":\"x\",\"first\":{\"a\":\"%0*d\"},\"last\":{\"a\":\"%0*d\"}}",
			 rows[i].pad, 0, rows[i].pad, 0);
		CHECK(parse(text) == rows[i].ok);
	}
	snprintf(text, sizeof text, HEAD "\"id\":\"x\"}%*s", TAP_REPORT_MAX, "");
	CHECK(!parse(text) && strstr(problem, "too long"));
	text[TAP_REPORT_MAX] = '\0';
	CHECK(parse(text));
}

int main(void)
{
	RUN(a_report_is_read);
	RUN(what_is_no_report_is_refused);
	RUN(sizes_are_bounded);
	return unit_end();
}
