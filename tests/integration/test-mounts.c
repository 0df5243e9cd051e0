/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Letting go of mounts, and who was given what. After drop --mount, umount works at once, unless a
 * client has something open there, and then it is known which. A mount that hangs holds up nobody.
 * All is in a mount namespace of the test's own; the file system that hangs is a FUSE server of the
 * test's own, which is stopped.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/answer.h"
#include "tests/harness/fuse.h"
#include "tests/harness/namespace.h"
#include "tests/harness/program.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"
#include "tests/integration/packet.h"

#define DEADLINE_MS 1500

static const char config[] = "[lanes]\nopeners=2\ndeadline=1.5\n[file]\nttl=60\n";

/* The stage: a mount "m", with whatever the test puts there. */

typedef struct
{
  FscTestService *service;
  FscacheClient *client;
  char *mount;
  pid_t server;
} Stage;

static char *
get_path (const Stage *stage, const char *name)
{
  return g_build_filename (stage->mount, name, NULL);
}

static char *
make_file (const Stage *stage, const char *name)
{
  char *path = get_path (stage, name);

  g_assert_true (g_file_set_contents (path, "1234", 4, NULL));
  return path;
}

static char *
make_tmpfs (const Stage *stage, const char *name)
{
  char *path = get_path (stage, name);

  g_assert_no_errno (g_mkdir (path, 0755));
  g_assert_no_errno (mount ("none", path, "tmpfs", 0, "mode=0755"));
  return path;
}

/* Without a file system it is a directory. Returns FALSE, having said so, if it cannot be mounted.
 */
static gboolean
stage_init (Stage *stage, const char *file_system)
{
  gboolean is_mounted = TRUE;

  *stage = (Stage){ .service = fsc_test_service_prepare (config, NULL) };
  stage->mount = g_build_filename (stage->service->dir, "m", NULL);
  g_assert_no_errno (g_mkdir (stage->mount, 0755));
  if (g_strcmp0 (file_system, "fuse") == 0)
    {
      stage->server = fsc_test_mount_fuse (stage->mount);
      is_mounted = stage->server > 0;
    }
  else if (file_system != NULL)
    g_assert_no_errno (mount ("none", stage->mount, file_system, 0, "mode=0755"));
  fsc_test_service_start (stage->service);
  stage->client = fsc_test_service_connect (stage->service);
  if (!is_mounted)
    g_test_skip ("FUSE cannot be had here");
  return is_mounted;
}

static void
end_server (Stage *stage)
{
  if (stage->server == 0)
    return;
  kill (stage->server, SIGKILL);
  waitpid (stage->server, NULL, 0);
  stage->server = 0;
}

static void
stage_clear (Stage *stage)
{
  g_clear_pointer (&stage->client, fscache_disconnect);
  end_server (stage);
  fsc_test_service_stop (stage->service);
  umount2 (stage->mount, MNT_DETACH); /* if it is still there */
  fsc_test_service_free (stage->service);
  g_free (stage->mount);
}

static int
open_with (FscacheClient *client, const char *path, int flags, FscacheSharing sharing,
           FscacheReply *reply)
{
  FscacheRequest request = { .uri = path, .flags = flags, .sharing = sharing };
  int fd = fscache_open_with (client, &request, reply);

  if (fd < 0)
    g_test_message ("%s", reply->message);
  g_assert_cmpint (fd, >=, 0);
  return fd;
}

static void
open_and_close (FscacheClient *client, const char *path, int flags, FscacheSharing sharing)
{
  FscacheReply reply;

  open_with (client, path, flags, sharing, &reply);
  fscache_reply_clear (client, &reply);
}

static void
assert_busy (const char *path)
{
  g_assert_cmpint (umount2 (path, 0), ==, -1);
  g_assert_cmpint (errno, ==, EBUSY);
}

static FscacheReleased
drop (Stage *stage, const char *path, gboolean is_recursive)
{
  gint64 since = g_get_monotonic_time ();
  FscacheReleased released;
  FscacheReply reply;

  fscache_drop_mount (stage->client, path, is_recursive, &released, &reply);
  g_assert_cmpstr (reply.message, ==, "");
  g_assert_cmpint (g_get_monotonic_time () - since, <, (DEADLINE_MS + 1000) * 1000);
  return released;
}

