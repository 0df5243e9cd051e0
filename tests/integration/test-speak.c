/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Speaking for others: a service that runs as root opens as the user that its client names, keeps
 * what it has opened apart, and lets nobody do so who may not.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define SOMEBODY 54321
#define TEAM 54322

/* Where everybody may search, which the directory of a service is not. */
static char *directory;

static char *
make_file (const char *name, const char *content, uid_t uid, gid_t gid, mode_t mode)
{
  char *path = g_build_filename (directory, name, NULL);

  fsc_test_write (path, content);
  g_assert_cmpint (chown (path, uid, gid), ==, 0);
  g_assert_cmpint (chmod (path, mode), ==, 0);
  return path;
}

static FscacheClient *
connect_as (FscTestService *service, uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
  const FscacheUser user = { .uid = uid, .gid = gid, .groups = groups, .n_groups = n_groups };
  FscacheClient *client = NULL;

  g_assert_cmpint (fscache_connect_as (service->socket, 0, &user, &client), ==, 0);
  return client;
}

static void
assert_opens (FscacheClient *client, const FscacheRequest *request, FscacheSource source,
              const char *content)
{
  FscacheReply reply;
  char text[64] = "";

  if (fscache_open_with (client, request, &reply) < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.fd, >=, 0);
  g_assert_cmpint (reply.source, ==, source);
  g_assert_cmpint (pread (reply.fd, text, sizeof text - 1, 0), ==, strlen (content));
  g_assert_cmpstr (text, ==, content);
  fscache_reply_clear (client, &reply);
}

static void
assert_shares (FscacheClient *client, const char *path, FscacheSource source, const char *content)
{
  const FscacheRequest request = { .uri = path, .sharing = FSCACHE_SHARED };

  assert_opens (client, &request, source, content);
}

static void
assert_refused (FscacheClient *client, const char *path, int flags, int error)
{
  const FscacheRequest request = {
    .uri = path, .flags = flags, .sharing = flags == O_RDONLY ? FSCACHE_SHARED : FSCACHE_INDEPENDENT
  };
  FscacheReply reply;

  g_assert_cmpint (fscache_open_with (client, &request, &reply), ==, -error);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_SYSTEM);
}

static gboolean
skip (void)
{
  if (geteuid () != 0)
    g_test_skip ("only root can serve others");
  else if (!fsc_test_is_for_all ("fscache/openers/open-file"))
    g_test_skip ("other users may not search the directory of the build");
  else
    return FALSE;
  return TRUE;
}

/* What one may open is not given to another because it is there; nor refused because of that. */
static void
test_apart (FscTestService *service)
{
  const gid_t team[] = { TEAM };
  g_autofree char *secret = NULL, *shared = NULL, *its = NULL, *open_to_all = NULL;
  FscacheClient *root, *other, *member;

  if (skip ())
    return;
  secret = make_file ("secret", "secret", 0, 0, 0600);
  shared = make_file ("shared", "shared", 0, TEAM, 0640);
  its = make_file ("its", "its", SOMEBODY, SOMEBODY, 0600);
  open_to_all = make_file ("open", "open", 0, 0, 0644);
  root = fsc_test_service_connect (service);
  other = connect_as (service, SOMEBODY, SOMEBODY, NULL, 0);
  member = connect_as (service, SOMEBODY, SOMEBODY, team, 1);

  assert_shares (root, secret, FSCACHE_SOURCE_OPENED, "secret");
  assert_refused (other, secret, O_RDONLY, EACCES);
  assert_refused (member, secret, O_RDONLY, EACCES);
  assert_shares (root, secret, FSCACHE_SOURCE_CACHE, "secret");

  assert_shares (root, shared, FSCACHE_SOURCE_OPENED, "shared");
  assert_shares (member, shared, FSCACHE_SOURCE_OPENED, "shared");
  assert_refused (other, shared, O_RDONLY, EACCES);
  assert_shares (member, shared, FSCACHE_SOURCE_CACHE, "shared");

  /* The service's own opener has no capabilities. */
  assert_shares (other, its, FSCACHE_SOURCE_OPENED, "its");
  assert_refused (root, its, O_RDONLY, EACCES);

  assert_shares (other, open_to_all, FSCACHE_SOURCE_OPENED, "open");
  assert_shares (root, open_to_all, FSCACHE_SOURCE_OPENED, "open");
  g_assert_cmpint (fscache_list (other, NULL, NULL, NULL, NULL), ==, 2);
  g_assert_cmpint (fscache_list (member, NULL, NULL, NULL, NULL), ==, 1);
  g_assert_cmpint (fscache_list (root, NULL, NULL, NULL, NULL), ==, 3);
  g_assert_cmpint (fscache_drop (other, open_to_all, NULL), ==, 1);
  assert_shares (root, open_to_all, FSCACHE_SOURCE_CACHE, "open");
  g_assert_cmpint (fscache_drop_matching (other, "*", NULL), ==, 1);
  g_assert_cmpint (fscache_list (root, NULL, NULL, NULL, NULL), ==, 3);
  fscache_disconnect (member);
  fscache_disconnect (other);
  fscache_disconnect (root);
}

