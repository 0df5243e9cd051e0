/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Providers: which program opens URIs of which scheme, and what the service has to know of it. Each
 * is one registration in provider.c, with the parameters that its group of the configuration has.
 */
#pragma once

#include <glib.h>

#include "fscache/cache.h"
#include "fscache/parameter.h"
#include "fscache/spawner.h"
#include "protocol/codec.h"

/* What a lane of the provider's is found by, besides the credential. */
typedef enum
{
  FSC_SCOPE_ALL,   /* there is one */
  FSC_SCOPE_MOUNT, /* the mount on which the path lies */
  FSC_SCOPE_HOST,  /* the host and its port */
} FscScope;

typedef struct
{
  /* As it is registered. */
  const char *schemes[3]; /* ended by NULL */
  const char *program;    /* in the folder of the openers */
  FscScope scope;
  gboolean is_watching;           /* it is lent the inotify instance, and nobody else is */
  gboolean is_slow;               /* its jobs are long, and each goes alone: who waits for an opener
                                     is not late as long as others are served */
  gboolean ends_unwanted;         /* an opener is ended if nobody waits any more for what it does */
  gboolean is_of_file;            /* it gives what it has made of the file at the path, and that is
                                     checked, and watched, in its place */
  gboolean makes_content;         /* what it gives never changes */
  const char *const *variables;   /* of the service's environment that its openers have, too; or
                                     NULL */
  const char *guard;              /* a parameter that says what may be opened: by default all ("*"),
                                     but for root's service nothing; or NULL */
  gboolean is_store;              /* clients put what it holds, in one process a lane */
  const char *group;              /* of the configuration; NULL: there is none */
  const FscParameter *parameters; /* of that group */
  const char *left_out;           /* NULL; or it was not built, as this option of the build says */

  /* As it is set. */
  guint openers;     /* processes a lane; 0: as all lanes have */
  gint64 deadline;   /* microseconds; 0: as all lanes have */
  FscPoolRules pool; /* max 0: none of what it opens is a connection */
  char *match;       /* globs over canonical URIs, with spaces in between: of these it is; or NULL,
                        of all those with its schemes that no other has */
  guint max_names;   /* of a store: how many a user may have */
  guint32 ttl_ms;    /* of what may change where nobody sees it */
  char **arguments;  /* by parameter: those that are the opener's */
  char **helper;     /* the command of a helper; NULL: it is none */
  FscUser user;      /* who opens, if its groups are not NULL; else whoever asks */
} FscProvider;

typedef struct FscProviders FscProviders;

#define FSC_HELPER_GROUP "helper " /* and its name */

/* Those that are registered, with their parameters as they are by default: whether those that open
 * for whoever asks can do so as the user who asks decides about some. */
FscProviders *fsc_providers_new (gboolean can_be_others);
void fsc_providers_free (FscProviders *providers);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscProviders, fsc_providers_free)

/* Registers one more. Its strings and parameters are borrowed. */
FscProvider *fsc_providers_add (FscProviders *providers, const FscProvider *provider);

/* Registers a helper, which opens helper+NAME: URIs, for the group "helper NAME". Returns what is
 * wrong with that name, or NULL; free with g_free(). */
char *fsc_providers_add_helper (FscProviders *providers, const char *group);

/* Registers another one for some of the connections that a provider opens, for the group "tcp NAME"
 * or "unix NAME". It has what that one has by now. Without such a provider it does nothing. Returns
 * what is wrong with that name, or NULL; free with g_free(). */
char *fsc_providers_add_named (FscProviders *providers, const char *group);

/* NULL if there is none for URIs of this scheme. */
const FscProvider *fsc_providers_find (const FscProviders *providers, FscBytes uri);

/* Why there is none; free with g_free(). */
char *fsc_providers_explain (const FscProviders *providers, FscBytes uri);

/* The one that has this group of the configuration, or NULL. */
FscProvider *fsc_providers_find_group (const FscProviders *providers, const char *group);

/* All of them: of FscProvider. Borrowed. */
const GPtrArray *fsc_providers_get_all (const FscProviders *providers);

/* The names of all groups. */
GPtrArray *fsc_providers_list_groups (const FscProviders *providers);

/* Whether all is set that has to be, for a service that can be others or not. Returns what is
 * wrong, and in *group where; free with g_free(). */
char *fsc_providers_check (const FscProviders *providers, gboolean is_privileged,
                           const char **group);

/* Sets one of its parameters. Returns what is wrong, or NULL; free with g_free(). */
char *fsc_provider_set (FscProvider *provider, const FscParameter *parameter, const char *value);

/* What to start: variables of its environment, the program in `dir`, and its arguments; for what
 * asks a helper, how long that may take as well. Free with g_strfreev(). */
char **fsc_provider_get_command (const FscProvider *provider, const char *dir, gint64 deadline);
