/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * To read a small file whole: what a program does that opens, reads 4 KiB and closes; by the C
 * library, by fscache_fopen(), and from a borrowed handle.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/service.h"

#define SIZE 4096

enum
{
  FOPEN,
  FSCACHE_FOPEN,
  BORROW,
};

typedef struct
{
  BenchClient *client;
  char *path;
} Read;

static void
free_read (void *data)
{
  Read *self = data;

  g_free (self->path);
  g_free (self);
}

static bool
set_up_read (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  static const char content[SIZE] = { 0 };
  Bench *bench = row->bench;
  BenchService *service = bench_service_get_main (bench, 0, error);
  Read *self = g_new0 (Read, 1);

  self->path = bench_get_file (bench, "read", 0);
  row->state = self;
  bench_defer (bench, free_read, self);
  if (service == NULL || !bench_make_files (bench, "read", 1, error))
    return false;
  if (row->spec->parameter == FOPEN)
    return g_file_set_contents_full (self->path, content, SIZE, G_FILE_SET_CONTENTS_NONE, 0600,
                                     error);

  self->client = bench_client_new (bench, service, "read", 1, &shared, error);
  return self->client != NULL && bench_client_watch (self->client, error);
}

static bool
check (size_t n, GError **error)
{
  if (n == SIZE)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "read %zu bytes, not %d", n, SIZE);
  return false;
}

static bool
read_and_close (FILE *file, GError **error)
{
  char buffer[SIZE];

  if (file == NULL)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "fopen: %s", g_strerror (errno));
      return false;
    }

  size_t n = fread (buffer, 1, SIZE, file);

  fclose (file);
  return check (n, error);
}

static bool
run_fopen (BenchRow *row, GError **error)
{
  return read_and_close (fopen (((Read *) row->state)->path, "re"), error);
}

static bool
run_fscache_fopen (BenchRow *row, GError **error)
{
  Read *self = row->state;

  return read_and_close (fscache_fopen (self->client->client, self->path, NULL), error);
}

static bool
run_borrow (BenchRow *row, GError **error)
{
  Read *self = row->state;
  char buffer[SIZE];
  FscacheBorrow borrow;
  FscacheReply reply;

  if (fscache_borrow (self->client->client, self->path, &borrow, &reply) < 0)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s", reply.message);
      return false;
    }

  ssize_t n = pread (borrow.fd, buffer, SIZE, 0);

  fscache_return (self->client->client, &borrow);
  return check (n, error);
}

const BenchRowSpec bench_rows_read[] = {
  { .name = "fopen",
    .title = "fopen(), fread() of 4 KiB, fclose()",
    .handles = 1,
    .parameter = FOPEN,
    .set_up = set_up_read,
    .run = run_fopen },
  { .name = "fscache-fopen",
    .title = "fscache_fopen(), the same, watched",
    .baseline = "fopen",
    .handles = 1,
    .parameter = FSCACHE_FOPEN,
    .set_up = set_up_read,
    .run = run_fscache_fopen },
  { .name = "borrow-pread",
    .title = "fscache_borrow(), pread() of 4 KiB, fscache_return()",
    .baseline = "fopen",
    .handles = 1,
    .parameter = BORROW,
    .set_up = set_up_read,
    .run = run_borrow },
  { 0 },
};
