/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * From a request of the caller to an opening: checks it, and finds the canonical URI.
 */
#pragma once

#include <limits.h>

#include "libclient/client.h"

/* A current directory that is asked for at most once in a batch. */
typedef struct
{
  bool is_known;
  int error; /* 0, or why it is not known, positive */
  size_t length;
  char path[PATH_MAX];
} FscDirectory;

void fsc_client_directory_init (FscDirectory *directory);

/* Writes the canonical URI of a URI or path to `buffer`. Returns its length, or a negative errno:
 *   -EINVAL        it is not a URI; *reason continues "this URI ...";
 *   -ENAMETOOLONG  it does not fit, or is longer than a path may be;
 *   any other      as getcwd(3) (for a relative path only), or -ENOENT for an empty name. */
int fsc_client_canonicalize (const char *uri_or_path, FscDirectory *directory, char *buffer,
                             size_t size, const char **reason);

/* How much of a buffer that takes at most, with its zero byte. */
size_t fsc_client_get_uri_bound (const char *uri_or_path, FscDirectory *directory);

/* Fills an opening (which is all zero). The URI is written to `buffer`, which must live as long as
 * the opening. A request that cannot be carried out becomes an opening that is answered. Returns
 * how much of the buffer was taken: no more than that bound. */
size_t fsc_client_prepare (FscacheClient *client, const FscacheRequest *request,
                           FscDirectory *directory, FscOpening *opening, char *buffer, size_t size);

/* The same for a request about a name that opens nothing. */
void fsc_client_prepare_name (FscOpening *opening, const char *uri_or_path, char *buffer,
                              size_t size);
