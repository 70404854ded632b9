/* SPDX-License-Identifier: MIT
 *
 * Makes text from outside safe to show on a terminal, and writes it as JSON for programs. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/slice.h"

/* Reads the next UTF-8 character and moves `*at` behind it. A byte that is not UTF-8 reads as U+FFFD. `*at` must not be
 * at the end of the text. */
uint32_t utf8_next(const char **at);
/* True for characters that a terminal acts on instead of showing: control characters, and those that join, hide or
 * reorder text. */
bool text_is_control(uint32_t c);
/* True if `text`, in valid UTF-8 and not empty, begins or ends with a character that nobody sees there and that servers
 * may trim: a blank, a filler, a variation selector, a code that is no character, or one that joins, hides or reorders
 * text. */
bool text_has_unseen_end(slice text);
/* Returns the length of the first character of `text` if nobody sees that character; 0 if it is another one, a NUL, or
 * not UTF-8. */
size_t text_unseen_start(slice text);
/* Copies `text` to `out` as one line that does nothing to a terminal: with a blank for each control character, and "?"
 * for each byte that is not UTF-8. What does not fit is cut between two characters. */
void text_plain(char *out, size_t room, const char *text);
/* Writes `text` as a JSON string with its quotes. Control characters, and those that a terminal would act on, are
 * escaped; bytes that are not UTF-8 become U+FFFD. */
void json_write_text(FILE *f, const char *text);

#endif
