/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Credentials: the users that the service opens for. Each has a number, by which entries and lanes
 * are kept apart, openers that run as that user, an inotify instance that nobody else's openers
 * see, and a generation table that nobody else's clients see. So what one user was given is never
 * given to another because it is there.
 *
 * A user here is a user ID, a group ID and the supplementary groups: who differs in any of them may
 * open other files. The first credential is the service's own. They stay until the service ends.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "fscache/changes.h"
#include "fscache/generations.h"
#include "fscache/shares.h"
#include "fscache/spawner.h"

#define FSC_CREDENTIAL_OWN 0
#define FSC_CREDENTIALS_MAX 256

typedef struct
{
  guint32 number;
  FscUser user;
  FscChanges *changes;         /* NULL: there is no inotify to be had */
  FscGenerations *generations; /* NULL: it cannot be made */
  GPtrArray *rules;            /* of FscRule: those that may concern it; NULL: none */
  FscStake *stake;             /* its user's; a reference */
} FscCredential;

typedef struct FscCredentials FscCredentials;

/* Called for each credential that is made, to give it what it can have. */
typedef void (*FscCredentialFunc) (FscCredential *credential, gpointer data);

/* Makes the service's own. */
FscCredentials *fsc_credentials_new (FscCredentialFunc func, gpointer data);
void fsc_credentials_free (FscCredentials *credentials);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscCredentials, fsc_credentials_free)

/* There is one with this number. */
FscCredential *fsc_credentials_get (const FscCredentials *credentials, guint32 number);
guint fsc_credentials_get_n (const FscCredentials *credentials);

/* Whether it is this user's, whose groups are put in order. */
gboolean fsc_credential_is (const FscCredential *credential, FscUser *user);

/* The credential of a user, whose groups are put in order; a new one, if need be. NULL: there are
 * too many. */
FscCredential *fsc_credentials_find (FscCredentials *credentials, FscUser *user);
