/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What two handles of one file share, and what they do not. With duplicates (dup(2), SCM_RIGHTS)
 * there is one open file description and so one offset: whoever reads moves it for all. That is
 * FSCACHE_SHARED, for pread() and mmap(). FSCACHE_INDEPENDENT, the default, behaves as open() does.
 *
 *     ./offset FILE       (a file of at least 8 bytes)
 *
 * Exits with 0 if all is as it should be.
 */
#include <fscache.h>

#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

/* Reads 4 bytes through one handle, and returns where that leaves the other one, or -1. */
static off_t
read_one_look_at_other (FscacheClient *client, const char *uri, FscacheSharing sharing)
{
  FscacheRequest request = { .uri = uri, .sharing = sharing, .options = FSCACHE_NO_FALLBACK };
  FscacheReply one = { .fd = -1 }, other = { .fd = -1 };
  off_t offset = -1;
  char bytes[4];

  if (fscache_open_with (client, &request, &one) < 0)
    fprintf (stderr, "offset: %s\n", one.message);
  else if (fscache_open_with (client, &request, &other) < 0)
    fprintf (stderr, "offset: %s\n", other.message);
  else if (lseek (one.fd, 0, SEEK_SET) == 0 && read (one.fd, bytes, sizeof bytes) == sizeof bytes)
    {
      offset = lseek (other.fd, 0, SEEK_CUR);
      printf ("%-12s read() of 4 bytes through one handle: the other is at offset %lld\n",
              fscache_sharing_name (one.sharing), (long long) offset);
    }
  else
    fprintf (stderr, "offset: %s: 4 bytes cannot be read\n", uri);

  fscache_reply_clear (client, &one);
  fscache_reply_clear (client, &other);
  return offset;
}

int
main (int argc, char **argv)
{
  FscacheClient *client = NULL;
  bool as_promised;

  if (argc != 2)
    {
      fprintf (stderr, "Usage: offset FILE\n");
      return 2;
    }
  fscache_connect (NULL, 0, &client);
  if (client == NULL)
    return 1;

  as_promised = read_one_look_at_other (client, argv[1], FSCACHE_SHARED) == 4
                && read_one_look_at_other (client, argv[1], FSCACHE_INDEPENDENT) == 0;
  fscache_disconnect (client);
  return as_promised ? 0 : 1;
}
