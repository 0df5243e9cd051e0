/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Answers, and comparing them; see answer.h.
 */
#include "tests/stress/answer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

const DiffQuestion diff_questions[] = {
  { "shared", O_RDONLY, FSCACHE_SHARED, 30 },
  { "independent", O_RDONLY, FSCACHE_INDEPENDENT, 20 },
  { "path", O_PATH, FSCACHE_SHARED, 10 },
  { "path-nofollow", O_PATH | O_NOFOLLOW, FSCACHE_SHARED, 10 },
  { "directory", O_RDONLY | O_DIRECTORY, FSCACHE_INDEPENDENT, 10 },
  { "directory-path", O_PATH | O_DIRECTORY, FSCACHE_INDEPENDENT, 5 },
  { "directory-nofollow", O_RDONLY | O_DIRECTORY | O_NOFOLLOW, FSCACHE_INDEPENDENT, 3 },
  { "nofollow", O_RDONLY | O_NOFOLLOW, FSCACHE_SHARED, 8 },
  { "nofollow-independent", O_RDONLY | O_NOFOLLOW, FSCACHE_INDEPENDENT, 4 },
  { "noatime", O_RDONLY | O_NOATIME, FSCACHE_INDEPENDENT, 3 },
  { "exclusive", O_RDONLY, FSCACHE_EXCLUSIVE, 2 },
  { "directory-path-nofollow", O_PATH | O_DIRECTORY | O_NOFOLLOW, FSCACHE_SHARED, 2 },
  { "append", O_RDONLY | O_APPEND, FSCACHE_SHARED, 1 },
  { "direct", O_RDONLY | O_DIRECT, FSCACHE_INDEPENDENT, 1 },
  { "write", O_WRONLY, FSCACHE_INDEPENDENT, 2 },
  { "read-write", O_RDWR, FSCACHE_INDEPENDENT, 2 },
};
const guint diff_n_questions = G_N_ELEMENTS (diff_questions);

/* Status flags that say how it was found, and not what may be done with it; and the one that
 * diff_answer_expect() adds. */
#define IGNORED_FLAGS (O_NOFOLLOW | O_DIRECTORY | O_NONBLOCK)

static void
look_at (DiffAnswer *answer, const DiffQuestion *question)
{
  struct statx st;

  if (statx (answer->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, &st) < 0)
    g_error ("statx() of an open descriptor: %s", g_strerror (errno));
  answer->device = ((dev_t) st.stx_dev_major << 32) | st.stx_dev_minor;
  answer->inode = st.stx_ino;
  answer->mount = st.stx_mnt_id;
  answer->mode = st.stx_mode;
  answer->flags = fcntl (answer->fd, F_GETFL) & ~IGNORED_FLAGS;
  /* Of a description that is shared, only how it was opened is promised. */
  if (question->sharing != FSCACHE_INDEPENDENT)
    answer->flags &= O_ACCMODE | O_PATH;
  if (S_ISREG (st.stx_mode) && (question->flags & (O_PATH | O_WRONLY)) == 0)
    answer->length = (gint) pread (answer->fd, answer->content, DIFF_CONTENT_MAX, 0);
}

static void
fail (DiffAnswer *answer, FscacheCode code, int error)
{
  if (answer->fd >= 0)
    close (answer->fd);
  *answer = (DiffAnswer){ .fd = -1, .code = code, .error = error, .length = -1 };
}

static mode_t
get_type (const char *path, const DiffQuestion *question)
{
  int fd = open (path, O_PATH | O_CLOEXEC | (question->flags & (O_DIRECTORY | O_NOFOLLOW)));
  struct stat st = { 0 };

  if (fd < 0)
    return 0;
  fstat (fd, &st);
  close (fd);
  return st.st_mode & S_IFMT;
}

