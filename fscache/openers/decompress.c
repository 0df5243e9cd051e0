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

/* zstd and lz4 have frames in common that are to be skipped: a magic whose first byte is any of
 * sixteen, a length, and as many bytes. pzstd begins each file with one. */
#define SKIPPABLE_HEAD 8
#define SKIPPABLE_MAX 64 /* that a file may begin with */
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
  bool is_first;     /* it is in the first one */
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
  gzip->is_first = false;
}

/* Whether it has failed at the two bytes with which each member begins. */
static bool
is_no_member (const Gzip *gzip)
{
  return !gzip->is_first && gzip->z.total_in <= 2;
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
      else if (r == Z_DATA_ERROR && is_no_member (gzip))
        fail_followed (fault);
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
  gzip->is_in_member = gzip->is_first = true;
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
  uint64_t begin; /* in the source */
  struct archive *archive;
  bool is_open;
  bool is_at_end;
} Filter;

/* What libarchive says so that only its authors know what it means is told by its text alone. */
static void
filter_fail (Filter *filter)
{
  const char *text = archive_error_string (filter->archive);
  FscFault *fault = filter->layer.fault;

  if (text != NULL && strstr (text, "Unknown frame descriptor") != NULL)
    fail_followed (fault);
  else if (text != NULL && strstr (text, "Frame requires too much memory") != NULL)
    fsc_fault_set (fault, EFBIG, "it needs a window of more than 128 MiB (zstd --long=28)");
  else if (text != NULL && strstr (text, "No progress is possible") != NULL) /* xz */
    fsc_fault_set (fault, EBADMSG, "it is cut off, or something else follows its end");
  else
    fsc_feed_fail (filter->archive, fault);
}

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
    filter_fail (filter);
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
  if (filter->begin + (uint64_t) archive_filter_bytes (filter->archive, -1)
      != filter->source.position)
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
  filter_fail (filter);
  return -1;
}

static void
filter_free (void *layer)
{
  archive_read_free (((Filter *) layer)->archive);
}

static Layer *
filter_new (int code, FscStream *source, uint64_t begin, FscFault *fault)
{
  Filter *filter = calloc (1, sizeof *filter);

  if (filter == NULL)
    return NULL;
  filter->layer.stream.read = filter_read;
  filter->layer.free = filter_free;
  filter->source = (FscFeed){ .stream = source, .position = begin, .fault = fault };
  filter->begin = begin;
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

/* Returns the length of the frame to be skipped with which they begin; 0: they begin with none. */
static uint64_t
get_skippable (const uint8_t *bytes, size_t n)
{
  if (n < SKIPPABLE_HEAD || (bytes[0] & 0xf0) != 0x50 || memcmp (bytes + 1, "\x2a\x4d\x18", 3) != 0)
    return 0;
  return SKIPPABLE_HEAD + (bytes[4] | bytes[5] << 8 | bytes[6] << 16 | (uint64_t) bytes[7] << 24);
}

/* Finds what it is, and where that begins. */
static int
find_beginning (FscStream *source, uint64_t *begin)
{
  int code = ARCHIVE_FILTER_NONE;
  uint64_t length = 1;

  *begin = 0;
  for (int i = 0; i <= SKIPPABLE_MAX && length > 0; i++)
    {
      const void *block;
      ssize_t n = source->read (source, &block);

      length = n > 0 ? get_skippable (block, (size_t) n) : 0;
      if (n > 0 && length == 0)
        code = find_code (block, (size_t) n);
      *begin += length;
      if (*begin > source->size || !source->seek (source, *begin))
        return ARCHIVE_FILTER_NONE;
    }
  return *begin == 0 || code == ARCHIVE_FILTER_ZSTD || code == ARCHIVE_FILTER_LZ4
             ? code
             : ARCHIVE_FILTER_NONE;
}

FscStream *
fsc_decompress_new (FscStream *source, FscFault *fault)
{
  uint64_t begin;
  int code = find_beginning (source, &begin);
  Layer *layer;

  if (fault->error != 0 || code == ARCHIVE_FILTER_NONE)
    {
      source->seek (source, 0);
      return NULL;
    }
  layer = code == ARCHIVE_FILTER_GZIP ? gzip_new () : filter_new (code, source, begin, fault);
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
