/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The names in cached/; see listing.h.
 */
#include "fscache/view/listing.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "fscache/view/source.h"
#include "fscache/view/view.h"

#define USED_FACTOR 10
#define EMPTIED_TIME G_USEC_PER_SEC

typedef struct
{
  GHashTable *below; /* of Name, by name; or NULL, if there never was anything */
  gboolean is_directory;
} Name;

struct FscListing
{
  GMutex lock; /* held while the list is had: others wait for that */
  Name *top;   /* or NULL */
  gint64 until;
  GHashTable *emptied; /* names of directories, and until when they are there */
};

static void
free_name (gpointer data)
{
  Name *name = data;

  g_clear_pointer (&name->below, g_hash_table_unref);
  g_free (name);
}

FscListing *
fsc_listing_new (void)
{
  FscListing *listing = g_new0 (FscListing, 1);

  g_mutex_init (&listing->lock);
  listing->emptied = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, g_free);
  return listing;
}

void
fsc_listing_free (FscListing *listing)
{
  g_clear_pointer (&listing->top, free_name);
  g_hash_table_unref (listing->emptied);
  g_mutex_clear (&listing->lock);
  g_free (listing);
}

/* The tree */

/* Copies the first component, and returns what follows its slash; NULL at the end, or if it is too
 * long to be any name's. */
static const char *
take_component (const char *path, char component[NAME_MAX + 1])
{
  gsize length = strcspn (path, "/");

  if (length == 0 || length > NAME_MAX)
    return NULL;
  memcpy (component, path, length);
  component[length] = '\0';
  return path + length + (path[length] == '/');
}

static Name *
find_below (const Name *name, const char *component)
{
  return name->below != NULL ? g_hash_table_lookup (name->below, component) : NULL;
}

static void
add (Name *top, const char *path, gboolean is_directory)
{
  char component[NAME_MAX + 1];
  Name *name = top;

  while ((path = take_component (path, component)) != NULL)
    {
      Name *below = find_below (name, component);

      if (below == NULL)
        {
          below = g_new0 (Name, 1);
          if (name->below == NULL)
            name->below = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, free_name);
          g_hash_table_insert (name->below, g_strdup (component), below);
        }
      name = below;
    }
  name->is_directory |= is_directory;
}

/* With the name above it, and its last component, if it is not the top. */
static Name *
find (Name *top, const char *path, Name **above, char component[NAME_MAX + 1])
{
  Name *name = top;

  *above = NULL;
  while (name != NULL && *path != '\0')
    {
      *above = name;
      path = take_component (path, component);
      name = path != NULL ? find_below (name, component) : NULL;
    }
  return name;
}

static Name *
get (const FscListing *listing, const char *path)
{
  char component[NAME_MAX + 1];
  Name *above;

  return find (listing->top, path, &above, component);
}

/* Having it */

static void
collect (const FscacheEntry *entry, void *data)
{
  g_autofree char *path = NULL;

  if (entry->is_negative || (entry->flags & O_PATH) != 0)
    return;
  path = fsc_tree_from_uri (entry->uri);
  if (path != NULL)
    add (data, path, entry->kind == FSCACHE_KIND_DIRECTORY);
}

static gboolean
is_over (gpointer path, gpointer until, gpointer now)
{
  return *(gint64 *) until < *(gint64 *) now;
}

static int
have (FscCaller *caller)
{
  FscListing *listing = caller->listing;
  gint64 since = g_get_monotonic_time (), now;
  FscacheReply reply;

  g_clear_pointer (&listing->top, free_name);
  listing->top = g_new0 (Name, 1);
  if (fscache_list (caller->client, NULL, collect, listing->top, &reply) < 0)
    {
      g_clear_pointer (&listing->top, free_name);
      return fsc_source_get_error (&reply);
    }
  now = g_get_monotonic_time ();
  listing->until
      = now + MAX ((now - since) * USED_FACTOR, (gint64) (caller->view->timeout * G_USEC_PER_SEC));
  g_hash_table_foreach_remove (listing->emptied, is_over, &now);
  return 0;
}

/* Returns with the lock, if it is 0. */
static int
lock (FscCaller *caller)
{
  int error = fsc_caller_connect (caller);
  FscListing *listing = caller->listing;

  if (error < 0)
    return error;
  g_mutex_lock (&listing->lock);
  if (listing->top == NULL || g_get_monotonic_time () >= listing->until)
    error = have (caller);
  if (error < 0)
    g_mutex_unlock (&listing->lock);
  return error;
}

static gboolean
was_emptied (const FscListing *listing, const char *name)
{
  const gint64 *until = g_hash_table_lookup (listing->emptied, name);

  return until != NULL && *until >= g_get_monotonic_time ();
}

static gboolean
is_directory (const Name *name)
{
  return name->is_directory || name->below != NULL;
}

int
fsc_listing_is_directory (FscCaller *caller, const char *path)
{
  int result = lock (caller);
  const Name *name;

  if (result < 0)
    return result;
  name = get (caller->listing, path);
  result = (name != NULL && is_directory (name)) || was_emptied (caller->listing, path);
  g_mutex_unlock (&caller->listing->lock);
  return result;
}

int
fsc_listing_has_below (FscCaller *caller, const char *path)
{
  int result = lock (caller);
  const Name *name;

  if (result < 0)
    return result;
  name = get (caller->listing, path);
  result = name != NULL && name->below != NULL && g_hash_table_size (name->below) > 0;
  g_mutex_unlock (&caller->listing->lock);
  return result;
}

int
fsc_listing_read (FscCaller *caller, const char *path, FscFolder *folder)
{
  int error = lock (caller);
  GHashTableIter iter;
  gpointer key, below;
  const Name *name;

  if (error < 0)
    return error;
  name = get (caller->listing, path);
  if (name != NULL && name->below != NULL)
    {
      g_hash_table_iter_init (&iter, name->below);
      while (g_hash_table_iter_next (&iter, &key, &below))
        fsc_folder_add (folder, key, is_directory (below) ? S_IFDIR : S_IFREG);
    }
  g_mutex_unlock (&caller->listing->lock);
  return 0;
}

/* Changing it */

static void
remember_directories (FscListing *listing, const char *name)
{
  gint64 until = g_get_monotonic_time () + EMPTIED_TIME;

  for (const char *end = strchr (name, '/'); end != NULL; end = strchr (end + 1, '/'))
    g_hash_table_replace (listing->emptied, g_strndup (name, (gsize) (end - name)),
                          g_memdup2 (&until, sizeof until));
}

void
fsc_listing_remove (FscCaller *caller, const char *path)
{
  FscListing *listing = caller->listing;
  char component[NAME_MAX + 1];
  Name *name, *above;

  g_mutex_lock (&listing->lock);
  name = find (listing->top, path, &above, component);
  if (name != NULL && above != NULL)
    {
      remember_directories (listing, path);
      if (name->below == NULL)
        g_hash_table_remove (above->below, component);
    }
  g_mutex_unlock (&listing->lock);
}

void
fsc_listing_remove_directory (FscCaller *caller, const char *path)
{
  FscListing *listing = caller->listing;
  char component[NAME_MAX + 1];
  Name *name, *above;

  g_mutex_lock (&listing->lock);
  g_hash_table_remove (listing->emptied, path);
  name = find (listing->top, path, &above, component);
  if (name != NULL && above != NULL)
    g_hash_table_remove (above->below, component);
  g_mutex_unlock (&listing->lock);
}
