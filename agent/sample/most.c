/* SPDX-License-Identifier: MIT */
#include "sample/most.h"

#include "base/json.h"

static bool is_one_of(slice key, const slice *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (slice_eq(key, names[i]))
			return true;
	return false;
}

static void larger(const json_member *m, int64_t *most)
{
	int64_t value;

	if (m->type == JSON_NUMBER && json_whole(m->value, &value) && value > *most)
		*most = value;
}

/* Reads the members of an object. `inner`: it is one of those that are looked for. */
static void read_object(slice object, bool inner, answer_most *out)
{
	static const slice outputs[] = { SLICE_INIT("max_tokens"),        SLICE_INIT("max_completion_tokens"),
					 SLICE_INIT("max_output_tokens"), SLICE_INIT("maxOutputTokens"),
					 SLICE_INIT("max_output_tokens"), SLICE_INIT("num_predict") };
	static const slice counts[] = { SLICE_INIT("n"), SLICE_INIT("candidateCount"), SLICE_INIT("candidate_count") };
	static const slice inners[] = { SLICE_INIT("generationConfig"), SLICE_INIT("generation_config"),
					SLICE_INIT("options") };
	json_iter it;
	json_member m;

	json_iter_init(&it, object);
	while (json_next(&it, &m) == JSON_MEMBER) {
		if (is_one_of(m.key, outputs, sizeof outputs / sizeof outputs[0]))
			larger(&m, &out->output);
		else if (is_one_of(m.key, counts, sizeof counts / sizeof counts[0]))
			larger(&m, &out->answers);
		else if (!inner && m.type == JSON_OBJECT && is_one_of(m.key, inners, sizeof inners / sizeof inners[0]))
			read_object(m.value, true, out);
	}
}

answer_most most_find(const model_sample *s)
{
	answer_most out = { -1, 1 };

	if (s->cenc.len == 0 || slice_ieq(s->cenc, SLICE("identity")))
		read_object(slice_trim(s->body), false, &out);
	return out;
}
