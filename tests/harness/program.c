/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a program to its end; see program.h.
 */
#include "tests/harness/program.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MINUTE 60

static void
run_child (const char *directory, const char *const *arguments, int out, int error)
{
  int in = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  if (directory != NULL && chdir (directory) < 0)
    _exit (126);
  dup2 (in, 0);
  dup2 (out, 1);
  dup2 (error, 2);
  alarm (MINUTE);
  execvp (arguments[0], (char *const *) arguments);
  _exit (127);
}

/* All that was written to a file of memory. Closes it. */
static char *
take_content (int fd, gsize *length)
{
  struct stat st;
  char *content;

  g_assert_cmpint (fstat (fd, &st), ==, 0);
  content = g_malloc (st.st_size + 1);
  g_assert_cmpint (pread (fd, content, st.st_size, 0), ==, st.st_size);
  content[st.st_size] = '\0';
  if (length != NULL)
    *length = st.st_size;
  close (fd);
  return content;
}

void
fsc_test_program_run (FscTestProgram *program, const char *directory, const char *const *arguments)
{
  int out = memfd_create ("stdout", MFD_CLOEXEC);
  int error = memfd_create ("stderr", MFD_CLOEXEC);
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    run_child (directory, arguments, out, error);
  while (waitpid (pid, &program->status, 0) < 0)
    g_assert_cmpint (errno, ==, EINTR);
  program->out = take_content (out, &program->length);
  program->error = take_content (error, NULL);
}

void
fsc_test_program_die_with_parent (gpointer unused)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

void
fsc_test_program_clear (FscTestProgram *program)
{
  g_clear_pointer (&program->out, g_free);
  g_clear_pointer (&program->error, g_free);
}

void
fsc_test_program_assert_exit (const FscTestProgram *program, int expected)
{
  if (!WIFEXITED (program->status) || WEXITSTATUS (program->status) != expected)
    g_test_message ("It wrote \"%s\", and on standard error \"%s\"", program->out, program->error);
  g_assert_true (WIFEXITED (program->status));
  g_assert_cmpint (WEXITSTATUS (program->status), ==, expected);
}
