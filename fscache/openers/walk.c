/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Going along a path by hand; see walk.h.
 */
#include "fscache/openers/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fscache/mountinfo.h"

#define LINKS_MAX 40 /* the kernel's MAXSYMLINKS */

#ifndef ST_NOSYMFOLLOW
#define ST_NOSYMFOLLOW 0x2000
#endif

/* The next component of the text, and what follows it. */
typedef struct
{
  size_t end;    /* where it ends in the text */
  bool is_last;  /* nothing but slashes follow */
  bool is_slash; /* a slash follows */
} Component;

int
fsc_walk_open (int directory, const char *path, int flags, mode_t mode, uint64_t resolve)
{
  struct open_how how = { .flags = (uint64_t) (flags | O_CLOEXEC),
                          .mode = mode,
                          .resolve = resolve | RESOLVE_NO_MAGICLINKS };

  return (int) syscall (SYS_openat2, directory, path, &how, sizeof how);
}

static FscWalkState
fail (FscWalk *walk, int error)
{
  walk->error = error;
  return FSC_WALK_FAILED;
}

static bool
is_bound (const FscWalk *walk)
{
  return walk->mount >= 0;
}

/* Whether a free walk may go on to what it has found. Nobody is asked for that, a view neither; a
 * walk that is bound does not come to one. */
static bool
may_enter (FscWalk *walk, int fd)
{
  struct statx st;
  char *type;
  bool may;

  if (is_bound (walk))
    return true;
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) < 0)
    return false;
  if (st.stx_mnt_id == walk->mount_id)
    return true;
  type = fsc_mountinfo_get_type (st.stx_mnt_id);
  may = type != NULL && strcmp (type, FSC_MOUNT_TYPE_VIEW) != 0;
  free (type);
  if (may)
    walk->mount_id = st.stx_mnt_id;
  return may;
}

static FscWalkState
refuse (FscWalk *walk, int fd)
{
  close (fd);
  return fail (walk, ELOOP);
}

/* Takes the descriptor, or what there is instead of one. */
static FscWalkState
enter (FscWalk *walk, int directory, size_t length)
{
  if (directory < 0)
    return fail (walk, errno);
  if (!may_enter (walk, directory))
    return refuse (walk, directory);
  if (walk->directory >= 0)
    close (walk->directory);
  walk->directory = directory;
  walk->length = length;
  return FSC_WALK_ON;
}

/* Puts other text in the place of all up to `end`. Returns false if it becomes too long. */
static bool
replace_text (FscWalk *walk, const char *first, size_t first_length, const char *second,
              size_t second_length, size_t end)
{
  size_t rest = strlen (walk->text + end) + 1;

  if (first_length + second_length + rest > sizeof walk->text)
    return false;
  memmove (walk->text + first_length + second_length, walk->text + end, rest);
  memmove (walk->text, first, first_length);
  memcpy (walk->text + first_length, second, second_length);
  return true;
}

/* Bookmarks */

static bool
get_bookmark (int directory, size_t length, unsigned n_links, FscBookmark *bookmark)
{
  struct statx st;

  *bookmark = (FscBookmark){ .length = (uint16_t) length, .n_links = (uint8_t) n_links };
  if (length == 0)
    return true;
  if (statx (directory, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
             STATX_INO | STATX_MNT_ID | STATX_BTIME, &st)
      < 0)
    return false;
  bookmark->inode = st.stx_ino;
  bookmark->mount_id = (uint32_t) st.stx_mnt_id;
  bookmark->dev_major = st.stx_dev_major;
  bookmark->dev_minor = st.stx_dev_minor;
  if ((st.stx_mask & STATX_BTIME) != 0)
    {
      bookmark->born = st.stx_btime.tv_sec;
      bookmark->born_nsec = st.stx_btime.tv_nsec;
    }
  return true;
}

static bool
is_at_bookmark (int directory, const FscBookmark *bookmark)
{
  FscBookmark here;

  return get_bookmark (directory, bookmark->length, bookmark->n_links, &here)
         && memcmp (&here, bookmark, sizeof here) == 0;
}

/* The way goes on outside, from `directory`, whose name is the first `length` bytes of the text. */
static FscWalkState
leave (FscWalk *walk, int directory, size_t length)
{
  return get_bookmark (directory, length, walk->n_links, &walk->bookmark) ? FSC_WALK_ELSEWHERE
                                                                          : fail (walk, errno);
}

/* Steps */

