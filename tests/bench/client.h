/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A client of fscached as any program would be one, through libfscache, that asks for the files of
 * one set always in the same way. Each answer is checked to be what the row says that it measures.
 */
#pragma once

#include "libclient/fscache.h"
#include "tests/bench/bench.h"
#include "tests/bench/service.h"

typedef struct
{
  FscacheClient *client;
  FscacheRequest *requests; /* one for each file */
  FscacheReply *replies;
  unsigned n;
  FscacheCoherence coherence; /* what each answer must say; UNCACHED stands for any */
  int mounts;                 /* /proc/self/mountinfo, or -1 */
} BenchClient;

/* As long ago as may be: with this no check is needed of what has been opened before. */
#define BENCH_ANY_AGE UINT32_MAX

/* Connects, and opens each file once, so that it is cached. The requests are as `how` says, with
 * the files' names. Freed with the bench. */
BenchClient *bench_client_new (Bench *bench, BenchService *service, const char *set, unsigned n,
                               const FscacheRequest *how, GError **error);

/* The same for files that are known by their paths; and nothing is opened yet. */
BenchClient *bench_client_new_for_paths (Bench *bench, BenchService *service,
                                         const char *const *paths, unsigned n,
                                         const FscacheRequest *how, GError **error);

/* Asks until the service watches all the files; from then on each answer must be watched. Where
 * that does not come to pass, the client is unavailable. (Nothing is watched any more when somebody
 * has mounted something.) */
bool bench_client_watch (BenchClient *client, GError **error);

/* After an answer that was not watched: whether a mount is why. Then all is watched again, and
 * *error is cleared. The calls below do that themselves. */
bool bench_client_excuse (BenchClient *client, GError **error);

/* Gets a handle of one file, which must come from `source`, and closes it or gives it back. */
bool bench_client_open (BenchClient *client, unsigned index, FscacheSource source, GError **error);

/* The same for n files in one call. */
bool bench_client_open_many (BenchClient *client, unsigned first, unsigned n, FscacheSource source,
                             GError **error);

/* Its parts, for rows that time only the first: gets handles of the first n files in one call, and
 * closes them. */
bool bench_client_get (BenchClient *client, unsigned n, FscacheSource source, GError **error);
void bench_client_close (BenchClient *client, unsigned n);
