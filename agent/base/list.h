/* SPDX-License-Identifier: MIT */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdlib.h>

/* Makes room for one more item of `size` bytes in `items`, which has room for `*room` and holds `count`. Returns the
 * list, which may have moved. NULL: out of memory; `items` and `*room` are as before. */
static inline void *list_grow(void *items, size_t *room, size_t count, size_t size)
{
	if (count < *room)
		return items;
	size_t larger = *room ? *room * 2 : 64;
	items = realloc(items, larger * size);
	if (items)
		*room = larger;
	return items;
}

#endif
