/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * One layer of compression; see decompress.h.
 */
#include "fscache/openers/decompress.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fscache/openers/feed.h"

#define MAGIC_MAX 6
#define BLOCK 65536

typedef struct
{
  FscStream stream; /* first */
  FscStream *source;
  FscFault *fault;
  void (*free) (void *layer);
} Layer;

static void
fail_truncated (FscFault *fault)
{
  fsc_fault_set (fault, EBADMSG, "it is cut off: its compressed content has no end");
}

static void
fail_followed (FscFault *fault)
{
  fsc_fault_set (fault, EBADMSG, "it is damaged: something else follows its compressed content");
}

/* gzip, by zlib */

typedef struct
{
  Layer layer; /* first */
  z_stream z;
  bool is_in_member; /* of the members that follow each other */
  bool is_padded;    /* after the last one nothing but zeros may follow, as on a tape */
  uint8_t block[BLOCK];
} Gzip;

/* Returns false at the end, or where there is a fault. */
static bool
gzip_fill (Gzip *gzip)
{
  const void *block;
  ssize_t n = gzip->layer.source->read (gzip->layer.source, &block);

  if (n <= 0)
    {
      if (n == 0 && gzip->is_in_member)
        fail_truncated (gzip->layer.fault);
      return false;
    }
  gzip->z.next_in = (z_const Bytef *) block;
  gzip->z.avail_in = (uInt) n;
  return true;
}

/* Between two members, with something to read. */
static void
gzip_begin_member (Gzip *gzip)
{
  while (gzip->z.avail_in > 0 && gzip->z.next_in[0] == 0)
    {
      gzip->is_padded = true;
      gzip->z.next_in++;
      gzip->z.avail_in--;
    }
  if (gzip->z.avail_in == 0)
    return;
  if (gzip->is_padded || inflateReset (&gzip->z) != Z_OK)
    fail_followed (gzip->layer.fault);
  gzip->is_in_member = true;
}

static ssize_t
gzip_read (FscStream *stream, const void **block)
{
  Gzip *gzip = (Gzip *) stream;
  FscFault *fault = gzip->layer.fault;
  int r;

  gzip->z.next_out = gzip->block;
  gzip->z.avail_out = sizeof gzip->block;
  while (gzip->z.avail_out == sizeof gzip->block)
    {
      if (gzip->z.avail_in == 0 && !gzip_fill (gzip))
        return fault->error != 0 ? -1 : 0;
      if (!gzip->is_in_member)
        gzip_begin_member (gzip);
      if (fault->error != 0)
        return -1;
      if (!gzip->is_in_member)
        continue;
      r = inflate (&gzip->z, Z_NO_FLUSH);
      if (r == Z_STREAM_END)
        gzip->is_in_member = false;
      else if (r == Z_MEM_ERROR)
        fsc_fault_set (fault, ENOMEM, "unpacking it needs too much memory");
      else if (r != Z_OK && r != Z_BUF_ERROR)
        fsc_fault_set (fault, EBADMSG, "it is damaged: %s",
                       gzip->z.msg != NULL ? gzip->z.msg : "gzip cannot be decompressed");
      if (fault->error != 0)
        return -1;
    }
  *block = gzip->block;
  return (ssize_t) (sizeof gzip->block - gzip->z.avail_out);
}

static void
gzip_free (void *layer)
{
  Gzip *gzip = layer;

  inflateEnd (&gzip->z);
}

static Layer *
gzip_new (void)
{
  Gzip *gzip = calloc (1, sizeof *gzip);

  if (gzip == NULL)
    return NULL;
  gzip->layer.stream.read = gzip_read;
  gzip->layer.free = gzip_free;
  gzip->is_in_member = true;
  if (inflateInit2 (&gzip->z, 16 + MAX_WBITS) == Z_OK)
    return &gzip->layer;
  free (gzip);
  return NULL;
}

/* All others, by libarchive */

typedef struct
{
  Layer layer; /* first */
  FscFeed source;
  struct archive *archive;
  bool is_open;
  bool is_at_end;
} Filter;

/* What cannot be read at all libarchive takes for empty, and only the text tells. */
static bool
filter_open (Filter *filter)
{
  struct archive_entry *entry;
  int r = fsc_feed_open (filter->archive, &filter->source);

  filter->is_open = true;
  if (r == ARCHIVE_OK && archive_error_string (filter->archive) != NULL)
    r = ARCHIVE_FATAL;
  if (r == ARCHIVE_OK)
    r = archive_read_next_header (filter->archive, &entry);
  filter->is_at_end = r == ARCHIVE_EOF;
  if (r != ARCHIVE_OK && r != ARCHIVE_EOF)
    fsc_feed_fail (filter->archive, filter->layer.fault);
  return r == ARCHIVE_OK || r == ARCHIVE_EOF;
}

