/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A handle: one open file description that the cache keeps, wherever it is.
 *
 * Where it is, is a question of trust. Whoever closes, stats or duplicates over a descriptor on a
 * FUSE or network file system may hang, even while exiting. So the service has in its own table
 * only what lies on local file systems that it names; everything else stays with the process that
 * opened it, its holder, under an id. The service never has a descriptor of it: to give it to a
 * client, it sends the holder the packet and the client's socket.
 *
 * Handles are counted: an entry has one reference, each reply that is waiting to be sent has one.
 */
#pragma once

#include <glib.h>

#include "fscache/content.h"
#include "protocol/codec.h"

typedef struct FscHolder FscHolder;

/* Called once when a holder has sent what it was told to, with 0, or with the errno of why not:
 * EAGAIN (the client's socket is full), ENOENT (it has no such handle), EIO (it is gone) ... */
typedef void (*FscHandFunc) (int error, gpointer data);

/* A process that keeps handles. */
struct FscHolder
{
  guint n_refs;
  gboolean is_alive;

  /* Sends `packet` with the handles `ids` to `socket` (borrowed), and calls `func`, never from
   * within. */
  void (*hand) (FscHolder *holder, const guint64 *ids, guint n_ids, FscBytes packet, int socket,
                FscHandFunc func, gpointer data);
  void (*release) (FscHolder *holder, guint64 id);
  void (*free) (FscHolder *holder);
};

FscHolder *fsc_holder_ref (FscHolder *holder);
void fsc_holder_unref (FscHolder *holder);

typedef struct
{
  guint n_refs;
  int fd;              /* or -1: held */
  FscContent *content; /* whose the descriptor is then; NULL: what it is of may change */
  FscHolder *holder;
  guint64 id;
  guint64 bytes; /* that it keeps, of memory or in a file without a name */
  guint32 mount_id;
  gint32 error;        /* not 0: there is nothing to be opened, and this is what open() says */
  guint8 kind;         /* FscKind */
  guint8 most_sharing; /* INDEPENDENT: may be reopened; EXCLUSIVE: may only be lent */
  guint8 is_put;       /* by a client, under a name: it cannot be opened again */
  guint8 validator_length;
  guint8 validator[];
} FscHandle;

/* Takes the descriptor. */
FscHandle *fsc_handle_new_local (int fd, FscBytes validator);

/* Takes the content, which has a descriptor. */
FscHandle *fsc_handle_new_content (FscContent *content, FscBytes validator);

/* Takes the handle that `holder` has under `id`, and a reference of the holder's. */
FscHandle *fsc_handle_new_held (FscHolder *holder, guint64 id, FscBytes validator);

/* The same content, here, with a description of its own; NULL, with errno, if it cannot be. */
FscHandle *fsc_handle_reopen (const FscHandle *handle);

/* From now on it has its content in common with others of the same user, if there are equal ones;
 * for a handle that nobody else knows. */
void fsc_handle_unite (FscHandle *handle, GHashTable *contents, guint32 credential);

/* How many bytes more are kept if this handle is kept too. */
guint64 fsc_handle_get_more_bytes (const FscHandle *handle);

/* Stands for what is not there: the errno of open(). */
FscHandle *fsc_handle_new_nothing (int error);

/* Whether there is a handle, and it is one of these. */
static inline gboolean
fsc_handle_is_nothing (const FscHandle *handle)
{
  return handle != NULL && handle->error != 0;
}

FscHandle *fsc_handle_ref (FscHandle *handle);

/* The last reference closes it: a local one here, or in the closer's thread if that may take long;
 * a held one at its holder. */
void fsc_handle_unref (FscHandle *handle);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscHandle, fsc_handle_unref)

/* Whether it can still be given: the holder of a held one lives. */
gboolean fsc_handle_is_alive (const FscHandle *handle);

/* Whether what it is of is what it was, if that is never to change. */
gboolean fsc_handle_is_intact (const FscHandle *handle);

/* Whether two handles, by their validators, are of the same thing. */
gboolean fsc_handle_is_same (const FscHandle *a, const FscHandle *b);

/* Whether it is borrowed for its state, and so may be lent again as it is given back. Of any other
 * the next borrower expects a new description: that is another handle. To make this one new would
 * be to wait for the borrower, who may have kept a duplicate: lseek() waits for a read() that is
 * under way, and that for memory that never comes. */
gboolean fsc_handle_is_stateful (const FscHandle *handle);
