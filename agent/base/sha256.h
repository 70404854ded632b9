/* SPDX-License-Identifier: MIT
 *
 * SHA-256 (FIPS 180-4), for clients' keys on the command line, and for ids of spans. Requests bring the hash of a key,
 * which HAProxy made. */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include "base/slice.h"

enum { SHA256_LEN = 32 };

void sha256(slice bytes, unsigned char out[SHA256_LEN]);

#endif
