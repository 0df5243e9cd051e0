/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Going along a path by hand, component by component, as the kernel does it. It is for what a
 * single openat2() cannot tell: where a way leaves the mount that it must not leave, and which
 * directories and symlinks it leads through. It does nothing but look: to open, to watch and to
 * report is its caller's.
 *
 * What it promises is to come where the kernel would come, with the kernel's errors: each step is
 * one openat2() of one name in a directory that is open (O_PATH), so it is the kernel that checks
 * the permission to search, and whether this symlink may be followed at all (sticky directories,
 * mounts with nosymfollow, security modules). Of symlinks it follows 40, and magic ones of procfs
 * none, and it goes nowhere on a view of the cache, which would ask for the same again: that is
 * ELOOP, too. The last component is the caller's: it is looked at, and followed if it is a symlink
 * and the flags of the open say so, but opened by nobody yet.
 *
 * Leaving. A walk may be bound to one mount: then it goes nowhere else, and says where the way
 * leads: as a text, which is the path with what has been walked replaced by where it has led, and
 * a bookmark, with which another walk resumes there, in another process. The kernel holds the
 * directory it has reached; between two processes there is only its name, and whoever renames
 * directories meanwhile could make the rest of the path mean something that open() of the original
 * path could never have found. So the bookmark has the identity of that directory, and who resumes
 * looks whether the name still leads there; if it does not, the way is to be begun again from its
 * beginning. So what is found in the end is what one walk of the kernel's would have found that was
 * as slow. Nothing else depends on the text being right: it is walked from "/" with the rights of
 * this process, and needs no permission that the original way has not needed: each directory above
 * the one that was reached has been searched on the way to it.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "protocol/protocol.h"

/* Symlinks may make a path longer than any that can be asked for. */
#define FSC_WALK_TEXT_MAX FSC_URI_MAX

/* What a resumed walk has to know of the one before. */
typedef struct
{
  uint16_t length; /* so many bytes of the text are the directory; 0: begin at "/" */
  uint8_t n_links; /* symlinks that have been followed */
  uint8_t zero[5];
  uint64_t inode; /* of the directory */
  uint32_t mount_id;
  uint32_t dev_major, dev_minor;
  uint32_t born_nsec;
  int64_t born; /* where the file system tells: inode numbers are used again */
} FscBookmark;

static_assert (sizeof (FscBookmark) <= FSC_RESUME_MAX, "it must fit into an item");

typedef enum
{
  FSC_WALK_ON,        /* a directory was entered, or a symlink read: there is more to do */
  FSC_WALK_ARRIVED,   /* only the last component is left: see `name` and `last` */
  FSC_WALK_ELSEWHERE, /* the way leaves the mount: see `text` and `bookmark` */
  FSC_WALK_CHANGED,   /* the directory of the bookmark is not there any more */
  FSC_WALK_MAGIC,     /* it leads through a magic link of procfs */
  FSC_WALK_FAILED     /* see `error` */
} FscWalkState;

typedef struct
{
  /* For the caller to read. Descriptors are the walk's. */
  char text[FSC_WALK_TEXT_MAX + 1]; /* where it is, and what is left to go */
  size_t length;                    /* of the first part: the directory; 0 is "/" */
  int directory;                    /* O_PATH: the next name is looked up in it */
  unsigned n_links;
  const char *name;     /* ARRIVED: the last component, with a '/' if one followed it */
  int last;             /* ARRIVED: what it is now (O_PATH), not followed; -1: nothing is there */
  mode_t last_mode;     /* and its type */
  uint64_t resolve;     /* ARRIVED: the restrictions under which to open it */
  FscBookmark bookmark; /* ELSEWHERE */
  int error;            /* FAILED: errno */

  /* The walk's own. */
  int flags;
  size_t mount_length; /* of the text it began with */
  int mount;           /* O_PATH: the mount point; -1: the walk is free */
  uint64_t mount_id;   /* free: of the mount that it was on last, which is no view */
  char mount_path[PATH_MAX];
  char name_buffer[PATH_MAX + 4]; /* with room for "/." */
} FscWalk;

/* Begins. `flags` are those of the open that is intended: they say what to do with the last
 * component. If `mount_length` is not 0, so many bytes of the path are a mount point, and the mount
 * there is not left. `bookmark` NULL begins a path, else the path is the text of a walk that was
 * left. Returns ON, or how it has ended. */
FscWalkState fsc_walk_begin (FscWalk *walk, const char *path, size_t mount_length,
                             const FscBookmark *bookmark, int flags);

/* Goes one step: looks up the next name in `directory`, and enters it, if it is one, or puts what a
 * symlink says in its place. Returns ON, or how the walk has ended. */
FscWalkState fsc_walk_step (FscWalk *walk);

/* All steps. */
FscWalkState fsc_walk_run (FscWalk *walk);

/* Closes its descriptors; needed however it has ended. */
void fsc_walk_end (FscWalk *walk);

/* openat2() with O_CLOEXEC, and never through magic links. Returns -1 and errno. */
int fsc_walk_open (int directory, const char *path, int flags, mode_t mode, uint64_t resolve);
