/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A helper; see helper.h.
 */
#include "fscache/openers/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "protocol/channel.h"

#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 30000
#define GUARD_PATIENCE_MS 1000

/* What has come of asking. */
typedef enum
{
  ANSWERED,
  ENDED,
  LATE,
  CONFUSED /* it has said what makes no sense */
} Outcome;

static int64_t
now_ms (void)
{
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return (int64_t) time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* The process */

static void
run_child (char *const *command, int socket, pid_t parent)
{
  setsid ();
  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid () != parent || dup2 (socket, 3) < 0)
    _exit (126);
  syscall (SYS_close_range, 4, ~0U, 0);
  umask (077); /* openers have none, for O_CREAT of clients */
  execv (command[0], command);
  _exit (127);
}

/* Until the helper has ended, or the opener has, or wants it to. */
static void
wait_for_end (pid_t pid, int opener)
{
  struct pollfd pollfds[] = { { .fd = (int) syscall (SYS_pidfd_open, pid, 0), .events = POLLIN },
                              { .fd = opener, .events = POLLIN } };

  while (poll (pollfds, 2, -1) < 0 && errno == EINTR)
    ;
}

/* The helper's parent, which nobody kills with the opener. What the opener has is not theirs: no
 * descriptor but the helper's socket and standard error. No privileges either, but of these nobody
 * here has any. */
static _Noreturn void
run_guard (char *const *command, int socket, int guard, pid_t opener)
{
  pid_t parent = getpid (), pid;
  int status = 0;

  setsid (); /* a signal for the opener's group is not for this one */
  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  socket = fcntl (socket, F_DUPFD_CLOEXEC, 5);
  guard = fcntl (guard, F_DUPFD_CLOEXEC, 5);
  if (getppid () != opener || dup2 (socket, 3) < 0 || dup2 (guard, 4) < 0)
    _exit (126);
  syscall (SYS_close_range, 5, ~0U, 0); /* which may hang */
  prctl (PR_SET_PDEATHSIG, 0, 0, 0, 0);
  pid = fork ();
  if (pid == 0)
    run_child (command, 3, parent);
  if (pid < 0)
    _exit (126);
  close (3);
  wait_for_end (pid, 4);
  kill (-pid, SIGKILL); /* it has a session of its own, with what it has started */
  kill (pid, SIGKILL);  /* or does not yet */
  while (waitpid (pid, &status, 0) < 0 && errno == EINTR)
    ;
  send (4, &status, sizeof status, MSG_NOSIGNAL);
  _exit (0);
}

/* Returns 0 or a negative errno. */
static int
start (FscHelper *helper)
{
  pid_t opener = getpid ();
  int sockets[2], guard[2], error;

  if (access (helper->command[0], X_OK) < 0
      || socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
    return -errno;
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, guard) < 0)
    {
      error = errno;
      close (sockets[0]);
      close (sockets[1]);
      return -error;
    }
  helper->pid = fork ();
  if (helper->pid == 0)
    run_guard (helper->command, sockets[1], guard[1], opener);
  error = errno;
  close (sockets[1]);
  close (guard[1]);
  if (helper->pid < 0)
    {
      helper->pid = 0;
      close (sockets[0]);
      close (guard[0]);
      return -error;
    }
  helper->socket = sockets[0];
  helper->guard = guard[0];
  helper->n_answered = 0;
  return 0;
}

/* Has the guard end it, and returns its status. */
static int
stop (FscHelper *helper)
{
  struct pollfd pollfd = { .fd = helper->guard, .events = POLLIN };
  int status;

  shutdown (helper->guard, SHUT_WR);
  if (poll (&pollfd, 1, GUARD_PATIENCE_MS) == 0)
    kill (helper->pid, SIGKILL); /* and so it is with the helper, if there is one already */
  if (recv (helper->guard, &status, sizeof status, 0) != (ssize_t) sizeof status)
    status = SIGKILL; /* it was killed, with its guard */
  close (helper->guard);
  waitpid (helper->pid, NULL, 0);
  helper->pid = 0;
  return status;
}

