/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * The private service of a run; see stand.h.
 *
 * A limit of watches is that of a user namespace, in which only the service is, and in which all
 * users are themselves. So it is nobody else's limit, and need not be put back.
 */
#include "tests/stress/stand.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_SECONDS 20
#define STOP_SECONDS 20

gboolean
diff_stand_init (DiffStand *stand, const DiffPlace *place, uid_t user, const char *programs,
                 char **reason)
{
  g_autofree char *here = g_build_filename (place->base, "programs", NULL);
  g_autofree char *run = g_build_filename (place->base, "run", NULL);

  *stand = (DiffStand){ .place = place, .user = user };
  stand->socket = g_build_filename (run, "socket", NULL);
  stand->log = g_build_filename (place->base, "log", NULL);
  if (mkdir (here, 0755) < 0 || mount (programs, here, NULL, MS_BIND, NULL) < 0
      || mkdir (run, 0700) < 0 || chown (run, user, user) < 0)
    {
      *reason = g_strdup_printf ("cannot prepare for user %u: %s", user, g_strerror (errno));
      return FALSE;
    }
  return TRUE;
}

void
diff_stand_clear (DiffStand *stand)
{
  g_free (stand->socket);
  g_free (stand->log);
}

/* Users */

void
diff_stand_init_tree (const DiffStand *stand, DiffTree *tree)
{
  uid_t stranger = DIFF_ORDINARY_USER + 1;
  const DiffPlace *place = stand->place;

  *tree = (DiffTree){
    .path = g_strdup (place->tree),
    .mount = g_strdup (place->mount),
    .base = g_strdup (place->base),
    .fd = open (place->tree, O_PATH | O_DIRECTORY | O_CLOEXEC),
    .users = { 0, stand->user, stranger },
    .groups = { 0, stand->user, stranger, DIFF_OTHER_GROUP },
  };
}

void
diff_tree_clear (DiffTree *tree)
{
  close (tree->fd);
  g_free (tree->path);
  g_free (tree->mount);
  g_free (tree->base);
}

static void
set_user (uid_t user)
{
  gid_t other = DIFF_OTHER_GROUP;

  if (user == 0)
    return;
  if (setgroups (1, &other) < 0 || setresgid (user, user, user) < 0
      || setresuid (user, user, user) < 0)
    g_error ("cannot become user %u: %s", user, g_strerror (errno));
}

void
diff_stand_become_user (const DiffStand *stand)
{
  struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
  struct __user_cap_data_struct none[2] = { 0 };

  set_user (stand->user);
  if (syscall (SYS_capset, &header, none) < 0)
    g_error ("cannot give up capabilities: %s", g_strerror (errno));
}

/* Starting */

static gboolean
write_to (const char *path, const char *text)
{
  int fd = open (path, O_WRONLY | O_CLOEXEC);
  gboolean is_good = fd >= 0 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);

  if (fd >= 0)
    close (fd);
  return is_good;
}

/* "0 0 N": all users of this namespace, as themselves. */
static char *
list_users (void)
{
  g_autofree char *map = NULL;
  guint first, outside, n = 1;

  g_file_get_contents ("/proc/self/uid_map", &map, NULL, NULL);
  if (map != NULL)
    sscanf (map, "%u %u %u", &first, &outside, &n);
  return g_strdup_printf ("0 0 %u", n);
}

/* A process cannot map all users in its own namespace: another one does it, which is still
 * outside. */