static void
drop_and_unmount (Stage *stage)
{
  FscacheReleased released = drop (stage, stage->mount, FALSE);

  g_assert_cmpuint (released.n_stuck, ==, 0);
  g_assert_no_errno (umount2 (stage->mount, 0));
}

/* drop --mount */

static void
test_all_kinds (void)
{
  Stage stage;
  FscacheReleased released;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *other = make_file (&stage, "other");
    g_autofree char *pinned = make_file (&stage, "pinned");
    g_autofree char *local = fsc_test_service_write (stage.service, "local", "x");

    open_and_close (stage.client, file, O_RDONLY, FSCACHE_INDEPENDENT);
    open_and_close (stage.client, file, O_PATH, FSCACHE_SHARED);
    open_and_close (stage.client, stage.mount, O_RDONLY | O_DIRECTORY, FSCACHE_INDEPENDENT);
    open_and_close (stage.client, other, O_RDONLY, FSCACHE_EXCLUSIVE);
    open_and_close (stage.client, other, O_RDWR, FSCACHE_INDEPENDENT);
    g_assert_cmpint (fscache_pin (stage.client, pinned, NULL), ==, 0);
    open_and_close (stage.client, local, O_RDONLY, FSCACHE_SHARED);
    for (guint i = 0; i < 20; i++) /* watched by then */
      open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
    assert_busy (stage.mount);

    released = drop (&stage, stage.mount, FALSE);
    g_assert_no_errno (umount2 (stage.mount, 0));
    g_assert_cmpuint (released.n_mounts, ==, 1);
    g_assert_cmpuint (released.n_handles, ==, 4); /* what was lent and given back is closed */
    g_assert_cmpuint (released.n_stuck, ==, 0);
    g_assert_cmpuint (released.n_failed, ==, 0);
    g_assert_cmpuint (released.n_lent, ==, 0);
    g_assert_cmpuint (released.n_clients, ==, 1);
    g_assert_cmpuint (released.n_given, ==, 24); /* but for the one that was given back */

    /* The others have stayed, and there is a new answer. */
    g_assert_cmpint (fscache_info (stage.client, local, NULL, NULL, NULL), ==, 1);
    g_assert_cmpint (fscache_open (stage.client, file, O_RDONLY, NULL), ==, -ENOENT);
  }
  stage_clear (&stage);
}

/* Again and again, and nothing of what was given before is counted to what is mounted then: IDs of
 * mounts are used again. */
static void
test_repeated (void)
{
  Stage stage;

  stage_init (&stage, NULL);
  for (guint i = 0; i < 20; i++)
    {
      g_autofree char *file = NULL;
      FscacheReleased released;

      g_assert_no_errno (mount ("none", stage.mount, "tmpfs", 0, "mode=0755"));
      file = make_file (&stage, "file");
      for (guint j = 0; j < 5; j++)
        open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
      released = drop (&stage, stage.mount, FALSE);
      g_assert_cmpuint (released.n_handles, ==, 1);
      g_assert_no_errno (umount2 (stage.mount, 0));
      g_usleep (20 * 1000); /* without this it may see no more than one change of the same mount */
      g_assert_no_errno (mount ("none", stage.mount, "tmpfs", 0, "mode=0755"));
      released = drop (&stage, stage.mount, FALSE);
      g_assert_cmpuint (released.n_given, ==, 0);
      g_assert_no_errno (umount2 (stage.mount, 0));
    }
  stage_clear (&stage);
}

static void
test_bind (void)
{
  Stage stage;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *from = get_path (&stage, "from");
    g_autofree char *to = get_path (&stage, "to");
    g_autofree char *original = NULL, *through = NULL;

    g_assert_no_errno (g_mkdir (from, 0755));
    g_assert_no_errno (g_mkdir (to, 0755));
    g_assert_no_errno (mount (from, to, NULL, MS_BIND, NULL));
    original = make_file (&stage, "from/file");
    through = get_path (&stage, "to/file");
    open_and_close (stage.client, original, O_RDONLY, FSCACHE_SHARED);
    open_and_close (stage.client, through, O_RDONLY, FSCACHE_SHARED);
    assert_busy (to);
    g_assert_cmpuint (drop (&stage, to, FALSE).n_handles, ==, 1);
    g_assert_no_errno (umount2 (to, 0));
    g_assert_cmpint (fscache_info (stage.client, original, NULL, NULL, NULL), ==, 1);
  }
  drop_and_unmount (&stage);
  stage_clear (&stage);
}

