/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What workers do with files, through the library and through the view; see soak.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/soak/soak.h"

#define BATCH 64

static void
open_and_check (SoakWorker *worker, const char *operation, const char *kind, int n,
                FscacheSharing sharing, const int *expected)
{
  g_autofree char *path = soak_path (worker->soak, kind, n);
  g_autofree char *prefix = g_strdup_printf ("%s %d", kind, n);
  const FscacheRequest request = { .uri = path, .sharing = sharing };
  FscacheReply reply;

  fscache_open_with (worker->client, &request, &reply);
  if (!soak_count (worker, operation, &reply, expected))
    return;
  soak_check_content (worker, reply.fd, prefix);
  fscache_reply_clear (worker->client, &reply);
}

static void
open_stable (SoakWorker *worker)
{
  open_and_check (worker, "open", "stable", soak_pick (worker, SOAK_STABLE), FSCACHE_INDEPENDENT,
                  NULL);
}

static void
open_shared (SoakWorker *worker)
{
  open_and_check (worker, "open shared", "stable", soak_pick (worker, SOAK_STABLE), FSCACHE_SHARED,
                  NULL);
}

static void
open_moving (SoakWorker *worker)
{
  open_and_check (worker, "open moving", "moving", soak_pick (worker, SOAK_MOVING),
                  FSCACHE_INDEPENDENT, SOAK_ERRORS (ENOENT, ESTALE, 0));
}

static void
open_batch (SoakWorker *worker)
{
  FscacheRequest requests[BATCH] = { 0 };
  FscacheReply replies[BATCH];
  char *paths[BATCH];
  int numbers[BATCH];

  for (guint i = 0; i < BATCH; i++)
    {
      numbers[i] = soak_pick (worker, SOAK_STABLE);
      paths[i] = soak_path (worker->soak, "stable", numbers[i]);
      requests[i] = (FscacheRequest){ .uri = paths[i], .sharing = FSCACHE_SHARED };
    }
  fscache_open_many (worker->client, requests, replies, BATCH);
  for (guint i = 0; i < BATCH; i++)
    {
      if (soak_count (worker, "open many", &replies[i], NULL))
        {
          g_autofree char *prefix = g_strdup_printf ("stable %d", numbers[i]);

          soak_check_content (worker, replies[i].fd, prefix);
        }
      fscache_reply_clear (worker->client, &replies[i]);
      g_free (paths[i]);
    }
}

static void
borrow (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_STABLE / 4);
  g_autofree char *path = soak_path (worker->soak, "stable", n);
  g_autofree char *prefix = g_strdup_printf ("stable %d", n);
  FscacheBorrow borrowed;
  FscacheReply reply = { .fd = -1 };

  for (guint i = 0; i < 20; i++)
    {
      fscache_borrow (worker->client, path, &borrowed, &reply);
      if (!soak_count (worker, "borrow", &reply, NULL))
        return;
      soak_check_content (worker, borrowed.fd, prefix);
      fscache_return (worker->client, &borrowed);
    }
}

static void
read_stream (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_STABLE);
  g_autofree char *path = soak_path (worker->soak, "stable", n);
  g_autofree char *prefix = g_strdup_printf ("stable %d", n);
  FscacheReply reply;
  char line[64] = "";
  FILE *file = fscache_fopen (worker->client, path, &reply);

  if (!soak_count (worker, "fopen", &reply, NULL))
    return;
  if (fgets (line, sizeof line, file) == NULL || !g_str_has_prefix (line, prefix))
    soak_wrong (worker, "fscache_fopen() of %s gave \"%s\"", path, line);
  fclose (file);
}

static void
open_missing (SoakWorker *worker)
{
  g_autofree char *path = soak_path (worker->soak, "stable", SOAK_STABLE + soak_pick (worker, 50));
  FscacheReply reply;

  if (fscache_open (worker->client, path, O_RDONLY, &reply) >= 0)
    soak_wrong (worker, "%s was opened", path);
  soak_count (worker, "open missing", &reply, SOAK_ERRORS (ENOENT, 0));
  fscache_reply_clear (worker->client, &reply);
}

static void
open_directory (SoakWorker *worker)
{
  g_autofree char *path = g_build_filename (worker->soak->dir, "stable", NULL);
  FscacheReply reply;
  struct stat st;

  fscache_open (worker->client, path, O_RDONLY | O_DIRECTORY, &reply);
  if (!soak_count (worker, "open directory", &reply, NULL))
    return;
  if (fstat (reply.fd, &st) < 0 || !S_ISDIR (st.st_mode))
    soak_wrong (worker, "%s was opened as something else", path);
  fscache_reply_clear (worker->client, &reply);
}

