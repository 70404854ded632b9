/* SPDX-License-Identifier: MIT
 *
 * Who makes a model, by its name. */
#ifndef LEDGER_PROVIDER_H
#define LEDGER_PROVIDER_H

/* anthropic, openai, gemini or unknown: Headroom's names for those it knows. */
const char *model_provider(const char *model);

#endif
