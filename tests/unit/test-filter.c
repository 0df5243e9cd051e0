/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Filters of system calls: what a process that has one still can, and what the kernel does not know
 * for it any more, tried out one by one.
 */
#include "fscache/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/tap.h"
#include "tests/integration/process.h"

#define LEAST 0
#define FILES FSC_FILTER_OPENER
#define CONNECTS (FSC_FILTER_OPENER | FSC_FILTER_CONNECTS)
#define FORKS (FSC_FILTER_OPENER | FSC_FILTER_FORKS)
#define SERVICE FSC_FILTER_SERVICE

typedef long (*Call) (void);

static long
execute (void)
{
  return execl ("/bin/true", "true", NULL) < 0 ? -1 : 0;
}

static long
start_process (void)
{
  long pid = syscall (SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

  if (pid == 0)
    _exit (0);
  return pid;
}

static long
start_in_namespace (void)
{
  long pid = syscall (SYS_clone, SIGCHLD | CLONE_NEWUSER, NULL, NULL, NULL, NULL);

  if (pid == 0)
    _exit (0);
  return pid;
}

static void *
return_it (void *data)
{
  return data;
}

static long
start_thread (void)
{
  pthread_t thread;
  int r = pthread_create (&thread, NULL, return_it, NULL);

  if (r == 0)
    pthread_join (thread, NULL);
  errno = r;
  return r == 0 ? 0 : -1;
}

static long
connect_locally (void)
{
  return socket (AF_UNIX, SOCK_STREAM, 0);
}

static long
connect_anywhere (void)
{
  return socket (AF_INET, SOCK_STREAM, 0);
}

static long
open_file (void)
{
  return open ("/etc/passwd", O_RDONLY);
}

static long
rename_file (void)
{
  return renameat (-1, "a", -1, "b");
}

static long
change_mode (void)
{
  return chmod ("", 0);
}

static long
mount_something (void)
{
  return mount ("", "", "", 0, "");
}

static long
leave_namespace (void)
{
  return unshare (CLONE_FS);
}

static long
trace (void)
{
  return syscall (SYS_ptrace, 12345, 0, 0, 0);
}

static long
take_descriptor (void)
{
  return syscall (SYS_pidfd_getfd, -1, 0, 0);
}

static long
read_memory (void)
{
  return syscall (SYS_process_vm_readv, 0, NULL, 0, NULL, 0, 1);
}

static long
make_ring (void)
{
  return syscall (SYS_io_uring_setup, 0, NULL);
}

static long
load_program (void)
{
  return syscall (SYS_bpf, -1, NULL, 0);
}

static long
become_root (void)
{
  return setresuid (0, 0, 0);
}

static long
map_code (void)
{
  return mmap (NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                 == MAP_FAILED
             ? -1
             : 0;
}

static long
make_code (void)
{
  void *page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  return mprotect (page, 4096, PROT_READ | PROT_EXEC);
}

static long
map_file (void)
{
  int fd = open ("/proc/self/exe", O_RDONLY);

  return mmap (NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? -1 : 0;
}

static const struct
{
  Call call;
  unsigned known_to; /* whose filter lets it through */
  gboolean is_let_by_least;
} cases[] = {
  { open_file, FILES | SERVICE, TRUE },
  { map_file, FILES | SERVICE, TRUE },
  { start_thread, FILES | SERVICE, TRUE },
  { connect_locally, FSC_FILTER_CONNECTS | SERVICE, TRUE },
  { connect_anywhere, FSC_FILTER_CONNECTS, TRUE },
  { start_process, FSC_FILTER_FORKS, TRUE },
  { start_in_namespace, 0, TRUE },
  { execute, 0, TRUE },
  { rename_file, 0, TRUE },
  { change_mode, 0, TRUE },
  { mount_something, 0, TRUE },
  { leave_namespace, 0, TRUE },
  { become_root, 0, TRUE },
  { map_code, 0, TRUE },
  { make_code, 0, TRUE },
  { trace, 0, FALSE },
  { take_descriptor, 0, FALSE },
  { read_memory, 0, FALSE },
  { make_ring, 0, FALSE },
  { load_program, 0, FALSE },
};

/* Whether the kernel knows the call, in a child with this filter. */
static gboolean
is_known (unsigned roles, Call call)
{
  int status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      if (roles == LEAST ? !fsc_filter_load_least () : !fsc_filter_load (roles))
        _exit (2);
      _exit (call () < 0 && errno == ENOSYS ? 1 : 0);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), <=, 1);
  return WEXITSTATUS (status) == 0;
}

static void
test_roles (gconstpointer data)
{
  unsigned roles = (unsigned) GPOINTER_TO_UINT (data);

  if (!FSC_TEST_MEASURES_MEMORY)
    {
      g_test_skip ("sanitizers make system calls of their own, so there are no filters");
      return;
    }
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      gboolean is_wanted
          = roles == LEAST ? cases[i].is_let_by_least : (cases[i].known_to & roles) != 0;

      g_test_message ("case %u", i);
      g_assert_cmpint (is_known (roles, cases[i].call), ==, is_wanted);
    }
}

/* Threads that there are already have it, too. */
static void *
ask_for_process (void *data)
{
  int *ends = data;
  char byte;

  if (read (ends[0], &byte, 1) != 1)
    return NULL;
  return GINT_TO_POINTER (start_process () < 0 && errno == ENOSYS);
}

static void
test_threads (void)
{
  int ends[2], status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    {
      pthread_t thread;
      void *is_denied = NULL;

      if (pipe (ends) < 0 || pthread_create (&thread, NULL, ask_for_process, ends) != 0
          || !fsc_filter_load (SERVICE) || write (ends[1], "x", 1) != 1
          || pthread_join (thread, &is_denied) != 0)
        _exit (2);
      _exit (is_denied != NULL || !FSC_TEST_MEASURES_MEMORY ? 0 : 1);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

/* It can be left out, and it can kill, for those who look for what is missing. */
static void
test_variable (void)
{
  static const struct
  {
    const char *value;
    int status;
  } ends[] = { { "0", 0 }, { "", 1 << 8 }, { "kill", FSC_TEST_MEASURES_MEMORY ? SIGSYS : 0 } };

  for (guint i = 0; i < G_N_ELEMENTS (ends); i++)
    {
      int status, wanted = FSC_TEST_MEASURES_MEMORY ? ends[i].status : 0;
      pid_t pid = fork ();

      g_assert_cmpint (pid, >=, 0);
      if (pid == 0)
        {
          setenv (FSC_FILTER_VARIABLE, ends[i].value, 1);
          if (!fsc_filter_load (FILES))
            _exit (2);
          _exit (leave_namespace () < 0 && errno == ENOSYS);
        }
      g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
      g_assert_cmpint (status & ~0x80, ==, wanted); /* but for the core dump */
    }
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_unsetenv (FSC_FILTER_VARIABLE);
  g_test_add_data_func ("/filter/least", GUINT_TO_POINTER (LEAST), test_roles);
  g_test_add_data_func ("/filter/files", GUINT_TO_POINTER (FILES), test_roles);
  g_test_add_data_func ("/filter/connects", GUINT_TO_POINTER (CONNECTS), test_roles);
  g_test_add_data_func ("/filter/forks", GUINT_TO_POINTER (FORKS), test_roles);
  g_test_add_data_func ("/filter/service", GUINT_TO_POINTER (SERVICE), test_roles);
  g_test_add_func ("/filter/threads", test_threads);
  g_test_add_func ("/filter/variable", test_variable);
  return g_test_run ();
}