void
diff_answer_expect (DiffAnswer *answer, const char *path, const DiffQuestion *question)
{
  mode_t type = (question->flags & O_PATH) == 0 ? get_type (path, question) : 0;
  struct statfs fs;

  *answer = (DiffAnswer){ .fd = -1, .length = -1 };
  /* The opener does not open a FIFO, and so does not know whether it could: the client does. */
  if (type == S_IFIFO)
    {
      fail (answer, FSCACHE_ERROR_NOT_SERVED, EXDEV);
      return;
    }
  answer->fd = open (path, question->flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (answer->fd < 0)
    {
      fail (answer, FSCACHE_ERROR_SYSTEM, errno);
      return;
    }
  look_at (answer, question);
  if (S_ISDIR (answer->mode) && (question->flags & O_PATH) == 0
      && question->sharing == FSCACHE_SHARED)
    fail (answer, FSCACHE_ERROR_BAD_REQUEST, EISDIR);
  else if (fstatfs (answer->fd, &fs) == 0 && (guint32) fs.f_type == OVERLAYFS_SUPER_MAGIC)
    answer->coherence = FSCACHE_COHERENCE_UNCACHED;
  else
    answer->coherence = FSCACHE_COHERENCE_CHECKED;
}

void
diff_answer_take (DiffAnswer *answer, FscacheReply *reply, const DiffQuestion *question)
{
  *answer = (DiffAnswer){
    .fd = reply->fd,
    .code = reply->code,
    .error = reply->error,
    .source = reply->source,
    .coherence = reply->coherence,
    .length = -1,
  };
  reply->fd = -1;
  if (answer->fd >= 0)
    look_at (answer, question);
}

const char *
diff_answer_compare (const DiffAnswer *expected, const DiffAnswer *given)
{
  if (expected->code != given->code || expected->error != given->error
      || (expected->fd < 0) != (given->fd < 0))
    return "another errno";
  if (expected->fd < 0)
    return NULL;
  if (expected->device != given->device || expected->inode != given->inode)
    return "another file";
  if (expected->length != given->length
      || (expected->length > 0
          && memcmp (expected->content, given->content, (size_t) expected->length) != 0))
    return "another content";
  if (expected->mount != given->mount)
    return "another mount";
  if (expected->flags != given->flags)
    return "other status flags";
  /* Else what is compared here would be promised by nobody. */
  if (given->coherence == FSCACHE_COHERENCE_TTL
      || (expected->coherence == FSCACHE_COHERENCE_UNCACHED
          && given->coherence != FSCACHE_COHERENCE_UNCACHED)
      || given->source == FSCACHE_SOURCE_LOCAL)
    return "another coherence";
  return NULL;
}

char *
diff_answer_describe (const DiffAnswer *answer)
{
  GString *text = g_string_new (NULL);

  if (answer->fd < 0)
    {
      g_string_printf (text, "%s (%s)", g_strerror (answer->error),
                       fscache_code_name (answer->code));
      return g_string_free (text, FALSE);
    }
  g_string_printf (text,
                   "inode %" G_GUINT64_FORMAT " of %u:%u, mount %" G_GUINT64_FORMAT ", mode %o",
                   (guint64) answer->inode, (guint) (answer->device >> 32), (guint) answer->device,
                   answer->mount, answer->mode);
  if (answer->length >= 0)
    {
      g_autofree char *content = g_strndup (answer->content, (gsize) answer->length);

      g_string_append_printf (text, ", content \"%s\"", g_strchomp (content));
    }
  g_string_append_printf (text, ", flags 0%o, %s", answer->flags,
                          fscache_coherence_name (answer->coherence));
  if (answer->source != FSCACHE_SOURCE_NONE)
    g_string_append_printf (text, ", %s", fscache_source_name (answer->source));
  return g_string_free (text, FALSE);
}

void
diff_answer_clear (DiffAnswer *answer)
{
  if (answer->fd >= 0)
    close (answer->fd);
  answer->fd = -1;
}
