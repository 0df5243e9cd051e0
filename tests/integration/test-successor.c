/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Successor events: who watches a name gets what it leads to, and each time that this changes, what
 * it leads to now, and why. As programs see it, through the library; and clients that do not read.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define PATIENCE (10 * G_USEC_PER_SEC)
#define QUIET (150 * 1000)

static gboolean may_mount;

/* A watch, and what has come of it. */
typedef struct
{
  FscacheClient *client;
  uint64_t id;
  guint n;
  guint n_coalesced; /* in all */
  FscacheEventReason reason;
  FscacheCode code;
  int error;
  int fd; /* of the last event */
  FscacheSharing sharing;
  uint64_t generation;
  gboolean is_last;
  char content[64];
} Watch;

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Watch *watch = data;
  const FscacheReply *reply = event->reply;
  ssize_t length;

  g_assert_cmpuint (event->id, ==, watch->id);
  g_assert_false (watch->is_last);
  if (g_test_verbose ())
    g_test_message ("%s %s %d +%u %s", fscache_event_reason_name (event->reason),
                    fscache_code_name (reply->code), reply->error, event->n_coalesced,
                    reply->message);
  if (watch->fd >= 0)
    close (watch->fd);
  watch->n++;
  watch->n_coalesced += event->n_coalesced;
  watch->reason = event->reason;
  watch->code = reply->code;
  watch->error = reply->error;
  watch->fd = reply->fd;
  watch->sharing = reply->sharing;
  watch->generation = event->generation;
  watch->is_last = event->is_last;
  watch->content[0] = '\0';
  if (reply->fd >= 0)
    {
      length = pread (reply->fd, watch->content, sizeof watch->content - 1, 0);
      watch->content[MAX (length, 0)] = '\0';
    }
}

static void
dispatch_once (FscacheClient *client, int ms)
{
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };

  poll (&pollfd, 1, ms);
  fscache_dispatch (client);
}

#define DISPATCH_UNTIL(client, condition)                                                          \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 until_ = g_get_monotonic_time () + PATIENCE;                                            \
    while (!(condition) && g_get_monotonic_time () < until_)                                       \
      dispatch_once (client, 100);                                                                 \
    g_assert_true (condition);                                                                     \
  }                                                                                                \
  G_STMT_END

static void
dispatch_for (FscacheClient *client, gint64 time)
{
  gint64 until = g_get_monotonic_time () + time;

  while (g_get_monotonic_time () < until)
    dispatch_once (client, 10);
}

static void
watch_with (Watch *watch, FscacheClient *client, const FscacheRequest *request)
{
  *watch = (Watch){ .client = client, .fd = -1 };
  g_assert_cmpint (fscache_watch (client, request, take_event, watch, &watch->id), ==, 0);
}

/* Watches, and waits for the first event. */
static void
watch_it (Watch *watch, FscacheClient *client, const char *path)
{
  watch_with (watch, client, &(FscacheRequest){ .uri = path, .sharing = FSCACHE_SHARED });
  DISPATCH_UNTIL (client, watch->n > 0);
  g_assert_cmpint (watch->reason, ==, FSCACHE_EVENT_INITIAL);
}

static void
unwatch (Watch *watch)
{
  fscache_unwatch (watch->client, watch->id);
  if (watch->fd >= 0)
    close (watch->fd);
  watch->fd = -1;
}

/* Waits for one more event, and that there is only one. */
static void
assert_next (Watch *watch, FscacheEventReason reason, const char *content, int error)
{
  guint n = watch->n;

  DISPATCH_UNTIL (watch->client, watch->n > n);
  g_assert_cmpstr (fscache_event_reason_name (watch->reason), ==,
                   fscache_event_reason_name (reason));
  g_assert_cmpint (watch->error, ==, error);
  g_assert_cmpstr (watch->content, ==, content);
  g_assert_cmpuint (watch->n, ==, n + 1);
}

static void
assert_quiet (Watch *watch)
{
  guint n = watch->n;

  dispatch_for (watch->client, QUIET);
  g_assert_cmpuint (watch->n, ==, n);
}

/* Puts a new file in the place of another. */
static void
replace (const char *path, const char *content)
{
  g_autofree char *new = g_strconcat (path, ".new", NULL);

  fsc_test_write (new, content);
  g_assert_no_errno (rename (new, path));
}

