/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The service under systemd, or rather under a manager of the tests' own that says and hears what
 * systemd does: it passes the listening socket, keeps it while there is no service, and is told how
 * the service is.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/harness/program.h"
#include "tests/harness/service.h"
#include "tests/harness/tap.h"

#define KILLS 20
#define BACK_MS 500
#define GREETINGS 5
#define GOING_US 100000
#define WATCHDOG_US 200000

typedef struct
{
  FscTestService *service;
  int notices;         /* the socket that it hears at */
  char *place;         /* of that */
  int passed;          /* what is passed, or -1 */
  guint n_passed;      /* how many times that */
  gboolean is_awaited; /* a sign of life is expected */
} Manager;

static int
make_socket (const char *path, int type)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, type | SOCK_CLOEXEC, 0);

  g_strlcpy (address.sun_path, path, sizeof address.sun_path);
  g_assert_no_errno (bind (fd, (const struct sockaddr *) &address, sizeof address));
  return fd;
}

/* In the service's process, before its program. (g_setenv() complains where there are threads.) */
static void
pass (gpointer data)
{
  const Manager *manager = data;
  char number[32];

  for (guint i = 0; i < manager->n_passed; i++)
    dup2 (manager->passed, 3 + (int) i);
  snprintf (number, sizeof number, "%d", getpid ());
  setenv ("LISTEN_PID", number, TRUE);
  snprintf (number, sizeof number, "%u", manager->n_passed);
  setenv ("LISTEN_FDS", number, TRUE);
  setenv ("LISTEN_FDNAMES", "fscached.socket", TRUE);
  setenv ("NOTIFY_SOCKET", manager->place, TRUE);
  snprintf (number, sizeof number, "%d", WATCHDOG_US);
  if (manager->is_awaited)
    setenv ("WATCHDOG_USEC", number, TRUE);
}

/* What is passed is at a number that no copy of it is put at. */
static int
move_up (int fd)
{
  int moved = fcntl (fd, F_DUPFD_CLOEXEC, 100);

  g_assert_cmpint (moved, >=, 0);
  close (fd);
  return moved;
}

/* A manager, and a service that it has not started yet. */
static Manager *
manager_new (void)
{
  Manager *manager = g_new0 (Manager, 1);

  manager->service = fsc_test_service_prepare (NULL, NULL);
  manager->service->set_up = pass;
  manager->service->set_up_data = manager;
  manager->place = g_build_filename (manager->service->dir, "notices", NULL);
  manager->notices = make_socket (manager->place, SOCK_DGRAM);
  manager->passed = -1;
  return manager;
}

/* Makes the socket that is passed, where the service is to be. */
static void
listen_for (Manager *manager, int type)
{
  g_autofree char *directory = g_path_get_dirname (manager->service->socket);

  g_assert_no_errno (mkdir (directory, 0700));
  manager->passed = move_up (make_socket (manager->service->socket, type));
  manager->n_passed = 1;
  if (type != SOCK_DGRAM)
    g_assert_no_errno (listen (manager->passed, 64));
}

static void
manager_free (Manager *manager)
{
  FscTestService *service = manager->service;

  close (manager->notices);
  if (manager->passed >= 0)
    close (manager->passed);
  fsc_test_service_free (service);
  g_free (manager->place);
  g_free (manager);
}

/* The next that the service says; fails if there is nothing within this time. */
static char *
hear (Manager *manager, int ms)
{
  struct pollfd poll_fd = { manager->notices, POLLIN, 0 };
  char text[4096] = { 0 };

  g_assert_cmpint (poll (&poll_fd, 1, ms), ==, 1);
  g_assert_cmpint (recv (manager->notices, text, sizeof text - 1, 0), >, 0);
  return g_strdup (text);
}

