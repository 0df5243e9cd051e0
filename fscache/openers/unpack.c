/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Unpacking; see unpack.h.
 */
#include "fscache/openers/unpack.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fscache/openers/feed.h"
#include "fscache/openers/decompress.h"

/* A hard link to a hard link and so on: each has the archive read once more. */
#define PASSES_MAX 8

#define ZEROS 65536

/* A compressed file */

/* Reads to the end, which tells whether it is whole. */
static bool
copy_stream (FscStream *stream, const FscOutput *output)
{
  const void *block;
  ssize_t n;

  while ((n = stream->read (stream, &block)) > 0)
    if (output != NULL && !output->write (block, (size_t) n, output->data))
      return false;
  return n == 0;
}

static bool
unpack_file (FscStream *source, const FscOutput *output, FscFault *fault)
{
  FscStream *stream = fsc_decompress_new (source, fault);
  bool is_good;

  if (stream == NULL)
    {
      fsc_fault_set (
          fault, EINVAL,
          "it is not compressed by gzip, zstd, xz, bzip2 or lz4; open it as file:, or, if "
          "it is an archive, name a member of it after '#'");
      return false;
    }
  is_good = output->begin (output->data) && copy_stream (stream, output);
  fsc_decompress_free (stream);
  return is_good;
}

/* A member of an archive */

typedef struct
{
  const FscOutput *output;
  FscFault *fault;
  char *wanted;   /* the member */
  uint64_t limit; /* only what comes before is looked at */

  /* What the last entry of that name was. */
  enum
  {
    NOTHING,
    CONTENT, /* it has been written */
    LINK,    /* a name of `target` */
    OTHER,   /* see `kind` */
  } found;
  char *target;
  uint64_t target_limit;
  FscFault kind;
} Search;

/* What is not in a sparse file is zeros, up to its end. */
static bool
write_zeros (Search *search, uint64_t n)
{
  static const uint8_t zeros[ZEROS];
  const FscOutput *output = search->output;

  for (; n > ZEROS; n -= ZEROS)
    if (!output->write (zeros, ZEROS, output->data))
      return false;
  return n == 0 || output->write (zeros, (size_t) n, output->data);
}

static bool
copy_data (Search *search, struct archive *archive, struct archive_entry *entry)
{
  const FscOutput *output = search->output;
  uint64_t written = 0, end = 0;
  const void *block;
  la_int64_t offset = 0;
  size_t size;
  int r;

  search->found = CONTENT;
  if (!output->begin (output->data))
    return false;
  while ((r = archive_read_data_block (archive, &block, &size, &offset)) == ARCHIVE_OK)
    {
      if (size == 0)
        continue;
      if ((uint64_t) offset < written)
        {
          fsc_fault_set (search->fault, EBADMSG, "it is damaged: its parts overlap");
          return false;
        }
      if (!write_zeros (search, (uint64_t) offset - written)
          || !output->write (block, size, output->data))
        return false;
      written = (uint64_t) offset + size;
    }
  if (r != ARCHIVE_EOF) /* a wrong checksum is a warning */
    {
      fsc_feed_fail (archive, search->fault);
      return false;
    }
  if (archive_entry_size_is_set (entry))
    end = (uint64_t) archive_entry_size (entry);
  return end <= written || write_zeros (search, end - written);
}

static void
describe_kind (struct archive_entry *entry, FscFault *kind)
{
  const char *target = archive_entry_symlink (entry);

  *kind = (FscFault){ 0 };
  switch (archive_entry_filetype (entry))
    {
    case AE_IFDIR:
      fsc_fault_set (kind, EISDIR, "it is a directory of the archive");
      break;
    case AE_IFLNK:
      fsc_fault_set (kind, ELOOP, "it is a symbolic link, to %.160s; name that instead",
                     target != NULL ? target : "nothing");
      break;
    default:
      fsc_fault_set (kind, EINVAL, "it is no file in the archive, but a device or the like");
    }
}

/* The entry has the name that is wanted. */
static bool
take_wanted (Search *search, struct archive *archive, struct archive_entry *entry, uint64_t index)
{
  const char *target = archive_entry_hardlink (entry);

  free (search->target);
  search->target = target != NULL ? strdup (target) : NULL;
  search->target_limit = index;
  if (archive_entry_is_data_encrypted (entry) || archive_entry_is_metadata_encrypted (entry))
    {
      search->found = OTHER;
      search->kind = (FscFault){ 0 };
      fsc_fault_set (&search->kind, ENOKEY, "it is encrypted");
      return true;
    }
  if (target != NULL && archive_entry_size (entry) == 0)
    {
      search->found = LINK;
      return search->target != NULL;
    }
  if (target != NULL || archive_entry_filetype (entry) == AE_IFREG)
    return copy_data (search, archive, entry);
  search->found = OTHER;
  describe_kind (entry, &search->kind);
  return true;
}