/* What happens to a file */

static void
test_replaced (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  char content[8] = { 0 };
  uint64_t generation;
  Watch watch;
  int old;

  /* As long as it is not watched there is no generation. */
  do
    close (fscache_open (client, path, O_RDONLY, NULL));
  while (fsc_test_service_counter (service, "watched") == 0);
  watch_it (&watch, client, path);
  g_assert_cmpstr (watch.content, ==, "one");
  g_assert_cmpint (watch.sharing, ==, FSCACHE_SHARED);
  g_assert_cmpuint (watch.generation, !=, 0);
  generation = watch.generation;
  old = dup (watch.fd);
  assert_quiet (&watch);

  replace (path, "two");
  assert_next (&watch, FSCACHE_EVENT_REPLACED, "two", 0);
  g_assert_cmpuint (watch.generation, !=, 0);
  g_assert_cmpuint (watch.generation, !=, generation);
  g_assert_cmpint (pread (old, content, sizeof content, 0), ==, 3);
  g_assert_cmpstr (content, ==, "one");
  close (old);
  for (int i = 0; i < 20; i++)
    {
      g_autofree char *text = g_strdup_printf ("number %d", i);

      replace (path, text);
      assert_next (&watch, FSCACHE_EVENT_REPLACED, text, 0);
    }

  /* What is no change of it. */
  fsc_test_write (path, "written");
  g_assert_no_errno (utimensat (AT_FDCWD, path, NULL, 0));
  g_assert_no_errno (chmod (path, 0640));
  assert_quiet (&watch);
  unwatch (&watch);
  replace (path, "nobody cares");
  assert_quiet (&watch);
  g_assert_cmpuint (fsc_test_service_counter (service, "watches"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "followed"), ==, 0);
  fscache_disconnect (client);
}

static void
test_deleted (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  Watch watch;

  watch_it (&watch, client, path);
  g_assert_no_errno (unlink (path));
  assert_next (&watch, FSCACHE_EVENT_DELETED, "", ENOENT);
  g_assert_cmpint (watch.code, ==, FSCACHE_ERROR_SYSTEM);
  g_assert_cmpuint (watch.generation, ==, 0);
  fsc_test_write (path, "two");
  assert_next (&watch, FSCACHE_EVENT_CREATED, "two", 0);

  /* At once. */
  g_assert_no_errno (unlink (path));
  fsc_test_write (path, "three");
  DISPATCH_UNTIL (client, strcmp (watch.content, "three") == 0);
  assert_quiet (&watch);
  unwatch (&watch);
  fscache_disconnect (client);
}

/* A name of which not even the directory is there. */
static void
test_created (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  Watch watch;

  watch_it (&watch, client, path);
  g_assert_cmpint (watch.error, ==, ENOENT);
  g_assert_no_errno (g_mkdir (dir, 0755));
  assert_quiet (&watch);
  fsc_test_write (path, "one");
  DISPATCH_UNTIL (client, watch.n == 2);
  g_assert_cmpint (watch.reason, ==, FSCACHE_EVENT_CREATED);
  DISPATCH_UNTIL (client, watch.fd >= 0);
  unwatch (&watch);
  g_assert_no_errno (unlink (path));
  g_assert_no_errno (rmdir (dir));
  fscache_disconnect (client);
}

/* The service has no capabilities: its user may not open what has no permissions either. */
static void
test_permission (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  guint64 errors;
  Watch watch;

  g_assert_no_errno (g_mkdir (dir, 0700));
  fsc_test_write (path, "one");
  watch_it (&watch, client, path);
  fsc_test_service_wait_for (service, "watched", 1); /* on a busy machine not at once */
  g_assert_no_errno (chmod (path, 0));
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "", EACCES);

  /* It is not looked for: the watch tells, once it has been made, which on a busy machine takes. */
  assert_quiet (&watch);
  for (guint tries = 0;; tries++)
    {
      errors = fsc_test_service_counter (service, "open_errors");
      dispatch_for (client, 1200 * 1000);
      if (fsc_test_service_counter (service, "open_errors") == errors)
        break;
      g_assert_cmpuint (tries, <, 5);
    }
  g_assert_no_errno (chmod (path, 0200));
  assert_quiet (&watch);
  g_assert_no_errno (chmod (path, 0600));
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "one", 0);
  g_assert_no_errno (chmod (dir, 0));
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "", EACCES);
  g_assert_no_errno (chmod (dir, 0700));
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "one", 0);
  g_assert_no_errno (chmod (path, 0));
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "", EACCES);
  replace (path, "two");
  assert_next (&watch, FSCACHE_EVENT_PERMISSION, "two", 0);
  unwatch (&watch);
  fscache_disconnect (client);
}