static void
note_coherence (const FscacheEntry *entry, void *data)
{
  *(FscacheCoherence *) data = entry->coherence;
}

/* Asks until it is watched. */
static void
make_watched (Stage *stage, const char *path)
{
  FscacheCoherence coherence = FSCACHE_COHERENCE_UNCACHED;

  for (guint i = 0; i < 1000 && coherence != FSCACHE_COHERENCE_WATCHED; i++)
    {
      open_and_close (stage->client, path, O_RDONLY, FSCACHE_SHARED);
      g_usleep (1000);
      fscache_info (stage->client, path, note_coherence, &coherence, NULL);
    }
  g_assert_cmpint (coherence, ==, FSCACHE_COHERENCE_WATCHED);
}

/* A way that leads over the mount is watched there, and that keeps nothing busy. */
static void
test_way_through (void)
{
  Stage stage;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *local = fsc_test_service_write (stage.service, "local", "x");
    g_autofree char *link = get_path (&stage, "link");

    g_assert_no_errno (symlink (local, link));
    make_watched (&stage, link);
    g_assert_cmpuint (drop (&stage, stage.mount, FALSE).n_handles, ==, 0);
    g_assert_no_errno (umount2 (stage.mount, 0));
    g_assert_cmpint (fscache_open (stage.client, link, O_RDONLY, NULL), ==, -ENOENT);
  }
  stage_clear (&stage);
}

static void
test_recursive (void)
{
  Stage stage;
  FscacheReleased released;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *sub = make_tmpfs (&stage, "sub");
    g_autofree char *subsub = make_tmpfs (&stage, "sub/sub");
    g_autofree char *files[]
        = { make_file (&stage, "f"), make_file (&stage, "sub/f"), make_file (&stage, "sub/sub/f") };

    for (guint i = 0; i < 3; i++)
      open_and_close (stage.client, files[i], O_RDONLY, FSCACHE_SHARED);
    released = drop (&stage, stage.mount, FALSE);
    g_assert_cmpuint (released.n_handles, ==, 1);
    g_assert_cmpuint (released.n_given, ==, 1);
    assert_busy (sub);
    released = drop (&stage, stage.mount, TRUE);
    g_assert_cmpuint (released.n_mounts, ==, 3);
    g_assert_cmpuint (released.n_handles, ==, 2);
    g_assert_cmpuint (released.n_given, ==, 3);
    g_assert_no_errno (umount2 (subsub, 0));
    g_assert_no_errno (umount2 (sub, 0));
    g_assert_no_errno (umount2 (stage.mount, 0));
    for (guint i = 0; i < 3; i++)
      g_free (g_steal_pointer (&files[i]));
  }
  stage_clear (&stage);
}

/* What clients have is theirs. */
static void
test_kept (void)
{
  Stage stage;
  FscacheReleased released;
  FscacheReply kept, lent;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *other = make_file (&stage, "other");

    open_with (stage.client, file, O_RDONLY, FSCACHE_SHARED, &kept);
    open_with (stage.client, other, O_RDONLY, FSCACHE_EXCLUSIVE, &lent);
    g_assert_cmpuint (lent.lease, !=, 0);
    released = drop (&stage, stage.mount, FALSE);
    g_assert_cmpuint (released.n_handles, ==, 2);
    g_assert_cmpuint (released.n_given, ==, 2);
    g_assert_cmpuint (released.n_lent, ==, 1);
    assert_busy (stage.mount);
    fscache_give_back (stage.client, &lent);
    released = drop (&stage, stage.mount, FALSE);
    g_assert_cmpuint (released.n_given, ==, 1);
    g_assert_cmpuint (released.n_lent, ==, 0);
    assert_busy (stage.mount);
    fscache_reply_clear (stage.client, &kept);
    g_assert_no_errno (umount2 (stage.mount, 0));
  }
  stage_clear (&stage);
}

