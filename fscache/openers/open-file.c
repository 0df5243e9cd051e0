/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of file: URIs. Its word is the answer of open(): the kernel's answer to this
 * process, which is the user without capabilities, in the service's mount namespace.
 *
 * A resource is first looked up as a path only (O_PATH), which neither waits for nor disturbs
 * what is there: a FIFO's other end, a device, a terminal. When it is known what it is, and it is
 * something that may be opened, it is opened through that same descriptor, so that it cannot be
 * exchanged in between.
 *
 * How the path is resolved is in reach.h. What makes a file goes the same way: nothing is made
 * before the whole way is known.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/identity.h"
#include "fscache/openers/filesystem.h"
#include "fscache/openers/reach.h"
#include "fscache/openers/serve.h"
#include "fscache/openers/walk.h"
#include "fscache/openers/watcher.h"
#include "protocol/uri.h"

#define KNOWN_FLAGS                                                                                \
  (O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC | O_SYNC | O_DIRECT    \
   | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_PATH | O_TMPFILE | O_NOCTTY | O_CLOEXEC              \
   | O_LARGEFILE)

/* What the kernel looks at with O_PATH, and what it must not be told twice. */
#define PATH_FLAGS (O_DIRECTORY | O_NOFOLLOW)

typedef struct
{
  const char *path;
  int flags;
  const FscItem *item;
  int path_fd; /* O_PATH */
  struct statx st;
} Lookup;

/* Kinds */

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

static int
open_path (const Lookup *lookup, int flags, mode_t mode, FscFound *found)
{
  const FscReach reach = { .item = lookup->item, .path = lookup->path, .name = lookup->path };

  return fsc_reach_open (&reach, flags, mode, found);
}

static void
fail_open (const Lookup *lookup, FscFound *found)
{
  if (found->code == FSC_CODE_OK)
    fsc_found_system_error (found, lookup->path, errno);
}

