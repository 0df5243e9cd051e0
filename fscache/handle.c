/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One open file description that the cache keeps; see handle.h.
 */
#include "fscache/handle.h"

#include <string.h>

#include "fscache/closer.h"

FscHolder *
fsc_holder_ref (FscHolder *holder)
{
  holder->n_refs++;
  return holder;
}

void
fsc_holder_unref (FscHolder *holder)
{
  g_assert (holder->n_refs > 0);
  if (--holder->n_refs == 0)
    holder->free (holder);
}

static FscHandle *
handle_new (FscBytes validator)
{
  FscHandle *handle = g_malloc0 (sizeof *handle + validator.length);

  handle->n_refs = 1;
  handle->fd = -1;
  handle->validator_length = (guint8) validator.length;
  if (validator.length > 0)
    memcpy (handle->validator, validator.data, validator.length);
  return handle;
}

FscHandle *
fsc_handle_new_local (int fd, FscBytes validator)
{
  FscHandle *handle = handle_new (validator);

  handle->fd = fd;
  return handle;
}

FscHandle *
fsc_handle_new_content (FscContent *content, FscBytes validator)
{
  FscHandle *handle = handle_new (validator);

  handle->fd = content->fd;
  handle->bytes = content->bytes;
  handle->content = content;
  return handle;
}

FscHandle *
fsc_handle_new_held (FscHolder *holder, guint64 id, FscBytes validator)
{
  FscHandle *handle = handle_new (validator);

  handle->holder = fsc_holder_ref (holder);
  handle->id = id;
  return handle;
}

FscHandle *
fsc_handle_new_nothing (int error)
{
  FscHandle *handle = handle_new ((FscBytes){ 0 });

  handle->error = error;
  return handle;
}

FscHandle *
fsc_handle_reopen (const FscHandle *handle)
{
  FscContent *content = fsc_content_reopen (handle->content);
  FscHandle *own;

  if (content == NULL)
    return NULL;
  own = fsc_handle_new_content (
      content, (FscBytes){ (const char *) handle->validator, handle->validator_length });
  own->mount_id = handle->mount_id;
  own->kind = handle->kind;
  own->most_sharing = handle->most_sharing;
  return own;
}

void
fsc_handle_unite (FscHandle *handle, GHashTable *contents, guint32 credential)
{
  if (handle->content == NULL || handle->fd < 0)
    return;
  handle->content = fsc_contents_unite (contents, credential, handle->content);
  handle->fd = handle->content->fd;
}

guint64
fsc_handle_get_more_bytes (const FscHandle *handle)
{
  return handle->content == NULL || handle->content->n_kept == 0 ? handle->bytes : 0;
}

FscHandle *
fsc_handle_ref (FscHandle *handle)
{
  handle->n_refs++;
  return handle;
}

void
fsc_handle_unref (FscHandle *handle)
{
  g_assert (handle->n_refs > 0);
  if (--handle->n_refs > 0)
    return;
  if (handle->content != NULL)
    fsc_content_unref (handle->content);
  else if (handle->fd >= 0)
    fsc_closer_close (handle->fd);
  if (handle->holder != NULL)
    {
      if (handle->holder->is_alive)
        handle->holder->release (handle->holder, handle->id);
      fsc_holder_unref (handle->holder);
    }
  g_free (handle);
}

gboolean
fsc_handle_is_alive (const FscHandle *handle)
{
  return handle->holder == NULL || handle->holder->is_alive;
}

gboolean
fsc_handle_is_intact (const FscHandle *handle)
{
  return handle->content == NULL || fsc_content_is_intact (handle->content);
}

gboolean
fsc_handle_is_same (const FscHandle *a, const FscHandle *b)
{
  return a->validator_length == b->validator_length
         && memcmp (a->validator, b->validator, a->validator_length) == 0;
}

gboolean
fsc_handle_is_stateful (const FscHandle *handle)
{
  return handle->kind == FSC_KIND_CHARACTER || handle->kind == FSC_KIND_BLOCK
         || handle->kind == FSC_KIND_SOCKET;
}
