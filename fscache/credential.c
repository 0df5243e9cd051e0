/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The users that the service opens for; see credential.h.
 */
#include "fscache/credential.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct FscCredentials
{
  GPtrArray *all; /* by number */
  FscCredentialFunc func;
  gpointer data;
};

static void
credential_free (gpointer data)
{
  FscCredential *credential = data;

  g_clear_pointer (&credential->changes, fsc_changes_free);
  g_clear_pointer (&credential->generations, fsc_generations_free);
  g_clear_pointer (&credential->rules, g_ptr_array_unref);
  g_clear_pointer (&credential->stake, fsc_stake_unref);
  g_free (credential->user.groups);
  g_free (credential);
}

static int
compare_groups (gconstpointer a, gconstpointer b)
{
  gid_t x = *(const gid_t *) a, y = *(const gid_t *) b;

  return (x > y) - (x < y);
}

static void
sort_groups (FscUser *user)
{
  if (user->n_groups > 0)
    qsort (user->groups, user->n_groups, sizeof user->groups[0], compare_groups);
}

gboolean
fsc_credential_is (const FscCredential *credential, FscUser *user)
{
  const FscUser *its = &credential->user;

  sort_groups (user);
  return its->uid == user->uid && its->gid == user->gid && its->n_groups == user->n_groups
         && (its->n_groups == 0
             || memcmp (its->groups, user->groups, its->n_groups * sizeof its->groups[0]) == 0);
}

static FscCredential *
add (FscCredentials *credentials, const FscUser *user)
{
  FscCredential *credential = g_new0 (FscCredential, 1);

  credential->number = credentials->all->len;
  credential->user = *user;
  credential->user.groups = g_memdup2 (user->groups, user->n_groups * sizeof user->groups[0]);
  g_ptr_array_add (credentials->all, credential);
  credentials->func (credential, credentials->data);
  return credential;
}

FscCredential *
fsc_credentials_find (FscCredentials *credentials, FscUser *user)
{
  sort_groups (user);
  for (guint i = 0; i < credentials->all->len; i++)
    if (fsc_credential_is (credentials->all->pdata[i], user))
      return credentials->all->pdata[i];
  return credentials->all->len < FSC_CREDENTIALS_MAX ? add (credentials, user) : NULL;
}

FscCredential *
fsc_credentials_get (const FscCredentials *credentials, guint32 number)
{
  g_assert (number < credentials->all->len);
  return credentials->all->pdata[number];
}

guint
fsc_credentials_get_n (const FscCredentials *credentials)
{
  return credentials->all->len;
}

FscCredentials *
fsc_credentials_new (FscCredentialFunc func, gpointer data)
{
  FscCredentials *credentials = g_new0 (FscCredentials, 1);
  int n = MAX (getgroups (0, NULL), 0);
  g_autofree gid_t *groups = g_new (gid_t, n + 1);
  FscUser user = { .uid = geteuid (), .gid = getegid (), .groups = groups };

  credentials->all = g_ptr_array_new_with_free_func (credential_free);
  credentials->func = func;
  credentials->data = data;
  user.n_groups = (guint) MAX (getgroups (n, groups), 0);
  fsc_credentials_find (credentials, &user);
  return credentials;
}

void
fsc_credentials_free (FscCredentials *credentials)
{
  g_ptr_array_unref (credentials->all);
  g_free (credentials);
}
