/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The private instances of fscached that are measured; see service.h.
 */
#include "tests/bench/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/machine.h"
#include "tests/bench/wire.h"

#define SPARE_DESCRIPTORS 256 /* what a service needs besides handles and clients, amply */
#define MAIN_HANDLES 4096
#define MAIN_CLIENTS 64
#define WAIT_SECONDS 10
#define WAIT_STEP_US 100 /* between attempts to connect: the error of a measured start */

/* The one that was asked for, or that of the build tree of this program, or an installed one. */
static const char *
find_service (Bench *bench, GError **error)
{
  if (bench->service_path == NULL)
    bench->service_path = bench_find_program ("fscache/fscached");
  if (bench->service_path == NULL)
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED,
                 "there is no fscached in the build tree nor in $PATH (--service PATH)");
  return bench->service_path;
}

/* In a build tree the openers are beside the service, and not where it would look for them. */
static char **
make_environment (const char *service_path)
{
  g_autofree char *directory = g_path_get_dirname (service_path);
  g_autofree char *openers = g_build_filename (directory, "openers", NULL);
  char **environment = g_get_environ ();

  if (g_file_test (openers, G_FILE_TEST_IS_DIR))
    environment = g_environ_setenv (environment, "FSCACHE_OPENER_DIR", openers, FALSE);
  return environment;
}

static bool
write_config (const char *path, BenchServiceFlags flags, unsigned max_handles, unsigned max_clients,
              GError **error)
{
  g_autofree char *text
      = g_strdup_printf ("[service]\n"
                         "max-handles=%u\n"
                         "max-clients=%u\n"
                         "[cache]\n"
                         "idle-time=86400\n"
                         "watch=%s\n"
                         "[lanes]\n"
                         "idle-time=86400\n"
                         "[file]\n"
                         "ttl=86400\n"
                         "[helper git]\n"
                         "command=" BENCH_HELPER "\n"
                         "ttl=86400\n"
                         "[http]\n"
                         "allow=127.0.0.1:*\n"
                         "[tcp]\n"
                         "allow=127.0.0.1:*\n",
                         max_handles, max_clients, flags & BENCH_SERVICE_NO_WATCH ? "no" : "yes");

  return g_file_set_contents (path, text, -1, error);
}

BenchService *
bench_service_start (Bench *bench, const char *name, BenchServiceFlags flags, unsigned max_handles,
                     unsigned max_clients, GError **error)
{
  const char *program = find_service (bench, error);

  if (program == NULL)
    return NULL;

  g_auto (GStrv) environment = make_environment (program);
  g_autofree char *config = g_strdup_printf ("%s/%s.conf", bench->directory, name);
  BenchService *service = g_new0 (BenchService, 1);

  service->process = BENCH_PROCESS_NONE;
  service->socket = g_strdup_printf ("%s/%s.socket", bench->directory, name);
  service->log = g_strdup_printf ("%s/%s.log", bench->directory, name);

  int log = open (service->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const char *argv[] = { program, "--socket", service->socket, "--config", config, NULL };

  if (flags & BENCH_SERVICE_ANY_CPU)
    bench_machine_unpin ();
  if (!write_config (config, flags, max_handles, max_clients, error)
      || !bench_process_start (&service->process, argv, (const char *const *) environment, log, 0,
                               error))
    g_clear_pointer (&service, bench_service_free);
  bench_machine_pin_again ();
  if (log >= 0)
    close (log);
  return service;
}

void
bench_service_free (BenchService *service)
{
  bench_process_stop (&service->process);
  g_free (service->socket);
  g_free (service->log);
  g_free (service);
}

static bool
fail (BenchService *service, const char *how, GError **error)
{
  g_autofree char *log = NULL;

  if (bench_is_interrupted ())
    g_set_error (error, BENCH_ERROR, BENCH_ERROR_INTERRUPTED, "interrupted");
  else
    {
      g_file_get_contents (service->log, &log, NULL, NULL);
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "fscached %s%s%s", how,
                   log != NULL && *log != '\0' ? ": " : "", log != NULL ? g_strchomp (log) : "");
    }
  return false;
}

bool
bench_service_wait (BenchService *service, GError **error)
{
  int64_t deadline = bench_now () + WAIT_SECONDS * INT64_C (1000000000);

  while (!bench_is_interrupted ())
    {
      g_autofree char *how = NULL;
      g_autoptr (GError) reason = NULL;
      int fd = bench_wire_connect (service->socket, false, &reason);

      if (fd >= 0)
        {
          bool is_answered = bench_wire_ping (fd, &reason);

          close (fd);
          return is_answered || fail (service, reason->message, error);
        }
      if (bench_process_has_ended (&service->process, &how))
        return fail (service, how, error);
      if (bench_now () > deadline)
        return fail (service, reason->message, error);
      g_usleep (WAIT_STEP_US);
    }
  return fail (service, "", error);
}

BenchService *
bench_service_get (Bench *bench, const char *name, BenchServiceFlags flags, unsigned max_handles,
                   unsigned max_clients, GError **error)
{
  BenchService *service = g_hash_table_lookup (bench->services, name);
  unsigned needed = max_handles + max_clients + SPARE_DESCRIPTORS;

  if (service != NULL)
    return service;
  if (needed > bench_get_descriptor_limit ())
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE,
                   "the service needs %u descriptors, the limit is %u", needed,
                   bench_get_descriptor_limit ());
      return NULL;
    }

  service = bench_service_start (bench, name, flags, max_handles, max_clients, error);
  if (service == NULL)
    return NULL;
  if (!bench_service_wait (service, error))
    {
      bench_service_free (service);
      return NULL;
    }

  g_hash_table_insert (bench->services, g_strdup (name), service);
  bench_defer (bench, (void (*) (void *)) bench_service_free, service);
  return service;
}

BenchService *
bench_service_get_main (Bench *bench, BenchServiceFlags flags, GError **error)
{
  unsigned max_handles = MIN (MAIN_HANDLES, bench_get_descriptor_limit () / 2);

  g_autofree char *name = g_strdup_printf ("main-%u", (unsigned) flags);

  return bench_service_get (bench, name, flags, max_handles, MAIN_CLIENTS, error);
}

double
bench_get_resident (pid_t pid)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/smaps_rollup", (int) pid);
  g_autofree char *text = NULL;
  const char *line;

  /* Not VmRSS of status, which the kernel does not keep exactly. */
  if (!g_file_get_contents (path, &text, NULL, NULL) || (line = strstr (text, "\nRss:")) == NULL)
    return 0;
  return g_ascii_strtod (line + strlen ("\nRss:"), NULL) * 1024;
}

double
bench_service_get_resident (const BenchService *service)
{
  return bench_get_resident (service->process.pid);
}

double
bench_service_get_cpu_time (const BenchService *service)
{
  g_autofree char *path = g_strdup_printf ("/proc/%d/schedstat", (int) service->process.pid);
  g_autofree char *text = NULL;

  return g_file_get_contents (path, &text, NULL, NULL) ? g_ascii_strtod (text, NULL) : 0;
}
