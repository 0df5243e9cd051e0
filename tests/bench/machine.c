/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a benchmark needs to know of the machine, and asks of it; see machine.h.
 */
#include "tests/bench/machine.h"

#include <linux/magic.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What the process was given, and what it took of that. Affinity is the process's, and so are
 * these. */
static cpu_set_t given, taken;

char *
bench_machine_describe (void)
{
  g_autofree char *text = NULL;
  g_autofree char *model = NULL;
  struct utsname name;

  uname (&name);
  if (g_file_get_contents ("/proc/cpuinfo", &text, NULL, NULL))
    {
      g_autoptr (GRegex) regex = g_regex_new ("^model name\\s*: (.*)$", G_REGEX_MULTILINE, 0, NULL);
      g_autoptr (GMatchInfo) match = NULL;

      if (g_regex_match (regex, text, 0, &match))
        model = g_match_info_fetch (match, 1);
    }
  return g_strdup_printf ("%s, %ld CPUs, %s %s", model != NULL ? model : name.machine,
                          sysconf (_SC_NPROCESSORS_ONLN), name.sysname, name.release);
}

char *
bench_machine_describe_file_system (const char *directory)
{
  static const struct
  {
    unsigned magic;
    const char *name;
  } known[] = { { EXT4_SUPER_MAGIC, "ext4" },   { XFS_SUPER_MAGIC, "xfs" },
                { BTRFS_SUPER_MAGIC, "btrfs" }, { F2FS_SUPER_MAGIC, "f2fs" },
                { TMPFS_MAGIC, "tmpfs" },       { OVERLAYFS_SUPER_MAGIC, "overlayfs" } };
  struct statfs status = { 0 };

  statfs (directory, &status);
  for (unsigned i = 0; i < G_N_ELEMENTS (known); i++)
    if (known[i].magic == (unsigned) status.f_type)
      return g_strdup (known[i].name);
  return g_strdup_printf ("file system %#lx", (unsigned long) status.f_type);
}

const char *
bench_machine_find_memory (void)
{
  const char *directory = g_getenv ("XDG_RUNTIME_DIR");
  struct statfs status;
  bool is_there = directory != NULL && statfs (directory, &status) == 0
                  && status.f_type == TMPFS_MAGIC && access (directory, W_OK) == 0;

  return is_there ? directory : NULL;
}

const char *
bench_machine_choose_directory (void)
{
  struct statfs status;

  if (statfs (g_get_tmp_dir (), &status) == 0 && status.f_type == OVERLAYFS_SUPER_MAGIC
      && statfs ("/dev/shm", &status) == 0 && status.f_type == TMPFS_MAGIC)
    return "/dev/shm";
  return g_get_tmp_dir ();
}

char *
bench_machine_pin (const char *list)
{
  cpu_set_t cpus;
  int last = CPU_SETSIZE - 1;

  sched_getaffinity (0, sizeof given, &given);
  if (list == NULL)
    {
      cpus = given;
      while (last > 0 && !CPU_ISSET (last, &cpus))
        last--;
    }

  g_autofree char *chosen = list != NULL ? g_strdup (list) : g_strdup_printf ("%d", last);
  g_auto (GStrv) ranges = g_strsplit (chosen, ",", -1);

  CPU_ZERO (&cpus);
  for (char **range = ranges; *range != NULL; range++)
    {
      unsigned from, to;
      int n = sscanf (*range, "%u-%u", &from, &to);

      for (unsigned cpu = from; n > 0 && cpu <= (n == 2 ? to : from) && cpu < CPU_SETSIZE; cpu++)
        CPU_SET (cpu, &cpus);
    }
  CPU_OR (&given, &given, &cpus);
  taken = cpus;
  return sched_setaffinity (0, sizeof cpus, &cpus) == 0 ? g_steal_pointer (&chosen) : NULL;
}

void
bench_machine_unpin (void)
{
  if (CPU_COUNT (&given) > 0)
    sched_setaffinity (0, sizeof given, &given);
}

void
bench_machine_pin_again (void)
{
  if (CPU_COUNT (&taken) > 0)
    sched_setaffinity (0, sizeof taken, &taken);
}

int
bench_machine_find_other_cpu (void)
{
  for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
    if (CPU_ISSET (cpu, &given) && !CPU_ISSET (cpu, &taken))
      return cpu;
  return -1;
}

unsigned
bench_machine_count_cpus (void)
{
  return MAX (CPU_COUNT (&given), 1);
}

void
bench_machine_raise_descriptor_limit (void)
{
  struct rlimit limit;

  getrlimit (RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}