static Component
find_component (FscWalk *walk)
{
  size_t start = walk->length + strspn (walk->text + walk->length, "/");
  Component component;
  size_t length;

  /* What has been walked is to be a name as others would write it, too. */
  if (start > walk->length + 1)
    {
      replace_text (walk, walk->text, walk->length + 1, "", 0, start);
      start = walk->length + 1;
    }
  component.end = start + strcspn (walk->text + start, "/");
  length = component.end - start;
  component.is_slash = walk->text[component.end] == '/';
  component.is_last = walk->text[component.end + strspn (walk->text + component.end, "/")] == '\0';
  /* The kernel says of a longer one what it says of this. */
  length = length < PATH_MAX - 1 ? length : PATH_MAX - 1;
  memcpy (walk->name_buffer, walk->text + start, length);
  walk->name_buffer[length] = '\0';
  return component;
}

/* Only the last component is left, which `fd` is, if there is one. */
static FscWalkState
arrive (FscWalk *walk, int fd, mode_t mode, const Component *component)
{
  size_t length = strlen (walk->name_buffer);

  if (fd >= 0 && !may_enter (walk, fd))
    return refuse (walk, fd);
  if (component->is_slash)
    memcpy (walk->name_buffer + length, "/", 2);
  walk->name = walk->name_buffer;
  walk->last = fd;
  walk->last_mode = mode;
  return FSC_WALK_ARRIVED;
}

/* The directory itself is what was asked for. */
static FscWalkState
arrive_here (FscWalk *walk)
{
  int fd = fcntl (walk->directory, F_DUPFD_CLOEXEC, 0);

  if (fd < 0)
    return fail (walk, errno);
  strcpy (walk->name_buffer, ".");
  return arrive (walk, fd, S_IFDIR, &(Component){ 0 });
}

/* "." */
static FscWalkState
stay (FscWalk *walk, const Component *component)
{
  int fd;

  if (!component->is_last)
    {
      replace_text (walk, walk->text, walk->length, "", 0, component->end);
      return FSC_WALK_ON; /* with the next name the kernel looks whether it may be searched */
    }
  fd = fsc_walk_open (walk->directory, ".", O_PATH | O_DIRECTORY, 0, walk->resolve);
  return fd >= 0 ? arrive (walk, fd, S_IFDIR, component) : fail (walk, errno);
}

/* "..": of the directory that is open, wherever that is by now; its name loses a component. */
static FscWalkState
go_up (FscWalk *walk, const Component *component)
{
  int fd = fsc_walk_open (walk->directory, "..", O_PATH | O_DIRECTORY, 0, walk->resolve);
  bool leaves = fd < 0 && errno == EXDEV && is_bound (walk);
  const char *slash = memrchr (walk->text, '/', walk->length);
  size_t length = slash != NULL ? (size_t) (slash - walk->text) : 0;
  FscWalkState state;

  if (fd < 0 && !leaves)
    return fail (walk, errno);
  replace_text (walk, walk->text, length, "", 0, component->end);
  if (!leaves)
    return enter (walk, fd, length);

  /* The directory above the mount point has been walked through to come to it, so that a look at
   * it waits for nothing that has not been waited for. */
  if (walk->text[0] == '\0')
    strcpy (walk->text, "/");
  fd = fsc_walk_open (walk->directory, "..", O_PATH | O_DIRECTORY, 0, 0);
  if (fd < 0)
    return fail (walk, errno);
  state = leave (walk, fd, length);
  close (fd);
  return state;
}

/* Whether the kernel follows this symlink at all, in this place: there are sysctls, mount options
 * and security modules that forbid it. Wherever it leads, a look at that costs nothing: what leaves
 * the mount is not looked at. Returns 0 or an errno; *is_magic tells ELOOP's reasons apart. */
static int
ask_whether_to_follow (FscWalk *walk, int link, const Component *component, bool *is_magic)
{
  struct statfs fs;
  size_t length = strlen (walk->name_buffer);
  int fd, error;

  /* Only of the last component the kernel asks who has made it. */
  strcpy (walk->name_buffer + length, !component->is_last ? "/." : component->is_slash ? "/" : "");
  fd = fsc_walk_open (walk->directory, walk->name_buffer, O_PATH, 0, walk->resolve);
  error = fd < 0 ? errno : 0;
  walk->name_buffer[length] = '\0';
  if (fd >= 0)
    close (fd);
  if (error != ELOOP)
    return error == EACCES ? EACCES : 0; /* what else is wrong, the next steps find */
  if (fstatfs (link, &fs) < 0)
    return errno;
  *is_magic = fs.f_type == PROC_SUPER_MAGIC;
  return *is_magic || (fs.f_flags & ST_NOSYMFOLLOW) != 0 ? ELOOP : 0;
}

/* If a path begins with the mount point, what follows it; else NULL. */
static const char *
skip_mount (const FscWalk *walk, const char *path)
{
  for (const char *mount = walk->mount_path; *mount != '\0';)
    {
      size_t length = strcspn (++mount, "/");

      path += strspn (path, "/");
      while (path[0] == '.' && path[1] == '/')
        path += 1 + strspn (path + 1, "/");
      if (strncmp (path, mount, length) != 0 || (path[length] != '/' && path[length] != '\0'))
        return NULL;
      path += length;
      mount += length;
    }
  return path;
}

