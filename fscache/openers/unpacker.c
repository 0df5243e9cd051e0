/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The process that unpacks; see unpacker.h.
 */
#include "fscache/openers/unpacker.h"

#include <errno.h>
#include <iconv.h>
#include <locale.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "fscache/openers/confine.h"
#include "fscache/openers/unpack.h"

/* Of a child. xz and 7z may ask for a dictionary of some hundred megabytes. */
#define MEMORY_MAX (UINT64_C (1) << 30)
#define SECONDS_MAX 3600

#define PAYLOAD 65536

typedef struct
{
  enum
  {
    WANT,  /* to the parent: the source from `position` on; and its answer */
    BEGIN, /* to the parent: the content begins */
    WRITE, /* to the parent: more of it */
    END    /* to the parent: a fault, or that there is none */
  } what;
  int error; /* of a WANT that cannot be answered */
  uint64_t position;
  uint8_t payload[PAYLOAD];
} Message;

#define HEAD offsetof (Message, payload)

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

#define SOCKET 0 /* all that it has */

typedef struct
{
  FscStream stream; /* first */
  FscFault *fault;
  uint64_t position;
  Message message;
} Source;

static bool
send_message (int what, uint64_t position, const void *payload, size_t n)
{
  Message head = { .what = what, .position = position };
  const struct iovec parts[] = { { &head, HEAD }, { (void *) payload, n } };

  return writev (SOCKET, parts, 2) == (ssize_t) (HEAD + n);
}

static ssize_t
source_read (FscStream *stream, const void **block)
{
  Source *source = (Source *) stream;
  ssize_t n;

  if (!send_message (WANT, source->position, NULL, 0))
    _exit (1);
  n = read (SOCKET, &source->message, sizeof source->message) - (ssize_t) HEAD;
  if (n < 0)
    _exit (1);
  if (source->message.error != 0)
    {
      fsc_fault_set (source->fault, source->message.error, "it cannot be read: %s",
                     strerror (source->message.error));
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
  return send_message (BEGIN, 0, NULL, 0);
}

static bool
output_write (const void *bytes, size_t n, void *data)
{
  const uint8_t *rest = bytes;

  for (; n > PAYLOAD; n -= PAYLOAD, rest += PAYLOAD)
    if (!send_message (WRITE, 0, rest, PAYLOAD))
      return false;
  return n == 0 || send_message (WRITE, 0, rest, n);
}

bool
fsc_unpacker_confine (void)
{
  static const FscSystemCall calls[] = {
    { SCMP_SYS (read) },          { SCMP_SYS (writev) },       { SCMP_SYS (exit_group) },
    { SCMP_SYS (clock_gettime) }, { SCMP_SYS (gettimeofday) }, { SCMP_SYS (time) },
  };

  return fsc_confine_files (NULL) && fsc_confine_resources (MEMORY_MAX, SECONDS_MAX)
         && fsc_confine_system_calls (calls, sizeof calls / sizeof calls[0], FSC_CONFINE_KILL);
}

static _Noreturn void
run_child (const FscUnpackJob *job, int socket, pid_t parent)
{
  static Source source; /* too large for a stack */
  const FscOutput output = { .begin = output_begin, .write = output_write };
  FscFault fault = { 0 };

  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid () != parent || dup2 (socket, SOCKET) < 0
      || syscall (SYS_close_range, SOCKET + 1, ~0U, 0) < 0 || !fsc_unpacker_confine ())
    _exit (1);
  source.stream = (FscStream){ .read = source_read, .seek = source_seek, .size = job->size };
  source.fault = &fault;
  fsc_unpack (&source.stream, job->member, &output, &fault);
  send_message (END, 0, &fault, sizeof fault);
  _exit (0);
}

/* The parent */

typedef struct
{
  const FscUnpackJob *job;
  FscDraft *draft;
  FscFault *fault;
  int socket;
  uint64_t done; /* bytes of the source that were given */
  bool has_begun;
  Message message;
} Parent;

static FscUnpackEnd
fail_nonsense (Parent *parent)
{
  fsc_fault_set (parent->fault, EIO, "the process that unpacks it sent nonsense");
  return FSC_UNPACK_BROKEN;
}

static void
tell_progress (const Parent *parent)
{
  const FscDraft *draft = parent->draft;

  parent->job->progress (parent->done, draft->is_in_file ? 0 : draft->size, parent->job->data);
}

static FscUnpackEnd
answer_want (Parent *parent)
{
  const FscUnpackJob *job = parent->job;
  uint64_t position = parent->message.position;
  ssize_t n = 0;

  if (position > INT64_MAX)
    return fail_nonsense (parent);
  do
    n = pread (job->source, parent->message.payload, PAYLOAD, (off_t) position);
  while (n < 0 && errno == EINTR);
  parent->message.error = n < 0 ? errno : 0;
  n = n < 0 ? 0 : n;
  parent->done += (uint64_t) n;
  tell_progress (parent);
  send (parent->socket, &parent->message, HEAD + (size_t) n, MSG_NOSIGNAL);
  return FSC_UNPACK_DONE; /* if it cannot be sent, that is seen with the next message */
}