/* Hits are watched and borrowed, and what the user may not open any more is not given. */
static void
test_coherent (FscTestService *service)
{
  g_autofree char *path = NULL, *next = NULL;
  FscacheRequest request = { .sharing = FSCACHE_SHARED };
  FscacheClient *other;
  FscacheReply reply = { .fd = -1 };

  if (skip ())
    return;
  path = make_file ("file", "one", 0, 0, 0644);
  request.uri = path;
  other = connect_as (service, SOMEBODY, SOMEBODY, NULL, 0);
  for (guint i = 0; reply.coherence != FSCACHE_COHERENCE_WATCHED; i++)
    {
      fscache_reply_clear (other, &reply);
      g_assert_cmpint (fscache_open_with (other, &request, &reply), >=, 0);
      g_assert_cmpuint (i, <, 5000);
      g_usleep (1000);
    }
  fscache_reply_clear (other, &reply);

  next = make_file ("next", "two", 0, 0, 0644);
  g_assert_cmpint (rename (next, path), ==, 0);
  assert_shares (other, path, FSCACHE_SOURCE_OPENED, "two");
  g_assert_cmpint (chmod (path, 0600), ==, 0);
  assert_refused (other, path, O_RDONLY, EACCES);
  g_assert_cmpint (chmod (path, 0644), ==, 0);
  assert_shares (other, path, FSCACHE_SOURCE_OPENED, "two");
  fscache_disconnect (other);
}

