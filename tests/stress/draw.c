/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Drawing steps; see draw.h.
 */
#include "tests/stress/draw.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/stress/answer.h"
#include "tests/stress/beneath.h"
#include "tests/stress/mount-step.h"

#define TRIES 12
#define MOUNTS_MAX 10

/* What is wanted of the first path. */
typedef enum
{
  ANYTHING,
  EXISTING,
  MISSING,
  DIRECTORY,
  REGULAR,
  MOUNT,
} Wanted;

static const struct
{
  DiffKind kind;
  guint weight;
  Wanted wanted;
  gboolean mounts;
} choices[] = {
  { DIFF_CREATE, 100, MISSING, FALSE },   { DIFF_MKDIR, 120, MISSING, FALSE },
  { DIFF_SYMLINK, 50, MISSING, FALSE },   { DIFF_LINK, 40, REGULAR, FALSE },
  { DIFF_TMPFILE, 20, MISSING, FALSE },   { DIFF_WRITE, 30, EXISTING, FALSE },
  { DIFF_REPLACE, 60, ANYTHING, FALSE },  { DIFF_SWAP_SYMLINK, 40, ANYTHING, FALSE },
  { DIFF_RENAME, 80, EXISTING, FALSE },   { DIFF_RENAME_NEW, 30, EXISTING, FALSE },
  { DIFF_EXCHANGE, 50, EXISTING, FALSE }, { DIFF_UNLINK, 30, EXISTING, FALSE },
  { DIFF_RMDIR, 20, DIRECTORY, FALSE },   { DIFF_RMTREE, 8, EXISTING, FALSE },
  { DIFF_FIFO, 10, MISSING, FALSE },      { DIFF_SOCKET, 5, MISSING, FALSE },
  { DIFF_DEVICE, 12, MISSING, FALSE },    { DIFF_CHMOD, 80, EXISTING, FALSE },
  { DIFF_CHOWN, 30, EXISTING, FALSE },    { DIFF_ACL, 20, EXISTING, FALSE },
  { DIFF_NO_ACL, 20, EXISTING, FALSE },   { DIFF_DEFAULT_ACL, 4, DIRECTORY, FALSE },
  { DIFF_TMPFS, 15, DIRECTORY, TRUE },    { DIFF_OVERLAY, 6, DIRECTORY, TRUE },
  { DIFF_BIND, 25, EXISTING, TRUE },      { DIFF_MOVE_MOUNT, 15, MOUNT, TRUE },
  { DIFF_MOUNT_FLAGS, 30, MOUNT, TRUE },  { DIFF_UNMOUNT, 15, MOUNT, TRUE },
  { DIFF_DETACH, 30, MOUNT, TRUE },       { DIFF_SHRINK, 5, ANYTHING, TRUE },
  { DIFF_FORGET, 15, ANYTHING, FALSE },
};

void
diff_draw_init (DiffDraw *draw, guint64 seed, guint index, guint n)
{
  *draw = (DiffDraw){
    .state = seed * 0x2545f4914f6cdd1d + index, .last_content = index, .stride = n, .mounts = TRUE
  };
}

