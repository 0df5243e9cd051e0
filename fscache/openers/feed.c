/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * libarchive that reads from a stream; see feed.h.
 */
#include "fscache/openers/feed.h"

#include <errno.h>
#include <stdio.h>

static la_ssize_t
read_block (struct archive *archive, void *data, const void **block)
{
  FscFeed *source = data;
  ssize_t n = source->stream->read (source->stream, block);

  if (n > 0)
    source->position += (uint64_t) n;
  if (n < 0)
    archive_set_error (archive, EIO, "%s", source->fault->phrase);
  return n;
}

static la_int64_t
seek_to (struct archive *archive, void *data, la_int64_t offset, int whence)
{
  FscFeed *source = data;
  FscStream *stream = source->stream;
  la_int64_t from = whence == SEEK_SET   ? 0
                    : whence == SEEK_CUR ? (la_int64_t) source->position
                                         : (la_int64_t) stream->size;
  la_int64_t to;

  if (__builtin_add_overflow (from, offset, &to) || to < 0 || (uint64_t) to > stream->size
      || !stream->seek (stream, (uint64_t) to))
    return ARCHIVE_FATAL;
  source->position = (uint64_t) to;
  return to;
}

/* As far as it can: what is left is read. */
static la_int64_t
skip (struct archive *archive, void *data, la_int64_t n)
{
  return seek_to (archive, data, n, SEEK_CUR) >= 0 ? n : 0;
}

int
fsc_feed_open (struct archive *archive, FscFeed *source)
{
  archive_read_set_callback_data (archive, source);
  archive_read_set_read_callback (archive, read_block);
  if (source->stream->seek != NULL)
    {
      archive_read_set_seek_callback (archive, seek_to);
      archive_read_set_skip_callback (archive, skip);
    }
  return archive_read_open1 (archive);
}

void
fsc_feed_fail (struct archive *archive, FscFault *fault)
{
  const char *text = archive_error_string (archive);

  if (archive_errno (archive) == ENOMEM)
    fsc_fault_set (fault, ENOMEM, "unpacking it needs too much memory");
  else
    fsc_fault_set (fault, EBADMSG, "it is damaged: %s", text != NULL ? text : "nobody knows how");
}
