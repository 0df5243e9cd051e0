/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of file: URIs. Its word is the answer of open(): the kernel's answer to this
 * process, which is the user without capabilities, in the service's mount namespace.
 *
 * A resource is first looked up as a path only (O_PATH), which neither waits for nor disturbs
 * what is there: a FIFO's other end, a device, a terminal. When it is known what it is, and it is
 * something that may be opened, it is opened through that same descriptor, so that it cannot be
 * exchanged in between. Nothing here resolves a path; the kernel does.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fscache/identity.h"
#include "fscache/openers/serve.h"
#include "protocol/uri.h"

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

#define KNOWN_FLAGS                                                                                \
  (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT    \
   | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_PATH | O_TMPFILE | O_NOCTTY | O_CLOEXEC              \
   | O_LARGEFILE)

/* What the kernel looks at with O_PATH, and what it must not be told twice. */
#define PATH_FLAGS (O_DIRECTORY | O_NOFOLLOW)

/* Enough for any path that somebody has made on purpose. */
#define STEPS_MAX 100

typedef struct
{
  const char *path;
  int flags;
  const FscItem *item;
  int path_fd; /* O_PATH */
  struct statx st;
} Lookup;

/* File systems */

static FscCoherence
get_coherence (const struct statfs *fs, bool *is_served, bool *is_local)
{
  *is_served = true;
  *is_local = false;
  switch ((uint32_t) fs->f_type)
    {
    case EXT4_SUPER_MAGIC: /* ext2 and ext3 too */
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC:
      *is_local = true;
      return FSC_COHERENCE_CHECKED;

    case OVERLAYFS_SUPER_MAGIC: /* a copy-up changes the content under the same inode number */
      return FSC_COHERENCE_UNCACHED;

    case PROC_SUPER_MAGIC:
    case SYSFS_MAGIC:
    case CGROUP_SUPER_MAGIC:
    case CGROUP2_SUPER_MAGIC:
    case DEBUGFS_MAGIC:
    case TRACEFS_MAGIC:
    case SECURITYFS_MAGIC:
    case SELINUX_MAGIC:
    case SMACK_MAGIC:
    case BPF_FS_MAGIC:
    case EFIVARFS_MAGIC:
    case NSFS_MAGIC:
    case DEVPTS_SUPER_MAGIC:
    case PIPEFS_MAGIC:
    case SOCKFS_MAGIC:
    case BINFMTFS_MAGIC:
      *is_served = false;
      return FSC_COHERENCE_UNCACHED;

    default: /* network file systems, FUSE, and what is not known */
      return FSC_COHERENCE_TTL;
    }
}

/* Kinds */

static FscKind
get_kind (mode_t mode)
{
  switch (mode & S_IFMT)
    {
    case S_IFREG:
      return FSC_KIND_REGULAR;
    case S_IFDIR:
      return FSC_KIND_DIRECTORY;
    case S_IFLNK:
      return FSC_KIND_SYMLINK;
    case S_IFIFO:
      return FSC_KIND_FIFO;
    case S_IFSOCK:
      return FSC_KIND_SOCKET;
    case S_IFCHR:
      return FSC_KIND_CHARACTER;
    case S_IFBLK:
      return FSC_KIND_BLOCK;
    default:
      return FSC_KIND_UNKNOWN;
    }
}

static bool
is_device (FscKind kind)
{
  return kind == FSC_KIND_CHARACTER || kind == FSC_KIND_BLOCK;
}

/* Terminals mean something else to each process: the controlling one, consoles, pseudo-terminals.
 */
static bool
is_terminal (const struct statx *st)
{
  unsigned number = st->stx_rdev_major;

  return number == 4 || number == 5 || (number >= 136 && number <= 143);
}

/* Memory devices (null, zero, urandom ...) have no state that a second open would touch. */
static bool
may_be_reopened (FscKind kind, const struct statx *st)
{
  return kind == FSC_KIND_REGULAR || kind == FSC_KIND_DIRECTORY || kind == FSC_KIND_BLOCK
         || (kind == FSC_KIND_CHARACTER && st->stx_rdev_major == 1);
}

/* Looking up */

