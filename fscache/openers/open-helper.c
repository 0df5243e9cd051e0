/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The opener of helper+NAME: URIs. What opens them is a program that the configuration names, which
 * this one starts and asks (helper.h), so that the service need not trust it: a descriptor that it
 * gives may be on a file system that hangs whoever looks at it or closes it. This process may hang;
 * it holds what it is given, and passes on only memory that is sealed, with its digest.
 *
 * It is started with the deadline in milliseconds, and, behind "--", the helper's command.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/openers/argument.h"
#include "fscache/openers/helper.h"
#include "fscache/openers/seal.h"
#include "fscache/openers/serve.h"

static FscHelper helper; /* serve.h has no place for data of a provider's own */

/* Memory that the helper has sealed is content that never changes. Where it cannot be sealed for
 * good, it is what it is. */
static void
take_content (FscFound *found)
{
  int fd = fsc_seal_memory (found->fd);

  if (fd < 0)
    return;
  close (found->fd);
  found->fd = fd;
  found->has_content = fsc_seal_digest (fd, 0, &found->size, found->digest);
}

static void
open_by_helper (const FscItem *item, const char *uri, FscFound *found)
{
  struct stat st;

  fsc_helper_ask (&helper, item, uri, found);
  if (found->fd < 0)
    return;
  found->hold = !fsc_seal_is_memory (found->fd);
  if (!found->hold && (item->flags & O_ACCMODE) == O_RDONLY)
    take_content (found);
  found->kind = fstat (found->fd, &st) == 0 ? fsc_found_get_kind (st.st_mode) : FSC_KIND_UNKNOWN;
  /* What has no name cannot be opened again. */
  if ((found->kind == FSC_KIND_SOCKET || found->kind == FSC_KIND_UNKNOWN)
      && found->most_sharing == FSC_SHARING_INDEPENDENT)
    found->most_sharing = FSC_SHARING_SHARED;
}

int
main (int argc, char **argv)
{
  int first = 1;

  while (first < argc && strcmp (argv[first], "--") != 0)
    first++;
  if (first + 1 >= argc)
    {
      fprintf (stderr, "open-helper is started by fscached, with a helper's command\n");
      return 2;
    }
  helper.command = argv + first + 1;
  argv[first] = NULL;
  helper.deadline_ms = (int64_t) fsc_argument_get_number (argv, "deadline");
  return fsc_serve ("open-helper", open_by_helper);
}