static void
assert_hears (Manager *manager, const char *pattern)
{
  g_autofree char *text = hear (manager, 5000);

  if (!g_pattern_match_simple (pattern, text))
    g_test_message ("heard: %s", text);
  g_assert_true (g_pattern_match_simple (pattern, text));
}

static void
assert_silent (Manager *manager, int ms)
{
  struct pollfd poll_fd = { manager->notices, POLLIN, 0 };

  g_assert_cmpint (poll (&poll_fd, 1, ms), ==, 0);
}

/* It ends with this sentence, and was never ready. */
static void
assert_refused (Manager *manager, const char *place, const char *sentence)
{
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  g_autofree char *error = NULL;
  g_autoptr (GError) failure = NULL;
  const char *const words[]
      = { program, "--socket", place, "--config", manager->service->config, NULL };
  int status;

  g_spawn_sync (NULL, (char **) words, NULL, G_SPAWN_DEFAULT, pass, manager, NULL, &error, &status,
                &failure);
  g_assert_no_error (failure);
  g_assert_cmpint (status, ==, 1 << 8);
  if (strstr (error, sentence) == NULL)
    g_test_message ("%s", error);
  g_assert_nonnull (strstr (error, sentence));
  assert_silent (manager, 0);
}

/* Ready is what answers; nothing is said that was not asked for. */
static void
test_ready (void)
{
  Manager *manager = manager_new ();
  FscTestService *service = manager->service;
  g_autofree char *wanted
      = g_strdup_printf ("READY=1\nSTATUS=Serving %s, up to * clients", service->socket);

  fsc_test_service_start (service);
  assert_hears (manager, wanted);
  assert_silent (manager, 300);
  fsc_test_service_stop (service);
  assert_hears (manager, "STOPPING=1\n*");
  g_assert_false (g_file_test (service->socket, G_FILE_TEST_EXISTS));
  manager_free (manager);
}

static void
write_config (const Manager *manager, const char *text)
{
  g_autoptr (GError) error = NULL;

  g_file_set_contents (manager->service->config, text, -1, &error);
  g_assert_no_error (error);
}

/* Reloading begins with the time and ends in being ready, also with what is no good. */
static void
test_reloading (void)
{
  const char *const texts[] = { "[service]\nmax-handles=123\n", "[limits]\nmax-handles=none\n" };
  Manager *manager = manager_new ();

  write_config (manager, "");
  fsc_test_service_start (manager->service);
  assert_hears (manager, "READY=1\n*");
  for (guint i = 0; i < G_N_ELEMENTS (texts); i++)
    {
      write_config (manager, texts[i]);
      g_assert_no_errno (kill (manager->service->pid, SIGHUP));
      assert_hears (manager, "RELOADING=1\nMONOTONIC_USEC=*");
      assert_hears (manager, "READY=1\nSTATUS=Serving *, up to 123 handles *");
    }
  manager_free (manager);
}

static void
test_failed (void)
{
  Manager *manager = manager_new ();

  assert_refused (manager, manager->place, "another program listens at");
  manager_free (manager);
}

static void
test_watchdog (void)
{
  Manager *manager = manager_new ();
  gint64 since;

  manager->is_awaited = TRUE;
  fsc_test_service_start (manager->service);
  assert_hears (manager, "READY=1\n*");
  since = g_get_monotonic_time ();
  for (int i = 0; i < 6; i++)
    assert_hears (manager, "WATCHDOG=1");
  g_assert_cmpint (g_get_monotonic_time () - since, >, 4 * WATCHDOG_US / 2);
  if (g_getenv ("FSC_TEST_SLOW") == NULL)
    g_assert_cmpint (g_get_monotonic_time () - since, <, 6 * WATCHDOG_US);

  /* Who does not run gives none. */
  g_assert_no_errno (kill (manager->service->pid, SIGSTOP));
  while (recv (manager->notices, (char[64]){ 0 }, 64, MSG_DONTWAIT) > 0)
    ;
  assert_silent (manager, 2 * WATCHDOG_US / 1000);
  g_assert_no_errno (kill (manager->service->pid, SIGCONT));
  assert_hears (manager, "WATCHDOG=1");
  manager_free (manager);
}

