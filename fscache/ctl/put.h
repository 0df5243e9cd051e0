/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What put and exec have in common: descriptors that this process has inherited get names.
 */
#pragma once

#include <glib.h>

#include "libclient/fscache.h"

typedef struct
{
  gboolean replace;
  char *expected; /* a generation, or NULL */
  double ttl;     /* seconds */
} FscPutOptions;

void fsc_put_options_clear (FscPutOptions *options);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (FscPutOptions, fsc_put_options_clear)

/* Rows for the option tables of commands. `what` begins the sentences. */
#define FSC_PUT_REPLACE(options, what)                                                             \
  {                                                                                                \
    "replace", 'r', 0, G_OPTION_ARG_NONE, &(options).replace, what "also if the name is in use",   \
        NULL                                                                                       \
  }
#define FSC_PUT_TTL(options, what)                                                                 \
  {                                                                                                \
    "ttl", 0, 0, G_OPTION_ARG_DOUBLE, &(options).ttl, what "forget it after this time", "SECONDS"  \
  }

/* Fills in how to put. Returns FALSE with `error` set if the options do not make sense. */
gboolean fsc_put_options_get (const FscPutOptions *options, FscachePut *put, GError **error);

/* The URI of a name, which may be one already: handle:NAME. */
char *fsc_put_get_uri (const char *name);

/* Whether this process was given the descriptor. One that it has filled itself, because it was
 * closed, does not count. */
gboolean fsc_put_is_inherited (int fd);

/* Puts, or says why it cannot. `how` has all but the name and the descriptor. */
gboolean fsc_put_one (FscacheClient *client, const FscachePut *how, const char *name, int fd,
                      FscacheReply *reply);