/* What a symlink says begins at "/". */
static FscWalkState
jump (FscWalk *walk, const char *target, size_t length, const Component *component)
{
  const char *rest;

  if (!replace_text (walk, "", 0, target, length, component->end))
    return fail (walk, ENAMETOOLONG);
  if (!is_bound (walk))
    return enter (walk, fsc_walk_open (AT_FDCWD, "/", O_PATH, 0, 0), 0);
  rest = skip_mount (walk, walk->text);
  if (rest == NULL)
    return leave (walk, -1, 0);
  length = strlen (walk->mount_path);
  replace_text (walk, walk->mount_path, length, "", 0, (size_t) (rest - walk->text));
  return enter (walk, fcntl (walk->mount, F_DUPFD_CLOEXEC, 0), length);
}

/* Puts what a symlink says in its place. */
static FscWalkState
follow (FscWalk *walk, int link, const Component *component)
{
  char target[PATH_MAX + 1] = "/";
  bool is_magic = false;
  ssize_t length;
  int error;

  if (walk->n_links >= LINKS_MAX)
    return fail (walk, ELOOP);
  walk->n_links++;
  error = ask_whether_to_follow (walk, link, component, &is_magic);
  if (error != 0)
    return is_magic ? FSC_WALK_MAGIC : fail (walk, error);
  length = readlinkat (link, "", target + 1, PATH_MAX);
  if (length <= 0)
    return fail (walk, length < 0 ? errno : ENOENT);
  if (length == PATH_MAX)
    return fail (walk, ENAMETOOLONG);
  if (target[1] == '/')
    return jump (walk, target + 1, (size_t) length, component);
  if (!replace_text (walk, walk->text, walk->length, target, (size_t) length + 1, component->end))
    return fail (walk, ENAMETOOLONG);
  return FSC_WALK_ON;
}

static bool
is_to_be_followed (const FscWalk *walk, const Component *component)
{
  if (!component->is_last)
    return true;
  if ((walk->flags & O_CREAT) != 0)
    return !component->is_slash && (walk->flags & (O_EXCL | O_NOFOLLOW)) == 0;
  return component->is_slash || (walk->flags & O_NOFOLLOW) == 0;
}

/* A directory where the kernel mounts something for whoever goes through it. */
static int
mount_automatically (FscWalk *walk, int fd)
{
  size_t length = strlen (walk->name_buffer);

  close (fd);
  strcpy (walk->name_buffer + length, "/");
  fd = fsc_walk_open (walk->directory, walk->name_buffer, O_PATH | O_DIRECTORY, 0,
                      walk->resolve | RESOLVE_NO_SYMLINKS);
  walk->name_buffer[length] = '\0';
  return fd;
}

/* Looks up the name. Returns -1 and errno. */
static int
look_up (FscWalk *walk, const Component *component, mode_t *mode)
{
  struct statx st;
  int fd
      = fsc_walk_open (walk->directory, walk->name_buffer, O_PATH | O_NOFOLLOW, 0, walk->resolve);

  if (fd < 0)
    return -1;
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
    {
      int error = errno;

      close (fd);
      errno = error;
      return -1;
    }
  *mode = st.stx_mode & S_IFMT;
  if (!component->is_last && (st.stx_attributes & STATX_ATTR_AUTOMOUNT) != 0)
    fd = mount_automatically (walk, fd);
  return fd;
}

FscWalkState
fsc_walk_step (FscWalk *walk)
{
  Component component = find_component (walk);
  FscWalkState state;
  mode_t mode = 0;
  int fd;

  if (walk->name_buffer[0] == '\0')
    return arrive_here (walk);
  if (strcmp (walk->name_buffer, ".") == 0)
    return stay (walk, &component);
  if (strcmp (walk->name_buffer, "..") == 0)
    return go_up (walk, &component);

  fd = look_up (walk, &component, &mode);
  if (fd < 0 && errno == EXDEV && is_bound (walk))
    return leave (walk, walk->directory, walk->length);
  if (fd < 0 && (errno != ENOENT || !component.is_last))
    return fail (walk, errno);
  if (fd >= 0 && S_ISLNK (mode) && is_to_be_followed (walk, &component))
    {
      state = follow (walk, fd, &component);
      close (fd);
      return state;
    }
  if (component.is_last)
    return arrive (walk, fd, mode, &component);
  if (!S_ISDIR (mode))
    {
      close (fd);
      return fail (walk, ENOTDIR);
    }
  return enter (walk, fd, component.end);
}

FscWalkState
fsc_walk_run (FscWalk *walk)
{
  FscWalkState state;

  while ((state = fsc_walk_step (walk)) == FSC_WALK_ON)
    ;
  return state;
}

