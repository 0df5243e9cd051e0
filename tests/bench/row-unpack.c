/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a pool of processes pays that all need what is in one compressed file: each unpacks it for
 * itself, or fscache once for all. An operation is the whole pool, from its start until each has
 * read all of the content; then it is looked how much memory they have together.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/client.h"

#define PROCESSES 32
#define CONTENT (8 << 20)
#define LINE 64

typedef struct
{
  char *path;
  char *uri;
  const char *socket; /* NULL: without fscache */
  BenchClient *client;
  gsize size;
  pid_t pids[PROCESSES];
  int look, end; /* closed, they tell the pool to look at its memory, and to end */
  int kept;      /* reads: how much memory each has, in KiB */
  double total;  /* the most that they had together, in KiB */
} Pool;

static void
pool_free (void *data)
{
  Pool *pool = data;

  g_free (pool->path);
  g_free (pool->uri);
  g_free (pool);
}

/* The work of one. Returns NULL if it fails. */

static char *
unpack_alone (const Pool *pool)
{
  struct archive *archive = archive_read_new ();
  struct archive_entry *entry;
  char *content = malloc (pool->size);
  gsize n = 0;
  la_ssize_t r;

  if (archive == NULL || content == NULL || archive_read_support_filter_zstd (archive) != ARCHIVE_OK
      || archive_read_support_format_raw (archive) != ARCHIVE_OK
      || archive_read_open_filename (archive, pool->path, 65536) != ARCHIVE_OK
      || archive_read_next_header (archive, &entry) != ARCHIVE_OK)
    return NULL;
  while (n < pool->size && (r = archive_read_data (archive, content + n, pool->size - n)) > 0)
    n += (gsize) r;
  archive_read_free (archive);
  return n == pool->size ? content : NULL;
}

static char *
map_shared (const Pool *pool)
{
  const FscacheRequest request = { .uri = pool->uri, .sharing = FSCACHE_SHARED };
  FscacheClient *client;
  FscacheReply reply;
  void *content;

  if (fscache_connect (pool->socket, FSCACHE_NO_FALLBACK, &client) < 0
      || fscache_open_with (client, &request, &reply) < 0)
    return NULL;
  content = mmap (NULL, pool->size, PROT_READ, MAP_SHARED, reply.fd, 0);
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
run_one (const Pool *pool, int done, int look, int end, int kept)
{
  const char *content = pool->socket != NULL ? map_shared (pool) : unpack_alone (pool);
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

/* The pool */

static bool
run_pool (BenchRow *row, GError **error)
{
  Pool *pool = row->state;
  int done[2], look[2], end[2], kept[2];
  char bytes[PROCESSES];
  unsigned n = 0;
  ssize_t r;

  if (pipe2 (done, O_CLOEXEC) < 0 || pipe2 (look, O_CLOEXEC) < 0 || pipe2 (end, O_CLOEXEC) < 0
      || pipe2 (kept, O_CLOEXEC) < 0)
    g_error ("pipe: %s", g_strerror (errno));
  for (unsigned i = 0; i < PROCESSES; i++)
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
  while ((r = read (done[0], bytes + n, PROCESSES - n)) > 0)
    n += (unsigned) r;
  close (done[0]);
  pool->look = look[1];
  pool->end = end[1];
  pool->kept = kept[0];
  if (n == PROCESSES && memchr (bytes, 'n', PROCESSES) == NULL)
    return true;
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "of %d processes %u have the content",
               PROCESSES, n);
  return false;
}

static void
end_pool (BenchRow *row)
{
  Pool *pool = row->state;
  double total = 0;
  long memory;

  close (pool->look);
  for (unsigned i = 0; i < PROCESSES; i++)
    if (read (pool->kept, &memory, sizeof memory) == sizeof memory)
      total += (double) memory;
  close (pool->kept);
  close (pool->end);
  for (unsigned i = 0; i < PROCESSES; i++)
    waitpid (pool->pids[i], NULL, 0);
  pool->total = MAX (pool->total, total);
  if (pool->client != NULL)
    fscache_drop (pool->client->client, pool->uri, NULL);
}

static bool
set_up_pool (BenchRow *row, GError **error)
{
  Pool *pool = g_new0 (Pool, 1);
  g_autofree char *plain = g_build_filename (row->bench->directory, "plain", NULL);
  g_autofree char *zstd = g_find_program_in_path ("zstd");
  g_autoptr (GString) content = g_string_new (NULL);
  const char *arguments[] = { "zstd", "-qf", plain, "-o", NULL, NULL };
  uint64_t state = BENCH_RANDOM_SEED;
  int status;

  pool->path = g_strconcat (plain, ".zst", NULL);
  pool->uri = g_strconcat ("unpack://", pool->path, NULL);
  pool->size = bench_scale (row->bench, CONTENT);
  row->state = pool;
  bench_defer (row->bench, pool_free, pool);
  if (zstd == NULL)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "zstd is not installed");
      return false;
    }
  /* As well as a text can be compressed: to a third. */
  while (content->len < pool->size)
    g_string_append_printf (content, "%" G_GUINT64_FORMAT " of %u\n", bench_random (&state) >> 44,
                            (unsigned) content->len);
  g_string_truncate (content, pool->size);
  arguments[4] = pool->path;
  return g_file_set_contents (plain, content->str, (gssize) content->len, error)
         && g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
                          NULL, &status, error)
         && g_spawn_check_wait_status (status, error);
}

static bool
set_up_fscache (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  BenchService *service = bench_service_get_main (row->bench, BENCH_SERVICE_ANY_CPU, error);
  const char *uris[1];
  Pool *pool;

  if (service == NULL || !set_up_pool (row, error))
    return false;
  pool = row->state;
  pool->socket = service->socket;
  uris[0] = pool->uri;
  pool->client = bench_client_new_for_paths (row->bench, service, uris, 1, &shared, error);
  return pool->client != NULL;
}

static void
tell_memory (BenchRow *row)
{
  const Pool *pool = row->state;
  bool is_alone = pool->socket == NULL;

  if (pool->total > 0)
    bench_add_fact (row->bench, is_alone ? "memory-unpack-alone" : "memory-unpack-shared",
                    is_alone ? "memory of 32 processes, each with the content of the same .zst file"
                             : "the same, if fscache has unpacked it",
                    "MiB", pool->total / 1024);
}

const BenchRowSpec bench_rows_unpack[] = {
  { .name = "unpack-alone",
    .title = "the content of a .zst file for 32 processes, each by itself",
    .handles = PROCESSES,
    .slice_max = 1,
    .total_max = 20,
    .has_no_warm_up = true,
    .set_up = set_up_pool,
    .run = run_pool,
    .after = end_pool,
    .finish = tell_memory },
  { .name = "unpack-shared",
    .title = "the same, unpacked once by fscache, which did not have it",
    .baseline = "unpack-alone",
    .handles = PROCESSES,
    .slice_max = 1,
    .total_max = 20,
    .has_no_warm_up = true,
    .set_up = set_up_fscache,
    .run = run_pool,
    .after = end_pool,
    .finish = tell_memory },
  { 0 },
};
