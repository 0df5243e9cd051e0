/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl transfer: puts what one service has under names into another one.
 */
#include <stdio.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/output.h"
#include "fscache/ctl/put.h"

typedef struct
{
  FscacheClient *from, *to;
  FscachePut how;
  gint64 n;
  gboolean has_failed;
} Transfer;

static gboolean
transfer_one (Transfer *transfer, const FscacheEntry *entry)
{
  FscacheRequest request
      = { .uri = entry->uri, .sharing = FSCACHE_SHARED, .options = FSCACHE_NO_FALLBACK };
  FscachePut how = transfer->how;
  FscacheReply reply = { .fd = -1 }, done = { 0 };
  int result = fscache_open_with (transfer->from, &request, &reply);
  gboolean is_done;

  if (result < 0)
    {
      fsc_output_complain_reply (entry->uri, &reply, result);
      return FALSE;
    }
  how.ttl_ms = entry->ttl_ms; /* what is left of it */
  is_done = fsc_put_one (transfer->to, &how, entry->uri, reply.fd, &done);
  fscache_give_back (transfer->from, &reply);
  return is_done;
}

static void
transfer_entry (const FscacheEntry *entry, void *data)
{
  Transfer *transfer = data;

  if (transfer_one (transfer, entry))
    transfer->n++;
  else
    transfer->has_failed = TRUE;
}

static int
transfer_all (FscCtl *ctl, Transfer *transfer, const char *pattern)
{
  FscacheReply reply = { 0 };
  gssize result = fscache_list (transfer->from, pattern, transfer_entry, transfer, &reply);

  if (result < 0)
    {
      fsc_output_complain_reply (pattern, &reply, (int) result);
      transfer->has_failed = TRUE;
    }
  if (ctl->json)
    {
      g_autoptr (JsonBuilder) builder = json_builder_new ();

      json_builder_begin_object (builder);
      fsc_output_add_int (builder, "transferred", transfer->n);
      fsc_output_print_json (builder, "\n");
    }
  else
    printf ("transferred %" G_GINT64_FORMAT "\n", transfer->n);
  return fsc_output_finish (transfer->has_failed ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

static int
run_transfer (FscCtl *ctl, int argc, char **argv)
{
  g_auto (FscPutOptions) options = { 0 };
  g_autofree char *to = NULL;
  g_autofree char *pattern = NULL;
  const GOptionEntry entries[] = {
    { "to", 0, 0, G_OPTION_ARG_FILENAME, &to, "The socket of the other service", "PATH" },
    FSC_PUT_REPLACE (options, "Transfer "),
    { NULL },
  };
  g_autoptr (FscacheClient) from = NULL;
  g_autoptr (FscacheClient) client = NULL;
  g_autoptr (GError) error = NULL;
  Transfer transfer = { 0 };
  int status;

  fsc_ctl_parse (ctl, entries, &argc, &argv, 0, 1);
  if (!fsc_put_options_get (&options, &transfer.how, &error))
    return fsc_ctl_refuse_usage (ctl, "%s", error->message);
  if (to == NULL)
    return fsc_ctl_refuse_usage (ctl, "--to says which service is to have them");
  pattern = argc > 1 ? fsc_put_get_uri (argv[1]) : g_strdup ("handle:*");
  transfer.from = from = fsc_ctl_connect (ctl);
  g_free (ctl->socket);
  ctl->socket = g_steal_pointer (&to);
  transfer.to = client = fsc_ctl_connect (ctl);
  status = transfer_all (ctl, &transfer, pattern);
  return status;
}

const FscCommand fsc_ctl_transfer = {
  .name = "transfer",
  .arguments = "[NAME]",
  .summary = "Put what is kept under names into another service, too",
  .description
  = "Each name of this user, or the one, or those of a pattern, is put into the service at --to,\n"
    "for the time that is left to it. Here all stays as it is: drop it when it is there. Names "
    "that\n"
    "are in use there are refused, but for --replace. Prints how many were transferred; if one of\n"
    "them failed, the exit status is 1.\n"
    "\n"
    "Examples:\n"
    "  fscachectl transfer --to /run/user/1000/fscache-2/socket\n"
    "  fscachectl transfer --to /tmp/other/socket --replace 'handle:web-*'",
  .run = run_transfer,
  .prints = TRUE,
};
