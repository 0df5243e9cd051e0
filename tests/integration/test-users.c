/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A service for all users: each is served as the kernel says who it is, with what that user could
 * open, and sees and changes nothing of anybody else's. The service is nobody in particular, and
 * cannot become anybody; the spawner can, and does for those who have come.
 *
 * What another user does is done by a child, which aborts where it fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define SERVICE 54320
#define SOMEBODY 54321
#define OTHER 54322
#define TEAM 54323

typedef struct
{
  FscTestService *service;
  char *secret;   /* root's alone */
  char *somebody; /* SOMEBODY's alone */
  char *team;     /* TEAM may read it */
  char *open;     /* all may */
} Stage;

typedef void (*StageFunc) (const Stage *stage);

static char *
make_file (Stage *stage, const char *name, uid_t uid, gid_t gid, mode_t mode)
{
  char *path = fsc_test_service_write (stage->service, name, name);

  g_assert_no_errno (chown (path, uid, gid));
  g_assert_no_errno (chmod (path, mode));
  return path;
}

static void
run_stage (gconstpointer func)
{
  const char *const arguments[] = { "--user", G_STRINGIFY (SERVICE), NULL };
  Stage stage;

  if (geteuid () != 0)
    {
      g_test_skip ("only root can serve all users");
      return;
    }
  if (!fsc_test_is_for_all ("fscache/openers/open-file"))
    {
      g_test_skip ("other users may not search the directory of the build");
      return;
    }
  stage.service = fsc_test_service_prepare (NULL, arguments);
  g_assert_no_errno (chmod (stage.service->dir, 0711)); /* others have to find the socket */
  fsc_test_service_start (stage.service);
  stage.secret = make_file (&stage, "secret", 0, 0, 0600);
  stage.somebody = make_file (&stage, "somebody", SOMEBODY, SOMEBODY, 0600);
  stage.team = make_file (&stage, "team", 0, TEAM, 0640);
  stage.open = make_file (&stage, "open", 0, 0, 0644);
  ((StageFunc) func) (&stage);
  fsc_test_service_free (stage.service);
  g_free (stage.secret);
  g_free (stage.somebody);
  g_free (stage.team);
  g_free (stage.open);
}

/* Others */

static pid_t
start_as (uid_t uid, const gid_t *groups, size_t n_groups, StageFunc func, const Stage *stage)
{
  pid_t pid = fsc_test_fork_as (uid, groups, n_groups);

  if (pid != 0)
    return pid;
  func (stage);
  _exit (0);
}

static void
run_as (uid_t uid, StageFunc func, const Stage *stage)
{
  fsc_test_assert_ends_well (start_as (uid, NULL, 0, func, stage));
}

static void
assert_opens (FscacheClient *client, const char *path, FscacheSource source)
{
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };
  g_autofree char *name = g_path_get_basename (path);
  FscacheReply reply;
  char content[32] = "";

  fscache_open_with (client, &request, &reply);
  g_assert_cmpstr (reply.message, ==, "");
  g_assert_cmpint (reply.source, ==, source);
  g_assert_cmpint (pread (reply.fd, content, sizeof content - 1, 0), >, 0);
  g_assert_cmpstr (content, ==, name);
  fscache_reply_clear (client, &reply);
}

static void
assert_refused (FscacheClient *client, const char *path)
{
  FscacheReply reply;

  g_assert_cmpint (fscache_open (client, path, O_RDONLY, &reply), ==, -EACCES);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
}

static void
count_entry (const FscacheEntry *entry, void *data)
{
  (*(guint *) data)++;
}

/* Apart */

static void
use_as_somebody (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  FscacheBorrow borrowed;
  guint n = 0;

  assert_refused (client, stage->secret);
  assert_refused (client, stage->team);
  assert_opens (client, stage->somebody, FSCACHE_SOURCE_OPENED);
  assert_opens (client, stage->open, FSCACHE_SOURCE_OPENED); /* root's handle is there */
  assert_opens (client, stage->open, FSCACHE_SOURCE_CACHE);
  g_assert_cmpint (fscache_list (client, NULL, count_entry, &n, NULL), ==, 2);
  g_assert_cmpuint (n, ==, 2);
  g_assert_cmpint (fscache_info (client, stage->secret, count_entry, &n, NULL), ==, -ENOENT);
  g_assert_cmpint (fscache_drop (client, stage->secret, NULL), ==, 0);
  g_assert_cmpint (fscache_drop_matching (client, "*secret", NULL), ==, 0);
  for (guint i = 0; i < 4; i++)
    {
      g_assert_cmpint (fscache_borrow (client, stage->somebody, &borrowed, NULL), >=, 0);
      fscache_return (client, &borrowed);
    }
  fscache_disconnect (client);
}

