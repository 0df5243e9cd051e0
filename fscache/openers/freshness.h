/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How long an answer of HTTP holds, by what its header says of that (RFC 9111), for a cache that is
 * one user's. What is not understood makes it hold for less, never for more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Times in seconds, those of the clock since 1970; -1: it does not say. */
typedef struct
{
  bool is_not_to_be_kept;
  bool is_to_be_asked_for; /* each time */
  int64_t max_age;
  int64_t age;
  int64_t date, expires;
} FscFreshness;

void fsc_freshness_begin (FscFreshness *freshness);

/* A line of the header. The name may be in any case. */
void fsc_freshness_take (FscFreshness *freshness, const char *name, const char *value);

/* For how many milliseconds it holds, from `now` on; -1: it does not say. */
int64_t fsc_freshness_get_ttl (const FscFreshness *freshness, int64_t now);
