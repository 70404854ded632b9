/* SPDX-License-Identifier: MIT
 *
 * The origins of web pages in LLM_CORS_ORIGINS. HAProxy compares them with what a browser sends, byte by byte, so that
 * what is written in another way lets nobody in. */
#include "report/haproxy_settings.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ORIGIN_MAX = 300 }; /* bytes of an origin that are looked at: a scheme, a host and a port */

/* Returns the length of the scheme at the beginning of `s`, in front of "://"; 0: there is none. */
static size_t scheme_of(const char *s)
{
	size_t len = 0;

	while (ascii_is_alnum(s[len]) || (len && s[len] && strchr("+-.", s[len])))
		len++;
	return len && !ascii_is_digit(*s) && strncmp(s + len, "://", 3) == 0 ? len : 0;
}

/* Takes off a port that a browser leaves away, because it is the usual one. */
static bool take_usual_port(char *origin)
{
	char *colon = strrchr(origin, ':');

	if ((strncmp(origin, "https://", 8) == 0 && strcmp(colon, ":443") == 0) ||
	    (strncmp(origin, "http://", 7) == 0 && strcmp(colon, ":80") == 0)) {
		*colon = '\0';
		return true;
	}
	return false;
}

/* Says what is wrong with the item `s`, and writes what to put in its place into `right`, "" if that is unknown. NULL:
 * nothing is wrong. */
static const char *wrong_with(const char *s, bool alone, char right[ORIGIN_MAX + 16])
{
	const char *why = NULL;
	size_t scheme = scheme_of(s);

	*right = '\0';
	if (strcasecmp(s, "none") == 0 || strcmp(s, "*") == 0)
		return alone ? NULL : "counts only alone, and no page has this origin";
	if (strcmp(s, "null") == 0)
		return "is the origin of every page in a sandboxed frame and of every file, so that each of them is let in";
	if (strchr(s, ',') || strchr(s, ';'))
		return "has a comma or semicolon, where blanks should stand between origins";
	if (strchr(s, '*'))
		return "has a * that stands for nothing, because origins are compared as they are";
	for (const char *c = s; *c; c++)
		if (*c <= ' ' || *c > '~' || strchr("\"'`<>\\^{|}", *c))
			return "has a character that no browser sends in an origin (a name with other letters is sent as xn--...)";
	if (!scheme)
		why = "has no scheme";
	snprintf(right, ORIGIN_MAX + 16, "%s%s", scheme ? "" : "https://", s);
	char *host = strstr(right, "://") + 3, *end = host + strcspn(host, "/?#"),
	     *at = memchr(host, '@', (size_t)(end - host));
	if (*end)
		why = why ? why : end[1] ? "has a path" : "ends in a slash";
	*end = '\0';
	if (at) {
		why = why ? why : "has a user in front of its host";
		memmove(host, at + 1, strlen(at));
	}
	for (char *c = right; *c; c++)
		if (*c != ascii_lower(*c)) {
			why = why ? why : "has capital letters";
			*c = ascii_lower(*c);
		}
	if (take_usual_port(right) && !why)
		why = "has the port that a browser leaves away";
	const char *port = strchr(host, ']') ? strchr(host, ']') + 1 : strchr(host, ':');
	bool bad = !*host ||
		   (port && *port && (*port != ':' || !port[1] || port[1 + strspn(port + 1, "0123456789")] != '\0')) ||
		   port == host;
	if (bad) {
		*right = '\0';
		why = "has no host, or no number as its port";
	}
	return why;
}

void haproxy_origins_write(findings *to, known_setting list)
{
	static const char name[] = "LLM_CORS_ORIGINS";
	static const char blanks[] = " \t\r\n";
	size_t before = to->warnings + to->problems, count = 0;

	if (!list.value || !*list.value || strcmp(list.value, "none") == 0)
		return;
	if (strchr(blanks, *list.value) || strchr(blanks, list.value[strlen(list.value) - 1]))
		finding(to, FOUND_PROBLEM, "haproxy", name,
			"in %s, begins or ends with a blank: HAProxy before 3.4 does not start with it (\"missing closing '}' in condition\"), "
			"and later ones do not know \"*\" and \"none\" beside a blank. Take the blank away, and restart HAProxy",
			list.where);
	for (const char *s = list.value; *s; s += strcspn(s, blanks)) {
		char item[ORIGIN_MAX], right[ORIGIN_MAX + 16];
		s += strspn(s, blanks);
		size_t len = strcspn(s, blanks);
		bool alone = !count++ && !s[len + strspn(s + len, blanks)];
		if (!len || len >= sizeof item || strcmp(list.value, "*") == 0)
			continue;
		snprintf(item, sizeof item, "%.*s", (int)len, s);
		const char *why = wrong_with(item, alone, right);
		if (why)
			finding(to, FOUND_WARNING, "haproxy", name,
				"in %s, has \"%s\", which %s%s%s%s, and restart HAProxy", list.where, item, why,
				*right ?
					", so it lets no page in: write \"" :
					": write origins as in \"https://chat.example.com http://localhost:3000\", or \"*\" or \"none\" alone",
				right, *right ? "\" instead" : "");
	}
	if (to->warnings + to->problems == before)
		finding(to, FOUND_OK, "haproxy", name, "is %s", list.value);
}
