/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Giving up what is not needed; see privileges.h.
 */
#include "fscache/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

bool
fsc_privileges_can_become_others (void)
{
  const uint32_t needed = 1u << CAP_SETUID | 1u << CAP_SETGID;
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct has[2] = { 0 };

  return syscall (SYS_capget, &header, has) == 0 && (has[0].effective & needed) == needed;
}

void
fsc_privileges_bound (void)
{
  /* Fails without CAP_SETPCAP, when there is nothing to lose. */
  for (int capability = 0; capability <= 63; capability++)
    prctl (PR_CAPBSET_DROP, capability, 0, 0, 0);
}

bool
fsc_privileges_keep_for_spawning (void)
{
  const uint32_t kept = 1u << CAP_SETUID | 1u << CAP_SETGID | 1u << CAP_KILL;
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct data[2] = { { .effective = kept, .permitted = kept } };

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return false;
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  fsc_privileges_bound ();
  prctl (PR_SET_DUMPABLE, 0, 0, 0, 0);
  return syscall (SYS_capset, &header, data) == 0;
}

bool
fsc_privileges_become (uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
  return setgroups (n_groups, groups) == 0 && setresgid (gid, gid, gid) == 0
         && setresuid (uid, uid, uid) == 0 && prctl (PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

bool
fsc_privileges_drop (void)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2] = { 0 };

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return false;
  prctl (PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  fsc_privileges_bound ();
  return syscall (SYS_capset, &header, none) == 0;
}
