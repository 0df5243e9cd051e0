/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Watching a way; see watcher.h.
 */
#include "fscache/openers/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/mountinfo.h"
#include "fscache/openers/walk.h"

/* What happens to names in a directory, and who may search it. */
#define DIRECTORY_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB)

/* Who may open it. */
#define FILE_EVENTS IN_ATTRIB

/* What is in it. Who writes through a mapping is heard when that ends. */
#define CONTENT_EVENTS (IN_MODIFY | IN_CLOSE_WRITE)

/* The mount that was last found to be one of the kernel's own file systems. A way may lead to the
 * next one only when that is known: to look into another might wait for ever. */
typedef struct
{
  uint64_t mount_id;
  bool is_known;
} LocalMount;

/* Nor does the kernel's own file system of devices change behind its back. */
static bool
is_local_type (const char *type)
{
  return fsc_mountinfo_is_local (type) || strcmp (type, "devtmpfs") == 0;
}

static bool
is_local_mount (uint64_t mount_id)
{
  char *type = fsc_mountinfo_get_type (mount_id);
  bool is_local = type != NULL && is_local_type (type);

  free (type);
  return is_local;
}

static bool
is_local (int fd, LocalMount *mount)
{
  struct statx st;

  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
    return false;
  if (mount->is_known && mount->mount_id == st.stx_mnt_id)
    return true;
  mount->mount_id = st.stx_mnt_id;
  mount->is_known = is_local_mount (st.stx_mnt_id);
  return mount->is_known;
}

/* What XFS says of itself; the kernel's header for it comes with xfsprogs. */
typedef struct
{
  uint32_t sizes[8];
  uint64_t counts[4];
  uint8_t uuid[16];
  uint32_t stripe[2];
  int32_t version;
  uint32_t flags;
  uint32_t more_sizes[3];
} XfsGeometry;

#define XFS_GEOMETRY _IOR ('X', 100, XfsGeometry) /* XFS_IOC_FSGEOMETRY_V1 */
#define XFS_FOLDS_CASE (1u << 12)                 /* XFS_FSOP_GEOM_FLAGS_DIRV2CI */

/* Whether a name may be found there, or not any more, without an event that has this name: where
 * several names are the same one, and where names are encrypted, for which a key may come or go.
 * Directories have flags for that, but on XFS it is the file system that folds case (ascii-ci). The
 * kernel says it of an open directory alone, which this user may open, or could not watch it. */
static bool
hides_names (int directory)
{
  int fd = openat (directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int flags = 0;
  XfsGeometry geometry = { 0 };
  bool hides = fd >= 0
               && ((ioctl (fd, FS_IOC_GETFLAGS, &flags) == 0
                    && (flags & (FS_CASEFOLD_FL | FS_ENCRYPT_FL)) != 0)
                   || (ioctl (fd, XFS_GEOMETRY, &geometry) == 0
                       && (geometry.flags & XFS_FOLDS_CASE) != 0));

  if (fd >= 0)
    close (fd);
  return hides;
}

/* There is always a place left for the step that ends the way. */
static bool
has_room (const FscWay *way, size_t length)
{
  return way->n < FSC_STEPS_MAX - 1 && length <= FSC_STEP_NAME_MAX
         && length <= sizeof way->names - way->length;
}

static void
add_step (FscWay *way, int wd, const char *name, size_t length)
{
  memcpy (way->names + way->length, name, length);
  way->steps[way->n++] = (FscStep){ .wd = wd, .name = { way->names + way->length, length } };
  way->length += length;
}

/* Adds a watch, and the step that tells of it. */
static bool
watch_step (int inotify, int fd, uint32_t events, const char *name, size_t length, FscWay *way)
{
  char link[32];
  int wd;

  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  wd = inotify_add_watch (inotify, link, events | IN_MASK_ADD);
  if (wd >= 0)
    add_step (way, wd, name, length);
  return wd >= 0;
}

/* Ends the way without another watch: the last step repeats the last directory. */
static bool
repeat_last (FscWay *way)
{
  if (way->n == 0)
    return false;
  add_step (way, way->steps[way->n - 1].wd, "", 0);
  return true;
}

/* Watches the directory that the walk has come to, for what it will look up next. */
static bool
watch_directory (int inotify, const FscWalk *walk, LocalMount *mount, FscWay *way)
{
  const char *name = walk->text + walk->length;
  size_t length;

  name += strspn (name, "/");
  length = strcspn (name, "/");
  if (!is_local (walk->directory, mount) || (length > 0 && hides_names (walk->directory)))
    return false;
  if (length == 0 && way->n > 0)
    return true;
  if (length == 0) /* on the way to "/" nothing else is looked up */
    {
      name = ".";
      length = 1;
    }
  return has_room (way, length)
         && watch_step (inotify, walk->directory, DIRECTORY_EVENTS, name, length, way);
}

static bool
watch_end (int inotify, const FscWalk *walk, FscWalkState state, LocalMount *mount,
           bool is_of_content, FscWay *way)
{
  uint32_t events = FILE_EVENTS | (is_of_content && S_ISREG (walk->last_mode) ? CONTENT_EVENTS : 0);
  bool is_nothing
      = (state == FSC_WALK_ARRIVED && walk->last < 0)
        || (state == FSC_WALK_FAILED && (walk->error == ENOENT || walk->error == ENOTDIR));

  if (is_nothing)
    return repeat_last (way);
  return state == FSC_WALK_ARRIVED && walk->last >= 0 && is_local (walk->last, mount)
         && watch_step (inotify, walk->last, events, "", 0, way);
}

bool
fsc_watcher_go (int inotify, const char *path, int flags, bool is_of_content, FscWay *way)
{
  LocalMount mount = { 0 };
  FscWalk walk;
  FscWalkState state = fsc_walk_begin (&walk, path, 0, NULL, flags);
  bool is_watched = true;

  way->n = 0;
  way->length = 0;
  while (state == FSC_WALK_ON && is_watched)
    {
      is_watched = watch_directory (inotify, &walk, &mount, way);
      if (is_watched)
        state = fsc_walk_step (&walk);
    }
  is_watched = is_watched && watch_end (inotify, &walk, state, &mount, is_of_content, way);
  if (!is_watched)
    repeat_last (way); /* so far it went */
  fsc_walk_end (&walk);
  return is_watched;
}
