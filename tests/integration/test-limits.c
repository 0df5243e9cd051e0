/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Limits of a service that runs: changed and asked for, with fscachectl and through the library,
 * and what goes when they are lowered.
 */
#include <errno.h>
#include <fcntl.h>
#include <json-glib/json-glib.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define N_FILES 60

static void
open_it (FscacheClient *client, const char *path)
{
  FscacheReply reply;

  if (fscache_open (client, path, O_RDONLY, &reply) < 0)
    g_test_message ("%s", reply.message);
  g_assert_cmpint (reply.fd, >=, 0);
  fscache_reply_clear (client, &reply);
}

static void
open_files (FscTestService *service, FscacheClient *client, guint from, guint to)
{
  for (guint i = from; i < to; i++)
    {
      g_autofree char *name = g_strdup_printf ("file-%u", i);
      g_autofree char *path = fsc_test_service_write (service, name, "x");

      open_it (client, path);
    }
}

static void
run_set (FscTestService *service, FscTestProgram *program, const char *option, const char *name,
         const char *value)
{
  g_autofree char *ctl = fsc_test_build_path ("fscache/ctl/fscachectl");
  const char *arguments[8] = { ctl, "--socket", service->socket, "set" };
  guint n = 4;

  if (option != NULL)
    arguments[n++] = option;
  if (name != NULL)
    arguments[n++] = name;
  if (value != NULL)
    arguments[n++] = value;
  fsc_test_program_run (program, NULL, arguments);
}

/* fscachectl set NAME VALUE prints, among others, `line`. */
static void
assert_sets (FscTestService *service, const char *name, const char *value, const char *line)
{
  g_auto (FscTestProgram) program = { 0 };

  run_set (service, &program, NULL, name, value);
  fsc_test_program_assert_exit (&program, 0);
  g_assert_cmpstr (program.error, ==, "");
  if (strstr (program.out, line) == NULL)
    g_test_message ("%s", program.out);
  g_assert_nonnull (strstr (program.out, line));
}

/* It exits with `status`, prints nothing, and says why in one line that has `part` in it. */
static void
assert_refuses (FscTestService *service, const char *name, const char *value, int status,
                const char *part)
{
  g_auto (FscTestProgram) program = { 0 };

  run_set (service, &program, NULL, name, value);
  fsc_test_program_assert_exit (&program, status);
  g_test_message ("%s", program.error);
  g_assert_cmpstr (program.out, ==, "");
  g_assert_true (g_str_has_prefix (program.error, "fscachectl: "));
  g_assert_nonnull (strstr (program.error, part));
  g_assert_true (strchr (program.error, '\n') == program.error + strlen (program.error) - 1);
}

static void
test_lower (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *pinned = fsc_test_service_write (service, "pinned", "x");

  g_assert_cmpint (fscache_pin (client, pinned, NULL), ==, 0);
  open_files (service, client, 0, N_FILES);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, N_FILES + 1);

  assert_sets (service, "max-handles", "10", "max-handles  10\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 10);
  g_assert_cmpuint (fsc_test_service_counter (service, "max_handles"), ==, 10);
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), ==, N_FILES + 1 - 10);
  g_assert_cmpint (fscache_info (client, pinned, NULL, NULL, NULL), ==, 1);
  fsc_test_service_check_descriptors (service);

  /* It holds for what comes, and can be raised again. */
  open_files (service, client, N_FILES, 2 * N_FILES);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 10);
  assert_sets (service, "max-handles", "1", "max-handles  1\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  open_files (service, client, 0, 5); /* there is no room beside the pinned one: they are passed */
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 1);
  assert_sets (service, "max-handles", "50", "max-handles  50\n");
  open_files (service, client, 0, N_FILES);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 50);
  g_assert_cmpint (fscache_info (client, pinned, NULL, NULL, NULL), ==, 1);
  fscache_disconnect (client);
}

/* What has been idle for longer than the new time goes at once; and what is so later, soon. */
static void
test_idle_time (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);

  assert_sets (service, "idle-time", "0", "idle-time    0\n");
  open_files (service, client, 0, N_FILES);
  g_usleep (50 * 1000);
  assert_sets (service, "idle-time", "0.02", "idle-time    0.02\n");
  g_assert_cmpuint (fsc_test_service_counter (service, "idle_time_ms"), ==, 20);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, 0);
  open_files (service, client, 0, N_FILES);
  fsc_test_service_wait_for (service, "handles", 0);
  assert_sets (service, "idle-time", "600", "idle-time    600\n");
  fscache_disconnect (client);
}

