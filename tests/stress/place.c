/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Where a run happens; see place.h.
 */
#include "tests/stress/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/beneath.h"

#define LOOP_TRIES 10

/* Those that need an image, and how it is made. */
static const struct
{
  const char *fs;
  const char *program;
  const char *options[2];
  off_t size;
} images[] = {
  { "ext4", "mkfs.ext4", { "-q", "-F" }, 64 << 20 },
  { "xfs", "mkfs.xfs", { "-q", "-f" }, 320 << 20 },
  { "btrfs", "mkfs.btrfs", { "-q", "-f" }, 256 << 20 },
};

gboolean
diff_place_is_known (const char *fs)
{
  g_auto (GStrv) known = g_strsplit (DIFF_PLACE_ALL, ",", -1);

  return g_strv_contains ((const char *const *) known, fs);
}

static gboolean
say (char **reason, const char *what)
{
  *reason = g_strdup_printf ("%s: %s", what, g_strerror (errno));
  return FALSE;
}

/* Namespaces */

/* Whoever is not root can be it in a user namespace, as far as tmpfs and overlayfs go. */
static gboolean
become_root (char **reason)
{
  g_autofree char *uids = g_strdup_printf ("0 %u 1", geteuid ());
  g_autofree char *gids = g_strdup_printf ("0 %u 1", getegid ());

  if (geteuid () == 0)
    return TRUE;
  if (unshare (CLONE_NEWUSER) < 0)
    return say (reason, "neither root nor a user namespace");
  if (!g_file_set_contents_full ("/proc/self/setgroups", "deny", -1, G_FILE_SET_CONTENTS_NONE, 0,
                                 NULL)
      || !g_file_set_contents_full ("/proc/self/uid_map", uids, -1, G_FILE_SET_CONTENTS_NONE, 0,
                                    NULL)
      || !g_file_set_contents_full ("/proc/self/gid_map", gids, -1, G_FILE_SET_CONTENTS_NONE, 0,
                                    NULL))
    return say (reason, "no mapping in a user namespace");
  return TRUE;
}

