/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl cat: the content of resources, through the service or not at all. SIGPIPE is left as
 * it was inherited, as in cat(1): ended by it in `cat | head`, an error where it is ignored.
 */
#include <errno.h>
#include <unistd.h>

#include "fscache/ctl/copy.h"
#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/bar.h"
#include "fscache/ctl/request.h"

/* Returns FALSE, after having said why, if it failed; *is_over if it makes no sense to go on. */
static gboolean
cat_one (FscacheClient *client, const FscacheRequest *request, gboolean *is_over)
{
  FscacheReply reply = { .fd = -1 };
  int result = fsc_bar_open (client, request, &reply);
  FscCopyResult copied;

  if (result < 0)
    {
      fsc_output_complain_reply (request->uri, &reply, result);
      return FALSE;
    }
  copied = fsc_copy_all (reply.fd, STDOUT_FILENO);
  if (copied == FSC_COPY_CANNOT_READ)
    fsc_output_complain ("%s: cannot be read: %s", request->uri, g_strerror (errno));
  else if (copied == FSC_COPY_CANNOT_WRITE)
    {
      fsc_output_complain ("cannot write to standard output: %s", g_strerror (errno));
      *is_over = TRUE;
    }
  else if (copied == FSC_COPY_SAME_FILE)
    fsc_output_complain ("%s: is standard output as well", request->uri);
  fscache_give_back (client, &reply);
  return copied == FSC_COPY_DONE;
}

static int
run_cat (FscCtl *ctl, int argc, char **argv)
{
  g_auto (FscRequestOptions) options = { 0 };
  const GOptionEntry entries[] = {
    FSC_REQUEST_SHARING (options, "shared"),
    FSC_REQUEST_TIMEOUT (options),
    FSC_REQUEST_MAX_AGE (options),
    FSC_REQUEST_REVALIDATE (options),
    FSC_REQUEST_DIGEST (options),
    { NULL },
  };
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GError) error = NULL;
  FscacheRequest request;
  gboolean is_over = FALSE;
  int status = FSC_EXIT_DONE;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 1, -1);
  if (!fsc_request_options_get (&options, FSCACHE_SHARED, &request, &error))
    return fsc_ctl_refuse_usage (ctl, "%s", error->message);
  request.options |= FSCACHE_NO_FALLBACK;
  client = fsc_ctl_connect (ctl);

  for (int i = 1; i < argc && !is_over; i++)
    {
      request.uri = argv[i];
      if (!cat_one (client, &request, &is_over))
        status = FSC_EXIT_FAILED;
    }
  return status;
}

const FscCommand fsc_ctl_cat = {
  .name = "cat",
  .arguments = "URI...",
  .summary = "Write the content of resources to stdout",
  .description
  = "The handle comes from the service, or it is a failure: nothing is opened here. Regular files\n"
    "are read by position from a shared handle, so many may read one at once.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl cat /srv/a.bin | sha256sum\n"
    "  fscachectl cat a.txt b.txt > both.txt",
  .run = run_cat,
};
