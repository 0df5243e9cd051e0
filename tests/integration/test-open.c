/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The way of a request, and its promise: the answer is that of open(), by a process with the same
 * user and no capabilities, at this instant. Most tests here ask both and compare.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define NOBODY 65534
#define SOME_GROUP 4711
#define CANNOT_RUN 77

extern char **environ;

/* Hit and miss */

static void
test_hit_and_miss (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "content");
  g_autofree char *uri = g_strdup_printf ("file://%s", path);
  FscacheRequest request = { .uri = uri, .max_age_ms = 60000 };
  FscacheReply reply;
  int fd = fscache_open (client, path, O_RDONLY, &reply);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (reply.fd, ==, fd);
  g_assert_cmpint (reply.code, ==, FSCACHE_OK);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
  g_assert_cmpint (reply.coherence, ==, FSCACHE_COHERENCE_CHECKED);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (reply.kind, ==, FSCACHE_KIND_REGULAR);
  g_assert_cmpuint (reply.lease, ==, 0);
  g_assert_cmpstr (reply.message, ==, "");
  close (fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "misses"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "hits"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);

  /* By its other name it is the same, and checked. */
  fd = fsc_test_open_from (client, uri, FSCACHE_SOURCE_CACHE);
  close (fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "hits"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "opens"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "checks"), ==, 1);

  /* An answer of a minute ago will do; but not if it is to be checked all the same. */
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_CACHE);
  close (reply.fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "checks"), ==, 1);
  request.options = FSCACHE_REVALIDATE;
  g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
  close (reply.fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "checks"), ==, 2);
  g_assert_cmpuint (fsc_test_service_counter (service, "misses"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "open_errors"), ==, 0);
  fscache_disconnect (client);
}

/* The answer of open() */

static const char *const tree[] = {
  "plain",        "a b",          "100%",       "a%20b", "new\nline", "tab\t", "\xc3\xa9t\xc3\xa9",
  "\xff\xfe",     "-dash",        "a:b",        "what?", "a#b",       "*",     "dir/inner",
  "closed/inner", "listed/inner", "unreadable",
};

static void
make_tree (const char *top)
{
  char name[32];

  g_assert_no_errno (g_mkdir (top, 0755));
  g_assert_no_errno (chdir (top));
  g_assert_no_errno (g_mkdir ("dir", 0755));
  g_assert_no_errno (g_mkdir ("closed", 0755));
  g_assert_no_errno (g_mkdir ("listed", 0755));
  for (guint i = 0; i < G_N_ELEMENTS (tree); i++)
    fsc_test_write (tree[i], tree[i]);
  fsc_test_write ("empty", "");
  g_assert_no_errno (symlink ("plain", "link"));
  g_assert_no_errno (symlink ("dir", "dirlink"));
  g_assert_no_errno (symlink ("missing", "dangling"));
  g_assert_no_errno (symlink ("b", "a"));
  g_assert_no_errno (symlink ("a", "b"));
  g_assert_no_errno (symlink ("closed/inner", "into-closed"));
  for (int i = 0; i < 45; i++) /* the kernel follows forty */
    {
      g_autofree char *target = i == 0 ? g_strdup ("plain") : g_strdup_printf ("chain%d", i - 1);

      g_snprintf (name, sizeof name, "chain%d", i);
      g_assert_no_errno (symlink (target, name));
    }
  g_assert_no_errno (chmod ("unreadable", 0));
  g_assert_no_errno (chmod ("closed", 0));
  g_assert_no_errno (chmod ("listed", 0600));
  g_assert_no_errno (chdir ("/"));
}

static const char *const paths[] = {
  "",
  "/",
  "plain",
  "plain/",
  "plain/.",
  "plain/..",
  "plain/x",
  "./plain",
  "//plain",
  "empty",
  "missing",
  "missing/",
  "missing/x",
  "missing/../plain",
  "dir",
  "dir/",
  "dir/.",
  "dir/..",
  "dir/../plain",
  "dir/inner",
  "dir//inner",
  "dir/./inner",
  "dir/inner/",
  "plain/../plain",
  "link",
  "link/",
  "dirlink",
  "dirlink/",
  "dirlink/.",
  "dirlink/inner",
  "dirlink/../plain",
  "dangling",
  "dangling/",
  "a",
  "a/x",
  "chain39",
  "chain40",
  "chain44",
  "unreadable",
  "closed",
  "closed/",
  "closed/inner",
  "closed/missing",
  "into-closed",
  "listed",
  "listed/inner",
  "a b",
  "100%",
  "a%20b",
  "new\nline",
  "tab\t",
  "\xc3\xa9t\xc3\xa9",
  "\xff\xfe",
  "-dash",
  "a:b",
  "what?",
  "a#b",
  "*",
};

