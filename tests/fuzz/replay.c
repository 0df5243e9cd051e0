/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Runs a fuzz target over a corpus, as a test: each file and each file in each folder that is given
 * as an argument, or FSC_CORPUS (folders with colons between them) without any argument. Files that
 * end in ".hex" are packets in the form of protocol/vectors, and stand for two inputs: with as many
 * descriptors as their header says, and with those lost. With "--write FOLDER" in front the inputs
 * are written there instead, for libFuzzer to start from.
 *
 * Plain TAP: a test for each argument. A target that finds something aborts, and with it this.
 */
#include "tests/harness/message.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static const char *write_folder;
static unsigned n_inputs;

static void
die (const char *what)
{
  printf ("Bail out! %s: %s\n", what, strerror (errno));
  exit (1);
}

/* The copy has no byte more than the input, so that the sanitizer sees whoever reads beyond. */
static void
run (const uint8_t *data, size_t size)
{
  uint8_t *copy = size > 0 ? malloc (size) : NULL;

  if (size > 0 && copy == NULL)
    die ("memory");
  if (size > 0)
    memcpy (copy, data, size);
  n_inputs++;
  if (write_folder != NULL)
    {
      char path[4096];
      FILE *out;

      snprintf (path, sizeof path, "%s/%06u", write_folder, n_inputs);
      out = fopen (path, "we");
      if (out == NULL || fwrite (data, 1, size, out) != size || fclose (out) != 0)
        die (path);
    }
  else
    LLVMFuzzerTestOneInput (copy, size);
  free (copy);
}

static void
run_hex (FILE *in, const char *name)
{
  static uint8_t input[2 + FSC_PACKET_MAX];
  ssize_t length = fsc_test_read_hex (in, input + 2, FSC_PACKET_MAX, NULL);

  if (length < 0)
    {
      errno = (int) -length;
      die (name);
    }
  memcpy (input, length >= 14 ? input + 14 : (const uint8_t *) "\0", 2);
  run (input, 2 + (size_t) length);
  memset (input, 0xff, 2);
  run (input, 2 + (size_t) length);
}

static void
run_file (const char *name)
{
  static uint8_t input[2 + FSC_PACKET_MAX + 16];
  size_t length = strlen (name);
  FILE *in = fopen (name, "re");

  if (in == NULL)
    die (name);
  if (length > 4 && strcmp (name + length - 4, ".hex") == 0)
    run_hex (in, name);
  else
    {
      size_t size = fread (input, 1, sizeof input, in);

      run (input, size);
    }
  fclose (in);
}

static void
run_path (const char *path)
{
  struct stat status;
  struct dirent **entries;
  int n;

  if (stat (path, &status) < 0)
    die (path);
  if (!S_ISDIR (status.st_mode))
    {
      run_file (path);
      return;
    }
  n = scandir (path, &entries, NULL, alphasort);
  if (n < 0)
    die (path);
  for (int i = 0; i < n; i++)
    {
      char name[4096];

      snprintf (name, sizeof name, "%s/%s", path, entries[i]->d_name);
      if (entries[i]->d_name[0] != '.' && stat (name, &status) == 0 && S_ISREG (status.st_mode))
        run_file (name);
      free (entries[i]);
    }
  free (entries);
}

/* Runs what is there, and reports it as test number `number`. */
static void
run_and_report (const char *path, int number)
{
  n_inputs = write_folder != NULL ? n_inputs : 0;
  run_path (path);
  /* A corpus that is not there tests nothing. */
  printf ("%s %d - %s, %u inputs\n", n_inputs > 0 ? "ok" : "not ok", number, path, n_inputs);
}

static void
run_corpus (void)
{
  char corpus[] = FSC_CORPUS;
  char *rest = NULL;
  int n = 1, number = 1;

  for (const char *c = corpus; *c != '\0'; c++)
    n += *c == ':';
  printf ("1..%d\n", n);
  for (char *path = strtok_r (corpus, ":", &rest); path != NULL; path = strtok_r (NULL, ":", &rest))
    run_and_report (path, number++);
}

int
main (int argc, char **argv)
{
  int first = 1;

  if (argc > 2 && strcmp (argv[1], "--write") == 0)
    {
      write_folder = argv[2];
      first = 3;
    }
  setvbuf (stdout, NULL, _IOLBF, 0);
  if (first == argc)
    {
      run_corpus ();
      return 0;
    }
  printf ("1..%d\n", argc - first);
  for (int i = first; i < argc; i++)
    run_and_report (argv[i], i - first + 1);
  return 0;
}