static void
test_print (FscTestService *service)
{
  g_auto (FscTestProgram) program = { 0 }, as_json = { 0 };
  g_autoptr (JsonParser) parser = json_parser_new ();
  JsonObject *object;

  assert_sets (service, "max-bytes", "512M", "max-bytes    536870912\n");
  assert_sets (service, "idle-time", "1.5", "idle-time    1.5\n");
  assert_sets (service, "max-handles", "100", "max-handles  100\n");
  run_set (service, &program, NULL, NULL, NULL);
  fsc_test_program_assert_exit (&program, 0);
  g_assert_cmpstr (program.out, ==, "max-handles  100\nmax-bytes    536870912\nidle-time    1.5\n");

  run_set (service, &as_json, "--json", NULL, NULL);
  fsc_test_program_assert_exit (&as_json, 0);
  g_assert_true (json_parser_load_from_data (parser, as_json.out, -1, NULL));
  object = json_node_get_object (json_parser_get_root (parser));
  g_assert_cmpint (json_object_get_int_member (object, "max_handles"), ==, 100);
  g_assert_cmpint (json_object_get_int_member (object, "max_bytes"), ==, 536870912);
  g_assert_cmpint (json_object_get_int_member (object, "idle_time_ms"), ==, 1500);
  g_assert_cmpuint (fsc_test_service_counter (service, "max_bytes"), ==, 536870912);
  assert_sets (service, "max-bytes", "0", "max-bytes    0\n");
}

static void
test_refused (FscTestService *service)
{
  g_autofree char *number = NULL, *bounds = NULL;
  guint64 max_handles = fsc_test_service_counter (service, "max_handles");
  guint64 evictions = fsc_test_service_counter (service, "evictions");

  assert_refuses (service, "max-handles", "0", 1, "max-handles cannot be 0: it is from 1 to ");
  assert_refuses (service, "max-handles", "18446744073709551615", 1, "max-handles cannot be 1844");
  assert_refuses (service, "max-handles", "999999999", 1, "RLIMIT_NOFILE");
  assert_refuses (service, "max-bytes", "1000000T", 1,
                  "max-bytes cannot be 1099511627776000000: it is from 0 to 1000000000000000");
  assert_refuses (service, "idle-time", "1000000000.5", 1,
                  "idle-time cannot be 1000000000.500 s: it is from 0 s to 1000000000 s");

  assert_refuses (service, "max-handles", "many", 2, "\"many\" is not a number of handles");
  assert_refuses (service, "max-handles", "1K", 2, "\"1K\"");
  assert_refuses (service, "max-handles", "-1", 2, "-1");
  assert_refuses (service, "max-handles", " 1", 2, "\" 1\"");
  assert_refuses (service, "max-handles", "18446744073709551616", 2, "is not a number");
  assert_refuses (service, "max-bytes", "1Kb", 2, "such as 512M");
  assert_refuses (service, "max-bytes", "20000000T", 2, "is not a number of bytes");
  assert_refuses (service, "idle-time", "1m", 2, "is not a number of seconds");
  assert_refuses (service, "idle-time", "nan", 2, "is not a number of seconds");
  assert_refuses (service, "idle-time", "1e300", 2, "is not a number of seconds");
  assert_refuses (service, "max-handles", NULL, 2, "max-handles needs a value");
  assert_refuses (service, "max-clients", "5", 2, "there is no limit \"max-clients\"");
  assert_refuses (service, "max-clients", NULL, 2, "max-handles, max-bytes, idle-time");
  assert_refuses (service, "", "5", 2, "is empty");

  /* Nothing has changed. */
  g_assert_cmpuint (fsc_test_service_counter (service, "max_handles"), ==, max_handles);
  g_assert_cmpuint (fsc_test_service_counter (service, "max_bytes"), ==, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "idle_time_ms"), ==, 600000);
  g_assert_cmpuint (fsc_test_service_counter (service, "evictions"), ==, evictions);

  /* The bounds that it states are those that it has. */
  bounds = g_strdup_printf ("%" G_GUINT64_FORMAT, max_handles);
  number = g_strdup_printf ("max-handles  %" G_GUINT64_FORMAT "\n", max_handles);
  assert_sets (service, "max-handles", bounds, number);
}