/* Whether all of the source has been used. */
static ssize_t
filter_end (Filter *filter)
{
  FscStream *source = filter->layer.source;
  const void *rest;
  ssize_t n;

  filter->is_at_end = true;
  if ((uint64_t) archive_filter_bytes (filter->archive, -1) != filter->source.position)
    n = 1;
  else
    n = source->read (source, &rest);
  if (n > 0)
    fail_followed (filter->layer.fault);
  return n == 0 ? 0 : -1;
}

static ssize_t
filter_read (FscStream *stream, const void **block)
{
  Filter *filter = (Filter *) stream;
  la_int64_t offset;
  size_t size = 0;
  int r = ARCHIVE_OK;

  if (filter->layer.fault->error != 0 || (!filter->is_open && !filter_open (filter)))
    return -1;
  if (filter->is_at_end)
    return filter_end (filter);
  while (r == ARCHIVE_OK && size == 0)
    r = archive_read_data_block (filter->archive, block, &size, &offset);
  if (r == ARCHIVE_OK)
    return (ssize_t) size;
  if (r == ARCHIVE_EOF)
    return filter_end (filter);
  fsc_feed_fail (filter->archive, filter->layer.fault);
  return -1;
}

static void
filter_free (void *layer)
{
  archive_read_free (((Filter *) layer)->archive);
}

static Layer *
filter_new (int code, FscStream *source, FscFault *fault)
{
  Filter *filter = calloc (1, sizeof *filter);

  if (filter == NULL)
    return NULL;
  filter->layer.stream.read = filter_read;
  filter->layer.free = filter_free;
  filter->source = (FscFeed){ .stream = source, .fault = fault };
  filter->archive = archive_read_new ();
  if (filter->archive != NULL && archive_read_append_filter (filter->archive, code) == ARCHIVE_OK
      && archive_read_support_format_raw (filter->archive) == ARCHIVE_OK
      && archive_read_support_format_empty (filter->archive) == ARCHIVE_OK)
    return &filter->layer;
  if (filter->archive != NULL)
    archive_read_free (filter->archive);
  free (filter);
  return NULL;
}

/* Which one */

typedef struct
{
  int code;
  size_t length;
  uint8_t magic[MAGIC_MAX];
} Kind;

static const Kind kinds[] = {
  { ARCHIVE_FILTER_GZIP, 2, { 0x1f, 0x8b } },
  { ARCHIVE_FILTER_ZSTD, 4, { 0x28, 0xb5, 0x2f, 0xfd } },
  { ARCHIVE_FILTER_XZ, 6, { 0xfd, '7', 'z', 'X', 'Z', 0x00 } },
  { ARCHIVE_FILTER_BZIP2, 3, { 'B', 'Z', 'h' } },
  { ARCHIVE_FILTER_LZ4, 4, { 0x04, 0x22, 0x4d, 0x18 } },
  { ARCHIVE_FILTER_LZ4, 4, { 0x02, 0x21, 0x4c, 0x18 } }, /* its legacy form */
};

static int
find_code (const uint8_t *bytes, size_t n)
{
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    if (n >= kinds[i].length && memcmp (bytes, kinds[i].magic, kinds[i].length) == 0)
      return kinds[i].code;
  return ARCHIVE_FILTER_NONE;
}

FscStream *
fsc_decompress_new (FscStream *source, FscFault *fault)
{
  const void *block;
  ssize_t n = source->read (source, &block);
  int code = n > 0 ? find_code (block, (size_t) n) : ARCHIVE_FILTER_NONE;
  Layer *layer;

  if (n < 0 || !source->seek (source, 0) || code == ARCHIVE_FILTER_NONE)
    return NULL;
  layer = code == ARCHIVE_FILTER_GZIP ? gzip_new () : filter_new (code, source, fault);
  if (layer == NULL)
    {
      fsc_fault_set (fault, ENOMEM, "unpacking it needs too much memory");
      return NULL;
    }
  layer->source = source;
  layer->fault = fault;
  return &layer->stream;
}

void
fsc_decompress_free (FscStream *stream)
{
  Layer *layer = (Layer *) stream;

  layer->free (layer);
  free (layer);
}
