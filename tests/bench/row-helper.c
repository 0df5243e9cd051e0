/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a program makes, here the content of a file in a git repository: made for each who wants it,
 * and made once by a helper.
 */
#include <errno.h>
#include <string.h>

#include "tests/bench/client.h"
#include "tests/bench/service.h"

#define REPOSITORY "repository"

/* Each operation is several milliseconds. */
#define RUNS_MAX 500

typedef struct
{
  char *directory;
  BenchClient *client;
} Repository;

static void
repository_free (void *data)
{
  Repository *repository = data;

  g_free (repository->directory);
  g_free (repository);
}

/* Runs git; the arguments end with NULL. */
static bool
run_git (const char *directory, const char *const *arguments, char **output, GError **error)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  int status;

  g_ptr_array_add (argv, (gpointer) "git");
  g_ptr_array_add (argv, (gpointer) "-C");
  g_ptr_array_add (argv, (gpointer) directory);
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (argv, (gpointer) *arguments);
  g_ptr_array_add (argv, NULL);
  return g_spawn_sync (NULL, (char **) argv->pdata, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, output,
                       NULL, &status, error)
         && g_spawn_check_wait_status (status, error);
}

static bool
make_repository (const char *directory, GError **error)
{
  static const char *const add[] = { "add", "file", NULL };
  static const char *const commit[]
      = { "-c", "user.name=Bench", "-c", "user.email=bench@example.org", "commit", "-q",
          "-m", "Bench",           NULL };
  static const char *const init[] = { "init", "-q", NULL };
  g_autofree char *path = g_build_filename (directory, "file", NULL);

  if (g_file_test (path, G_FILE_TEST_EXISTS))
    return true;
  if (g_mkdir_with_parents (directory, 0700) < 0)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "%s: %s", directory, g_strerror (errno));
      return false;
    }
  return g_file_set_contents (path, "content\n", -1, error)
         && run_git (directory, init, NULL, error) && run_git (directory, add, NULL, error)
         && run_git (directory, commit, NULL, error);
}

static bool
set_up_git (BenchRow *row, GError **error)
{
  g_autofree char *git = g_find_program_in_path ("git");
  g_autofree char *python = g_find_program_in_path ("python3");
  Repository *repository = g_new0 (Repository, 1);

  repository->directory = g_build_filename (row->bench->directory, REPOSITORY, NULL);
  row->state = repository;
  bench_defer (row->bench, repository_free, repository);
  if (git != NULL && python != NULL)
    return make_repository (repository->directory, error);
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "%s is not installed",
               git == NULL ? "git" : "python3");
  return false;
}

static bool
run_each_time (BenchRow *row, GError **error)
{
  static const char *const show[] = { "cat-file", "blob", "HEAD:file", NULL };
  g_autofree char *content = NULL;

  return run_git (((Repository *) row->state)->directory, show, &content, error);
}

static bool
set_up_helper (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  BenchService *service = bench_service_get_main (row->bench, 0, error);
  g_autofree char *uri = NULL;
  Repository *repository;
  const char *uris[1];

  if (service == NULL || !set_up_git (row, error))
    return false;
  repository = row->state;
  uris[0] = uri = g_strdup_printf ("helper+git://%s#HEAD:file", repository->directory);
  repository->client = bench_client_new_for_paths (row->bench, service, uris, 1, &shared, error);
  return repository->client != NULL
         && bench_client_open (repository->client, 0, FSCACHE_SOURCE_NONE, error);
}

static bool
run_helper (BenchRow *row, GError **error)
{
  return bench_client_open (((Repository *) row->state)->client, 0, FSCACHE_SOURCE_CACHE, error);
}

const BenchRowSpec bench_rows_helper[] = {
  { .name = "helper-each-time",
    .title = "the content of a file in a git repository, by running git",
    .handles = 1,
    .total_max = RUNS_MAX,
    .set_up = set_up_git,
    .run = run_each_time },
  { .name = "helper-held",
    .title = "fscache, shared, of that content, which a helper has asked git for",
    .baseline = "helper-each-time",
    .handles = 1,
    .set_up = set_up_helper,
    .run = run_helper },
  { 0 },
};