static gboolean
enter_namespace (const char *base, char **reason)
{
  if (!become_root (reason))
    return FALSE;
  if (unshare (CLONE_NEWNS) < 0 || mount (NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
    return say (reason, "no mount namespace");
  if (mount ("tmpfs", base, "tmpfs", 0, "mode=755") < 0)
    return say (reason, "no tmpfs");
  return TRUE;
}

/* Images */

/* A loop device with an image that only it knows: no mount of ours may have it, because mounts that
 * refer to each other are never freed. The device is freed when nobody has it open or mounted.
 * Returns a descriptor of it, which the caller closes after mounting, or -1. */
static int
attach (off_t size, char name[32])
{
  struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR };
  int control = open ("/dev/loop-control", O_RDWR | O_CLOEXEC);
  int file = memfd_create ("fscache-differential", MFD_CLOEXEC);
  int device = -1, error = errno;

  for (int i = 0; control >= 0 && ftruncate (file, size) == 0 && i < LOOP_TRIES; i++)
    {
      int number = ioctl (control, LOOP_CTL_GET_FREE);

      g_snprintf (name, 32, "/dev/loop%d", number);
      device = number >= 0 ? open (name, O_RDWR | O_CLOEXEC) : -1;
      config.fd = (guint32) file;
      if (device >= 0 && ioctl (device, LOOP_CONFIGURE, &config) == 0)
        break;
      error = errno;
      if (device >= 0)
        close (device);
      device = -1;
      if (error != EBUSY) /* another one was faster */
        break;
    }
  if (control >= 0)
    close (control);
  close (file);
  errno = error;
  return device;
}

static gboolean
make_fs (const char *device, guint kind, char **reason)
{
  const char *const *options = images[kind].options;
  const char *arguments[] = { images[kind].program, options[0], options[1], device, NULL };
  g_autofree char *path = g_strconcat (g_getenv ("PATH"), ":/usr/sbin:/sbin", NULL);
  g_autofree char *output = NULL;
  g_autoptr (GError) error = NULL;
  int status;

  g_setenv ("PATH", path, TRUE);
  if (g_spawn_sync (NULL, (char **) arguments, NULL,
                    G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, NULL, &output,
                    &status, &error)
      && g_spawn_check_wait_status (status, &error))
    return TRUE;
  *reason = g_strdup_printf ("%s: %s %s", images[kind].program, error->message,
                             output != NULL ? g_strstrip (output) : "");
  return FALSE;
}

static gboolean
mount_image (const DiffPlace *place, guint kind, char **reason)
{
  char name[32] = "no loop device";
  int device = attach (images[kind].size, name);
  gboolean is_good;

  if (device < 0)
    return say (reason, name);
  is_good = make_fs (name, kind, reason)
            && (mount (name, place->kept, place->fs, 0, NULL) == 0
                || say (reason, "cannot be mounted"));
  close (device);
  return is_good;
}

/* overlayfs */

static char *
in_base (const DiffPlace *place, const char *name)
{
  return g_build_filename (place->base, name, NULL);
}

static void
put (const char *dir, const char *name, const char *content)
{
  g_autofree char *path = g_build_filename (dir, name, NULL);

  g_file_set_contents (path, content, -1, NULL);
}

/* What lower directories hold: enough of the names of the test for copy-ups. */
static void
fill_lower (const char *dir)
{
  g_autofree char *inner = g_build_filename (dir, "b", NULL);

  mkdir (dir, 0755);
  mkdir (inner, 0755);
  put (dir, "a", "lower a\n");
  put (dir, "c", "lower c\n");
  put (inner, "a", "lower b/a\n");
  put (inner, "b", "lower b/b\n");
}

static gboolean
mount_overlay (const DiffPlace *place)
{
  const char *const names[] = { "over-lower", "over-upper", "over-work" };
  g_autofree char *lower = in_base (place, "over-lower");
  g_autofree char *tree = g_build_filename (lower, "tree", NULL);
  g_autofree char *data = g_strdup_printf (
      "lowerdir=%s,upperdir=%s/over-upper,workdir=%s/over-work", lower, place->base, place->base);
  int base = open (place->base, O_PATH | O_DIRECTORY | O_CLOEXEC);

  for (guint i = 0; i < G_N_ELEMENTS (names); i++)
    {
      diff_beneath_remove (base, names[i]);
      mkdirat (base, names[i], 0755);
    }
  close (base);
  fill_lower (tree);
  return mount ("overlay", place->mount, "overlay", 0, data) == 0;
}

/* All together */

static gboolean
mount_fs (DiffPlace *place, char **reason)
{
  for (guint i = 0; i < G_N_ELEMENTS (images); i++)
    if (g_str_equal (place->fs, images[i].fs))
      return mount_image (place, i, reason);
  if (g_str_equal (place->fs, "overlay"))
    return mount_overlay (place) || say (reason, "no overlayfs");
  return mount ("tmpfs", place->kept, "tmpfs", 0, "mode=755") == 0 || say (reason, "no tmpfs");
}

gboolean
diff_place_enter (DiffPlace *place, const char *base, const char *fs, char **reason)
{
  g_autofree char *lower = NULL, *overlays = NULL;

  *place = (DiffPlace){ .fs = fs, .base = g_strdup (base) };
  place->kept = in_base (place, "kept");
  place->mount = in_base (place, "fs");
  place->tree = g_build_filename (place->mount, "tree", NULL);
  umask (0022);
  if (!enter_namespace (base, reason) || mkdir (place->mount, 0755) < 0
      || mkdir (place->kept, 0755) < 0 || !mount_fs (place, reason))
    return FALSE;
  lower = in_base (place, "lower");
  fill_lower (lower);
  overlays = in_base (place, "overlays");
  mkdir (overlays, 0755);
  return TRUE;
}

void
diff_place_refresh (const DiffPlace *place)
{
  gboolean is_overlay = g_str_equal (place->fs, "overlay");
  int dir = open (place->base, O_PATH | O_DIRECTORY | O_CLOEXEC);
  int result = 0;

  umount2 (place->mount, MNT_DETACH); /* with all that is mounted in it */
  diff_beneath_remove (dir, "overlays");
  mkdirat (dir, "overlays", 0755);
  close (dir);

  if (!is_overlay)
    {
      dir = open (place->kept, O_PATH | O_DIRECTORY | O_CLOEXEC);
      result = diff_beneath_remove (dir, "tree");
      mkdirat (dir, "tree", 0755);
      close (dir);
    }
  if ((result < 0 && result != -ENOENT)
      || !(is_overlay ? mount_overlay (place)
                      : mount (place->kept, place->mount, NULL, MS_BIND, NULL) == 0))
    g_error ("no fresh tree: %s", g_strerror (result < 0 ? -result : errno));
}

void
diff_place_clear (DiffPlace *place)
{
  g_free (place->base);
  g_free (place->kept);
  g_free (place->mount);
  g_free (place->tree);
}