static void
test_independent (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  Watch watch, other;

  watch_with (&watch, client, &(FscacheRequest){ .uri = path });
  watch_with (&other, client, &(FscacheRequest){ .uri = path });
  DISPATCH_UNTIL (client, watch.n == 1 && other.n == 1);
  g_assert_cmpint (watch.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (lseek (watch.fd, 2, SEEK_SET), ==, 2);
  g_assert_cmpint (lseek (other.fd, 0, SEEK_CUR), ==, 0);
  replace (path, "two");
  DISPATCH_UNTIL (client, watch.n == 2 && other.n == 2);
  g_assert_cmpstr (watch.content, ==, "two");
  g_assert_cmpstr (other.content, ==, "two");
  g_assert_cmpint (lseek (watch.fd, 2, SEEK_SET), ==, 2);
  g_assert_cmpint (lseek (other.fd, 0, SEEK_CUR), ==, 0);
  unwatch (&watch);
  unwatch (&other);
  fscache_disconnect (client);
}

static void
test_mounts (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  g_autofree char *other = fsc_test_service_write (service, "other", "two");
  Watch watch;

  if (!may_mount)
    {
      g_test_skip ("mounting is not allowed here");
      fscache_disconnect (client);
      return;
    }
  watch_it (&watch, client, path);
  g_assert_no_errno (mount (other, path, NULL, MS_BIND, NULL));
  assert_next (&watch, FSCACHE_EVENT_UNMOUNTED, "two", 0);
  close (watch.fd);
  watch.fd = -1;
  g_assert_no_errno (umount2 (path, MNT_DETACH));
  assert_next (&watch, FSCACHE_EVENT_UNMOUNTED, "one", 0);

  /* A mount elsewhere. */
  g_assert_no_errno (mount (path, other, NULL, MS_BIND, NULL));
  g_assert_no_errno (umount2 (other, MNT_DETACH));
  assert_quiet (&watch);
  unwatch (&watch);
  fscache_disconnect (client);
}

/* Something is there, or not, because of a mount; and because of something else, while there are
 * mounts and unmounts that have nothing to do with it. */
static void
test_unmounted (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "mount", NULL);
  g_autofree char *link = g_build_filename (service->dir, "link", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  g_autofree char *other = fsc_test_service_write (service, "other", "other");
  Watch watch, by_link;

  if (!may_mount)
    {
      g_test_skip ("mounting is not allowed here");
      fscache_disconnect (client);
      return;
    }
  g_assert_no_errno (g_mkdir (dir, 0755));
  g_assert_no_errno (symlink (path, link));
  watch_it (&watch, client, path);
  g_assert_cmpint (watch.error, ==, ENOENT);
  g_assert_no_errno (kill (service->pid, SIGSTOP));
  g_assert_no_errno (mount ("none", dir, "tmpfs", 0, "mode=0755"));
  fsc_test_write (path, "one");
  g_assert_no_errno (kill (service->pid, SIGCONT));
  assert_next (&watch, FSCACHE_EVENT_UNMOUNTED, "one", 0);
  watch_it (&by_link, client, link);

  g_assert_no_errno (kill (service->pid, SIGSTOP));
  g_assert_no_errno (mount (other, other, NULL, MS_BIND, NULL));
  g_assert_no_errno (unlink (path));
  g_assert_no_errno (kill (service->pid, SIGCONT));
  DISPATCH_UNTIL (client, watch.n == 3 && by_link.n == 2);
  g_assert_cmpint (watch.reason, ==, FSCACHE_EVENT_DELETED);
  g_assert_cmpint (by_link.reason, ==, FSCACHE_EVENT_DELETED);

  g_assert_no_errno (kill (service->pid, SIGSTOP));
  g_assert_no_errno (umount2 (other, MNT_DETACH));
  fsc_test_write (path, "two");
  g_assert_no_errno (kill (service->pid, SIGCONT));
  DISPATCH_UNTIL (client, watch.n == 4 && by_link.n == 3);
  g_assert_cmpint (watch.reason, ==, FSCACHE_EVENT_CREATED);
  g_assert_cmpint (by_link.reason, ==, FSCACHE_EVENT_CREATED);

  g_assert_no_errno (umount2 (dir, MNT_DETACH));
  DISPATCH_UNTIL (client, watch.n == 5 && by_link.n == 4);
  g_assert_cmpint (watch.reason, ==, FSCACHE_EVENT_UNMOUNTED);
  g_assert_cmpint (by_link.reason, ==, FSCACHE_EVENT_UNMOUNTED);
  g_assert_cmpint (watch.error, ==, ENOENT);
  unwatch (&watch);
  unwatch (&by_link);
  g_assert_no_errno (unlink (link));
  g_assert_no_errno (rmdir (dir));
  fscache_disconnect (client);
}

/* Handles that stay with an opener: on a file system that this kernel is not known to see whole. */
static void
test_held (void)
{
  FscTestService *service = fsc_test_service_new ("[file]\nttl=0.1\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "mount", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  g_autoptr (GArray) openers = NULL;
  Watch watch;

  g_assert_no_errno (g_mkdir (dir, 0755));
  if (!may_mount || mount ("none", dir, "ramfs", 0, "mode=0755") < 0)
    g_test_skip ("ramfs cannot be mounted here");
  else
    {
      fsc_test_write (path, "one");
      watch_it (&watch, client, path);
      g_assert_cmpstr (watch.content, ==, "one");
      g_assert_cmpuint (fsc_test_service_counter (service, "held"), ==, 1);
      assert_quiet (&watch);
      replace (path, "two");
      assert_next (&watch, FSCACHE_EVENT_REPLACED, "two", 0);
      g_assert_no_errno (unlink (path));
      assert_next (&watch, FSCACHE_EVENT_DELETED, "", ENOENT);
      fsc_test_write (path, "three");
      DISPATCH_UNTIL (client, strcmp (watch.content, "three") == 0);
      g_assert_cmpint (watch.reason, !=, FSCACHE_EVENT_DELETED);

      /* The holder ends, and what it held with it; if it was just being asked, that has failed. */
      assert_quiet (&watch);
      openers = fsc_test_service_list_openers (service);
      for (guint i = 0; i < openers->len; i++)
        kill (g_array_index (openers, pid_t, i), SIGKILL);
      DISPATCH_UNTIL (client, watch.reason == FSCACHE_EVENT_EVICTED
                                  || watch.reason == FSCACHE_EVENT_FAILED);
      DISPATCH_UNTIL (client, strcmp (watch.content, "three") == 0);
      assert_quiet (&watch);
      g_assert_no_errno (umount2 (dir, MNT_DETACH));
      assert_next (&watch, FSCACHE_EVENT_UNMOUNTED, "", ENOENT);
      unwatch (&watch);
    }
  g_assert_no_errno (rmdir (dir));
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Nothing of it keeps the mount busy, if the client closes what it has. */
static void
test_drop_mount (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "mount", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);
  g_auto (FscTestProgram) ran = { 0 };
  Watch watch;

  if (!may_mount)
    {
      g_test_skip ("mounting is not allowed here");
      fscache_disconnect (client);
      return;
    }
  g_assert_no_errno (g_mkdir (dir, 0755));
  g_assert_no_errno (mount ("none", dir, "tmpfs", 0, "mode=0755"));
  fsc_test_write (path, "one");
  watch_it (&watch, client, path);
  g_assert_cmpstr (watch.content, ==, "one");
  fsc_test_service_ctl (service, &ran, FSC_TEST_WORDS ("drop", "--mount", dir));
  fsc_test_program_assert_exit (&ran, 0);
  assert_next (&watch, FSCACHE_EVENT_DROPPED, "", ECANCELED);
  g_assert_no_errno (umount2 (dir, 0));
  assert_next (&watch, FSCACHE_EVENT_UNMOUNTED, "", ENOENT);
  unwatch (&watch);
  g_assert_no_errno (rmdir (dir));
  fscache_disconnect (client);
}

static void
test_drop (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  g_auto (FscTestProgram) ran = { 0 };
  uint64_t generation;
  Watch watch;

  watch_it (&watch, client, path);
  generation = watch.generation;
  fsc_test_service_ctl (service, &ran, FSC_TEST_WORDS ("drop", path));
  fsc_test_program_assert_exit (&ran, 0);
  assert_next (&watch, FSCACHE_EVENT_DROPPED, "one", 0);
  g_assert_cmpuint (watch.generation, !=, 0);
  g_assert_cmpuint (watch.generation, !=, generation);
  assert_quiet (&watch);
  replace (path, "two");
  assert_next (&watch, FSCACHE_EVENT_REPLACED, "two", 0);
  unwatch (&watch);
  fscache_disconnect (client);
}

/* The service goes and comes */

static void
test_restart (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  Watch watch;

  watch_it (&watch, client, path);
  fsc_test_service_kill (service);
  replace (path, "two");
  fsc_test_service_start (service);
  assert_next (&watch, FSCACHE_EVENT_RECONNECTED, "two", 0);
  replace (path, "three");
  assert_next (&watch, FSCACHE_EVENT_REPLACED, "three", 0);

  /* For longer than it is waited for. */
  fsc_test_service_kill (service);
  DISPATCH_UNTIL (client, watch.reason == FSCACHE_EVENT_DISCONNECTED);
  g_assert_cmpint (watch.code, ==, FSCACHE_ERROR_NO_SERVICE);
  g_assert_cmpint (watch.fd, ==, -1);
  assert_quiet (&watch);
  fsc_test_service_start (service);
  assert_next (&watch, FSCACHE_EVENT_RECONNECTED, "three", 0);
  unwatch (&watch);
  fscache_disconnect (client);
}

/* Refusals */

static void
assert_refused (FscacheClient *client, const FscacheRequest *request, FscacheCode code, int error)
{
  Watch watch;

  watch_with (&watch, client, request);
  DISPATCH_UNTIL (client, watch.n == 1);
  g_assert_cmpint (watch.reason, ==, FSCACHE_EVENT_REFUSED);
  g_assert_true (watch.is_last);
  g_assert_cmpstr (fscache_code_name (watch.code), ==, fscache_code_name (code));
  g_assert_cmpint (watch.error, ==, error);
  g_assert_cmpint (watch.fd, ==, -1);
  unwatch (&watch);
}

static void
test_refused (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_EXCLUSIVE };

  assert_refused (client, &request, FSCACHE_ERROR_BAD_REQUEST, EINVAL);
  request = (FscacheRequest){ .uri = path, .flags = O_RDWR };
  assert_refused (client, &request, FSCACHE_ERROR_BAD_REQUEST, EINVAL);
  request = (FscacheRequest){ .uri = service->dir, .sharing = FSCACHE_SHARED };
  assert_refused (client, &request, FSCACHE_ERROR_BAD_REQUEST, EISDIR);
  request = (FscacheRequest){ .uri = "/proc/self/status", .sharing = FSCACHE_SHARED };
  assert_refused (client, &request, FSCACHE_ERROR_NOT_SERVED, EXDEV);
  request = (FscacheRequest){ .uri = "file:///%zz" };
  assert_refused (client, &request, FSCACHE_ERROR_BAD_URI, EINVAL);
  request = (FscacheRequest){ .uri = "nobody:x" };
  assert_refused (client, &request, FSCACHE_ERROR_UNKNOWN_SCHEME, EPROTONOSUPPORT);
  g_assert_cmpuint (fsc_test_service_counter (service, "watches"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "followed"), ==, 0);
  fscache_disconnect (client);
}

static void
test_no_service (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };

  fsc_test_service_kill (service);
  fscache_disconnect (client);
  g_assert_cmpint (fscache_connect (service->socket, 0, &client), <, 0);
  assert_refused (client, &request, FSCACHE_ERROR_NO_SERVICE, ECONNREFUSED);
  fscache_disconnect (client);
  fsc_test_service_start (service);
}