/* Beginning */

/* Opens a part of the text, from one slash to another, below the directory of its first part. */
static int
open_part (FscWalk *walk, int directory, size_t from, size_t to, uint64_t resolve)
{
  char after = walk->text[to];
  int fd;

  if (to == 0)
    return fsc_walk_open (AT_FDCWD, "/", O_PATH, 0, 0);
  if (from == to)
    return fcntl (directory, F_DUPFD_CLOEXEC, 0);
  walk->text[to] = '\0';
  fd = fsc_walk_open (directory, walk->text + (from > 0 ? from + 1 : 0), O_PATH, 0, resolve);
  walk->text[to] = after;
  return fd;
}

static bool
is_at_end (const FscWalk *walk, size_t position)
{
  return walk->text[position + strspn (walk->text + position, "/")] == '\0';
}

/* Opens the directory of the bookmark. */
static FscWalkState
open_marked (FscWalk *walk, int directory, size_t from, const FscBookmark *bookmark,
             uint64_t resolve)
{
  if (enter (walk, open_part (walk, directory, from, bookmark->length, resolve), bookmark->length)
      != FSC_WALK_ON)
    return bookmark->length > 0 ? FSC_WALK_CHANGED : FSC_WALK_FAILED;
  if (bookmark->length > 0 && !is_at_bookmark (walk->directory, bookmark))
    return FSC_WALK_CHANGED;
  return FSC_WALK_ON;
}

/* Opens the mount point, which lies at or below the directory of the bookmark. */
static FscWalkState
open_mount_below (FscWalk *walk, size_t length, const FscBookmark *bookmark)
{
  FscWalkState state = open_marked (walk, AT_FDCWD, 0, bookmark, 0);
  size_t from = bookmark->length;

  if (state != FSC_WALK_ON)
    return state;
  if (length > from && is_at_end (walk, length))
    {
      /* It is itself what was asked for; and it may be a file. */
      while (walk->text[length - 1] != '/')
        length--;
      return enter (walk, open_part (walk, walk->directory, from, length - 1, 0), length - 1);
    }
  walk->mount = open_part (walk, walk->directory, from, length, 0);
  walk->resolve = RESOLVE_NO_XDEV;
  if (walk->mount < 0)
    return fail (walk, errno);
  return enter (walk, fcntl (walk->mount, F_DUPFD_CLOEXEC, 0), length);
}

/* Opens the mount point, and the directory of the bookmark, which lies below it. */
static FscWalkState
open_mount_above (FscWalk *walk, size_t length, const FscBookmark *bookmark)
{
  walk->mount = open_part (walk, AT_FDCWD, 0, length, 0);
  walk->resolve = RESOLVE_NO_XDEV;
  if (walk->mount < 0)
    return FSC_WALK_CHANGED;
  return open_marked (walk, walk->mount, length, bookmark, RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS);
}

/* Whether so many bytes of the text are whole components. */
static bool
is_boundary (const FscWalk *walk, size_t length, size_t position)
{
  return walk->text[0] == '/' && position <= length
         && (walk->text[position] == '/' || walk->text[position] == '\0');
}

FscWalkState
fsc_walk_begin (FscWalk *walk, const char *path, size_t mount_length, const FscBookmark *bookmark,
                int flags)
{
  static const FscBookmark beginning = { 0 };
  size_t length = strlen (path);

  walk->directory = walk->mount = walk->last = -1;
  walk->mount_id = 0;
  walk->length = 0;
  walk->n_links = bookmark != NULL ? bookmark->n_links : 0;
  walk->resolve = 0;
  walk->flags = flags;
  if (length >= (bookmark != NULL ? sizeof walk->text : PATH_MAX))
    return fail (walk, ENAMETOOLONG);
  memcpy (walk->text, path, length + 1);
  if (bookmark == NULL)
    bookmark = &beginning;
  if (!is_boundary (walk, length, bookmark->length) || mount_length >= PATH_MAX
      || (mount_length > 1 && !is_boundary (walk, length, mount_length)))
    return fail (walk, EINVAL);
  if (mount_length == 0)
    return open_marked (walk, AT_FDCWD, 0, bookmark, 0);
  if (mount_length == 1)
    mount_length = 0; /* "/" is the directory with the empty name */
  memcpy (walk->mount_path, path, mount_length);
  walk->mount_path[mount_length] = '\0';
  return bookmark->length <= mount_length ? open_mount_below (walk, mount_length, bookmark)
                                          : open_mount_above (walk, mount_length, bookmark);
}

void
fsc_walk_end (FscWalk *walk)
{
  if (walk->directory >= 0)
    close (walk->directory);
  if (walk->mount >= 0)
    close (walk->mount);
  if (walk->last >= 0)
    close (walk->last);
  walk->directory = walk->mount = walk->last = -1;
}
