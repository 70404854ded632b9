/* SPDX-License-Identifier: MIT */
#include "decide/admission.h"

#include "base/clock.h"
#include "budget/budget.h"
#include "decide/endpoint.h"
#include "decide/pricing.h"
#include "sample/most.h"

enum {
	INPUT_FIXED = 60,      /* bytes of a body that are not text; no more than ESTIMATE_INPUT_FIXED of the ledger */
	INPUT_TOKEN = 3,       /* bytes of text a token; ESTIMATE_INPUT_TOKEN of the ledger need not be as cautious */
	INPUT_CODED = 1,       /* bytes of a compressed body a token */
	OUTPUT_UNKNOWN = 4096, /* tokens of an answer, if nothing is known of the model's answers */
};

static budget_limit limit_of(const client_limits *l, uint32_t account)
{
	return (budget_limit){ account, (period_kind)l->period, l->budget_nano, l->tokens_per_minute };
}

int64_t admission_input(const model_sample *s)
{
	uint64_t bytes = s->length > s->buffered ? s->length : s->buffered;

	if (bytes < s->body.len)
		bytes = s->body.len;
	uint64_t token = s->cenc.len == 0 || slice_ieq(s->cenc, SLICE("identity")) ? INPUT_TOKEN : INPUT_CODED;
	return bytes > INPUT_FIXED ? (int64_t)((bytes - INPUT_FIXED) / token) + 1 : 1;
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
				a->project ? "the project has too few tokens left in this minute" :
					     "the client has too few tokens left in this minute");
		d->retry_after = (int)(a->wait_ns / 1000000000) + 1;
		return;
	case BUDGET_TOO_LARGE:
		decision_refuse(d, REFUSE_TOKENS,
				a->project ? "the request takes more tokens than the project has in a whole minute" :
					     "the request takes more tokens than the client has in a whole minute");
		return;
	case BUDGET_UNKNOWN:
		decision_refuse(d, REFUSE_GATEWAY,
				"what the client, or its project, has spent is not known: the ledger was not read yet");
		d->retry_after = 1;
		return;
	case BUDGET_FULL:
		decision_refuse(d, REFUSE_GATEWAY, "too many requests are in flight for the memory of the budgets");
		d->retry_after = 1;
		return;
	}
}

/* Returns how many of its `tokens` a request takes of `limit`, tokens a minute. If the output is only a guess, and the
 * input alone is below the limit, the request takes no more than the whole minute's. */
static uint64_t tokens_of(const admission_estimate *e, uint64_t tokens, uint64_t limit)
{
	return e->from != OUTPUT_ASKED && limit > 0 && tokens > limit && (uint64_t)e->input < limit ? limit : tokens;
}

/* Refuses a request of which nobody will know what it cost. Inside a WebSocket, requests pass that nobody sees. */
static void refuse_unpriced(const llm_request *r, decision *d)
{
	if (!r->sample.upgrade)
		decision_refuse(d, REFUSE_UNPRICED,
				"the model has no price, and the client, or its project, has a budget");
	else
		decision_refuse(d, d->endpoint == ENDPOINT_RUNS ? REFUSE_UNPRICED : REFUSE_WEBSOCKET_HTTP,
				"nobody sees what a WebSocket uses, and the client, or its project, has a budget");
}

/* True for OpenAI's own servers, and Azure's. Others may not know max_completion_tokens, and so ignore it. */
static bool knows_newer(const upstream *u)
{
	static const slice hosts[] = { SLICE_INIT("api.openai.com"), SLICE_INIT(".openai.azure.com"),
				       SLICE_INIT(".services.ai.azure.com"),
				       SLICE_INIT(".cognitiveservices.azure.com") };

	for (size_t i = 0; u && i < sizeof hosts / sizeof hosts[0]; i++)
		if (slice_ends(slice_cstr(u->host), hosts[i]))
			return true;
	return false;
}

/* Sets `*ask` and `*e` to what `d`, a request of a client, may take. False: it is refused, because nobody will know
 * what it cost. */
