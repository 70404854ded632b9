/* SPDX-License-Identifier: MIT */
#include "commands/ask.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

bool ask_possible(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool ask_yes(const char *question)
{
	char answer[8];

	fprintf(stderr, "%s Write yes: ", question);
	return fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0;
}

static struct termios shown;
static volatile sig_atomic_t hidden;

/* Shows again what is typed, before the signal ends the process. */
static void show_again(int number)
{
	if (hidden)
		tcsetattr(STDIN_FILENO, TCSANOW, &shown);
	raise(number);
}

ssize_t ask_hidden(const char *prompt, char *out, size_t cap)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction action = { .sa_handler = show_again, .sa_flags = (int)SA_RESETHAND };
	struct termios quiet;
	size_t len = 0;
	ssize_t got = 0;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return -1;
	quiet = shown;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= (tcflag_t)ECHONL;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		sigaction(ends[i], &action, NULL);
	hidden = 1;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
	fputs(prompt, stderr);
	fflush(stderr);
	/* Not by stdio, whose buffer would keep the line. */
	while (len < cap && (got = read(STDIN_FILENO, out + len, cap - len)) > 0 &&
	       !memchr(out + len, '\n', (size_t)got))
		len += (size_t)got;
	len += len < cap && got > 0 ? (size_t)got : 0;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	hidden = 0;
	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		signal(ends[i], SIG_DFL);
	const char *end = len ? memchr(out, '\n', len) : NULL;
	return end ? end - out : -1;
}