static const int flags[] = {
  O_RDONLY,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_DIRECTORY | O_NOFOLLOW,
  O_PATH,
  O_PATH | O_NOFOLLOW,
  O_PATH | O_DIRECTORY,
  O_PATH | O_DIRECTORY | O_NOFOLLOW,
  O_NONBLOCK,
  O_APPEND,
  O_SYNC,
  O_NOATIME,
  O_WRONLY,
  O_RDWR,
  O_RDWR | O_APPEND,
  O_RDWR | O_NOFOLLOW,
  O_WRONLY | O_DIRECTORY,
};

static void
test_same_answer (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *top = g_build_filename (service->dir, "tree", NULL);
  guint n_found = 0, n_failed = 0;

  make_tree (top);
  /* Twice: from the source and from the cache. */
  for (guint i = 0; i < 2 * G_N_ELEMENTS (paths); i++)
    for (guint j = 0; j < G_N_ELEMENTS (flags); j++)
      {
        g_autofree char *path = g_strconcat (top, "/", paths[i / 2], NULL);

        if (fsc_test_assert_same (client, path, flags[j]) == 0)
          n_found++;
        else
          n_failed++;
      }
  g_assert_cmpuint (n_found, >, 500);
  g_assert_cmpuint (n_failed, >, 500);
  g_assert_cmpuint (fsc_test_service_counter (service, "hits"), >, 100);

  /* And a relative name. */
  g_assert_no_errno (chdir (top));
  g_assert_cmpint (fsc_test_assert_same (client, "plain", O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, "./dir/../plain", O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, "-dash", O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, ".", O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, "missing", O_RDONLY), ==, ENOENT);
  g_assert_cmpint (fsc_test_assert_same (client, "", O_RDONLY), ==, ENOENT);
  g_assert_no_errno (chmod ("closed", 0700));
  g_assert_no_errno (chdir ("/"));
  fscache_disconnect (client);
}

static void
test_names_too_long (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *longest = g_strnfill (255, 'x');
  g_autofree char *component = g_strnfill (256, 'x');
  g_autofree char *escaped = g_strnfill (255, '\xff');
  g_autofree char *path = g_build_filename (service->dir, longest, NULL);
  g_autofree char *worst = g_build_filename (service->dir, escaped, NULL);
  g_autofree char *too_long = g_build_filename (service->dir, component, NULL);
  GString *deep = g_string_new (service->dir);

  fsc_test_write (path, "1");
  fsc_test_write (worst, "2");
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, worst, O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, too_long, O_RDONLY), ==, ENAMETOOLONG);

  while (deep->len < 4095 - strlen ("/plain"))
    g_string_append (deep, "/.");
  g_string_truncate (deep, 4095 - strlen ("/plain"));
  g_string_append (deep, "/plain");
  g_assert_cmpuint (deep->len, ==, 4095);
  fsc_test_assert_same (client, deep->str, O_RDONLY);
  g_string_append (deep, "x");
  g_assert_cmpint (fsc_test_assert_same (client, deep->str, O_RDONLY), ==, ENAMETOOLONG);
  g_string_free (deep, TRUE);
  fscache_disconnect (client);
}

/* A program that runs cannot be written to. */
static void
test_busy_program (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = g_build_filename (service->dir, "sleep", NULL);
  g_autofree char *program = NULL;
  char *arguments[] = { path, (char *) "60", NULL };
  gsize length;
  pid_t pid;

  g_assert_true (g_file_get_contents ("/bin/sleep", &program, &length, NULL));
  g_assert_true (g_file_set_contents (path, program, (gssize) length, NULL));
  g_assert_no_errno (chmod (path, 0755));
  g_assert_cmpint (posix_spawn (&pid, path, NULL, NULL, arguments, environ), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_WRONLY), ==, ETXTBSY);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_no_errno (kill (pid, SIGKILL));
  g_assert_cmpint (waitpid (pid, NULL, 0), ==, pid);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_WRONLY), ==, 0);
  fscache_disconnect (client);
}

