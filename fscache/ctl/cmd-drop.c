/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl drop, pin and unpin: what the service is to keep.
 */
#include <stdio.h>

#include "fscache/ctl/ctl.h"
#include "fscache/ctl/mount.h"
#include "fscache/ctl/names.h"
#include "fscache/ctl/output.h"

/* Carries out one command on one argument. Returns how many entries that were, or a negative errno
 * after having said what is wrong. */
typedef gssize (*Action) (FscacheClient *client, const char *argument);

/* Says what is wrong, if anything is. Returns `n`. */
static gssize
complain_of (const char *argument, const FscacheReply *reply, gssize n)
{
  if (n < 0)
    fsc_output_complain_reply (argument, reply, (int) n);
  return n;
}

static gssize
drop_pattern (FscacheClient *client, const char *pattern)
{
  FscacheReply reply = { 0 };

  return complain_of (pattern, &reply, fscache_drop_matching (client, pattern, &reply));
}

static gssize
drop_one (FscacheClient *client, const char *argument)
{
  g_autoptr (GError) error = NULL;
  g_autofree char *pattern = NULL;
  FscacheReply reply = { 0 };

  if (fsc_names_is_pattern (argument))
    {
      pattern = fsc_names_get_pattern (argument, &error);
      if (pattern != NULL)
        return drop_pattern (client, pattern);
      fsc_output_complain ("%s", error->message);
      return -1;
    }
  return complain_of (argument, &reply, fscache_drop (client, argument, &reply));
}

static gssize
pin_one (FscacheClient *client, const char *argument)
{
  FscacheReply reply = { 0 };
  int result = fscache_pin (client, argument, &reply);

  return complain_of (argument, &reply, result < 0 ? result : 1);
}

static gssize
unpin_one (FscacheClient *client, const char *argument)
{
  FscacheReply reply = { 0 };
  int result = fscache_unpin (client, argument, &reply);

  return complain_of (argument, &reply, result < 0 ? result : 1);
}

static void
print_sum (const FscCtl *ctl, const char *what, gint64 sum)
{
  if (ctl->json)
    {
      g_autoptr (JsonBuilder) builder = json_builder_new ();

      json_builder_begin_object (builder);
      fsc_output_add_int (builder, what, sum);
      fsc_output_print_json (builder, "\n");
    }
  else
    printf ("%s %" G_GINT64_FORMAT "\n", what, sum);
}

/* Does it to all arguments, also after one has failed, and prints how many entries that were. */
static int
apply (FscCtl *ctl, char **arguments, Action action, const char *what)
{
  g_autoptr (FscacheClient) client = fsc_ctl_connect (ctl);
  int status = FSC_EXIT_DONE;
  gint64 sum = 0;

  for (; *arguments != NULL; arguments++)
    {
      gssize n = action (client, *arguments);

      if (n < 0)
        status = FSC_EXIT_FAILED;
      else
        sum += n;
    }
  if (status == FSC_EXIT_DONE || sum > 0)
    print_sum (ctl, what, sum);
  return fsc_output_finish (status);
}

/* drop --mount */

static void
print_released_json (const FscacheReleased *released)
{
  g_autoptr (JsonBuilder) builder = json_builder_new ();

  json_builder_begin_object (builder);
  fsc_output_add_int (builder, "dropped", (gint64) released->n_handles);
  fsc_output_add_int (builder, "mounts", (gint64) released->n_mounts);
  fsc_output_add_int (builder, "openers", (gint64) released->n_openers);
  fsc_output_add_int (builder, "stuck", (gint64) released->n_stuck);
  fsc_output_add_int (builder, "failed", (gint64) released->n_failed);
  fsc_output_add_int (builder, "given", (gint64) released->n_given);
  fsc_output_add_int (builder, "lent", (gint64) released->n_lent);
  fsc_output_add_int (builder, "clients", (gint64) released->n_clients);
  fsc_output_add_int (builder, "forgotten", (gint64) released->n_forgotten);
  fsc_output_print_json (builder, "\n");
}

static const char *
plural (guint64 n)
{
  return n == 1 ? "" : "s";
}

static void
print_released (const FscacheReleased *released, const char *mount)
{
  printf ("dropped %" G_GUINT64_FORMAT "\n", released->n_handles);
  if (released->n_mounts > 1)
    printf ("mounts: %" G_GUINT64_FORMAT "\n", released->n_mounts);
  if (released->n_failed > 0)
    printf ("failed for it: %" G_GUINT64_FORMAT " request%s under way\n", released->n_failed,
            plural (released->n_failed));
  if (released->n_given > 0)
    printf ("%" G_GUINT64_FORMAT " program%s given %" G_GUINT64_FORMAT
            " handle%s there, and may still have some open (fscachectl holders --mount %s)\n",
            released->n_clients, released->n_clients == 1 ? " was" : "s were", released->n_given,
            plural (released->n_given), mount);
  if (released->n_lent > 0)
    printf ("of these, exclusive and not given back: %" G_GUINT64_FORMAT "\n", released->n_lent);
  if (released->n_forgotten > 0)
    printf ("%" G_GUINT64_FORMAT " more handle%s given of which there is no record, some perhaps "
            "there\n",
            released->n_forgotten, released->n_forgotten == 1 ? " was" : "s were");
}