static void
test_apart (const Stage *stage)
{
  FscacheClient *root = fsc_test_service_connect (stage->service);

  assert_opens (root, stage->secret, FSCACHE_SOURCE_OPENED);
  assert_opens (root, stage->open, FSCACHE_SOURCE_OPENED);
  run_as (SOMEBODY, use_as_somebody, stage);
  /* Nothing of root's is gone; and without capabilities root is one of many. */
  assert_opens (root, stage->secret, FSCACHE_SOURCE_CACHE);
  assert_refused (root, stage->somebody);
  fscache_disconnect (root);
}

static void
use_as_member (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);

  assert_opens (client, stage->team, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (client);
}

static void
use_as_stranger (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);

  assert_refused (client, stage->team);
  fscache_disconnect (client);
}

/* The same user in other groups is another: what one of them has opened the other does not get. */
static void
test_groups (const Stage *stage)
{
  gid_t groups[300];

  for (guint i = 0; i < G_N_ELEMENTS (groups); i++)
    groups[i] = TEAM + i;
  fsc_test_assert_ends_well (start_as (OTHER, groups, 1, use_as_member, stage));
  fsc_test_assert_ends_well (start_as (OTHER, groups + 1, 1, use_as_stranger, stage));
  fsc_test_assert_ends_well (start_as (OTHER, NULL, 0, use_as_stranger, stage));
  fsc_test_assert_ends_well (start_as (OTHER, groups, G_N_ELEMENTS (groups), use_as_member, stage));
}

/* What was put is its user's. */
static void
get_what_was_put (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  const FscacheRequest request = { .uri = "handle:x", .sharing = FSCACHE_SHARED };
  const FscachePut put = { .uri = "handle:x", .fd = STDERR_FILENO };

  g_assert_cmpint (fscache_open_with (client, &request, NULL), ==, -ENOENT);
  g_assert_cmpint (fscache_put (client, &put, NULL), ==, 0); /* the name is free */
  fscache_disconnect (client);
}

static void
test_put (const Stage *stage)
{
  FscacheClient *root = fsc_test_service_connect (stage->service);
  int file = open (stage->secret, O_RDONLY | O_CLOEXEC);
  const FscachePut put = { .uri = "handle:x", .fd = file };

  g_assert_cmpint (fscache_put (root, &put, NULL), ==, 0);
  close (file);
  run_as (SOMEBODY, get_what_was_put, stage);
  g_assert_cmpint (fscache_drop (root, "handle:x", NULL), ==, 1);
  fscache_disconnect (root);
}

/* What concerns all */

static void
change_for_all (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  const FscacheUser root = { 0 };
  FscacheClient *as_root = NULL;
  FscacheReply reply;

  g_assert_cmpint (fscache_set (client, "max-handles", 10, NULL, NULL, &reply), ==, -EPERM);
  g_test_message ("%s", reply.message);
  g_assert_cmpint (fscache_drop_mount (client, "/", FALSE, NULL, NULL), ==, -EPERM);
  g_assert_cmpint (fscache_holders (client, stage->open, NULL, NULL, NULL), ==, -EPERM);
  g_assert_cmpint (fscache_connect_as (stage->service->socket, 0, &root, &as_root), <, 0);
  fscache_disconnect (as_root);
  fscache_disconnect (client);
}

static void
test_administration (const Stage *stage)
{
  FscacheClient *root = fsc_test_service_connect (stage->service);
  const FscacheUser user = { .uid = SOMEBODY, .gid = SOMEBODY };
  FscacheClient *as_somebody;

  run_as (SOMEBODY, change_for_all, stage);
  g_assert_cmpint (fscache_set (root, "max-handles", 100, NULL, NULL, NULL), ==, 0);
  g_assert_cmpint (fscache_connect_as (stage->service->socket, 0, &user, &as_somebody), ==, 0);
  assert_opens (as_somebody, stage->somebody, FSCACHE_SOURCE_OPENED);
  assert_refused (as_somebody, stage->secret);
  fscache_disconnect (as_somebody);
  fscache_disconnect (root);
}

