/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A child that reads what strangers have made, and its parent; see child.h.
 */
#include "fscache/openers/child.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define HEAD offsetof (FscChildMessage, payload)

/* By calls that both kinds of children may make. */

bool
fsc_child_send (int socket, int what, uint64_t number, const void *payload, size_t n)
{
  FscChildMessage head = { .what = what, .number = number };
  const struct iovec parts[] = { { &head, HEAD }, { (void *) payload, n } };

  return writev (socket, parts, 2) == (ssize_t) (HEAD + n);
}

ssize_t
fsc_child_receive (int socket, FscChildMessage *message)
{
  ssize_t n;

  do
    n = read (socket, message, sizeof *message);
  while (n < 0 && errno == EINTR);
  return n < (ssize_t) HEAD ? -1 : n - (ssize_t) HEAD;
}

/* In the child */

bool
fsc_child_begin (uint64_t total)
{
  return fsc_child_send (FSC_CHILD_SOCKET, FSC_CHILD_BEGIN, total, NULL, 0);
}

bool
fsc_child_write (const void *bytes, size_t n)
{
  const uint8_t *rest = bytes;
  bool is_good = true;

  while (is_good && n > 0)
    {
      size_t part = n < FSC_CHILD_PAYLOAD ? n : FSC_CHILD_PAYLOAD;

      is_good = fsc_child_send (FSC_CHILD_SOCKET, FSC_CHILD_WRITE, 0, rest, part);
      rest += part;
      n -= part;
    }
  return is_good;
}

static _Noreturn void
run_child (void (*run) (const void *data), const void *data, int socket, pid_t parent)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (getppid () != parent || dup2 (socket, FSC_CHILD_SOCKET) < 0 || dup2 (0, 1) < 0
      || dup2 (0, 2) < 0 || syscall (SYS_close_range, FSC_CHILD_SOCKET + 1, ~0U, 0) < 0)
    _exit (1);
  run (data);
  _exit (0);
}

/* In the parent */

bool
fsc_child_start (FscChild *child, void (*run) (const void *data), const void *data, FscFault *fault)
{
  pid_t parent = getpid (), pid = -1;
  int sockets[2] = { -1, -1 };
  int error;

  signal (SIGPIPE, SIG_IGN); /* who is gone is noticed when nothing can be received */
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) == 0)
    pid = fork ();
  if (pid == 0)
    run_child (run, data, sockets[1], parent);
  error = errno;
  if (sockets[1] >= 0)
    close (sockets[1]);
  if (pid > 0)
    {
      child->pid = pid;
      child->socket = sockets[0];
      return true;
    }
  if (sockets[0] >= 0)
    close (sockets[0]);
  fsc_fault_set (fault, error, "no process can be started that %s it: %s", child->task,
                 strerror (error));
  return false;
}

static void
explain_end (const char *task, int status, FscFault *fault)
{
  int number = WTERMSIG (status);

  if (!WIFSIGNALED (status))
    fsc_fault_set (fault, EIO, "the process that %s it has ended with status %d", task,
                   WEXITSTATUS (status));
  else if (number == SIGSYS)
    fsc_fault_set (fault, EIO, "the process that %s it was killed: it tried to do what it must not",
                   task);
  else if (number == SIGXCPU)
    fsc_fault_set (fault, EIO,
                   "the process that %s it was killed: it needed more than %d s of a processor",
                   task, FSC_CHILD_SECONDS);
  else
    fsc_fault_set (fault, EIO, "the process that %s it was ended by signal %d (%s)", task, number,
                   strsignal (number));
}

void
fsc_child_end (FscChild *child, FscFault *fault)
{
  int status;

  if (child->pid == 0)
    return;
  close (child->socket); /* one that waits for something to do ends then */
  if (fault == NULL)
    kill (child->pid, SIGKILL);
  while (waitpid (child->pid, &status, 0) < 0 && errno == EINTR)
    ;
  child->pid = 0;
  if (fault != NULL)
    explain_end (child->task, status, fault);
}

FscChildOutcome
fsc_child_fail_nonsense (FscChildRun *run)
{
  fsc_fault_set (run->fault, EIO, "the process that %s it sent nonsense", run->task);
  return FSC_CHILD_BROKEN;
}

FscChildOutcome
fsc_child_take_content (FscChildRun *run, size_t n)
{
  const FscChildMessage *message = &run->message;
  bool is_good;

  if (message->what != FSC_CHILD_BEGIN && (message->what != FSC_CHILD_WRITE || !run->has_begun))
    return fsc_child_fail_nonsense (run);
  if (message->what == FSC_CHILD_BEGIN)
    {
      run->has_begun = true;
      run->total = message->number;
      if (run->total > run->max_size)
        return FSC_CHILD_TOO_BIG;
      is_good = fsc_draft_begin (run->draft, run->fault);
    }
  else
    {
      if (n > run->max_size - run->draft->size)
        return FSC_CHILD_TOO_BIG;
      is_good = fsc_draft_write (run->draft, message->payload, n, run->fault);
    }
  return is_good ? FSC_CHILD_DONE : FSC_CHILD_BROKEN;
}

FscChildOutcome
fsc_child_take_fault (FscChildRun *run, const FscFault *fault)
{
  if (fault->error == 0)
    return FSC_CHILD_DONE;
  if (fault->error < 0 || fault->error > 4095 || fault->phrase[0] == '\0'
      || memchr (fault->phrase, '\0', sizeof fault->phrase) == NULL)
    return fsc_child_fail_nonsense (run);
  if (fault->error == ENOMEM)
    fsc_fault_set (run->fault, ENOMEM,
                   "the process that %s it needs more than the %llu MiB of memory that it may have",
                   run->task, (unsigned long long) FSC_CHILD_MEMORY >> 20);
  else
    *run->fault = *fault;
  return FSC_CHILD_FAILED;
}
