/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The options of open, cat and exec that say how to open, and the FscacheRequest they make.
 */
#pragma once

#include <glib.h>

#include "libclient/fscache.h"

typedef struct
{
  char *sharing;
  char *flags;
  char *mode; /* octal */
  double timeout;
  int max_age_ms;
  gboolean revalidate;
  char *digest;
  guint8 digest_bytes[FSCACHE_DIGEST_SIZE];
} FscRequestOptions;

/* Rows for the option tables of commands; each command lists those that it has. */
#define FSC_REQUEST_SHARING(options, defaults)                                                     \
  {                                                                                                \
    "sharing", 's', 0, G_OPTION_ARG_STRING, &(options).sharing,                                    \
        "Ask for independent, shared or exclusive (default: " defaults ")", "MODE"                 \
  }
#define FSC_REQUEST_FLAGS(options)                                                                 \
  {                                                                                                \
    "flags", 'f', 0, G_OPTION_ARG_STRING, &(options).flags,                                        \
        "Flags of open(2), as in O_RDWR,O_APPEND or rdwr,append (default: rdonly)", "FLAGS"        \
  }
#define FSC_REQUEST_MODE(options)                                                                  \
  {                                                                                                \
    "mode", 0, 0, G_OPTION_ARG_STRING, &(options).mode,                                            \
        "Permissions of a file that O_CREAT makes, octal (default: 666, less the umask)", "MODE"   \
  }
#define FSC_REQUEST_TIMEOUT(options)                                                               \
  {                                                                                                \
    "timeout", 't', 0, G_OPTION_ARG_DOUBLE, &(options).timeout,                                    \
        "Give up after this time (default: the service's deadline)", "SECONDS"                     \
  }
#define FSC_REQUEST_MAX_AGE(options)                                                               \
  {                                                                                                \
    "max-age", 0, 0, G_OPTION_ARG_INT, &(options).max_age_ms,                                      \
        "A handle that was checked at most so long ago will do", "MS"                              \
  }
#define FSC_REQUEST_REVALIDATE(options)                                                            \
  {                                                                                                \
    "revalidate", 0, 0, G_OPTION_ARG_NONE, &(options).revalidate,                                  \
        "Check at the source, even within a time-to-live", NULL                                    \
  }

#define FSC_REQUEST_DIGEST(options)                                                                \
  {                                                                                                \
    "digest", 0, 0, G_OPTION_ARG_STRING, &(options).digest, "Fail unless the content is this one", \
        "sha256:HEX"                                                                               \
  }

void fsc_request_options_clear (FscRequestOptions *options);

/* Fills a request, which may point into the options. Returns FALSE with `error` set
 * (G_OPTION_ERROR) if an option makes no sense. The URI is left to the caller. */
gboolean fsc_request_options_get (FscRequestOptions *options, FscacheSharing default_sharing,
                                  FscacheRequest *request, GError **error);

/* Names what is asked for (borrowed). What was put (handle:NAME) is asked for shared, as it is,
 * unless the options say otherwise. */
void fsc_request_set_uri (FscacheRequest *request, const FscRequestOptions *options,
                          const char *uri);

/* "O_RDWR|O_APPEND" for what fcntl(F_GETFL) returned; to be freed. */
char *fsc_request_describe_flags (int flags);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscRequestOptions, fsc_request_options_clear)