/* Who one is */

static void
connect_and_pass (const Stage *stage)
{
  int fd = fsc_test_raw_connect (stage->service->socket);

  if (fsc_channel_send (STDIN_FILENO, "x", 1, &fd, 1, 0) < 0)
    _exit (1);
}

/* CVE-2018-1116: who somebody is was asked when it no longer was certain. Here it is who has called
 * connect(): a socket that is given to root does not make root of its messages. */
static void
test_cve_2018_1116 (const Stage *stage)
{
  g_autofree char *uri = g_strconcat ("file://", stage->secret, NULL);
  const FscItem item = { .sharing = FSC_SHARING_SHARED, .uri = { uri, (uint32_t) strlen (uri) } };
  g_auto (FscTestPacket) packet = { 0 };
  int pair[2], input = dup (STDIN_FILENO);
  FscFds fds;
  char byte;

  g_assert_no_errno (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair));
  dup2 (pair[1], STDIN_FILENO);
  run_as (SOMEBODY, connect_and_pass, stage);
  g_assert_cmpint (fsc_channel_receive (pair[0], &byte, 1, &fds, 1, NULL, 0), ==, 1);
  fsc_test_raw_say_hello (fds.fds[0], TRUE);
  fsc_test_raw_open (fds.fds[0], &item, &packet);
  g_assert_cmpint (packet.message.records[0].result.error, ==, EACCES);
  g_assert_cmpuint (packet.fds.n, ==, 0);
  dup2 (input, STDIN_FILENO);
  close (input);
  close (pair[0]);
  close (pair[1]);
  fsc_fds_clear (&fds);
}

static void
write_file (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autofree char *path = g_build_filename (stage->service->dir, "for-all", "new", NULL);
  struct stat st;
  int fd;

  umask (027);
  fd = fscache_open (client, path, O_WRONLY | O_CREAT | O_EXCL, NULL);
  g_assert_cmpint (fd, >=, 0);
  g_assert_no_errno (fstat (fd, &st));
  g_assert_cmpuint (st.st_uid, ==, SOMEBODY);
  g_assert_cmpuint (st.st_gid, ==, SOMEBODY);
  g_assert_cmpuint (st.st_mode & 07777, ==, 0640);
  close (fd);
  fscache_disconnect (client);
}

/* CVE-2019-12447, CVE-2019-12449: files were made by root for others, and not made theirs. */
static void
test_cve_2019_12447 (const Stage *stage)
{
  g_autofree char *dir = g_build_filename (stage->service->dir, "for-all", NULL);

  g_assert_no_errno (mkdir (dir, 0777));
  g_assert_no_errno (chmod (dir, 0777));
  run_as (SOMEBODY, write_file, stage);
}

/* Processes */

static char *
read_status (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  char *status = NULL;

  g_assert_true (g_file_get_contents (path, &status, NULL, NULL));
  return status;
}

static void
assert_process (pid_t pid, uid_t uid, const char *capabilities)
{
  g_autofree char *status = read_status (pid);
  g_autofree char *effective = g_strdup_printf ("CapEff:\t%s\n", capabilities);
  g_autofree char *permitted = g_strdup_printf ("CapPrm:\t%s\n", capabilities);
  g_autofree char *ids = g_strdup_printf ("Uid:\t%u\t%u\t%u\t%u\n", uid, uid, uid, uid);

  g_assert_nonnull (strstr (status, effective));
  g_assert_nonnull (strstr (status, permitted));
  g_assert_nonnull (strstr (status, "CapBnd:\t0000000000000000\n"));
  g_assert_nonnull (strstr (status, "NoNewPrivs:\t1\n"));
  g_assert_nonnull (strstr (status, ids));
}

/* Whose own user cannot look into it, without its groups, either. */
static pid_t victim;

static void
look_into (const Stage *stage)
{
  g_autofree char *fds = g_strdup_printf ("/proc/%d/fd", victim);
  g_autofree char *root = g_strdup_printf ("/proc/%d/root/etc", victim);

  g_assert_cmpint (access (fds, R_OK), ==, -1);
  g_assert_cmpint (access (root, F_OK), ==, -1);
  g_assert_cmpint (ptrace (PTRACE_SEIZE, victim, NULL, NULL), ==, -1);
  g_assert_cmpint (errno, ==, EPERM);
}

