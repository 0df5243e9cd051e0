/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The provider of unpack: URIs: the content of compressed files and of members of archives, in
 * memory that is sealed, or, if it is large, in a file without a name.
 *
 * The way to the source is that of open-file, with the same rights; so who may not read the source
 * is not given its content. What is in the source is read by a child that is shut in (unpacker.h);
 * this process only counts, and knows the limits.
 *
 * The content is that of one state of the source: its size and times are what they were before when
 * all has been read, and any later change gives it others. These are the validator.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/identity.h"
#include "fscache/openers/argument.h"
#include "fscache/openers/filesystem.h"
#include "fscache/openers/reach.h"
#include "fscache/openers/serve.h"
#include "fscache/openers/unpacker.h"
#include "protocol/uri.h"

/* How often a source may change while it is read. */
#define ATTEMPTS_MAX 3

/* The times of files are as exact as the clock's tick, of which there are 100 a second or more. */
#define TICK_NS 20000000

/* What is not larger is no bomb, however small the file that it comes from. */
#define HARMLESS (UINT64_C (16) << 20)

#define WRITING_FLAGS (O_CREAT | O_TRUNC | O_APPEND | (O_TMPFILE & ~O_DIRECTORY))

typedef struct
{
  uint64_t max_size;  /* of the content */
  uint64_t max_ratio; /* of its size to that of the source */
  FscDraftPlace place;
} Settings;

/* As told when it was started. */
static Settings settings;

typedef struct
{
  const FscItem *item;
  const char *name; /* the URI */
  char path[FSC_URI_MAX + 1];
  char member[FSC_URI_MAX + 1];
  bool has_member;
  int fd;
  FscIdentity identity;
} Source;

static void
fail (const Source *source, FscFound *found, FscCode code, int error, const char *phrase)
{
  fsc_found_fail (found, code, error, source->name, phrase);
}

static void
fail_system (const Source *source, FscFound *found, int error)
{
  fsc_found_system_error (found, source->name, error);
}

/* Finding the source */

static bool
take_uri (Source *source, FscBytes uri)
{
  int member = fsc_uri_to_member (uri, source->member, sizeof source->member);

  source->has_member = member >= 0;
  return fsc_uri_get_path (uri, source->path, sizeof source->path) >= 0
         && (member >= 0 || member == -ENOENT);
}

/* Where the way goes on, in our own terms. */
static void
name_elsewhere (const Source *source, FscFound *found)
{
  static const char scheme[] = "unpack";
  const char *hash = strchr (source->name, '#');
  const char *member = hash != NULL ? hash : "";
  size_t length = strlen (found->text), old = strlen ("file");

  if (length == 0)
    return;
  if (length - old + strlen (scheme) + strlen (member) > FSC_URI_MAX)
    {
      fail_system (source, found, ENAMETOOLONG);
      return;
    }
  memmove (found->text + strlen (scheme), found->text + old, length - old + 1);
  memcpy (found->text, scheme, strlen (scheme));
  strcat (found->text, member);
}

static bool
identify (Source *source, FscFound *found)
{
  struct statx st;

  if (statx (source->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, FSC_IDENTITY_MASK, &st) < 0)
    {
      fail_system (source, found, errno);
      return false;
    }
  source->identity = fsc_identity_get (&st);
  return true;
}

/* Opens what the path leads to, if it is a file: a FIFO, say, would wait for its other end. */
static void
open_source (Source *source, FscFound *found)
{
  const FscReach reach = { .item = source->item, .path = source->path, .name = source->name };
  int flags = O_PATH | ((int) source->item->flags & O_NOFOLLOW);
  int fd = fsc_reach_open (&reach, flags, 0, found);
  char link[32];
  struct stat st;

  if (fd < 0)
    {
      if (found->code == FSC_CODE_OK)
        fail_system (source, found, errno);
      else if (found->code == FSC_CODE_LEADS_ELSEWHERE)
        name_elsewhere (source, found);
      return;
    }
  snprintf (link, sizeof link, "/proc/self/fd/%d", fd);
  if (fstat (fd, &st) < 0)
    fail_system (source, found, errno);
  else if (fsc_file_system_get (fd) == FSC_FILE_SYSTEM_OF_PROCESS)
    fail (source, found, FSC_CODE_NOT_SERVED, EXDEV,
          "it is on a file system that means something else to each process");
  else if (S_ISDIR (st.st_mode) || S_ISLNK (st.st_mode))
    fail_system (source, found, S_ISDIR (st.st_mode) ? EISDIR : ELOOP);
  else if (!S_ISREG (st.st_mode))
    fail (source, found, FSC_CODE_SYSTEM, EINVAL, "only files can be unpacked");
  else if ((source->fd = open (link, O_RDONLY | O_CLOEXEC)) < 0)
    fail_system (source, found, errno);
  close (fd);
}

/* Unpacking */

/* Whoever writes to the source after this gives it another time. */
static void
wait_for_tick (const Source *source)
{
  const struct timespec tick = { .tv_nsec = TICK_NS };
  struct timespec now;
  int64_t age;

  clock_gettime (CLOCK_REALTIME, &now);
  age = (now.tv_sec - source->identity.ctime) * INT64_C (1000000000) + now.tv_nsec
        - source->identity.ctime_nsec;
  if (age >= 0 && age < TICK_NS)
    nanosleep (&tick, NULL);
}

static uint64_t
get_limit (const Source *source)
{
  uint64_t by_ratio;

  if (__builtin_mul_overflow (source->identity.size, settings.max_ratio, &by_ratio))
    by_ratio = UINT64_MAX;
  if (by_ratio < HARMLESS)
    by_ratio = HARMLESS;
  return by_ratio < settings.max_size ? by_ratio : settings.max_size;
}