/* Replies that a client does not read: those in its socket are its own, those that wait are not. */
static void
test_unread (void)
{
  Stage stage;
  FscacheReleased released;
  int fd;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *uri = g_strconcat ("file://", file, NULL);
    static guint8 buffer[FSC_PACKET_MAX];
    size_t length;

    fd = fsc_test_raw_greet (stage.service->socket, TRUE);
    for (guint i = 1; i <= 4; i++)
      {
        length = fsc_test_write_open (buffer, sizeof buffer, i, uri, O_RDONLY, FSC_SHARING_SHARED,
                                      200);
        g_assert_cmpint (fsc_channel_send (fd, buffer, length, NULL, 0, 0), ==, 0);
      }
    open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
    g_assert_cmpint (fscache_ping (stage.client, NULL), ==, 0);
    released = drop (&stage, stage.mount, FALSE);
    g_assert_cmpuint (released.n_failed, >, 0);
    g_assert_cmpuint (released.n_clients, ==, 2);
    assert_busy (stage.mount);
    close (fd);
    for (guint i = 0; i < 100 && umount2 (stage.mount, 0) < 0; i++)
      g_usleep (1000); /* what lies in a socket is closed in a moment */
    g_assert_cmpint (umount2 (stage.mount, 0), <, 0);
  }
  stage_clear (&stage);
}

/* The last close of a large file without a name is made by a thread. */
static void
test_unlinked (void)
{
  Stage stage;

  stage_init (&stage, "tmpfs");
  for (guint i = 0; i < 5; i++)
    {
      g_autofree char *file = make_file (&stage, "large");
      FscacheReply reply;

      g_assert_no_errno (truncate (file, 64 << 20));
      open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
      g_assert_no_errno (unlink (file));
      g_assert_cmpint (fscache_ping (stage.client, &reply), ==, 0);
      drop_and_unmount (&stage);
      g_assert_no_errno (mount ("none", stage.mount, "tmpfs", 0, "mode=0755"));
    }
  stage_clear (&stage);
}

static void
assert_refused (Stage *stage, const char *mount, FscacheCode code, int error, const char *says)
{
  FscacheReleased released;
  FscacheReply reply = { 0 };
  FscacheReply again = { 0 };

  g_assert_cmpint (fscache_drop_mount (stage->client, mount, FALSE, &released, &reply), ==, -error);
  g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.code, ==, code);
  g_assert_nonnull (strstr (reply.message, says));
  g_assert_cmpuint (released.n_handles, ==, 0);
  g_assert_cmpint (fscache_holders_on_mount (stage->client, mount, FALSE, NULL, NULL, &again), ==,
                   -error);
  g_assert_cmpint (again.code, ==, code);
}

static void
test_errors (void)
{
  Stage stage;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *lies_on = g_strdup_printf ("lies on the mount %s", stage.mount);
    g_autofree char *uri = g_strdup_printf ("file:%s//", stage.mount);

    assert_refused (&stage, file, FSCACHE_ERROR_BAD_REQUEST, EINVAL, lies_on);
    assert_refused (&stage, stage.service->dir, FSCACHE_ERROR_BAD_REQUEST, EINVAL,
                    "is no mount point");
    assert_refused (&stage, "http://x/", FSCACHE_ERROR_BAD_URI, EINVAL, "http://x/");
    assert_refused (&stage, NULL, FSCACHE_ERROR_BAD_REQUEST, EINVAL, "");
    open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
    g_assert_cmpuint (drop (&stage, uri, FALSE).n_handles, ==, 1);
  }
  stage_clear (&stage);
}

/* Only DROP and HOLDERS know mounts. */
static void
test_malformed (void)
{
  Stage stage;
  const FscOpcode opcodes[] = { FSC_OP_PIN, FSC_OP_INFO };

  stage_init (&stage, "tmpfs");
  for (guint i = 0; i < G_N_ELEMENTS (opcodes); i++)
    {
      g_autofree char *uri = g_strconcat ("file://", stage.mount, NULL);
      int fd = fsc_test_raw_greet (stage.service->socket, TRUE);
      FscTestMessage message = { .header = { .opcode = opcodes[i], .serial = 7 },
                                 .target = { .uri = { uri, strlen (uri) }, .is_mount = true } };
      FscTestPacket packet = { 0 };

      fsc_test_raw_send (fd, &message, NULL);
      g_assert_false (fsc_test_raw_receive (fd, &packet));
      close (fd);
    }
  stage_clear (&stage);
}