/* No more than half of max-handles. */
static void
test_limit (void)
{
  FscTestService *service = fsc_test_service_new ("[service]\nmax-handles=10\n", NULL);
  FscacheClient *client = fsc_test_service_connect (service);
  Watch watches[5];
  FscacheRequest request = { .sharing = FSCACHE_SHARED };
  g_autofree char *more = fsc_test_service_write (service, "more", "x");

  for (guint i = 0; i < G_N_ELEMENTS (watches); i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);

      watch_it (&watches[i], client, path);
      g_assert_cmpint (watches[i].fd, >=, 0);
    }
  request.uri = more;
  assert_refused (client, &request, FSCACHE_ERROR_LIMIT, ENOSPC);

  /* What others open goes, and not what is watched. */
  for (guint i = 0; i < 30; i++)
    {
      g_autofree char *name = g_strdup_printf ("other-%u", i);
      g_autofree char *path = fsc_test_service_write (service, name, name);
      int fd = fscache_open (client, path, O_RDONLY, NULL);

      g_assert_cmpint (fd, >=, 0);
      close (fd);
    }
  dispatch_for (client, QUIET);
  for (guint i = 0; i < G_N_ELEMENTS (watches); i++)
    {
      g_assert_cmpuint (watches[i].n, ==, 1);
      unwatch (&watches[i]);
    }
  watch_it (&watches[0], client, more);
  unwatch (&watches[0]);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Many */

