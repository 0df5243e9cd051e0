/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Listings; see folder.h.
 */
#include "fscache/view/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fscache/view/listing.h"
#include "fscache/view/look.h"
#include "fscache/view/source.h"

/* For names of the view's own, which are made when they are looked up; 0 would be none. */
#define UNKNOWN_INODE 0xffffffff

typedef struct
{
  char *name;
  mode_t mode;
} Item;

struct FscFolder
{
  GMutex lock;
  DIR *directory; /* or NULL */
  GArray *items;  /* of Item, or NULL */
  /* What did not fit into the last answer. */
  const struct dirent *left;
  off_t offset;
};

static void
clear_item (gpointer data)
{
  g_free (((Item *) data)->name);
}

static FscFolder *
make_folder (DIR *directory)
{
  FscFolder *folder = g_new0 (FscFolder, 1);

  g_mutex_init (&folder->lock);
  folder->directory = directory;
  if (directory == NULL)
    {
      folder->items = g_array_new (FALSE, FALSE, sizeof (Item));
      g_array_set_clear_func (folder->items, clear_item);
    }
  return folder;
}

void
fsc_folder_free (FscFolder *folder)
{
  if (folder->directory != NULL)
    closedir (folder->directory);
  if (folder->items != NULL)
    g_array_unref (folder->items);
  g_mutex_clear (&folder->lock);
  g_free (folder);
}

void
fsc_folder_add (FscFolder *folder, const char *name, mode_t mode)
{
  Item item = { .name = g_strdup (name), .mode = mode };

  g_array_append_val (folder->items, item);
}

/* Opening */

/* The listing has a descriptor of its own: the handle is for who asks about what is open. */
static int
open_source (FscCall *call, FscFile *file)
{
  FscSource source;
  struct statx st;
  DIR *directory;
  int fd, copy, error;

  if (call->node->barrier != 0)
    return -call->node->barrier;
  fd = fsc_source_open (&call->caller, call->node->target, O_RDONLY | O_DIRECTORY, 0, &source);
  if (fd < 0)
    return fd;
  if (!fsc_look_is_of (call->node, fd, &st))
    {
      close (fd);
      return -ESTALE;
    }
  fsc_file_set_own_handle (file, fd, source.is_local);
  copy = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  directory = copy >= 0 ? fdopendir (copy) : NULL;
  if (directory != NULL)
    {
      file->folder = make_folder (directory);
      return 0;
    }
  error = -errno;
  if (copy >= 0)
    close (copy);
  return error;
}

static int
open_own (FscCall *call, FscFile *file)
{
  FscPlace place = call->node->place;
  FscFolder *folder = file->folder = make_folder (NULL);

  fsc_folder_add (folder, ".", S_IFDIR);
  fsc_folder_add (folder, "..", S_IFDIR);
  if (place == FSC_PLACE_TOP)
    {
      fsc_folder_add (folder, "open", S_IFDIR);
      fsc_folder_add (folder, "cached", S_IFDIR);
      fsc_folder_add (folder, "status.json", S_IFREG);
      fsc_folder_add (folder, "metrics", S_IFREG);
    }
  else if (strcmp (call->node->path, "open") == 0)
    for (guint i = 0; fsc_tree_schemes[i] != NULL; i++)
      fsc_folder_add (folder, fsc_tree_schemes[i], S_IFDIR);
  else
    return fsc_listing_read (&call->caller, fsc_tree_skip_branch (call->node->path), folder);
  return 0;
}

void
fsc_folder_open (FscCall *call)
{
  FscFile *file = fsc_file_new (call->view, call->node);
  int error
      = call->node->place == FSC_PLACE_SOURCE ? open_source (call, file) : open_own (call, file);

  if (error == 0)
    fsc_file_reply (call, file);
  else
    {
      fsc_file_unref (call->view, file);
      fsc_call_finish (call, error);
    }
}

/* Reading */

typedef struct
{
  FscCall *call;
  char *buffer;
  size_t length;
} Answer;

/* Returns FALSE if it does not fit. */
static gboolean
add (Answer *answer, const char *name, ino_t inode, mode_t mode, off_t next)
{
  struct stat st = { .st_ino = inode, .st_mode = mode };
  size_t room = answer->call->size - answer->length;
  size_t size = fuse_add_direntry (answer->call->request, answer->buffer + answer->length, room,
                                   name, &st, next);

  if (size > room)
    return FALSE;
  answer->length += size;
  return TRUE;
}

/* The name and the type are as they will be looked up: below open/unpack/ a file has another inode,
 * and a symlink may become a file. */
static gboolean
add_entry (Answer *answer, const struct dirent *entry)
{
  const FscNode *node = answer->call->node;
  guint64 inode = fsc_look_get_inode (answer->call->view, node, entry->d_ino);
  g_autofree char *name = NULL;

  if (fsc_tree_is_file (node->path))
    return add (answer, entry->d_name, inode, DTTOIF (entry->d_type), entry->d_off);
  name = fsc_tree_get_name (node->path, entry->d_name);
  return add (answer, name, entry->d_type == DT_DIR ? inode : UNKNOWN_INODE,
              entry->d_type == DT_LNK ? 0 : DTTOIF (entry->d_type), entry->d_off);
}

static int
read_directory (FscFolder *folder, Answer *answer)
{
  if (answer->call->offset != folder->offset)
    {
      seekdir (folder->directory, answer->call->offset);
      folder->left = NULL;
      folder->offset = answer->call->offset;
    }
  for (;;)
    {
      const struct dirent *entry = folder->left;

      errno = 0;
      if (entry == NULL)
        entry = readdir (folder->directory);
      folder->left = entry;
      if (entry == NULL)
        return errno;
      if (!add_entry (answer, entry))
        return 0;
      folder->left = NULL;
      folder->offset = entry->d_off;
    }
}

static void
read_items (const FscFolder *folder, Answer *answer)
{
  for (guint i = (guint) answer->call->offset; i < folder->items->len; i++)
    {
      const Item *item = &g_array_index (folder->items, Item, i);

      if (!add (answer, item->name, UNKNOWN_INODE, item->mode, i + 1))
        return;
    }
}

void
fsc_folder_read (FscCall *call)
{
  FscFolder *folder = call->file->folder;
  g_autofree char *buffer = g_malloc (call->size);
  Answer answer = { .call = call, .buffer = buffer };
  int error = 0;

  g_mutex_lock (&folder->lock);
  if (folder->directory != NULL)
    error = read_directory (folder, &answer);
  else
    read_items (folder, &answer);
  g_mutex_unlock (&folder->lock);
  if (error != 0 && answer.length == 0)
    fsc_call_finish (call, error);
  else
    fsc_call_reply_data (call, buffer, answer.length);
}
