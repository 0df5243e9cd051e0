/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is cached; see entry.h.
 */
#include "fscache/view/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fscache/view/listing.h"
#include "fscache/view/look.h"
#include "fscache/view/source.h"

#define BLOCK_SIZE 512

/* Finding */

static void
take (const FscacheEntry *entry, void *data)
{
  FscFound *found = data;

  if ((entry->flags & O_PATH) != 0 || entry->is_negative)
    return;
  if (found->n == 0 || entry->flags == 0)
    found->entry = *entry;
  found->n++;
}

int
fsc_entry_find (FscCaller *caller, const char *target, FscFound *found)
{
  int error = fsc_caller_connect (caller);
  char *uri = fscache_uri (target);
  FscacheReply reply;

  *found = (FscFound){ .uri = g_strdup (uri) };
  free (uri);
  if (error == 0 && found->uri != NULL
      && fscache_info (caller->client, found->uri, take, found, &reply) < 0)
    error = fsc_source_get_error (&reply);
  found->entry.uri = found->uri;
  return error == -ENOENT ? 0 : error;
}

void
fsc_found_clear (FscFound *found)
{
  g_clear_pointer (&found->uri, g_free);
}

/* Looking */

static void
set_time (struct timespec *time, guint64 ago_ms)
{
  gint64 now = g_get_real_time () / 1000 - (gint64) ago_ms;

  *time = (struct timespec){ .tv_sec = now / 1000, .tv_nsec = now % 1000 * 1000000 };
}

static void
fill (const FscacheEntry *entry, struct stat *attributes)
{
  set_time (&attributes->st_atim, entry->idle_ms);
  set_time (&attributes->st_mtim, entry->age_ms);
  attributes->st_ctim = attributes->st_mtim;
  if (!entry->content.is_known)
    return;
  attributes->st_size = (off_t) entry->content.size;
  attributes->st_blocks = (blkcnt_t) ((entry->content.size + BLOCK_SIZE - 1) / BLOCK_SIZE);
}

/* A URI may be written in several ways, but has one name. */
static gboolean
is_named (const FscFound *found, const char *name)
{
  g_autofree char *its = fsc_tree_from_uri (found->uri);

  return g_strcmp0 (its, name) == 0;
}

int
fsc_entry_get_attributes (FscCaller *caller, const char *path, struct stat *attributes)
{
  g_autofree char *target = fsc_tree_get_target (path);
  const char *name = fsc_tree_skip_branch (path);
  int is_directory = fsc_listing_is_directory (caller, name), error = 0;
  g_auto (FscFound) found = { 0 };
  gboolean is_there;

  if (is_directory == 0 && target != NULL)
    error = fsc_entry_find (caller, target, &found);
  if (is_directory < 0 || error < 0)
    return MIN (is_directory, error);
  is_there = found.n > 0 && is_named (&found, name);
  if (!is_there && !is_directory)
    {
      fsc_listing_remove (caller, name);
      return -ENOENT;
    }
  is_directory |= is_there && found.entry.kind == FSCACHE_KIND_DIRECTORY;
  fsc_look_fill_own (caller->view, path, is_directory ? S_IFDIR | 0755 : S_IFREG | 0444,
                     attributes);
  if (!is_directory)
    fill (&found.entry, attributes);
  return 0;
}

/* Dropping */

/* Returns how many entries were dropped. */
static int
drop (FscCaller *caller, const char *target)
{
  FscacheReply reply;
  int error = fsc_caller_connect (caller);
  ssize_t n = error == 0 ? fscache_drop (caller->client, target, &reply) : error;

  return error == 0 && n < 0 ? fsc_source_get_error (&reply) : (int) n;
}

/* A path may also end with what says that it is one of a directory. */
static int
drop_directory (FscCaller *caller, const char *target)
{
  static const char *const ends[] = { "", "/", "/." };
  int n = 0;

  for (gsize i = 0; n >= 0 && i < (target[0] == '/' ? G_N_ELEMENTS (ends) : 1); i++)
    {
      g_autofree char *name = g_strconcat (target, ends[i], NULL);

      n = drop (caller, name);
    }
  return MIN (n, 0);
}

void
fsc_entry_unlink (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);
  g_autofree char *target = fsc_tree_get_target (path);
  int n;

  if (call->node->place != FSC_PLACE_ENTRY)
    {
      fsc_call_finish (call, call->node->place == FSC_PLACE_SOURCE ? EOPNOTSUPP : EROFS);
      return;
    }
  n = target != NULL ? drop (&call->caller, target) : -ENOENT;
  if (n >= 0)
    fsc_listing_remove (&call->caller, fsc_tree_skip_branch (path));
  fsc_call_finish (call, n < 0 ? n : n == 0 ? ENOENT : 0);
}

static int
remove_directory (FscCaller *caller, const char *path)
{
  g_autofree char *target = fsc_tree_get_target (path);
  const char *name = fsc_tree_skip_branch (path);
  int error = fsc_listing_has_below (caller, name);

  if (error != 0)
    return error < 0 ? error : -ENOTEMPTY;
  if (target != NULL)
    error = drop_directory (caller, target);
  if (error == 0)
    fsc_listing_remove_directory (caller, name);
  return error;
}

/* A directory of which nothing is left is gone already: rm -r need not know. */
void
fsc_entry_remove_directory (FscCall *call)
{
  g_autofree char *path = fsc_tree_join (call->node->path, call->name);

  if (call->node->place != FSC_PLACE_ENTRY)
    fsc_call_finish (call, call->node->place == FSC_PLACE_SOURCE ? EOPNOTSUPP : EROFS);
  else
    fsc_call_finish (call, remove_directory (&call->caller, path));
}
