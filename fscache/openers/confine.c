/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process shuts itself in; see confine.h.
 */
#include "fscache/openers/confine.h"

#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As far as version 6 of Landlock knows. The system's header may know less. */
typedef struct
{
  uint64_t files, network, scopes;
} Ruleset;

#define FILES_1 ((UINT64_C (1) << 13) - 1)
#define FILES_2 (UINT64_C (1) << 13) /* to other directories */
#define FILES_3 (UINT64_C (1) << 14) /* truncate */
#define FILES_5 (UINT64_C (1) << 15) /* ioctl() on devices */

bool
fsc_confine_files (void)
{
  Ruleset ruleset = { 0 };
  long version = syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  bool is_good;
  int fd;

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return false;
  if (version < 1)
    return true; /* the kernel has none */
  ruleset.files = FILES_1 | (version >= 2 ? FILES_2 : 0) | (version >= 3 ? FILES_3 : 0)
                  | (version >= 5 ? FILES_5 : 0);
  fd = (int) syscall (SYS_landlock_create_ruleset, &ruleset, sizeof ruleset.files, 0);
  is_good = fd >= 0 && syscall (SYS_landlock_restrict_self, fd, 0) == 0;
  if (fd >= 0)
    close (fd);
  return is_good;
}

bool
fsc_confine_resources (uint64_t memory, unsigned seconds)
{
  const struct rlimit space = { .rlim_cur = memory, .rlim_max = memory };
  const struct rlimit time = { .rlim_cur = seconds, .rlim_max = seconds + 1 };
  const struct rlimit none = { 0 };

  return (!FSC_CONFINE_HAS_MEMORY_LIMIT || setrlimit (RLIMIT_AS, &space) == 0)
         && setrlimit (RLIMIT_CPU, &time) == 0 && setrlimit (RLIMIT_CORE, &none) == 0;
}

static bool
allow_memory (scmp_filter_ctx filter)
{
  static const int calls[]
      = { SCMP_SYS (brk), SCMP_SYS (munmap), SCMP_SYS (mremap), SCMP_SYS (madvise) };
  const struct scmp_arg_cmp pages[] = {
    SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0),
    SCMP_A3 (SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS),
  };
  const struct scmp_arg_cmp protection = SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);

  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
    if (seccomp_rule_add (filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
      return false;
  return seccomp_rule_add_array (filter, SCMP_ACT_ALLOW, SCMP_SYS (mmap), 2, pages) == 0
         && seccomp_rule_add (filter, SCMP_ACT_ALLOW, SCMP_SYS (mprotect), 1, protection) == 0;
}

bool
fsc_confine_system_calls (const int *calls, size_t n)
{
  scmp_filter_ctx filter = seccomp_init (SCMP_ACT_KILL_PROCESS);
  bool is_good = filter != NULL && allow_memory (filter);

  for (size_t i = 0; i < n && is_good; i++)
    is_good = seccomp_rule_add (filter, SCMP_ACT_ALLOW, calls[i], 0) == 0;
  is_good = is_good && seccomp_load (filter) == 0;
  if (filter != NULL)
    seccomp_release (filter);
  return is_good;
}
