/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Counts the system calls of borrowing: a part that traces a child of its own, as strace would,
 * which needs no program that may not be there. The arguments are the socket of the service, a
 * file, and how many times to borrow it.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libclient/fscache.h"
#include "tests/bench/bench.h"
#include "tests/bench/process.h"

#define KEEP_ATTEMPTS 10000

static bool
borrow (FscacheClient *client, const char *path)
{
  FscacheBorrow borrow;
  bool is_kept
      = fscache_borrow (client, path, &borrow, NULL) >= 0 && borrow.source == FSCACHE_SOURCE_KEPT;

  fscache_return (client, &borrow);
  return is_kept;
}

/* What is counted lies between two calls of getppid(), and the exit status says whether all were
 * hits. */
static G_GNUC_NORETURN void
run_child (const char *socket, const char *path, unsigned n)
{
  FscacheClient *client = NULL;
  unsigned hits = 0;

  if (fscache_connect (socket, FSCACHE_NO_FALLBACK, &client) < 0)
    _exit (1);
  for (unsigned i = 0; i < KEEP_ATTEMPTS && !borrow (client, path); i++)
    g_usleep (500);

  ptrace (PTRACE_TRACEME, 0, NULL, NULL);
  raise (SIGSTOP);
  syscall (SYS_getppid);
  for (unsigned i = 0; i < n; i++)
    hits += borrow (client, path);
  syscall (SYS_getppid);
  _exit (hits == n ? 0 : 2);
}

/* Returns how many calls there were between the marks, or -1. */
static int64_t
trace (pid_t child)
{
  int status;
  int64_t n = 0;
  unsigned marks = 0;
  bool is_entry = true;

  if (waitpid (child, &status, 0) != child || !WIFSTOPPED (status)
      || ptrace (PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL) < 0)
    return -1;
  while (ptrace (PTRACE_SYSCALL, child, NULL, 0) == 0 && waitpid (child, &status, 0) == child
         && WIFSTOPPED (status))
    {
      struct __ptrace_syscall_info info;

      if (WSTOPSIG (status) != (SIGTRAP | 0x80))
        continue;
      if (is_entry && ptrace (PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info) > 0)
        {
          bool is_mark = info.op == PTRACE_SYSCALL_INFO_ENTRY && info.entry.nr == SYS_getppid;

          marks += is_mark;
          n += !is_mark && marks == 1;
        }
      is_entry = !is_entry;
    }
  return marks == 2 && WIFEXITED (status) && WEXITSTATUS (status) == 0 ? n : -1;
}

int
bench_part_borrow_count (int argc, char **argv)
{
  if (argc != 3)
    return bench_part_fail ("usage");

  pid_t child = fork ();

  if (child == 0)
    run_child (argv[0], argv[1], (unsigned) atoi (argv[2]));
  if (child < 0)
    return bench_part_fail ("cannot fork");

  int64_t n = trace (child);

  if (n < 0)
    return bench_part_fail ("cannot trace a process, or not all borrows were hits");
  bench_part_say_ready ();
  return write (STDOUT_FILENO, &n, sizeof n) == sizeof n ? 0 : 1;
}
