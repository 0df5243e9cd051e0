/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names: canonical URIs, and what the numbers of fscache.h are called.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/prepare.h"

char *
fscache_uri (const char *uri_or_path)
{
  char buffer[FSC_URI_MAX + 1];
  FscDirectory directory;
  const char *reason;
  int r;

  fsc_client_directory_init (&directory);
  r = uri_or_path == NULL
          ? -EINVAL
          : fsc_client_canonicalize (uri_or_path, &directory, buffer, sizeof buffer, &reason);
  if (r < 0)
    {
      errno = -r;
      return NULL;
    }
  return strdup (buffer);
}

const char *
fscache_code_name (FscacheCode code)
{
  switch (code)
    {
    case FSCACHE_OK:
      return "ok";
    case FSCACHE_ERROR_SYSTEM:
      return "system";
    case FSCACHE_ERROR_BAD_URI:
      return "bad-uri";
    case FSCACHE_ERROR_BAD_REQUEST:
      return "bad-request";
    case FSCACHE_ERROR_UNKNOWN_SCHEME:
      return "unknown-scheme";
    case FSCACHE_ERROR_NOT_SERVED:
      return "not-served";
    case FSCACHE_ERROR_NOT_REOPENABLE:
      return "not-reopenable";
    case FSCACHE_ERROR_LIMIT:
      return "limit";
    case FSCACHE_ERROR_TIMED_OUT:
      return "timed-out";
    case FSCACHE_ERROR_OPENER_FAILED:
      return "opener-failed";
    case FSCACHE_ERROR_CANCELLED:
      return "cancelled";
    case FSCACHE_ERROR_NOT_CACHED:
      return "not-cached";
    case FSCACHE_ERROR_VERSION:
      return "version";
    case FSCACHE_ERROR_REFUSED:
      return "refused";
    case FSCACHE_ERROR_OTHER_CONTENT:
      return "other-content";
    case FSCACHE_ERROR_UNAVAILABLE:
      return "unavailable";
    case FSCACHE_ERROR_NO_SERVICE:
      return "no-service";
    case FSCACHE_ERROR_NO_DESCRIPTOR:
      return "no-descriptor";
    case FSCACHE_ERROR_PROTOCOL:
      return "protocol";
    case FSCACHE_ERROR_NO_MEMORY:
      return "no-memory";
    }
  return "unknown";
}

/* A number that a newer library or service may have added is "unknown". */
static const char *
get_name (const char *const *names, size_t n, unsigned number)
{
  return number < n ? names[number] : "unknown";
}

#define COUNT(array) (sizeof (array) / sizeof (array)[0])

const char *
fscache_source_name (FscacheSource source)
{
  static const char *const names[] = { "none", "cache", "opened", "passed", "local", "kept" };

  return get_name (names, COUNT (names), source);
}

const char *
fscache_sharing_name (FscacheSharing sharing)
{
  static const char *const names[] = { "independent", "shared", "exclusive" };

  return get_name (names, COUNT (names), sharing);
}

const char *
fscache_coherence_name (FscacheCoherence coherence)
{
  static const char *const names[] = { "uncached", "checked", "ttl", "watched" };

  return get_name (names, COUNT (names), coherence);
}

const char *
fscache_event_reason_name (FscacheEventReason reason)
{
  static const char *const names[] = { "initial",   "replaced", "created", "deleted", "permission",
                                       "unmounted", "dropped",  "evicted", "failed" };

  if (reason == FSCACHE_EVENT_RECONNECTED)
    return "reconnected";
  if (reason == FSCACHE_EVENT_DISCONNECTED)
    return "disconnected";
  if (reason == FSCACHE_EVENT_REFUSED)
    return "refused";
  return get_name (names, COUNT (names), reason);
}

const char *
fscache_kind_name (FscacheKind kind)
{
  static const char *const names[]
      = { "unknown", "regular", "directory", "symlink", "fifo", "socket", "character", "block" };

  return get_name (names, COUNT (names), kind);
}
