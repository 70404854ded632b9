/* SPDX-License-Identifier: MIT
 *
 * What a usage object means, whichever provider wrote it. docs/savings.md has the same table for operators.
 *
 *   provider, endpoint               input, with its cached part           output                         cached part
 * of the input: read; written
 *   ------------------------------------------------------------------------------------------------------------------------------------
 *   OpenAI chat, completions, and    prompt_tokens                         completion_tokens (1)
 * prompt_tokens_details.cached_tokens; .cache_write_tokens all that speak it: Mistral,    the same the same
 * num_cached_tokens (Mistral), cached_tokens (Moonshot), DeepSeek, OpenRouter, x.ai ... prompt_cache_hit_tokens
 * (DeepSeek); cache_creation_tokens (LiteLLM) OpenAI embeddings                prompt_tokens total_tokens less that: 0
 * - OpenAI responses, images,        input_tokens                          output_tokens
 * input_tokens_details.cached_tokens; .cache_write_tokens transcriptions by token Anthropic, also on Bedrock and
 * input_tokens + read + written; sums   output_tokens; sums of         cache_read_input_tokens; Vertex AI of
 * `iterations`, if they are there    `iterations`, likewise         cache_creation_input_tokens, or the sum of
 * cache_creation Gemini, Vertex AI                promptTokenCount +                    candidatesTokenCount +
 * cachedContentTokenCount; - toolUsePromptTokenCount               thoughtsTokenCount Gemini interactions
 * total_input_tokens + tool use         total_output_ + total_thought_ total_cached_tokens; - Bedrock converse, Nova
 * inputTokens + read + written          outputTokens                   cacheReadInputTokens; cacheWriteInputTokens
 *   Bedrock invoke, by headers       amzn_bedrock: "IN OUT READ WRITE", as haproxy.cfg.example makes it; the same
 * meaning Bedrock: Llama; Titan            prompt_token_count;                   generation_token_count;        -
 *                                    inputTextTokenCount                   outputTextTokenCount
 *   Ollama                           prompt_eval_count                     eval_count                     -
 *   Cohere v1 and v2                 billed_units.input_tokens,            billed_units.output_tokens, cached_tokens; -
 *                                    else tokens.input_tokens              else tokens.output_tokens
 *
 *   (1) x.ai counts reasoning_tokens beside the completion, which its total shows; they are added. Vertex AI's and
 * OpenAI's images and transcriptions without tokens have input and output 0, and `parts`.
 *
 *   parts            stand in
 *   ------------------------------------------------------------------------------------------------------------------------------------
 *   audio, images,   ..._tokens_details.audio_tokens, .image_tokens, .video_tokens; Gemini: promptTokensDetails,
 * candidatesTokensDetails; video          cached audio: cached_tokens_details.audio_tokens, cacheTokensDetails
 *   reasoning        ..._tokens_details.reasoning_tokens, .thinking_tokens; thoughtsTokenCount
 *   write_1h         cache_creation.ephemeral_1h_input_tokens; cacheDetails with ttl 1h (Bedrock)
 *   images           images (made by decide/answer.c); billed_units.images
 *   audio_ms         seconds, with type duration; prompt_audio_seconds (Mistral)
 *   searches         server_tool_use.web_search_requests; num_search_queries (Perplexity); billed_units.search_units
 * (rerank) cost             cost, in dollars (OpenRouter; with is_byok: and cost_details.upstream_inference_cost),
 * cost.total_cost (Perplexity), cost_in_usd_ticks (x.ai: 10,000,000,000 of them are a dollar) tier service_tier,
 * trafficType (Vertex AI) */
#ifndef LEDGER_USAGE_SHAPE_H
#define LEDGER_USAGE_SHAPE_H

#include "ledger/record.h"

typedef struct usage_told {
	int64_t prompt;      /* with its cached part; -1: missing */
	int64_t output;      /* -1: missing */
	int64_t read, write; /* at least 0 */
	bool any;            /* there was a count */
	bool complete;       /* nothing is missing, cut or invalid */
	bool whole;          /* the object is not cut */
	bool final;          /* this shape reports usage at the end of a stream only */
	slice rest;          /* what follows the object */
	usage_parts parts;
} usage_told;

/* Reads the object of `fragment`, in front of which a colon may stand. `protocol` tells shapes apart that have the same
 * names. An invalid count counts as missing. */
void usage_told_read(slice fragment, slice protocol, usage_told *told);

#endif
