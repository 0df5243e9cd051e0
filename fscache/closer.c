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

static void
close_in_thread (gpointer data, gpointer unused)
{
  close (GPOINTER_TO_INT (data) - 1);
  g_atomic_int_add (&n_pending, -1);
}

/* The one thread; made when it is first needed, ended by GLib when idle. */
static GThreadPool *
get_pool (void)
{
  static GThreadPool *pool;

  if (g_once_init_enter (&pool))
    g_once_init_leave (&pool, g_thread_pool_new (close_in_thread, NULL, 1, FALSE, NULL));
  return pool;
}

/* A borrower may have said so; and to unsay it would take the socket's lock, which a borrower may
 * hold for ever. */
static gboolean
is_lingering (int fd)
{
  struct linger linger;
  socklen_t length = sizeof linger;

  return getsockopt (fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff != 0;
}

void
fsc_closer_close (int fd)
{
  struct stat st;
  gboolean is_known = fstat (fd, &st) == 0;

  if (is_known && S_ISSOCK (st.st_mode) && is_lingering (fd))
    {
      fsc_closer_close_foreign (fd);
      return;
    }
  if (is_known && S_ISREG (st.st_mode) && st.st_nlink == 0 && st.st_size >= LARGE)
    {
      g_atomic_int_inc (&n_pending);
      if (g_thread_pool_push (get_pool (), GINT_TO_POINTER (fd + 1), NULL))
        return;
      g_atomic_int_add (&n_pending, -1);
    }
  close (fd);
}

bool
fsc_closer_is_done (void)
{
  return g_atomic_int_get (&n_pending) == 0;
}

static gpointer
close_foreign (gpointer data)
{
  close (GPOINTER_TO_INT (data));
  return NULL;
}

void
fsc_closer_close_foreign (int fd)
{
  GThread *thread = g_thread_try_new ("close", close_foreign, GINT_TO_POINTER (fd), NULL);

  if (thread != NULL)
    g_thread_unref (thread);
  /* Without a thread the descriptor stays open: better one lost than a service that hangs. */
}
