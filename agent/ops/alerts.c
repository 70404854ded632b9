/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ops/alerts_impl.h"

_Static_assert(ALERTS_STEP_MS *(ALERTS_SAMPLES - 1) == 60 * 60000, "the samples are of an hour");
_Static_assert(ALERTS_STEP_MS *(PLACES_SAMPLES - 1) == 5 * 60000, "those of places are of five minutes");
_Static_assert(ALERTS_STEP_MS *REST_STEPS == 10 * 60000 && REST_STEPS < 64, "those of rests are of ten minutes");

alerts *alerts_new(void)
{
	alerts *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	pthread_mutex_init(&a->lock, NULL);
	assert(alert_rules_count <= ALERTS_RULES);
	for (size_t i = 0; i < alert_rules_count; i++) {
		bool found = alerts_text_read(alert_rules[i].name, &a->states[i].text);
		assert(found);
	}
	return a;
}

void alerts_free(alerts *a)
{
	if (!a)
		return;
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* ---- what was before */

static size_t steps_of(int minutes, size_t most)
{
	size_t steps = (size_t)minutes * 60000 / ALERTS_STEP_MS;

	return steps < most ? steps : most - 1;
}

/* Returns by how much a counter grew from `old` to `now`. One that is smaller now began again at 0. */
static uint64_t grown(uint64_t old, uint64_t now)
{
	if (old == COUNTER_UNKNOWN || now == COUNTER_UNKNOWN)
		return 0;
	return now >= old ? now - old : now;
}

/* Each step is added by itself, because a counter of another process may have begun again in between, or may not have
 * been known at first. */
uint64_t alerts_grew(const alerts_look_at *l, alerts_counter c, int minutes)
{
	const alerts *a = l->a;
	uint64_t steps = steps_of(minutes, ALERTS_SAMPLES) + 1, sum = 0, now = l->counters[c];

	if (steps > a->taken)
		steps = a->taken;
	for (uint64_t back = 1; back <= steps; back++) {
		uint64_t old = a->samples[(a->taken - back) % ALERTS_SAMPLES].counters[c];
		sum += grown(old, now);
		now = old;
	}
	return sum;
}

static place_counts counts_of(const end_place *p)
{
	place_counts c = { .errors = p->answers[4], .cut = p->cut, .unanswered = ends_unanswered(p) };

	for (unsigned i = 0; i < ENDS_CLASSES; i++)
		c.answers += p->answers[i];
	return c;
}

place_counts alerts_place_grew(const alerts_look_at *l, size_t place)
{
	const alerts *a = l->a;
	uint64_t back = a->taken < PLACES_SAMPLES ? a->taken : PLACES_SAMPLES;
	/* Before the first sample there is none: no counter of this process was above 0. */
	place_counts old = back ? a->places[(a->taken - back) % PLACES_SAMPLES][place] : (place_counts){ .cut = 0 };
	place_counts now = counts_of(&l->s->ends->places[place]);

	return (place_counts){ grown(old.answers, now.answers), grown(old.errors, now.errors), grown(old.cut, now.cut),
			       grown(old.unanswered, now.unanswered) };
}

/* ---- a look */

static uint64_t refusals_of(const host_snapshot *s, const char *code, end_refusal why)
{
	uint64_t n = s->ends && why < END_REFUSALS ? ends_refused(s->ends, why) : 0;

	for (size_t i = 0; i < s->refusals_count; i++)
		if (strcmp(s->refusals[i].code, code) == 0)
			n += s->refusals[i].count;
	return n;
}

static bool fails(const alerts_moment *now, const char *part)
{
	for (size_t i = 0; i < now->checks_count; i++)
		if (strcmp(now->checks[i].part, part) == 0)
			return !now->checks[i].ok;
	return false;
}

static uint64_t known(bool is, int64_t n)
{
	return is && n >= 0 ? (uint64_t)n : COUNTER_UNKNOWN;
}

static void read_ledger(const host_snapshot *s, uint64_t c[ALERTS_COUNTERS])
{
	const ledger_stats *l = &s->ledger;

	c[AC_LINES_DROPPED] = l->dropped;
	c[AC_LINES_FOREIGN] = l->foreign;
	c[AC_LINES_MALFORMED] = l->malformed;
	c[AC_RECORDS] = l->records;
	c[AC_UNRECORDED] = s->unrecorded;
	c[AC_JOURNAL_DROPPED] = l->journal.dropped;
	c[AC_UNSHIPPED] = l->unshipped;
	for (usage_from u = USAGE_NONE; u <= USAGE_STREAM; u++)
		c[AC_USED] += u == USAGE_NONE ? 0 : l->usage[u];
	c[AC_USED_UNKNOWN] = l->usage[USAGE_UNKNOWN];
	/* These count from the start of other processes, so that they are not known before one was heard. */
	bool tap = s->tap.kept && s->tap.ever;
	c[AC_TAP_FALLBACKS] = l->fallbacks;
	c[AC_TAP_STREAMS] = tap ? s->tap.numbers[TAP_STREAMS_TOTAL] : COUNTER_UNKNOWN;
	c[AC_TAP_FULL] = tap ? s->tap.numbers[TAP_FULL] : COUNTER_UNKNOWN;
	c[AC_TAP_LOST] = tap ? s->tap.numbers[TAP_REPORTS_LOST] : COUNTER_UNKNOWN;
	c[AC_REJECTED] = known(s->fleet.kept && s->fleet.ever, s->fleet.rejected);
	c[AC_SPANS_DROPPED] = known(s->spans.kept && s->spans.ever, s->spans.dropped);
}

static void read_counters(alerts *a, const alerts_moment *now, uint64_t c[ALERTS_COUNTERS])
{
	const host_snapshot *s = now->s;

	memset(c, 0, ALERTS_COUNTERS * sizeof *c);
	c[AC_DECISIONS] = stats_requests(s);
	c[AC_REFUSED] = stats_refused(s);
	c[AC_AUTH_UNAVAILABLE] = refusals_of(s, "upstream_auth_unavailable", END_REFUSALS);
	c[AC_NO_BACKEND] = refusals_of(s, "no_backend", END_NO_BACKEND);
	c[AC_GATEWAY_UNAVAILABLE] = s->ends ? ends_refused(s->ends, END_GATEWAY_UNAVAILABLE) : 0;
	c[AC_CONTRACT_FAILED] = a->contract_failed += fails(now, "contract");
	c[AC_BACKENDS_FAILED] = a->backends_failed += fails(now, "backends");
	c[AC_HELLOS_SHORT] = s->hellos_short;
	c[AC_CONNECTIONS_REFUSED] = s->refused_connections + s->refused_memory;
	c[AC_SPOP_ERRORS] = s->spop_errors;
	c[AC_CHARGED] = s->budgets ? s->budgets->charged_requests : COUNTER_UNKNOWN;
	c[AC_PRICED] = now->sums_known ? now->model_requests : COUNTER_UNKNOWN;
	c[AC_UNPRICED] = now->sums_known ? now->unpriced_requests : COUNTER_UNKNOWN;
	if (s->ledger_kept)
		read_ledger(s, c);
	for (size_t i = 0; i < STATS_BUCKETS && i <= s->latency_count; i++)
		c[AC_LATENCY + i] = s->latency[i];
}

/* Notes which members of pools rest. Those that are there no more are forgotten. */
static void note_rests(alerts *a, const host_snapshot *s)
{
	member_rests *fresh = calloc(ENDS_MEMBERS, sizeof *fresh);
	size_t n = 0;

	if (!fresh)
		return;
	for (size_t i = 0; i < s->members_count && n < ENDS_MEMBERS; i++) {
		const host_member *m = &s->members[i];
		member_rests *to = &fresh[n++];
		snprintf(to->route, sizeof to->route, "%s", m->route);
		snprintf(to->member, sizeof to->member, "%s", m->name);
		for (size_t k = 0; k < a->rests_count; k++)
			if (strcmp(a->rests[k].route, to->route) == 0 && strcmp(a->rests[k].member, to->member) == 0)
				to->steps = a->rests[k].steps;
		to->steps = to->steps << 1 | (m->rest_ms > 0);
	}
	memcpy(a->rests, fresh, sizeof a->rests);
	a->rests_count = n;
	free(fresh);
}

static void take_sample(alerts *a, const alerts_look_at *l)
{
	alerts_sample *to = &a->samples[a->taken % ALERTS_SAMPLES];
	place_counts *places = a->places[a->taken % PLACES_SAMPLES];

	to->mono_ms = l->now->mono_ms;
	memcpy(to->counters, l->counters, sizeof to->counters);
	memset(places, 0, sizeof a->places[0]);
	for (size_t i = 0; l->s->ends && i < l->s->ends->places_count; i++)
		places[i] = counts_of(&l->s->ends->places[i]);
	note_rests(a, l->s);
	a->taken++;
}

void alerts_look(alerts *a, const alerts_moment *now)
{
	alerts_look_at l = { .now = now, .s = now->s, .a = a };

	read_counters(a, now, l.counters);
	if (!a->taken || now->mono_ms - a->samples[(a->taken - 1) % ALERTS_SAMPLES].mono_ms >= ALERTS_STEP_MS)
		take_sample(a, &l);
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < alert_rules_count; i++) {
		alert_state *s = &a->states[i];
		char what[WHAT_MAX] = "";
		bool holds = alert_rules[i].holds(&l, what, sizeof what);
		if (holds && !s->holds) {
			s->held_ms = now->mono_ms;
			s->since_ms = now->wall_ms;
		}
		s->holds = holds;
		s->fires = holds && now->mono_ms - s->held_ms >= s->text.for_ms;
		memcpy(s->what, what, sizeof what);
	}
	pthread_mutex_unlock(&a->lock);
}