#define MANY 200
#define CLIENTS 50

static void
test_many_watches (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree Watch *watches = g_new0 (Watch, MANY);
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
  guint n;

  for (guint i = 0; i < MANY; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      g_ptr_array_add (paths, fsc_test_service_write (service, name, "one"));
      watch_with (&watches[i], client,
                  &(FscacheRequest){ .uri = paths->pdata[i], .sharing = FSCACHE_SHARED });
    }
  for (guint round = 1; round <= 3; round++)
    {
      gint64 until = g_get_monotonic_time () + PATIENCE;

      do
        {
          dispatch_once (client, 100);
          n = 0;
          for (guint i = 0; i < MANY; i++)
            n += watches[i].n == round;
        }
      while (n < MANY && g_get_monotonic_time () < until);
      g_assert_cmpuint (n, ==, MANY);
      for (guint i = 0; i < MANY; i++)
        {
          g_autofree char *text = g_strdup_printf ("round %u of %u", round, i);

          if (round > 1)
            g_assert_true (g_str_has_suffix (watches[i].content, strchr (text, 'o') + 6));
          if (round < 3)
            replace (paths->pdata[i], text);
        }
    }
  for (guint i = 0; i < MANY; i++)
    unwatch (&watches[i]);
  fscache_disconnect (client);
}

