/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A helper that does what the URI says, helper+odd:WHAT or helper+odd:WHAT?ARGUMENT, and much of
 * it is wrong. With an argument it appends the time to a file of that name, when it starts, and
 * ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "fscache/openers/serve.h"
#include "protocol/channel.h"

#define SOCKET 3

static unsigned serial; /* as the opener counts: each OPEN has one item */

static void
give_memory (FscFound *found, const char *content, bool is_sealed)
{
  size_t length = strlen (content);

  found->fd = memfd_create ("odd", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (write (found->fd, content, length) != (ssize_t) length
      || (is_sealed
          && fcntl (found->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK) < 0))
    _exit (1);
  found->coherence = FSC_COHERENCE_TTL;
}

/* An OPENED of one result. */
static void
send_result (const FscResult *result, unsigned answered, unsigned n_fds)
{
  const int fds[] = { 0, 0 };
  unsigned char buffer[1024];
  FscWriter writer;

  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_codec_put_opened (&writer, 1);
  fsc_codec_put_result (&writer, result);
  fsc_channel_send (SOCKET, buffer,
                    (size_t) fsc_writer_finish (&writer, FSC_OP_OPENED, answered, n_fds), fds,
                    n_fds, 0);
}

static void
talk_nonsense (const char *kind)
{
  static const char elsewhere[] = "file:///etc/passwd";

  if (strcmp (kind, "bytes") == 0)
    send (SOCKET, "nonsense", 8, 0);
  else if (strcmp (kind, "serial") == 0)
    send_result (&(FscResult){ .has_fd = true }, serial + 1, 1);
  else if (strcmp (kind, "index") == 0)
    send_result (&(FscResult){ .index = 1, .has_fd = true }, serial, 1);
  else if (strcmp (kind, "held") == 0)
    send_result (&(FscResult){ .id = 7 }, serial, 0);
  else if (strcmp (kind, "none") == 0)
    send_result (&(FscResult){ 0 }, serial, 0);
  else if (strcmp (kind, "two") == 0)
    send_result (&(FscResult){ .has_fd = true }, serial, 2);
  else if (strcmp (kind, "watched") == 0)
    send_result (&(FscResult){ .has_fd = true, .coherence = FSC_COHERENCE_WATCHED }, serial, 1);
  else if (strcmp (kind, "unchanged") == 0)
    send_result (&(FscResult){ .code = FSC_CODE_UNCHANGED }, serial, 0);
  else if (strcmp (kind, "errno") == 0)
    send_result (&(FscResult){ .code = FSC_CODE_SYSTEM }, serial, 0);
  else if (strcmp (kind, "code") == 0)
    send_result (&(FscResult){ .code = FSC_CODE_REFUSED, .error = EACCES }, serial, 0);
  else if (strcmp (kind, "elsewhere") == 0)
    send_result (
        &(FscResult){ .code = FSC_CODE_LEADS_ELSEWHERE, .text = { elsewhere, strlen (elsewhere) } },
        serial, 0);
  else
    _exit (9); /* the test is wrong */
  for (;;)
    pause ();
}

static void
describe_self (FscFound *found)
{
  static const char command[] = "ls -l /proc/self/fd; id -u; id -G; env; grep -E "
                                "'^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Umask)' /proc/self/status";
  char text[8192] = "";
  FILE *pipe = popen (command, "r");
  size_t length = pipe != NULL ? fread (text, 1, sizeof text - 1, pipe) : 0;

  if (length == 0 || pclose (pipe) != 0)
    _exit (8);
  give_memory (found, text, true);
}

static void
open_oddly (const FscItem *item, const char *uri, FscFound *found)
{
  char what[64];
  const char *rest = strchr (uri, ':') + 1, *argument = strchr (rest, '?');

  serial++;
  snprintf (what, sizeof what, "%.*s", (int) (argument != NULL ? argument - rest : 60), rest);
  argument = argument != NULL ? argument + 1 : "";

  if (strcmp (what, "memory") == 0)
    give_memory (found, argument, true);
  else if (strcmp (what, "sealed-for-good") == 0)
    {
      give_memory (found, argument, true);
      if (fcntl (found->fd, F_ADD_SEALS, F_SEAL_SEAL) < 0)
        _exit (1);
    }
  else if (strcmp (what, "unsealed") == 0)
    give_memory (found, argument, false);
  else if (strcmp (what, "pid") == 0)
    {
      char pid[16];

      snprintf (pid, sizeof pid, "%d", (int) getpid ());
      give_memory (found, pid, true);
      found->coherence = FSC_COHERENCE_UNCACHED;
    }
  else if (strcmp (what, "checked") == 0)
    {
      if (item->validator.length == 2 && memcmp (item->validator.data, "v1", 2) == 0)
        {
          found->code = FSC_CODE_UNCHANGED;
          return;
        }
      give_memory (found, argument, true);
      found->coherence = FSC_COHERENCE_CHECKED;
      memcpy (found->validator, "v1", 2);
      found->validator_length = 2;
    }
  else if (strcmp (what, "file") == 0)
    {
      found->fd = open (argument, O_RDONLY | O_CLOEXEC);
      if (found->fd < 0)
        fsc_found_system_error (found, uri, errno);
      found->coherence = FSC_COHERENCE_TTL;
    }
  else if (strcmp (what, "stopped-file") == 0) /* PID:PATH */
    {
      found->fd = open (strchr (argument, ':') + 1, O_RDONLY | O_CLOEXEC);
      kill ((pid_t) atoi (argument), SIGSTOP);
    }
  else if (strcmp (what, "event") == 0)
    found->fd = eventfd (7, EFD_CLOEXEC | EFD_NONBLOCK);
  else if (strcmp (what, "missing") == 0)
    fsc_found_fail (found, FSC_CODE_SYSTEM, ENOENT, uri, "it is \033[31mnot\a there");
  else if (strcmp (what, "silent") == 0)
    {
      found->code = FSC_CODE_SYSTEM;
      found->error = EACCES;
    }
  else if (strcmp (what, "exit") == 0)
    _exit (atoi (argument));
  else if (strcmp (what, "leave") == 0 || strcmp (what, "hang-with") == 0) /* a child behind */
    {
      pid_t child = fork (); /* which has the socket, too */
      FILE *file = child > 0 ? fopen (argument, "we") : NULL;

      if (file != NULL && fprintf (file, "%d", (int) child) > 0 && fclose (file) == 0
          && what[0] == 'l')
        _exit (3);
      for (;;)
        pause ();
    }
  else if (strcmp (what, "abort") == 0)
    abort ();
  else if (strcmp (what, "close") == 0)
    {
      close (SOCKET);
      for (;;)
        pause ();
    }
  else if (strcmp (what, "last") == 0) /* it answers, and ends soon after */
    {
      const struct itimerval soon = { .it_value = { .tv_usec = 20000 } };

      setitimer (ITIMER_REAL, &soon, NULL);
      give_memory (found, argument, true);
    }
  else if (strcmp (what, "progress") == 0) /* and begins again, twice */
    {
      for (unsigned i = 0; i < 9; i++)
        {
          usleep (110 * 1000);
          fsc_found_progress (found, i % 3 + 1, 3, 0);
        }
      give_memory (found, argument, true);
    }
  else if (strcmp (what, "slow") == 0)
    {
      usleep (30 * 1000);
      give_memory (found, argument, true);
    }
  else if (strcmp (what, "self") == 0)
    describe_self (found);
  else if (strcmp (what, "nonsense") == 0)
    talk_nonsense (argument);
  else
    for (;;) /* "hang" */
      pause ();
}

static int
note_start (const char *path)
{
  FILE *file = fopen (path, "ae");
  struct timespec time;

  clock_gettime (CLOCK_MONOTONIC, &time);
  return file != NULL && fprintf (file, "%ld\n", time.tv_sec * 1000 + time.tv_nsec / 1000000) > 0
                 && fclose (file) == 0
             ? 3
             : 1;
}

int
main (int argc, char **argv)
{
  return argc > 1 ? note_start (argv[1]) : fsc_serve ("odd-helper", open_oddly);
}
