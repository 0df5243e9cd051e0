/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fetches a handle of a file from fscache and prints the file.
 *
 *     cc -o minimal minimal.c $(pkg-config --cflags --libs fscache)
 *     ./minimal /etc/hostname
 */
#include <fscache.h>

#include <stdio.h>
#include <unistd.h>

int
main (int argc, char **argv)
{
  FscacheClient *client;
  FscacheReply reply;
  char buffer[4096];
  ssize_t n;
  int fd;

  if (argc != 2)
    {
      fprintf (stderr, "Usage: minimal FILE\n");
      return 2;
    }

  /* Without a service the client works too: it opens files itself. */
  fscache_connect (NULL, 0, &client);
  if (client == NULL)
    return 1;

  fd = fscache_open (client, argv[1], O_RDONLY, &reply);
  if (fd < 0)
    {
      fprintf (stderr, "minimal: %s\n", reply.message);
      fscache_disconnect (client);
      return 1;
    }
  fprintf (stderr, "source: %s, sharing: %s\n", fscache_source_name (reply.source),
           fscache_sharing_name (reply.sharing));

  /* From here on it is a descriptor like any other. */
  while ((n = read (fd, buffer, sizeof buffer)) > 0)
    fwrite (buffer, 1, n, stdout);
  if (n < 0)
    perror (argv[1]);

  close (fd);
  fscache_disconnect (client);
  return n < 0 || fflush (stdout) != 0;
}
