/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Opening a path without leaving its mount; see reach.h.
 */
#include "fscache/openers/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "fscache/openers/walk.h"
#include "protocol/uri.h"

/* How often something may change under a walk's feet. */
#define ATTEMPTS_MAX 8

/* What returns a descriptor returns -1 where there is none: then *found says why,
 * if it has a code, else errno does. */

/* Whether the mount is procfs: what is not there for this process may be there for the one that
 * asks. */
static bool
is_on_procfs (const FscReach *reach)
{
  char mount[PATH_MAX];
  size_t length = reach->item->mount_length;
  struct statx proc, st;

  if (length <= 1 || length >= sizeof mount)
    return false;
  memcpy (mount, reach->path, length);
  mount[length] = '\0';
  return statx (AT_FDCWD, "/proc", AT_STATX_DONT_SYNC, STATX_TYPE, &proc) == 0
         && statx (AT_FDCWD, mount, AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0
         && st.stx_dev_major == proc.stx_dev_major && st.stx_dev_minor == proc.stx_dev_minor;
}

static int
fail_in_procfs (const FscReach *reach, FscFound *found)
{
  fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, reach->name,
                  "it leads into procfs, which is not the same for each process");
  return -1;
}

/* Another opener goes on; or, without a text, the first one begins again. */
static int
lead_elsewhere (const char *path, const FscBookmark *bookmark, FscFound *found)
{
  if (path != NULL
      && fsc_uri_from_path ((FscBytes){ path, strlen (path) }, found->text, sizeof found->text) < 0)
    {
      found->text[0] = '\0';
      errno = ENAMETOOLONG;
      return -1;
    }
  found->code = FSC_CODE_LEADS_ELSEWHERE;
  if (bookmark != NULL)
    {
      found->validator_length = sizeof *bookmark;
      memcpy (found->validator, bookmark, sizeof *bookmark);
    }
  return -1;
}

/* Opens the last component. For a path only, that has been done. */
static int
open_last (const FscWalk *walk, int flags, mode_t mode)
{
  if ((flags & O_PATH) == 0)
    return fsc_walk_open (walk->directory, walk->name, flags | O_NOFOLLOW, mode, walk->resolve);
  if (walk->last < 0)
    errno = ENOENT;
  else if (!S_ISDIR (walk->last_mode)
           && ((flags & O_DIRECTORY) != 0 || walk->name[strlen (walk->name) - 1] == '/'))
    errno = ENOTDIR;
  else
    return fcntl (walk->last, F_DUPFD_CLOEXEC, 0);
  return -1;
}

/* The end of a walk that has come to none. */
static int
fail_walk (const FscReach *reach, const FscWalk *walk, int error, FscFound *found)
{
  struct statfs fs;

  if (walk->directory >= 0 && fstatfs (walk->directory, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
    return fail_in_procfs (reach, found);
  errno = error;
  return -1;
}

static int
finish_walk (const FscReach *reach, const FscWalk *walk, FscWalkState state, int flags, mode_t mode,
             FscFound *found)
{
  int fd;

  switch (state)
    {
    case FSC_WALK_ARRIVED:
      fd = open_last (walk, flags, mode);
      return fd >= 0 ? fd : fail_walk (reach, walk, errno, found);
    case FSC_WALK_ELSEWHERE:
      return lead_elsewhere (walk->text, &walk->bookmark, found);
    case FSC_WALK_CHANGED:
      return lead_elsewhere (NULL, NULL, found);
    case FSC_WALK_MAGIC:
      fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, reach->name,
                      "it means something else to each process (a magic link of procfs)");
      return -1;
    default:
      return fail_walk (reach, walk, walk->error, found);
    }
}

/* By hand. What is last may become a symlink or a mount point after it was looked at: then it is
 * looked at again. */
static int
walk_to (const FscReach *reach, int flags, mode_t mode, FscFound *found)
{
  FscBookmark bookmark;
  bool is_resumed = reach->item->resume.length == sizeof bookmark;
  bool again = true;
  int fd = -1;

  if (is_resumed)
    memcpy (&bookmark, reach->item->resume.data, sizeof bookmark);
  for (int i = 0; i < ATTEMPTS_MAX && again; i++)
    {
      FscWalk walk;
      FscWalkState state = fsc_walk_begin (&walk, reach->path, reach->item->mount_length,
                                           is_resumed ? &bookmark : NULL, flags);
      int error;

      if (state == FSC_WALK_ON)
        state = fsc_walk_run (&walk);
      fd = finish_walk (reach, &walk, state, flags, mode, found);
      error = errno;
      again = fd < 0 && found->code == FSC_CODE_OK && state == FSC_WALK_ARRIVED
              && (error == EXDEV || (error == ELOOP && !S_ISLNK (walk.last_mode)));
      fsc_walk_end (&walk);
      errno = error;
    }
  return fd;
}

/* By the kernel in one call, if the way does not leave the mount. A path without ".." that leads
 * through no symlink does not, because it lies on the mount; else the mount point is opened first.
 * It is not kept open: that would keep the mount busy. */
static int
open_bound (const FscReach *reach, int flags, mode_t mode)
{
  size_t length = reach->item->mount_length;
  const char *rest = reach->path + length;
  char path[PATH_MAX];
  int mount, fd, error;

  if (length == 1)
    return fsc_walk_open (AT_FDCWD, reach->path, flags, mode, RESOLVE_NO_XDEV);
  if (strstr (rest, "/..") == NULL)
    {
      fd = fsc_walk_open (AT_FDCWD, reach->path, flags, mode, RESOLVE_NO_SYMLINKS);
      if (fd >= 0 || errno != ELOOP)
        return fd;
    }
  rest += strspn (rest, "/");
  if (rest[0] == '\0') /* the mount point itself */
    return fsc_walk_open (AT_FDCWD, reach->path, flags, mode, 0);
  memcpy (path, reach->path, length);
  path[length] = '\0';
  mount = fsc_walk_open (AT_FDCWD, path, O_PATH, 0, 0);
  if (mount < 0)
    return -1;
  fd = fsc_walk_open (mount, rest, flags, mode, RESOLVE_NO_XDEV);
  error = errno;
  close (mount);
  errno = error;
  return fd;
}

/* Opens the path. ELOOP the kernel says of symlinks that go round in circles, and of magic links
 * (/proc/self/fd/1, /dev/stdin), which lead to what belongs to the process that follows them: by
 * hand the two can be told apart. */
int
fsc_reach_open (const FscReach *reach, int flags, mode_t mode, FscFound *found)
{
  int fd, error;

  /* Where any mount may be entered, only by hand a view of the cache is noticed. */
  if (reach->item->mount_length == 0 || reach->item->resume.length > 0)
    return walk_to (reach, flags, mode, found);
  if (strlen (reach->path) >= PATH_MAX)
    {
      errno = ENAMETOOLONG;
      return -1;
    }
  fd = open_bound (reach, flags, mode);
  if (fd >= 0)
    return fd;
  error = errno;
  if (error == EXDEV || error == ELOOP)
    return walk_to (reach, flags, mode, found);
  if (is_on_procfs (reach))
    return fail_in_procfs (reach, found);
  errno = error;
  return -1;
}
