/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What never changes, and is kept once; see content.h.
 */
#include "fscache/content.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/closer.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* What the kernel says of a descriptor. None of its answers has to be waited for: openers pass on
 * memory, and files of local file systems. */
static const char *
find_fault (int fd, FscContent *content)
{
  int seals = fcntl (fd, F_GET_SEALS);
  struct stat st;

  content->info.is_sealed = seals >= 0 && (seals & SEALS) == SEALS;
  if (!content->info.is_sealed && (fcntl (fd, F_GETFL) & (O_ACCMODE | O_PATH)) != O_RDONLY)
    return "gave out content that can be written to";
  if (fstat (fd, &st) < 0 || (guint64) st.st_size != content->info.size)
    return "gave out content of another size than it says";
  content->bytes = content->info.size;
  content->changed = st.st_ctim;
  return NULL;
}

FscContent *
fsc_content_new (int fd, const FscContentInfo *info, const char **fault)
{
  g_autoptr (FscContent) content = g_new0 (FscContent, 1);

  content->n_refs = 1;
  content->fd = fd;
  content->info = *info;
  if (fd >= 0)
    lseek (fd, 0, SEEK_SET); /* it was written, but is to be as after open() */
  *fault = fd >= 0 ? find_fault (fd, content) : NULL;
  return *fault == NULL ? g_steal_pointer (&content) : NULL;
}

FscContent *
fsc_content_reopen (const FscContent *content)
{
  g_autofree char *name = g_strdup_printf ("/proc/self/fd/%d", content->fd);
  int fd = open (name, O_RDONLY | O_CLOEXEC);
  FscContent *own;

  if (fd < 0)
    return NULL;
  own = g_new0 (FscContent, 1);
  own->n_refs = 1;
  own->fd = fd;
  own->bytes = content->bytes;
  own->info = content->info;
  own->changed = content->changed;
  return own;
}

gboolean
fsc_content_is_intact (const FscContent *content)
{
  struct stat st;

  return content->fd < 0 || content->info.is_sealed
         || (fstat (content->fd, &st) == 0 && (guint64) st.st_size == content->info.size
             && st.st_ctim.tv_sec == content->changed.tv_sec
             && st.st_ctim.tv_nsec == content->changed.tv_nsec);
}

FscContent *
fsc_content_ref (FscContent *content)
{
  content->n_refs++;
  return content;
}

void
fsc_content_unref (FscContent *content)
{
  g_assert (content->n_refs > 0);
  if (--content->n_refs > 0)
    return;
  if (content->others != NULL)
    {
      g_hash_table_remove (content->others, content);
      g_hash_table_unref (content->others);
    }
  if (content->fd >= 0)
    fsc_closer_close (content->fd);
  g_free (content);
}

/* Equal content */

static guint
content_hash (gconstpointer data)
{
  const FscContent *content = data;
  guint hash;

  memcpy (&hash, content->info.digest, sizeof hash);
  return hash ^ content->credential * 2654435761u;
}

static gboolean
content_equal (gconstpointer a, gconstpointer b)
{
  const FscContent *x = a, *y = b;

  return x->credential == y->credential && x->info.size == y->info.size
         && memcmp (x->info.digest, y->info.digest, sizeof x->info.digest) == 0;
}

GHashTable *
fsc_contents_new (void)
{
  return g_hash_table_new (content_hash, content_equal);
}

FscContent *
fsc_contents_unite (GHashTable *others, guint32 credential, FscContent *content)
{
  FscContent *equal;

  if (!content->info.is_sealed || content->others != NULL)
    return content;
  content->credential = credential;
  equal = g_hash_table_lookup (others, content);
  if (equal != NULL)
    {
      fsc_content_unref (content);
      return fsc_content_ref (equal);
    }
  content->others = g_hash_table_ref (others);
  g_hash_table_add (others, content);
  return content;
}
