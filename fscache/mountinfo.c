/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A line of /proc/self/mountinfo; see mountinfo.h.
 */
#include "fscache/mountinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "36 35 98:0 /root /mount/point rw,noatime master:1 - ext4 /dev/sda1 rw" */
bool
fsc_mountinfo_parse (char *line, FscMountLine *mount)
{
  char *rest = strstr (line, " - ");
  const char *fields[5];

  if (rest == NULL)
    return false;
  *rest = '\0';
  rest += strlen (" - ");
  for (int i = 0; i < 5; i++)
    fields[i] = strsep (&line, " ");
  if (line == NULL)
    return false;
  *mount = (FscMountLine){ .id = (uint32_t) strtoul (fields[0], NULL, 10),
                           .parent = (uint32_t) strtoul (fields[1], NULL, 10),
                           .device = fields[2],
                           .root = fields[3],
                           .path = fields[4],
                           .type = strsep (&rest, " ") };
  return true;
}

char *
fsc_mountinfo_get_type (uint64_t mount_id)
{
  FILE *mounts = fopen ("/proc/self/mountinfo", "re");
  char *line = NULL, *type = NULL;
  FscMountLine mount;
  size_t size = 0;

  if (mounts == NULL)
    return NULL;
  while (type == NULL && getline (&line, &size, mounts) > 0)
    if (fsc_mountinfo_parse (line, &mount) && mount.id == mount_id)
      type = strdup (mount.type);
  free (line);
  fclose (mounts);
  return type;
}

bool
fsc_mountinfo_is_local (const char *type)
{
  static const char *const local[] = { "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs" };

  for (size_t i = 0; i < sizeof local / sizeof local[0]; i++)
    if (strcmp (type, local[i]) == 0)
      return true;
  return false;
}
