/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fetcher.c: what the process that fetches cannot do any more once it is shut in, tried out one by
 * one, and what it can. What fetches is in test-http.
 */
#include "fscache/openers/fetcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fscache/openers/confine.h"
#include "tests/harness/tap.h"

static const FscHttpSettings settings;

/* What listens, and another that does; the first is what may be connected to. */
static guint port, other_port;

/* 0: it worked; else the errno. */
typedef int (*Attempt) (void);

static int
get_result (long result)
{
  return result < 0 ? errno : 0;
}

static int
read_foreign_file (void)
{
  return get_result (open ("/etc/passwd", O_RDONLY));
}

static int
read_own_file (void)
{
  return get_result (open ("/proc/self/maps", O_RDONLY));
}

static int
list_directory (void)
{
  return get_result (open ("/", O_RDONLY | O_DIRECTORY));
}

static int
make_file (void)
{
  return get_result (open ("/tmp", O_TMPFILE | O_RDWR, 0600));
}

static int
write_file (void)
{
  return get_result (open ("/etc/hosts", O_WRONLY));
}

static int
remove_file (void)
{
  return get_result (unlink ("/tmp/fscache-test-none"));
}

static int
execute (void)
{
  return get_result (execl ("/bin/true", "true", NULL));
}

static int
start_process (void)
{
  return get_result (syscall (SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL));
}

static int
kill_parent (void)
{
  return get_result (kill (getppid (), 0));
}

static int
trace_parent (void)
{
  return get_result (ptrace (PTRACE_ATTACH, getppid (), NULL, NULL));
}

static int
speak_unix (void)
{
  return get_result (socket (AF_UNIX, SOCK_STREAM, 0));
}

static int
make_memfd (void)
{
  return get_result (memfd_create ("test", 0));
}

static int
map_code (void)
{
  void *page = mmap (NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  return page == MAP_FAILED ? errno : 0;
}

static int
make_code (void)
{
  static char pages[8192];

  return get_result (mprotect ((void *) (((uintptr_t) pages + 4095) & ~(uintptr_t) 4095), 4096,
                               PROT_READ | PROT_EXEC));
}

static int
connect_to (guint to)
{
  const struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons ((guint16) to),
                                       .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };

  return get_result (connect (socket (AF_INET, SOCK_STREAM, 0), (const struct sockaddr *) &address,
                              sizeof address));
}

static int
connect_elsewhere (void)
{
  return connect_to (other_port);
}

static int
take_connections (void)
{
  const struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };

  return get_result (
      bind (socket (AF_INET, SOCK_STREAM, 0), (const struct sockaddr *) &address, sizeof address));
}

static int
connect_there (void)
{
  return connect_to (port);
}

static int
read_hosts (void)
{
  return get_result (open ("/etc/hosts", O_RDONLY));
}

static int
look_up (void)
{
  struct addrinfo *found = NULL;
  int r = getaddrinfo ("localhost", "80", NULL, &found);

  if (r == 0)
    freeaddrinfo (found);
  return r == 0 ? 0 : EHOSTUNREACH;
}

static void *
do_nothing (void *data)
{
  return data;
}

static int
start_thread (void)
{
  pthread_t thread;
  int error = pthread_create (&thread, NULL, do_nothing, NULL);

  return error != 0 ? error : pthread_join (thread, NULL);
}

/* Says what came of it in a process that is shut in. */
static int
attempt (Attempt func)
{
  g_autofree char *host = g_strdup_printf ("localhost:%u", port);
  int status;
  pid_t pid = fork ();

  g_assert_cmpint (pid, >=, 0);
  if (pid == 0)
    _exit (fsc_fetcher_confine (&settings, host) ? func () : 255);
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_true (WIFEXITED (status));
  g_assert_cmpint (WEXITSTATUS (status), !=, 255);
  return WEXITSTATUS (status);
}

static void
test_system_calls (void)
{
  static const Attempt forbidden[]
      = { remove_file, execute,    start_process, kill_parent, trace_parent,
          speak_unix,  make_memfd, map_code,      make_code };

  for (guint i = 0; i < G_N_ELEMENTS (forbidden); i++)
    {
      g_test_message ("%u", i);
      g_assert_cmpint (attempt (forbidden[i]), ==, ENOSYS);
    }
}

static gboolean
has_landlock (long version)
{
  gboolean has
      = syscall (SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= version;

  if (!has)
    g_test_skip ("this kernel's Landlock is not enough");
  return has;
}

static void
test_files (void)
{
  static const Attempt forbidden[]
      = { read_foreign_file, read_own_file, list_directory, make_file, write_file };

  if (!has_landlock (1))
    return;
  for (guint i = 0; i < G_N_ELEMENTS (forbidden); i++)
    {
      g_test_message ("%u", i);
      g_assert_cmpint (attempt (forbidden[i]), ==, EACCES);
    }
}

static void
test_ports (void)
{
  if (!has_landlock (4))
    return;
  g_assert_cmpint (attempt (connect_elsewhere), ==, EACCES);
  g_assert_cmpint (attempt (take_connections), ==, EACCES);

  /* Which port a proxy has, only libcurl knows. */
  g_setenv ("http_proxy", "http://proxy", TRUE);
  g_assert_cmpint (attempt (connect_elsewhere), ==, 0);
  g_unsetenv ("http_proxy");
}

static void
test_allowed (void)
{
  g_assert_cmpint (attempt (connect_there), ==, 0);
  g_assert_cmpint (attempt (read_hosts), ==, 0);
  g_assert_cmpint (attempt (look_up), ==, 0);
  g_assert_cmpint (attempt (start_thread), ==, 0);
}

static void
test_resources (void)
{
  g_autofree char *host = g_strdup_printf ("localhost:%u", port);
  int status;
  pid_t pid = fork ();

  if (pid == 0)
    {
      if (!fsc_fetcher_confine (&settings, host))
        _exit (2);
      _exit (FSC_CONFINE_HAS_MEMORY_LIMIT && malloc (UINT64_C (2) << 30) != NULL ? 1 : 0);
    }
  g_assert_cmpint (waitpid (pid, &status, 0), ==, pid);
  g_assert_cmpint (status, ==, 0);
}

static guint
start_listening (void)
{
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  g_assert_cmpint (bind (fd, (struct sockaddr *) &address, sizeof address), ==, 0);
  g_assert_cmpint (listen (fd, 16), ==, 0);
  g_assert_cmpint (getsockname (fd, (struct sockaddr *) &address, &length), ==, 0);
  return ntohs (address.sin_port);
}

int
main (int argc, char **argv)
{
  static const char *const proxies[]
      = { "http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY" };

  fsc_test_init (&argc, &argv);
  for (guint i = 0; i < G_N_ELEMENTS (proxies); i++)
    g_unsetenv (proxies[i]);
  port = start_listening ();
  other_port = start_listening ();
  g_test_add_func ("/fetcher/system-calls", test_system_calls);
  g_test_add_func ("/fetcher/files", test_files);
  g_test_add_func ("/fetcher/ports", test_ports);
  g_test_add_func ("/fetcher/allowed", test_allowed);
  g_test_add_func ("/fetcher/resources", test_resources);
  return g_test_run ();
}
