/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Measuring; see measure.h.
 */
#include "tests/stress/soak/measure.h"

#include <stdlib.h>
#include <string.h>

guint64
soak_get_resident (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/status", pid);
  g_autofree char *text = NULL;
  const char *line;

  if (!g_file_get_contents (path, &text, NULL, NULL))
    return 0;
  line = strstr (text, "\nVmRSS:");
  return line != NULL ? g_ascii_strtoull (line + strlen ("\nVmRSS:"), NULL, 10) : 0;
}

double
soak_get_drift (const GArray *samples)
{
  guint first = samples->len / 2, n = samples->len - first;
  double mean_x = ((double) n - 1) / 2, mean_y = 0, covariance = 0, variance = 0;

  for (guint i = 0; i < n; i++)
    mean_y += g_array_index (samples, double, first + i) / n;
  for (guint i = 0; i < n; i++)
    {
      double x = i - mean_x;

      covariance += x * (g_array_index (samples, double, first + i) - mean_y);
      variance += x * x;
    }
  return variance > 0 && mean_y > 0 ? 100 * covariance / variance * (n - 1) / mean_y : 0;
}
