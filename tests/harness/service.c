/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A private fscached for a test; see service.h.
 */
#include "tests/harness/service.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/descriptors.h"
#include "tests/harness/directory.h"
#include "tests/harness/raw.h"

#define ANYBODY 54321    /* a user and a group that own nothing */
#define START_SECONDS 20 /* sanitizers and valgrind are slow */

char *
fsc_test_build_path (const char *name)
{
  const char *dir = g_getenv ("FSC_TEST_BUILD_DIR");

  return g_build_filename (dir != NULL ? dir : FSC_BUILD_DIR, name, NULL);
}

gboolean
fsc_test_is_for_all (const char *name)
{
  g_autofree char *program = fsc_test_build_path (name);
  int status = -1;
  pid_t pid = fork ();

  if (pid == 0)
    _exit (setgroups (0, NULL) < 0 || setgid (ANYBODY) < 0 || setuid (ANYBODY) < 0
           || access (program, X_OK) < 0);
  waitpid (pid, &status, 0);
  return status == 0;
}

/* Processes */

static pid_t
get_parent (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/stat", pid);
  g_autofree char *content = NULL;
  const char *after;
  char state;
  int parent;

  if (!g_file_get_contents (path, &content, NULL, NULL))
    return 0;
  after = strrchr (content, ')'); /* the name may hold anything */
  if (after == NULL || sscanf (after + 1, " %c %d", &state, &parent) != 2 || state == 'Z')
    return 0;
  return parent;
}

pid_t
fsc_test_fork_as (uid_t uid, const gid_t *groups, size_t n_groups)
{
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid != 0)
    return pid;
  if (setgroups (n_groups, groups) < 0 || setresgid (uid, uid, uid) < 0
      || setresuid (uid, uid, uid) < 0)
    _exit (2);
  return 0;
}

void
fsc_test_assert_ends_well (pid_t pid)
{
  int status;

  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

GArray *
fsc_test_list_children (pid_t pid)
{
  GArray *children = g_array_new (FALSE, FALSE, sizeof (pid_t));
  g_autoptr (GDir) dir = g_dir_open ("/proc", 0, NULL);
  const char *name;

  while (pid > 0 && (name = g_dir_read_name (dir)) != NULL)
    {
      pid_t child = atoi (name);

      if (child > 0 && get_parent (child) == pid)
        g_array_append_val (children, child);
    }
  return children;
}

GArray *
fsc_test_service_list_openers (FscTestService *service)
{
  GArray *openers = g_array_new (FALSE, FALSE, sizeof (pid_t));
  g_autoptr (GArray) spawners = fsc_test_list_children (service->pid);

  for (guint i = 0; i < spawners->len; i++)
    {
      g_autoptr (GArray) children = fsc_test_list_children (g_array_index (spawners, pid_t, i));

      g_array_append_vals (openers, children->data, children->len);
    }
  return openers;
}

static gboolean
is_running (pid_t pid)
{
  return get_parent (pid) != 0;
}

void
fsc_test_assert_all_end (GArray *pids)
{
  for (guint i = 0; i < pids->len; i++)
    {
      pid_t pid = g_array_index (pids, pid_t, i);

      for (int n = 0; is_running (pid) && n < 300; n++)
        g_usleep (10000);
      g_assert_false (is_running (pid));
    }
}

/* Starting and stopping */

static long count_others (FscTestService *service);

static void
show_log (FscTestService *service)
{
  g_autofree char *log = NULL;

  g_file_get_contents (service->log, &log, NULL, NULL);
  g_test_message ("The service has logged: %s", log);
}

/* Whether it is this one that listens, not one that it is to replace. */
static gboolean
listens (FscTestService *service)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  struct ucred peer = { 0 };
  socklen_t length = sizeof peer;
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, service->socket, sizeof address.sun_path);
  if (connect (fd, (const struct sockaddr *) &address, sizeof address) == 0)
    getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
  if (peer.pid == service->pid)
    fsc_test_raw_say_hello (fd, FALSE); /* who has not is disconnected in a thread, some time */
  close (fd);
  return peer.pid == service->pid;
}