static void
count_limit (const char *name, uint64_t value, void *data)
{
  if (strcmp (name, "max-handles") == 0)
    g_assert_cmpuint (value, >, 0);
  else if (strcmp (name, "max-bytes") != 0)
    g_assert_cmpstr (name, ==, "idle-time");
  ++*(guint *) data;
}

static void
test_library (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  g_autofree char *long_name = g_strnfill (65, 'x');
  FscacheReply reply;
  guint n = 0;

  g_assert_cmpint (fscache_set (client, NULL, 0, count_limit, &n, &reply), ==, 0);
  g_assert_cmpuint (n, ==, 3);
  g_assert_cmpint (fscache_set (client, "max-bytes", 5, NULL, NULL, NULL), ==, 0);
  g_assert_cmpint (fscache_set (client, "max-bytes", 0, count_limit, &n, NULL), ==, 0);
  g_assert_cmpuint (n, ==, 6);

  g_assert_cmpint (fscache_set (client, "max-penguins", 5, count_limit, &n, &reply), ==, -EINVAL);
  g_assert_cmpint (reply.code, ==, FSCACHE_ERROR_BAD_REQUEST);
  g_assert_nonnull (strstr (reply.message, "no limit \"max-penguins\""));
  g_assert_cmpint (fscache_set (client, "max\nhandles", 5, count_limit, &n, &reply), ==, -EINVAL);
  g_assert_cmpint (fscache_set (client, "max-handles", 0, count_limit, &n, &reply), ==, -EINVAL);
  g_assert_nonnull (strstr (reply.message, "from 1 to"));
  g_assert_cmpint (fscache_set (client, "idle-time", UINT64_MAX, NULL, NULL, &reply), ==, -EINVAL);
  g_assert_cmpint (fscache_set (client, long_name, 5, NULL, NULL, &reply), ==, -EINVAL);
  g_assert_nonnull (strstr (reply.message, "limit"));
  g_assert_cmpint (fscache_set (client, "", 5, NULL, NULL, NULL), ==, -EINVAL);
  g_assert_cmpint (fscache_set (client, NULL, 5, NULL, NULL, NULL), ==, -EINVAL);
  g_assert_cmpuint (n, ==, 6);
  g_assert_cmpint (fscache_ping (client, NULL), ==, 0);
  fscache_disconnect (client);
}

static void
test_configured (void)
{
  FscTestService *service = fsc_test_service_new (
      "[service]\nmax-handles=20\nmax-clients=20\n[cache]\nmax-bytes=3K\nidle-time=7\n"
      "pressure=no\n",
      NULL);
  FscacheClient *client = fsc_test_service_connect (service);

  g_assert_cmpuint (fsc_test_service_counter (service, "max_bytes"), ==, 3072);
  g_assert_cmpuint (fsc_test_service_counter (service, "idle_time_ms"), ==, 7000);
  g_assert_cmpuint (fsc_test_service_counter (service, "pressure_evictions"), ==, 0);

  /* max-handles may be raised beyond what was configured, not beyond the descriptors. */
  assert_sets (service, "max-handles", "100", "max-handles  100\n");
  open_files (service, client, 0, N_FILES);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), ==, N_FILES);

  /* Until it ends. */
  fscache_disconnect (client);
  fsc_test_service_stop (service);
  fsc_test_service_start (service);
  g_assert_cmpuint (fsc_test_service_counter (service, "max_handles"), ==, 20);
  fsc_test_service_free (service);
}

/* Memory pressure that is real: processes that together use more of a file than their control group
 * may have in memory. */

#define GROUP_BYTES (24 << 20)
#define HOG_BYTES (96 << 20)
#define N_HOGS 4

static gboolean
write_to (const char *dir, const char *name, const char *text)
{
  g_autofree char *path = g_build_filename (dir, name, NULL);
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  gboolean is_done = fd >= 0 && write (fd, text, strlen (text)) > 0;

  if (fd >= 0)
    close (fd);
  return is_done;
}