/* A client that goes before it is answered. */
static void
test_gone (void)
{
  Stage stage;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *uri = g_strconcat ("file://", stage.mount, NULL);
    FscTestMessage message = { .header = { .opcode = FSC_OP_DROP, .serial = 7 },
                               .target = { .uri = { uri, strlen (uri) }, .is_mount = true } };

    for (guint i = 0; i < 50; i++)
      {
        int fd = fsc_test_raw_greet (stage.service->socket, TRUE);
        FscacheReply reply;

        /* Those of the last one may be carried out just now. */
        if (fscache_open (stage.client, file, O_RDONLY, &reply) < 0)
          g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_CANCELLED);
        fscache_reply_clear (stage.client, &reply);
        for (guint j = 0; j < 5; j++)
          fsc_test_raw_send (fd, &message, NULL);
        close (fd);
      }
  }
  drop_and_unmount (&stage);
  stage_clear (&stage);
}

/* Mounts that answer, and that do not */

static void
test_fuse (void)
{
  Stage stage;

  if (stage_init (&stage, "fuse"))
    {
      g_autofree char *file = get_path (&stage, "file");

      for (guint i = 0; i < 20; i++)
        {
          open_and_close (stage.client, file, O_RDONLY, FSCACHE_SHARED);
          open_and_close (stage.client, file, O_PATH, FSCACHE_SHARED);
          open_and_close (stage.client, file, O_RDONLY, FSCACHE_INDEPENDENT);
          g_assert_cmpuint (fsc_test_service_counter (stage.service, "held"), ==, 2);
          assert_busy (stage.mount);
          drop_and_unmount (&stage);
          end_server (&stage);
          stage.server = fsc_test_mount_fuse (stage.mount);
          g_assert_cmpint (stage.server, >, 0);
        }
    }
  stage_clear (&stage);
}

/* Handles that are held, opens under way, processes that were given up: all of a mount that is
 * dead.
 */
static void
test_dead (void)
{
  Stage stage;

  if (stage_init (&stage, "fuse"))
    {
      g_autofree char *file = get_path (&stage, "file");
      g_autofree char *local = fsc_test_service_write (stage.service, "local", "x");
      g_autofree char *uri = g_strconcat ("file://", stage.mount, "/cold", NULL);
      g_autoptr (GArray) openers = NULL;
      g_auto (FscTestPacket) packet = { 0 };
      FscTestRecord record
          = { .item = { .uri = { uri, strlen (uri) }, .sharing = FSC_SHARING_SHARED } };
      FscTestMessage message = { .header = { .opcode = FSC_OP_OPEN, .serial = 7 },
                                 .n_records = 1,
                                 .records = &record };
      FscacheReleased released;
      FscacheReply kept;
      gint64 since;
      int fd;

      open_and_close (stage.client, file, O_PATH, FSCACHE_SHARED);
      open_with (stage.client, file, O_RDONLY, FSCACHE_SHARED, &kept);
      openers = fsc_test_service_list_openers (stage.service);
      g_assert_no_errno (kill (stage.server, SIGSTOP));
      fd = fsc_test_raw_greet (stage.service->socket, TRUE);
      fsc_test_raw_send (fd, &message, NULL);
      g_usleep (100 * 1000);

      since = g_get_monotonic_time ();
      released = drop (&stage, stage.mount, FALSE);
      g_test_message ("%u processes hang after %u ms", (guint) released.n_stuck,
                      (guint) ((g_get_monotonic_time () - since) / 1000));
      g_assert_cmpuint (released.n_handles, ==, 2);
      g_assert_cmpuint (released.n_failed, ==, 1);
      g_assert_cmpuint (released.n_openers, >, 0);
      g_assert_cmpuint (released.n_given, ==, 2);
      g_assert_true (fsc_test_raw_receive (fd, &packet));
      g_assert_cmpint (packet.message.records[0].result.code, ==, FSC_CODE_CANCELLED);
      close (fd);
      open_and_close (stage.client, local, O_RDONLY, FSCACHE_SHARED);

      /* Its end is the end of all that hangs. */
      g_assert_no_errno (umount2 (stage.mount, MNT_DETACH));
      end_server (&stage);
      fscache_reply_clear (stage.client, &kept);
      fsc_test_service_wait_for (stage.service, "openers_stuck", 0);
      fsc_test_assert_all_end (openers);
    }
  stage_clear (&stage);
}

