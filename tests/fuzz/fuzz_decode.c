/* SPDX-License-Identifier: MIT
 *
 * Content codings. The first byte chooses one, the second where to cut; the rest is the body. Checked: no more than the
 * limit is decoded; a cut body decodes to a beginning of what the whole one decodes to, and never gives another model.
 */
#include "fuzz.h"

#include "sample/decode.h"
#include "sample/model.h"

#define MAX ((size_t)64 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "gzip", "deflate", "br", "zstd" };
	char *whole = NULL, *part = NULL;
	size_t whole_len = 0, part_len = 0;

	if (size < 2)
		return 0;
	unsigned coding = data[0] % 4;
	slice in = slice_of(data + 2, size - 2), cut = slice_first(in, in.len * data[1] / 255);
	decode_status status = decode_body((decode_coding)(DECODE_GZIP + coding), in, MAX, &whole, &whole_len);
	decode_status cut_status = decode_body((decode_coding)(DECODE_GZIP + coding), cut, MAX, &part, &part_len);

	HOLDS(whole_len <= MAX && part_len <= MAX);
	HOLDS(status != DECODE_FULL || whole_len == MAX);
	if (status == DECODE_COMPLETE) {
		HOLDS(cut.len == in.len || cut_status == DECODE_CUT || cut_status == DECODE_FULL);
		HOLDS(slice_starts(slice_of(whole, whole_len), slice_of(part, part_len)));
	}
	free(whole);
	free(part);

	model_result r, all = { .status = MODEL_NONE };
	model_sample s = {
		.cenc = slice_cstr(names[coding]), .body = in, .buffered = in.len, .length = in.len, .sized = true
	};
	model_find(&s, &all);
	s.body = cut;
	s.buffered = cut.len;
	model_find(&s, &r);
	if (r.status == MODEL_FOUND && all.status == MODEL_FOUND)
		HOLDS(slice_eq(slice_of(r.name, r.len), slice_of(all.name, all.len)));
	return 0;
}