/* Clients */

typedef struct
{
  FscTestService *service;
  char *path;
  int stop;       /* atomic */
  guint n_opened; /* atomic */
} Load;

/* Whoever is there before the service waits for it. */
static gpointer
open_always (gpointer data)
{
  Load *load = data;
  FscacheClient *client = fsc_test_service_connect (load->service);

  while (g_atomic_int_get (&load->stop) == 0)
    {
      FscacheReply reply;

      fscache_open (client, load->path, O_RDONLY, &reply);
      g_assert_cmpstr (reply.message, ==, "");
      g_assert_cmpint (reply.code, ==, FSCACHE_OK);
      fscache_reply_clear (client, &reply);
      g_atomic_int_inc (&load->n_opened);
    }
  fscache_disconnect (client);
  return NULL;
}

static void
wait_for_opens (Load *load, guint n)
{
  guint before = (guint) g_atomic_int_get (&load->n_opened);

  for (int i = 0; (guint) g_atomic_int_get (&load->n_opened) - before < n; i++)
    {
      g_assert_cmpint (i, <, 200000);
      g_usleep (100);
    }
}

static int
compare (gconstpointer a, gconstpointer b)
{
  const gint64 *left = a, *right = b;

  return (*left > *right) - (*left < *right);
}

/* Clients come before there is a service, and while it is killed and started again; none of them
 * sees anything of that. */
static void
test_activated (void)
{
  Manager *manager = manager_new ();
  FscTestService *service = manager->service;
  Load load = { .service = service };
  gint64 took[KILLS];
  GThread *thread;

  listen_for (manager, SOCK_SEQPACKET);
  load.path = fsc_test_service_write (service, "file", "content");
  thread = g_thread_new ("load", open_always, &load);
  g_usleep (50000); /* it is in the backlog, or comes later: both is good */
  g_assert_cmpint (g_atomic_int_get (&load.n_opened), ==, 0);
  fsc_test_service_start (service);
  assert_hears (manager, "READY=1\n*");
  wait_for_opens (&load, 100);

  for (int i = 0; i < KILLS; i++)
    {
      gint64 since = g_get_monotonic_time ();

      fsc_test_service_kill (service);
      fsc_test_service_start (service);
      assert_hears (manager, "READY=1\n*");
      wait_for_opens (&load, 1);
      took[i] = g_get_monotonic_time () - since;
      wait_for_opens (&load, 20);
    }
  g_atomic_int_set (&load.stop, 1);
  g_thread_join (thread);
  qsort (took, KILLS, sizeof took[0], compare);
  g_test_message ("killed and back: p50 %.1f ms, at most %.1f ms, no failed call of %d",
                  (double) took[KILLS / 2] / 1000, (double) took[KILLS - 1] / 1000, load.n_opened);
  if (g_getenv ("FSC_TEST_SLOW") == NULL)
    g_assert_cmpint (took[KILLS / 2], <, BACK_MS * 1000);

  /* The socket is the manager's. */
  fsc_test_service_stop (service);
  assert_hears (manager, "STOPPING=1\n*");
  g_assert_true (g_file_test (service->socket, G_FILE_TEST_EXISTS));
  g_free (load.path);
  manager_free (manager);
}

static gpointer
connect_once (gpointer service)
{
  return fsc_test_service_connect (service);
}

/* A service that goes as soon as somebody has come. */
static gpointer
accept_and_close (gpointer data)
{
  const Manager *manager = data;
  gint64 until = g_get_monotonic_time () + GOING_US;
  guint n = 0;

  while (g_get_monotonic_time () < until)
    {
      int fd = accept4 (manager->passed, NULL, NULL, SOCK_CLOEXEC);

      if (fd < 0)
        continue; /* not to sleep makes it quicker than the client's greeting */
      close (fd);
      n++;
    }
  return GUINT_TO_POINTER (n);
}