static int
open_path (const char *path, int flags, mode_t mode, uint64_t resolve)
{
  struct open_how how
      = { .flags = (uint64_t) (flags | O_CLOEXEC), .mode = mode, .resolve = resolve };

  return (int) syscall (SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

/* What is not there for this process may be there for the one that asks: /dev/fd/63. When the
 * kernel has said that a path leads nowhere, this goes along it by hand to see whether it came
 * through procfs. */
static bool
leads_into_procfs (const char *path)
{
  char walk[PATH_MAX], target[PATH_MAX];
  struct statfs fs;
  struct statx proc, st;

  if (strlen (path) >= sizeof walk || statfs ("/proc", &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC
      || statx (AT_FDCWD, "/proc", AT_STATX_DONT_SYNC, STATX_TYPE, &proc) < 0)
    return false;
  strcpy (walk, path);
  for (int i = 0; i < STEPS_MAX; i++)
    {
      char *slash = strrchr (walk, '/');
      ssize_t n;

      if (slash == NULL)
        return false;
      if (statx (AT_FDCWD, walk, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
        {
          *slash = '\0';
          continue;
        }
      if (st.stx_dev_major == proc.stx_dev_major && st.stx_dev_minor == proc.stx_dev_minor)
        return true;
      n = S_ISLNK (st.stx_mode) ? readlink (walk, target, sizeof target - 1) : -1;
      if (n <= 0)
        return false;
      target[n] = '\0';
      slash = target[0] == '/' ? walk : slash + 1;
      if (slash + n >= walk + sizeof walk)
        return false;
      strcpy (slash, target);
    }
  return false;
}

/* Opens the O_PATH descriptor. Magic links (/proc/self/fd/1, /dev/stdin) lead to what belongs to
 * the process that follows them: the kernel refuses them here with ELOOP, which it also says of
 * symlinks that go round in circles; a second look tells the two apart. */
static bool
look_up (Lookup *lookup, FscFound *found)
{
  int flags = O_PATH | (lookup->flags & PATH_FLAGS);

  lookup->path_fd = open_path (lookup->path, flags, 0, RESOLVE_NO_MAGICLINKS);
  if (lookup->path_fd < 0 && errno == ELOOP)
    {
      int fd = open_path (lookup->path, flags, 0, 0);

      if (fd >= 0)
        {
          close (fd);
          fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, lookup->path,
                          "it means something else to each process (a magic link of procfs)");
          return false;
        }
      errno = ELOOP;
    }
  if (lookup->path_fd < 0)
    {
      int error = errno;

      if (leads_into_procfs (lookup->path))
        fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, lookup->path,
                        "it leads into procfs, which is not the same for each process");
      else
        fsc_found_system_error (found, lookup->path, error);
      return false;
    }

  /* Within a time-to-live nobody asks; who asks wants to know what the server says. */
  if (statx (lookup->path_fd, "",
             AT_EMPTY_PATH
                 | ((lookup->item->options & FSC_OPTION_REVALIDATE) != 0 ? AT_STATX_FORCE_SYNC : 0),
             FSC_IDENTITY_MASK, &lookup->st)
      < 0)
    {
      fsc_found_system_error (found, lookup->path, errno);
      return false;
    }
  return true;
}

/* Whether the mount has come to forbid devices (nodev) since the handle was opened. */
static bool
is_forbidden_device (const Lookup *lookup)
{
  struct statfs fs;

  return is_device (get_kind (lookup->st.stx_mode))
         && (fstatfs (lookup->path_fd, &fs) < 0 || (fs.f_flags & ST_NODEV) != 0);
}

/* Whether a handle that is kept still is the answer. Reading is asked of the kernel with the same
 * credentials as open() would use; the walk has asked for the rest.
 *
 * On a file system that changes behind the kernel's back only open() tells: what statx() says may
 * come from its server's or its daemon's cache (sshfs has one of 20 s). So a time-to-live ends with
 * an open. */
static bool
is_unchanged (const Lookup *lookup)
{
  FscIdentity identity = fsc_identity_get (&lookup->st);

  if (lookup->item->validator.length == 0
      || !fsc_identity_has_validator (&identity, lookup->item->validator))
    return false;
  if ((lookup->flags & O_PATH) != 0)
    return true;
  return lookup->item->validator.length == FSC_IDENTITY_SHORT && !is_forbidden_device (lookup)
         && faccessat (lookup->path_fd, "", R_OK, AT_EACCESS | AT_EMPTY_PATH) == 0;
}

/* Refuses what must not be opened, before it is. */
static bool
is_allowed (const Lookup *lookup, FscKind kind, FscFound *found)
{
  if ((lookup->flags & O_PATH) != 0)
    return true;
  if (kind == FSC_KIND_FIFO)
    fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, lookup->path,
                    "it is a FIFO, and opening it would wait for its other end");
  else if (kind == FSC_KIND_SYMLINK)
    fsc_found_system_error (found, lookup->path, ELOOP);
  else if (kind == FSC_KIND_CHARACTER && is_terminal (&lookup->st))
    fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, lookup->path,
                    "it is a terminal, which means something else to each process");
  else if (lookup->item->sharing != FSC_SHARING_EXCLUSIVE && kind == FSC_KIND_CHARACTER
           && !may_be_reopened (kind, &lookup->st))
    fsc_found_fail (found, FSC_CODE_NOT_REOPENABLE, EOPNOTSUPP, lookup->path,
                    "it is a device, which can only be lent: ask for it exclusive");
  else
    return true;
  return false;
}

/* Opening */

/* What was opened without waiting gets the flag that was asked for. */
static void
set_waiting (const Lookup *lookup, int fd)
{
  if (fd >= 0 && (lookup->flags & O_NONBLOCK) == 0)
    fcntl (fd, F_SETFL, fcntl (fd, F_GETFL) & ~O_NONBLOCK);
}

/* Devices are opened without waiting, whatever was asked; what was asked is set after. */
static int
open_found (const Lookup *lookup, FscKind kind)
{
  int flags = (lookup->flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_NOCTTY
              | (is_device (kind) ? O_NONBLOCK : 0);
  char name[32];
  int fd;

  if ((lookup->flags & O_PATH) != 0)
    return fcntl (lookup->path_fd, F_DUPFD_CLOEXEC, 0);
  snprintf (name, sizeof name, "/proc/self/fd/%d", lookup->path_fd);
  fd = open (name, flags | O_CLOEXEC);
  if (is_device (kind))
    set_waiting (lookup, fd);
  return fd;
}

/* A file that may have to be made, or has no name: by its path, in one step, as the kernel does it.
 * What is there already has been looked at, so that no FIFO or terminal is opened here but in a
 * race, and then without waiting. */
static int
open_created (const Lookup *lookup, int flags)
{
  mode_t mask = umask (lookup->item->umask & 0777);
  int fd = open_path (lookup->path, flags | O_NOCTTY | O_NONBLOCK, lookup->item->mode & 07777,
                      RESOLVE_NO_MAGICLINKS);
  int error = errno;

  umask (mask);
  set_waiting (lookup, fd);
  errno = error;
  return fd;
}

/* Describes the handle that was opened. */
static void
describe (const Lookup *lookup, FscKind kind, int fd, FscFound *found)
{
  struct statfs fs;
  FscIdentity identity = fsc_identity_get (&lookup->st);
  bool is_served, is_local = false;

  found->kind = kind;
  found->mount_id = identity.mount_id;
  found->most_sharing = (lookup->flags & O_PATH) != 0 || may_be_reopened (kind, &lookup->st)
                            ? FSC_SHARING_INDEPENDENT
                            : FSC_SHARING_EXCLUSIVE;
  found->coherence = FSC_COHERENCE_TTL;
  if (fstatfs (fd, &fs) == 0)
    found->coherence = get_coherence (&fs, &is_served, &is_local);
  /* What a device does when it is closed, its driver decides. */
  found->hold = !is_local || (is_device (kind) && (lookup->flags & O_PATH) == 0);
  found->validator_length
      = found->coherence == FSC_COHERENCE_TTL ? FSC_IDENTITY_LONG : FSC_IDENTITY_SHORT;
  memcpy (found->validator, &identity, found->validator_length);
  found->fd = fd;
}

static bool
is_served (const Lookup *lookup, FscFound *found)
{
  struct statfs fs;
  bool served = true, is_local;

  if (fstatfs (lookup->path_fd, &fs) == 0)
    get_coherence (&fs, &served, &is_local);
  if (!served)
    fsc_found_fail (found, FSC_CODE_NOT_SERVED, EXDEV, lookup->path,
                    "it is on a file system that means something else to each process");
  return served;
}

/* Whether the client opens for writing what it is given. A description for writing that passes
 * through opener and service is there for a moment after the client has got it: who writes a
 * program, closes it and executes it at once would be told ETXTBSY. So what can be is opened for
 * writing by the client, from a descriptor that cannot be written through. */
static bool
is_reopened_for_writing (const Lookup *lookup)
{
  return (lookup->item->options & FSC_OPTION_REOPENS) != 0
         && ((lookup->flags & O_ACCMODE) != O_RDONLY || (lookup->flags & O_TRUNC) != 0);
}

/* Whether this user may open what `fd` is as was asked; the client, who opens it, may be more
 * powerful. Of directories the kernel says something else than that they may not be written. */
static bool
may_be_opened (const Lookup *lookup, int fd, FscKind kind)
{
  int mode = lookup->flags & O_ACCMODE;
  int wanted = (mode != O_WRONLY ? R_OK : 0)
               | (mode != O_RDONLY || (lookup->flags & O_TRUNC) != 0 ? W_OK : 0);

  return kind == FSC_KIND_DIRECTORY || faccessat (fd, "", wanted, AT_EACCESS | AT_EMPTY_PATH) == 0;
}

static void
open_existing (Lookup *lookup, FscFound *found)
{
  FscKind kind = get_kind (lookup->st.stx_mode);
  int fd;

  if (is_unchanged (lookup))
    {
      found->code = FSC_CODE_UNCHANGED;
      return;
    }
  if (!is_served (lookup, found) || !is_allowed (lookup, kind, found))
    return;
  found->is_final = !is_reopened_for_writing (lookup);
  if (!found->is_final && !may_be_opened (lookup, lookup->path_fd, kind))
    {
      fsc_found_system_error (found, lookup->path, errno);
      return;
    }
  if (!found->is_final)
    lookup->flags = (lookup->flags & PATH_FLAGS) | O_PATH;
  fd = open_found (lookup, kind);
  if (fd < 0)
    fsc_found_system_error (found, lookup->path, errno);
  else
    describe (lookup, kind, fd, found);
}

/* The owner may write to what is made now. (Without a name, it is not looked at again.) */
static bool
may_be_reopened_for_writing (const Lookup *lookup)
{
  return (lookup->item->mode & ~lookup->item->umask & 0600) == 0600
         && (lookup->flags & O_TMPFILE) != O_TMPFILE;
}

static void
open_making (Lookup *lookup, FscFound *found)
{
  FscFound ignored = { .fd = -1 };
  int fd = -1;

  /* Look before making: there may be a FIFO, a terminal, or a file of procfs. */
  if (look_up (lookup, &ignored))
    {
      FscKind kind = get_kind (lookup->st.stx_mode);

      /* O_CREAT has answers of its own to a symlink. */
      if (!is_served (lookup, found)
          || (kind != FSC_KIND_SYMLINK && !is_allowed (lookup, kind, found)))
        return;
    }
  else if (ignored.code == FSC_CODE_NOT_SERVED)
    {
      *found = ignored;
      return;
    }

  if (is_reopened_for_writing (lookup) && may_be_reopened_for_writing (lookup))
    fd = open_created (lookup, (lookup->flags & ~(O_ACCMODE | O_TRUNC | O_APPEND)) | O_RDONLY);
  if (fd >= 0 && !may_be_opened (lookup, fd, FSC_KIND_REGULAR))
    {
      fsc_found_system_error (found, lookup->path, errno);
      close (fd);
      return;
    }
  if (fd < 0)
    {
      found->is_final = true;
      fd = open_created (lookup, lookup->flags);
    }
  if (fd < 0 || statx (fd, "", AT_EMPTY_PATH, FSC_IDENTITY_MASK, &lookup->st) < 0)
    {
      fsc_found_system_error (found, lookup->path, errno);
      if (fd >= 0)
        close (fd);
      return;
    }
  describe (lookup, get_kind (lookup->st.stx_mode), fd, found);
}

static void
open_file (const FscItem *item, const char *uri, FscFound *found)
{
  char path[FSC_URI_MAX + 1];
  Lookup lookup = { .path = path, .flags = (int) item->flags, .item = item, .path_fd = -1 };

  if (fsc_uri_to_path (item->uri, path, sizeof path) < 0)
    {
      fsc_found_fail (found, FSC_CODE_BAD_URI, EINVAL, uri, "it is no canonical file: URI");
      return;
    }
  if ((lookup.flags & ~KNOWN_FLAGS) != 0)
    {
      fsc_found_fail (found, FSC_CODE_BAD_REQUEST, EINVAL, path,
                      "it was asked for with unknown flags");
      return;
    }

  if ((lookup.flags & O_PATH) == 0
      && ((lookup.flags & O_CREAT) != 0 || (lookup.flags & O_TMPFILE) == O_TMPFILE))
    open_making (&lookup, found);
  else if (look_up (&lookup, found))
    open_existing (&lookup, found);
  if (lookup.path_fd >= 0)
    close (lookup.path_fd);
}

int
main (void)
{
  return fsc_serve ("open-file", open_file);
}
