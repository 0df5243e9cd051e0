/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A process shuts itself in; see confine.h.
 */
#include "fscache/openers/confine.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As far as it is used here. The system's header may know less. */
typedef struct
{
  uint64_t files, network;
} Ruleset;

#define FILES_1 ((UINT64_C (1) << 13) - 1)
#define FILES_2 (UINT64_C (1) << 13) /* to other directories */
#define FILES_3 (UINT64_C (1) << 14) /* truncate */
#define FILES_5 (UINT64_C (1) << 15) /* ioctl() on devices */

#define PORTS_BIND (UINT64_C (1) << 0)
#define PORTS_CONNECT (UINT64_C (1) << 1)
#define PORTS_VERSION 4
#define RULE_PORT 2

typedef struct
{
  uint64_t access, port;
} PortRule;

static long
get_landlock_version (void)
{
  return syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

static int
make_ruleset (const Ruleset *ruleset)
{
  size_t size = ruleset->network != 0 ? sizeof *ruleset : sizeof ruleset->files;

  return (int) syscall (SYS_landlock_create_ruleset, ruleset, size, 0);
}

/* Takes the ruleset. */
static bool
restrict_self (int ruleset, bool is_good)
{
  if (ruleset < 0)
    return false;
  is_good = is_good && syscall (SYS_landlock_restrict_self, ruleset, 0) == 0;
  close (ruleset);
  return is_good;
}

static bool
allow_file (int ruleset, const char *path)
{
  struct landlock_path_beneath_attr rule = { .allowed_access = LANDLOCK_ACCESS_FS_READ_FILE };
  bool is_good;

  rule.parent_fd = open (path, O_PATH | O_CLOEXEC);
  if (rule.parent_fd < 0)
    return true; /* it is not there, or not for this user */
  is_good = syscall (SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
  close (rule.parent_fd);
  return is_good;
}

bool
fsc_confine_files (const char *const *readable)
{
  long version = get_landlock_version ();
  const Ruleset all = { .files = FILES_1 | (version >= 2 ? FILES_2 : 0)
                                 | (version >= 3 ? FILES_3 : 0) | (version >= 5 ? FILES_5 : 0) };
  bool is_good = true;
  int ruleset;

  if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
    return false;
  if (version < 1)
    return true; /* the kernel has none */
  ruleset = make_ruleset (&all);
  for (; readable != NULL && *readable != NULL && ruleset >= 0; readable++)
    is_good = is_good && allow_file (ruleset, *readable);
  return restrict_self (ruleset, is_good);
}

bool
fsc_confine_ports (const uint16_t *ports, size_t n)
{
  const Ruleset all = { .network = PORTS_BIND | PORTS_CONNECT };
  bool is_good = true;
  int ruleset;

  if (get_landlock_version () < PORTS_VERSION)
    return true;
  ruleset = make_ruleset (&all);
  for (size_t i = 0; i < n && ruleset >= 0; i++)
    {
      const PortRule rule = { .access = PORTS_CONNECT, .port = ports[i] };

      is_good = is_good && syscall (SYS_landlock_add_rule, ruleset, RULE_PORT, &rule, 0) == 0;
    }
  return restrict_self (ruleset, is_good);
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
