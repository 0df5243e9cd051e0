/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner: a small process, forked from the service before there is any handle, that starts the
 * openers and ends them. fork() copies the table of descriptors, so a service with a million
 * handles could not start anything quickly; the spawner has a handful.
 *
 * It is also what is left of root: if the service is started as that, the spawner keeps what it
 * takes to start a process as another user, which the service gives up.
 *
 * An opener starts with a clean environment, no capabilities, no_new_privs, its socket at
 * descriptor 3, /dev/null at 0 and 1, the service's standard error at 2, and nothing else. It is
 * killed when the spawner goes; the spawner goes, and kills all, when the service goes, however
 * that comes about.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "fscache/loop.h"

typedef struct FscSpawner FscSpawner;

/* Who a process is to be. */
typedef struct
{
  uid_t uid;
  gid_t gid;
  guint n_groups;
  gid_t *groups; /* supplementary ones */
} FscUser;

/* Forks. Must be called before any thread is made and before any handle is there. */
FscSpawner *fsc_spawner_new (GError **error);
void fsc_spawner_free (FscSpawner *spawner);
G_DEFINE_AUTOPTR_CLEANUP_FUNC (FscSpawner, fsc_spawner_free)

/* Called when a process has ended, with its status of waitpid(2). */
typedef void (*FscExitedFunc) (guint32 id, int status, gpointer data);
gboolean fsc_spawner_attach (FscSpawner *spawner, FscLoop *loop, FscExitedFunc exited,
                             gpointer data, GError **error);

/* Whether it can start a process as somebody else than the service. */
gboolean fsc_spawner_is_privileged (const FscSpawner *spawner);

/* Starts a command with `socket` (borrowed) at descriptor 3. That is a program's path and its
 * arguments, ended by NULL, and before it, as for env(1), words NAME=VALUE, which are added to its
 * environment. It runs as a user, or if that is NULL as the service's own. Returns a number for it,
 * 0 on failure. */
guint32 fsc_spawner_start (FscSpawner *spawner, char *const *command, const FscUser *user,
                           int socket, GError **error);

/* SIGKILL. `exited` is called when it has really ended; a process that is stuck in the kernel may
 * take until its file system answers. */
void fsc_spawner_kill (FscSpawner *spawner, guint32 id);

/* Whether a process that was started has not ended yet, as far as is known. */
gboolean fsc_spawner_is_running (const FscSpawner *spawner, guint32 id);
