/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Replies that wait: what holders are slow to send, or never send, holds up nothing else of the
 * same client.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/harness/namespace.h"
#include "tests/harness/raw.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define N_HELD 200
#define N_LOCAL 253

/* Asks for so many files of a directory at once, as old as they may be. */
static void
ask (int fd, const char *directory, guint n, guint32 serial)
{
  g_autofree FscTestRecord *records = g_new0 (FscTestRecord, n);
  g_autoptr (GPtrArray) uris = g_ptr_array_new_with_free_func (g_free);

  for (guint i = 0; i < n; i++)
    {
      char *uri = g_strdup_printf ("file://%s/%u", directory, i);

      g_ptr_array_add (uris, uri);
      records[i].item = (FscItem){ .uri = { uri, strlen (uri) },
                                   .sharing = FSC_SHARING_SHARED,
                                   .max_age_ms = 600000 };
    }
  fsc_test_raw_send (fd,
                     &(FscTestMessage){ .header = { .opcode = FSC_OP_OPEN, .serial = serial },
                                        .n_records = n,
                                        .records = records },
                     NULL);
}

/* Takes results of this request until there are so many of this code, or the time has passed.
 * Returns how many there were. */
static guint
collect (int fd, guint32 serial, FscCode code, guint n, gint64 until)
{
  static FscTestPacket packet;
  guint n_found = 0;

  while (n_found < n)
    {
      gint64 left = (until - g_get_monotonic_time ()) / 1000;
      struct pollfd pollfd = { .fd = fd, .events = POLLIN };

      if (left <= 0 || poll (&pollfd, 1, (int) left) == 0)
        return n_found;
      g_assert_true (fsc_test_raw_receive (fd, &packet));
      g_assert_cmpint (packet.message.header.opcode, ==, FSC_OP_OPENED);
      for (guint i = 0; i < packet.message.n_records; i++)
        n_found += packet.message.header.serial == serial
                   && packet.message.records[i].result.code == code;
      fsc_test_packet_clear (&packet);
    }
  return n_found;
}

static gint64
in_seconds (double seconds)
{
  return g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);
}

static char *
make_files (FscTestService *service, const char *name, gboolean is_held, guint n)
{
  char *directory = g_build_filename (service->dir, name, NULL);

  g_assert_no_errno (g_mkdir (directory, 0755));
  if (is_held)
    g_assert_no_errno (mount ("none", directory, "ramfs", 0, "mode=0755"));
  for (guint i = 0; i < n; i++)
    {
      g_autofree char *file = g_strdup_printf ("%s/%u", directory, i);

      fsc_test_write (file, "content");
    }
  return directory;
}

static void
test_stuck_holders (void)
{
  FscTestService *service;
  g_autofree char *held = NULL;
  g_autofree char *local = NULL;
  g_autoptr (GArray) openers = NULL;
  int fd;

  if (!fsc_test_enter_namespaces ())
    {
      g_test_skip ("this user may not mount");
      return;
    }
  service = fsc_test_service_new ("[lanes]\ndeadline=2\n[file]\nttl=600\n", NULL);
  held = make_files (service, "held", TRUE, N_HELD);
  local = make_files (service, "local", FALSE, N_LOCAL);
  fd = fsc_test_raw_greet (service->socket, TRUE);
  ask (fd, held, N_HELD, 1);
  g_assert_cmpuint (collect (fd, 1, FSC_CODE_OK, N_HELD, in_seconds (10)), ==, N_HELD);
  ask (fd, local, N_LOCAL, 2);
  g_assert_cmpuint (collect (fd, 2, FSC_CODE_OK, N_LOCAL, in_seconds (10)), ==, N_LOCAL);

  openers = fsc_test_service_list_openers (service);
  for (guint i = 0; i < openers->len; i++)
    g_assert_no_errno (kill (g_array_index (openers, pid_t, i), SIGSTOP));
  g_usleep (G_USEC_PER_SEC / 5); /* they stop when they are next scheduled */
  ask (fd, held, N_HELD, 3);
  g_usleep (G_USEC_PER_SEC / 5);
  ask (fd, local, N_LOCAL, 4);
  g_assert_cmpuint (collect (fd, 4, FSC_CODE_OK, N_LOCAL, in_seconds (1)), ==, N_LOCAL);

  /* At the deadline holders are ended, one after the other, and the client, who has read all, is
   * told. */
  g_assert_cmpuint (collect (fd, 3, FSC_CODE_OPENER_FAILED, N_HELD, in_seconds (8)), ==, N_HELD);
  ask (fd, local, N_LOCAL, 5);
  g_assert_cmpuint (collect (fd, 5, FSC_CODE_OK, N_LOCAL, in_seconds (5)), ==, N_LOCAL);
  close (fd);
  g_assert_no_errno (umount2 (held, MNT_DETACH));
  fsc_test_service_free (service);
}

int
main (int argc, char *argv[])
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/outbox/stuck-holders", test_stuck_holders);
  return g_test_run ();
}