static void
test_many_clients (FscTestService *service)
{
  FscacheClient *clients[CLIENTS];
  Watch watches[CLIENTS];
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  guint64 opens = fsc_test_service_counter (service, "opens");

  for (guint i = 0; i < CLIENTS; i++)
    {
      clients[i] = fsc_test_service_connect (service);
      watch_it (&watches[i], clients[i], path);
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, opens + 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "watches"), ==, CLIENTS);
  g_assert_cmpuint (fsc_test_service_counter (service, "followed"), ==, 1);
  replace (path, "two");
  for (guint i = 0; i < CLIENTS; i++)
    assert_next (&watches[i], FSCACHE_EVENT_REPLACED, "two", 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, opens + 2);
  for (guint i = 0; i < CLIENTS; i++)
    {
      if (i % 2 == 0)
        unwatch (&watches[i]);
      fscache_disconnect (clients[i]);
      if (watches[i].fd >= 0)
        close (watches[i].fd);
    }
}

/* Slow ones */

#define REPLACEMENTS 1000

static void
test_slow (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "first");
  guint64 events;
  Watch watch;

  watch_it (&watch, client, path);
  events = fsc_test_service_counter (service, "events");
  for (guint i = 0; i < REPLACEMENTS; i++)
    {
      g_autofree char *text = g_strdup_printf ("number %u", i);

      replace (path, text);
      if (i % 8 == 0)
        g_usleep (1000);
    }
  g_usleep (100 * 1000);
  DISPATCH_UNTIL (client, strcmp (watch.content, "number 999") == 0);
  assert_quiet (&watch);
  events = fsc_test_service_counter (service, "events") - events;
  g_assert_cmpuint (events, >=, 2); /* as many as a busy machine lets through */
  g_test_message ("%d replacements: %" G_GUINT64_FORMAT
                  " were noticed, %u events came, with %u coalesced",
                  REPLACEMENTS, events, watch.n - 1, watch.n_coalesced);
  g_assert_cmpuint (watch.n, <=, 4);
  g_assert_cmpuint (watch.n - 1 + watch.n_coalesced, ==, events);
  replace (path, "again");
  assert_next (&watch, FSCACHE_EVENT_REPLACED, "again", 0);
  unwatch (&watch);
  fscache_disconnect (client);
}

