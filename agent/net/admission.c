/* SPDX-License-Identifier: MIT */
#include "net/admission.h"

#include "base/clock.h"
#include "budget/budget.h"
#include "decide/pricing.h"
#include "sample/most.h"

enum {
	INPUT_FIXED = 80, /* bytes of a body around its text, and bytes a token, as the ledger estimates (usage.c) */
	INPUT_TOKEN = 3,
	OUTPUT_UNKNOWN = 4096, /* tokens of an answer of a model of which nothing is known */
};

static budget_limit limit_of(const client_limits *l, uint32_t account)
{
	return (budget_limit){ account, (period_kind)l->period, l->budget_nano, l->tokens_per_minute };
}

static const client_project *project_of(const policy *p, const client *c)
{
	return c->project_at == NO_PROJECT ? NULL : &p->clients->projects[c->project_at];
}

static int64_t input_of(const model_sample *s)
{
	uint64_t bytes = s->length > s->buffered ? s->length : s->buffered;

	if (bytes < s->body.len)
		bytes = s->body.len;
	return bytes > INPUT_FIXED ? (int64_t)((bytes - INPUT_FIXED) / INPUT_TOKEN) + 1 : 1;
}

static void refuse(decision *d, const budget_answer *a)
{
	switch (a->result) {
	case BUDGET_ADMITTED:
		return;
	case BUDGET_SPENT:
		decision_refuse(d, REFUSE_QUOTA,
				a->project ? "the project's budget does not suffice" :
					     "the client's budget does not suffice");
		return;
	case BUDGET_TOKENS:
		decision_refuse(d, REFUSE_RATE,
				a->project ? "the project's tokens of a minute do not suffice" :
					     "the client's tokens of a minute do not suffice");
		d->retry_after = (int)(a->wait_ns / 1000000000) + 1;
		return;
	case BUDGET_TOO_LARGE:
		decision_refuse(d, REFUSE_TOKENS,
				a->project ? "the project has fewer tokens in a whole minute" :
					     "the client has fewer tokens in a whole minute");
		return;
	case BUDGET_UNKNOWN:
		decision_refuse(d, REFUSE_GATEWAY,
				"what the client has spent is not known yet: the ledger was not read");
		d->retry_after = 1;
		return;
	case BUDGET_FULL:
		decision_refuse(d, REFUSE_GATEWAY, "too many requests are in flight for the memory of the budgets");
		d->retry_after = 1;
		return;
	}
}

static __attribute__((noinline)) void reserve(const policy *p, const llm_request *r, decision *d)
{
	const client *c = d->client;
	const client_project *project = project_of(p, c);
	const pricing *k = p->pricing;
	slice model = d->model.status == MODEL_FOUND ? slice_of(d->model.name, d->model.len) : slice_of(NULL, 0);
	budget_ask ask = { .id = r->id, .client = limit_of(&c->limits, c->account) };
	budget_answer answer;

	ask.project = (budget_limit){ BUDGET_NO_ACCOUNT, PERIOD_DAY, BUDGET_NO_LIMIT, 0 };
	if (project)
		ask.project = limit_of(&project->limits, project->account);
	answer_most most = most_find(&r->sample);
	int64_t learned = (int64_t)budget_output(k->budget, model), input = input_of(&r->sample), output;
	if (most.output < 0)
		most.output = learned > 0 ? learned : OUTPUT_UNKNOWN;
	if (__builtin_mul_overflow(most.output, most.answers, &output))
		output = INT64_MAX / 2;
	bool priced = k->cost(k->prices, model, input, output, most.answers, &ask.nano);
	bool budgeted = ask.client.nano != BUDGET_NO_LIMIT || ask.project.nano != BUDGET_NO_LIMIT;
	if (!priced && budgeted && !c->allow_unpriced) {
		decision_refuse(d, REFUSE_UNPRICED, "the model has no price, and the client has a budget");
		return;
	}
	ask.tokens = (uint64_t)input + (uint64_t)output;
	budget_reserve(k->budget, &ask, clock_mono_ns(), clock_wall_ms(), &answer);
	d->left = (limits_left){ answer.used_percent, answer.tokens_limit, answer.tokens_left,
				 (answer.tokens_reset_ns + 999999999) / 1000000000 };
	refuse(d, &answer);
}

void admission_ask(const policy *p, const llm_request *r, decision *d)
{
	const client_project *project = project_of(p, d->client);

	d->left = (limits_left){ .used_percent = 0 };
	if (!p->pricing || d->refusal != REFUSE_NOT || !d->metered || d->answer.len ||
	    (d->client->account == NO_ACCOUNT && (!project || project->account == NO_ACCOUNT)))
		return;
	reserve(p, r, d);
}

void admission_undo(const policy *p, const llm_request *r)
{
	if (p->pricing)
		budget_release(p->pricing->budget, r->id);
}
