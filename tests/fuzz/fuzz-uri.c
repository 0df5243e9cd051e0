/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes the names of resources: what is accepted is canonical, and stays what it is when it is
 * made canonical again or turned into a path and back.
 *
 * The input is the URI. Linked with libFuzzer, or with replay.c, which runs the corpus as a test.
 */
#include "protocol/uri.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
require (bool condition)
{
  if (!condition)
    abort ();
}

/* What a canonical URI is made of is in it, or it is refused. */
static void
take_apart (FscBytes uri)
{
  static char part[FSC_URI_MAX + 1];
  FscBytes host = fsc_uri_get_host (uri);
  int path = fsc_uri_get_path (uri, part, sizeof part);
  int member;

  require (host.length == 0
           || (host.data > uri.data && host.data + host.length <= uri.data + uri.length));
  require (path == -EINVAL
           || (fsc_uri_names_path (uri) && part[0] == '/' && strlen (part) == (size_t) path));
  member = fsc_uri_to_member (uri, part, sizeof part);
  require (member == -ENOENT || (member > 0 && path > 0 && strlen (part) == (size_t) member));
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static char once[FSC_URI_MAX + 1], again[FSC_URI_MAX + 1], path[FSC_URI_MAX + 1];
  const char *reason = NULL;
  int length
      = fsc_uri_canonicalize ((FscBytes){ (const char *) data, size }, once, sizeof once, &reason);

  if (length < 0)
    {
      require ((length == -EINVAL || length == -ENAMETOOLONG) && reason != NULL);
      return 0;
    }
  require (strlen (once) == (size_t) length);
  for (int i = 0; i < length; i++)
    require (once[i] > ' ' && once[i] <= '~');
  require (fsc_uri_canonicalize ((FscBytes){ once, (size_t) length }, again, sizeof again, &reason)
           == length);
  require (strcmp (once, again) == 0);

  take_apart ((FscBytes){ once, (size_t) length });
  if (!fsc_uri_has_scheme ((FscBytes){ once, (size_t) length }, "file"))
    return 0;
  require (fsc_uri_to_path ((FscBytes){ once, (size_t) length }, path, sizeof path) > 0);
  require (fsc_uri_from_path ((FscBytes){ path, strlen (path) }, again, sizeof again) == length);
  require (strcmp (once, again) == 0);
  return 0;
}
