/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The trigger of memory pressure, where the kernel allows one.
 */
#include "fscache/pressure.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/epoll.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

static gboolean
do_nothing (gpointer data)
{
  return FALSE;
}

static void
must_not (gpointer data)
{
  g_test_message ("memory is said to be short");
}

static void
test_refused (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (FscLoop) loop = fsc_loop_new (do_nothing, NULL, &error);
  char *before = fsc_test_list_descriptors ();

  g_assert_no_error (error);
  g_assert_null (fsc_pressure_new (loop, "/nonexistent/memory", must_not, NULL, &error));
  g_assert_nonnull (strstr (error->message, "/nonexistent/memory"));
  g_clear_error (&error);
  g_assert_null (fsc_pressure_new (loop, "/dev/null", must_not, NULL, &error)); /* not for epoll */
  g_assert_nonnull (strstr (error->message, "/dev/null"));
  fsc_test_assert_descriptors (before);
}

static void
test_trigger (void)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (FscLoop) loop = fsc_loop_new (do_nothing, NULL, &error);
  char *before = fsc_test_list_descriptors ();
  FscPressure *pressure;

  g_assert_no_error (error);
  pressure = fsc_pressure_new (loop, FSC_PRESSURE_MEMORY, must_not, NULL, &error);
  if (pressure == NULL)
    {
      g_test_skip (error->message);
      g_free (before);
      return;
    }
  g_assert_no_error (error);
  for (guint i = 0; i < 3; i++) /* it does not fail while it is waited for */
    g_main_context_iteration (NULL, FALSE);
  fsc_pressure_free (pressure);
  fsc_test_assert_descriptors (before);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/pressure/refused", test_refused);
  g_test_add_func ("/pressure/trigger", test_trigger);
  return g_test_run ();
}
