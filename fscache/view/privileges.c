/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Privileges of threads; see privileges.h.
 */
#include "fscache/view/privileges.h"

#include <errno.h>
#include <glib.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int unwanted[]
    = { CAP_CHOWN,  CAP_DAC_OVERRIDE,    CAP_DAC_READ_SEARCH, CAP_FOWNER,
        CAP_FSETID, CAP_LINUX_IMMUTABLE, CAP_MAC_OVERRIDE,    CAP_SYS_RESOURCE };

/* They stay permitted: unmounting may need them. */
static void
change (gboolean is_wanted)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2];

  if (syscall (SYS_capget, &header, data) < 0)
    return;
  for (gsize i = 0; i < G_N_ELEMENTS (unwanted); i++)
    {
      struct __user_cap_data_struct *word = &data[CAP_TO_INDEX (unwanted[i])];
      guint32 bit = CAP_TO_MASK (unwanted[i]);

      if (is_wanted)
        word->effective |= word->permitted & bit;
      else
        word->effective &= ~bit;
    }
  syscall (SYS_capset, &header, data);
}

void
fsc_privileges_drop (void)
{
  change (FALSE);
}

void
fsc_privileges_restore (void)
{
  change (TRUE);
}

/* By system calls, which change the thread; setgroups() would change them all. */
int
fsc_privileges_run_as (uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups,
                       FscPrivilegesFunc func, int fd, const void *argument)
{
  int n_own = getgroups (0, NULL), error;
  g_autofree gid_t *own = g_new (gid_t, MAX (n_own, 1));

  n_own = getgroups (n_own, own);
  if (n_own < 0 || syscall (SYS_setgroups, n_groups, groups) < 0)
    return -EACCES;
  setfsgid (gid);
  setfsuid (uid);
  /* Neither says whether it went well. */
  error = setfsuid ((uid_t) -1) == (int) uid && setfsgid ((gid_t) -1) == (int) gid
              ? func (fd, argument)
              : -EACCES;
  setfsuid (geteuid ());
  setfsgid (getegid ());
  if (syscall (SYS_setgroups, n_own, own) < 0)
    g_error ("A thread cannot have its groups back: %s", g_strerror (errno));
  fsc_privileges_drop (); /* it was root again, with all that this brings */
  return error;
}