/* Borrows it, and says where it came from. */
static FscacheSource
borrow (FscacheClient *client, const char *path)
{
  FscacheBorrow borrowed;
  FscacheReply reply;

  if (fscache_borrow (client, path, &borrowed, &reply) < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (borrowed.fd, >=, 0);
  fscache_return (client, &borrowed);
  return borrowed.source;
}

static void
test_borrow (FscTestService *service)
{
  g_autofree char *path = NULL;
  FscacheClient *other, *root;

  if (skip ())
    return;
  path = make_file ("lent", "one", 0, 0, 0644);
  root = fsc_test_service_connect (service);
  other = connect_as (service, SOMEBODY, SOMEBODY, NULL, 0);
  for (guint i = 0; borrow (other, path) != FSCACHE_SOURCE_KEPT; i++)
    {
      g_assert_cmpuint (i, <, 5000);
      g_usleep (1000);
    }

  /* Another user's table says nothing of this one's handles. */
  assert_shares (root, path, FSCACHE_SOURCE_OPENED, "one");
  g_assert_cmpint (fscache_drop (root, path, NULL), ==, 1);
  g_assert_cmpint (borrow (other, path), ==, FSCACHE_SOURCE_KEPT);
  g_assert_cmpint (fscache_drop (other, path, NULL), ==, 1);
  g_assert_cmpint (borrow (other, path), ==, FSCACHE_SOURCE_OPENED);
  fscache_disconnect (other);
  fscache_disconnect (root);
}

/* What is made is the user's, and what is written was opened for it. */
static void
test_write (FscTestService *service)
{
  g_autofree char *theirs = NULL, *its = NULL, *made = NULL, *dir = NULL;
  FscacheClient *other;
  FscacheReply reply;
  struct stat st;

  if (skip ())
    return;
  theirs = make_file ("theirs", "theirs", 0, 0, 0644);
  its = make_file ("own", "own", SOMEBODY, SOMEBODY, 0644);
  dir = g_build_filename (directory, "dir", NULL);
  g_assert_cmpint (mkdir (dir, 0755), ==, 0);
  g_assert_cmpint (chown (dir, SOMEBODY, SOMEBODY), ==, 0);
  made = g_build_filename (dir, "made", NULL);
  other = connect_as (service, SOMEBODY, SOMEBODY, NULL, 0);

  /* An independent handle, too, is opened as that user, and not reopened as this one. */
  assert_opens (other, &(FscacheRequest){ .uri = theirs }, FSCACHE_SOURCE_PASSED, "theirs");
  assert_refused (other, theirs, O_RDWR, EACCES);
  assert_refused (other, theirs, O_RDONLY | O_TRUNC, EACCES);
  g_assert_cmpint (fscache_open (other, its, O_RDWR | O_APPEND, &reply), >=, 0);
  g_assert_cmpint (reply.sharing, ==, FSCACHE_INDEPENDENT);
  g_assert_cmpint (write (reply.fd, "!", 1), ==, 1);
  fscache_reply_clear (other, &reply);
  assert_shares (other, its, FSCACHE_SOURCE_OPENED, "own!");

  g_assert_cmpint (fscache_open (other, made, O_RDWR | O_CREAT | O_EXCL, &reply), >=, 0);
  g_assert_cmpint (fstat (reply.fd, &st), ==, 0);
  g_assert_cmpuint (st.st_uid, ==, SOMEBODY);
  g_assert_cmpuint (st.st_gid, ==, SOMEBODY);
  fscache_reply_clear (other, &reply);
  fscache_disconnect (other);
}

/* "Uid:\t1\t1\t1\t1" of /proc/PID/status. */
static char *
get_status (pid_t pid, const char *name)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", (int) pid);
  g_autofree char *text = NULL, *start = g_strdup_printf ("\n%s:", name);
  const char *line;

  if (!g_file_get_contents (path, &text, NULL, NULL) || (line = strstr (text, start)) == NULL)
    return g_strdup ("");
  line += strlen (start);
  return g_strstrip (g_strndup (line, strcspn (line, "\n")));
}

static void
test_processes (FscTestService *service)
{
  const gid_t team[] = { TEAM, SOMEBODY };
  g_autofree char *path = NULL;
  g_autoptr (GArray) openers = NULL;
  FscacheClient *other;
  guint n_found = 0;

  if (skip ())
    return;
  path = make_file ("any", "any", 0, 0, 0644);
  other = connect_as (service, SOMEBODY, SOMEBODY, team, 2);
  assert_shares (other, path, FSCACHE_SOURCE_OPENED, "any");
  openers = fsc_test_service_list_openers (service);
  for (guint i = 0; i < openers->len; i++)
    {
      pid_t pid = g_array_index (openers, pid_t, i);
      g_autofree char *uids = get_status (pid, "Uid"), *gids = get_status (pid, "Gid");
      g_autofree char *groups = get_status (pid, "Groups"), *bounds = get_status (pid, "CapBnd");
      g_autofree char *able = get_status (pid, "CapPrm"), *no_new = get_status (pid, "NoNewPrivs");

      if (g_strcmp0 (uids, "54321\t54321\t54321\t54321") != 0)
        continue;
      n_found++;
      g_assert_cmpstr (gids, ==, "54321\t54321\t54321\t54321");
      g_assert_cmpstr (groups, ==, "54321 54322");
      g_assert_cmpstr (able, ==, "0000000000000000");
      g_assert_cmpstr (bounds, ==, "0000000000000000");
      g_assert_cmpstr (no_new, ==, "1");
    }
  g_assert_cmpuint (n_found, ==, 1);
  fscache_disconnect (other);
  fsc_test_service_kill (service);
  fsc_test_assert_all_end (openers);
  fsc_test_service_start (service);
}

static void
assert_not_for_it (int r, const FscacheReply *reply)
{
  g_assert_cmpint (r, ==, -EPERM);
  g_assert_cmpint (reply->code, ==, FSCACHE_ERROR_REFUSED);
  g_assert_nonnull (strstr (reply->message, "54321"));
}

