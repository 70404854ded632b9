/* SPDX-License-Identifier: MIT
 *
 * expire FILE: has all reservations of the budgets' memory, which FILE is (/proc/PID/fd/N), expire now instead of hours
 * after their requests. Prints how many. */
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "budget/budget_impl.h"

int main(int argc, char **argv)
{
	bool foreign;
	err e = { 0 };
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	budget *b = fd >= 0 ? budget_map(fd, &foreign, &e) : NULL;
	unsigned expired = 0;

	if (!b) {
		fprintf(stderr, "expire: %s\n", *e.text ? e.text : "no such file");
		return 1;
	}
	for (size_t set = 0; set < SETS; set++) {
		for (size_t way = 0; way < WAYS; way++) {
			slot *s = &b->r->slots[set][way];
			if (atomic_load(&s->state) != SLOT_RESERVED)
				continue;
			atomic_store(&s->expires_s, (uint32_t)(clock_mono_ms() / 1000));
			expired++;
		}
	}
	printf("%u\n", expired);
	budget_unmap(b);
	return 0;
}
