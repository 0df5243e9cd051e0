/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Closing what may take long to close; see closer.h.
 */
#include "fscache/closer.h"

#include <glib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LARGE (4 * 1024 * 1024)

static int n_pending; /* atomic */

/* For what is large, one thread is made when it is first needed. GLib ends threads that are idle.
 */

static void
close_in_thread (gpointer data, gpointer unused)
{
  close (GPOINTER_TO_INT (data) - 1);
  g_atomic_int_add (&n_pending, -1);
}

static GThreadPool *
get_pool (void)
{
  static GThreadPool *pool;

  if (g_once_init_enter (&pool))
    g_once_init_leave (&pool, g_thread_pool_new (close_in_thread, NULL, 1, FALSE, NULL));
  return pool;
}

/* Whether closing a socket may have to wait. One that lingers: a borrower may have said so, and to
 * unsay it would take the socket's lock, which a borrower may hold for ever. One of AF_UNIX: there
 * may be descriptors in it that nobody has received, of anything. */
static gboolean
may_wait (int fd)
{
  struct linger linger;
  socklen_t length = sizeof linger;
  int domain = AF_UNIX;

  getsockopt (fd, SOL_SOCKET, SO_DOMAIN, &domain, &(socklen_t){ sizeof domain });
  return domain == AF_UNIX
         || (getsockopt (fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff != 0);
}

void
fsc_closer_close (int fd)
{
  struct stat st;
  gboolean is_known = fstat (fd, &st) == 0;

  if (is_known && S_ISSOCK (st.st_mode) && may_wait (fd))
    {
      fsc_closer_close_foreign (fd);
      return;
    }
  if (is_known && S_ISREG (st.st_mode) && st.st_nlink == 0 && st.st_size >= LARGE)
    {
      g_atomic_int_inc (&n_pending);
      g_thread_pool_push (get_pool (), GINT_TO_POINTER (fd + 1), NULL);
      return; /* if there is no thread it waits for one */
    }
  close (fd);
}

bool
fsc_closer_is_done (void)
{
  return g_atomic_int_get (&n_pending) == 0;
}

/* For what is foreign, as many as there is to close at the time. */

static void
clear_in_thread (gpointer data, gpointer unused)
{
  fsc_fds_clear (data);
  g_free (data);
}

static GThreadPool *
get_foreign_pool (void)
{
  static GThreadPool *pool;

  if (g_once_init_enter (&pool))
    g_once_init_leave (&pool, g_thread_pool_new (clear_in_thread, NULL, -1, FALSE, NULL));
  return pool;
}

void
fsc_closer_clear_foreign (FscFds *fds)
{
  gboolean is_any = FALSE;

  for (unsigned i = 0; i < fds->n; i++)
    is_any |= fds->fds[i] >= 0;
  if (is_any)
    g_thread_pool_push (get_foreign_pool (), g_memdup2 (fds, sizeof *fds), NULL);
  fds->n = 0;
}

void
fsc_closer_close_foreign (int fd)
{
  FscFds one;

  one.n = 1;
  one.fds[0] = fd;
  fsc_closer_clear_foreign (&one);
}