/* Says in helper->how how it has ended, or why it had to: continues "the helper ...". */
static void
end (FscHelper *helper, Outcome outcome)
{
  struct pollfd pollfd = { .fd = helper->guard, .events = POLLIN };
  int status;

  close (helper->socket);
  if (outcome == ENDED)
    poll (&pollfd, 1, 10); /* its socket closes just before it has ended */
  status = stop (helper);

  if (outcome == CONFUSED)
    snprintf (helper->how, sizeof helper->how, "answered nonsense");
  else if (outcome == LATE)
    snprintf (helper->how, sizeof helper->how, "did not answer within the deadline of %g s",
              (double) helper->deadline_ms / 1000);
  else if (WIFEXITED (status) && WEXITSTATUS (status) == 127)
    snprintf (helper->how, sizeof helper->how, "could not be executed");
  else if (WIFEXITED (status))
    snprintf (helper->how, sizeof helper->how, "ended with status %d", WEXITSTATUS (status));
  else
    snprintf (helper->how, sizeof helper->how, "was ended by signal %d", WTERMSIG (status));
}

static void
note_failure (FscHelper *helper)
{
  int64_t pause = FIRST_PAUSE_MS;

  for (unsigned i = 0; i < helper->n_failures && pause < LONGEST_PAUSE_MS; i++)
    pause *= 2;
  helper->n_failures++;
  helper->not_before = now_ms () + (pause < LONGEST_PAUSE_MS ? pause : LONGEST_PAUSE_MS);
}

/* Talking */

static Outcome
send_message (FscHelper *helper, FscWriter *writer, FscOpcode opcode)
{
  int length = fsc_writer_finish (writer, opcode, helper->serial, 0);

  return fsc_channel_send (helper->socket, writer->data, (size_t) length, NULL, 0, 0) < 0
             ? ENDED
             : ANSWERED;
}

/* Until there is something to receive, or the helper has ended: its socket may be that of what it
 * has started, too. */
static Outcome
wait_until (const FscHelper *helper, int64_t due)
{
  struct pollfd pollfds[]
      = { { .fd = helper->socket, .events = POLLIN }, { .fd = helper->guard, .events = POLLIN } };
  int64_t left;
  int r;

  do
    {
      left = due - now_ms ();
      r = poll (pollfds, 2, left > 0 ? (int) left : 0);
    }
  while (r < 0 && errno == EINTR);
  if (r > 0 && pollfds[0].revents == 0) /* it may have answered before it ended */
    return poll (pollfds, 1, 0) > 0 ? ANSWERED : ENDED;
  return r == 0 ? LATE : ANSWERED;
}

static Outcome
greet (FscHelper *helper, int64_t due)
{
  uint8_t packet[FSC_PACKET_MAX];
  FscWelcome welcome;
  FscHeader header;
  FscReader reader;
  FscWriter writer;
  Outcome outcome;
  ssize_t length;

  helper->serial = 0;
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_hello (&writer, &(FscHello){ .magic = FSC_PROTOCOL_MAGIC,
                                             .lowest = FSC_PROTOCOL_LOWEST,
                                             .highest = FSC_PROTOCOL_HIGHEST,
                                             .features = FSC_FEATURE_PROGRESS,
                                             .name = { "fscached", strlen ("fscached") } });
  if (send_message (helper, &writer, FSC_OP_HELLO) == ENDED)
    return ENDED;
  outcome = wait_until (helper, due);
  if (outcome != ANSWERED)
    return outcome;
  length = fsc_channel_receive (helper->socket, packet, sizeof packet, NULL, 0, NULL, 0);
  if (length == -ECONNRESET)
    return ENDED;
  return length >= 0 && fsc_reader_begin (&reader, &header, packet, (size_t) length, 0) == 0
                 && header.opcode == FSC_OP_WELCOME && fsc_codec_get_welcome (&reader, &welcome)
                 && fsc_reader_finish (&reader) == 0 && welcome.version >= FSC_PROTOCOL_LOWEST
                 && welcome.version <= FSC_PROTOCOL_HIGHEST
             ? ANSWERED
             : CONFUSED;
}

