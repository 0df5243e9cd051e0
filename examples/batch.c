/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opens many files in one message and prints how large they are. A batch costs hardly more than a
 * single request, and one failure does not spoil the others.
 *
 *     ./batch a.txt b.txt c.txt
 */
#include <fscache.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int
main (int argc, char **argv)
{
  size_t n = argc - 1;
  FscacheRequest *requests = calloc (n + 1, sizeof *requests);
  FscacheReply *replies = calloc (n + 1, sizeof *replies);
  FscacheClient *client = NULL;
  int failed;

  if (argc < 2 || requests == NULL || replies == NULL)
    {
      fprintf (stderr, "Usage: batch FILE...\n");
      return 2;
    }
  fscache_connect (NULL, 0, &client);
  if (client == NULL)
    return 1;

  for (size_t i = 0; i < n; i++)
    {
      requests[i].uri = argv[i + 1];
      requests[i].sharing = FSCACHE_SHARED; /* fstat() and pread() are all that is done */
    }
  failed = fscache_open_many (client, requests, replies, n);
  if (failed < 0)
    fprintf (stderr, "batch: %s\n", strerror (-failed));

  for (size_t i = 0; i < n; i++)
    {
      struct stat st;

      if (replies[i].fd < 0)
        fprintf (stderr, "batch: %s\n", replies[i].message);
      else if (fstat (replies[i].fd, &st) == 0)
        printf ("%12lld %-6s %s\n", (long long) st.st_size, fscache_source_name (replies[i].source),
                argv[i + 1]);
      fscache_give_back (client, &replies[i]); /* closes the descriptor */
    }

  fscache_disconnect (client);
  free (requests);
  free (replies);
  return failed != 0;
}