static void
limit_watches (guint limit)
{
  g_autofree char *number = g_strdup_printf ("%u", limit);
  pid_t child, parent = getpid ();
  int is_made[2], status = -1;
  char byte;
  g_autofree char *users = list_users ();

  if (pipe2 (is_made, O_CLOEXEC) < 0 || (child = fork ()) < 0)
    g_error ("cannot limit watches: %s", g_strerror (errno));
  if (child == 0)
    {
      g_autofree char *uids = g_strdup_printf ("/proc/%d/uid_map", parent);
      g_autofree char *gids = g_strdup_printf ("/proc/%d/gid_map", parent);

      close (is_made[1]);
      if (read (is_made[0], &byte, 1) != 1)
        _exit (1);
      _exit (write_to (uids, users) && write_to (gids, users) ? 0 : 1);
    }
  if (unshare (CLONE_NEWUSER) < 0 || write (is_made[1], "", 1) != 1
      || waitpid (child, &status, 0) < 0 || status != 0
      || !write_to ("/proc/sys/user/max_inotify_watches", number))
    g_error ("cannot limit watches in a user namespace: %s", g_strerror (errno));
}

static void
run_service (const DiffStand *stand)
{
  g_autofree char *program = g_build_filename (stand->place->base, "programs", "fscached", NULL);
  g_autofree char *openers = g_build_filename (stand->place->base, "programs", "openers", NULL);
  g_autofree char *handles = g_strdup_printf ("%u", stand->max_handles);
  const char *arguments[] = { program,     "--socket",      stand->socket, "--config",
                              "/dev/null", "--max-handles", handles,       NULL };
  int log = open (stand->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

  if (stand->max_handles == 0)
    arguments[5] = NULL;
  dup2 (log, 1);
  dup2 (log, 2);
  if (stand->watch_limit > 0)
    limit_watches (stand->watch_limit);
  set_user (stand->user);
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  g_setenv ("FSCACHE_OPENER_DIR", openers, TRUE);
  execv (program, (char **) arguments);
  g_error ("cannot execute %s: %s", program, g_strerror (errno));
}

static gboolean
listens (const DiffStand *stand)
{
  struct sockaddr_un address = { .sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  gboolean is_there;

  g_strlcpy (address.sun_path, stand->socket, sizeof address.sun_path);
  is_there = connect (fd, (const struct sockaddr *) &address, sizeof address) == 0;
  close (fd);
  return is_there;
}

static gboolean
is_clean (const DiffStand *stand)
{
  static const char *const faults[] = { "CRITICAL", "ERROR", "Sanitizer", "runtime error" };
  g_autofree char *log = NULL;

  g_file_get_contents (stand->log, &log, NULL, NULL);
  for (guint i = 0; log != NULL && i < G_N_ELEMENTS (faults); i++)
    if (strstr (log, faults[i]) != NULL)
      {
        printf ("The service has logged: %s\n", log);
        return FALSE;
      }
  return TRUE;
}

gboolean
diff_stand_start (DiffStand *stand)
{
  g_autofree char *log = NULL;

  unlink (stand->log);
  unlink (stand->socket);
  fflush (NULL);
  stand->pid = fork ();
  if (stand->pid == 0)
    run_service (stand);
  for (int i = 0; stand->pid > 0 && i < START_SECONDS * 2000; i++)
    {
      if (listens (stand))
        return TRUE;
      if (waitpid (stand->pid, NULL, WNOHANG) == stand->pid)
        break;
      g_usleep (500);
    }
  g_file_get_contents (stand->log, &log, NULL, NULL);
  printf ("The service does not start. It has logged: %s\n", log != NULL ? log : "nothing");
  stand->pid = 0;
  return FALSE;
}

gboolean
diff_stand_stop (DiffStand *stand)
{
  int status = -1;

  kill (stand->pid, SIGTERM);
  for (int i = 0; i < STOP_SECONDS * 2000; i++)
    {
      if (waitpid (stand->pid, &status, WNOHANG) == stand->pid)
        {
          stand->pid = 0;
          if (status != 0)
            printf ("The service has ended with status %#x\n", (guint) status);
          return is_clean (stand) && status == 0;
        }
      g_usleep (500);
    }
  printf ("The service does not end\n");
  kill (stand->pid, SIGKILL);
  waitpid (stand->pid, NULL, 0);
  stand->pid = 0;
  return FALSE;
}