/* Another name of the wanted file, which brings its content: in a cpio archive the last name does.
 */
static bool
is_content_of_wanted (const Search *search, struct archive_entry *entry)
{
  const char *target = archive_entry_hardlink (entry);

  return target != NULL && archive_entry_size (entry) > 0 && search->found != NOTHING
         && (strcmp (target, search->wanted) == 0
             || (search->target != NULL && strcmp (target, search->target) == 0));
}

static bool
search_archive (Search *search, struct archive *archive)
{
  struct archive_entry *entry;
  int r;

  for (uint64_t i = 0;; i++)
    {
      const char *name;
      bool is_good = true;

      r = archive_read_next_header (archive, &entry);
      if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
        break;
      name = archive_entry_pathname (entry);
      if (name != NULL && i < search->limit && strcmp (name, search->wanted) == 0)
        is_good = take_wanted (search, archive, entry, i);
      else if (is_content_of_wanted (search, entry))
        is_good = copy_data (search, archive, entry);
      if (!is_good)
        return false;
    }
  if (r == ARCHIVE_EOF)
    return true;
  if (archive_format (archive) == 0) /* libarchive must not be asked anything else then */
    fsc_fault_set (search->fault, EINVAL,
                   "it is to be in what is no tar, zip, 7z or cpio archive, or not a whole one");
  else if (archive_read_has_encrypted_entries (archive) > 0)
    fsc_fault_set (search->fault, ENOKEY, "it is in an encrypted archive");
  else
    fsc_feed_fail (archive, search->fault);
  return false;
}

/* Reads all of the archive. */
static bool
run_pass (Search *search, FscStream *source)
{
  struct archive *archive = archive_read_new ();
  FscStream *decompressed = fsc_decompress_new (source, search->fault);
  FscFeed feed = { .stream = decompressed != NULL ? decompressed : source, .fault = search->fault };
  bool is_good = false;

  search->found = NOTHING;
  if (archive == NULL)
    fsc_fault_set (search->fault, ENOMEM, "unpacking it needs too much memory");
  else if (search->fault->error == 0)
    {
      archive_read_support_format_tar (archive);
      archive_read_support_format_zip_seekable (archive); /* the other does without the directory */
      archive_read_support_format_7zip (archive);
      archive_read_support_format_cpio (archive);
      archive_read_append_filter (archive, ARCHIVE_FILTER_NONE);
      fsc_feed_open (archive, &feed); /* if it fails, so does what follows */
      is_good = search_archive (search, archive);
    }
  if (is_good && decompressed != NULL)
    is_good = copy_stream (decompressed, NULL);
  if (archive != NULL)
    archive_read_free (archive);
  if (decompressed != NULL)
    fsc_decompress_free (decompressed);
  return is_good;
}

static bool
unpack_member (FscStream *source, const char *member, const FscOutput *output, FscFault *fault)
{
  Search search
      = { .output = output, .fault = fault, .wanted = strdup (member), .limit = UINT64_MAX };
  bool is_good = search.wanted != NULL && run_pass (&search, source);

  for (int i = 1; is_good && search.found == LINK && i < PASSES_MAX; i++)
    {
      free (search.wanted);
      search.wanted = search.target;
      search.target = NULL;
      search.limit = search.target_limit;
      is_good = source->seek (source, 0) && run_pass (&search, source);
    }
  if (is_good && search.found == NOTHING)
    fsc_fault_set (fault, ENOENT, "the archive has no such member");
  else if (is_good && search.found == LINK)
    fsc_fault_set (fault, ELOOP, "it is a hard link of too many to each other");
  else if (is_good && search.found == OTHER)
    *fault = search.kind;
  free (search.wanted);
  free (search.target);
  return is_good && search.found == CONTENT;
}

bool
fsc_unpack (FscStream *source, const char *member, const FscOutput *output, FscFault *fault)
{
  return member != NULL ? unpack_member (source, member, output, fault)
                        : unpack_file (source, output, fault);
}
