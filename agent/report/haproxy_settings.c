/* SPDX-License-Identifier: MIT */
#include "report/haproxy_settings.h"

#include <string.h>

void haproxy_setting_read(haproxy_setting *s, setting_from from, slice text)
{
	char quote = '\0';
	size_t len = 0, words = 0; /* `words`: the length up to the last character that is no blank */
	bool unknown = false;

	if (from == SET_NOWHERE || from < s->from)
		return;
	text = slice_trim(slice_first(text, slice_find(slice_first(text, slice_find(text, 0, '\n')), 0, '\r')));
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];
		bool escaped = c == '\\' && quote != '\'' && i + 1 < text.len;
		bool blank = !quote && !escaped && slice_has(SLICE(" \t"), c);
		bool comment = !quote && c == '#' && i && slice_has(SLICE(" \t"), text.ptr[i - 1]);
		if (comment || (blank && from != SET_ENVIRONMENT))
			break;
		if (!escaped && (c == quote || (!quote && (c == '"' || c == '\'')))) {
			quote = quote ? '\0' : c;
			words = len;
			continue;
		}
		unknown |= c == '$' && quote != '\'' && from != SET_ENVIRONMENT;
		if (escaped)
			c = text.ptr[++i];
		if (len + 1 == sizeof s->value) {
			const char *cut = memrchr(s->value, ' ', len);
			words = cut ? (size_t)(cut - s->value) : len;
			break;
		}
		s->value[len++] = c;
		words = blank ? words : len;
	}
	s->value[words] = '\0';
	s->unknown = unknown;
	s->from = from;
}