/* Opens the O_PATH descriptor. What O_CREAT with O_EXCL finds in its way may be a symlink. */
static bool
look_up (Lookup *lookup, FscFound *found)
{
  int flags = O_PATH | (lookup->flags & PATH_FLAGS);

  if ((lookup->flags & O_PATH) == 0 && (lookup->flags & O_CREAT) != 0
      && (lookup->flags & O_EXCL) != 0)
    flags |= O_NOFOLLOW;
  lookup->path_fd = open_path (lookup, flags, 0, found);
  if (lookup->path_fd < 0)
    {
      fail_open (lookup, found);
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

  return is_device (fsc_found_get_kind (lookup->st.stx_mode))
         && (fstatfs (lookup->path_fd, &fs) < 0 || (fs.f_flags & ST_NODEV) != 0);
}

/* Whether it is what is in the file that is asked about. */
static bool
is_of_content (const Lookup *lookup)
{
  return (lookup->item->options & FSC_OPTION_CONTENT) != 0;
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
  return (lookup->item->validator.length == FSC_IDENTITY_SHORT || is_of_content (lookup))
         && !is_forbidden_device (lookup)
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
open_created (const Lookup *lookup, int flags, FscFound *found)
{
  mode_t mask = umask (lookup->item->umask & 0777);
  int fd = open_path (lookup, flags | O_NOCTTY | O_NONBLOCK, lookup->item->mode & 07777, found);
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
  FscIdentity identity = fsc_identity_get (&lookup->st);
  FscFileSystem fs = fsc_file_system_get (fd);

  found->kind = kind;
  found->mount_id = identity.mount_id;
  found->most_sharing = (lookup->flags & O_PATH) != 0 || may_be_reopened (kind, &lookup->st)
                            ? FSC_SHARING_INDEPENDENT
                            : FSC_SHARING_EXCLUSIVE;
  found->coherence = fs == FSC_FILE_SYSTEM_LOCAL   ? FSC_COHERENCE_CHECKED
                     : fs == FSC_FILE_SYSTEM_OTHER ? FSC_COHERENCE_TTL
                                                   : FSC_COHERENCE_UNCACHED;
  /* What a device does when it is closed, its driver decides. */
  found->hold = fs != FSC_FILE_SYSTEM_LOCAL || (is_device (kind) && (lookup->flags & O_PATH) == 0);
  found->validator_length
      = found->coherence == FSC_COHERENCE_TTL ? FSC_IDENTITY_LONG : FSC_IDENTITY_SHORT;
  memcpy (found->validator, &identity, found->validator_length);
  found->fd = fd;
}

static bool
is_served (const Lookup *lookup, FscFound *found)
{
  bool served = fsc_file_system_get (lookup->path_fd) != FSC_FILE_SYSTEM_OF_PROCESS;

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

/* Whether what was made of this file's content still is the answer; nothing else is wanted. Where a
 * file system changes behind the kernel's back, it tells size and times with an open. */
static void
check_content (Lookup *lookup, FscFound *found)
{
  FscKind kind = fsc_found_get_kind (lookup->st.stx_mode);
  int fd = kind == FSC_KIND_REGULAR ? open_found (lookup, kind) : -1;

  found->code = FSC_CODE_SYSTEM;
  found->error = EEXIST;
  if (fd < 0)
    return;
  if (statx (fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, FSC_IDENTITY_MASK, &lookup->st) == 0
      && is_unchanged (lookup))
    {
      found->code = FSC_CODE_UNCHANGED;
      found->error = 0;
    }
  close (fd);
}

static void
open_existing (Lookup *lookup, FscFound *found)
{
  FscKind kind = fsc_found_get_kind (lookup->st.stx_mode);
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
  int fd = -1;

  /* Of flags that do not go together the kernel says so before it looks at the path. */
  if (fsc_walk_open (AT_FDCWD, "", lookup->flags, lookup->item->mode & 07777, 0) < 0
      && errno == EINVAL)
    {
      fsc_found_system_error (found, lookup->path, EINVAL);
      return;
    }

  /* With a slash at its end nothing is made, and the kernel does not look what is there. */
  if ((lookup->flags & O_CREAT) != 0 && lookup->path[strlen (lookup->path) - 1] == '/')
    {
      fd = open_created (lookup, lookup->flags, found);
      fail_open (lookup, found);
      if (fd >= 0)
        close (fd);
      return;
    }

  /* Look before making: there may be a FIFO, a terminal, or a file of procfs. */
  if (look_up (lookup, found))
    {
      FscKind kind = fsc_found_get_kind (lookup->st.stx_mode);

      /* O_CREAT has answers of its own to a symlink. */
      if (!is_served (lookup, found)
          || (kind != FSC_KIND_SYMLINK && !is_allowed (lookup, kind, found)))
        return;
    }
  else if (found->code != FSC_CODE_SYSTEM)
    return;
  found->code = FSC_CODE_OK;
  found->error = 0;
  found->text[0] = '\0';

  if (is_reopened_for_writing (lookup) && may_be_reopened_for_writing (lookup))
    fd = open_created (lookup, (lookup->flags & ~(O_ACCMODE | O_TRUNC | O_APPEND)) | O_RDONLY,
                       found);
  if (found->code != FSC_CODE_OK)
    return;
  if (fd >= 0 && !may_be_opened (lookup, fd, FSC_KIND_REGULAR))
    {
      fsc_found_system_error (found, lookup->path, errno);
      close (fd);
      return;
    }
  if (fd < 0)
    {
      found->is_final = true;
      fd = open_created (lookup, lookup->flags, found);
    }
  if (fd < 0 || statx (fd, "", AT_EMPTY_PATH, FSC_IDENTITY_MASK, &lookup->st) < 0)
    {
      fail_open (lookup, found);
      if (fd >= 0)
        close (fd);
      return;
    }
  describe (lookup, fsc_found_get_kind (lookup->st.stx_mode), fd, found);
}

/* Makes the way watched, and then looks whether it still leads to what the service has, or to
 * nothing if it has nothing; whatever else there is is EEXIST. It is not bound to the mount: where
 * it is not known to be one that does not hang, it is not gone. */
static void
watch_file (Lookup *lookup, FscFound *found)
{
  int flags = O_PATH | (lookup->flags & PATH_FLAGS);

  found->code = FSC_CODE_SYSTEM;
  found->error = EEXIST;
  if (found->inotify < 0
      || !fsc_watcher_go (found->inotify, lookup->path, flags, is_of_content (lookup), found->way))
    return;
  lookup->path_fd = fsc_walk_open (AT_FDCWD, lookup->path, flags, 0, 0);
  if (lookup->path_fd < 0 && (errno == ENOENT || errno == ENOTDIR)
      && lookup->item->validator.length == 0)
    {
      fsc_found_system_error (found, lookup->path, errno);
      return;
    }
  if (lookup->path_fd >= 0
      && statx (lookup->path_fd, "", AT_EMPTY_PATH, FSC_IDENTITY_MASK, &lookup->st) == 0
      && is_unchanged (lookup))
    {
      found->code = FSC_CODE_UNCHANGED;
      found->error = 0;
    }
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
  if (item->mount_length > strlen (path))
    {
      fsc_found_fail (found, FSC_CODE_BAD_REQUEST, EINVAL, path, "its mount point is longer");
      return;
    }
  if ((lookup.flags & ~KNOWN_FLAGS) != 0)
    {
      fsc_found_fail (found, FSC_CODE_BAD_REQUEST, EINVAL, path,
                      "it was asked for with unknown flags");
      return;
    }

  if ((item->options & FSC_OPTION_WATCH) != 0)
    watch_file (&lookup, found);
  else if ((lookup.flags & O_PATH) == 0
           && ((lookup.flags & O_CREAT) != 0 || (lookup.flags & O_TMPFILE) == O_TMPFILE))
    open_making (&lookup, found);
  else if (look_up (&lookup, found))
    {
      if (is_of_content (&lookup))
        check_content (&lookup, found);
      else
        open_existing (&lookup, found);
    }
  if (lookup.path_fd >= 0)
    close (lookup.path_fd);
}

int
main (void)
{
  return fsc_filter_load (FSC_FILTER_OPENER) ? fsc_serve ("open-file", open_file) : 1;
}
