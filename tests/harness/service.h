/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * A private fscached for a test: in a directory of its own, with the openers of the build tree,
 * waited for until it answers, and checked after the test: no more descriptors open than before, in
 * the test and in the service, and no process left behind.
 */
#pragma once

#include <glib.h>
#include <sys/types.h>

#include "libclient/fscache.h"
#include "tests/harness/program.h"

typedef struct
{
  char *dir;             /* private, 0700; removed with all that is in it */
  int lock;              /* of that */
  char *socket;          /* dir/run/socket */
  char *config;          /* dir/fscached.conf */
  char *log;             /* dir/log: its standard error */
  char *opener_dir;      /* or NULL: the build tree's; may be set between stop and start */
  guint max_descriptors; /* or 0: as this process; RLIMIT_NOFILE, also for the next start */
  pid_t pid;             /* 0: not running */
  char **arguments;      /* more of them, or NULL */
  void (*set_up) (gpointer data); /* or NULL: called in its process, before its program runs */
  gpointer set_up_data;
  char *descriptors; /* of the test, before */
  long base;         /* of the service, when it had just started */
} FscTestService;

/* Makes the directory, writes the configuration (NULL: empty), starts the service with these
 * options (NULL: none) and waits until it answers a ping. */
FscTestService *fsc_test_service_new (const char *config, const char *const *arguments);

/* The same without starting it, for what must be set before. */
FscTestService *fsc_test_service_prepare (const char *config, const char *const *arguments);

/* Starts it (again). */
void fsc_test_service_start (FscTestService *service);

/* SIGTERM; it must exit with 0 within a second, and no opener may be left. */
void fsc_test_service_stop (FscTestService *service);

/* The same with another signal. */
void fsc_test_service_stop_with (FscTestService *service, int number);

/* SIGKILL; no opener may be left. */
void fsc_test_service_kill (FscTestService *service);

/* Drops all entries, checks that descriptors are back where they were, stops it, removes the
 * directory. */
void fsc_test_service_free (FscTestService *service);

/* A client that never falls back, connected. Asserts. */
FscacheClient *fsc_test_service_connect (FscTestService *service);

/* A counter of the service, asked for on a connection of its own. */
guint64 fsc_test_service_counter (FscTestService *service, const char *name);

/* Waits until a counter has this value; fails if it has not within five seconds. */
void fsc_test_service_wait_for (FscTestService *service, const char *name, guint64 value);

/* Runs fscachectl on it, in its directory, with these words, up to the first NULL. */
void fsc_test_service_ctl (FscTestService *service, FscTestProgram *result,
                           const char *const *words);

#define FSC_TEST_WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* How many descriptors the service has open beyond what clients, openers, local handles and its own
 * ones account for; waits up to five seconds for that to be none. */
long fsc_test_service_count_left (FscTestService *service);

/* Waits until the service has as many descriptors open as clients, openers, local handles and its
 * own ones account for; fails if it does not within five seconds. */
void fsc_test_service_check_descriptors (FscTestService *service);

/* A file of the build tree: "fscache/fscached". */
char *fsc_test_build_path (const char *name);

/* Whether anybody can execute this file of the build tree; only root can tell. Openers, which may
 * be another user's, are in it. */
gboolean fsc_test_is_for_all (const char *name);

/* As fork(), but the child is another user, in these groups besides its own, without capabilities.
 * For root. */
pid_t fsc_test_fork_as (uid_t uid, const gid_t *groups, size_t n_groups);

/* Waits for a child, which must exit with 0. */
void fsc_test_assert_ends_well (pid_t pid);

/* The processes (pid_t) that a process has started: of the service its spawner, of that openers. */
GArray *fsc_test_list_children (pid_t pid);
GArray *fsc_test_service_list_openers (FscTestService *service);

/* Fails unless all these processes have ended within three seconds. */
void fsc_test_assert_all_end (GArray *pids);

/* Puts this content into a file, which is made if it is not there, and else stays the same one. */
void fsc_test_write (const char *path, const char *content);

/* The same in the private directory. Returns the path. */
char *fsc_test_service_write (FscTestService *service, const char *name, const char *content);

/* The fixture: each test gets a running service. */
#define FSC_TEST_ADD(path, func)                                                                   \
  g_test_add_data_func (path, (gconstpointer) (func), fsc_test_service_run)
typedef void (*FscTestServiceFunc) (FscTestService *service);
void fsc_test_service_run (gconstpointer func);
