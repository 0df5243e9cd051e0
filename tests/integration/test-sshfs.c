/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A mount that can hang: a directory of this machine through sshfs, without sshd, whose server is
 * stopped while its handles are cached. Only requests for it fail, each by its deadline; the
 * service itself never has a descriptor of it, stops at once, and has a successor at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"
#include "tests/integration/process.h"

#define SFTP_SERVER "/usr/lib/openssh/sftp-server"
#define TTL_MS 1000
#define DEADLINE_MS 1000
#define PF_EXITING 0x4 /* of the flags in /proc/PID/stat */

static const char config[] = "[lanes]\ndeadline=1\n[file]\nttl=1\n";

static const char unpack_config[]
    = "[lanes]\ndeadline=1\n[file]\nttl=1\n[unpack]\nttl=1\ndeadline=1\n";

/* All of the mount is with one process, and nothing happens but what the test does. */
static const char one_opener_config[] = "[lanes]\nopeners=1\ndeadline=5\n[file]\nttl=60\n";

/* The mount */

typedef struct
{
  char *dir;    /* with all that follows */
  char *source; /* what the server serves */
  char *target; /* where it is mounted */
  char *pid_file;
  char *log; /* of the server: each OPEN is in it */
  pid_t sshfs;
  pid_t server;
  int lifeline; /* tells the watcher of sshfs; when it is closed, however that comes, it cleans up
                 */
  pid_t watcher;
} Mount;

static char *
find_missing (void)
{
  g_autofree char *sshfs = g_find_program_in_path ("sshfs");
  g_autofree char *fusermount = g_find_program_in_path ("fusermount3");

  if (sshfs == NULL || fusermount == NULL)
    return g_strdup ("there is no sshfs (package sshfs)");
  if (access (SFTP_SERVER, X_OK) < 0)
    return g_strdup ("there is no " SFTP_SERVER " (package openssh-sftp-server)");
  if (access ("/dev/fuse", R_OK | W_OK) < 0)
    return g_strdup_printf ("/dev/fuse: %s", g_strerror (errno));
  return NULL;
}

static void
unmount_lazily (const char *target)
{
  const char *arguments[] = { "fusermount3", "-uzq", target, NULL };

  g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                NULL, NULL, NULL, NULL, NULL, NULL);
}

static void
remove_tree (const char *path)
{
  const char *arguments[] = { "rm", "-rf", "--one-file-system", path, NULL };

  g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                NULL);
}

/* Its pid is known once it has been started by sshfs, through the wrapper. */
static pid_t
read_server (const Mount *mount)
{
  g_autofree char *content = NULL;

  return g_file_get_contents (mount->pid_file, &content, NULL, NULL) ? atoi (content) : 0;
}

/* Whether a process is on its way out, however long it takes: one that has a file of the mount open
 * hangs while it closes it, and closes nothing else before it has. */
