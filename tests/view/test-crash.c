/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The view or the service is killed at random, while a file is replaced all the time and others
 * read it. Each version of it has its number all over, so a mixture of two is seen; and when it was
 * replaced is written down, so is one that is too old. With -o exact that is each one that had been
 * replaced before the open; else the service may take a moment to say so. What it was asked for
 * before it was killed is given for 100 ms more, and then nothing is.
 *
 * FSC_TEST_SCALE=20000 kills 200 times as often.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/integration/process.h"
#include "tests/view/stage.h"

#define KILLS 8       /* for each of the ways to mount */
#define READERS 3     /* and one that replaces */
#define BOUND_MS 1000 /* of what takes a moment when the machine has nothing else to do */
#define DEAD_MS 110   /* as long as something may be given after the service has died, and a tick */
#define VERSIONS (1 << 16)
#define RECORD 8 /* a version is so many digits, again and again */
#define RECORDS_MAX 1500

/* What all processes see; times are in µs, and 0 is never. */
typedef struct
{
  gint64 replaced[VERSIONS]; /* when the version with this number was */
  gint64 dead_since;         /* the service, if it is */
  gint64 current;            /* version */
} Shared;

typedef struct
{
  const FscTestStage *stage;
  Shared *shared;
  gint64 bound; /* how long after it was replaced a version may be given */
} Run;

static gint64
get (const gint64 *value)
{
  return __atomic_load_n (value, __ATOMIC_SEQ_CST);
}

static void
set (gint64 *value, gint64 to)
{
  __atomic_store_n (value, to, __ATOMIC_SEQ_CST);
}

/* Versions */

static gsize
get_length (gint64 version)
{
  return RECORD * (gsize) (100 + version % (RECORDS_MAX - 100));
}

static void
replace (const Run *run)
{
  gint64 version = run->shared->current + 1;
  g_autoptr (GString) content = g_string_new (NULL);

  while (content->len < get_length (version))
    g_string_append_printf (content, "%0*" G_GINT64_FORMAT, RECORD, version);
  set (&run->shared->replaced[version % VERSIONS], 0);
  fsc_test_stage_replace (run->stage, "file", content->str);
  set (&run->shared->replaced[(version - 1) % VERSIONS], g_get_monotonic_time ());
  set (&run->shared->current, version);
}

/* The one that is read, which must be whole; -1 if the view has just been killed. */
static gint64
read_version (int fd)
{
  char content[RECORD * RECORDS_MAX + 1];
  ssize_t length = pread (fd, content, sizeof content - 1, 0);
  gint64 version;

  if (length < 0 && (errno == ENOTCONN || errno == ECONNABORTED))
    return -1;
  if (length < RECORD)
    g_error ("read(): %zd, %s", length, g_strerror (errno));
  content[length] = '\0';
  for (ssize_t i = RECORD; i < length; i += RECORD)
    if (strncmp (content + i, content, RECORD) != 0)
      g_error ("%.8s, and at %zd %.8s", content, i, content + i);
  content[RECORD] = '\0';
  version = g_ascii_strtoll (content, NULL, 10);
  if ((gsize) length != get_length (version))
    g_error ("version %s has %zd bytes", content, length);
  return version;
}

/* Reading */

/* Neither there, nor able to ask: what may be while something is dead. Or replaced twice meanwhile.
 */
static gboolean
is_expected (int error)
{
  return error == ENOTCONN || error == ECONNABORTED || error == EIO || error == ENOENT
         || error == ESTALE;
}

