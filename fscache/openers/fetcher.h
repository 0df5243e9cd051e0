/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that fetches: a child (child.h) that asks one host, is told what to ask for, and
 * sends content back. All that speaks TLS and HTTP is in the child; all that can do anything is in
 * the parent, which takes the child's word only for what the host has said.
 *
 * The child stays, so that the connection can stay. It is replaced if it has died, and if a file
 * that it may read has been exchanged, for it may read only the file that was there.
 */
#pragma once

#include "fscache/openers/child.h"
#include "fscache/openers/http.h"

typedef struct FscFetcher FscFetcher;

typedef struct
{
  const char *uri;
  const char *validator; /* "": none */
  uint64_t max_size;     /* of the content */

  /* So many bytes have come, of so many (0: nobody knows). */
  void (*progress) (uint64_t done, uint64_t total, void *data);
  void *data;
} FscFetchJob;

/* The settings are borrowed. */
FscFetcher *fsc_fetcher_new (const FscHttpSettings *settings);
void fsc_fetcher_free (FscFetcher *fetcher);

/* If it is DONE there is an answer; if the status of that is 200, the content is in the draft. */
FscChildOutcome fsc_fetcher_run (FscFetcher *fetcher, const FscFetchJob *job, FscDraft *draft,
                                 FscHttpAnswer *answer, FscFault *fault);

/* What a child does before it connects to the host ("example.org:8080", as fsc_uri_get_host() has
 * it). */
bool fsc_fetcher_confine (const FscHttpSettings *settings, const char *host);