/* What belongs to another user. */
static void
test_other_user (FscTestService *service)
{
  struct __user_cap_data_struct all[2];
  FscacheClient *client;
  g_autofree char *path = fsc_test_service_write (service, "file", "x");

  if (geteuid () != 0)
    {
      g_test_skip ("only root can give files away");
      return;
    }
  client = fsc_test_service_connect (service);
  g_assert_no_errno (chmod (path, 0600));
  close (fsc_test_open_from (client, path, FSCACHE_SOURCE_OPENED));

  g_assert_no_errno (chown (path, NOBODY, NOBODY));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, EACCES);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_WRONLY), ==, EACCES);
  g_assert_no_errno (chmod (path, 0604));
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDWR), ==, EACCES);

  /* Flags are asked of the kernel by who reopens, here. */
  fsc_test_lay_down_capabilities (all);
  g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY | O_NOATIME), ==, EPERM);
  fsc_test_set_capabilities (all);
  fscache_disconnect (client);
}

/* A user's own service: it has that user's groups, and no more than its rights. */
static void
be_a_user (const char *shared)
{
  const gid_t group = SOME_GROUP;
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  FscTestService *service;
  FscacheClient *client;
  g_autofree char *own = NULL;

  g_assert_no_errno (setgroups (1, &group));
  g_assert_no_errno (setgid (NOBODY));
  g_assert_no_errno (setuid (NOBODY));
  if (access (program, X_OK) < 0)
    _exit (CANNOT_RUN);
  service = fsc_test_service_new (NULL, NULL);
  client = fsc_test_service_connect (service);
  own = fsc_test_service_write (service, "own", "x");
  for (int i = 0; i < 2; i++)
    {
      g_assert_cmpint (fsc_test_assert_same (client, own, O_RDONLY), ==, 0);
      g_assert_cmpint (fsc_test_assert_same (client, own, O_RDWR), ==, 0);
      g_assert_cmpint (fsc_test_assert_same (client, shared, O_RDONLY), ==, 0);
      g_assert_cmpint (fsc_test_assert_same (client, shared, O_WRONLY), ==, EACCES);
      g_assert_cmpint (fsc_test_assert_same (client, "/etc/shadow", O_RDONLY), ==, EACCES);
      g_assert_cmpint (fsc_test_assert_same (client, "/etc/passwd", O_RDONLY), ==, 0);
      g_assert_cmpint (fsc_test_assert_same (client, "/etc/passwd", O_WRONLY), ==, EACCES);
    }
  g_assert_no_errno (chmod (own, 0));
  g_assert_cmpint (fsc_test_assert_same (client, own, O_RDONLY), ==, EACCES);
  fscache_disconnect (client);
  fsc_test_service_free (service);
  _exit (0);
}

static void
test_user (FscTestService *service)
{
  g_autofree char *shared = fsc_test_service_write (service, "shared", "x");
  int status;
  pid_t pid;

  if (geteuid () != 0)
    {
      g_test_skip ("only root can become somebody else");
      return;
    }
  g_assert_no_errno (chmod (service->dir, 0711));
  g_assert_no_errno (chown (shared, 0, SOME_GROUP));
  g_assert_no_errno (chmod (shared, 0640));
  pid = fork ();
  if (pid == 0)
    be_a_user (shared);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  if (WIFEXITED (status) && WEXITSTATUS (status) == CANNOT_RUN)
    g_test_skip ("another user may not run what is in this build directory");
  else
    g_assert_cmpint (status, ==, 0);
}

/* What changes */

