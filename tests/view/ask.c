/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * All that can be asked about a name; see ask.h.
 */
#include "tests/view/ask.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Each answer is a word. */

static void
answer (GString *text, const char *question, int result)
{
  g_string_append_printf (text, " %s: %s", question, result < 0 ? g_strerror (errno) : "yes");
}

static int
compare_names (gconstpointer a, gconstpointer b)
{
  return strcmp (*(char *const *) a, *(char *const *) b);
}

/* Takes the descriptor. */
static void
list (GString *text, int fd)
{
  g_autoptr (GPtrArray) found = g_ptr_array_new_with_free_func (g_free);
  DIR *directory = fdopendir (fd);
  const struct dirent *entry;

  if (directory == NULL)
    {
      answer (text, "list", -1);
      close (fd);
      return;
    }
  while ((entry = readdir (directory)) != NULL)
    if (!g_str_has_prefix (entry->d_name, ".")) /* and nobody waits for what is being made */
      g_ptr_array_add (found, g_strdup_printf ("%s/%d", entry->d_name, entry->d_type));
  closedir (directory);
  g_ptr_array_sort (found, compare_names);
  for (guint i = 0; i < found->len; i++)
    g_string_append_printf (text, " %s", (const char *) found->pdata[i]);
}

static void
open_and_read (GString *text, const char *path)
{
  int fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  char content[32768];
  struct stat st;
  ssize_t length;

  answer (text, "open to write", fd);
  if (fd >= 0)
    close (fd);
  fd = open (path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  answer (text, "open", fd);
  if (fd < 0)
    return;
  if (fcntl (fd, F_GETPIPE_SZ) >= 0) /* it has become a FIFO */
    {
      close (fd);
      return;
    }
  if (fstat (fd, &st) < 0)
    {
      answer (text, "fstat", -1);
      close (fd);
      return;
    }
  if (S_ISDIR (st.st_mode))
    {
      list (text, fd);
      return;
    }
  length = S_ISREG (st.st_mode) ? read (fd, content, sizeof content) : 0;
  answer (text, "read", (int) length);
  if (length >= 0)
    {
      g_autofree char *sum
          = g_compute_checksum_for_data (G_CHECKSUM_MD5, (guchar *) content, (gsize) length);

      g_string_append_printf (text, " %jd bytes, %zd: %s", (intmax_t) st.st_size, length, sum);
    }
  close (fd);
}

char *
fsc_test_ask (const char *root, const char *name, gboolean has_times)
{
  g_autofree char *path = g_build_filename (root, name, NULL);
  GString *text = g_string_new (NULL);
  char target[64] = "";
  struct stat st;
  int result = lstat (path, &st);

  answer (text, "lstat", result);
  if (result == 0)
    g_string_append_printf (text, " %o %ju %u %u %jd", st.st_mode, (uintmax_t) st.st_nlink,
                            st.st_uid, st.st_gid, (intmax_t) st.st_size);
  if (result == 0 && has_times)
    g_string_append_printf (text, " %jd.%09ld %ld", (intmax_t) st.st_mtim.tv_sec,
                            st.st_mtim.tv_nsec, st.st_ctim.tv_nsec);
  answer (text, "readlink", (int) readlink (path, target, sizeof target - 1));
  g_string_append (text, target);
  result = stat (path, &st);
  answer (text, "stat", result);
  if (result == 0)
    g_string_append_printf (text, " %o %jd", st.st_mode, (intmax_t) st.st_size);
  if (result < 0 || !S_ISFIFO (st.st_mode)) /* which are the view's own */
    open_and_read (text, path);
  answer (text, "R_OK", faccessat (AT_FDCWD, path, R_OK, AT_EACCESS));
  answer (text, "W_OK", faccessat (AT_FDCWD, path, W_OK, AT_EACCESS));
  answer (text, "X_OK", faccessat (AT_FDCWD, path, X_OK, AT_EACCESS));
  return g_string_free (text, FALSE);
}

void
fsc_test_assert_same_name (const char *a, const char *b, const char *name, gboolean has_times,
                           gint64 bound)
{
  gint64 until = g_get_monotonic_time () + bound;

  for (;;)
    {
      g_autofree char *of_a = fsc_test_ask (a, name, has_times);
      g_autofree char *of_b = fsc_test_ask (b, name, has_times);

      if (g_str_equal (of_a, of_b))
        return;
      if (g_get_monotonic_time () >= until)
        {
          g_test_message ("%s", name);
          g_assert_cmpstr (of_a, ==, of_b);
        }
      g_usleep (5000);
    }
}
