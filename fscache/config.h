/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The configuration: a GKeyFile, with a default for everything. Unknown groups, unknown keys and
 * values out of range are errors that name file, line, group and key, all at once: a misspelt limit
 * must not be no limit.
 */
#pragma once

#include <glib.h>

#include "fscache/provider.h"
#include "fscache/rules.h"
#include "fscache/shares.h"

/* The most that may be written. */
#define FSC_CONFIG_BYTES_MAX G_GUINT64_CONSTANT (1000000000000000)
#define FSC_CONFIG_SECONDS_MAX G_GUINT64_CONSTANT (1000000000)

typedef struct
{
  char *socket;          /* NULL: the default place */
  FscUser user;          /* whom the service becomes to serve all; no groups: it serves its own */
  guint64 max_handles;   /* 0: from RLIMIT_NOFILE */
  guint64 max_clients;   /* 0: what max_handles leaves */
  guint64 max_bytes;     /* that handles keep; 0: any number */
  gint64 idle_time;      /* microseconds; 0: handles are kept however long they are not used */
  gboolean gives_back;   /* gives back when the machine is short of memory */
  gboolean is_watching;  /* entries are watched where they can be, and not checked */
  guint lane_openers;    /* processes a lane */
  guint lane_queue;      /* requests that may wait in a lane */
  gint64 lane_deadline;  /* microseconds */
  gint64 lane_idle_time; /* microseconds, after which an opener without work ends */
  FscShareLimits shares; /* what is not 0 of requests, descriptors, unread and users */
  char *warm_list;       /* a file that lists what is opened at the start, or NULL */
  FscProviders *providers;
  FscRules *rules;
} FscConfig;

/* `path` NULL takes the first that exists of $XDG_CONFIG_HOME/fscache/fscached.conf and
 * /etc/fscache/fscached.conf; if there is none, all is default. `can_be_others` is whether openers
 * can be other users. */
FscConfig *fsc_config_load (const char *path, gboolean can_be_others, GError **error);
void fsc_config_free (FscConfig *config);

/* Sets [service] user=. Returns what is wrong, or NULL; free with g_free(). */
char *fsc_config_set_user (FscConfig *config, const char *name);

/* How long one request may take an opener of this provider, in microseconds. */
gint64 fsc_config_get_deadline (const FscConfig *config, const FscProvider *provider);

/* What there is to set: the names of the groups, and the keys of one, or NULL. */
GPtrArray *fsc_config_list_groups (const FscConfig *config);
const FscParameter *fsc_config_get_parameters (const FscConfig *config, const char *group);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscConfig, fsc_config_free)