static Outcome
send_open (FscHelper *helper, const FscItem *item)
{
  uint8_t packet[FSC_PACKET_MAX];
  FscItem asked = *item;
  FscWriter writer;

  asked.options &= FSC_OPTION_REOPENS | FSC_OPTION_REVALIDATE | FSC_OPTION_PROGRESS;
  fsc_writer_begin (&writer, packet, sizeof packet);
  fsc_codec_put_open (&writer, 1);
  fsc_codec_put_item (&writer, &asked);
  helper->serial++;
  return send_message (helper, &writer, FSC_OP_OPEN);
}

/* Whether a result without a handle makes sense. What is between opener and service only, and what
 * only the service can know, does not. */
static bool
is_sensible (const FscResult *result, const FscItem *item)
{
  switch (result->code)
    {
    case FSC_CODE_UNCHANGED:
      return result->error == 0 && item->validator.length > 0;
    case FSC_CODE_SYSTEM:
    case FSC_CODE_BAD_URI:
    case FSC_CODE_BAD_REQUEST:
    case FSC_CODE_NOT_REOPENABLE:
    case FSC_CODE_LIMIT:
    case FSC_CODE_TIMED_OUT:
      return result->error != 0;
    default:
      return false;
    }
}

static void
take_text (const FscResult *result, const char *uri, FscFound *found)
{
  size_t length = result->text.length < FSC_TEXT_MAX ? result->text.length : FSC_TEXT_MAX;

  if (length == 0)
    {
      fsc_found_fail (found, result->code, result->error, uri, strerror (result->error));
      return;
    }
  memcpy (found->text, result->text.data, length);
  found->text[length] = '\0';
}

static Outcome
take_result (const FscResult *result, const FscItem *item, const char *uri, FscFds *fds,
             FscFound *found)
{
  bool is_handle = result->code == FSC_CODE_OK && result->has_fd && fds->n == 1;

  if (result->index != 0 || result->id != 0 || result->coherence > FSC_COHERENCE_TTL
      || (!is_handle && (fds->n > 0 || !is_sensible (result, item))))
    return CONFUSED;
  found->code = result->code;
  found->error = result->error;
  if (!is_handle)
    {
      if (result->code != FSC_CODE_UNCHANGED)
        take_text (result, uri, found);
      return ANSWERED;
    }
  found->fd = fsc_fds_steal (fds, 0);
  found->is_final = result->source == FSC_SOURCE_PASSED;
  found->most_sharing = result->sharing;
  found->coherence = result->coherence;
  found->validator_length = (unsigned) result->validator.length;
  memcpy (found->validator, result->validator.data, result->validator.length);
  return ANSWERED;
}

/* Reads an answer, or how far it has come. */
static Outcome
read_packet (FscHelper *helper, const uint8_t *packet, size_t length, FscFds *fds,
             const FscItem *item, const char *uri, FscFound *found, FscProgress *progress,
             bool *is_answer)
{
  FscHeader header;
  FscReader reader;
  FscResult result;
  uint32_t n;

  if (fsc_reader_begin (&reader, &header, packet, length, fds->n) < 0
      || header.serial != helper->serial)
    return CONFUSED;
  *is_answer = header.opcode == FSC_OP_OPENED;
  if (*is_answer)
    return fsc_codec_get_opened (&reader, &n) && n == 1 && fsc_codec_get_result (&reader, &result)
                   && fsc_reader_finish (&reader) == 0
               ? take_result (&result, item, uri, fds, found)
               : CONFUSED;
  if (header.opcode != FSC_OP_PROGRESS || !fsc_codec_get_progress (&reader, progress)
      || fsc_reader_finish (&reader) < 0)
    return CONFUSED;
  fsc_found_progress (found, progress->done, progress->total, progress->memory);
  return ANSWERED;
}

