/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Rules: who may have which URIs, as the configuration says in groups [rule NAME]. They narrow what
 * the file system allows, and never widen it. In the order in which they are written, the first
 * that fits decides; where none fits, all is allowed.
 *
 * They go by names: of a file also by its name without "..", and what unpack: reads by that file's
 * as well. A file that has another name, or to which a symlink leads, is not known by its own here:
 * it is its permissions that protect a file.
 */
#pragma once

#include <glib.h>

#include "fscache/parameter.h"
#include "fscache/spawner.h"
#include "protocol/uri.h"

typedef struct FscRules FscRules;

typedef struct
{
  char *name;                              /* first */
  char *users, *uris, *sandboxed, *action; /* as written, or NULL */

  gboolean is_refusal;
  gint is_for_sandboxed; /* TRUE, FALSE, or -1: both */
  GPtrArray *patterns;   /* of GPatternSpec; NULL: any URI */
  GArray *uids, *gids;   /* NULL both: any user */
} FscRule;

/* What may be set of each: to be applied to an FscRule. */
extern const FscParameter fsc_rule_parameters[];

FscRules *fsc_rules_new (void);
void fsc_rules_free (FscRules *rules);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscRules, fsc_rules_free)

/* A new one, behind those that there are. */
FscRule *fsc_rules_add (FscRules *rules, const char *name);

/* When all of it is set: makes of it what can be matched. Returns what is wrong, and in *key with
 * what, or NULL; free with g_free(). */
char *fsc_rule_compile (FscRule *rule, const char **key);

/* Those that may concern a user, in their order, of FscRule; NULL: none. They live as long as the
 * rules. */
GPtrArray *fsc_rules_select (const FscRules *rules, const FscUser *user);

/* Which of those decides, or NULL: none does, and it is allowed. The URI is canonical.
 * `is_sandboxed` is called if it matters. */
typedef gboolean (*FscIsSandboxedFunc) (gpointer data);
const FscRule *fsc_rules_find (const GPtrArray *selected, const char *uri,
                               FscIsSandboxedFunc is_sandboxed, gpointer data);