static void
test_for_all (FscTestService *service)
{
  FscacheReply reply;
  FscacheClient *other;

  if (skip ())
    return;
  other = connect_as (service, SOMEBODY, SOMEBODY, NULL, 0);
  assert_not_for_it (fscache_set (other, "max-handles", 100, NULL, NULL, &reply), &reply);
  assert_not_for_it ((int) fscache_holders (other, NULL, NULL, NULL, &reply), &reply);
  assert_not_for_it (fscache_drop_mount (other, "/", false, NULL, &reply), &reply);
  fscache_disconnect (other);
}

static void
test_bad_users (FscTestService *service)
{
  gid_t *groups = g_new0 (gid_t, 4097);
  const FscacheUser users[] = {
    { .uid = (uid_t) -1, .gid = 1 },
    { .uid = 1, .gid = (gid_t) -1 },
    { .uid = 1, .gid = 1, .groups = groups, .n_groups = 4097 },
    { .uid = 1, .gid = 1, .reserved = { 1 } },
  };

  for (guint i = 0; i < G_N_ELEMENTS (users); i++)
    {
      FscacheClient *client;

      g_assert_cmpint (fscache_connect_as (service->socket, 0, &users[i], &client), ==, -EINVAL);
      g_assert_null (client);
    }
  g_free (groups);
}

/* A service of a user can be nobody else. (In the child, root has become that user.) */
static int
run_as_user (FscTestService *service)
{
  const FscacheUser root = { .uid = 0, .gid = 0 };
  FscacheClient *client;
  FscacheReply reply;
  int r = fscache_connect_as (service->socket, 0, &root, &client);

  if (r != -EPERM || fscache_open (client, "/", O_RDONLY, &reply) != -EPERM
      || reply.code != FSCACHE_ERROR_REFUSED
      || strstr (reply.message, "runs as user 54321") == NULL)
    return 1;
  fscache_disconnect (client);

  /* Not even itself with fewer groups than it has; but itself. */
  r = fscache_connect_as (service->socket, 0, &(FscacheUser){ .uid = SOMEBODY, .gid = SOMEBODY },
                          &client);
  fscache_disconnect (client);
  if (r != -EPERM)
    return 2;
  r = fscache_connect_as (service->socket, 0,
                          &(FscacheUser){ SOMEBODY, SOMEBODY, (const gid_t[]){ TEAM }, 1, { 0 } },
                          &client);
  if (r < 0 || fscache_open (client, "/", O_RDONLY, &reply) < 0)
    return 3;
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
  return 0;
}

static void
test_unprivileged (void)
{
  const gid_t team[] = { TEAM };
  FscTestService *service;
  int status;
  pid_t pid;

  if (skip ())
    return;
  pid = fork ();
  if (pid == 0)
    {
      if (setgroups (1, team) < 0 || setgid (SOMEBODY) < 0 || setuid (SOMEBODY) < 0)
        _exit (10);
      service = fsc_test_service_new (NULL, NULL);
      status = run_as_user (service);
      fsc_test_service_free (service);
      _exit (status);
    }
  waitpid (pid, &status, 0);
  g_assert_cmpint (status, ==, 0);
}

static FscTestMessage
speak_for (uint32_t uid)
{
  return (FscTestMessage){ .header = { .opcode = FSC_OP_SPEAK_FOR, .serial = 9 },
                           .whom = { .uid = uid, .gid = uid } };
}

static int
greet (FscTestService *service, guint32 features, gboolean with_root)
{
  int fd = fsc_test_raw_connect (service->socket);
  int root = open ("/", O_PATH | O_CLOEXEC);
  FscTestMessage hello
      = { .header = { .opcode = FSC_OP_HELLO, .n_fds = with_root },
          .hello
          = { .magic = FSC_PROTOCOL_MAGIC, .lowest = 1, .highest = 1, .features = features } };
  g_auto (FscTestPacket) welcome = { 0 };

  fsc_test_raw_send (fd, &hello, &root);
  close (root);
  g_assert_true (fsc_test_raw_receive (fd, &welcome));
  g_assert_cmpuint (welcome.message.header.opcode, ==, FSC_OP_WELCOME);
  g_assert_cmpuint (welcome.message.welcome.features, ==, with_root ? features : 0);
  return fd;
}

