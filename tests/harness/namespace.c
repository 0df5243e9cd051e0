/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A mount namespace for a test; see namespace.h.
 */
#include "tests/harness/namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static gboolean
write_to (const char *path, const char *text)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  gboolean is_done = fd >= 0 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);

  if (fd >= 0)
    close (fd);
  return is_done;
}

gboolean
fsc_test_enter_namespaces (void)
{
  g_autofree char *users = g_strdup_printf ("0 %u 1", getuid ());
  g_autofree char *groups = g_strdup_printf ("0 %u 1", getgid ());

  if (unshare (CLONE_NEWNS) < 0
      && (unshare (CLONE_NEWUSER | CLONE_NEWNS) < 0 || !write_to ("/proc/self/setgroups", "deny")
          || !write_to ("/proc/self/uid_map", users) || !write_to ("/proc/self/gid_map", groups)))
    return FALSE;
  return mount ("none", "/", "none", MS_REC | MS_PRIVATE, "") == 0;
}
