/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that unpacks; see unpacker.h.
 */
#include "fscache/openers/unpacker.h"

#include <errno.h>
#include <iconv.h>
#include <locale.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fscache/filter.h"
#include "fscache/openers/confine.h"
#include "fscache/openers/unpack.h"

void
fsc_unpacker_prepare (void)
{
  iconv_t conversion;

  /* libarchive makes names of what archives say, in the encoding of the locale, and dates of local
   * time. Both would look for files at first. */
  setlocale (LC_CTYPE, "C.UTF-8");
  setenv ("TZ", "UTC0", 1);
  tzset ();
  conversion = iconv_open ("UTF-8", "UTF-16LE");
  if (conversion != (iconv_t) -1)
    iconv_close (conversion);
}

/* The child */

typedef struct
{
  FscStream stream; /* first */
  FscFault *fault;
  uint64_t position;
  FscChildMessage message;
} Source;

static ssize_t
source_read (FscStream *stream, const void **block)
{
  Source *source = (Source *) stream;
  int error;
  ssize_t n;

  if (!fsc_child_send (FSC_CHILD_SOCKET, FSC_CHILD_WANT, source->position, NULL, 0)
      || (n = fsc_child_receive (FSC_CHILD_SOCKET, &source->message)) < 0)
    _exit (1);
  error = (int) source->message.number;
  if (error != 0)
    {
      fsc_fault_set (source->fault, error, "it cannot be read: %s", strerror (error));
      return -1;
    }
  source->position += (uint64_t) n;
  *block = source->message.payload;
  return n;
}

static bool
source_seek (FscStream *stream, uint64_t position)
{
  ((Source *) stream)->position = position;
  return true;
}

static bool
output_begin (void *data)
{
  return fsc_child_begin (0);
}

static bool
output_write (const void *bytes, size_t n, void *data)
{
  return fsc_child_write (bytes, n);
}

bool
fsc_unpacker_confine (void)
{
  static const FscSystemCall calls[] = {
    { SCMP_SYS (read) },          { SCMP_SYS (writev) },       { SCMP_SYS (exit_group) },
    { SCMP_SYS (clock_gettime) }, { SCMP_SYS (gettimeofday) }, { SCMP_SYS (time) },
  };

  return fsc_confine_files (NULL) && fsc_confine_resources (FSC_CHILD_MEMORY, FSC_CHILD_SECONDS)
         && fsc_filter_system_calls (calls, sizeof calls / sizeof calls[0], FSC_FILTER_KILL);
}

static void
run_child (const void *data)
{
  static Source source; /* too large for a stack */
  const FscUnpackJob *job = data;
  const FscOutput output = { .begin = output_begin, .write = output_write };
  FscFault fault = { 0 };

  if (!fsc_unpacker_confine ())
    _exit (1);
  source.stream = (FscStream){ .read = source_read, .seek = source_seek, .size = job->size };
  source.fault = &fault;
  fsc_unpack (&source.stream, job->member, &output, &fault);
  fsc_child_send (FSC_CHILD_SOCKET, FSC_CHILD_END, 0, &fault, sizeof fault);
}

/* The parent */

typedef struct
{
  const FscUnpackJob *job;
  uint64_t done; /* bytes of the source that were given */
  FscChildRun run;
} Parent;

static void
tell_progress (const Parent *parent)
{
  parent->job->progress (parent->done, parent->run.draft->size, parent->job->data);
}

static FscChildOutcome
take_content (Parent *parent, size_t n)
{
  FscChildOutcome outcome = fsc_child_take_content (&parent->run, n);

  if (outcome == FSC_CHILD_DONE)
    tell_progress (parent);
  return outcome;
}

/* If the answer cannot be sent, that is seen with the next message. */
static FscChildOutcome
answer_want (Parent *parent, int socket)
{
  const FscUnpackJob *job = parent->job;
  uint8_t *payload = parent->run.message.payload;
  uint64_t position = parent->run.message.number;
  ssize_t n = 0;

  if (position > INT64_MAX)
    return fsc_child_fail_nonsense (&parent->run);
  do
    n = pread (job->source, payload, FSC_CHILD_PAYLOAD, (off_t) position);
  while (n < 0 && errno == EINTR);
  if (n < 0)
    {
      fsc_child_send (socket, FSC_CHILD_WANT, (uint64_t) errno, NULL, 0);
      return FSC_CHILD_DONE;
    }
  parent->done += (uint64_t) n;
  tell_progress (parent);
  fsc_child_send (socket, FSC_CHILD_WANT, 0, payload, (size_t) n);
  return FSC_CHILD_DONE;
}

static FscChildOutcome
take_end (Parent *parent, size_t n)
{
  FscChildOutcome outcome;
  FscFault fault;

  if (n != sizeof fault)
    return fsc_child_fail_nonsense (&parent->run);
  memcpy (&fault, parent->run.message.payload, sizeof fault);
  outcome = fsc_child_take_fault (&parent->run, &fault);
  return outcome == FSC_CHILD_DONE && !parent->run.has_begun
             ? fsc_child_fail_nonsense (&parent->run)
             : outcome;
}

static FscChildOutcome
serve_child (Parent *parent, FscChild *child)
{
  FscChildOutcome outcome = FSC_CHILD_DONE;
  bool has_ended = false;

  while (outcome == FSC_CHILD_DONE && !has_ended)
    {
      ssize_t n = fsc_child_receive (child->socket, &parent->run.message);

      if (n < 0)
        {
          fsc_child_end (child, parent->run.fault);
          return FSC_CHILD_BROKEN;
        }
      has_ended = parent->run.message.what == FSC_CHILD_END;
      if (has_ended)
        outcome = take_end (parent, (size_t) n);
      else if (parent->run.message.what == FSC_CHILD_WANT)
        outcome = answer_want (parent, child->socket);
      else
        outcome = take_content (parent, (size_t) n);
    }
  fsc_child_end (child, NULL);
  return outcome;
}

FscChildOutcome
fsc_unpacker_run (const FscUnpackJob *job, FscDraft *draft, FscFault *fault)
{
  static Parent parent; /* too large for a stack */
  FscChild child = { .task = "unpacks" };

  if (!fsc_child_start (&child, run_child, job, fault))
    return FSC_CHILD_BROKEN;
  parent.job = job;
  parent.done = 0;
  parent.run.task = child.task;
  parent.run.draft = draft;
  parent.run.max_size = job->max_size;
  parent.run.fault = fault;
  parent.run.has_begun = false;
  return serve_child (&parent, &child);
}
