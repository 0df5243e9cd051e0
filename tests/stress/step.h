/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Steps of the differential test: what is done to the tree, and what is asked. A step names all
 * that it needs, with paths relative to the tree, so that any part of a list of steps can be played
 * again, in a tree of its own. As text it is one line: "rename a/b c".
 */
#pragma once

#include <glib.h>
#include <stdint.h>
#include <stdio.h>

#define DIFF_PATH_MAX 48

typedef enum
{
  /* What the comparer does. */
  DIFF_ASK,    /* KIND PATH: ask the service and open(), and compare */
  DIFF_FORGET, /* PATH: the service drops what it has of this name, so that it is cold again */

  /* What mutators do. NUMBER is the content of a file, which no other has. */
  DIFF_CREATE,       /* PATH NUMBER: a new file */
  DIFF_WRITE,        /* PATH NUMBER: truncate what is there, and write */
  DIFF_REPLACE,      /* PATH NUMBER: a new file beside it, renamed over it */
  DIFF_TMPFILE,      /* PATH NUMBER: made without a name (O_TMPFILE), then linked in */
  DIFF_LINK,         /* PATH PATH */
  DIFF_SYMLINK,      /* PATH TARGET; "@" in front of the target is the tree, as an absolute path */
  DIFF_SWAP_SYMLINK, /* PATH TARGET: a new one beside it, renamed over it */
  DIFF_MKDIR,        /* PATH MODE */
  DIFF_RMDIR,        /* PATH */
  DIFF_UNLINK,       /* PATH */
  DIFF_RMTREE,       /* PATH: with all that is in it */
  DIFF_RENAME,       /* PATH PATH */
  DIFF_RENAME_NEW,   /* PATH PATH: RENAME_NOREPLACE */
  DIFF_EXCHANGE,     /* PATH PATH: RENAME_EXCHANGE */
  DIFF_FIFO,         /* PATH */
  DIFF_SOCKET,       /* PATH */
  DIFF_DEVICE,       /* PATH: another /dev/null */
  DIFF_CHMOD,        /* PATH MODE */
  DIFF_CHOWN,        /* PATH OWNER GROUP: see DiffTree */
  DIFF_ACL,          /* PATH PERMISSIONS: see mutate.c */
  DIFF_DEFAULT_ACL,  /* PATH PERMISSIONS */
  DIFF_NO_ACL,       /* PATH */
  DIFF_TMPFS,        /* PATH: mounted there */
  DIFF_OVERLAY,      /* PATH NUMBER: mounted there, with an upper directory of this number */
  DIFF_BIND,         /* PATH PATH: the first one also under the second name */
  DIFF_MOVE_MOUNT,   /* PATH PATH */
  DIFF_MOUNT_FLAGS,  /* PATH FLAGS: MS_RDONLY and the like, of this mount alone */
  DIFF_UNMOUNT,      /* PATH */
  DIFF_DETACH,       /* PATH: unmounted lazily */
  DIFF_SHRINK,       /* the kernel forgets what names it can of the file system (remount) */
  DIFF_N_KINDS,
} DiffKind;

typedef struct
{
  guint16 kind;
  guint32 number; /* mode, content, owner, kind of question, flags */
  guint32 other;  /* group */
  char a[DIFF_PATH_MAX];
  char b[DIFF_PATH_MAX]; /* or the target of a symlink */
} DiffStep;

const char *diff_kind_get_name (DiffKind kind);

/* Whether it asks the service, instead of changing the tree. */
gboolean diff_step_is_question (const DiffStep *step);

/* "rename a/b c". */
void diff_step_print (const DiffStep *step, FILE *out);

/* Takes one line. FALSE: it is none, and *error says why. */
gboolean diff_step_parse (const char *line, DiffStep *step, GError **error);

/* A list of DiffStep from a file with a step on each line; empty lines, and those that start with
 * '#', are passed over. NULL on failure. */
GArray *diff_steps_load (const char *file, GError **error);