static void
see_into (const Stage *stage)
{
  g_autofree char *fds = g_strdup_printf ("/proc/%d/fd", victim);

  g_assert_cmpint (access (fds, R_OK), ==, 0);
}

/* Until it has been executed. */
static void
wait_for_program (pid_t pid, const char *name)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/comm", pid);
  g_autofree char *wanted = g_strconcat (name, "\n", NULL);

  for (guint i = 0; i < 5000; i++)
    {
      g_autofree char *comm = NULL;

      if (g_file_get_contents (path, &comm, NULL, NULL) && strcmp (comm, wanted) == 0)
        return;
      g_usleep (1000);
    }
  g_assert_not_reached ();
}

static void
assert_closed_to (uid_t uid, pid_t pid, const Stage *stage)
{
  victim = pid;
  run_as (uid, look_into, stage);
}

static void
keep_opener (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);

  assert_opens (client, stage->somebody, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (client);
}

static void
test_processes (const Stage *stage)
{
  g_autoptr (GArray) spawners = fsc_test_list_children (stage->service->pid);
  g_autoptr (GArray) openers = NULL;
  guint n_found = 0;

  g_assert_cmpuint (spawners->len, ==, 1);
  /* CAP_KILL, CAP_SETGID, CAP_SETUID */
  assert_process (g_array_index (spawners, pid_t, 0), 0, "00000000000000e0");
  assert_process (stage->service->pid, SERVICE, "0000000000000000");
  assert_closed_to (SERVICE, stage->service->pid, stage);
  assert_closed_to (SERVICE, g_array_index (spawners, pid_t, 0), stage);
  run_as (SOMEBODY, keep_opener, stage);
  openers = fsc_test_service_list_openers (stage->service);
  for (guint i = 0; i < openers->len; i++)
    if (fsc_process_get (g_array_index (openers, pid_t, i), "Uid:") == SOMEBODY)
      {
        assert_process (g_array_index (openers, pid_t, i), SOMEBODY, "0000000000000000");
        assert_closed_to (SOMEBODY, g_array_index (openers, pid_t, i), stage);
        n_found++;
      }
  g_assert_cmpuint (n_found, ==, 1);
}

/* A rule for one user, while all go on. What root would have to start is not taken. */

static void
find_refused (const Stage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  FscacheReply reply = { .code = FSCACHE_OK };

  for (guint i = 0; reply.code != FSCACHE_ERROR_REFUSED && i < 5000; i++)
    {
      fscache_open (client, stage->open, O_RDONLY, &reply);
      fscache_reply_clear (client, &reply);
      g_usleep (1000);
    }
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_REFUSED);
  fscache_disconnect (client);
}

static void
reload_with (const Stage *stage, const char *config)
{
  fsc_test_write (stage->service->config, config);
  g_assert_no_errno (kill (stage->service->pid, SIGHUP));
}

static void
test_reload (const Stage *stage)
{
  FscacheClient *root = fsc_test_service_connect (stage->service);
  static const char rule[] = "[rule one]\nusers=" G_STRINGIFY (SOMEBODY) "\naction=refuse\n";
  g_autofree char *with_helper = g_strconcat (rule, "[helper x]\ncommand=/bin/true\n", NULL);
  FscacheReply reply;

  assert_opens (root, stage->open, FSCACHE_SOURCE_OPENED);
  g_assert_no_errno (chmod (stage->service->config, 0644));
  reload_with (stage, rule);
  run_as (SOMEBODY, find_refused, stage);
  reload_with (stage, with_helper);
  g_usleep (100000);
  g_assert_cmpint (fscache_open (root, "helper+x:a", O_RDONLY, &reply), <, 0);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_UNKNOWN_SCHEME);
  assert_opens (root, stage->open, FSCACHE_SOURCE_CACHE);
  fscache_disconnect (root);
}

/* Nobody could start openers any more: the service ends, and says so. */
static void
test_lost (const Stage *stage)
{
  g_autoptr (GArray) spawners = fsc_test_list_children (stage->service->pid);
  int status;

  g_assert_no_errno (kill (g_array_index (spawners, pid_t, 0), SIGKILL));
  g_assert_cmpint (waitpid (stage->service->pid, &status, 0), ==, stage->service->pid);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), ==, 1);
  g_assert_cmpint (access (stage->service->socket, F_OK), ==, -1); /* it has cleaned up */
  stage->service->pid = 0;
  fsc_test_service_start (stage->service);
}

