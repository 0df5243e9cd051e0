/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What is not a file, below open/ : it can be looked at and read as if it were one, and comes from
 * the cache.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/view/stage.h"

/* With a configuration of its own. */
static void
start (FscTestStage *stage, const char *config)
{
  fsc_test_service_stop (stage->service);
  fsc_test_write (stage->service->config, config);
  fsc_test_service_start (stage->service);
  fsc_test_stage_start (stage, NULL);
}

static guint64
count_opens (const FscTestStage *stage)
{
  return fsc_test_service_counter (stage->service, "opens");
}

/* It is read again and again, and was opened once. */
static void
assert_opened_once (const FscTestStage *stage, const char *path, const char *content)
{
  guint64 before = count_opens (stage), after = before;
  struct stat st;

  for (int i = 0; i < 20; i++)
    {
      g_assert_no_errno (stat (path, &st));
      g_assert_cmpint (st.st_size, ==, strlen (content));
      g_assert_cmpuint (st.st_mode, ==, S_IFREG | 0444);
      g_assert_cmpuint (st.st_nlink, ==, 1);
      fsc_test_stage_assert_content (path, content);
      if (i == 0)
        after = count_opens (stage);
      if (i == 10)
        g_usleep (G_USEC_PER_SEC / 5); /* what the kernel knows is forgotten */
    }
  g_assert_cmpuint (after, >, before);
  g_assert_cmpuint (count_opens (stage), ==, after);
}

/* Until the content is this, as soon as an open may find it. */
static void
wait_for_content (const char *path, const char *content)
{
  g_autofree char *found = NULL;

  for (int i = 0; i < 500; i++)
    {
      g_clear_pointer (&found, g_free);
      if (g_file_get_contents (path, &found, NULL, NULL) && strcmp (found, content) == 0)
        return;
      g_usleep (10000);
    }
  g_assert_cmpstr (found, ==, content);
}

static void
assert_read_only (const char *path)
{
  const struct timespec times[2] = { 0 };
  struct stat before, after;

  g_assert_no_errno (stat (path, &before));
  fsc_test_stage_assert_open (path, O_WRONLY, EROFS);
  fsc_test_stage_assert_open (path, O_RDWR | O_TRUNC, EROFS);
  g_assert_cmpint (truncate (path, 0), ==, -1);
  g_assert_cmpint (errno, ==, EROFS);
  g_assert_cmpint (chmod (path, 0600), ==, -1);
  g_assert_cmpint (errno, ==, EROFS);
  g_assert_cmpint (utimensat (AT_FDCWD, path, times, 0), ==, -1);
  g_assert_cmpint (errno, ==, EROFS);
  g_assert_no_errno (stat (path, &after));
  g_assert_cmpuint (after.st_mode, ==, before.st_mode);
  g_assert_cmpint (after.st_mtim.tv_nsec, ==, before.st_mtim.tv_nsec);
}

/* unpack: */

#if FSC_HAS_UNPACK