/* splitmix64 */
static guint64
next (DiffDraw *draw)
{
  guint64 z = draw->state += 0x9e3779b97f4a7c15;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

guint
diff_draw_below (DiffDraw *draw, guint n)
{
  return (guint) ((next (draw) >> 32) * n >> 32);
}

static guint
below (DiffDraw *draw, guint n)
{
  return diff_draw_below (draw, n);
}

/* Paths */

static void
draw_path (DiffDraw *draw, char path[DIFF_PATH_MAX])
{
  static const guint8 depths[] = { 1, 1, 1, 2, 2, 2, 2, 3, 3, 4 };
  guint depth = depths[below (draw, G_N_ELEMENTS (depths))];
  char *end = path;

  for (guint i = 0; i < depth; i++)
    {
      if (i > 0)
        *end++ = '/';
      *end++ = (char) ('a' + below (draw, 3));
    }
  *end = '\0';
}

/* A mount in the tree. FALSE: there is none. *n is how many there are. */
static gboolean
draw_mount (DiffDraw *draw, const DiffTree *tree, char path[DIFF_PATH_MAX], guint *n)
{
  g_autoptr (GPtrArray) mounts = diff_beneath_list_mounts (tree->path);
  const char *mount = mounts->len > 0 ? mounts->pdata[below (draw, mounts->len)] : NULL;

  *n = mounts->len;
  return mount != NULL && g_strlcpy (path, mount, DIFF_PATH_MAX) < DIFF_PATH_MAX;
}

static mode_t
get_type (const DiffTree *tree, const char *path)
{
  struct stat st = { 0 };
  int fd = diff_beneath_open (tree->fd, path, O_PATH | O_NOFOLLOW);

  if (fd >= 0)
    {
      fstat (fd, &st);
      close (fd);
    }
  return st.st_mode & S_IFMT;
}

/* Whether something could be made there, or renamed to there. */
static gboolean
has_parent (const DiffTree *tree, const char *path)
{
  const char *slash = strrchr (path, '/');
  g_autofree char *parent = slash != NULL ? g_strndup (path, (gsize) (slash - path)) : NULL;
  int fd;

  if (parent == NULL)
    return TRUE;
  fd = diff_beneath_open (tree->fd, parent, O_PATH | O_DIRECTORY);
  if (fd >= 0)
    close (fd);
  return fd >= 0;
}

static gboolean
is_wanted (const DiffTree *tree, const char *path, Wanted wanted)
{
  switch (wanted)
    {
    case ANYTHING:
      return has_parent (tree, path);
    case MISSING:
      return get_type (tree, path) == 0 && has_parent (tree, path);
    case EXISTING:
      return get_type (tree, path) != 0;
    case DIRECTORY:
      return get_type (tree, path) == S_IFDIR;
    case REGULAR:
      return get_type (tree, path) == S_IFREG;
    default:
      return TRUE;
    }
}

/* FALSE: there seems to be none, and the path is another one. */
static gboolean
draw_wanted (DiffDraw *draw, const DiffTree *tree, Wanted wanted, char path[DIFF_PATH_MAX])
{
  guint n;

  if (wanted == MOUNT && draw_mount (draw, tree, path, &n))
    return TRUE;
  for (guint i = 0; i < TRIES; i++)
    {
      draw_path (draw, path);
      if (is_wanted (tree, path, wanted))
        return TRUE;
    }
  return FALSE;
}

/* Upwards, downwards, dangling, through other symlinks, in circles, out of the tree. */
static void
draw_target (DiffDraw *draw, char target[DIFF_PATH_MAX])
{
  static const char *const prefixes[]
      = { "", "", "", "", "../", "../", "@/", "@/", "./", "../../" };
  static const char *const others[] = { "..", ".", "@", "a/..", "b/../c", "/dev/null", "d", "a/" };
  char path[DIFF_PATH_MAX];

  if (below (draw, 6) == 0)
    {
      g_strlcpy (target, others[below (draw, G_N_ELEMENTS (others))], DIFF_PATH_MAX);
      return;
    }
  draw_path (draw, path);
  g_snprintf (target, DIFF_PATH_MAX, "%s%s", prefixes[below (draw, G_N_ELEMENTS (prefixes))], path);
}

/* Steps */

static guint32
draw_mode (DiffDraw *draw)
{
  static const guint32 common[] = { 0755, 0644, 0755, 0777, 0711, 0700, 0750,  0444, 0311,
                                    0600, 0000, 0111, 0070, 0007, 0555, 01777, 0100 };

  return below (draw, 5) < 3 ? 0755 : common[below (draw, G_N_ELEMENTS (common))];
}

static void
draw_details (DiffDraw *draw, const DiffTree *tree, DiffStep *step)
{
  switch (step->kind)
    {
    case DIFF_CREATE:
    case DIFF_WRITE:
    case DIFF_REPLACE:
    case DIFF_TMPFILE:
    case DIFF_OVERLAY:
      step->number = draw->last_content += draw->stride;
      break;
    case DIFF_SYMLINK:
    case DIFF_SWAP_SYMLINK:
      draw_target (draw, step->b);
      break;
    case DIFF_MKDIR:
    case DIFF_CHMOD:
      step->number = draw_mode (draw);
      break;
    case DIFF_ACL:
    case DIFF_DEFAULT_ACL:
      /* Half of them as if there were nothing to forbid. */
      step->number = below (draw, 2) == 0 ? 0755555 : below (draw, 01000000);
      break;
    case DIFF_CHOWN:
      step->number = below (draw, 3);
      step->other = below (draw, 4);
      break;
    case DIFF_MOUNT_FLAGS:
      step->number = diff_mount_flags[below (draw, diff_n_mount_flags)];
      break;
    case DIFF_LINK:
    case DIFF_RENAME_NEW:
      draw_wanted (draw, tree, MISSING, step->b);
      break;
    case DIFF_RENAME:
      draw_wanted (draw, tree, ANYTHING, step->b);
      break;
    case DIFF_EXCHANGE:
    case DIFF_BIND:
    case DIFF_MOVE_MOUNT:
      draw_wanted (draw, tree, EXISTING, step->b);
      break;
    }
}

static guint
draw_choice (DiffDraw *draw)
{
  guint total = 0, drawn, i = 0;

  for (guint k = 0; k < G_N_ELEMENTS (choices); k++)
    total += draw->mounts || !choices[k].mounts ? choices[k].weight : 0;
  drawn = below (draw, total);
  for (;; i++)
    {
      guint weight = draw->mounts || !choices[i].mounts ? choices[i].weight : 0;

      if (drawn < weight)
        return i;
      drawn -= weight;
    }
}

void
diff_draw_step (DiffDraw *draw, const DiffTree *tree, DiffStep *step)
{
  guint choice = draw_choice (draw), n_mounts;

  memset (step, 0, sizeof *step);
  step->kind = (guint16) choices[choice].kind;
  if ((step->kind == DIFF_BIND || step->kind == DIFF_TMPFS || step->kind == DIFF_OVERLAY)
      && draw_mount (draw, tree, step->a, &n_mounts) && n_mounts >= MOUNTS_MAX)
    {
      step->kind = DIFF_DETACH;
      return;
    }
  /* Where nothing can be made any more, make room. */
  if (!draw_wanted (draw, tree, choices[choice].wanted, step->a)
      && choices[choice].wanted == MISSING && below (draw, 4) == 0)
    step->kind = DIFF_RMTREE;
  draw_details (draw, tree, step);
}

/* Questions */

/* The same file by another way of writing its name, or what lies above or below it. */
static void
decorate (DiffDraw *draw, char path[DIFF_PATH_MAX])
{
  char plain[DIFF_PATH_MAX];
  char *slash;

  g_strlcpy (plain, path, sizeof plain);
  slash = strrchr (plain, '/');
  switch (below (draw, 40))
    {
    case 0:
      g_snprintf (path, DIFF_PATH_MAX, "%s/", plain);
      break;
    case 1:
      g_snprintf (path, DIFF_PATH_MAX, "%s/.", plain);
      break;
    case 2:
      g_snprintf (path, DIFF_PATH_MAX, "%s/..", plain);
      break;
    case 3:
      g_snprintf (path, DIFF_PATH_MAX, "%c/../%s", 'a' + below (draw, 3), plain);
      break;
    case 4:
      g_snprintf (path, DIFF_PATH_MAX, "%s/../%c", plain, 'a' + below (draw, 3));
      break;
    case 5:
      if (slash != NULL)
        g_snprintf (path, DIFF_PATH_MAX, "%.*s/./%s", (int) (slash - plain), plain, slash + 1);
      break;
    }
}

static void
draw_near (DiffDraw *draw, const DiffStep *last, char path[DIFF_PATH_MAX])
{
  const char *near = last->b[0] >= 'a' && below (draw, 2) == 0 ? last->b : last->a;
  char *slash;

  g_strlcpy (path, near, DIFF_PATH_MAX);
  switch (below (draw, 4))
    {
    case 0:
      if (strlen (path) < 8)
        {
          char end[] = { '/', (char) ('a' + below (draw, 3)), '\0' };

          g_strlcat (path, end, DIFF_PATH_MAX);
        }
      break;
    case 1:
      slash = strrchr (path, '/');
      if (slash != NULL && slash[1] != '\0')
        slash[1] = (char) ('a' + below (draw, 3));
      break;
    }
}

static guint
draw_question_kind (DiffDraw *draw)
{
  guint total = 0, drawn, i = 0;

  for (guint k = 0; k < diff_n_questions; k++)
    total += diff_questions[k].weight;
  drawn = below (draw, total);
  while (drawn >= diff_questions[i].weight)
    drawn -= diff_questions[i++].weight;
  return i;
}

void
diff_draw_question (DiffDraw *draw, const DiffTree *tree, const DiffStep *last, DiffStep *step)
{
  memset (step, 0, sizeof *step);
  step->kind = DIFF_ASK;
  step->number = draw_question_kind (draw);
  if (last != NULL && last->a[0] != '\0' && below (draw, 2) == 0)
    draw_near (draw, last, step->a);
  else if (below (draw, 2) == 0)
    draw_wanted (draw, tree, EXISTING, step->a);
  else
    draw_path (draw, step->a);
  decorate (draw, step->a);
}
