/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The open descriptors of this process, for tests that promise to leave as many as they found. A
 * set, not a number: one that was closed and one that leaked do not cancel each other out.
 */
#pragma once

#include <dirent.h>
#include <glib.h>
#include <stdlib.h>
#include <unistd.h>

/* "0 1 2 5": what is open now, in ascending order. Free with g_free(). */
static inline char *
fsc_test_list_descriptors (void)
{
  GString *list = g_string_new (NULL);
  DIR *dir = opendir ("/proc/self/fd");
  int max = -1;

  g_assert_nonnull (dir);
  for (struct dirent *entry = readdir (dir); entry != NULL; entry = readdir (dir))
    if (entry->d_name[0] != '.')
      max = MAX (max, atoi (entry->d_name));
  rewinddir (dir);

  g_autofree gboolean *is_open = g_new0 (gboolean, max + 1);
  for (struct dirent *entry = readdir (dir); entry != NULL; entry = readdir (dir))
    if (entry->d_name[0] != '.' && atoi (entry->d_name) != dirfd (dir))
      is_open[atoi (entry->d_name)] = TRUE;
  closedir (dir);

  for (int fd = 0; fd <= max; fd++)
    if (is_open[fd])
      g_string_append_printf (list, list->len > 0 ? " %d" : "%d", fd);
  return g_string_free (list, FALSE);
}

/* Fails the test unless the open descriptors are `before`, or soon will be: some are closed by
 * threads. Frees that. */
static inline void
fsc_test_assert_descriptors (char *before)
{
  g_autofree char *after = fsc_test_list_descriptors ();

  for (guint i = 0; i < 5000 && !g_str_equal (after, before); i++)
    {
      g_usleep (1000);
      g_free (after);
      after = fsc_test_list_descriptors ();
    }
  g_assert_cmpstr (after, ==, before);
  g_free (before);
}
