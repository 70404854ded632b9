/* SPDX-License-Identifier: MIT
 *
 * Reads the budgets' memory of a running agent, for tests/rig/budgetstorm.py.
 *
 *     budget_driver /proc/PID/fd/N < names
 *
 * A line of the standard input is "client NAME" or "project NAME"; for each the program writes a line with what the
 * account has spent, what it was charged and what is reserved, in nano-dollars. The program takes no lock of the
 * memory, because a worker that starts would then not recount what is reserved. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "budget/budget_impl.h"

int main(int argc, char **argv)
{
	char line[256];
	struct stat st;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size != (off_t)sizeof(region)) {
		fprintf(stderr, "%s is not the memory of budgets\n", argc == 2 ? argv[1] : "the argument");
		return 1;
	}
	budget b = { .r = mmap(NULL, sizeof(region), PROT_READ, MAP_SHARED, fd, 0) };
	if (b.r == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		char *name = strchr(line, ' ');
		if (!name)
			return 2;
		*name++ = '\0';
		account_kind kind = strcmp(line, "client") == 0 ? ACCOUNT_CLIENT : ACCOUNT_PROJECT;
		account_view v = budget_account_view(&b, budget_account_find(&b, kind, slice_cstr(name)),
						     clock_wall_ms());
		printf("%lld %lld %lld\n", (long long)v.spent, (long long)v.charged, (long long)v.reserved);
	}
	return 0;
}
