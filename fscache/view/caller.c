/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks; see caller.h.
 */
#include "fscache/view/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/view/entry.h"
#include "fscache/view/privileges.h"
#include "fscache/view/view.h"

/* Clients that are kept, beside those that are in use. */
#define USERS_MAX 64

struct FscViewUser
{
  uid_t uid;
  gid_t gid;
  GArray *groups; /* of gid_t, sorted */
  guint64 number;
  FscSnapshots *snapshots;

  GMutex lock;           /* held while connecting */
  FscacheClient *client; /* with that; set once */

  /* With the lock of all. */
  GList link;
  guint n_calls;
};

struct FscCallers
{
  FscView *view;
  GMutex lock;
  GHashTable *users; /* a set */
  GQueue recent;     /* the least recently used first */
  guint64 last_number;
};

/* Users */

static guint
hash_user (gconstpointer data)
{
  const FscViewUser *user = data;
  guint hash = user->uid * 31 + user->gid;

  for (guint i = 0; i < user->groups->len; i++)
    hash = hash * 31 + g_array_index (user->groups, gid_t, i);
  return hash;
}

static gboolean
equal_users (gconstpointer a, gconstpointer b)
{
  const FscViewUser *x = a, *y = b;

  return x->uid == y->uid && x->gid == y->gid && x->groups->len == y->groups->len
         && (x->groups->len == 0
             || memcmp (x->groups->data, y->groups->data, x->groups->len * sizeof (gid_t)) == 0);
}

/* Takes a reference to the groups. */
static FscViewUser *
make_user (const FscViewUser *key, guint64 number)
{
  FscViewUser *user = g_new0 (FscViewUser, 1);

  user->uid = key->uid;
  user->gid = key->gid;
  user->groups = g_array_ref (key->groups);
  user->number = number;
  user->snapshots = fsc_entry_snapshots_new ();
  user->link.data = user;
  g_mutex_init (&user->lock);
  return user;
}

static void
free_user (FscViewUser *user)
{
  fscache_disconnect (user->client);
  fsc_entry_snapshots_free (user->snapshots);
  g_array_unref (user->groups);
  g_mutex_clear (&user->lock);
  g_free (user);
}

static int
connect_user (FscView *view, FscViewUser *user)
{
  const FscacheUser whom = { .uid = user->uid,
                             .gid = user->gid,
                             .groups = (const gid_t *) (gconstpointer) user->groups->data,
                             .n_groups = user->groups->len };
  int error = 0;

  g_mutex_lock (&user->lock);
  if (user->client == NULL)
    {
      error = fscache_connect_as (view->socket, 0, &whom, &user->client);
      if (user->client != NULL)
        fscache_set_borrow_limit (user->client, fsc_view_get_limit (USERS_MAX));
    }
  if (user->client != NULL)
    error = 0;
  g_mutex_unlock (&user->lock);
  return error == -EINVAL ? -EACCES : error; /* more groups than can be told */
}

/* All of them */

FscCallers *
fsc_callers_new (FscView *view)
{
  FscCallers *callers = g_new0 (FscCallers, 1);

  callers->view = view;
  callers->users = g_hash_table_new (hash_user, equal_users);
  g_mutex_init (&callers->lock);
  g_queue_init (&callers->recent);
  return callers;
}

void
fsc_callers_free (FscCallers *callers)
{
  GHashTableIter iter;
  gpointer user;

  g_hash_table_iter_init (&iter, callers->users);
  while (g_hash_table_iter_next (&iter, &user, NULL))
    free_user (user);
  g_hash_table_unref (callers->users);
  g_mutex_clear (&callers->lock);
  g_free (callers);
}

/* With the lock. Returns one who is to be freed without it, or NULL. */
static FscViewUser *
take_surplus (FscCallers *callers)
{
  if (g_hash_table_size (callers->users) <= USERS_MAX)
    return NULL;
  for (GList *link = callers->recent.head; link != NULL; link = link->next)
    {
      FscViewUser *user = link->data;

      if (user->n_calls > 0)
        continue;
      g_queue_unlink (&callers->recent, link);
      g_hash_table_remove (callers->users, user);
      return user;
    }
  return NULL;
}

static FscViewUser *
get_user (FscCallers *callers, const FscViewUser *key)
{
  FscViewUser *user, *surplus;

  g_mutex_lock (&callers->lock);
  user = g_hash_table_lookup (callers->users, key);
  if (user == NULL)
    {
      user = make_user (key, ++callers->last_number);
      g_hash_table_add (callers->users, user);
    }
  else
    g_queue_unlink (&callers->recent, &user->link);
  g_queue_push_tail_link (&callers->recent, &user->link);
  user->n_calls++;
  surplus = take_surplus (callers);
  g_mutex_unlock (&callers->lock);
  if (surplus != NULL)
    free_user (surplus);
  return user;
}

static void
give_back_user (FscCallers *callers, FscViewUser *user)
{
  FscViewUser *surplus;

  g_mutex_lock (&callers->lock);
  user->n_calls--;
  surplus = take_surplus (callers);
  g_mutex_unlock (&callers->lock);
  if (surplus != NULL)
    free_user (surplus);
}

static void
let_go (FscacheClient *client, gboolean all)
{
  if (all)
    fscache_set_borrow_limit (client, 0);
  fscache_set_borrow_limit (client, fsc_view_get_limit (USERS_MAX));
}