/* Holders */

typedef struct
{
  GPtrArray *lines; /* "PID URI SHARING GIVEN LENT" */
  guint64 given, forgotten;
} Holders;

static void
take_holding (const FscacheHolding *holding, void *data)
{
  Holders *holders = data;

  g_assert_cmpuint (holding->client, >, 0);
  g_assert_cmpuint (holding->uid, ==, getuid ());
  g_assert_cmpuint (holding->first_ms, >=, holding->last_ms);
  if (holding->uri[0] == '\0')
    {
      holders->forgotten += holding->n_given;
      return;
    }
  holders->given += holding->n_given;
  g_ptr_array_add (holders->lines, g_strdup_printf ("%d %s %s %u %u", (int) holding->pid,
                                                    strrchr (holding->uri, '/') + 1,
                                                    fscache_sharing_name (holding->sharing),
                                                    (guint) holding->n_given, holding->n_lent));
}

static void
list_holders (Stage *stage, const char *uri, const char *mount, Holders *holders)
{
  gssize n;

  *holders = (Holders){ .lines = g_ptr_array_new_with_free_func (g_free) };
  n = mount != NULL
          ? fscache_holders_on_mount (stage->client, mount, FALSE, take_holding, holders, NULL)
          : fscache_holders (stage->client, uri, take_holding, holders, NULL);
  g_assert_cmpint (n, >=, holders->lines->len);
}

static void
assert_line (Holders *holders, pid_t pid, const char *rest)
{
  g_autofree char *line = g_strdup_printf ("%d %s", (int) pid, rest);

  for (guint i = 0; i < holders->lines->len; i++)
    if (g_str_equal (holders->lines->pdata[i], line))
      return;
  for (guint i = 0; i < holders->lines->len; i++)
    g_test_message ("%s", (char *) holders->lines->pdata[i]);
  g_error ("not there: %s", line);
}

/* A client of its own, which has opened these and waits to be killed. */
static pid_t
fork_client (Stage *stage, const char *const *paths, FscacheSharing sharing)
{
  int ends[2];
  char byte;
  pid_t pid;

  g_assert_no_errno (pipe2 (ends, O_CLOEXEC));
  pid = fork ();
  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      FscacheClient *client = NULL;

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      fscache_connect (stage->service->socket, FSCACHE_NO_FALLBACK, &client);
      for (; *paths != NULL; paths++)
        open_with (client, *paths, O_RDONLY, sharing, &(FscacheReply){ 0 });
      if (write (ends[1], "x", 1) != 1)
        _exit (1);
      for (;;)
        pause ();
    }
  g_assert_cmpint (read (ends[0], &byte, 1), ==, 1);
  close (ends[0]);
  close (ends[1]);
  return pid;
}

static void
end_client (pid_t pid)
{
  g_assert_no_errno (kill (pid, SIGKILL));
  waitpid (pid, NULL, 0);
}

