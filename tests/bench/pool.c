/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Processes that all need the same content; see pool.h.
 */
#include "tests/bench/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/fscache.h"

#define LINE 64

/* One of them */

const char *
bench_pool_map (const char *socket, const char *uri, gsize size)
{
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED };
  FscacheClient *client;
  FscacheReply reply;
  void *content;

  if (fscache_connect (socket, FSCACHE_NO_FALLBACK, &client) < 0
      || fscache_open_with (client, &request, &reply) < 0 || reply.content.size != size)
    return NULL;
  content = mmap (NULL, size, PROT_READ, MAP_SHARED, reply.fd, 0);
  return content != MAP_FAILED ? content : NULL;
}

/* What is shared counts for each of those who share it as its part. */
static long
get_memory (void)
{
  g_autofree char *content = NULL;
  const char *line;

  if (!g_file_get_contents ("/proc/self/smaps_rollup", &content, NULL, NULL))
    return 0;
  line = strstr (content, "\nPss:");
  return line != NULL ? strtol (line + strlen ("\nPss:"), NULL, 10) : 0;
}

static void
run_one (const BenchPool *pool, int done, int look, int end, int kept)
{
  const char *content = pool->get (pool->data);
  char byte = content != NULL ? 'y' : 'n';
  unsigned sum = 0;
  long memory;

  for (gsize i = 0; content != NULL && i < pool->size; i += LINE)
    sum += (unsigned char) content[i];
  if (sum == 0)
    byte = 'n';
  if (write (done, &byte, 1) != 1 || read (look, &byte, 1) != 0)
    _exit (1);
  memory = get_memory ();
  if (write (kept, &memory, sizeof memory) != sizeof memory || read (end, &byte, 1) != 0)
    _exit (1);
  _exit (0);
}

/* All of them */

bool
bench_pool_run (BenchPool *pool, GError **error)
{
  int done[2], look[2], end[2], kept[2];
  char bytes[BENCH_POOL_PROCESSES];
  unsigned n = 0;
  ssize_t r;

  if (pipe2 (done, O_CLOEXEC) < 0 || pipe2 (look, O_CLOEXEC) < 0 || pipe2 (end, O_CLOEXEC) < 0
      || pipe2 (kept, O_CLOEXEC) < 0)
    g_error ("pipe: %s", g_strerror (errno));
  for (unsigned i = 0; i < BENCH_POOL_PROCESSES; i++)
    {
      pool->pids[i] = fork ();
      if (pool->pids[i] == 0)
        {
          prctl (PR_SET_PDEATHSIG, SIGKILL);
          close (look[1]);
          close (end[1]);
          run_one (pool, done[1], look[0], end[0], kept[1]);
        }
    }
  close (done[1]);
  close (look[0]);
  close (end[0]);
  close (kept[1]);
  while ((r = read (done[0], bytes + n, BENCH_POOL_PROCESSES - n)) > 0)
    n += (unsigned) r;
  close (done[0]);
  pool->look = look[1];
  pool->end = end[1];
  pool->kept = kept[0];
  if (n == BENCH_POOL_PROCESSES && memchr (bytes, 'n', BENCH_POOL_PROCESSES) == NULL)
    return true;
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "of %d processes %u have the content",
               BENCH_POOL_PROCESSES, n);
  return false;
}

void
bench_pool_end (BenchPool *pool)
{
  double total = 0;
  long memory;

  close (pool->look);
  for (unsigned i = 0; i < BENCH_POOL_PROCESSES; i++)
    if (read (pool->kept, &memory, sizeof memory) == sizeof memory)
      total += (double) memory / 1024;
  close (pool->kept);
  close (pool->end);
  for (unsigned i = 0; i < BENCH_POOL_PROCESSES; i++)
    waitpid (pool->pids[i], NULL, 0);
  pool->memory = MAX (pool->memory, total);
}