static FscUnpackEnd
take_content (Parent *parent, size_t n)
{
  if (!parent->has_begun)
    return fail_nonsense (parent);
  if (parent->draft->size + n > parent->job->max_size)
    return FSC_UNPACK_TOO_BIG;
  if (!fsc_draft_write (parent->draft, parent->message.payload, n, parent->fault))
    return FSC_UNPACK_BROKEN;
  tell_progress (parent);
  return FSC_UNPACK_DONE;
}

/* The child's word: a fault, whose phrase may have anything in it. */
static FscUnpackEnd
take_end (Parent *parent, size_t n)
{
  FscFault fault;

  if (n != sizeof fault)
    return fail_nonsense (parent);
  memcpy (&fault, parent->message.payload, sizeof fault);
  fault.phrase[sizeof fault.phrase - 1] = '\0';
  if (fault.error == 0 && parent->has_begun)
    return FSC_UNPACK_DONE;
  if (fault.error <= 0 || fault.error > 4095 || fault.phrase[0] == '\0')
    return fail_nonsense (parent);
  *parent->fault = fault;
  return FSC_UNPACK_FAILED;
}

/* Returns whether there is more to come. */
static bool
take_message (Parent *parent, size_t n, FscUnpackEnd *end)
{
  switch (parent->message.what)
    {
    case WANT:
      *end = answer_want (parent);
      return *end == FSC_UNPACK_DONE;
    case BEGIN:
      parent->has_begun = true;
      *end = fsc_draft_begin (parent->draft, parent->fault) ? FSC_UNPACK_DONE : FSC_UNPACK_BROKEN;
      return *end == FSC_UNPACK_DONE;
    case WRITE:
      *end = take_content (parent, n);
      return *end == FSC_UNPACK_DONE;
    case END:
      *end = take_end (parent, n);
      return false;
    default:
      *end = fail_nonsense (parent);
      return false;
    }
}

/* It has ended without a word. */
static void
explain_death (int status, FscFault *fault)
{
  if (!WIFSIGNALED (status))
    fsc_fault_set (fault, EIO, "the process that unpacks it has ended with status %d",
                   WEXITSTATUS (status));
  else if (WTERMSIG (status) == SIGSYS)
    fsc_fault_set (fault, EIO,
                   "the process that unpacks it was killed: it tried to do what it must not");
  else if (WTERMSIG (status) == SIGXCPU)
    fsc_fault_set (
        fault, EIO,
        "the process that unpacks it was killed: it needed more than %d s of a processor",
        SECONDS_MAX);
  else
    fsc_fault_set (fault, EIO, "the process that unpacks it was ended by signal %d (%s)",
                   WTERMSIG (status), strsignal (WTERMSIG (status)));
}

static FscUnpackEnd
serve_child (Parent *parent, pid_t child)
{
  FscUnpackEnd end = FSC_UNPACK_BROKEN;
  bool is_going = true;
  bool has_died = false;
  int status;

  while (is_going)
    {
      ssize_t n = recv (parent->socket, &parent->message, sizeof parent->message, 0);

      if (n < 0 && errno == EINTR)
        continue;
      has_died = n < (ssize_t) HEAD;
      is_going = !has_died && take_message (parent, (size_t) n - HEAD, &end);
    }
  if (!has_died)
    kill (child, SIGKILL);
  while (waitpid (child, &status, 0) < 0 && errno == EINTR)
    ;
  if (!has_died)
    return end;
  explain_death (status, parent->fault);
  return FSC_UNPACK_BROKEN;
}

FscUnpackEnd
fsc_unpacker_run (const FscUnpackJob *job, FscDraft *draft, FscFault *fault)
{
  static Parent parent; /* too large for a stack */
  FscUnpackEnd end = FSC_UNPACK_BROKEN;
  pid_t pid = getpid (), child = -1;
  int sockets[2] = { -1, -1 };

  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0)
    child = fork ();
  if (child == 0)
    run_child (job, sockets[1], pid);
  if (child < 0)
    fsc_fault_set (fault, errno, "no process can be started that unpacks it: %s", strerror (errno));
  if (sockets[1] >= 0)
    close (sockets[1]);
  if (child > 0)
    {
      parent.job = job;
      parent.draft = draft;
      parent.fault = fault;
      parent.socket = sockets[0];
      parent.done = 0;
      parent.has_begun = false;
      end = serve_child (&parent, child);
    }
  if (sockets[0] >= 0)
    close (sockets[0]);
  return end;
}