static void
fail_too_big (const Source *source, FscFound *found)
{
  uint64_t limit = get_limit (source);
  char phrase[FSC_PHRASE_MAX];

  if (limit == settings.max_size)
    snprintf (phrase, sizeof phrase,
              "its content has more than the %llu bytes that [unpack] max-size allows",
              (unsigned long long) limit);
  else
    snprintf (phrase, sizeof phrase,
              "its content has more than %llu bytes, which for a file of %llu bytes is more than "
              "[unpack] max-ratio=%llu allows",
              (unsigned long long) limit, (unsigned long long) source->identity.size,
              (unsigned long long) settings.max_ratio);
  fail (source, found, FSC_CODE_LIMIT, EFBIG, phrase);
}

typedef struct
{
  FscFound *found;
  uint64_t total;
} Report;

static void
progress (uint64_t done, uint64_t memory, void *data)
{
  const Report *report = data;

  fsc_found_progress (report->found, done, done <= report->total ? report->total : 0, memory);
}

static void
describe (const Source *source, const FscDraft *draft, FscFound *found)
{
  found->is_final = true;
  found->kind = FSC_KIND_REGULAR;
  found->most_sharing = FSC_SHARING_INDEPENDENT;
  found->coherence = fsc_file_system_get (source->fd) == FSC_FILE_SYSTEM_LOCAL
                         ? FSC_COHERENCE_CHECKED
                         : FSC_COHERENCE_TTL;
  found->mount_id = source->identity.mount_id;
  found->validator_length = FSC_IDENTITY_LONG;
  memcpy (found->validator, &source->identity, FSC_IDENTITY_LONG);
  found->has_content = true;
  found->size = draft->size;
}

/* Puts the content into the reply, if the source is still what it was. Returns whether it has
 * changed. */
static bool
finish (Source *source, FscDraft *draft, FscFound *found)
{
  const FscIdentity before = source->identity;
  FscFault fault = { 0 };

  if (!identify (source, found))
    return false;
  if (memcmp (&before, &source->identity, sizeof before) != 0)
    return true;
  describe (source, draft, found);
  draft->modified = (struct timespec){ source->identity.mtime, source->identity.mtime_nsec };
  found->fd = fsc_draft_finish (draft, found->digest, &fault);
  if (found->fd < 0)
    fail (source, found, FSC_CODE_OPENER_FAILED, fault.error, fault.phrase);
  return false;
}

/* Returns whether the source has changed meanwhile. */
static bool
unpack (Source *source, FscFound *found)
{
  Report report = { found, source->identity.size };
  const FscUnpackJob job = {
    .source = source->fd,
    .size = source->identity.size,
    .member = source->has_member ? source->member : NULL,
    .max_size = get_limit (source),
    .progress = progress,
    .data = &report,
  };
  FscDraft draft;
  FscFault fault = { 0 };
  bool has_changed = false;

  fsc_draft_init (&draft, &settings.place);
  switch (fsc_unpacker_run (&job, &draft, &fault))
    {
    case FSC_CHILD_DONE:
      has_changed = finish (source, &draft, found);
      break;
    case FSC_CHILD_FAILED:
      fail (source, found,
            fault.error == ENOMEM || fault.error == EFBIG ? FSC_CODE_LIMIT : FSC_CODE_SYSTEM,
            fault.error, fault.phrase);
      break;
    case FSC_CHILD_TOO_BIG:
      fail_too_big (source, found);
      break;
    case FSC_CHILD_BROKEN:
      fail (source, found, FSC_CODE_OPENER_FAILED, fault.error, fault.phrase);
      break;
    }
  fsc_draft_clear (&draft);
  return has_changed;
}

static void
unpack_source (Source *source, FscFound *found)
{
  const FscBytes validator = source->item->validator;

  for (int i = 0; i < ATTEMPTS_MAX; i++)
    {
      if (!identify (source, found))
        return;
      if (validator.length > 0 && fsc_identity_has_validator (&source->identity, validator))
        {
          found->code = FSC_CODE_UNCHANGED;
          return;
        }
      wait_for_tick (source);
      if (!unpack (source, found))
        return;
    }
  fail (source, found, FSC_CODE_SYSTEM, EBUSY, "it is being written to");
}

static void
open_unpack (const FscItem *item, const char *uri, FscFound *found)
{
  static Source source; /* too large for a stack */
  int flags = (int) item->flags;

  source = (Source){ .item = item, .name = uri, .fd = -1 };
  if (!take_uri (&source, item->uri))
    fail (&source, found, FSC_CODE_BAD_URI, EINVAL, "it is no canonical unpack: URI");
  else if ((flags & O_ACCMODE) != O_RDONLY || (flags & WRITING_FLAGS) != 0)
    fail (&source, found, FSC_CODE_SYSTEM, EROFS, "what is unpacked cannot be written to");
  else if ((flags & (O_PATH | O_DIRECTORY)) != 0)
    fail_system (&source, found, (flags & O_DIRECTORY) != 0 ? ENOTDIR : EINVAL);
  else
    open_source (&source, found);
  if (source.fd >= 0)
    {
      unpack_source (&source, found);
      close (source.fd);
    }
}

int
main (int argc, char **argv)
{
  settings.max_size = fsc_argument_get_number (argv, "max-size");
  settings.max_ratio = fsc_argument_get_number (argv, "max-ratio");
  settings.place.memory_size = fsc_argument_get_number (argv, "memory-size");
  settings.place.directory = fsc_argument_get (argv, "directory");
  fsc_unpacker_prepare ();
  return fsc_filter_load (FSC_FILTER_OPENER | FSC_FILTER_FORKS)
             ? fsc_serve ("open-unpack", open_unpack)
             : 1;
}