static gboolean
answers (FscTestService *service)
{
  FscacheClient *client;
  gboolean good;

  if (!listens (service))
    return FALSE;
  if (fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &client) < 0)
    {
      fscache_disconnect (client);
      return FALSE;
    }
  good = fscache_ping (client, NULL) == 0;
  fscache_disconnect (client);
  return good;
}

static void
run (FscTestService *service)
{
  g_autoptr (GPtrArray) arguments = g_ptr_array_new ();
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  int log = open (service->log, O_WRONLY | O_CREAT | O_APPEND, 0600);

  g_ptr_array_add (arguments, program);
  g_ptr_array_add (arguments, (char *) "--socket");
  g_ptr_array_add (arguments, service->socket);
  g_ptr_array_add (arguments, (char *) "--config");
  g_ptr_array_add (arguments, service->config);
  g_ptr_array_add (arguments, (char *) "--verbose");
  for (guint i = 0; service->arguments != NULL && service->arguments[i] != NULL; i++)
    g_ptr_array_add (arguments, service->arguments[i]);
  g_ptr_array_add (arguments, NULL);
  if (service->opener_dir == NULL)
    service->opener_dir = fsc_test_build_path ("fscache/openers");

  service->pid = fork ();
  g_assert_cmpint (service->pid, >=, 0);
  if (service->pid == 0)
    {
      struct rlimit limit = { service->max_descriptors, service->max_descriptors };

      prctl (PR_SET_PDEATHSIG, SIGKILL);
      if (service->max_descriptors > 0)
        setrlimit (RLIMIT_NOFILE, &limit);
      dup2 (log, 1);
      dup2 (log, 2);
      g_setenv ("FSCACHE_OPENER_DIR", service->opener_dir, TRUE);
      if (service->set_up != NULL)
        service->set_up (service->set_up_data);
      execv (program, (char **) arguments->pdata);
      _exit (127);
    }
  close (log);
}

void
fsc_test_service_start (FscTestService *service)
{
  gboolean is_up = FALSE;

  g_assert_cmpint (service->pid, ==, 0);
  run (service);
  for (int n = 0; !is_up && n < START_SECONDS * 1000; n++)
    {
      is_up = answers (service);
      if (!is_up)
        g_usleep (1000);
    }
  if (!is_up)
    show_log (service);
  g_assert_true (is_up);
  if (service->base == 0) /* later there may be others, who come and go while this counts */
    service->base = count_others (service);
}

/* How long a process, or what is left of it, has waited for a processor: that is not its fault. */
static gint64
get_run_delay (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/schedstat", pid);
  g_autofree char *content = NULL;
  guint64 on_cpu, delay = 0;

  if (g_file_get_contents (path, &content, NULL, NULL))
    sscanf (content, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &on_cpu, &delay);
  return (gint64) (delay / 1000);
}

/* Returns how long it took, in microseconds. */
static gint64
end (FscTestService *service, int number, int expected_status)
{
  g_autoptr (GArray) children = fsc_test_list_children (service->pid);
  g_autoptr (GArray) openers = fsc_test_service_list_openers (service);
  siginfo_t info = { 0 };
  int status = 0;
  gint64 since, took;

  took = -get_run_delay (service->pid);
  since = g_get_monotonic_time ();
  g_assert_cmpint (kill (service->pid, number), ==, 0);
  for (int n = 0; info.si_pid == 0 && n < 1000; n++)
    {
      g_assert_no_errno (waitid (P_PID, (id_t) service->pid, &info, WEXITED | WNOHANG | WNOWAIT));
      if (info.si_pid == 0)
        g_usleep (n < 100 ? 1000 : 10000);
    }
  g_assert_cmpint (info.si_pid, ==, service->pid);
  took = g_get_monotonic_time () - since - (took + get_run_delay (service->pid));
  g_assert_cmpint (waitpid (service->pid, &status, 0), ==, service->pid);
  if (status != expected_status)
    show_log (service);
  g_assert_cmpint (status, ==, expected_status);
  service->pid = 0;
  fsc_test_assert_all_end (children);
  fsc_test_assert_all_end (openers);
  return took;
}