static void
write_file (SoakWorker *worker)
{
  g_autofree char *path = soak_path (worker->soak, "written", (int) worker->number);
  FscacheReply reply;

  fscache_open (worker->client, path, O_WRONLY | O_CREAT | O_TRUNC, &reply);
  if (!soak_count (worker, "write", &reply, NULL))
    return;
  if (write (reply.fd, "written", 7) != 7)
    soak_wrong (worker, "%s cannot be written to: %s", path, g_strerror (errno));
  fscache_reply_clear (worker->client, &reply);
}

/* Another file takes the name, or it goes. */
static void
move (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_MOVING);
  g_autofree char *path = soak_path (worker->soak, "moving", n);
  g_autofree char *next = g_strdup_printf ("%s.%u", path, worker->number);
  g_autofree char *content = g_strdup_printf ("moving %d %u\n", n, g_rand_int (worker->random));
  int fd;

  if (soak_pick (worker, 8) == 0)
    {
      soak_count_errno (worker, "unlink", unlink (path) < 0 ? errno : 0, SOAK_ERRORS (ENOENT, 0));
      return;
    }
  fd = open (next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write (fd, content, strlen (content)) < 0)
    g_error ("%s: %s", next, g_strerror (errno));
  close (fd);
  soak_count_errno (worker, "rename", rename (next, path) < 0 ? errno : 0, NULL);
}

typedef struct
{
  SoakWorker *worker;
  int n, n_events;
} Watch;

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Watch *watch = data;
  g_autofree char *prefix = g_strdup_printf ("moving %d", watch->n);

  watch->n_events++;
  if (soak_count (watch->worker, "watch", event->reply, SOAK_ERRORS (ENOENT, ESTALE, 0)))
    {
      soak_check_content (watch->worker, event->reply->fd, prefix);
      close (event->reply->fd);
    }
}

/* For some changes, or a moment. */
static void
watch (SoakWorker *worker)
{
  Watch watch = { .worker = worker, .n = soak_pick (worker, SOAK_MOVING) };
  g_autofree char *path = soak_path (worker->soak, "moving", watch.n);
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  uint64_t id;

  if (fscache_watch (worker->client, &request, take_event, &watch, &id) < 0)
    {
      soak_wrong (worker, "%s cannot be watched", path);
      return;
    }
  for (guint i = 0; i < 20 && watch.n_events < 3; i++)
    {
      fscache_dispatch (worker->client);
      if (i % 5 == 4)
        move (worker);
      g_usleep (500);
    }
  fscache_unwatch (worker->client, id);
}

/* The view may be killed at any time. */
static const int *
get_errors_of_view (const SoakWorker *worker)
{
  static const int errors[] = { ENOTCONN, ECONNABORTED, EIO, ENODEV, ESTALE, ENOENT, 0 };

  return worker->is_strict ? NULL : errors;
}

static void
read_view (SoakWorker *worker)
{
  int n = soak_pick (worker, SOAK_STABLE);
  g_autofree char *path = g_strdup_printf ("%s/open/file%s/stable/%d", worker->soak->stage.mount,
                                           worker->soak->dir, n);
  g_autofree char *prefix = g_strdup_printf ("stable %d", n);
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  char content[64] = "";
  ssize_t length;

  if (!soak_count_errno (worker, "view", fd < 0 ? errno : 0, get_errors_of_view (worker)))
    return;
  length = read (fd, content, sizeof content - 1);
  if (soak_count_errno (worker, "view read", length < 0 ? errno : 0, get_errors_of_view (worker))
      && !g_str_has_prefix (content, prefix))
    soak_wrong (worker, "%s in the view is \"%s\"", prefix, content);
  close (fd);
}

static void
list_view (SoakWorker *worker)
{
  static const char *const names[] = { "cached/file", "open/file", "status.json", "cached" };
  g_autofree char *path
      = g_build_filename (worker->soak->stage.mount, names[soak_pick (worker, 4)], NULL);
  struct stat st;

  soak_count_errno (worker, "view stat", stat (path, &st) < 0 ? errno : 0,
                    get_errors_of_view (worker));
}

const SoakOperation soak_file_operations[] = {
  { "open", 200, open_stable },
  { "open shared", 200, open_shared },
  { "open moving", 100, open_moving },
  { "open many", 20, open_batch },
  { "borrow", 20, borrow },
  { "fopen", 30, read_stream },
  { "open missing", 30, open_missing },
  { "open directory", 20, open_directory },
  { "write", 20, write_file },
  { "move", 20, move },
  { "watch", 5, watch },
  { "view", 20, read_view },
  { "view stat", 5, list_view },
  { 0 },
};
