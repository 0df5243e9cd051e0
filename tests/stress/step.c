/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Steps as values and as text; see step.h.
 */
#include "tests/stress/step.h"

#include <stdlib.h>
#include <string.h>

#include "tests/stress/answer.h"

/* Fields: k kind of question, a and b paths (or a target), o octal number, d decimal number, D the
 * other decimal number. */
static const struct
{
  const char *name;
  const char *fields;
} kinds[DIFF_N_KINDS] = {
  [DIFF_ASK] = { "ask", "ka" },
  [DIFF_FORGET] = { "forget", "a" },
  [DIFF_CREATE] = { "create", "ad" },
  [DIFF_WRITE] = { "write", "ad" },
  [DIFF_REPLACE] = { "replace", "ad" },
  [DIFF_TMPFILE] = { "tmpfile", "ad" },
  [DIFF_LINK] = { "link", "ab" },
  [DIFF_SYMLINK] = { "symlink", "ab" },
  [DIFF_SWAP_SYMLINK] = { "swap-symlink", "ab" },
  [DIFF_MKDIR] = { "mkdir", "ao" },
  [DIFF_RMDIR] = { "rmdir", "a" },
  [DIFF_UNLINK] = { "unlink", "a" },
  [DIFF_RMTREE] = { "rmtree", "a" },
  [DIFF_RENAME] = { "rename", "ab" },
  [DIFF_RENAME_NEW] = { "rename-new", "ab" },
  [DIFF_EXCHANGE] = { "exchange", "ab" },
  [DIFF_FIFO] = { "fifo", "a" },
  [DIFF_SOCKET] = { "socket", "a" },
  [DIFF_DEVICE] = { "device", "a" },
  [DIFF_CHMOD] = { "chmod", "ao" },
  [DIFF_CHOWN] = { "chown", "adD" },
  [DIFF_ACL] = { "acl", "ao" },
  [DIFF_DEFAULT_ACL] = { "default-acl", "ao" },
  [DIFF_NO_ACL] = { "no-acl", "a" },
  [DIFF_TMPFS] = { "tmpfs", "a" },
  [DIFF_OVERLAY] = { "overlay", "ad" },
  [DIFF_BIND] = { "bind", "ab" },
  [DIFF_MOVE_MOUNT] = { "move-mount", "ab" },
  [DIFF_MOUNT_FLAGS] = { "mount-flags", "ad" },
  [DIFF_UNMOUNT] = { "unmount", "a" },
  [DIFF_DETACH] = { "detach", "a" },
  [DIFF_SHRINK] = { "shrink", "" },
};

const char *
diff_kind_get_name (DiffKind kind)
{
  return kinds[kind].name;
}

gboolean
diff_step_is_question (const DiffStep *step)
{
  return step->kind == DIFF_ASK || step->kind == DIFF_FORGET;
}

void
diff_step_print (const DiffStep *step, FILE *out)
{
  fputs (kinds[step->kind].name, out);
  for (const char *field = kinds[step->kind].fields; *field != '\0'; field++)
    switch (*field)
      {
      case 'k':
        fprintf (out, " %s", diff_questions[step->number].name);
        break;
      case 'a':
        fprintf (out, " %s", step->a);
        break;
      case 'b':
        fprintf (out, " %s", step->b);
        break;
      case 'o':
        fprintf (out, " %04o", step->number);
        break;
      case 'd':
        fprintf (out, " %u", step->number);
        break;
      case 'D':
        fprintf (out, " %u", step->other);
        break;
      }
  fputc ('\n', out);
}

static gboolean
parse_number (const char *word, int base, guint32 *number)
{
  char *end;

  *number = (guint32) strtoul (word, &end, base);
  return *word != '\0' && *end == '\0';
}

static gboolean
parse_field (char field, const char *word, DiffStep *step)
{
  switch (field)
    {
    case 'k':
      for (guint i = 0; i < diff_n_questions; i++)
        if (g_str_equal (diff_questions[i].name, word))
          {
            step->number = i;
            return TRUE;
          }
      return FALSE;
    case 'a':
      return g_strlcpy (step->a, word, sizeof step->a) < sizeof step->a;
    case 'b':
      return g_strlcpy (step->b, word, sizeof step->b) < sizeof step->b;
    case 'o':
      return parse_number (word, 8, &step->number);
    case 'd':
      return parse_number (word, 10, &step->number);
    default:
      return parse_number (word, 10, &step->other);
    }
}

gboolean
diff_step_parse (const char *line, DiffStep *step, GError **error)
{
  g_auto (GStrv) words = g_strsplit (line, " ", -1);
  guint n = g_strv_length (words);

  memset (step, 0, sizeof *step);
  while (n > 0 && step->kind < DIFF_N_KINDS && !g_str_equal (kinds[step->kind].name, words[0]))
    step->kind++;
  if (n == 0 || step->kind == DIFF_N_KINDS)
    {
      g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "There is no step '%s'", line);
      return FALSE;
    }
  for (guint i = 0; kinds[step->kind].fields[i] != '\0'; i++)
    if (i + 1 >= n || !parse_field (kinds[step->kind].fields[i], words[i + 1], step))
      {
        g_set_error (error, G_FILE_ERROR, G_FILE_ERROR_INVAL, "Word %u of '%s' is none", i + 2,
                     line);
        return FALSE;
      }
  return TRUE;
}

GArray *
diff_steps_load (const char *file, GError **error)
{
  g_autoptr (GArray) steps = g_array_new (FALSE, FALSE, sizeof (DiffStep));
  g_autofree char *content = NULL;
  g_auto (GStrv) lines = NULL;
  DiffStep step;

  if (!g_file_get_contents (file, &content, NULL, error))
    return NULL;
  lines = g_strsplit (content, "\n", -1);
  for (guint i = 0; lines[i] != NULL; i++)
    {
      const char *line = g_strstrip (lines[i]);

      if (*line == '\0' || *line == '#')
        continue;
      if (!diff_step_parse (line, &step, error))
        return NULL;
      g_array_append_val (steps, step);
    }
  return g_steal_pointer (&steps);
}