static void
test_unpack (FscTestStage *stage)
{
  g_autofree char *base = g_strconcat (stage->mount, "/open/unpack", stage->source, NULL);
  g_autofree char *plain = g_build_filename (base, "plain", NULL);
  g_autofree char *gz = g_build_filename (base, "text.gz", NULL);
  g_autofree char *link = g_build_filename (base, "link", NULL);
  g_autofree char *odd = g_build_filename (base, "50%25 %231.gz", NULL);
  g_autofree char *member = g_build_filename (base, "a.tar.gz#d%2Fmember", NULL);
  g_autofree char *below = g_build_filename (base, "a.tar.gz#d%/member", NULL);
  g_autofree char *none = g_build_filename (base, "a.tar.gz#none", NULL);
  g_autofree char *new = g_build_filename (base, "new", NULL);

  fsc_test_stage_run (stage, "cd $S; echo some text | gzip >text.gz; mkdir d; echo mine >d/member;"
                             " tar -czf a.tar.gz d; echo >plain; ln -s text.gz link; ln -s d dir;"
                             " ln -s none dangling; echo odd | gzip >'50% #1.gz'");
  assert_opened_once (stage, gz, "some text\n");
  assert_opened_once (stage, member, "mine\n");
  fsc_test_stage_assert_content (below, "mine\n");
  fsc_test_stage_assert_content (link, "some text\n");
  fsc_test_stage_assert_content (odd, "odd\n");
  fsc_test_stage_assert_open (none, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (plain, O_RDONLY, EINVAL);
  fsc_test_stage_assert_open (new, O_WRONLY | O_CREAT, EROFS);
  assert_read_only (gz);
  g_assert_cmpint (getxattr (link, "user.test", NULL, 0), ==, -1);
  g_assert_cmpint (errno, ==, ENODATA);
  g_assert_cmpint (getxattr (link, "user.fscache.hits", NULL, 0), >, 0);

  /* Directories are the source's, and what leads to them. */
  fsc_test_stage_run (stage, "cd $M/open/unpack$S; test \"$(ls | tr '\\n' :)\" ="
                             " '50%25 %231.gz:a.tar.gz:d:dangling:dir:link:plain:text.gz:';"
                             " test \"$(readlink dir)\" = d; test -d dir; test -L dangling;"
                             " test \"$(stat -c '%a %U %Y' d)\" = \"$(stat -c '%a %U %Y' $S/d)\";"
                             " test \"$(ls d)\" = member; ! ls none 2>/dev/null;"
                             " test \"$(tar -tf a.tar.gz)\" = \"$(tar -tf $S/a.tar.gz)\";"
                             " cp text.gz $M/../copy; test \"$(cat $M/../copy)\" = 'some text';"
                             " ls -l text.gz | grep -q '^-r--r--r-- 1 .* 10 ';"
                             " test $(stat -c %.Y text.gz) = $(stat -c %.Y $S/text.gz)");
  fsc_test_stage_run (stage,
                      "! ls $M/open/unpack$M 2>/dev/null; ! ls $M/open/unpack/proc 2>$M/../e");

  fsc_test_stage_run (stage, "cd $S; echo other text | gzip >new; mv new text.gz");
  wait_for_content (gz, "other text\n");
  wait_for_content (link, "other text\n");
  fsc_test_stage_run (stage, "cd $S; echo yours >d/member; tar -czf a.tar.gz d; rm text.gz");
  wait_for_content (member, "yours\n");
  for (int i = 0; i < 100 && access (gz, F_OK) == 0; i++)
    g_usleep (10000);
  fsc_test_stage_assert_open (gz, O_RDONLY, ENOENT);
}

/* Who has it open, or mapped, has what it was. */
static void
test_held (FscTestStage *stage)
{
  g_autofree char *path = g_strconcat (stage->mount, "/open/unpack", stage->source, "/a.gz", NULL);
  char *map;
  int fd;

  fsc_test_stage_run (stage, "echo before | gzip >$S/a.gz");
  fd = open (path, O_RDONLY | O_CLOEXEC);
  g_assert_no_errno (fd);
  map = mmap (NULL, 7, PROT_READ, MAP_SHARED, fd, 0);
  g_assert_true (map != MAP_FAILED);
  for (int i = 0; i < 50; i++)
    {
      g_autofree char *text = g_strdup_printf ("after %d\n", i);
      g_autofree char *command
          = g_strdup_printf ("echo after %d | gzip >$S/new; mv $S/new $S/a.gz", i);
      char before[8] = "";

      fsc_test_stage_run (stage, command);
      wait_for_content (path, text);
      g_assert_cmpint (pread (fd, before, 7, 0), ==, 7);
      g_assert_cmpstr (before, ==, "before\n");
      g_assert_cmpmem (map, 7, "before\n", 7);
    }
  munmap (map, 7);
  close (fd);
}

#endif

/* http: */

#if FSC_HAS_HTTP

typedef struct
{
  GPid pid;
  int in; /* it ends with this */
  char *log;
  char *host;
} Server;

static void
start_server (Server *server, const FscTestStage *stage)
{
  g_autofree char *log = g_build_filename (stage->service->dir, "http.log", NULL);
  const char *arguments[] = { "python3", FSC_TEST_SERVER, log, NULL };
  g_autoptr (GError) error = NULL;
  char port[16] = "";
  int out;

  g_spawn_async_with_pipes (NULL, (char **) arguments, NULL,
                            G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD | G_SPAWN_CLOEXEC_PIPES,
                            NULL, NULL, &server->pid, &server->in, &out, NULL, &error);
  g_assert_no_error (error);
  for (gsize n = 0; strchr (port, '\n') == NULL; n++)
    {
      g_assert_cmpuint (n, <, sizeof port - 1);
      g_assert_cmpint (read (out, port + n, 1), ==, 1);
    }
  close (out);
  server->host = g_strdup_printf ("127.0.0.1:%d", atoi (port));
  server->log = g_steal_pointer (&log);
}

static void
stop_server (Server *server)
{
  close (server->in);
  g_assert_cmpint (waitpid (server->pid, NULL, 0), ==, server->pid);
  g_free (server->log);
  g_free (server->host);
}

/* How many requests for this it has had. */
static guint
count_requests (const Server *server, const char *what)
{
  g_autofree char *log = NULL;
  guint n = 0;

  g_assert_true (g_file_get_contents (server->log, &log, NULL, NULL));
  for (const char *at = log; (at = strstr (at, what)) != NULL; at++)
    n++;
  return n;
}

static char *
get_version (guint version)
{
  return g_strdup_printf ("%020u version %06u\n%020u version %06u\n", 0, version, 1, version);
}

static void
use_http (FscTestStage *stage, const Server *server)
{
  g_autofree char *host = g_strconcat (stage->mount, "/open/http/", server->host, NULL);
  g_autofree char *kept = g_strconcat (host,
                                       "/plain%/dir%/kept?n=72&h=Cache-Control:max-age=1000"
                                       "&h=Last-Modified:Sun,+09+Sep+2001+01:46:40+GMT",
                                       NULL);
  g_autofree char *same = g_strconcat (host,
                                       "/plain%2Fdir%2Fkept?n=72&h=Cache-Control:max-age=1000"
                                       "&h=Last-Modified:Sun,+09+Sep+2001+01:46:40+GMT",
                                       NULL);
  g_autofree char *asked = g_strconcat (host, "/plain%2Fasked?n=72&h=ETag:%2522a%2522", NULL);
  g_autofree char *counted = g_strconcat (host, "/counted%/a?n=100", NULL);
  g_autofree char *root = g_strconcat (host, "/%2F", NULL);
  g_autofree char *missing = g_strconcat (host, "/plain%/missing?s=404", NULL);
  g_autofree char *broken = g_strconcat (host, "/plain%/broken?s=500", NULL);
  g_autofree char *other = g_strconcat (stage->mount, "/open/http/other.invalid/a", NULL);
  g_autofree char *content = get_version (0);
  g_autofree char *command = NULL;
  struct stat st;

  assert_opened_once (stage, kept, content);
  fsc_test_stage_assert_content (same, content);
  g_assert_cmpuint (count_requests (server, "GET /plain/dir/kept"), ==, 1);
  assert_read_only (kept);
  g_assert_no_errno (stat (kept, &st));
  g_assert_cmpint (st.st_mtim.tv_sec, ==, 1000000000);

  /* What the server does not let be kept is asked for again, but not sent. */
  assert_opened_once (stage, asked, content);
  g_assert_cmpuint (count_requests (server, "GET /plain/asked"), ==,
                    count_requests (server, "If-None-Match=\"a\"") + 1);

  /* Whoever opens has what is there now, though it is another content each time. */
  for (int i = 0, last = 0; i < 20; i++)
    {
      g_autofree char *found = NULL;
      g_autoptr (GError) error = NULL;
      int version;

      g_file_get_contents (counted, &found, NULL, &error);
      g_assert_no_error (error);
      g_assert_cmpuint (strlen (found), ==, 100);
      version = atoi (strstr (found, "version ") + strlen ("version "));
      g_assert_cmpint (version, >=, last);
      last = version;
      if (i % 5 == 4)
        g_usleep (G_USEC_PER_SEC / 5);
      if (i == 19)
        g_assert_cmpint (last, >, 3);
    }

  fsc_test_stage_assert_open (root, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (missing, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (broken, O_RDONLY, EIO);
  fsc_test_stage_assert_open (other, O_RDONLY, EACCES);
  g_assert_cmpuint (count_requests (server, "GET / "), ==, 1);

  /* A listing has what is known. */
  command = g_strdup_printf ("cd $M/open/http; sleep 0.2; test \"$(ls)\" = %s;"
                             " cd %s; ls | grep -qx plain%%; ls -l plain%%/dir%% |"
                             " grep -q '^-r--r--r-- 1 .* 72 .* kept?n=72'; mkdir new && exit 1;"
                             " cp -r plain%%/dir%% $M/../copy; test $(ls $M/../copy | wc -l) = 1",
                             server->host, server->host);
  fsc_test_stage_run (stage, command);
}

static void
test_http (FscTestStage *stage)
{
  g_autofree char *config = NULL;
  g_autofree char *python = g_find_program_in_path ("python3");
  Server server;

  if (python == NULL)
    {
      g_test_skip ("no python3");
      return;
    }
  start_server (&server, stage);
  config = g_strdup_printf ("[http]\nallow=%s\n", server.host);
  start (stage, config);
  use_http (stage, &server);
  stop_server (&server);
}

#endif

/* handle: */

static void
put (FscacheClient *client, const char *uri, const char *text)
{
  FscachePut request
      = { .uri = uri, .fd = memfd_create ("test", MFD_CLOEXEC), .mode = FSCACHE_PUT_REPLACE };

  g_assert_cmpint (pwrite (request.fd, text, strlen (text), 0), ==, strlen (text));
  g_assert_no_errno (fchmod (request.fd, 0444));
  g_assert_cmpint (fscache_put (client, &request, NULL), ==, 0);
  close (request.fd);
}

static void
test_handle (FscTestStage *stage)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autofree char *words = fsc_test_stage_at (stage, "open/handle/words");
  g_autofree char *odd = fsc_test_stage_at (stage, "open/handle/a%/te xt?");
  g_autofree char *none = fsc_test_stage_at (stage, "open/handle/none");
  g_autofree char *dir = fsc_test_stage_at (stage, "open/handle/dir");
  g_autofree char *n = g_strnfill (600, 'n');
  g_autofree char *long_uri = g_strconcat ("handle:", n, NULL);
  FscachePut directory = { .uri = "handle:dir" };

  put (client, "handle:words", "some words");
  put (client, "handle:a/te xt?", "odd");
  put (client, long_uri, "long");
  fsc_test_stage_assert_content (words, "some words");
  fsc_test_stage_assert_content (odd, "odd");
  /* By passthrough the kernel reads memory by itself, too. */
  fsc_test_stage_run (stage, "grep -q '\"passthrough\" : true' $M/status.json && n=0 || n='[1-9]';"
                             " grep -q \"\\\"reads\\\" : $n\" $M/status.json");
  assert_read_only (words);
  for (int i = 0; i < 50; i++)
    {
      g_autofree char *text = g_strdup_printf ("%0*d", i % 7 + 1, i);

      put (client, "handle:words", text);
      wait_for_content (words, text);
    }
  fsc_test_stage_assert_open (none, O_RDONLY, ENOENT);

  directory.fd = open (stage->source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_cmpint (fscache_put (client, &directory, NULL), ==, 0);
  close (directory.fd);
  fsc_test_stage_assert_open (dir, O_RDONLY, EOPNOTSUPP);
  fsc_test_stage_run (stage, "sleep 0.2; cd $M/open/handle; test \"$(ls | tr '\\n' ' ')\" ="
                             " \"a% dir $(ls | grep ^n) words \"; test \"$(ls a%)\" = 'te xt?';"
                             " test \"$(find . -name 'nnn*' -type f -exec cat {} +)\" = long;"
                             " test \"$(cd nnn*%%/nnn*%%; cat nnn*)\" = long;"
                             " test \"$(cat $M/cached/handle/nnn*%%/nnn*%%/nnn*)\" = long");
  fscache_drop (client, "handle:words", NULL);
  for (int i = 0; i < 100 && access (words, F_OK) == 0; i++)
    g_usleep (10000);
  fsc_test_stage_assert_open (words, O_RDONLY, ENOENT);
  fscache_disconnect (client);
}

/* helper+NAME: */

static void
test_helper (FscTestStage *stage)
{
  g_autofree char *python = g_find_program_in_path ("python3");
  g_autofree char *git = g_find_program_in_path ("git");
  g_autofree char *base = fsc_test_stage_at (stage, "open/helper+git/");
  g_autofree char *flat = NULL, *deep = NULL, *missing = NULL;
  g_auto (GStrv) names = g_strsplit (stage->source, "/", -1);
  g_autofree char *directories = g_strjoinv ("%/", names);
  g_autofree char *one_name = g_strjoinv ("%2F", names);
  g_autofree char *nobody = fsc_test_stage_at (stage, "open/helper+nobody/a");

  if (python == NULL || git == NULL)
    {
      g_test_skip ("no python3, or no git");
      return;
    }
  start (stage, "[helper git]\ncommand=" FSC_HELPER "\nttl=0\n");
  fsc_test_stage_run (stage, "cd $S; git init -q; echo one >file; git add file;"
                             " git -c user.name=t -c user.email=t commit -qm one");
  deep = g_strconcat (base, directories, "#HEAD:file", NULL);
  flat = g_strconcat (base, one_name, "#HEAD:file", NULL);
  missing = g_strconcat (base, one_name, "#HEAD:missing", NULL);
  assert_opened_once (stage, deep, "one\n");
  fsc_test_stage_assert_content (flat, "one\n");
  assert_read_only (flat);
  fsc_test_stage_assert_open (missing, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (nobody, O_RDONLY, ENOENT);
  fsc_test_stage_run (stage,
                      "sleep 0.2; find $M/open/helper+git -type f | grep -q 'src#HEAD:file$'");
  fsc_test_stage_run (stage, "cd $S; echo two >file;"
                             " git -c user.name=t -c user.email=t commit -qam two");
  wait_for_content (deep, "two\n");
}

/* What is lent to one at a time has no name to open it by. */
static void
test_lent (FscTestStage *stage)
{
  fsc_test_stage_run (stage, "test \"$(ls $M/open | tr '\\n' ' ')\" ="
                             " 'file handle http https unpack '; ! ls $M/open/tcp 2>/dev/null;"
                             " ! ls $M/open/unix 2>/dev/null; ! ls $M/open/gopher 2>/dev/null");
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
#if FSC_HAS_UNPACK
  FSC_STAGE_ADD ("/view-scheme/unpack", test_unpack);
  FSC_STAGE_ADD ("/view-scheme/held", test_held);
#endif
#if FSC_HAS_HTTP
  FSC_STAGE_ADD_CLOSED ("/view-scheme/http", test_http);
#endif
  FSC_STAGE_ADD ("/view-scheme/handle", test_handle);
  FSC_STAGE_ADD_CLOSED ("/view-scheme/helper", test_helper);
  FSC_STAGE_ADD ("/view-scheme/lent", test_lent);
  return g_test_run ();
}