static Outcome
receive_opened (FscHelper *helper, const FscItem *item, const char *uri, int64_t due,
                FscFound *found)
{
  uint8_t packet[FSC_PACKET_MAX];
  Outcome outcome = ANSWERED;
  FscProgress progress = { 0 };
  bool is_answer = false;

  while (outcome == ANSWERED && !is_answer)
    {
      uint64_t before = progress.done;
      FscFds fds = { 0 };
      bool lost = false;
      ssize_t length;

      outcome = wait_until (helper, due);
      if (outcome != ANSWERED)
        return outcome;
      length = fsc_channel_receive (helper->socket, packet, sizeof packet, &fds, 1, &lost, 0);
      if (length < 0)
        {
          fsc_fds_clear (&fds);
          return length == -ECONNRESET ? ENDED : CONFUSED;
        }
      if (lost) /* which is not the helper's fault */
        {
          fsc_found_system_error (found, uri, EMFILE);
          return ANSWERED;
        }
      outcome = read_packet (helper, packet, (size_t) length, &fds, item, uri, found, &progress,
                             &is_answer);
      fsc_fds_clear (&fds);
      if (progress.done != before)
        due = now_ms () + helper->deadline_ms;
    }
  return outcome;
}

static Outcome
talk (FscHelper *helper, const FscItem *item, const char *uri, FscFound *found)
{
  const int64_t due = now_ms () + helper->deadline_ms;
  Outcome outcome = ANSWERED;

  if (helper->n_answered == 0)
    outcome = greet (helper, due);
  if (outcome == ANSWERED)
    outcome = send_open (helper, item);
  if (outcome == ANSWERED)
    outcome = receive_opened (helper, item, uri, due, found);
  if (outcome != ANSWERED)
    return outcome;
  helper->n_answered++;
  helper->n_failures = 0;
  return ANSWERED;
}

/* Whether there is one to ask. If not, `found` says why. */
static bool
is_there (FscHelper *helper, const char *uri, FscFound *found)
{
  int64_t pause = helper->not_before - now_ms ();
  char phrase[128];
  int error;

  if (helper->pid > 0)
    return true;
  if (pause > 0)
    {
      snprintf (phrase, sizeof phrase, "the helper %s; it is not started again for %.1f s",
                helper->how, (double) pause / 1000);
      fsc_found_fail (found, FSC_CODE_OPENER_FAILED, EIO, uri, phrase);
      return false;
    }
  error = -start (helper);
  if (error == 0)
    return true;
  snprintf (phrase, sizeof phrase, "the helper cannot be started: %s", strerror (error));
  fsc_found_fail (found, FSC_CODE_OPENER_FAILED, EIO, uri, phrase);
  return false;
}

void
fsc_helper_ask (FscHelper *helper, const FscItem *item, const char *uri, FscFound *found)
{
  bool may_have_gone = helper->pid > 0 && helper->n_answered > 0 && (item->flags & O_EXCL) == 0;
  char phrase[128];

  while (is_there (helper, uri, found))
    {
      Outcome outcome = talk (helper, item, uri, found);

      if (outcome == ANSWERED)
        return;
      end (helper, outcome);
      if (outcome == ENDED && may_have_gone)
        {
          may_have_gone = false; /* before it was asked: another one is */
          continue;
        }
      note_failure (helper);
      snprintf (phrase, sizeof phrase, "the helper %s", helper->how);
      if (outcome == LATE)
        fsc_found_fail (found, FSC_CODE_TIMED_OUT, ETIMEDOUT, uri, phrase);
      else
        fsc_found_fail (found, FSC_CODE_OPENER_FAILED, EIO, uri, phrase);
      return;
    }
}