/* ---- what it says */

static void write_state(FILE *f, const alert_rule *r, const alert_state *s, bool first)
{
	const char *quote = r->part ? "\"" : "";

	fprintf(f, "%s{\"name\":\"%s\",\"severity\":\"%s\",\"check\":%s%s%s,\"since\":%" PRId64 ",\"what\":",
		first ? "" : ",", r->name, s->text.page ? "page" : "ticket", quote, r->part ? r->part : "null", quote,
		s->since_ms);
	json_write_text(f, s->what);
	fputs(",\"advice\":", f);
	json_write_text(f, s->text.advice);
	fputc('}', f);
}

void alerts_write(FILE *f, alerts *a)
{
	bool first = true;

	fputc('[', f);
	pthread_mutex_lock(&a->lock);
	for (int page = 1; page >= 0; page--) {
		for (size_t i = 0; i < alert_rules_count; i++) {
			if (!a->states[i].fires || a->states[i].text.page != page)
				continue;
			write_state(f, &alert_rules[i], &a->states[i], first);
			first = false;
		}
	}
	pthread_mutex_unlock(&a->lock);
	fputc(']', f);
}

const char *alerts_advice(alerts *a, const char *part)
{
	const char *advice = "";

	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < alert_rules_count; i++) {
		const alert_rule *r = &alert_rules[i];
		if (!r->part || strcmp(r->part, part) != 0)
			continue;
		/* Of several rules for a part, the one whose condition holds. */
		if (!*advice || a->states[i].holds)
			advice = a->states[i].text.advice;
		if (a->states[i].holds)
			break;
	}
	pthread_mutex_unlock(&a->lock);
	return advice;
}
