/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What /proc says of another process: its memory, its descriptors, its parent.
 */
#pragma once

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/types.h>

/* A number from /proc/PID/status: fsc_process_get (pid, "VmRSS:") is in KiB. -1 if there is none.
 */
static inline long
fsc_process_get (pid_t pid, const char *field)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  g_autofree char *content = NULL;
  const char *line;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return -1;
  line = strstr (content, field);
  return line != NULL ? strtol (line + strlen (field), NULL, 10) : -1;
}

/* How many of its descriptors lie below a directory ("" for all); -1 if that cannot be seen. */
static inline int
fsc_process_count_descriptors (pid_t pid, const char *below)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd", pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  int n = 0;

  if (dir == NULL)
    return -1;
  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *link = g_build_filename (path, name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      n += target != NULL && g_str_has_prefix (target, below);
    }
  return n;
}

/* A thousand clients need more than a shell's usual 1,024 descriptors. */
static inline void
fsc_process_raise_limit (void)
{
  struct rlimit limit;

  if (getrlimit (RLIMIT_NOFILE, &limit) < 0)
    return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit (RLIMIT_NOFILE, &limit);
}

/* Counts of the tests, in percent of what they are by default: FSC_TEST_SCALE. */
static inline guint
fsc_test_scale (guint n)
{
  const char *percent = g_getenv ("FSC_TEST_SCALE");

  return percent != NULL ? MAX (1, n * (guint) atoi (percent) / 100) : n;
}

/* Memory is only what the program needs if no sanitizer puts freed memory aside. gcc says so in one
 * way, clang in another. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)                                  \
    || __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FSC_TEST_MEASURES_MEMORY 0
#else
#define FSC_TEST_MEASURES_MEMORY 1
#endif