static bool estimate(const policy *p, const llm_request *r, decision *d, budget_ask *ask, admission_estimate *e)
{
	const client *c = d->client;
	const client_project *project = client_project_of(p->clients, c);
	const pricing *k = p->pricing;
	/* A client must not choose the price by a model that need not be the one that runs. Of a WebSocket nothing but
	 * the handshake's model is known. */
	bool named = d->model.status == MODEL_FOUND && (r->sample.upgrade || !decision_model_open(d));
	slice model = named ? slice_of(d->model.name, d->model.len) : slice_of(NULL, 0);

	*ask = (budget_ask){ .id = r->id, .client = limit_of(&c->limits, c->account) };
	ask->project = (budget_limit){ BUDGET_NO_ACCOUNT, PERIOD_DAY, BUDGET_NO_LIMIT, 0 };
	if (project)
		ask->project = limit_of(&project->limits, project->account);
	answer_most most = most_find(&r->sample);
	*e = (admission_estimate){ OUTPUT_ASKED, admission_input(&r->sample), most.output, most.answers, false, 0 };
	if (!most.sure || (most.newer && !knows_newer(d->upstream))) {
		int64_t learned = (int64_t)budget_output(k->budget, model),
			likely = learned > 0 ? learned : OUTPUT_UNKNOWN;
		if (likely > e->output) {
			e->from = learned > 0 ? OUTPUT_LEARNED : OUTPUT_ASSUMED;
			e->output = likely;
		}
	}
	if (__builtin_mul_overflow(e->output, most.answers, &e->output))
		e->output = INT64_MAX / 2;
	e->priced = k->cost(k->prices, model, e->input, e->output, most.answers, &e->nano);
	bool budgeted = ask->client.nano != BUDGET_NO_LIMIT || ask->project.nano != BUDGET_NO_LIMIT;
	if (budgeted && !c->allow_unpriced && (!e->priced || r->sample.upgrade)) {
		refuse_unpriced(r, d);
		return false;
	}
	ask->nano = e->nano;
	ask->tokens = tokens_of(e, (uint64_t)e->input + (uint64_t)e->output, ask->client.tokens);
	ask->tokens = tokens_of(e, ask->tokens, ask->project.tokens);
	return true;
}

static void take_answer(decision *d, const budget_answer *a)
{
	d->left = (limits_left){ a->used_percent, a->tokens_limit, a->tokens_left,
				 (a->tokens_reset_ns + 999999999) / 1000000000 };
	refuse(d, a);
}

/* Out of line, because most requests have no budget. */
static __attribute__((noinline)) void reserve(const policy *p, const llm_request *r, decision *d)
{
	budget_ask ask;
	budget_answer answer;
	admission_estimate e;

	/* Requests without an id would share one reservation, and no record could settle it. */
	if (r->id.len == 0) {
		decision_refuse(d, REFUSE_CONTRACT, "HAProxy sends no id: set unique-id-format as llm.cfg does");
		return;
	}
	if (r->no_records) {
		decision_refuse(
			d, REFUSE_LEDGER_OFF,
			"HAProxy sends no records (LLM_LEDGER=off), and the client, or its project, has a budget or tokens_per_minute");
		return;
	}
	if (!estimate(p, r, d, &ask, &e))
		return;
	budget_reserve(p->pricing->budget, &ask, clock_mono_ns(), clock_wall_ms(), &answer);
	take_answer(d, &answer);
}

/* Refuses a request by which the operator's credential would pay for a batch or the like, if its client has a budget.
 * Out of line, because most requests are metered. */
static __attribute__((noinline)) void refuse_job(const policy *p, const llm_request *r, decision *d)
{
	const client *c = d->client;
	const client_project *project = client_project_of(p->clients, c);
	bool budgeted = c->limits.budget_nano != BUDGET_NONE || (project && project->limits.budget_nano != BUDGET_NONE);

	if (budgeted && !c->allow_unpriced && endpoint_costs_later(r->sample.method, r->sample.path))
		decision_refuse(
			d, REFUSE_UNPRICED,
			"nobody sees what a batch or the like costs, and the client, or its project, has a budget");
}

/* True if d->client may make something that costs the operator money, and is not metered. */
static bool may_make_job(const policy *p, const decision *d)
{
	return p->pricing && d->refusal == REFUSE_NOT && !d->metered && d->released_by != RELEASED_NOT;
}

/* Whether the agent counts what the request of `d` takes. */
static bool counts(const policy *p, const decision *d)
{
	const client_project *project = client_project_of(p->clients, d->client);

	return p->pricing && d->refusal == REFUSE_NOT && d->metered && !d->answer.len &&
	       (d->client->account != NO_ACCOUNT || (project && project->account != NO_ACCOUNT));
}

void admission_ask(const policy *p, const llm_request *r, decision *d)
{
	d->left = (limits_left){ .used_percent = 0 };
	if (may_make_job(p, d))
		refuse_job(p, r, d);
	if (counts(p, d))
		reserve(p, r, d);
}

bool admission_look(const policy *p, const llm_request *r, decision *d, admission_estimate *e)
{
	budget_ask ask;
	budget_answer answer;

	d->left = (limits_left){ .used_percent = 0 };
	if (may_make_job(p, d))
		refuse_job(p, r, d);
	if (!counts(p, d))
		return false;
	if (!estimate(p, r, d, &ask, e))
		return true;
	budget_look(p->pricing->budget, &ask, clock_mono_ns(), clock_wall_ms(), &answer);
	take_answer(d, &answer);
	return true;
}

void admission_undo(const policy *p, const llm_request *r)
{
	if (p->pricing)
		budget_release(p->pricing->budget, r->id);
}
