/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The spawner: a small process, forked from the service before there is any handle, that starts the
 * openers and ends them. fork() copies the table of descriptors, so a service with a million
 * handles could not start anything quickly; the spawner has a handful.
 *
 * It is also what is left of root: if the service is started as that, the spawner keeps what it
 * takes to start a process as another user, which the service gives up. In a service for all users
 * it accepts the clients, too, and tells who they are; nursery.h says what it does not let the
 * service do.
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

/* A client, as the kernel knows it. */
typedef struct
{
  pid_t pid;
  gboolean is_known; /* else it cannot be served: there are too many users, or it is in too many
                        groups */
  FscUser user;      /* its groups are borrowed */
} FscPeer;

typedef struct
{
  /* A process has ended, with its status of waitpid(2). */
  void (*exited) (guint32 id, int status, gpointer data);

  /* For all users: a client has come. Takes the socket: non-blocking and close-on-exec. */
  void (*accepted) (int socket, const FscPeer *peer, gpointer data);

  /* For all users: the spawner has ended, and there can be no other. */
  void (*lost) (gpointer data);
} FscSpawnerFuncs;

gboolean fsc_spawner_attach (FscSpawner *spawner, FscLoop *loop, const FscSpawnerFuncs *funcs,
                             gpointer data, GError **error);

/* For a service that is to serve all users, while it is root. What it will have to start, and as
 * whom besides its clients; and then: accept them at this socket (borrowed), start as `own` what is
 * to run as nobody else, and hear nothing more of this. Each waits for room. */
gboolean fsc_spawner_allow_command (FscSpawner *spawner, char *const *command, GError **error);
gboolean fsc_spawner_allow_user (FscSpawner *spawner, const FscUser *user, GError **error);
gboolean fsc_spawner_serve_all (FscSpawner *spawner, int listener, const FscUser *own,
                                GError **error);
gboolean fsc_spawner_serves_all (const FscSpawner *spawner);

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