static void
test_holders (void)
{
  Stage stage;
  Holders holders;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *a = make_file (&stage, "a");
    g_autofree char *b = make_file (&stage, "b");
    g_autofree char *local = fsc_test_service_write (stage.service, "local", "x");
    const char *const both[] = { a, b, NULL };
    const char *const one[] = { b, NULL };
    FscacheRequest requests[64] = { 0 };
    FscacheReply replies[64];
    FscacheReply lent;
    pid_t first, second;

    list_holders (&stage, NULL, NULL, &holders);
    g_assert_cmpuint (holders.lines->len, ==, 0);
    g_ptr_array_unref (holders.lines);

    first = fork_client (&stage, both, FSCACHE_SHARED);
    second = fork_client (&stage, one, FSCACHE_EXCLUSIVE);
    for (guint i = 0; i < 64; i++)
      requests[i] = (FscacheRequest){ .uri = a, .sharing = FSCACHE_SHARED };
    g_assert_cmpint (fscache_open_many (stage.client, requests, replies, 64), ==, 0);
    for (guint i = 0; i < 64; i++)
      fscache_reply_clear (stage.client, &replies[i]);
    open_and_close (stage.client, a, O_RDONLY, FSCACHE_INDEPENDENT);
    open_and_close (stage.client, local, O_RDONLY, FSCACHE_SHARED);
    open_with (stage.client, b, O_RDONLY, FSCACHE_EXCLUSIVE, &lent);

    list_holders (&stage, a, NULL, &holders);
    assert_line (&holders, first, "a shared 1 0");
    assert_line (&holders, getpid (), "a shared 64 0");
    assert_line (&holders, getpid (), "a independent 1 0");
    g_assert_cmpuint (holders.lines->len, ==, 3);
    g_ptr_array_unref (holders.lines);

    list_holders (&stage, NULL, stage.mount, &holders);
    assert_line (&holders, first, "b shared 1 0");
    assert_line (&holders, second, "b exclusive 1 1");
    assert_line (&holders, getpid (), "b exclusive 1 1");
    g_assert_cmpuint (holders.lines->len, ==, 6);
    g_ptr_array_unref (holders.lines);

    /* It is known of what is not cached any more, and not of what was given back or of who has
     * gone.
     */
    fscache_give_back (stage.client, &lent);
    g_assert_cmpint (fscache_drop_matching (stage.client, "*", NULL), >, 0);
    end_client (first);
    fsc_test_service_wait_for (stage.service, "clients", 3);
    list_holders (&stage, NULL, stage.mount, &holders);
    assert_line (&holders, second, "b exclusive 1 1");
    assert_line (&holders, getpid (), "a shared 64 0");
    assert_line (&holders, getpid (), "a independent 1 0");
    g_assert_cmpuint (holders.lines->len, ==, 3);
    g_ptr_array_unref (holders.lines);
    assert_busy (stage.mount);
    end_client (second);
  }
  fsc_test_service_wait_for (stage.service, "clients", 2);
  drop_and_unmount (&stage);
  stage_clear (&stage);
}

/* More than fits into a page, and more than is remembered. */
static void
test_many (void)
{
  Stage stage;
  Holders holders;
  const guint n = 6000;

  stage_init (&stage, "tmpfs");
  {
    g_autofree FscacheRequest *requests = g_new0 (FscacheRequest, n);
    g_autofree FscacheReply *replies = g_new0 (FscacheReply, n);
    g_autoptr (GPtrArray) paths = g_ptr_array_new_with_free_func (g_free);
    FscacheReleased released;

    for (guint i = 0; i < n; i++)
      {
        g_autofree char *name = g_strdup_printf ("a-name-that-is-not-too-short-%u", i);

        g_ptr_array_add (paths, make_file (&stage, name));
        requests[i] = (FscacheRequest){ .uri = paths->pdata[i], .flags = O_PATH };
      }
    for (guint i = 0; i < n; i += 500)
      {
        g_assert_cmpint (fscache_open_many (stage.client, requests + i, replies + i, 500), ==, 0);
        for (guint j = i; j < i + 500; j++)
          fscache_reply_clear (stage.client, &replies[j]);
        list_holders (&stage, NULL, NULL, &holders);
        g_assert_cmpuint (holders.given + holders.forgotten, ==, i + 500);
        g_assert_cmpuint (holders.lines->len, ==, holders.given);
        g_assert_cmpuint (holders.lines->len, <=, 4096);
        g_ptr_array_unref (holders.lines);
      }
    list_holders (&stage, paths->pdata[n - 1], NULL, &holders);
    g_assert_cmpuint (holders.lines->len, ==, 1);
    g_assert_cmpuint (holders.forgotten, >, 0);
    g_ptr_array_unref (holders.lines);
    released = drop (&stage, stage.mount, FALSE);
    g_assert_cmpuint (released.n_forgotten, ==, holders.forgotten);
    g_assert_cmpuint (released.n_given + released.n_forgotten, ==, n);
  }
  g_assert_no_errno (umount2 (stage.mount, 0));
  stage_clear (&stage);
}

