/* SPDX-License-Identifier: MIT
 *
 * Tells by the name of a model who makes it. */
#ifndef LEDGER_PROVIDER_H
#define LEDGER_PROVIDER_H

/* Returns the provider as Headroom's files name it: anthropic, openai, gemini or unknown. */
const char *model_provider(const char *model);

#endif