static void
test_wrong_user (void)
{
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  static const struct
  {
    const char *user, *problem;
  } cases[] = {
    { "nobody-of-this-name", "there is no user \"nobody-of-this-name\"" },
    { "root", "must not be root" },
    { "0", "must not be root" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      const char *const arguments[]
          = { program, "--config", "/dev/null", "--user", cases[i].user, NULL };
      g_auto (FscTestProgram) result = { 0 };

      fsc_test_program_run (&result, NULL, arguments);
      fsc_test_program_assert_exit (&result, 1);
      g_assert_nonnull (strstr (result.error, cases[i].problem));
    }
}

/* Each is shut in: all by what the service and all that it starts have, the service and its openers
 * by more. */
static void
test_filtered (const Stage *stage)
{
  g_autoptr (GArray) spawners = fsc_test_list_children (stage->service->pid);
  pid_t spawner = g_array_index (spawners, pid_t, 0);
  g_autoptr (GArray) openers = NULL;

  if (!FSC_HAS_SECCOMP || !FSC_TEST_MEASURES_MEMORY)
    {
      g_test_skip ("there are no filters without libseccomp, nor with a sanitizer");
      return;
    }
  run_as (SOMEBODY, keep_opener, stage);
  openers = fsc_test_list_children (spawner);
  g_assert_cmpint (fsc_process_get (stage->service->pid, "Seccomp_filters:"), ==, 2);
  g_assert_cmpint (fsc_process_get (spawner, "Seccomp_filters:"), ==, 1);
  g_assert_cmpuint (openers->len, >, 0);
  for (guint i = 0; i < openers->len; i++)
    g_assert_cmpint (fsc_process_get (g_array_index (openers, pid_t, i), "Seccomp_filters:"), ==,
                     2);
}

/* Openers are installed so that nobody can read them. That shuts out processes of the same user
 * from the first instruction on, before they can say so themselves: here it is cat, which never
 * does. */
static void
test_unreadable (const Stage *stage)
{
  static const gid_t team = TEAM;

  for (int is_readable = 0; is_readable <= 1; is_readable++)
    {
      g_autofree char *cat = g_build_filename (stage->service->dir, "cat", NULL);
      const char *const copying[] = { "/bin/cp", "/bin/cat", cat, NULL };
      g_auto (FscTestProgram) copied = { 0 };
      int ends[2], status;
      pid_t pid;

      fsc_test_program_run (&copied, NULL, copying);
      fsc_test_program_assert_exit (&copied, 0);
      g_assert_no_errno (chmod (cat, is_readable ? 0755 : 0711));
      g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
      pid = fork ();
      g_assert_cmpint (pid, >=, 0);
      if (pid == 0)
        {
          if (setgroups (1, &team) < 0 || setresgid (SOMEBODY, SOMEBODY, SOMEBODY) < 0
              || setresuid (SOMEBODY, SOMEBODY, SOMEBODY) < 0 || dup2 (ends[0], 0) < 0)
            _exit (2);
          execl (cat, "cat", NULL);
          _exit (2);
        }
      wait_for_program (pid, "cat");
      if (is_readable)
        {
          victim = pid;
          fsc_test_assert_ends_well (start_as (SOMEBODY, NULL, 0, see_into, stage));
        }
      else
        assert_closed_to (SOMEBODY, pid, stage);
      close (ends[0]);
      close (ends[1]);
      g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
    }
}

#define ADD(path, func) g_test_add_data_func (path, (gconstpointer) (func), run_stage)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  ADD ("/users/apart", test_apart);
  ADD ("/users/groups", test_groups);
  ADD ("/users/put", test_put);
  ADD ("/users/administration", test_administration);
  ADD ("/users/cve-2018-1116", test_cve_2018_1116);
  ADD ("/users/cve-2019-12447", test_cve_2019_12447);
  ADD ("/users/processes", test_processes);
  ADD ("/users/reload", test_reload);
  ADD ("/users/filtered", test_filtered);
  ADD ("/users/unreadable", test_unreadable);
  ADD ("/users/lost", test_lost);
  g_test_add_func ("/users/wrong", test_wrong_user);
  return g_test_run ();
}
