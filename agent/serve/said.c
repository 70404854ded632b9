/* SPDX-License-Identifier: MIT */
#include "serve/said.h"

void said_copy(char *out, size_t room, const json_member *m)
{
	size_t len = m->type == JSON_STRING ? m->value.len - 2 : 0;

	if (len >= room)
		len = room - 1;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)(m->value.ptr[i + 1] >= ' ' && m->value.ptr[i + 1] <= '~' ? m->value.ptr[i + 1] : '?');
	out[len] = '\0';
}

bool said_read(slice datagram, const said_number *numbers, size_t numbers_count, const said_text *texts,
	       size_t texts_count)
{
	json_iter it;
	json_member m;
	json_step step;

	json_iter_init(&it, datagram);
	while ((step = json_next(&it, &m)) == JSON_MEMBER) {
		for (size_t i = 0; i < numbers_count; i++)
			if (json_key_is(m.key, numbers[i].name) &&
			    (!json_int64(m.value, numbers[i].to) || *numbers[i].to < 0))
				return false;
		for (size_t i = 0; i < texts_count; i++)
			if (json_key_is(m.key, texts[i].name))
				said_copy(texts[i].to, texts[i].room, &m);
	}
	return step == JSON_DONE;
}