static gboolean
is_exiting (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", pid);
  g_autofree char *content = NULL;
  const char *after;
  unsigned flags;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return TRUE;
  after = strrchr (content, ')'); /* the name may hold anything */
  return after == NULL || sscanf (after + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1
         || (flags & PF_EXITING) != 0;
}

/* A process that outlives a test that fails, and leaves nothing mounted and nothing stopped. */
static void
wait_for_end (int lifeline, pid_t test, pid_t *sshfs)
{
  for (;;)
    {
      struct pollfd pollfd = { .fd = lifeline, .events = POLLIN };

      if (poll (&pollfd, 1, 200) > 0 && read (lifeline, sshfs, sizeof *sshfs) == 0)
        return;
      if (is_exiting (test))
        return;
    }
}

static void
watch (Mount *mount)
{
  pid_t test = getpid ();
  int ends[2];

  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  mount->watcher = fork ();
  g_assert_cmpint (mount->watcher, >=, 0);
  if (mount->watcher == 0)
    {
      pid_t server, sshfs = 0;

      setsid ();
      close (ends[1]);
      wait_for_end (ends[0], test, &sshfs);
      server = read_server (mount);
      if (sshfs > 0)
        kill (sshfs, SIGKILL); /* all that hangs ends with it */
      if (server > 0)
        kill (server, SIGKILL);
      unmount_lazily (mount->target);
      remove_tree (mount->dir);
      _exit (0);
    }
  close (ends[0]);
  mount->lifeline = ends[1];
}

static char *
write_wrapper (const Mount *mount)
{
  char *path = g_build_filename (mount->dir, "ssh", NULL);
  g_autofree char *script
      = g_strdup_printf ("#!/bin/sh\necho $$ > '%s'\nexec " SFTP_SERVER " -e -l INFO 2> '%s'\n",
                         mount->pid_file, mount->log);

  g_assert_true (g_file_set_contents_full (path, script, -1, G_FILE_SET_CONTENTS_NONE, 0700, NULL));
  return path;
}

static void
run_sshfs (Mount *mount)
{
  g_autofree char *wrapper = write_wrapper (mount);
  g_autofree char *options = g_strdup_printf ("ssh_command=%s,dir_cache=no", wrapper);
  g_autofree char *source = g_strdup_printf ("here:%s", mount->source);

  mount->sshfs = fork ();
  g_assert_cmpint (mount->sshfs, >=, 0);
  if (mount->sshfs == 0)
    {
      int null = open ("/dev/null", O_RDWR);

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      dup2 (null, 0);
      dup2 (null, 1);
      execlp ("sshfs", "sshfs", "-f", "-o", options, source, mount->target, NULL);
      _exit (127);
    }
  g_assert_cmpint (write (mount->lifeline, &mount->sshfs, sizeof mount->sshfs), ==,
                   sizeof mount->sshfs);
}

static gboolean
is_mounted (const Mount *mount)
{
  struct statfs fs;

  return statfs (mount->target, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

static void
mount_free (Mount *mount)
{
  int status;

  close (mount->lifeline);
  if (mount->watcher > 0)
    waitpid (mount->watcher, &status, 0);
  if (mount->sshfs > 0)
    waitpid (mount->sshfs, &status, 0); /* it ends with its mount */
  g_free (mount->dir);
  g_free (mount->source);
  g_free (mount->target);
  g_free (mount->pid_file);
  g_free (mount->log);
  g_free (mount);
}

/* NULL if sshfs cannot mount here, which some containers do not allow. */
static Mount *
mount_new (void)
{
  Mount *mount = g_new0 (Mount, 1);
  int status;

  mount->dir = g_dir_make_tmp ("fscache-sshfs-XXXXXX", NULL);
  mount->source = g_build_filename (mount->dir, "source", NULL);
  mount->target = g_build_filename (mount->dir, "target", NULL);
  mount->pid_file = g_build_filename (mount->dir, "pid", NULL);
  mount->log = g_build_filename (mount->dir, "log", NULL);
  g_assert_no_errno (g_mkdir (mount->source, 0700));
  g_assert_no_errno (g_mkdir (mount->target, 0700));
  watch (mount);
  run_sshfs (mount);
  for (int i = 0; i < 1000 && !is_mounted (mount); i++)
    {
      if (waitpid (mount->sshfs, &status, WNOHANG) == mount->sshfs)
        {
          mount->sshfs = 0;
          mount_free (mount);
          return NULL;
        }
      g_usleep (10000);
    }
  mount->server = read_server (mount);
  g_assert_cmpint (mount->server, >, 0);
  return mount;
}

/* How often the server was told to open a file. */
static guint
count_opens (const Mount *mount, const char *name)
{
  g_autofree char *needle = g_strdup_printf ("open \"%s/%s\"", mount->source, name);
  g_autofree char *log = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (mount->log, &log, NULL, NULL));
  for (const char *at = log; (at = strstr (at, needle)) != NULL; at++)
    n++;
  return n;
}

/* Puts a file there behind the kernel's back. */
static void
put (const Mount *mount, const char *name, const char *content)
{
  g_autofree char *path = g_build_filename (mount->source, name, NULL);

  g_assert_true (g_file_set_contents (path, content, -1, NULL)); /* replaces it by another */
}

/* Returns whether it could be unmounted, and that not only for the eye. */
static gboolean
unmount (Mount *mount)
{
  const char *arguments[] = { "fusermount3", "-u", "-q", mount->target, NULL };
  int status = 0;

  g_assert_true (g_spawn_sync (NULL, (char **) arguments, NULL,
                               G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL,
                               NULL, &status, NULL));
  return status == 0;
}

/* The fixture */

typedef struct
{
  Mount *mount;
  FscTestService *service;
  FscacheClient *client;
  char *local;  /* a file that has nothing to do with the mount */
  pid_t victim; /* who stops answering: the server, or sshfs itself */
} Fixture;

typedef struct
{
  const char *path;
  void (*func) (Fixture *fixture);
  gboolean is_sshfs_the_victim;
  const char *config;
} Test;

static void
stop_victim (Fixture *fixture)
{
  g_assert_no_errno (kill (fixture->victim, SIGSTOP));
}

static void
continue_victim (Fixture *fixture)
{
  g_assert_no_errno (kill (fixture->victim, SIGCONT));
}

static int
count_of_service (Fixture *fixture)
{
  return fsc_process_count_descriptors (fixture->service->pid, fixture->mount->target);
}

/* That is the promise all others rest on. */
static void
assert_not_held_by_service (Fixture *fixture)
{
  g_assert_cmpint (fsc_process_count_descriptors (fixture->service->pid, "/"), >, 0);
  g_assert_cmpint (count_of_service (fixture), ==, 0);
}

static void
run_fixture (gconstpointer data)
{
  const Test *test = data;
  g_autofree char *missing = find_missing ();
  Fixture fixture = { 0 };
  char *descriptors = fsc_test_list_descriptors ();

  if (missing == NULL)
    {
      fixture.mount = mount_new ();
      if (fixture.mount == NULL)
        missing = g_strdup ("sshfs cannot mount here");
    }
  if (missing != NULL)
    {
      g_test_skip (missing);
      g_free (descriptors);
      return;
    }
  fixture.service = fsc_test_service_new (test->config, NULL);
  fixture.client = fsc_test_service_connect (fixture.service);
  fixture.local = fsc_test_service_write (fixture.service, "local", "local");

  fixture.victim = test->is_sshfs_the_victim ? fixture.mount->sshfs : fixture.mount->server;

  test->func (&fixture);

  assert_not_held_by_service (&fixture);
  fscache_disconnect (fixture.client);
  fsc_test_service_free (fixture.service);
  mount_free (fixture.mount);
  g_free (fixture.local);
  fsc_test_assert_descriptors (descriptors);
}

static char *
get_path (Fixture *fixture, const char *name)
{
  return g_build_filename (fixture->mount->target, name, NULL);
}

static void
open_file (Fixture *fixture, const char *name, FscacheSharing sharing, unsigned options,
           FscacheReply *reply)
{
  g_autofree char *path = get_path (fixture, name);
  FscacheRequest request = { .uri = path, .sharing = sharing, .options = options };

  fscache_open_with (fixture->client, &request, reply);
}

static void
assert_content (int fd, const char *content)
{
  char found[64] = { 0 };

  g_assert_cmpint (pread (fd, found, sizeof found - 1, 0), ==, strlen (content));
  g_assert_cmpstr (found, ==, content);
}

/* Opens it, looks at what is in it, closes it. */
static void
assert_opens (Fixture *fixture, const char *name, FscacheSharing sharing, unsigned options,
              FscacheSource source, const char *content)
{
  FscacheReply reply;

  open_file (fixture, name, sharing, options, &reply);
  g_assert_cmpstr (reply.message, ==, "");
  g_assert_cmpint (reply.source, ==, source);
  g_assert_cmpint (reply.sharing, ==, sharing);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_TTL);
  assert_content (reply.fd, content);
  fscache_reply_clear (fixture->client, &reply);
}

/* Returns how long it took, in microseconds. */
static gint64
assert_local (Fixture *fixture)
{
  gint64 since = g_get_monotonic_time ();
  FscacheReply reply;

  g_assert_cmpint (fscache_open (fixture->client, fixture->local, O_RDONLY, &reply), >=, 0);
  since = g_get_monotonic_time () - since;
  assert_content (reply.fd, "local");
  fscache_reply_clear (fixture->client, &reply);
  return since;
}

/* All handles of it have been closed, or it would be busy. */
static void
assert_unmounts (Fixture *fixture)
{
  gboolean is_unmounted = FALSE;

  g_assert_cmpint (fscache_drop_matching (fixture->client, "*", NULL), >=, 1);
  for (int i = 0; i < 200 && !is_unmounted; i++)
    {
      is_unmounted = unmount (fixture->mount);
      if (!is_unmounted)
        g_usleep (10000);
    }
  g_assert_true (is_unmounted);
}

/* Tests: while all is well */

static void
look_at_entry (const FscacheEntry *entry, void *data)
{
  g_assert_true (entry->is_held);
  g_assert_cmpint (entry->coherence, ==, FSCACHE_COHERENCE_TTL);
  g_assert_cmpuint (entry->ttl_ms, ==, TTL_MS);
  *(guint64 *) data = entry->hits;
}

static void
test_held (Fixture *fixture)
{
  g_autofree char *path = get_path (fixture, "file");
  guint64 hits = 0, checks;

  put (fixture->mount, "file", "content");
  assert_opens (fixture, "file", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");
  g_assert_cmpuint (count_opens (fixture->mount, "file"), ==, 1);
  checks = fsc_test_service_counter (fixture->service, "checks");
  for (guint i = 0; i < 100; i++)
    assert_opens (fixture, "file", FSCACHE_SHARED, 0, FSCACHE_SOURCE_CACHE, "content");
  g_assert_cmpuint (count_opens (fixture->mount, "file"), ==, 1);
  g_assert_cmpint (fsc_test_service_counter (fixture->service, "checks") - checks, <=, 1);
  g_assert_cmpuint (fsc_test_service_counter (fixture->service, "held"), ==, 1);
  assert_not_held_by_service (fixture);

  g_assert_cmpint (fscache_info (fixture->client, path, look_at_entry, &hits, NULL), ==, 1);
  g_assert_cmpuint (hits, ==, 100);

  /* A description of one's own is another OPEN, made by whom it is for. */
  assert_opens (fixture, "file", FSCACHE_INDEPENDENT, 0, FSCACHE_SOURCE_CACHE, "content");
  g_assert_cmpuint (count_opens (fixture->mount, "file"), ==, 2);
}

/* A file replaced at the server is seen when the time-to-live is over, or at once by who insists.
 */
static void
test_replaced (Fixture *fixture)
{
  FscacheReply reply;
  gint64 since;

  put (fixture->mount, "file", "content");
  since = g_get_monotonic_time ();
  assert_opens (fixture, "file", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");

  put (fixture->mount, "file", "another content");
  open_file (fixture, "file", FSCACHE_SHARED, 0, &reply);
  if (g_get_monotonic_time () - since < TTL_MS * 1000)
    g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
  fscache_reply_clear (fixture->client, &reply);
  assert_opens (fixture, "file", FSCACHE_SHARED, FSCACHE_REVALIDATE, FSCACHE_SOURCE_OPENED,
                "another content");

  put (fixture->mount, "file", "and one more content");
  g_usleep (TTL_MS * 1000 + 100000);
  assert_opens (fixture, "file", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "and one more content");
}

static void
test_unmount (Fixture *fixture)
{
  put (fixture->mount, "file", "content");
  put (fixture->mount, "other", "content");
  assert_opens (fixture, "file", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");
  assert_opens (fixture, "other", FSCACHE_EXCLUSIVE, 0, FSCACHE_SOURCE_OPENED, "content");
  g_assert_false (unmount (fixture->mount)); /* its handles keep it busy */

  assert_unmounts (fixture);
}

/* Tests: while the server is stopped */

#define DEAD_FILES 12

typedef struct
{
  FscacheReply replies[DEAD_FILES];
  gint64 took[DEAD_FILES]; /* microseconds */
  gint64 since;
  guint n;
} Pending;

static void
note_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  Pending *pending = data;

  pending->replies[index] = *reply;
  pending->took[index] = g_get_monotonic_time () - pending->since;
  pending->n++;
}

static void
submit_one (Fixture *fixture, const char *name, Pending *pending)
{
  g_autofree char *path = get_path (fixture, name);
  FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };

  memset (pending, 0, sizeof *pending);
  pending->since = g_get_monotonic_time ();
  g_assert_cmpint (fscache_submit (fixture->client, &request, 1, note_reply, pending, NULL), ==, 0);
}

static void
submit (Fixture *fixture, Pending *pending)
{
  FscacheRequest requests[DEAD_FILES] = { 0 };
  g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);

  memset (pending, 0, sizeof *pending);
  pending->since = g_get_monotonic_time ();
  for (guint i = 0; i < DEAD_FILES; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      g_ptr_array_add (paths, get_path (fixture, name));
      requests[i] = (FscacheRequest){ .uri = paths->pdata[i], .sharing = FSCACHE_SHARED };
    }
  g_assert_cmpint (
      fscache_submit (fixture->client, requests, DEAD_FILES, note_reply, pending, NULL), ==, 0);
}

/* Within the deadline, or soon after, with an error that says of what and why. */
static void
assert_failed (const FscacheReply *reply, const char *name, gint64 took)
{
  g_assert_cmpint (reply->fd, ==, -1);
  g_assert_nonnull (strstr (reply->message, name));
  g_assert_cmpint (took, <, DEADLINE_MS * 1000 + 1000000);
}

static void
assert_timed_out (const FscacheReply *reply, const char *name, gint64 took)
{
  assert_failed (reply, name, took);
  g_assert_cmpint (reply->code, ==, FSCACHE_ERROR_TIMED_OUT);
  g_assert_cmpint (reply->error, ==, ETIMEDOUT);
  g_assert_cmpint (took, >, DEADLINE_MS * 1000 - 100000);
}

static void
test_stopped (Fixture *fixture)
{
  gint64 longest = 0, since;
  guint n_local = 0, n_slow = 0;
  Pending pending;
  FscacheReply reply;

  for (guint i = 0; i < DEAD_FILES; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      put (fixture->mount, name, "content");
    }
  assert_local (fixture);
  assert_opens (fixture, "file-0", FSCACHE_SHARED, FSCACHE_REVALIDATE, FSCACHE_SOURCE_OPENED,
                "content");
  stop_victim (fixture);

  /* Its holder hands it out without asking anybody. */
  since = g_get_monotonic_time ();
  open_file (fixture, "file-0", FSCACHE_SHARED, 0, &reply);
  if (g_get_monotonic_time () - since < TTL_MS * 1000 / 2)
    {
      g_assert_cmpstr (reply.message, ==, "");
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
    }
  g_usleep (TTL_MS * 1000 + 100000);

  /* From here on all has to be asked for, and nobody answers. */
  submit (fixture, &pending);
  while (pending.n < DEAD_FILES)
    {
      gint64 took = assert_local (fixture);

      longest = MAX (longest, took);
      n_local++;
      n_slow += took > 50000;
      g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
      g_assert_cmpint (g_get_monotonic_time () - pending.since, <, 10 * G_USEC_PER_SEC);
      assert_not_held_by_service (fixture);
    }
  for (guint i = 0; i < DEAD_FILES; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      assert_timed_out (&pending.replies[i], name, pending.took[i]);
    }
  g_test_message ("%u other files opened meanwhile, none in more than %.1f ms: %s", n_local,
                  (double) longest / 1000, pending.replies[0].message);
  g_assert_cmpuint (n_local, >, 100);
  g_assert_cmpint (longest, <, DEADLINE_MS * 1000);
  g_assert_cmpuint (n_slow, <, 5);

  /* Nor does it get worse. */
  since = g_get_monotonic_time ();
  open_file (fixture, "file-1", FSCACHE_SHARED, 0, &pending.replies[0]);
  assert_failed (&pending.replies[0], "file-1", g_get_monotonic_time () - since);
  assert_local (fixture);
  if (fixture->victim == fixture->mount->server) /* sshfs has taken their questions */
    g_assert_cmpuint (fsc_test_service_counter (fixture->service, "openers_stuck"), >, 0);

  continue_victim (fixture);
  assert_content (reply.fd, "content"); /* the handle has outlived its holder */
  fscache_reply_clear (fixture->client, &reply);
  g_usleep (100000); /* the last opener is given up a moment after its request */
  fsc_test_service_wait_for (fixture->service, "openers_stuck", 0);
  assert_opens (fixture, "file-1", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");
}

/* SIGTERM; whatever its openers are stuck in. */
static void
stop_service (FscTestService *service)
{
  gint64 since = g_get_monotonic_time ();
  int status = 0;
  pid_t ended = 0;

  g_assert_no_errno (kill (service->pid, SIGTERM));
  for (int i = 0; ended == 0 && i < 10000; i++)
    {
      ended = waitpid (service->pid, &status, WNOHANG);
      if (ended == 0)
        g_usleep (1000);
    }
  g_assert_cmpint (ended, ==, service->pid);
  g_assert_cmpint (status, ==, 0);
  g_test_message ("the service stopped within %.0f ms",
                  (double) (g_get_monotonic_time () - since) / 1000);
  g_assert_cmpint (g_get_monotonic_time () - since, <, G_USEC_PER_SEC);
  service->pid = 0;
}

static void
test_stop_service (Fixture *fixture)
{
  g_autoptr (GArray) openers = NULL;
  Pending pending;
  gint64 since;

  put (fixture->mount, "file-0", "content");
  assert_local (fixture);
  assert_opens (fixture, "file-0", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");
  openers = fsc_test_service_list_openers (fixture->service);
  stop_victim (fixture);
  g_usleep (TTL_MS * 1000 + 100000);
  submit (fixture, &pending);
  g_usleep (200000);
  g_assert_cmpuint (pending.n, ==, 0);
  fscache_disconnect (fixture->client);
  g_assert_cmpuint (pending.n, ==, DEAD_FILES);

  stop_service (fixture->service);
  since = g_get_monotonic_time ();
  fsc_test_service_start (fixture->service);
  g_assert_cmpint (g_get_monotonic_time () - since, <, 2 * G_USEC_PER_SEC);
  fixture->client = fsc_test_service_connect (fixture->service);
  g_assert_cmpint (assert_local (fixture), <, G_USEC_PER_SEC);

  /* And once more with openers that were given up. */
  submit (fixture, &pending);
  while (pending.n < DEAD_FILES)
    {
      assert_local (fixture);
      g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
    }
  fscache_disconnect (fixture->client);
  stop_service (fixture->service);
  fsc_test_service_start (fixture->service);
  fixture->client = fsc_test_service_connect (fixture->service);
  assert_local (fixture);

  continue_victim (fixture);
  for (guint i = 0; i < openers->len; i++)
    {
      pid_t opener = g_array_index (openers, pid_t, i);

      for (int n = 0; fsc_process_get (opener, "VmRSS:") >= 0 && n < 500; n++)
        g_usleep (10000);
      g_assert_cmpint (fsc_process_get (opener, "VmRSS:"), <, 0); /* gone, or only to be reaped */
    }
  assert_opens (fixture, "file-0", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "content");
  assert_unmounts (fixture);
}

/* A holder hands out whatever else it does. The three tests are of one opener of the mount, which
 * opens, holds and closes. */

#define HAND_OUTS 10
#define STUCK_US 200000 /* after so long, whoever asks a stopped process is waiting for it */
#define AT_ONCE_US 500000

typedef struct
{
  FscacheReply replies[4 * HAND_OUTS];
  guint n;
} HandedOut;

static void
drop (Fixture *fixture, const char *name)
{
  g_autofree char *path = get_path (fixture, name);

  g_assert_cmpint (fscache_drop (fixture->client, path, NULL), ==, 1);
}

/* A duplicate that is closed would hang this test: they are kept until the victim goes on. */
static void
assert_handed_out (Fixture *fixture, const char *name, HandedOut *handed_out)
{
  gint64 since = g_get_monotonic_time ();

  for (guint i = 0; i < HAND_OUTS; i++)
    {
      FscacheReply *reply = &handed_out->replies[handed_out->n++];

      open_file (fixture, name, FSCACHE_SHARED, 0, reply);
      g_assert_cmpstr (reply->message, ==, "");
      g_assert_cmpint (reply->source, ==, FSCACHE_SOURCE_CACHE);
    }
  g_assert_cmpint (g_get_monotonic_time () - since, <, AT_ONCE_US);
}

static void
clear_handed_out (Fixture *fixture, HandedOut *handed_out, const char *content)
{
  for (guint i = 0; i < handed_out->n; i++)
    {
      assert_content (handed_out->replies[i].fd, content);
      fscache_reply_clear (fixture->client, &handed_out->replies[i]);
    }
}

static void
assert_opened_later (Fixture *fixture, Pending *pending, const char *content)
{
  FscacheReply *reply = &pending->replies[0];

  while (pending->n == 0)
    {
      g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
      g_assert_cmpint (g_get_monotonic_time () - pending->since, <, 10 * G_USEC_PER_SEC);
      g_usleep (1000);
    }
  g_assert_cmpstr (reply->message, ==, "");
  g_assert_cmpint (reply->source, ==, FSCACHE_SOURCE_OPENED);
  assert_content (reply->fd, content);
  fscache_reply_clear (fixture->client, reply);
}

/* All was done by the one process: it held the handles all the time. */
static void
assert_same_opener (Fixture *fixture, guint64 n_started)
{
  g_assert_cmpuint (fsc_test_service_counter (fixture->service, "openers_started"), ==, n_started);
  g_assert_cmpuint (fsc_test_service_counter (fixture->service, "openers_failed"), ==, 0);
}

static void
test_handed_out_while_opening (Fixture *fixture)
{
  HandedOut handed_out = { 0 };
  Pending pending;
  guint64 n_started;

  put (fixture->mount, "held", "held content");
  put (fixture->mount, "dropped", "dropped content");
  put (fixture->mount, "slow", "slow content");
  assert_opens (fixture, "held", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "held content");
  assert_opens (fixture, "dropped", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "dropped content");
  n_started = fsc_test_service_counter (fixture->service, "openers_started");

  stop_victim (fixture);
  submit_one (fixture, "slow", &pending);
  g_usleep (STUCK_US);
  assert_handed_out (fixture, "held", &handed_out);
  drop (fixture, "dropped"); /* what is to be closed waits */
  g_usleep (STUCK_US);
  assert_handed_out (fixture, "held", &handed_out);
  g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
  g_assert_cmpuint (pending.n, ==, 0);

  continue_victim (fixture);
  assert_opened_later (fixture, &pending, "slow content");
  clear_handed_out (fixture, &handed_out, "held content");
  assert_opens (fixture, "dropped", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "dropped content");
  assert_same_opener (fixture, n_started);
  assert_unmounts (fixture);
}

/* It is sshfs that is asked when a file is closed. */
static void
test_handed_out_while_closing (Fixture *fixture)
{
  HandedOut handed_out = { 0 };
  Pending pending;
  guint64 n_started;

  put (fixture->mount, "held", "held content");
  put (fixture->mount, "dropped", "dropped content");
  put (fixture->mount, "slow", "slow content");
  assert_opens (fixture, "held", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "held content");
  assert_opens (fixture, "dropped", FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, "dropped content");
  n_started = fsc_test_service_counter (fixture->service, "openers_started");

  stop_victim (fixture);
  drop (fixture, "dropped");
  g_usleep (STUCK_US);
  assert_handed_out (fixture, "held", &handed_out);
  submit_one (fixture, "slow", &pending); /* waits behind what is being closed */
  g_usleep (STUCK_US);
  assert_handed_out (fixture, "held", &handed_out);
  g_assert_cmpint (fscache_dispatch (fixture->client), >=, 0);
  g_assert_cmpuint (pending.n, ==, 0);

  continue_victim (fixture);
  assert_opened_later (fixture, &pending, "slow content");
  clear_handed_out (fixture, &handed_out, "held content");
  assert_same_opener (fixture, n_started);
  assert_unmounts (fixture);
}

/* Enough for its table to grow, with gaps in it that are filled again. */
static void
test_many_held (Fixture *fixture)
{
  enum
  {
    MANY = 100
  };

  for (guint i = 0; i < MANY; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);

      put (fixture->mount, name, name);
      assert_opens (fixture, name, FSCACHE_SHARED, 0, FSCACHE_SOURCE_OPENED, name);
    }
  for (guint round = 2; round < 5; round++)
    {
      for (guint i = 0; i < MANY; i += round)
        {
          g_autofree char *name = g_strdup_printf ("file-%u", i);

          drop (fixture, name);
        }
      for (guint i = MANY; i-- > 0;)
        {
          g_autofree char *name = g_strdup_printf ("file-%u", i);

          assert_opens (fixture, name, FSCACHE_SHARED, 0,
                        i % round == 0 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE, name);
        }
      g_assert_cmpuint (fsc_test_service_counter (fixture->service, "held"), ==, MANY);
    }
  assert_unmounts (fixture);
}

/* A client that sends a handle of the dead mount, instead of its "/" or where none is wanted,
 * delays nobody but itself: the service does not close what might hang it. */
static void
test_sent (Fixture *fixture)
{
  g_autofree char *path = get_path (fixture, "file");
  int handle, fds[8];
  guint8 packet[64];
  int r;

  put (fixture->mount, "file", "content");
  handle = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_cmpint (handle, >=, 0);
  assert_local (fixture);
  stop_victim (fixture);
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    {
      if (i % 2 == 0)
        {
          fds[i] = fsc_test_raw_connect (fixture->service->socket);
          g_assert_cmpint (fsc_test_send_hello (fds[i], handle), ==, 0);
        }
      else
        {
          size_t length = fsc_test_write_empty (packet, sizeof packet, FSC_OP_PING, 1);

          fds[i] = fsc_test_raw_greet (fixture->service->socket, TRUE);
          r = fsc_channel_send (fds[i], packet, length, &handle, 1, 0);
          g_assert_true (r == 0 || r == -EPERM);
          if (r < 0) /* the kernel turns descriptors away: nothing has come */
            close (g_steal_fd (&fds[i]));
        }
      g_assert_cmpint (assert_local (fixture), <, DEADLINE_MS * 1000);
    }
  for (guint i = 0; i < G_N_ELEMENTS (fds); i++)
    if (fds[i] >= 0)
      {
        g_assert_cmpint (fsc_channel_receive (fds[i], packet, sizeof packet, NULL, 0, NULL, 0), ==,
                         -ECONNRESET);
        close (fds[i]);
      }
  continue_victim (fixture);
  close (handle);
  for (int i = 0; i < 500 && count_of_service (fixture) > 0; i++)
    g_usleep (10000);
}

static FscacheSource
borrow_once (Fixture *fixture, const char *path, const char *content)
{
  FscacheBorrow borrow;

  g_assert_cmpint (fscache_borrow (fixture->client, path, &borrow, NULL), >=, 0);
  g_assert_cmpint (borrow.coherence, ==, FSCACHE_COHERENCE_TTL);
  assert_content (borrow.fd, content);
  fscache_return (fixture->client, &borrow);
  return borrow.source;
}

/* Until its time-to-live ends, and no longer, what is borrowed costs the server nothing. */
static void
test_borrow (Fixture *fixture)
{
  g_autofree char *path = get_path (fixture, "file");
  gint64 since = g_get_monotonic_time ();
  guint n_hits = 0;

  put (fixture->mount, "file", "first");
  g_assert_cmpint (borrow_once (fixture, path, "first"), ==, FSCACHE_SOURCE_OPENED);
  while (g_get_monotonic_time () - since < TTL_MS * 1000 / 2)
    n_hits += borrow_once (fixture, path, "first") == FSCACHE_SOURCE_KEPT;
  g_assert_cmpuint (n_hits, >, 0);
  g_assert_cmpuint (count_opens (fixture->mount, "file"), ==, 1);

  put (fixture->mount, "file", "second");
  g_usleep (TTL_MS * 1000 + 10000);
  g_assert_cmpint (borrow_once (fixture, path, "second"), ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (borrow_once (fixture, path, "second"), ==, FSCACHE_SOURCE_KEPT);

  /* What is kept keeps the mount busy, until it is let go of. */
  g_assert_cmpint (fscache_drop (fixture->client, path, NULL), ==, 1);
  g_assert_false (unmount (fixture->mount));
  g_assert_cmpint (fscache_set_borrow_limit (fixture->client, 0), ==, 0);
  g_assert_cmpint (borrow_once (fixture, path, "second"), ==, FSCACHE_SOURCE_OPENED);
  assert_unmounts (fixture);
}

/* The last event of a watch. */
typedef struct
{
  guint n;
  FscacheEventReason reason;
  int error;
  char content[16];
} Seen;

static void
take_event (FscacheClient *client, const FscacheEvent *event, void *data)
{
  Seen *seen = data;

  *seen = (Seen){ .n = seen->n + 1, .reason = event->reason, .error = event->reply->error };
  if (event->reply->fd < 0)
    return;
  g_assert_cmpint (pread (event->reply->fd, seen->content, sizeof seen->content - 1, 0), >=, 0);
  close (event->reply->fd);
}

static void
assert_event (Fixture *fixture, Seen *seen, FscacheEventReason reason, int error,
              const char *content)
{
  gint64 until = g_get_monotonic_time () + 20 * G_USEC_PER_SEC;
  guint n = seen->n;

  while (seen->n == n && g_get_monotonic_time () < until)
    {
      struct pollfd pollfd = { .fd = fscache_get_poll_fd (fixture->client), .events = POLLIN };

      poll (&pollfd, 1, 100);
      fscache_dispatch (fixture->client);
    }
  g_assert_cmpstr (fscache_event_reason_name (seen->reason), ==,
                   fscache_event_reason_name (reason));
  g_assert_cmpint (seen->error, ==, error);
  g_assert_cmpstr (seen->content, ==, content);
  g_assert_cmpuint (seen->n, ==, n + 1);
}

/* Who watches is told of another file when the time-to-live has passed, and of a server that does
 * not answer, which holds up nobody else. */
static void
test_watched (Fixture *fixture)
{
  g_autofree char *path = get_path (fixture, "file");
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  Seen seen = { 0 };
  uint64_t id;

  put (fixture->mount, "file", "first");
  g_assert_cmpint (fscache_watch (fixture->client, &request, take_event, &seen, &id), ==, 0);
  assert_event (fixture, &seen, FSCACHE_EVENT_INITIAL, 0, "first");
  g_assert_cmpuint (fsc_test_service_counter (fixture->service, "held"), ==, 1);
  assert_not_held_by_service (fixture);
  put (fixture->mount, "file", "second");
  assert_event (fixture, &seen, FSCACHE_EVENT_REPLACED, 0, "second");
  stop_victim (fixture);
  assert_event (fixture, &seen, FSCACHE_EVENT_FAILED, ETIMEDOUT, "");
  g_assert_cmpint (assert_local (fixture), <, DEADLINE_MS * 1000 / 2);
  continue_victim (fixture);
  assert_event (fixture, &seen, FSCACHE_EVENT_REPLACED, 0, "second");
  fscache_unwatch (fixture->client, id);
}

/* What is unpacked from there is here, and the service has it; only its source is asked of the
 * mount, when the time-to-live is over, and keeps nobody else waiting if it does not answer. */

static void
pack (Fixture *fixture, const char *content)
{
  g_autofree char *command
      = g_strdup_printf ("printf %s | gzip > '%s/a.gz'", content, fixture->mount->source);
  const char *arguments[] = { "sh", "-c", command, NULL };
  int status = -1;

  g_assert_true (g_spawn_sync (NULL, (char **) arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL,
                               NULL, NULL, &status, NULL));
  g_assert_cmpint (status, ==, 0);
}

static void
assert_unpacks (Fixture *fixture, unsigned options, FscacheSource source, const char *content)
{
  g_autofree char *uri = g_strdup_printf ("unpack://%s/a.gz", fixture->mount->target);
  const FscacheRequest request = { .uri = uri, .sharing = FSCACHE_SHARED, .options = options };
  FscacheReply reply;

  if (fscache_open_with (fixture->client, &request, &reply) < 0)
    g_error ("%s", reply.message);
  g_assert_cmpint (reply.source, ==, source);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_TTL);
  assert_content (reply.fd, content);
  fscache_reply_clear (fixture->client, &reply);
}

static void
test_unpack (Fixture *fixture)
{
  g_autofree char *program = fsc_test_build_path ("fscache/openers/open-unpack");
  g_autofree char *uri = g_strdup_printf ("unpack://%s/a.gz", fixture->mount->target);
  guint opens;
  FscacheReply reply;

  if (access (program, X_OK) < 0)
    {
      g_test_skip ("it was built without open-unpack");
      return;
    }
  pack (fixture, "first");
  assert_unpacks (fixture, 0, FSCACHE_SOURCE_OPENED, "first");
  opens = count_opens (fixture->mount, "a.gz");
  for (guint i = 0; i < 10; i++)
    assert_unpacks (fixture, 0, FSCACHE_SOURCE_CACHE, "first");
  g_assert_cmpuint (count_opens (fixture->mount, "a.gz"), ==, opens);
  g_assert_cmpuint (fsc_test_service_counter (fixture->service, "held"), ==, 0);
  assert_not_held_by_service (fixture);
  assert_unpacks (fixture, FSCACHE_REVALIDATE, FSCACHE_SOURCE_CACHE, "first");
  g_assert_cmpuint (count_opens (fixture->mount, "a.gz"), ==, opens + 1);

  pack (fixture, "the-second");
  g_usleep (TTL_MS * 1000 + 200 * 1000);
  assert_unpacks (fixture, 0, FSCACHE_SOURCE_OPENED, "the-second");

  stop_victim (fixture);
  g_usleep (TTL_MS * 1000 + 200 * 1000);
  g_assert_cmpint (fscache_open (fixture->client, uri, O_RDONLY, &reply), ==, -ETIMEDOUT);
  g_assert_cmpint (assert_local (fixture), <, DEADLINE_MS * 1000 / 2);
  continue_victim (fixture);
  assert_unpacks (fixture, FSCACHE_REVALIDATE, FSCACHE_SOURCE_CACHE, "the-second");
}

int
main (int argc, char **argv)
{
  static const Test tests[] = {
    { "/sshfs/unpack", test_unpack, FALSE, unpack_config },
    { "/sshfs/watched", test_watched, FALSE, config },
    { "/sshfs/borrow", test_borrow, FALSE, config },
    { "/sshfs/held", test_held, FALSE, config },
    { "/sshfs/many-held", test_many_held, FALSE, one_opener_config },
    { "/sshfs/replaced", test_replaced, FALSE, config },
    { "/sshfs/unmount", test_unmount, FALSE, config },
    { "/sshfs/stopped-server", test_stopped, FALSE, config },
    { "/sshfs/stopped-sshfs", test_stopped, TRUE, config },
    { "/sshfs/handed-out-while-opening", test_handed_out_while_opening, FALSE, one_opener_config },
    { "/sshfs/handed-out-while-opening-without-sshfs", test_handed_out_while_opening, TRUE,
      one_opener_config },
    { "/sshfs/handed-out-while-closing", test_handed_out_while_closing, TRUE, one_opener_config },
    { "/sshfs/stop-service", test_stop_service, FALSE, config },
    { "/sshfs/stop-service-without-sshfs", test_stop_service, TRUE, config },
    { "/sshfs/sent", test_sent, TRUE, config },
  };

  fsc_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (tests); i++)
    g_test_add_data_func (tests[i].path, &tests[i], run_fixture);
  return g_test_run ();
}