static int
greet (FscTestService *service)
{
  FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO, .n_fds = 1 },
          .hello = { FSC_PROTOCOL_MAGIC, 1, 1, FSC_FEATURE_EVENTS, { "raw", 3 } } };
  g_auto (FscTestPacket) packet = { 0 };
  int root = open ("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int fd = fsc_test_raw_connect (service->socket);

  fsc_test_raw_send (fd, &hello, &root);
  close (root);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_WELCOME);
  g_assert_cmpuint (packet.message.welcome.features, ==, FSC_FEATURE_EVENTS);
  return fd;
}

static void
send_watch (int fd, guint32 serial, const char *uri)
{
  FscTestRecord record
      = { .item = { .uri = { uri, strlen (uri) }, .sharing = FSC_SHARING_SHARED } };
  FscTestMessage message = { .header = { .opcode = FSC_OP_WATCH, .serial = serial },
                             .n_records = 1,
                             .records = &record };

  fsc_test_raw_send (fd, &message, NULL);
}

#define SILENT_WATCHES 200

/* It costs an event for each of its watches, and nobody else anything. */
static void
test_never_reads (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  g_autofree char *uri = g_strdup_printf ("file://%s", path);
  int silent = greet (service);
  long before, after;
  Watch watch;

  for (guint i = 1; i <= SILENT_WATCHES; i++)
    send_watch (silent, i, uri);
  watch_it (&watch, client, path);
  fsc_test_service_wait_for (service, "watches", SILENT_WATCHES + 1);
  for (guint i = 0; i < 50; i++)
    {
      replace (path, "warm");
      g_usleep (2000);
    }
  before = fsc_process_get (service->pid, "VmRSS:");
  for (guint i = 0; i < 500; i++)
    {
      g_autofree char *text = g_strdup_printf ("number %u", i);

      replace (path, text);
      g_usleep (1000);
    }
  DISPATCH_UNTIL (client, strcmp (watch.content, "number 499") == 0);
  after = fsc_process_get (service->pid, "VmRSS:");
  g_test_message ("%u watches that are not read, 500 replacements: %ld KiB more", SILENT_WATCHES,
                  after - before);
  g_assert_cmpint (after - before, <, 2048);
  unwatch (&watch);
  close (silent);
  fsc_test_service_wait_for (service, "watches", 0);
  fscache_disconnect (client);
}

