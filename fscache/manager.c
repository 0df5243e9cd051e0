/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Whoever started the service; see manager.h.
 */
#include "fscache/manager.h"

#include <errno.h>
#include <sys/socket.h>

#include "fscache/failure.h"

#if FSC_HAS_SYSTEMD
#include <systemd/sd-daemon.h>

guint
fsc_manager_count_descriptors (void)
{
  int n = sd_listen_fds (TRUE);

  return n > 0 ? (guint) n : 0;
}

gboolean
fsc_manager_take_socket (guint n_passed, int *socket, GError **error)
{
  *socket = -1;
  if (n_passed == 0)
    return TRUE;
  if (n_passed > 1)
    return fsc_failure_set (error, EINVAL,
                            "%u descriptors were passed, and only one is of use: the socket to "
                            "listen at",
                            n_passed);
  if (sd_is_socket_unix (SD_LISTEN_FDS_START, SOCK_SEQPACKET, TRUE, NULL, 0) <= 0)
    return fsc_failure_set (error, EINVAL,
                            "what was passed is no Unix socket that listens for packets "
                            "(ListenSequentialPacket=)");
  *socket = SD_LISTEN_FDS_START;
  return TRUE;
}

void
fsc_manager_say_ready (const char *status)
{
  sd_notifyf (FALSE, "READY=1\nSTATUS=%s", status);
}

void
fsc_manager_say_reloading (void)
{
  sd_notifyf (FALSE, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time ());
}

void
fsc_manager_say_stopping (void)
{
  sd_notify (FALSE, "STOPPING=1\nSTATUS=Stopping");
}

static gboolean
say_alive (gpointer unused)
{
  sd_notify (FALSE, "WATCHDOG=1");
  return G_SOURCE_CONTINUE;
}

guint
fsc_manager_watch (FscLoop *loop)
{
  guint64 us;

  if (sd_watchdog_enabled (FALSE, &us) <= 0)
    return 0;
  return fsc_loop_add_timeout (loop, (guint) CLAMP (us / 2000, 1, G_MAXUINT), say_alive, NULL);
}

#else

guint
fsc_manager_count_descriptors (void)
{
  return 0;
}

gboolean
fsc_manager_take_socket (guint n_passed, int *socket, GError **error)
{
  *socket = -1;
  return TRUE;
}

void
fsc_manager_say_ready (const char *status)
{
}

void
fsc_manager_say_reloading (void)
{
}

void
fsc_manager_say_stopping (void)
{
}

guint
fsc_manager_watch (FscLoop *loop)
{
  return 0;
}

#endif