void
fsc_test_service_stop_with (FscTestService *service, int number)
{
  gint64 took = end (service, number, 0);

  if (g_getenv ("FSC_TEST_SLOW") == NULL)
    g_assert_cmpint (took, <, G_USEC_PER_SEC);
}

void
fsc_test_service_stop (FscTestService *service)
{
  fsc_test_service_stop_with (service, SIGTERM);
}

void
fsc_test_service_kill (FscTestService *service)
{
  end (service, SIGKILL, SIGKILL);
}

/* Looking */

FscacheClient *
fsc_test_service_connect (FscTestService *service)
{
  FscacheClient *client;

  g_assert_cmpint (fscache_connect (service->socket, FSCACHE_NO_FALLBACK, &client), ==, 0);
  return client;
}

typedef struct
{
  const char *name;
  guint64 value;
  gboolean is_found;
} Wanted;

static void
look_for (const char *name, uint64_t value, void *data)
{
  Wanted *wanted = data;

  if (!g_str_equal (name, wanted->name))
    return;
  wanted->value = value;
  wanted->is_found = TRUE;
}

static guint64
get_counter (FscacheClient *client, const char *name)
{
  Wanted wanted = { .name = name };

  g_assert_cmpint (fscache_status (client, look_for, &wanted, NULL), ==, 0);
  g_assert_true (wanted.is_found);
  return wanted.value;
}

guint64
fsc_test_service_counter (FscTestService *service, const char *name)
{
  FscacheClient *client = fsc_test_service_connect (service);
  guint64 value = get_counter (client, name);

  fscache_disconnect (client);
  return value;
}

void
fsc_test_service_wait_for (FscTestService *service, const char *name, guint64 value)
{
  guint64 found = fsc_test_service_counter (service, name);

  for (int i = 0; found != value && i < 500; i++)
    {
      g_usleep (10000);
      found = fsc_test_service_counter (service, name);
    }
  g_assert_cmpuint (found, ==, value);
}

static long
count_descriptors (pid_t pid, long *n_inotify)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd", pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;
  long n = 0;

  g_assert_nonnull (dir);
  for (*n_inotify = 0; (name = g_dir_read_name (dir)) != NULL; n++)
    {
      g_autofree char *link = g_build_filename (path, name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      *n_inotify += g_strcmp0 (target, "anon_inode:inotify") == 0;
    }
  return n;
}

/* Beside the generation table, if the user may have an inotify instance: that, and what it takes to
 * wait for it and for mounts. */
#define DESCRIPTORS_OF_A_WATCH 4

/* What the service has open beyond what can be accounted for. */
static long
count_others (FscTestService *service)
{
  FscacheClient *client = fsc_test_service_connect (service);
  long n_inotify;
  long n = count_descriptors (service->pid, &n_inotify) - (long) get_counter (client, "clients")
           - (long) get_counter (client, "openers") - (long) get_counter (client, "handles")
           + (long) get_counter (client, "held") - (long) get_counter (client, "users")
           - DESCRIPTORS_OF_A_WATCH * n_inotify;

  fscache_disconnect (client);
  return n;
}

/* What a number alone would not tell. */
static void
show_descriptors (FscTestService *service)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/fd", service->pid);
  g_autoptr (GDir) dir = g_dir_open (path, 0, NULL);
  const char *name;

  while (dir != NULL && (name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *link = g_build_filename (path, name, NULL);
      g_autofree char *target = g_file_read_link (link, NULL);

      g_test_message ("descriptor %s: %s", name, target);
    }
}