static int
drop_mount (FscCtl *ctl, const char *mount, gboolean is_recursive)
{
  g_autoptr (FscacheClient) client = fsc_ctl_connect (ctl);
  FscacheReleased released;
  FscacheReply reply = { 0 };
  int result = fscache_drop_mount (client, mount, is_recursive, &released, &reply);

  if (result < 0)
    {
      fsc_mount_complain (client, mount, &reply, result);
      return FSC_EXIT_FAILED;
    }
  if (ctl->json)
    print_released_json (&released);
  else
    print_released (&released, mount);
  if (released.n_stuck > 0)
    fsc_output_complain ("%s: %" G_GUINT64_FORMAT
                         " process%s of the service hang%s in it and cannot "
                         "end before it answers or its server is ended (or: umount --lazy)",
                         mount, released.n_stuck, released.n_stuck == 1 ? "" : "es",
                         released.n_stuck == 1 ? "s" : "");
  return fsc_output_finish (released.n_stuck > 0 ? FSC_EXIT_FAILED : FSC_EXIT_DONE);
}

static int
run_drop (FscCtl *ctl, int argc, char **argv)
{
  gboolean is_recursive = FALSE;
  g_autofree char *mount = NULL;
  static char everything[] = "*";
  char *all_arguments[] = { everything, NULL };
  gboolean all = FALSE;
  const GOptionEntry entries[] = {
    { "all", 'a', 0, G_OPTION_ARG_NONE, &all, "Drop all entries", NULL },
    { "mount", 'm', 0, G_OPTION_ARG_FILENAME, &mount,
      "Let go of all that lies on the mount at PATH", "PATH" },
    { "recursive", 'r', 0, G_OPTION_ARG_NONE, &is_recursive,
      "With --mount: and on the mounts below it", NULL },
    { NULL },
  };

  fsc_ctl_parse (ctl, entries, &argc, &argv, 0, -1);
  if (all + (argc > 1) + (mount != NULL) != 1)
    return fsc_ctl_refuse_usage (ctl, "it needs URIs and patterns, or --all, or --mount");
  if (mount == NULL && is_recursive)
    return fsc_ctl_refuse_usage (ctl, "--recursive goes with --mount");
  if (mount != NULL && mount[0] == '\0')
    return fsc_ctl_refuse_usage (ctl, "the path of --mount is empty");
  if (mount != NULL)
    return drop_mount (ctl, mount, is_recursive);
  if (all)
    return apply (ctl, all_arguments, drop_pattern, "dropped");
  return apply (ctl, argv + 1, drop_one, "dropped");
}

const FscCommand fsc_ctl_drop = {
  .name = "drop",
  .arguments = "URI|PATTERN...",
  .summary = "Make the service forget entries",
  .description
  = "Programs that have a handle keep it; the next request opens anew. Prints how many entries\n"
    "there were; none is no failure. Pinned entries are dropped too, and what was put\n"
    "under names (handle:), which cannot be opened again.\n"
    "\n"
    "--mount makes the service let go of a mount, so that umount works: it closes all that it has\n"
    "open there, ends its processes that work there, and returns when they have ended. Requests\n"
    "under way there fail. What programs were given is theirs: it says how many there are, and\n"
    "\"fscachectl holders\" says which. If the mount is dead, it returns by the service's "
    "deadline;\n"
    "exit status 1 if a process then still hangs in it.\n" FSC_HELP_MOUNTS "\n"
    "\n" FSC_HELP_PATTERNS "\n"
    "\n"
    "Examples:\n"
    "  fscachectl drop /srv/a.bin\n"
    "  fscachectl drop '/srv/models/*'\n"
    "  fscachectl drop --all\n"
    "  fscachectl drop --mount /mnt/x && umount /mnt/x",
  .run = run_drop,
  .prints = TRUE,
};

static int
run_pin (FscCtl *ctl, int argc, char **argv)
{
  fsc_ctl_parse (ctl, NULL, &argc, &argv, 1, -1);
  return apply (ctl, argv + 1, pin_one, "pinned");
}

const FscCommand fsc_ctl_pin = {
  .name = "pin",
  .arguments = "URI...",
  .summary = "Open resources and keep them, whatever happens",
  .description
  = "A pinned entry is neither evicted nor dropped for being idle, until it is unpinned or\n"
    "dropped, or the resource is gone.\n"
    "\n" FSC_HELP_NAMING "\n"
    "\n"
    "Examples:\n"
    "  fscachectl pin /srv/models/big.bin\n"
    "  fscachectl list --json | jq -r '.[] | select(.pinned).uri'",
  .run = run_pin,
  .prints = TRUE,
};

static int
run_unpin (FscCtl *ctl, int argc, char **argv)
{
  fsc_ctl_parse (ctl, NULL, &argc, &argv, 1, -1);
  return apply (ctl, argv + 1, unpin_one, "unpinned");
}

const FscCommand fsc_ctl_unpin = {
  .name = "unpin",
  .arguments = "URI...",
  .summary = "Let what was pinned go as others",
  .description = FSC_HELP_NAMING "\n"
                                 "\n"
                                 "Example:\n"
                                 "  fscachectl unpin /srv/models/big.bin",
  .run = run_unpin,
  .prints = TRUE,
};