void
fsc_callers_let_go (FscCallers *callers, gboolean all)
{
  g_autoptr (GPtrArray) users = g_ptr_array_new ();

  g_mutex_lock (&callers->lock);
  for (GList *link = callers->recent.head; link != NULL; link = link->next)
    {
      ((FscViewUser *) link->data)->n_calls++;
      g_ptr_array_add (users, link->data);
    }
  g_mutex_unlock (&callers->lock);
  for (guint i = 0; i < users->len; i++)
    {
      FscViewUser *user = users->pdata[i];

      /* Who is connecting, or could not, has borrowed nothing. */
      if (g_mutex_trylock (&user->lock))
        {
          if (user->client != NULL)
            let_go (user->client, all);
          g_mutex_unlock (&user->lock);
        }
      give_back_user (callers, user);
    }
}

/* Supplementary groups */

static int
compare_groups (gconstpointer a, gconstpointer b)
{
  gid_t x = *(const gid_t *) a, y = *(const gid_t *) b;

  return (x > y) - (x < y);
}

/* What stands behind "\nNAME:" in the text of a status of /proc, or "". */
static const char *
find_value (const char *text, const char *name)
{
  const char *found = strstr (text, name);

  return found != NULL ? found + strlen (name) : "";
}

/* Of a line with the real, effective, saved and file system's ID: the first and the last. */
static gboolean
find_ids (const char *text, const char *name, guint ids[2])
{
  return sscanf (find_value (text, name), "%u %*u %*u %u", &ids[0], &ids[1]) == 2;
}

/* Whether this process (or thread) may ask as the caller: with the IDs that it has for files, or
 * with its real ones, as in access(). */
static gboolean
is_of_caller (const FscCaller *caller, const char *text)
{
  guint uids[2], gids[2];

  return find_ids (text, "\nUid:", uids) && find_ids (text, "\nGid:", gids)
         && ((uids[0] == caller->uid && gids[0] == caller->gid)
             || (uids[1] == caller->uid && gids[1] == caller->gid));
}

/* Whether /proc has the numbers that the kernel gives callers: a view in a PID namespace may see
 * the /proc of another one. */
static gboolean
has_own_proc (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self", NULL);

  return self != NULL && atoi (self) == getpid ();
}

/* NULL if they cannot be known: he waits meanwhile, so he is there; but he may be in another PID
 * namespace, and then has no number, or be a part of the kernel that acts for others. */
static GArray *
read_groups (const FscCaller *caller)
{
  g_autofree char *path
      = g_strdup_printf ("/proc/%d/task/%d/status", (int) caller->pid, (int) caller->pid);
  g_autofree char *text = NULL;
  GArray *groups;
  const char *list;
  char *end;

  if (caller->pid == 0 || !has_own_proc () || !g_file_get_contents (path, &text, NULL, NULL)
      || !is_of_caller (caller, text))
    return NULL;
  groups = g_array_new (FALSE, FALSE, sizeof (gid_t));
  list = find_value (text, "\nGroups:");
  list += strspn (list, "\t ");
  while (g_ascii_isdigit (*list))
    {
      gid_t group = (gid_t) strtoul (list, &end, 10);

      g_array_append_val (groups, group);
      list = end + strspn (end, " ");
    }
  g_array_sort (groups, compare_groups);
  return groups;
}

/* Callers */

void
fsc_caller_init (FscCaller *caller, FscView *view, fuse_req_t request)
{
  const struct fuse_ctx *context = fuse_req_ctx (request);

  *caller
      = (FscCaller){ .view = view, .uid = context->uid, .gid = context->gid, .pid = context->pid };
}

void
fsc_caller_clear (FscCaller *caller)
{
  if (caller->user != NULL)
    give_back_user (caller->view->callers, caller->user);
  caller->user = NULL;
  caller->client = NULL;
}

gboolean
fsc_caller_is_served (const FscCaller *caller)
{
  return caller->uid == caller->view->uid || caller->view->uid == 0;
}

gboolean
fsc_caller_connect_quickly (FscCaller *caller)
{
  const FscView *view = caller->view;

  if (caller->client == NULL && caller->uid == view->uid)
    {
      caller->snapshots = view->snapshots;
      g_atomic_pointer_set (&caller->client, view->client);
    }
  return caller->client != NULL;
}

int
fsc_caller_connect (FscCaller *caller)
{
  FscView *view = caller->view;
  g_autoptr (GArray) groups = NULL;
  int error;

  if (fsc_caller_connect_quickly (caller))
    return 0;
  if (!fsc_caller_is_served (caller))
    return -EACCES;
  if (caller->user == NULL)
    {
      groups = read_groups (caller);
      if (groups == NULL)
        return -EACCES;
      caller->user
          = get_user (view->callers,
                      &(FscViewUser){ .uid = caller->uid, .gid = caller->gid, .groups = groups });
    }
  error = connect_user (view, caller->user);
  if (error < 0)
    return error;
  caller->snapshots = caller->user->snapshots;
  caller->number = caller->user->number;
  g_atomic_pointer_set (&caller->client, caller->user->client);
  return 0;
}

void
fsc_caller_cancel (FscCaller *caller)
{
  fscache_cancel_with (g_atomic_pointer_get (&caller->client), &caller->cancel);
}

/* What the kernel has to decide for him. */

static int
run_as (const FscCaller *caller, FscPrivilegesFunc func, int fd, const void *argument)
{
  const FscViewUser *user = caller->user;

  if (user == NULL)
    return func (fd, argument);
  return fsc_privileges_run_as (user->uid, user->gid,
                                (const gid_t *) (gconstpointer) user->groups->data,
                                user->groups->len, func, fd, argument);
}

static int
check_access (int fd, const void *mask)
{
  return faccessat (fd, "", *(const int *) mask, AT_EACCESS | AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int
fsc_caller_access (const FscCaller *caller, int fd, int mask)
{
  return run_as (caller, check_access, fd, &mask);
}

static int
set_times (int fd, const void *times)
{
  return utimensat (fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int
fsc_caller_set_times (const FscCaller *caller, int fd, const struct timespec times[2])
{
  return run_as (caller, set_times, fd, times);
}