long
fsc_test_service_count_left (FscTestService *service)
{
  long others = count_others (service);

  for (int i = 0; others != service->base && i < 500; i++)
    {
      g_usleep (10000);
      others = count_others (service);
    }
  return others - service->base;
}

void
fsc_test_service_check_descriptors (FscTestService *service)
{
  long left = fsc_test_service_count_left (service);

  if (left != 0)
    show_descriptors (service);
  g_assert_cmpint (left, ==, 0);
}

void
fsc_test_write (const char *path, const char *content)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

  g_assert_cmpint (fd, >=, 0);
  g_assert_cmpint (write (fd, content, strlen (content)), ==, strlen (content));
  close (fd);
}

char *
fsc_test_service_write (FscTestService *service, const char *name, const char *content)
{
  char *path = g_build_filename (service->dir, name, NULL);

  fsc_test_write (path, content);
  return path;
}

/* Life */

FscTestService *
fsc_test_service_prepare (const char *config, const char *const *arguments)
{
  FscTestService *service = g_new0 (FscTestService, 1);

  service->descriptors = fsc_test_list_descriptors ();
  service->dir = fsc_test_directory_new (&service->lock);
  service->socket = g_build_filename (service->dir, "run", "socket", NULL);
  service->log = g_build_filename (service->dir, "log", NULL);
  service->config = fsc_test_service_write (service, "fscached.conf", config != NULL ? config : "");
  service->arguments = g_strdupv ((char **) arguments);
  return service;
}

FscTestService *
fsc_test_service_new (const char *config, const char *const *arguments)
{
  FscTestService *service = fsc_test_service_prepare (config, arguments);

  fsc_test_service_start (service);
  return service;
}

/* What no test provokes: a broken promise of GLib's callers, or what a sanitizer found in the
 * service or in an opener. */
static void
check_log (FscTestService *service)
{
  static const char *const faults[] = { "CRITICAL", "ERROR:", "Sanitizer", "runtime error" };
  g_autofree char *log = NULL;

  g_file_get_contents (service->log, &log, NULL, NULL);
  for (guint i = 0; log != NULL && i < G_N_ELEMENTS (faults); i++)
    if (strstr (log, faults[i]) != NULL)
      {
        show_log (service);
        g_test_fail ();
        return;
      }
}

void
fsc_test_service_free (FscTestService *service)
{
  if (service->pid != 0)
    {
      FscacheClient *client = fsc_test_service_connect (service);

      g_assert_cmpint (fscache_drop_matching (client, "*", NULL), >=, 0);
      fscache_disconnect (client);
      fsc_test_service_check_descriptors (service);
      fsc_test_service_stop (service);
    }
  check_log (service);
  fsc_test_directory_free (service->dir, service->lock);
  fsc_test_assert_descriptors (service->descriptors);
  g_strfreev (service->arguments);
  g_free (service->opener_dir);
  g_free (service->socket);
  g_free (service->config);
  g_free (service->log);
  g_free (service);
}

void
fsc_test_service_run (gconstpointer func)
{
  FscTestService *service = fsc_test_service_new (NULL, NULL);

  ((FscTestServiceFunc) func) (service);
  fsc_test_service_free (service);
}

void
fsc_test_service_ctl (FscTestService *service, FscTestProgram *result, const char *const *words)
{
  g_autofree char *program = fsc_test_build_path ("fscache/ctl/fscachectl");
  g_autoptr (GPtrArray) arguments = g_ptr_array_new ();

  g_ptr_array_add (arguments, program);
  g_ptr_array_add (arguments, (char *) "--socket");
  g_ptr_array_add (arguments, service->socket);
  for (; *words != NULL; words++)
    g_ptr_array_add (arguments, (char *) *words);
  g_ptr_array_add (arguments, NULL);
  fsc_test_program_run (result, service->dir, (const char *const *) arguments->pdata);
}
