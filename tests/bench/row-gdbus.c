/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A descriptor from a D-Bus method, without a bus between: GDBus at both ends of a private socket,
 * and a GUnixFDList in the reply. GDBus has threads, and descriptors cost more in a process with
 * threads; so that this is a cost of this row alone, its client is a process of its own, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <gio/gunixfdlist.h>
#include <glib-unix.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/process.h"

#define OBJECT_PATH "/fscache/bench"
#define INTERFACE "fscache.Bench"

static const char introspection_xml[]
    = "<node><interface name='" INTERFACE "'>"
      "<method name='Open'><arg type='h' name='fd' direction='out'/></method>"
      "</interface></node>";

/* The server: arguments are the address and a file. */

static void
handle_call (GDBusConnection *connection, const char *sender, const char *path,
             const char *interface, const char *method, GVariant *parameters,
             GDBusMethodInvocation *invocation, gpointer data)
{
  g_autoptr (GUnixFDList) fds = g_unix_fd_list_new ();

  g_unix_fd_list_append (fds, GPOINTER_TO_INT (data), NULL);
  g_dbus_method_invocation_return_value_with_unix_fd_list (invocation, g_variant_new ("(h)", 0),
                                                           fds);
}

static gboolean
handle_connection (GDBusServer *server, GDBusConnection *connection, gpointer data)
{
  static const GDBusInterfaceVTable vtable = { .method_call = handle_call };
  g_autoptr (GDBusNodeInfo) node = g_dbus_node_info_new_for_xml (introspection_xml, NULL);

  return g_dbus_connection_register_object (g_object_ref (connection), OBJECT_PATH,
                                            node->interfaces[0], &vtable, data, NULL, NULL)
         != 0;
}

static gboolean
quit (gint fd, GIOCondition condition, gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

int
bench_part_gdbus_server (int argc, char **argv)
{
  g_autoptr (GError) error = NULL;
  g_autoptr (GMainLoop) loop = g_main_loop_new (NULL, FALSE);
  g_autofree char *guid = g_dbus_generate_guid ();
  int fd = argc == 2 ? open (argv[1], O_RDONLY | O_CLOEXEC) : -1;

  if (fd < 0)
    return bench_part_fail ("cannot open the file");

  g_autoptr (GDBusServer) server = g_dbus_server_new_sync (
      argv[0], G_DBUS_SERVER_FLAGS_AUTHENTICATION_REQUIRE_SAME_USER, guid, NULL, NULL, &error);

  if (server == NULL)
    return bench_part_fail ("%s", error->message);

  g_signal_connect (server, "new-connection", G_CALLBACK (handle_connection), GINT_TO_POINTER (fd));
  g_dbus_server_start (server);
  g_unix_fd_add (STDIN_FILENO, G_IO_IN | G_IO_HUP, quit, loop);
  bench_part_say_ready ();
  g_main_loop_run (loop);
  return 0;
}

/* The client: its argument is the address. Reads from stdin how long to measure, writes the number
 * of samples and the samples to stdout, until stdin ends. No sample says that it failed. */

typedef struct
{
  int64_t warm_up_ns, slice_ns;
} SliceOrder;

static bool
run_call (BenchRow *row, GError **error)
{
  g_autoptr (GUnixFDList) fds = NULL;
  g_autoptr (GVariant) reply = g_dbus_connection_call_with_unix_fd_list_sync (
      row->state, NULL, OBJECT_PATH, INTERFACE, "Open", NULL, G_VARIANT_TYPE ("(h)"),
      G_DBUS_CALL_FLAGS_NONE, -1, NULL, &fds, NULL, error);

  /* The descriptor is closed with the list. */
  return reply != NULL && fds != NULL && g_unix_fd_list_get_length (fds) == 1;
}

static bool
write_samples (const GArray *samples)
{
  uint64_t n = samples->len;
  size_t size = n * sizeof (double);

  return write (STDOUT_FILENO, &n, sizeof n) == sizeof n
         && (size == 0 || write (STDOUT_FILENO, samples->data, size) == (ssize_t) size);
}

int
bench_part_gdbus_client (int argc, char **argv)
{
  static const BenchRowSpec spec = { .handles = 1, .run = run_call };
  g_autoptr (GError) error = NULL;
  g_autoptr (GDBusConnection) connection = g_dbus_connection_new_for_address_sync (
      argv[0], G_DBUS_CONNECTION_FLAGS_AUTHENTICATION_CLIENT, NULL, NULL, &error);
  BenchRow row = { .spec = &spec, .state = connection };
  SliceOrder order;

  if (connection == NULL || !run_call (&row, &error))
    return bench_part_fail ("%s", error != NULL ? error->message : "no descriptor in the reply");

  bench_part_say_ready ();
  while (read (STDIN_FILENO, &order, sizeof order) == sizeof order)
    {
      g_autoptr (GArray) samples = g_array_new (FALSE, FALSE, sizeof (double));

      if (!bench_row_run_slice (&row, order.warm_up_ns, order.slice_ns, samples, &error))
        g_array_set_size (samples, 0);
      if (!write_samples (samples))
        return 1;
    }
  return 0;
}

/* The row */

typedef struct
{
  BenchProcess server, client;
} GdbusRow;

static void
free_gdbus (void *data)
{
  GdbusRow *gdbus = data;

  bench_process_stop (&gdbus->client);
  bench_process_stop (&gdbus->server);
  g_free (gdbus);
}

static bool
set_up_gdbus (BenchRow *row, GError **error)
{
  Bench *bench = row->bench;
  g_autofree char *address = g_strdup_printf ("unix:path=%s/gdbus", bench->directory);
  g_autofree char *file = bench_get_file (bench, "files", 0);
  GdbusRow *gdbus = g_new0 (GdbusRow, 1);

  gdbus->server = gdbus->client = BENCH_PROCESS_NONE;
  row->state = gdbus;
  bench_defer (bench, free_gdbus, gdbus);
  return bench_make_files (bench, "files", 1, error)
         && bench_process_start_part (&gdbus->server, "gdbus-server",
                                      (const char *[]){ address, file, NULL }, error)
         && bench_process_start_part (&gdbus->client, "gdbus-client",
                                      (const char *[]){ address, NULL }, error);
}

static bool
run_gdbus_slice (BenchRow *row, int64_t warm_up_ns, int64_t slice_ns, GArray *samples,
                 GError **error)
{
  GdbusRow *gdbus = row->state;
  SliceOrder order = { warm_up_ns, slice_ns };
  uint64_t n;

  if (!bench_process_write (&gdbus->client, &order, sizeof order, error)
      || !bench_process_read (&gdbus->client, &n, sizeof n, error))
    return false;

  g_array_set_size (samples, n);
  if (n > 0)
    return bench_process_read (&gdbus->client, samples->data, n * sizeof (double), error);

  g_set_error (error, BENCH_ERROR, BENCH_ERROR_FAILED, "the D-Bus method failed");
  return false;
}

const BenchRowSpec bench_rows_gdbus[] = {
  { .name = "gdbus",
    .title = "peer-to-peer GDBus method that returns a descriptor",
    .baseline = "floor",
    .handles = 1,
    .set_up = set_up_gdbus,
    .run_slice = run_gdbus_slice },
  { 0 },
};
