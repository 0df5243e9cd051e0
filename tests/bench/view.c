/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Views of the main service; see view.h.
 */
#include "tests/bench/view.h"

#include <json-glib/json-glib.h>
#include <unistd.h>

#include "tests/bench/mount.h"
#include "tests/bench/process.h"
#include "tests/bench/service.h"

static bool
be_unavailable (GError **error, const char *why)
{
  g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "%s", why);
  return false;
}

/* Starts a program of this build. The arguments after it end with NULL, and the mount point is
 * added to them. */
static bool
mount_by (Bench *bench, const char *name, const char *place, const char *const *arguments,
          GError **error)
{
  g_autofree char *program = bench_find_program (place);
  g_autofree char *mount_point = bench_mount_get_path (bench, name);
  g_autoptr (GPtrArray) argv = g_ptr_array_new ();
  bool is_new;

  if (access ("/dev/fuse", R_OK | W_OK) < 0)
    return be_unavailable (error, "there is no /dev/fuse");
  if (program == NULL)
    return be_unavailable (error, "this was built without libfuse3");
  if (!bench_mount_claim (bench, name, &is_new, error) || !is_new)
    return *error == NULL;

  g_ptr_array_add (argv, program);
  for (; *arguments != NULL; arguments++)
    g_ptr_array_add (argv, (char *) *arguments);
  g_ptr_array_add (argv, mount_point);
  g_ptr_array_add (argv, NULL);
  return bench_mount (bench, name, (const char *const *) argv->pdata, error);
}

static bool
mount_view (Bench *bench, const char *name, const char *options, GError **error)
{
  BenchService *service = bench_service_get_main (bench, 0, error);

  if (service == NULL)
    return false;

  g_autofree char *all = g_strdup_printf ("socket=%s%s", service->socket, options);
  const char *arguments[] = { "-f", "-o", all, NULL };

  return mount_by (bench, name, "fscache/view/fscache-view", arguments, error);
}

bool
bench_view_mount (Bench *bench, GError **error)
{
  return mount_view (bench, BENCH_MOUNT_VIEW, "", error);
}

bool
bench_view_mount_pages (Bench *bench, GError **error)
{
  return mount_view (bench, BENCH_MOUNT_VIEW_PAGES, ",no_passthrough", error);
}

bool
bench_view_mount_bare (Bench *bench, const char *name, const char *kind, GError **error)
{
  const char *arguments[] = { kind, "/", NULL };

  return mount_by (bench, name, "tests/bench/bare-fuse", arguments, error);
}

bool
bench_view_has_passthrough (Bench *bench, GError **error)
{
  g_autofree char *mount_point = bench_mount_get_path (bench, BENCH_MOUNT_VIEW);
  g_autofree char *path = g_build_filename (mount_point, "status.json", NULL);
  g_autofree char *text = NULL;
  g_autoptr (JsonParser) parser = json_parser_new ();

  if (!bench_view_mount (bench, error) || !g_file_get_contents (path, &text, NULL, error)
      || !json_parser_load_from_data (parser, text, -1, error))
    return false;

  JsonObject *status = json_node_get_object (json_parser_get_root (parser));
  JsonObject *view = json_object_get_object_member (status, "view");

  return json_object_get_boolean_member (view, "passthrough")
         || be_unavailable (error, json_object_get_string_member (view, "why_no_passthrough"));
}

char *
bench_view_get_path (const Bench *bench, const char *name, const char *path)
{
  return g_strdup_printf ("%s/%s/open/file%s", bench->directory, name, path);
}