/* It is told of nothing for a minute, and then that it is not told any more: by the end. */
static void
test_disconnected (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  g_autofree char *uri = g_strdup_printf ("file://%s", path);
  g_auto (FscTestPacket) packet = { 0 };
  int silent = greet (service);
  gint64 since = g_get_monotonic_time ();
  Watch watch;

  send_watch (silent, 1, uri);
  watch_it (&watch, client, path);
  fsc_test_service_wait_for (service, "watches", 2);
  while (fsc_test_service_counter (service, "watches") == 2)
    {
      g_autofree char *text = g_strdup_printf ("number %u", watch.n);

      g_assert_cmpint (g_get_monotonic_time () - since, <, 70 * G_USEC_PER_SEC);
      replace (path, text);
      assert_next (&watch, FSCACHE_EVENT_REPLACED, text, 0);
      dispatch_for (client, G_USEC_PER_SEC);
    }
  g_assert_cmpint (g_get_monotonic_time () - since, >=, 60 * G_USEC_PER_SEC);
  g_assert_true (fsc_test_raw_receive (silent, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_EVENT);
  g_assert_cmpint (packet.message.event.reason, ==, FSC_REASON_INITIAL);
  g_assert_false (fsc_test_raw_receive (silent, &packet));
  close (silent);
  unwatch (&watch);
  fscache_disconnect (client);
}

/* A client that has not said that it takes events may not watch; nor twice by one serial. */
static void
test_protocol (FscTestService *service)
{
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  g_autofree char *uri = g_strdup_printf ("file:%s", path);
  g_auto (FscTestPacket) packet = { 0 };
  FscTestMessage message = { .header = { .opcode = FSC_OP_UNWATCH, .serial = 7 }, .request = 5 };
  int fd = fsc_test_raw_greet (service->socket, TRUE);

  send_watch (fd, 5, uri);
  g_assert_false (fsc_test_raw_receive (fd, &packet));
  close (fd);

  fd = greet (service);
  send_watch (fd, 5, uri);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_EVENT);
  g_assert_cmpuint (packet.message.header.serial, ==, 5);
  g_assert_cmpuint (packet.fds.n, ==, 1);
  g_assert_cmpint (packet.message.event.reason, ==, FSC_REASON_INITIAL);
  g_assert_cmpint (packet.message.records[0].result.coherence, ==, FSC_COHERENCE_WATCHED);
  send_watch (fd, 5, uri);
  g_assert_true (fsc_test_raw_receive (fd, &packet));
  g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_ERROR);
  g_assert_cmpint (packet.message.error.error, ==, EEXIST);
  for (guint64 count = 1; count < 2; count--)
    {
      fsc_test_raw_send (fd, &message, NULL);
      g_assert_true (fsc_test_raw_receive (fd, &packet));
      g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_DONE);
      g_assert_cmpuint (packet.message.header.serial, ==, 7);
      g_assert_cmpuint (packet.message.count, ==, count);
    }
  close (fd);
}

/* How soon */

#define SAMPLES 200

static int
compare (gconstpointer a, gconstpointer b)
{
  gint64 x = *(const gint64 *) a, y = *(const gint64 *) b;

  return (x > y) - (x < y);
}

static void
test_latency (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "one");
  gint64 times[SAMPLES];
  Watch watch;

  watch_it (&watch, client, path);
  for (guint i = 0; i < SAMPLES; i++)
    {
      guint n = watch.n;
      gint64 since;

      replace (path, "x");
      since = g_get_monotonic_time ();
      DISPATCH_UNTIL (client, watch.n > n);
      times[i] = g_get_monotonic_time () - since;
      g_usleep (2000);
    }
  qsort (times, SAMPLES, sizeof times[0], compare);
  g_test_message ("from rename() to the event: p50 %d us, p99 %d us, most %d us",
                  (int) times[SAMPLES / 2], (int) times[SAMPLES * 99 / 100],
                  (int) times[SAMPLES - 1]);
  unwatch (&watch);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  fsc_process_raise_limit ();
  may_mount = fsc_test_enter_namespaces ();
  FSC_TEST_ADD ("/successor/replaced", test_replaced);
  FSC_TEST_ADD ("/successor/deleted", test_deleted);
  FSC_TEST_ADD ("/successor/created", test_created);
  FSC_TEST_ADD ("/successor/permission", test_permission);
  FSC_TEST_ADD ("/successor/independent", test_independent);
  FSC_TEST_ADD ("/successor/mounts", test_mounts);
  FSC_TEST_ADD ("/successor/unmounted", test_unmounted);
  g_test_add_func ("/successor/held", test_held);
  FSC_TEST_ADD ("/successor/drop", test_drop);
  FSC_TEST_ADD ("/successor/drop-mount", test_drop_mount);
  FSC_TEST_ADD ("/successor/restart", test_restart);
  FSC_TEST_ADD ("/successor/refused", test_refused);
  FSC_TEST_ADD ("/successor/no-service", test_no_service);
  g_test_add_func ("/successor/limit", test_limit);
  FSC_TEST_ADD ("/successor/many-watches", test_many_watches);
  FSC_TEST_ADD ("/successor/many-clients", test_many_clients);
  FSC_TEST_ADD ("/successor/slow", test_slow);
  FSC_TEST_ADD ("/successor/never-reads", test_never_reads);
  if (g_test_slow ()) /* -m slow: it takes a minute */
    FSC_TEST_ADD ("/successor/disconnected", test_disconnected);
  FSC_TEST_ADD ("/successor/protocol", test_protocol);
  FSC_TEST_ADD ("/successor/latency", test_latency);
  return g_test_run ();
}
