/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * fscachectl: the command line tool. It is a plain user of libfscache: nothing here knows the
 * protocol or the service.
 *
 * A command is one FscCommand, beside the function that runs it. It parses its own options, with
 * the common ones added, writes what it was asked for to stdout, and says each failure in one line
 * on stderr that names the object. It returns what the process exits with; what all commands do
 * first, to read their arguments and to make a client, exits itself if it fails.
 */
#pragma once

#include <glib.h>

#include "libclient/fscache.h"

/* What fscachectl exits with. */
enum
{
  FSC_EXIT_DONE = 0,
  FSC_EXIT_FAILED = 1,
  FSC_EXIT_USAGE = 2,
  /* Only exec, as env(1), nohup(1) and shells do it. */
  FSC_EXIT_CANNOT_RUN = 126,
  FSC_EXIT_NOT_FOUND = 127,
};

typedef struct FscCtl FscCtl;

typedef struct
{
  const char *name;
  const char *arguments;   /* after the options, in the usage line; or NULL */
  const char *summary;     /* one line, for the list of commands */
  const char *description; /* what --help adds to that: paragraphs and examples */
  int (*run) (FscCtl *ctl, int argc, char **argv);
  gboolean prints;       /* has --json */
  gboolean runs_program; /* options end at the first argument: the rest is another program's */
} FscCommand;

struct FscCtl
{
  const FscCommand *command; /* NULL before the command's name was read */
  char *socket;              /* NULL: the default */
  gboolean json;
};

/* Parses the options of the command in *argv, the common ones among them, and leaves the arguments:
 * argv[0] is the command's name. At least `min` and at most `max` arguments are to be left (max -1:
 * any number), and none that names a resource may be empty. Exits after having said what is wrong;
 * --help prints and exits. */
void fsc_ctl_parse (FscCtl *ctl, const GOptionEntry *entries, int *argc, char ***argv, int min,
                    int max);

/* Says what is wrong with how the command was called. Returns FSC_EXIT_USAGE. */
int fsc_ctl_refuse_usage (FscCtl *ctl, const char *format, ...) G_GNUC_PRINTF (2, 3);

/* Makes a client. Without a service that is no failure yet: the call that needs one will say so.
 * Exits after having said what is wrong if there can be no client; never returns NULL. */
FscacheClient *fsc_ctl_connect (FscCtl *ctl);

/* The commands, each in the file that its comment names. */
extern const FscCommand fsc_ctl_open;     /* cmd-open.c */
extern const FscCommand fsc_ctl_cat;      /* cmd-cat.c */
extern const FscCommand fsc_ctl_exec;     /* cmd-exec.c */
extern const FscCommand fsc_ctl_list;     /* cmd-list.c */
extern const FscCommand fsc_ctl_info;     /* cmd-list.c */
extern const FscCommand fsc_ctl_drop;     /* cmd-drop.c */
extern const FscCommand fsc_ctl_holders;  /* cmd-holders.c */
extern const FscCommand fsc_ctl_pin;      /* cmd-drop.c */
extern const FscCommand fsc_ctl_unpin;    /* cmd-drop.c */
extern const FscCommand fsc_ctl_status;   /* cmd-status.c */
extern const FscCommand fsc_ctl_set;      /* cmd-set.c */
extern const FscCommand fsc_ctl_ping;     /* cmd-status.c */
extern const FscCommand fsc_ctl_put;      /* cmd-put.c */
extern const FscCommand fsc_ctl_transfer; /* cmd-transfer.c */
extern const FscCommand fsc_ctl_warm;     /* cmd-warm.c */

/* Paragraphs that several commands' help has in common. */
#define FSC_HELP_NAMING                                                                            \
  "A URI is file:///srv/a.bin or, shorter, a path: srv/a.bin, ./a.bin. What starts with a word\n"  \
  "and a colon is a URI; a file called a:b is ./a:b. Others: unpack:///srv/a.tar.gz#dir/member,\n" \
  "https://host/object, tcp://host:port, unix:///run/x.sock, handle:NAME, helper+NAME:..."

#define FSC_HELP_PATTERNS                                                                          \
  "In a PATTERN '*' stands for any characters, '/' among them, and '?' for one. It is matched\n"   \
  "with whole canonical URIs, as list prints them; a path with * or ? becomes such a pattern,\n"   \
  "relative to the current directory if it does not start with '/' or a scheme.\n"                 \
  "Quote it, or the shell will expand it. A file whose name really has a * or ? is named by its\n" \
  "URI: file:///srv/what%3F (%2A for *)."

G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscacheClient, fscache_disconnect)
