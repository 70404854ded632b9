/* SPDX-License-Identifier: MIT
 *
 * Text from outside, shown to people and written for programs. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* The next character of UTF-8, or one byte that is none as U+FFFD. `*at` is not at the text's end. */
uint32_t utf8_next(const char **at);
/* What a terminal obeys instead of showing it: control characters, and those that join, hide or turn the text. */
bool text_is_control(uint32_t c);
/* A JSON string with its quotes. Control characters, and those that a terminal would obey, are escaped; bytes that are
 * no UTF-8 are U+FFFD. */
void json_write_text(FILE *f, const char *text);

#endif