static void
assert_disconnected (int fd, const FscTestMessage *message)
{
  g_auto (FscTestPacket) packet = { 0 };

  fsc_test_raw_send (fd, message, NULL);
  g_assert_false (fsc_test_raw_receive (fd, &packet));
  close (fd);
}

/* Out of turn it is a fault. */
static void
test_out_of_turn (FscTestService *service)
{
  FscTestMessage ping = { .header = { .opcode = FSC_OP_PING, .serial = 1 } };
  FscTestMessage speak = speak_for (geteuid ());
  int fd;

  assert_disconnected (greet (service, 0, TRUE), &speak);
  assert_disconnected (greet (service, FSC_FEATURE_SPEAKING, FALSE), &speak);

  fd = greet (service, FSC_FEATURE_SPEAKING, TRUE);
  fsc_test_raw_send (fd, &ping, NULL);
  {
    g_auto (FscTestPacket) done = { 0 };

    g_assert_true (fsc_test_raw_receive (fd, &done));
    g_assert_cmpuint (done.message.header.opcode, ==, FSC_OP_DONE);
  }
  assert_disconnected (fd, &speak);

  if (geteuid () != 0)
    return; /* the rest needs a service that listens */
  fd = greet (service, FSC_FEATURE_SPEAKING, TRUE);
  speak = speak_for (SOMEBODY);
  fsc_test_raw_send (fd, &speak, NULL);
  {
    g_auto (FscTestPacket) welcome = { 0 };

    g_assert_true (fsc_test_raw_receive (fd, &welcome));
    g_assert_cmpuint (welcome.message.header.opcode, ==, FSC_OP_WELCOME);
    g_assert_cmpuint (welcome.message.header.serial, ==, 9);
  }
  assert_disconnected (fd, &speak);
}

/* There are only so many; then one is told so, and the others go on. */
static void
test_too_many (FscTestService *service)
{
  g_autoptr (GPtrArray) clients
      = g_ptr_array_new_with_free_func ((GDestroyNotify) fscache_disconnect);
  FscacheReply reply;
  FscacheClient *client;
  int r = 0;

  if (skip ())
    return;
  for (guint i = 0; i < 300 && r == 0; i++)
    {
      r = fscache_connect_as (service->socket, 0, &(FscacheUser){ .uid = 60000 + i, .gid = 1 },
                              &client);
      g_ptr_array_add (clients, client);
    }
  g_assert_cmpint (r, ==, -EUSERS);
  g_assert_cmpuint (clients->len, ==, 256);
  g_assert_cmpint (fscache_open (client, "/", O_RDONLY, &reply), ==, -EUSERS);
  g_assert_cmpint (fscache_ping (clients->pdata[0], NULL), ==, 0);
}

int
main (int argc, char **argv)
{
  char name[] = "/tmp/fscache-test-speak-XXXXXX";
  int status;

  fsc_test_init (&argc, &argv);
  directory = mkdtemp (name);
  g_assert_nonnull (directory);
  g_assert_cmpint (chmod (directory, 0755), ==, 0);
  FSC_TEST_ADD ("/speak/apart", test_apart);
  FSC_TEST_ADD ("/speak/coherent", test_coherent);
  FSC_TEST_ADD ("/speak/borrow", test_borrow);
  FSC_TEST_ADD ("/speak/write", test_write);
  FSC_TEST_ADD ("/speak/processes", test_processes);
  FSC_TEST_ADD ("/speak/for-all", test_for_all);
  FSC_TEST_ADD ("/speak/bad-users", test_bad_users);
  FSC_TEST_ADD ("/speak/out-of-turn", test_out_of_turn);
  FSC_TEST_ADD ("/speak/too-many", test_too_many);
  g_test_add_func ("/speak/unprivileged", test_unprivileged);
  status = g_test_run ();
  {
    const char *remove[] = { "rm", "-rf", directory, NULL };

    g_spawn_sync (NULL, (char **) remove, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, NULL,
                  NULL);
  }
  return status;
}
