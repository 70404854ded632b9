/* SPDX-License-Identifier: MIT
 *
 * What reading the usage of a stream costs: nanoseconds an event, of the median of several rounds, each event a piece
 * of its own, or 16 KB at a time. */
#include "tap/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct {
	const char *name, *type, *event;
} shapes[] = {
	{ "OpenAI chat", "text/event-stream",
	  "data: {\"id\":\"chatcmpl-DL2G9KdEY06xq8M0PqZ5rs5Jv13ok\",\"object\":\"chat.completion.chunk\",\"created\":1773905945,"
	  "\"model\":\"gpt-4o-2024-08-06\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_f986a632b0\",\"choices\":[{\"index\":0,"
	  "\"delta\":{\"content\":\" word\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"fjE24R0ZOJr\"}\n\n" },
	{ "compatible chat", "text/event-stream",
	  "data: {\"id\":\"chatcmpl-371\",\"object\":\"chat.completion.chunk\",\"created\":1773905945,\"model\":\"glm-4.6\",\"choices\":"
	  "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n" },
	{ "responses", "text/event-stream",
	  "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":600,"
	  "\"item_id\":\"msg_0e7bcfab8fc907240069152d1173f48192a1f37340a24e4fba\",\"output_index\":1,\"content_index\":0,"
	  "\"delta\":\" word\",\"logprobs\":[],\"obfuscation\":\"UYDTgfVef9F\"}\n\n" },
	{ "Anthropic", "text/event-stream",
	  "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\","
	  "\"text\":\" a few words of text\"}       }\n\n" },
	{ "Gemini", "text/event-stream",
	  "data: {\"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Some words, about twenty of them, as Gemini sends "
	  "them in one event, which is more than others do.\"}],\"role\": \"model\"},\"index\": 0}],\"usageMetadata\": "
	  "{\"promptTokenCount\": 34,\"candidatesTokenCount\": 240,\"totalTokenCount\": 1033,\"promptTokensDetails\": [{\"modality\": "
	  "\"TEXT\",\"tokenCount\": 34}],\"thoughtsTokenCount\": 759},\"modelVersion\": \"gemini-2.5-pro\",\"responseId\": "
	  "\"2zR8aYTnEvahz7IPmq6EoQ0\"}\r\n\r\n" },
	{ "Ollama", "application/x-ndjson",
	  "{\"model\":\"qwen3\",\"created_at\":\"2026-01-01T10:00:00.123456789Z\",\"message\":{\"role\":\"assistant\",\"content\":\" word\"},"
	  "\"done\":false}\n" },
};

enum { EVENTS = 20000, ROUNDS = 9, READ = 16384 };

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Returns the nanoseconds an event of a stream that is read in pieces of `step` bytes. */
static double measure(const char *type, slice body, size_t step, uint64_t *sum)
{
	double ns[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		tap_usage u;
		tap_usage_told told;
		double begin = now_ns();
		tap_usage_begin(&u, slice_cstr(type), slice_cstr(""));
		for (size_t at = 0; at < body.len; at += step)
			tap_usage_feed(&u, slice_first(slice_from(body, at), step));
		tap_usage_end(&u, true, &told);
		ns[i] = (now_ns() - begin) / EVENTS;
		*sum += told.content;
		tap_usage_free(&u);
	}
	qsort(ns, ROUNDS, sizeof ns[0], by_size);
	return ns[ROUNDS / 2];
}

int main(void)
{
	uint64_t sum = 0;

	printf("%-16s %6s %12s %12s\n", "", "bytes", "one by one", "16 KB");
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		slice event = slice_cstr(shapes[i].event);
		char *body = malloc(event.len * EVENTS);
		if (!body)
			return 1;
		for (size_t k = 0; k < EVENTS; k++)
			memcpy(body + k * event.len, event.ptr, event.len);
		slice all = slice_of(body, event.len * EVENTS);
		printf("%-16s %6zu %9.0f ns %9.0f ns\n", shapes[i].name, event.len,
		       measure(shapes[i].type, all, event.len, &sum), measure(shapes[i].type, all, READ, &sum));
		free(body);
	}
	return sum != (uint64_t)2 * ROUNDS * EVENTS * (sizeof shapes / sizeof shapes[0]);
}
