/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Fuzzes the configuration: whatever the file is, there is either a configuration or an error that
 * names the file, and no descriptor is left open.
 *
 * The input is the file. Linked with libFuzzer, or with replay.c, which runs the corpus as a test.
 */
#include "fscache/config.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void
require (bool condition)
{
  if (!condition)
    abort ();
}

/* A descriptor that was left open has taken this number. */
static int
get_lowest_free (void)
{
  int fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  require (fd >= 0);
  close (fd);
  return fd;
}

static void
check (const uint8_t *data, size_t size)
{
  g_autoptr (FscConfig) config = NULL;
  g_autoptr (GError) error = NULL;
  int fd = memfd_create ("config", MFD_CLOEXEC);
  g_autofree char *path = g_strdup_printf ("/proc/self/fd/%d", fd);

  require (fd >= 0 && write (fd, data, size) == (ssize_t) size);
  config = fsc_config_load (path, TRUE, &error);
  close (fd);
  require ((config == NULL) == (error != NULL));
  if (error != NULL)
    require (strstr (error->message, path) != NULL);
  else
    require (config->providers != NULL && config->rules != NULL && config->lane_openers > 0);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  int lowest = get_lowest_free ();

  check (data, size);
  require (get_lowest_free () == lowest);
  return 0;
}
