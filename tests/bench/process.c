/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The programs that a benchmark starts; see process.h.
 */
#include "tests/bench/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define STOP_SECONDS 5

typedef struct
{
  const char *program;
  const char *const *argv;
  const char *const *environment;
  int input, output, log; /* -1: left as it is */
} Image;

/* The child of vfork(): it has the parent's memory, and changes none of it. */
static G_GNUC_NORETURN void
become (const Image *image)
{
  sigset_t none;

  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  signal (SIGPIPE, SIG_DFL);
  prctl (PR_SET_PDEATHSIG, SIGTERM);
  if (image->input >= 0)
    dup2 (image->input, STDIN_FILENO);
  if (image->output >= 0)
    dup2 (image->output, STDOUT_FILENO);
  if (image->log >= 0)
    dup2 (image->log, STDERR_FILENO);
  execve (image->program, (char *const *) image->argv, (char *const *) image->environment);
  _exit (127);
}

static pid_t
start (const Image *image)
{
  /* posix_spawn() cannot ask for the parent's death signal, and fork() would copy the page tables
   * of all our samples, in the time that is measured as the service's start. */
  pid_t pid = vfork ();

  if (pid == 0)
    become (image);
  return pid;
}

static void
close_all (int *fds, unsigned n)
{
  for (unsigned i = 0; i < n; i++)
    if (fds[i] >= 0)
      close (fds[i]);
}

char *
bench_find_program (const char *place)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *directory = g_path_get_dirname (self != NULL ? self : ".");
  g_autofree char *path = g_build_filename (directory, "..", "..", place, NULL);
  g_autofree char *name = g_path_get_basename (place);

  return access (path, X_OK) == 0 ? g_canonicalize_filename (path, NULL)
                                  : g_find_program_in_path (name);
}

bool
bench_process_start (BenchProcess *process, const char *const *argv, const char *const *environment,
                     int log, BenchProcessFlags flags, GError **error)
{
  g_autofree char *program = g_find_program_in_path (argv[0]);
  int ends[4] = { -1, -1, -1, -1 }; /* read and write end of its stdin, of its stdout */
  bool has_pipes = flags & BENCH_PROCESS_PIPES;

  *process = BENCH_PROCESS_NONE;
  if (program == NULL)
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "%s is not installed", argv[0]);
      return false;
    }

  if (has_pipes && (pipe2 (ends, O_CLOEXEC) < 0 || pipe2 (ends + 2, O_CLOEXEC) < 0))
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "pipe: %s", g_strerror (errno));
      close_all (ends, 4);
      return false;
    }

  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
  Image image = { program,
                  argv,
                  environment != NULL ? environment : (const char *const *) environ,
                  has_pipes ? ends[0] : null,
                  has_pipes ? ends[3] : log,
                  log };

  process->pid = start (&image);

  int start_errno = errno;

  close_all ((int[]){ ends[0], ends[3], null }, 3);
  process->input = ends[1];
  process->output = ends[2];
  if (process->pid > 0)
    return true;

  close_all ((int[]){ ends[1], ends[2] }, 2);
  *process = BENCH_PROCESS_NONE;
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "cannot start %s: %s", argv[0],
               g_strerror (start_errno));
  return false;
}

/* Reads one line, without its end; new, or NULL if there is none. */
static char *
read_line (int fd)
{
  g_autoptr (GString) line = g_string_new (NULL);
  char c;

  for (;;)
    {
      ssize_t n = read (fd, &c, 1);

      if (n < 0 && errno == EINTR && !bench_is_interrupted ())
        continue;
      if (n <= 0)
        return NULL;
      if (c == '\n')
        return g_strdup (line->str);
      g_string_append_c (line, c);
    }
}

bool
bench_process_start_part (BenchProcess *process, const char *part, const char *const *arguments,
                          GError **error)
{
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();

  g_ptr_array_add (argv, (char *) "/proc/self/exe");
  g_ptr_array_add (argv, (char *) "--part");
  g_ptr_array_add (argv, (char *) part);
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (argv, (char *) *arguments);
  g_ptr_array_add (argv, NULL);

  if (!bench_process_start (process, (const char *const *) argv->pdata, NULL, -1,
                            BENCH_PROCESS_PIPES, error))
    return false;

  g_autofree char *line = read_line (process->output);

  if (g_strcmp0 (line, "ready") == 0)
    return true;

  g_set_error (error, BENCH_ERROR,
               bench_is_interrupted () ? BENCH_ERROR_INTERRUPTED : BENCH_ERROR_FAILED, "%s: %s",
               part, line != NULL ? line : "ended before it was ready");
  bench_process_stop (process);
  return false;
}

bool
bench_process_has_ended (BenchProcess *process, char **how)
{
  int status;

  if (process->pid == 0 || waitpid (process->pid, &status, WNOHANG) != process->pid)
    return false;

  process->pid = 0;
  *how = WIFSIGNALED (status) ? g_strdup_printf ("was killed by signal %d", WTERMSIG (status))
                              : g_strdup_printf ("exited with status %d", WEXITSTATUS (status));
  return true;
}

void
bench_process_stop (BenchProcess *process)
{
  int64_t deadline = bench_now () + STOP_SECONDS * INT64_C (1000000000);

  close_all ((int[]){ process->input, process->output }, 2);
  if (process->pid > 0)
    {
      kill (process->pid, SIGTERM);
      while (waitpid (process->pid, NULL, WNOHANG) == 0)
        {
          if (bench_now () > deadline)
            {
              kill (process->pid, SIGKILL);
              deadline = INT64_MAX;
            }
          g_usleep (200);
        }
    }
  *process = BENCH_PROCESS_NONE;
}

void
bench_process_finish (BenchProcess *process)
{
  close_all ((int[]){ process->input, process->output }, 2);
  while (process->pid > 0 && waitpid (process->pid, NULL, 0) < 0 && errno == EINTR)
    ;
  *process = BENCH_PROCESS_NONE;
}

bool
bench_process_read (BenchProcess *process, void *buffer, size_t size, GError **error)
{
  for (size_t done = 0; done < size;)
    {
      ssize_t n = read (process->output, (char *) buffer + done, size - done);

      if (n < 0 && errno == EINTR && !bench_is_interrupted ())
        continue;
      if (n <= 0)
        {
          g_set_error (error, BENCH_ERROR,
                       bench_is_interrupted () ? BENCH_ERROR_INTERRUPTED : BENCH_ERROR_FAILED,
                       "a part of the benchmark has ended");
          return false;
        }
      done += n;
    }
  return true;
}

bool
bench_process_write (BenchProcess *process, const void *buffer, size_t size, GError **error)
{
  if (write (process->input, buffer, size) == (ssize_t) size)
    return true;

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "cannot write to a part: %s",
               g_strerror (errno));
  return false;
}

void
bench_part_say_ready (void)
{
  puts ("ready");
  fflush (stdout);
}

int
bench_part_fail (const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  vprintf (format, arguments);
  va_end (arguments);
  putchar ('\n');
  fflush (stdout);
  return 1;
}
