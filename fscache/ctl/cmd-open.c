/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl open: opens a resource as a program would, and shows what was given.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/names.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/bar.h"
#include "fscache/ctl/request.h"

/* What was given. Not all of it can be known of each handle. */
typedef struct
{
  const char *uri; /* canonical; borrowed */
  const FscacheReply *reply;
  struct stat stat;
  char *flags;
  off_t offset; /* -1: it has none */
  guint64 took_us;
} Given;

static gboolean
look_at (Given *given)
{
  int fd = given->reply->fd;
  int flags = fcntl (fd, F_GETFL);

  if (flags < 0 || fstat (fd, &given->stat) < 0)
    return FALSE;
  given->flags = fsc_request_describe_flags (flags);
  given->offset = lseek (fd, 0, SEEK_CUR);
  return TRUE;
}

static void
print_json (const Given *given)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();
  const FscacheReply *reply = given->reply;
  g_autofree char *mode = g_strdup_printf ("%04o", (unsigned) (given->stat.st_mode & 07777));

  json_builder_begin_object (builder);
  fsc_output_add_string (builder, "uri", given->uri);
  fsc_output_add_string (builder, "sharing", fscache_sharing_name (reply->sharing));
  fsc_output_add_string (builder, "source", fscache_source_name (reply->source));
  fsc_output_add_string (builder, "coherence", fscache_coherence_name (reply->coherence));
  fsc_output_add_int (builder, "age_ms", reply->age_ms);
  fsc_output_add_string (builder, "kind", fscache_kind_name (reply->kind));
  fsc_output_add_int (builder, "size", given->stat.st_size);
  fsc_output_add_string (builder, "mode", mode);
  fsc_output_add_int (builder, "device", given->stat.st_dev);
  fsc_output_add_int (builder, "inode", given->stat.st_ino);
  fsc_output_add_string (builder, "flags", given->flags);
  json_builder_set_member_name (builder, "offset");
  if (given->offset >= 0)
    json_builder_add_int_value (builder, given->offset);
  else
    json_builder_add_null_value (builder);
  fsc_output_add_content (builder, &reply->content);
  fsc_output_add_boolean (builder, "leased", reply->lease != 0);
  fsc_output_add_int (builder, "generation", (gint64) reply->generation);
  fsc_output_add_int (builder, "took_us", given->took_us);
  fsc_output_print_json (builder, "\n");
}

static const char *
explain_sharing (FscacheSharing sharing)
{
  switch (sharing)
    {
    case FSCACHE_INDEPENDENT:
      return "an offset of its own: read() and lseek() as after open()";
    case FSCACHE_SHARED:
      return "one offset for all: only pread(), mmap() and the like";
    case FSCACHE_EXCLUSIVE:
      return "nobody else has it until it is given back";
    default:
      return "";
    }
}

static const char *
explain_source (FscacheSource source)
{
  switch (source)
    {
    case FSCACHE_SOURCE_CACHE:
      return "the service had it open";
    case FSCACHE_SOURCE_OPENED:
      return "the service opened it, and keeps it";
    case FSCACHE_SOURCE_PASSED:
      return "the service opened it for this request alone";
    case FSCACHE_SOURCE_LOCAL:
      return "libfscache opened it in this process";
    default:
      return "";
    }
}

static const char *
explain_coherence (FscacheCoherence coherence)
{
  switch (coherence)
    {
    case FSCACHE_COHERENCE_UNCACHED:
      return "it is opened for each request";
    case FSCACHE_COHERENCE_CHECKED:
      return "it is checked for each request";
    case FSCACHE_COHERENCE_TTL:
      return "it is checked when the last check is older than a time-to-live";
    case FSCACHE_COHERENCE_WATCHED:
      return "the kernel tells the service of all that may change it";
    default:
      return "";
    }
}

static void
print_content (const FscacheContent *content)
{
  g_autofree char *digest = fsc_output_format_digest (content);
  g_autofree char *validator = fsc_output_format_validator (content);

  printf ("digest     %s\n", digest);
  printf ("sealed     %s\n", content->is_sealed ? "yes (nobody can write to it)" : "no");
  if (content->validator_length > 0)
    printf ("validator  %s\n", validator);
}