/* Makes a control group with little memory; returns NULL where that cannot be had. */
static char *
make_group (void)
{
  static const struct
  {
    const char *parent, *limit;
  } kinds[] = {
    { "/sys/fs/cgroup/memory", "memory.limit_in_bytes" },
    { "/sys/fs/cgroup", "memory.max" },
  };
  g_autofree char *limit = g_strdup_printf ("%d", GROUP_BYTES);

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *dir
          = g_strdup_printf ("%s/fscache-test-%d", kinds[i].parent, (int) getpid ());

      if (mkdir (dir, 0700) < 0)
        continue;
      if (write_to (dir, kinds[i].limit, limit))
        return g_steal_pointer (&dir);
      rmdir (dir);
    }
  return NULL;
}

static void
hog (const char *group, int fd)
{
  const char *memory;

  if (!write_to (group, "cgroup.procs", "0"))
    _exit (1);
  memory = mmap (NULL, HOG_BYTES, PROT_READ, MAP_SHARED, fd, 0);
  srandom ((unsigned) getpid ());
  for (volatile char byte;; (void) byte)
    byte = memory[random () % HOG_BYTES];
}

static void
test_pressure (void)
{
  g_autofree char *group = NULL, *path = NULL;
  FscTestService *service;
  FscacheClient *client;
  pid_t hogs[N_HOGS];
  int fd;

  if (g_getenv ("FSCACHE_TEST_PRESSURE") == NULL)
    {
      g_test_skip ("it makes the machine short of memory for seconds: only with "
                   "FSCACHE_TEST_PRESSURE=1");
      return;
    }
  group = make_group ();
  if (group == NULL)
    {
      g_test_skip ("no control group with a limit of memory can be made");
      return;
    }

  service = fsc_test_service_new (NULL, NULL);
  client = fsc_test_service_connect (service);
  open_files (service, client, 0, N_FILES);
  path = g_build_filename (service->dir, "large", NULL);
  fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  g_assert_cmpint (posix_fallocate (fd, 0, HOG_BYTES), ==, 0);
  for (off_t at = 0; at < HOG_BYTES; at += 4096) /* else no page has to be read */
    g_assert_cmpint (pwrite (fd, "x", 1, at), ==, 1);
  g_assert_cmpint (fsync (fd), ==, 0);
  posix_fadvise (fd, 0, 0, POSIX_FADV_DONTNEED);
  for (guint i = 0; i < N_HOGS; i++)
    {
      hogs[i] = fork ();
      if (hogs[i] == 0)
        hog (group, fd);
    }

  for (guint i = 0; i < 300 && fsc_test_service_counter (service, "pressure_evictions") == 0; i++)
    g_usleep (100 * 1000);

  for (guint i = 0; i < N_HOGS; i++)
    {
      kill (hogs[i], SIGKILL);
      g_assert_cmpint (waitpid (hogs[i], NULL, 0), ==, hogs[i]);
    }
  close (fd);
  g_assert_cmpuint (fsc_test_service_counter (service, "pressure_evictions"), >, 0);
  g_assert_cmpuint (fsc_test_service_counter (service, "handles"), <, N_FILES);
  g_assert_cmpint (rmdir (group), ==, 0);
  fscache_disconnect (client);
  fsc_test_service_free (service);
}

/* Without a service it says so, and fails. */
static void
test_no_service (void)
{
  FscTestService *service = fsc_test_service_prepare (NULL, NULL);
  g_auto (FscTestProgram) program = { 0 };

  run_set (service, &program, NULL, NULL, NULL);
  fsc_test_program_assert_exit (&program, 1);
  g_assert_cmpstr (program.out, ==, "");
  g_assert_true (g_str_has_prefix (program.error, "fscachectl: "));
  fsc_test_service_start (service);
  fsc_test_service_free (service);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  FSC_TEST_ADD ("/limits/lower", test_lower);
  FSC_TEST_ADD ("/limits/idle-time", test_idle_time);
  FSC_TEST_ADD ("/limits/print", test_print);
  FSC_TEST_ADD ("/limits/refused", test_refused);
  FSC_TEST_ADD ("/limits/library", test_library);
  g_test_add_func ("/limits/configured", test_configured);
  g_test_add_func ("/limits/pressure", test_pressure);
  g_test_add_func ("/limits/no-service", test_no_service);
  return g_test_run ();
}
