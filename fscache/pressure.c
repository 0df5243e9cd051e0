/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A trigger of PSI; see pressure.h.
 */
#include "fscache/pressure.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fscache/failure.h"

/* Some task had to wait for 300 of 2,000 ms. Ordinary users may only have windows of whole two
 * seconds. */
#define TRIGGER "some 300000 2000000"

struct FscPressure
{
  FscPoll poll;
  FscLoop *loop;
  void (*func) (gpointer data);
  gpointer data;
};

static void
pressure_ready (FscPoll *poll, guint32 events)
{
  FscPressure *pressure = poll->data;

  if ((events & EPOLLERR) != 0) /* it is gone: there will be no event any more */
    fsc_loop_remove (pressure->loop, poll);
  else if ((events & EPOLLPRI) != 0)
    pressure->func (pressure->data);
}

FscPressure *
fsc_pressure_new (FscLoop *loop, const char *path, void (*func) (gpointer data), gpointer data,
                  GError **error)
{
  int fd = open (path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  FscPressure *pressure;

  if (fd < 0)
    {
      fsc_failure_set_errno (error, errno, "cannot open %s", path);
      return NULL;
    }
  pressure = g_new0 (FscPressure, 1);
  *pressure = (FscPressure){
    .poll = { .fd = fd, .ready = pressure_ready, .data = pressure },
    .loop = loop,
    .func = func,
    .data = data,
  };
  if (write (fd, TRIGGER, sizeof TRIGGER) < 0)
    fsc_failure_set_errno (error, errno, "cannot set a trigger in %s", path);
  else if (!fsc_loop_add (loop, &pressure->poll, EPOLLPRI))
    fsc_failure_set_errno (error, errno, "cannot wait for %s", path);
  else
    return pressure;
  close (fd);
  g_free (pressure);
  return NULL;
}

void
fsc_pressure_free (FscPressure *pressure)
{
  fsc_loop_remove (pressure->loop, &pressure->poll);
  close (pressure->poll.fd);
  g_free (pressure);
}
