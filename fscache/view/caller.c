/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Who asks; see caller.h.
 */
#include "fscache/view/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fscache/view/groups.h"
#include "fscache/view/listing.h"
#include "fscache/view/privileges.h"
#include "fscache/view/view.h"

/* Clients that are kept, beside those that are in use. */
#define USERS_MAX 64

/* Threads whose groups are known for a while, a power of two; and the bits of a thread's number. */
#define KNOWN_MAX 1024
#define PID_BITS 22

struct FscViewUser
{
  uid_t uid;
  gid_t gid;
  GArray *groups; /* of gid_t, sorted */
  guint64 number;
  FscListing *listing;

  GMutex lock;           /* held while connecting */
  FscacheClient *client; /* with that; set once */

  /* With the lock of all. */
  GList link;
  guint n_calls;
};

struct FscCallers
{
  FscView *view;
  FscViewUser *own; /* who this process is; it has no client, since the view has one */

  /* Threads that were found to be that one, each with when (in ms) above its number, at the place
   * that the number says. Atomic. */
  guint64 known[KNOWN_MAX];

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
  user->listing = fsc_listing_new ();
  user->link.data = user;
  g_mutex_init (&user->lock);
  return user;
}

static void
free_user (FscViewUser *user)
{
  fscache_disconnect (user->client);
  fsc_listing_free (user->listing);
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

/* This process, whose IDs do not change. */
static FscViewUser *
make_own_user (void)
{
  g_autoptr (GArray) groups = fsc_groups_get_own ();
  const FscViewUser key = { .uid = geteuid (), .gid = getegid (), .groups = groups };

  fsc_groups_reduce (groups, key.gid);
  return make_user (&key, 0);
}

FscCallers *
fsc_callers_new (FscView *view)
{
  FscCallers *callers = g_new0 (FscCallers, 1);

  callers->view = view;
  callers->own = make_own_user ();
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
  free_user (callers->own);
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
      FscacheClient *client = NULL;

      /* Who is connecting, or could not, has borrowed nothing. Without the lock: it may hang. */
      if (g_mutex_trylock (&user->lock))
        {
          client = user->client;
          g_mutex_unlock (&user->lock);
        }
      if (client != NULL)
        let_go (client, all);
      give_back_user (callers, user);
    }
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

/* Whether he was found to be who runs the view so short a time ago that names may be as old. */
static gboolean
is_known (FscCallers *callers, pid_t pid, gint64 now)
{
  guint64 known = __atomic_load_n (&callers->known[pid % KNOWN_MAX], __ATOMIC_RELAXED);

  return (known & (((guint64) 1 << PID_BITS) - 1)) == (guint64) pid
         && now - (gint64) (known >> PID_BITS) < (gint64) (callers->view->timeout * 1000);
}

static gboolean
has_own_groups (const FscCaller *caller)
{
  g_autoptr (GArray) groups = fsc_groups_read (caller->pid, caller->uid, caller->gid);
  FscViewUser user = { .uid = caller->uid, .gid = caller->gid, .groups = groups };

  if (groups == NULL)
    return FALSE;
  fsc_groups_reduce (groups, caller->gid);
  return equal_users (&user, caller->view->callers->own);
}

/* Whether he is who runs the view, in all that the kernel looks at when a file is opened. */
static gboolean
is_own (const FscCaller *caller)
{
  FscCallers *callers = caller->view->callers;
  gint64 now;

  if (caller->uid != callers->own->uid || caller->gid != callers->own->gid || caller->pid <= 0)
    return FALSE;
  now = g_get_monotonic_time () / 1000;
  if (is_known (callers, caller->pid, now))
    return TRUE;
  if (!has_own_groups (caller))
    return FALSE;
  __atomic_store_n (&callers->known[caller->pid % KNOWN_MAX],
                    (guint64) now << PID_BITS | (guint64) caller->pid, __ATOMIC_RELAXED);
  return TRUE;
}

gboolean
fsc_caller_connect_quickly (FscCaller *caller)
{
  const FscView *view = caller->view;

  if (caller->client == NULL && is_own (caller))
    {
      caller->listing = view->listing;
      g_atomic_pointer_set (&caller->client, view->client);
    }
  return caller->client != NULL;
}

gboolean
fsc_caller_is_served (FscCaller *caller)
{
  return caller->view->uid == 0 || fsc_caller_connect_quickly (caller);
}

int
fsc_caller_connect (FscCaller *caller)
{
  FscView *view = caller->view;
  g_autoptr (GArray) groups = NULL;
  int error;

  if (fsc_caller_connect_quickly (caller))
    return 0;
  if (view->uid != 0)
    return -EACCES;
  if (caller->user == NULL)
    {
      groups = fsc_groups_read (caller->pid, caller->uid, caller->gid);
      if (groups == NULL)
        return -EACCES;
      caller->user
          = get_user (view->callers,
                      &(FscViewUser){ .uid = caller->uid, .gid = caller->gid, .groups = groups });
    }
  error = connect_user (view, caller->user);
  if (error < 0)
    return error;
  caller->listing = caller->user->listing;
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

/* By the link, because not all kernels change the mode of a path-only handle. */
static int
set_mode (int fd, const void *mode)
{
  char path[32];

  g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  return chmod (path, *(const mode_t *) mode) < 0 ? -errno : 0;
}

int
fsc_caller_set_mode (const FscCaller *caller, int fd, mode_t mode)
{
  return run_as (caller, set_mode, fd, &mode);
}

typedef struct
{
  uid_t uid;
  gid_t gid;
} Owner;

static int
set_owner (int fd, const void *argument)
{
  const Owner *owner = argument;

  return fchownat (fd, "", owner->uid, owner->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int
fsc_caller_set_owner (const FscCaller *caller, int fd, uid_t uid, gid_t gid)
{
  return run_as (caller, set_owner, fd, &(Owner){ uid, gid });
}