static void
test_rename_over (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "-1");
  g_autofree char *new = g_build_filename (service->dir, "new", NULL);

  for (int i = 0; i < 1000; i++)
    {
      g_autofree char *content = g_strdup_printf ("%d", i);
      g_autofree char *found = NULL;
      FscacheRequest request
          = { .uri = path, .sharing = i % 2 == 0 ? FSCACHE_SHARED : FSCACHE_INDEPENDENT };
      FscacheReply reply;
      int fd = open (new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

      g_assert_cmpint (write (fd, content, strlen (content)), ==, strlen (content));
      close (fd);
      g_assert_no_errno (rename (new, path));
      g_assert_cmpint (fscache_open_with (client, &request, &reply), >=, 0);
      g_assert_cmpint (reply.source, ==, FSCACHE_SOURCE_OPENED);
      close (reply.fd);
      found = fsc_test_read (client, path, FSCACHE_INDEPENDENT);
      g_assert_cmpstr (found, ==, content);
      close (fsc_test_open_from (client, path, FSCACHE_SOURCE_CACHE));
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  g_assert_cmpuint (fsc_test_service_counter (service, "invalidations"), ==, 999);
  fscache_disconnect (client);
}

static void
test_permissions_change (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *path = g_build_filename (dir, "file", NULL);

  g_assert_no_errno (g_mkdir (dir, 0755));
  fsc_test_write (path, "x");
  for (int i = 0; i < 100; i++)
    {
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
      g_assert_no_errno (chmod (path, 0));
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, EACCES);
      g_assert_cmpint (fsc_test_assert_same (client, path, O_PATH), ==, 0);
      g_assert_no_errno (chmod (path, 0200));
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, EACCES);
      g_assert_cmpint (fsc_test_assert_same (client, path, O_WRONLY), ==, 0);
      g_assert_no_errno (chmod (path, 0400));
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, 0);
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDWR), ==, EACCES);

      /* The directory above. */
      g_assert_no_errno (chmod (dir, 0600));
      g_assert_cmpint (fsc_test_assert_same (client, path, O_RDONLY), ==, EACCES);
      g_assert_cmpint (fsc_test_assert_same (client, path, O_PATH), ==, EACCES);
      g_assert_no_errno (chmod (dir, 0755));
      g_assert_no_errno (chmod (path, 0644));
    }
  fscache_disconnect (client);
}

static void
test_names_change (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *one = fsc_test_service_write (service, "one", "1");
  g_autofree char *link = g_build_filename (service->dir, "link", NULL);
  g_autofree char *new = g_build_filename (service->dir, "new", NULL);
  g_autofree char *dir = g_build_filename (service->dir, "dir", NULL);
  g_autofree char *old_dir = g_build_filename (service->dir, "old", NULL);
  g_autofree char *inner = g_build_filename (dir, "inner", NULL);

  g_free (fsc_test_service_write (service, "two", "2"));
  g_assert_no_errno (symlink ("one", link));
  for (int i = 0; i < 100; i++)
    {
      gboolean is_one = i % 2 == 0;
      g_autofree char *before = fsc_test_read (client, link, FSCACHE_INDEPENDENT);
      g_autofree char *after = NULL;

      g_assert_cmpstr (before, ==, is_one ? "1" : "2");
      g_assert_no_errno (symlink (is_one ? "two" : "one", new));
      g_assert_no_errno (rename (new, link));
      after = fsc_test_read (client, link, FSCACHE_INDEPENDENT);
      g_assert_cmpstr (after, ==, is_one ? "2" : "1");

      /* Gone, and there again: with what may be the same inode number. */
      g_assert_no_errno (unlink (one));
      g_assert_cmpint (fsc_test_assert_same (client, one, O_RDONLY), ==, ENOENT);
      fsc_test_write (one, "1");
      g_assert_cmpint (fsc_test_assert_same (client, one, O_RDONLY), ==, 0);

      /* Another directory of the same name. */
      g_assert_no_errno (g_mkdir (dir, 0755));
      fsc_test_write (inner, "x");
      g_assert_cmpint (fsc_test_assert_same (client, inner, O_RDONLY), ==, 0);
      g_assert_no_errno (rename (dir, old_dir));
      g_assert_cmpint (fsc_test_assert_same (client, inner, O_RDONLY), ==, ENOENT);
      g_assert_no_errno (g_mkdir (dir, 0755));
      fsc_test_write (inner, "y");
      g_assert_cmpint (fsc_test_assert_same (client, inner, O_RDONLY), ==, 0);
      g_assert_no_errno (unlink (inner));
      g_assert_no_errno (rmdir (dir));
      g_assert_cmpint (fsc_test_assert_same (client, dir, O_RDONLY), ==, ENOENT);
      g_assert_no_errno (rename (old_dir, dir));
      g_assert_no_errno (unlink (inner));
      g_assert_no_errno (rmdir (dir));
    }
  fscache_disconnect (client);
}

