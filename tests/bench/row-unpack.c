/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a pool of processes pays that all need what is in one compressed file: each unpacks it for
 * itself, or fscache once for all. An operation is the whole pool, from its start until each has
 * read all of the content; then it is looked how much memory they have together.
 */
#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/client.h"
#include "tests/bench/pool.h"

#define CONTENT (8 << 20)

typedef struct
{
  BenchPool pool;
  char *path;
  char *uri;
  const char *socket; /* NULL: without fscache */
  BenchClient *client;
} Packed;

static void
packed_free (void *data)
{
  Packed *packed = data;

  g_free (packed->path);
  g_free (packed->uri);
  g_free (packed);
}

/* The work of one. Returns NULL if it fails. */

static char *
unpack_alone (const Packed *packed)
{
  struct archive *archive = archive_read_new ();
  struct archive_entry *entry;
  char *content = malloc (packed->pool.size);
  gsize n = 0;
  la_ssize_t r;

  if (archive == NULL || content == NULL || archive_read_support_filter_zstd (archive) != ARCHIVE_OK
      || archive_read_support_format_raw (archive) != ARCHIVE_OK
      || archive_read_open_filename (archive, packed->path, 65536) != ARCHIVE_OK
      || archive_read_next_header (archive, &entry) != ARCHIVE_OK)
    return NULL;
  while (n < packed->pool.size
         && (r = archive_read_data (archive, content + n, packed->pool.size - n)) > 0)
    n += (gsize) r;
  archive_read_free (archive);
  return n == packed->pool.size ? content : NULL;
}

static const char *
get_alone (const void *data)
{
  return unpack_alone (data);
}

static const char *
get_shared (const void *data)
{
  const Packed *packed = data;

  return bench_pool_map (packed->socket, packed->uri, packed->pool.size);
}

/* The rows */

static bool
run_pool (BenchRow *row, GError **error)
{
  return bench_pool_run (&((Packed *) row->state)->pool, error);
}

static void
end_pool (BenchRow *row)
{
  Packed *packed = row->state;

  bench_pool_end (&packed->pool);
  if (packed->client != NULL)
    fscache_drop (packed->client->client, packed->uri, NULL);
}

static bool
set_up_pool (BenchRow *row, GError **error)
{
  Packed *packed = g_new0 (Packed, 1);
  g_autofree char *plain = g_build_filename (row->bench->directory, "plain", NULL);
  g_autofree char *zstd = g_find_program_in_path ("zstd");
  g_autoptr (GString) content = g_string_new (NULL);
  const char *arguments[] = { "zstd", "-qf", plain, "-o", NULL, NULL };
  uint64_t state = BENCH_RANDOM_SEED;
  int status;

  packed->path = g_strconcat (plain, ".zst", NULL);
  packed->uri = g_strconcat ("unpack://", packed->path, NULL);
  packed->pool.size = bench_scale (row->bench, CONTENT);
  packed->pool.get = get_alone;
  packed->pool.data = packed;
  row->state = packed;
  bench_defer (row->bench, packed_free, packed);
  if (zstd == NULL)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "zstd is not installed");
      return false;
    }
  /* As well as a text can be compressed: to a third. */
  while (content->len < packed->pool.size)
    g_string_append_printf (content, "%" G_GUINT64_FORMAT " of %u\n", bench_random (&state) >> 44,
                            (unsigned) content->len);
  g_string_truncate (content, packed->pool.size);
  arguments[4] = packed->path;
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
  Packed *packed;

  if (service == NULL || !set_up_pool (row, error))
    return false;
  packed = row->state;
  packed->socket = service->socket;
  packed->pool.get = get_shared;
  uris[0] = packed->uri;
  packed->client = bench_client_new_for_paths (row->bench, service, uris, 1, &shared, error);
  return packed->client != NULL;
}

static void
tell_memory (BenchRow *row)
{
  const Packed *packed = row->state;
  bool is_alone = packed->socket == NULL;

  if (packed->pool.memory > 0)
    bench_add_fact (row->bench, is_alone ? "memory-unpack-alone" : "memory-unpack-shared",
                    is_alone ? "memory of 32 processes, each with the content of the same .zst file"
                             : "the same, if fscache has unpacked it",
                    "MiB", packed->pool.memory);
}

const BenchRowSpec bench_rows_unpack[] = {
  { .name = "unpack-alone",
    .title = "the content of a .zst file for 32 processes, each by itself",
    .handles = BENCH_POOL_PROCESSES,
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
    .handles = BENCH_POOL_PROCESSES,
    .slice_max = 1,
    .total_max = 20,
    .has_no_warm_up = true,
    .set_up = set_up_fscache,
    .run = run_pool,
    .after = end_pool,
    .finish = tell_memory },
  { 0 },
};
