/* SPDX-License-Identifier: MIT
 *
 * What a usage object means, whichever provider wrote it. docs/savings.md has the same table for operators. */
/* clang-format off */
/*
 *   provider, endpoint         input, with its cached part    output                     cached part: read; written
 *   -------------------------  -----------------------------  -------------------------  ------------------------------
 *   OpenAI chat, completions   prompt_tokens                  completion_tokens          prompt_tokens_details
 *                                                                                        .cached_tokens;
 *                                                                                        .cache_write_tokens
 *   all that speak it (1)      the same                       the same                   num_cached_tokens (Mistral),
 *                                                                                        cached_tokens (Moonshot),
 *                                                                                        prompt_cache_hit_tokens
 *                                                                                        (DeepSeek);
 *                                                                                        cache_creation_tokens
 *                                                                                        (LiteLLM)
 *   OpenAI embeddings          prompt_tokens                  total_tokens less that: 0  -
 *   OpenAI responses, images,  input_tokens                   output_tokens              input_tokens_details
 *   transcriptions by token                                                              .cached_tokens;
 *                                                                                        .cache_write_tokens
 *   Anthropic, also on         input_tokens + read + written; output_tokens; or the sum  cache_read_input_tokens;
 *   Bedrock and Vertex AI      or the sums of `iterations`    of `iterations`            cache_creation_input_tokens,
 *                                                                                        or the sum of cache_creation
 *   Gemini, Vertex AI          promptTokenCount +             candidatesTokenCount +     cachedContentTokenCount; -
 *                              toolUsePromptTokenCount        thoughtsTokenCount
 *   Gemini interactions        total_input_tokens +           total_output_tokens +      total_cached_tokens; -
 *                              total_tool_use_tokens          total_thought_tokens
 *   Bedrock converse, Nova     inputTokens + read + written   outputTokens               cacheReadInputTokens;
 *                                                                                        cacheWriteInputTokens; Nova's
 *                                                                                        invoke: ...InputTokenCount
 *   Bedrock invoke             amzn_bedrock: "IN OUT READ WRITE", which haproxy.cfg.example makes of four headers;
 *                              the four mean what Converse's members mean
 *   Bedrock: Llama             prompt_token_count             generation_token_count     -
 *   Bedrock: Titan             inputTextTokenCount            outputTextTokenCount       -
 *   Ollama                     prompt_eval_count              eval_count                 -
 *   Cohere v1 and v2           billed_units.input_tokens,     billed_units               cached_tokens; -
 *                              else tokens.input_tokens       .output_tokens, else
 *                                                             tokens.output_tokens
 *
 *   (1) Mistral, Moonshot, DeepSeek, OpenRouter, LiteLLM, x.ai and others. x.ai counts reasoning_tokens beside
 *       completion_tokens, as its total_tokens shows; the two are added.
 *
 *   total_tokens alone, as Voyage's embeddings have it, is input, and incomplete: nobody says that none is output.
 *
 *   Images and transcriptions that report no tokens (Vertex AI's, OpenAI's) have input 0, output 0, and `parts`.
 *
 *   parts                 members that tell it
 *   --------------------  ---------------------------------------------------------------------------------------------
 *   audio, images, video  audio_tokens, image_tokens and video_tokens of ..._tokens_details; Gemini:
 *                         promptTokensDetails, candidatesTokensDetails
 *   cached audio          cached_tokens_details.audio_tokens, cacheTokensDetails
 *   reasoning             reasoning_tokens and thinking_tokens of ..._tokens_details; thoughtsTokenCount
 *   write_1h              cache_creation.ephemeral_1h_input_tokens; Bedrock: cacheDetails with ttl 1h
 *   images                images, which answer/counts.c makes; billed_units.images
 *   audio_ms              seconds, with type duration; Mistral: prompt_audio_seconds
 *   searches              server_tool_use.web_search_requests; Perplexity: num_search_queries; rerank:
 *                         billed_units.search_units
 *   cost                  OpenRouter: cost, in dollars, and with is_byok cost_details.upstream_inference_cost on top;
 *                         Perplexity: cost.total_cost; x.ai: cost_in_usd_ticks, 10,000,000,000 of which are a dollar
 *   tier                  service_tier; Vertex AI: trafficType; Anthropic: a `speed` or `inference_geo` that costs more;
 *                         Bedrock: serviceTier.type, beside the usage */
/* clang-format on */
#ifndef LEDGER_USAGE_SHAPE_H
#define LEDGER_USAGE_SHAPE_H

#include "ledger/usage_counts.h"

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

/* Says what a whole object tells whose counts were read, and which nothing follows. */
void usage_told_counts(const counts *c, slice protocol, usage_told *told);

/* Reads what a stream told by its first and its last usage object; either may be empty, and both may be the same. */
void usage_told_stream(slice first, slice last, slice protocol, usage_told *told);

#endif