static void
print_human (const Given *given)
{
  const FscacheReply *reply = given->reply;
  char age[32], took[32];

  printf ("uri        %s\n", given->uri);
  printf ("sharing    %s (%s)\n", fscache_sharing_name (reply->sharing),
          explain_sharing (reply->sharing));
  printf ("source     %s (%s)\n", fscache_source_name (reply->source),
          explain_source (reply->source));
  printf ("coherence  %s (%s)\n", fscache_coherence_name (reply->coherence),
          explain_coherence (reply->coherence));
  printf ("checked    %s ago\n", fsc_output_format_us (reply->age_ms * (guint64) 1000, age));
  printf ("kind       %s\n", fscache_kind_name (reply->kind));
  printf ("size       %" G_GINT64_FORMAT "\n", (gint64) given->stat.st_size);
  if (reply->content.is_known)
    print_content (&reply->content);
  printf ("mode       %04o\n", (unsigned) (given->stat.st_mode & 07777));
  printf ("inode      %" G_GUINT64_FORMAT " on device %u:%u\n", (guint64) given->stat.st_ino,
          major (given->stat.st_dev), minor (given->stat.st_dev));
  printf ("flags      %s\n", given->flags);
  if (given->offset >= 0)
    printf ("offset     %" G_GINT64_FORMAT "\n", (gint64) given->offset);
  if (reply->generation != 0)
    printf ("generation %" G_GUINT64_FORMAT "\n", reply->generation);
  if (reply->lease != 0)
    printf ("lease      yes (it ends with this process)\n");
  printf ("took       %s\n", fsc_output_format_us (given->took_us, took));
}

static int
open_and_show (FscCtl *ctl, FscacheClient *client, const FscacheRequest *request)
{
  FscacheReply reply = { .fd = -1 };
  g_autoptr (GError) error = NULL;
  g_autofree char *uri = NULL;
  Given given = { .reply = &reply };
  gint64 start = g_get_monotonic_time ();
  int status = FSC_EXIT_FAILED;
  int result = fsc_bar_open (client, request, &reply);

  given.took_us = g_get_monotonic_time () - start;
  if (result < 0)
    {
      fsc_output_complain_reply (request->uri, &reply, result);
      return FSC_EXIT_FAILED;
    }
  given.uri = uri = fsc_names_get_uri (request->uri, &error);
  if (uri == NULL)
    fsc_output_complain ("%s", error->message);
  else if (!look_at (&given))
    fsc_output_complain ("%s: cannot look at the handle: %s", uri, g_strerror (errno));
  else
    {
      if (ctl->json)
        print_json (&given);
      else
        print_human (&given);
      status = fsc_output_finish (FSC_EXIT_DONE);
    }
  g_free (given.flags);
  fscache_give_back (client, &reply);
  return status;
}

static int
run_open (FscCtl *ctl, int argc, char **argv)
{
  g_auto (FscRequestOptions) options = { 0 };
  gboolean no_fallback = FALSE;
  const GOptionEntry entries[] = {
    FSC_REQUEST_SHARING (options, "independent"),
    FSC_REQUEST_FLAGS (options),
    FSC_REQUEST_MODE (options),
    FSC_REQUEST_TIMEOUT (options),
    FSC_REQUEST_MAX_AGE (options),
    FSC_REQUEST_REVALIDATE (options),
    FSC_REQUEST_DIGEST (options),
    { "no-fallback", 'n', 0, G_OPTION_ARG_NONE, &no_fallback,
      "Fail where libfscache would open the file itself", NULL },
    { NULL },
  };
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GError) error = NULL;
  FscacheRequest request;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 1, 1);
  if (!fsc_request_options_get (&options, FSCACHE_INDEPENDENT, &request, &error))
    return fsc_ctl_refuse_usage (ctl, "%s", error->message);
  fsc_request_set_uri (&request, &options, argv[1]);
  if (no_fallback)
    request.options |= FSCACHE_NO_FALLBACK;
  client = fsc_ctl_connect (ctl);
  return open_and_show (ctl, client, &request);
}

const FscCommand fsc_ctl_open = {
  .name = "open",
  .arguments = "URI",
  .summary = "Open a resource as a program would, and show what was given",
  .description
  = "Without a service, or where it cannot serve the path, libfscache opens the file itself and\n"
    "SOURCE says \"local\"; --no-fallback makes that a failure. The other sources: \"cache\" (the\n"
    "service had it open), \"opened\" (it has now, and keeps it), \"passed\" (it was opened for\n"
    "this request alone). What takes long shows a bar, if stderr is a terminal.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl open /srv/a.bin\n"
    "  fscachectl open --sharing shared --json /srv/a.bin\n"
    "  fscachectl open --flags rdwr,creat --mode 600 /srv/new\n"
    "  fscachectl open --digest sha256:9f86d081... unpack:///srv/a.zst",
  .run = run_open,
  .prints = TRUE,
};