/* Many */

#define N_MANY 600

static void
test_many (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, N_MANY);
  g_autofree FscacheReply *replies = g_new0 (FscacheReply, N_MANY);
  g_autoptr (GPtrArray) names = g_ptr_array_new_with_free_func (g_free);

  for (int i = 0; i < N_MANY; i++)
    {
      g_autofree char *name = g_strdup_printf ("%d", i);

      g_ptr_array_add (names, i % 5 == 0 ? g_build_filename (service->dir, "no", name, NULL)
                                         : fsc_test_service_write (service, name, name));
      requests[i].uri = names->pdata[i];
      requests[i].sharing = i % 2 == 0 ? FSCACHE_SHARED : FSCACHE_INDEPENDENT;
    }
  for (int round = 0; round < 2; round++)
    {
      g_assert_cmpint (fscache_open_many (client, requests, replies, N_MANY), ==, N_MANY / 5);
      for (int i = 0; i < N_MANY; i++)
        {
          char content[8] = "";

          if (i % 5 == 0)
            {
              fsc_test_assert_failed (&replies[i],
                                      replies[i].fd < 0 ? -replies[i].error : replies[i].fd,
                                      FSCACHE_ERROR_SYSTEM, ENOENT);
              continue;
            }
          g_assert_cmpint (replies[i].source, ==,
                           round == 0 ? FSCACHE_SOURCE_OPENED : FSCACHE_SOURCE_CACHE);
          g_assert_cmpint (pread (replies[i].fd, content, sizeof content - 1, 0), >, 0);
          g_assert_cmpint (atoi (content), ==, i);
          fscache_reply_clear (client, &replies[i]);
        }
    }
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, N_MANY - N_MANY / 5);
  fscache_disconnect (client);
}

typedef struct
{
  guint n_good, n_failed;
} Tally;

static void
count_reply (FscacheClient *client, size_t index, const FscacheReply *reply, void *data)
{
  Tally *tally = data;

  if (reply->fd >= 0)
    {
      tally->n_good++;
      close (reply->fd);
    }
  else
    tally->n_failed++;
}

static void
test_event_loop (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *path = fsc_test_service_write (service, "file", "x");
  FscacheRequest requests[]
      = { { .uri = path }, { .uri = "/nonexistent/file" }, { .uri = path, .flags = O_PATH } };
  struct pollfd pollfd = { .fd = fscache_get_poll_fd (client), .events = POLLIN };
  Tally tally = { 0 };

  for (int i = 0; i < 100; i++)
    g_assert_cmpint (
        fscache_submit (client, requests, G_N_ELEMENTS (requests), count_reply, &tally, NULL), ==,
        0);
  while (tally.n_good + tally.n_failed < 300)
    {
      g_assert_cmpint (poll (&pollfd, 1, 10000), ==, 1);
      g_assert_cmpint (fscache_dispatch (client), >=, 0);
    }
  g_assert_cmpuint (tally.n_good, ==, 200);
  g_assert_cmpuint (tally.n_failed, ==, 100);
  fscache_disconnect (client);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/open/hit-and-miss", test_hit_and_miss);
  FSC_TEST_ADD ("/open/same-answer", test_same_answer);
  FSC_TEST_ADD ("/open/names-too-long", test_names_too_long);
  FSC_TEST_ADD ("/open/busy-program", test_busy_program);
  FSC_TEST_ADD ("/open/other-user", test_other_user);
  FSC_TEST_ADD ("/open/user", test_user);
  FSC_TEST_ADD ("/open/rename-over", test_rename_over);
  FSC_TEST_ADD ("/open/permissions-change", test_permissions_change);
  FSC_TEST_ADD ("/open/names-change", test_names_change);
  FSC_TEST_ADD ("/open/many", test_many);
  FSC_TEST_ADD ("/open/event-loop", test_event_loop);
  return g_test_run ();
}
