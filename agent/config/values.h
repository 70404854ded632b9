/* SPDX-License-Identifier: MIT
 *
 * The values of options, as members of a config. None of these functions takes the option of type OPTION_ROUTES. */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include "base/slice.h"
#include "config/config.h"

/* Sets the option from the text of a flag, a variable, a default, or a string in the file. Adds the addresses between
 * the commas of `text` to a list. False: `e` says what is expected. */
bool value_set(config *c, const option_info *o, const char *text, err *e);
/* Adds one address to a list. */
bool value_add(config *c, const option_info *o, slice address, err *e);
/* Tells whether a list to which `given` addresses were added has them all, or has no address because "none" was given
 * alone. False: `e` says that "none" stands beside addresses. */
bool value_none_alone(config *c, const option_info *o, size_t given, err *e);
/* Frees a text, and empties a list. */
void value_clear(config *c, const option_info *o);

bool value_same(config *a, config *b, const option_info *o);
void value_swap(config *a, config *b, const option_info *o);

#endif