/* fscachectl */

#define RUN(stage, expected, out_has, error_has, ...)                                              \
  do                                                                                               \
    {                                                                                              \
      g_auto (FscTestProgram) program_ = { 0 };                                                    \
                                                                                                   \
      fsc_test_service_ctl ((stage)->service, &program_, FSC_TEST_WORDS (__VA_ARGS__));            \
      fsc_test_program_assert_exit (&program_, expected);                                          \
      g_test_message ("%s%s", program_.out, program_.error);                                       \
      g_assert_nonnull (strstr (program_.out, out_has));                                           \
      g_assert_nonnull (strstr (program_.error, error_has));                                       \
      g_assert_true ((expected) == 0 || program_.out[0] == '\0');                                  \
    }                                                                                              \
  while (0)

static void
test_ctl (void)
{
  Stage stage;
  FscacheReply kept;

  stage_init (&stage, "tmpfs");
  {
    g_autofree char *file = make_file (&stage, "file");
    g_autofree char *nothing = get_path (&stage, "nothing");
    g_autofree char *uri = g_strconcat ("file://", stage.mount, NULL);

    RUN (&stage, 0, "[]", "", "holders", "--json");
    open_with (stage.client, file, O_RDONLY, FSCACHE_SHARED, &kept);
    RUN (&stage, 0, "test-mounts", "", "holders");
    RUN (&stage, 0, "/m/file", "", "holders", file);
    RUN (&stage, 0, "\"given\":1", "", "holders", "--mount", stage.mount, "--json");
    RUN (&stage, 0, "1 program was given 1 handle", "", "drop", "--mount", "m");
    assert_busy (stage.mount);
    fscache_reply_clear (stage.client, &kept);
    RUN (&stage, 0, "\"stuck\":0", "", "drop", "--recursive", "--json", "--mount", uri);

    RUN (&stage, 1, "", "is no mount point: it lies on the mount", "drop", "--mount", file);
    RUN (&stage, 1, "", "No such file or directory", "drop", "--mount", nothing);
    RUN (&stage, 1, "", "No such file or directory", "holders", "--mount", nothing);
    RUN (&stage, 2, "", "it needs URIs and patterns, or --all, or --mount", "drop", "--mount",
         stage.mount, file);
    RUN (&stage, 2, "", "goes with --mount", "drop", "--recursive", file);
    RUN (&stage, 2, "", "not both", "holders", "--mount", stage.mount, file);
    RUN (&stage, 2, "", "is empty", "drop", "--mount", "");
    RUN (&stage, 0, "dropped ", "", "drop", "--mount", stage.mount);
    g_assert_no_errno (umount2 (stage.mount, 0));
  }
  stage_clear (&stage);
}

static void
run (gconstpointer func)
{
  if (getenv ("FSC_TEST_HAS_NAMESPACES") == NULL)
    g_test_skip ("a mount namespace cannot be had here");
  else
    ((GTestFunc) (gsize) func) ();
}

#define ADD(name, func) g_test_add_data_func ("/mounts/" name, (gconstpointer) (gsize) (func), run)

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  if (fsc_test_enter_namespaces ())
    g_setenv ("FSC_TEST_HAS_NAMESPACES", "1", TRUE);
  ADD ("drop/all-kinds", test_all_kinds);
  ADD ("drop/repeated", test_repeated);
  ADD ("drop/bind", test_bind);
  ADD ("drop/way-through", test_way_through);
  ADD ("drop/recursive", test_recursive);
  ADD ("drop/kept", test_kept);
  ADD ("drop/unread", test_unread);
  ADD ("drop/unlinked", test_unlinked);
  ADD ("drop/errors", test_errors);
  ADD ("drop/malformed", test_malformed);
  ADD ("drop/gone", test_gone);
  ADD ("drop/fuse", test_fuse);
  ADD ("drop/dead", test_dead);
  ADD ("holders/several", test_holders);
  ADD ("holders/many", test_many);
  ADD ("ctl", test_ctl);
  return g_test_run ();
}