/* The version that an open gives, which must be young enough; -1 if it gives none. */
static gint64
check_open (const Run *run, int *fd)
{
  g_autofree char *path = fsc_test_stage_through (run->stage, "file");
  gint64 dead_since = get (&run->shared->dead_since), began = g_get_monotonic_time ();
  gint64 version, replaced;

  *fd = open (path, O_RDONLY | O_CLOEXEC);
  if (*fd < 0 && !is_expected (errno))
    g_error ("open(): %s", g_strerror (errno));
  if (*fd < 0)
    return -1;
  if (dead_since != 0 && began - dead_since > DEAD_MS * 1000
      && get (&run->shared->dead_since) == dead_since)
    g_error ("opened by the word of a service that had been dead for %" G_GINT64_FORMAT " us",
             began - dead_since);
  version = read_version (*fd);
  replaced = version >= 0 ? get (&run->shared->replaced[version % VERSIONS]) : 0;
  if (replaced != 0 && began - replaced > run->bound)
    g_error ("version %" G_GINT64_FORMAT " had been replaced %" G_GINT64_FORMAT " us before",
             version, began - replaced);
  return version;
}

/* What is open stays what it is. */
static void
run_reader (const Run *run)
{
  for (;;)
    {
      int fd;
      gint64 version = check_open (run, &fd), later;

      if (fd >= 0)
        {
          g_usleep ((gulong) g_random_int_range (0, 5000));
          later = read_version (fd);
          if (version >= 0 && later >= 0 && later != version)
            g_error ("version %" G_GINT64_FORMAT " has become %" G_GINT64_FORMAT, version, later);
          close (fd);
        }
      else
        g_usleep (1000);
    }
}

static void
run_writer (const Run *run)
{
  for (;;)
    {
      replace (run);
      g_usleep ((gulong) g_random_int_range (0, 5000));
    }
}

/* Killing */

static void
kill_something (FscTestStage *stage, Shared *shared, const char *options)
{
  if (g_test_rand_bit ())
    {
      fsc_test_stage_kill (stage);
      fsc_test_stage_start (stage, options);
      return;
    }
  fsc_test_service_kill (stage->service);
  set (&shared->dead_since, g_get_monotonic_time ());
  g_usleep ((gulong) g_test_rand_int_range (0, 2 * DEAD_MS * 1000));
  set (&shared->dead_since, 0);
  fsc_test_service_start (stage->service);
}

/* What is current now is to be had again, soon. */
static void
wait_for_current (const Run *run)
{
  gint64 current = get (&run->shared->current);
  gint64 until = g_get_monotonic_time () + BOUND_MS * 1000;

  for (;;)
    {
      int fd;
      gint64 version = check_open (run, &fd);

      if (fd >= 0)
        close (fd);
      if (version >= current)
        return;
      g_assert_cmpint (g_get_monotonic_time (), <, until);
      g_usleep (1000);
    }
}

static pid_t
start (const Run *run, void (*func) (const Run *run))
{
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid != 0)
    return pid;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  func (run);
  _exit (1);
}

/* Without fusermount3, which might unmount the next view for the one that was killed. */
static void
test_random (FscTestStage *stage, gboolean is_exact)
{
  const char *options = is_exact ? "no_auto_unmount,exact" : "no_auto_unmount";
  Run run = { .stage = stage, .bound = is_exact ? 0 : BOUND_MS * 1000 };
  pid_t pids[1 + READERS];

  run.shared
      = mmap (NULL, sizeof (Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  g_assert_true (run.shared != MAP_FAILED);
  replace (&run);
  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, options);
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    pids[i] = start (&run, i == 0 ? run_writer : run_reader);
  for (guint i = 0; i < fsc_test_scale (KILLS); i++)
    {
      g_usleep ((gulong) g_test_rand_int_range (0, 200000));
      kill_something (stage, run.shared, options);
      wait_for_current (&run);
      for (guint j = 0; j < G_N_ELEMENTS (pids); j++)
        g_assert_cmpint (waitpid (pids[j], NULL, WNOHANG), ==, 0);
    }
  g_test_message ("%" G_GINT64_FORMAT " versions", get (&run.shared->current));
  for (guint i = 0; i < G_N_ELEMENTS (pids); i++)
    {
      g_assert_no_errno (kill (pids[i], SIGKILL));
      waitpid (pids[i], NULL, 0);
    }
  munmap (run.shared, sizeof (Shared));
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD_BOTH ("/view-crash/random", test_random);
  return g_test_run ();
}
