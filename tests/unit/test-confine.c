/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Shutting in: what a process that has done so cannot do any more, tried out one by one.
 */
#include "fscache/openers/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/openers/unpacker.h"
#include "tests/harness/tap.h"

#define NO_LANDLOCK 77

/* Runs it in a child, and returns how that ends. */
static int
run (void (*func) (void))
{
  int status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      func ();
      syscall (SYS_exit_group,
               0); /* before _exit() the address sanitizer makes a call of its own */
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  return status;
}

/* What is refused as a system call ends the process. Each of these would work otherwise. */

static void
open_file (void)
{
  open ("/etc/passwd", O_RDONLY);
}

static void
make_file (void)
{
  open ("/tmp", O_TMPFILE | O_RDWR, 0600);
}

static void
connect_somewhere (void)
{
  socket (AF_UNIX, SOCK_STREAM, 0);
}

static void
execute (void)
{
  execl ("/bin/true", "true", NULL);
}

static void
start_process (void)
{
  syscall (SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void
kill_parent (void)
{
  kill (getppid (), 0);
}

static void
trace_parent (void)
{
  ptrace (PTRACE_ATTACH, getppid (), NULL, NULL);
}

static void
map_code (void)
{
  mmap (NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void
map_file (void)
{
  mmap (NULL, 4096, PROT_READ, MAP_PRIVATE, 0, 0);
}

static void
make_code (void)
{
  static char page[8192];

  mprotect ((void *) (((uintptr_t) page + 4095) & ~(uintptr_t) 4095), 4096, PROT_READ | PROT_EXEC);
}

static void (*const forbidden[]) (void)
    = { open_file,   make_file,    connect_somewhere, execute,  start_process,
        kill_parent, trace_parent, map_code,          map_file, make_code };
static guint which;

static void
do_what_is_forbidden (void)
{
  if (!fsc_unpacker_confine ())
    _exit (1);
  forbidden[which]();
}

static void
test_system_calls (void)
{
  for (which = 0; which < G_N_ELEMENTS (forbidden); which++)
    {
      int status = run (do_what_is_forbidden);

      g_test_message ("%u: %d", which, status);
      g_assert_true (WIFSIGNALED (status));
      g_assert_cmpint (WTERMSIG (status), ==, SIGSYS);
    }
}

/* What is left: to speak with the parent, and memory. */
static void
do_what_is_allowed (void)
{
  int sockets[2];
  char byte = 'x';
  void *memory;

  if (socketpair (AF_UNIX, SOCK_SEQPACKET, 0, sockets) < 0 || write (sockets[1], "y", 1) != 1
      || !fsc_unpacker_confine ())
    _exit (1);
  memory = malloc (100 << 20);
  if (memory == NULL || read (sockets[0], &byte, 1) != 1 || byte != 'y')
    _exit (2);
  memset (memory, 1, 100 << 20);
  free (memory);
  if (FSC_CONFINE_HAS_MEMORY_LIMIT && malloc (UINT64_C (2) << 30) != NULL)
    _exit (3);
}

static void
test_allowed (void)
{
  g_assert_cmpint (run (do_what_is_allowed), ==, 0);
}

/* Landlock by itself: what is open stays open. */
static void
lose_files (void)
{
  int file = open ("/etc/passwd", O_RDONLY);
  char byte;

  if (!fsc_confine_files (NULL))
    _exit (1);
  if (open ("/etc/passwd", O_RDONLY) >= 0)
    _exit (NO_LANDLOCK);
  if (errno != EACCES || open ("/tmp", O_TMPFILE | O_RDWR, 0600) >= 0 || errno != EACCES)
    _exit (2);
  if (execl ("/bin/true", "true", NULL) == 0 || errno != EACCES)
    _exit (3);
  if (pread (file, &byte, 1, 0) != 1)
    _exit (4);
}

static void
test_files (void)
{
  int status = run (lose_files);

  if (WIFEXITED (status) && WEXITSTATUS (status) == NO_LANDLOCK)
    g_test_skip ("this kernel has no Landlock");
  else
    g_assert_cmpint (status, ==, 0);
}

static void
run_for_ever (void)
{
  if (!fsc_confine_resources (UINT64_C (1) << 30, 1))
    _exit (1);
  for (;;)
    ;
}

static void
test_time (void)
{
  int status = run (run_for_ever);

  g_assert_true (WIFSIGNALED (status));
  g_assert_cmpint (WTERMSIG (status), ==, SIGXCPU);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/confine/system-calls", test_system_calls);
  g_test_add_func ("/confine/allowed", test_allowed);
  g_test_add_func ("/confine/files", test_files);
  g_test_add_func ("/confine/time", test_time);
  return g_test_run ();
}