/* To go in the middle of a greeting is no reason to fail either: the next one will be there. */
static void
test_greeting (void)
{
  Manager *manager = manager_new ();
  FscTestService *service = manager->service;

  listen_for (manager, SOCK_SEQPACKET);
  fcntl (manager->passed, F_SETFL, O_NONBLOCK);
  for (int i = 0; i < GREETINGS; i++)
    {
      GThread *going = g_thread_new ("going", accept_and_close, manager);
      GThread *load = g_thread_new ("load", connect_once, service);
      guint n = GPOINTER_TO_UINT (g_thread_join (going));

      fsc_test_service_start (service);
      fscache_disconnect (g_thread_join (load));
      g_assert_cmpuint (n, >, 0);
      fsc_test_service_stop (service);
    }
  manager_free (manager);
}

/* To take the place of an activated service ends that, and not who has made the socket: that would
 * be this test. The manager's socket then still belongs to nobody but the manager. */
static void
test_replaced (void)
{
  Manager *manager = manager_new ();
  FscTestService *service = manager->service;
  g_autofree char *program = fsc_test_build_path ("fscache/fscached");
  g_auto (FscTestProgram) result = { 0 };
  const char *const words[]
      = { program, "--replace", "--socket", service->socket, "--config", service->config, NULL };
  siginfo_t info = { 0 };

  listen_for (manager, SOCK_SEQPACKET);
  fsc_test_service_start (service);
  fsc_test_program_run (&result, NULL, words);
  fsc_test_program_assert_exit (&result, 1);
  g_assert_nonnull (strstr (result.error, "another program listens at"));
  g_assert_no_errno (waitid (P_PID, (id_t) service->pid, &info, WEXITED));
  g_assert_cmpint (info.si_code, ==, CLD_EXITED);
  service->pid = 0;
  fsc_test_service_start (service);
  manager_free (manager);
}

/* What cannot be listened at is refused in words. */
static void
test_refused (void)
{
  static const struct
  {
    int type;
    const char *sentence;
  } cases[] = { { SOCK_STREAM, "no Unix socket that listens for packets" },
                { SOCK_DGRAM, "no Unix socket that listens for packets" },
                { SOCK_SEQPACKET, "the socket is to be /elsewhere, and the one passed is /" } };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      Manager *manager = manager_new ();

      listen_for (manager, cases[i].type);
      assert_refused (manager, "/elsewhere", cases[i].sentence);
      manager_free (manager);
    }
}

static void
test_many (void)
{
  Manager *manager = manager_new ();

  listen_for (manager, SOCK_SEQPACKET);
  manager->n_passed = 2;
  assert_refused (manager, manager->service->socket, "2 descriptors were passed");
  manager_free (manager);
}

static void
test_no_socket (void)
{
  Manager *manager = manager_new ();

  manager->passed = move_up (open ("/dev/null", O_RDWR | O_CLOEXEC));
  manager->n_passed = 1;
  assert_refused (manager, manager->service->socket, "no Unix socket that listens for packets");
  manager_free (manager);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);

  g_test_add_func ("/systemd/ready", test_ready);
  g_test_add_func ("/systemd/reloading", test_reloading);
  g_test_add_func ("/systemd/failed", test_failed);
  g_test_add_func ("/systemd/watchdog", test_watchdog);
  g_test_add_func ("/systemd/activated", test_activated);
  g_test_add_func ("/systemd/greeting", test_greeting);
  g_test_add_func ("/systemd/replaced", test_replaced);
  g_test_add_func ("/systemd/refused", test_refused);
  g_test_add_func ("/systemd/many", test_many);
  g_test_add_func ("/systemd/no-socket", test_no_socket);
  return g_test_run ();
}
