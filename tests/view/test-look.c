/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Names and attributes in the view: those of the source.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/view/stage.h"

static void
test_layout (FscTestStage *stage)
{
  fsc_test_stage_run (stage,
                      "test \"$(ls $M | tr '\\n' ' ')\" = 'cached metrics open status.json '");
  fsc_test_stage_run (stage, "test \"$(ls $M/open | head -1)\" = file");
  fsc_test_stage_run (stage, "python3 -c 'import json,sys; s = json.load (open (sys.argv[1]));"
                             " assert s[\"service\"].startswith (\"fscached \");"
                             " assert s[\"error\"] is None;"
                             " assert s[\"counters\"][\"clients\"] >= 1;"
                             " v = s[\"view\"]; assert v[\"mountpoint\"] == sys.argv[2];"
                             " assert v[\"passthrough\"] or v[\"why_no_passthrough\"];"
                             " assert v[\"splice\"] or v[\"why_no_splice\"]' $M/status.json $M");
  fsc_test_stage_run (stage, "grep -qx 'fscache_up 1' $M/metrics");
  /* Each sample after its type, and nothing twice. */
  fsc_test_stage_run (stage, "awk '/^# TYPE/ { type[$3]++; next } /^#/ { next }"
                             " type[$1] != 1 || NF != 2 || seen[$1]++ { print; bad = 1 }"
                             " END { exit bad }' $M/metrics");
  fsc_test_stage_run (stage, "grep -q 'not by passthrough:\\|by passthrough' $M/../view.log");
}

/* Each name that there is has the type that it should have: a new one is to be put here, too. */
static void
test_types (FscTestStage *stage)
{
  static const char counters[]
      = "checks coalesced evictions events hits invalidations misses open_errors openers_failed"
        " openers_started opens passed pressure_evictions timeouts view_opens view_reads "
        "watch_events"
        " watch_overflows";
  static const char gauges[]
      = "bytes bytes_making clients connections connections_awaited connections_idle"
        " connections_lent entries followed handles held idle_time_ms in_flight lanes max_bytes"
        " max_clients max_handles negative openers openers_stuck pinned pools put queued up "
        "uptime_ms"
        " users view_kept view_nodes waiting watched watched_directories watched_files watches"
        " watching";
  g_autofree char *command
      = g_strdup_printf ("(for i in %s; do echo fscache_${i}_total counter; done;"
                         " for i in %s; do echo fscache_$i gauge; done) | sort >$M/../types;"
                         " sed -n 's/^# TYPE //p' $M/metrics | sort | diff $M/../types - >&2",
                         counters, gauges);

  fsc_test_stage_run (stage, command);
}

/* A path may be anything, JSON is UTF-8. */
static void
test_name_that_is_no_text (FscTestStage *stage)
{
  g_autofree char *mount = g_steal_pointer (&stage->mount);

  stage->mount = g_strconcat (mount, "\xff\"\n", NULL);
  g_assert_no_errno (g_mkdir (stage->mount, 0755));
  fsc_test_stage_start (stage, NULL);
  fsc_test_stage_run (stage,
                      "python3 -c 'import json,sys; s = json.load (open (sys.argv[1], \"rb\"));"
                      " assert s[\"view\"][\"mountpoint\"].endswith (\"view\\ufffd\\\"\\n\")'"
                      " \"$M/status.json\"");
  fsc_test_stage_stop (stage);
  g_free (stage->mount);
  stage->mount = g_steal_pointer (&mount);
}

static void
assert_same (const FscTestStage *stage, const char *name)
{
  g_autofree char *source = fsc_test_stage_source (stage, name);
  g_autofree char *through = fsc_test_stage_through (stage, name);
  struct stat a, b;

  g_test_message ("%s", name);
  g_assert_no_errno (lstat (source, &a));
  g_assert_no_errno (lstat (through, &b));
  g_assert_cmpuint (a.st_mode, ==, b.st_mode);
  g_assert_cmpuint (a.st_nlink, ==, b.st_nlink);
  g_assert_cmpuint (a.st_uid, ==, b.st_uid);
  g_assert_cmpuint (a.st_gid, ==, b.st_gid);
  g_assert_cmpint (a.st_size, ==, b.st_size);
  g_assert_cmpint (a.st_blocks, ==, b.st_blocks);
  g_assert_cmpint (a.st_mtim.tv_sec, ==, b.st_mtim.tv_sec);
  g_assert_cmpint (a.st_mtim.tv_nsec, ==, b.st_mtim.tv_nsec);
  g_assert_cmpint (a.st_ctim.tv_nsec, ==, b.st_ctim.tv_nsec);
}

static void
test_attributes (FscTestStage *stage)
{
  fsc_test_stage_run (stage,
                      "cd $S; echo text >file; mkdir -m 750 dir; ln file link; ln -s file soft;"
                      " ln -s /no/such nowhere; mkfifo fifo; touch 'a b%20' 'what?#'"
                      " \"$(printf 'new\\nline')\"; touch -d 2001-02-03 old; chmod 4711 file;"
                      " truncate -s 5G large; chown 12:34 dir");
  assert_same (stage, "file");
  assert_same (stage, "dir");
  assert_same (stage, "link");
  assert_same (stage, "soft");
  assert_same (stage, "nowhere");
  assert_same (stage, "fifo");
  assert_same (stage, "a b%20");
  assert_same (stage, "what?#");
  assert_same (stage, "new\nline");
  assert_same (stage, "old");
  assert_same (stage, "large");
  assert_same (stage, "");
  fsc_test_stage_run (stage, "test \"$(readlink $V/soft)\" = file; cat $V/soft | cmp - $S/file");
  fsc_test_stage_run (stage, "test $(stat -c %i $V/file) = $(stat -c %i $V/link)");
}

static void
test_listing (FscTestStage *stage)
{
  fsc_test_stage_run (stage,
                      "cd $S; for i in $(seq 3000); do echo >file-with-a-long-name-$i; done");
  fsc_test_stage_run (stage, "ls -a $S | sort >$M/../a; ls -a $V | sort >$M/../b;"
                             " cmp $M/../a $M/../b");
  fsc_test_stage_run (stage, "test $(find $V -type f | wc -l) = 3000");

  /* The numbers are the source's, with that of its device above. */
  fsc_test_stage_run (stage, "ls -i $S | awk '{ print $1, $2 }' | sort >$M/../a;"
                             " ls -i $V | awk '{ print $1 % 2^48, $2 }' | sort >$M/../b;"
                             " cmp $M/../a $M/../b");
}

/* A listing goes on from where it was told to. */
static void
test_seek (FscTestStage *stage)
{
  fsc_test_stage_run (stage, "cd $S; touch $(seq 500)");
  fsc_test_stage_run (stage, "perl -e 'opendir D, $ARGV[0]; my @a; while (1) { my $t = telldir D;"
                             " my $n = readdir D; last unless defined $n; push @a, [$t, $n] }"
                             " die scalar @a if @a != 502;"
                             " for (400, 3, 77, 501, 0) { seekdir D, $a[$_][0];"
                             " die $_ if readdir D ne $a[$_][1] } rewinddir D;"
                             " die if readdir D ne $a[0][1]' $V");
}

static void
test_errors (FscTestStage *stage)
{
  g_autofree char *no_such = fsc_test_stage_through (stage, "no-such");
  g_autofree char *below_file = fsc_test_stage_through (stage, "file/below");
  g_autofree char *loop = fsc_test_stage_through (stage, "loop");
  g_autofree char *scheme = fsc_test_stage_at (stage, "open/gopher");
  g_autofree char *no_scheme = fsc_test_stage_at (stage, "open/NONE/a");
  g_autofree char *long_name = g_strnfill (300, 'a');
  g_autofree char *too_long = fsc_test_stage_through (stage, long_name);

  fsc_test_stage_run (stage, "cd $S; echo >file; ln -s loop loop");
  fsc_test_stage_assert_open (no_such, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (below_file, O_RDONLY, ENOTDIR);
  fsc_test_stage_assert_open (loop, O_RDONLY, ELOOP);
  fsc_test_stage_assert_open (scheme, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (no_scheme, O_RDONLY, ENOENT);
  fsc_test_stage_assert_open (too_long, O_RDONLY, ENAMETOOLONG);
  fsc_test_stage_assert_open (stage->through, O_WRONLY, EISDIR);
}

/* What the service may not read is to be seen, and not to be read. */
static void
test_unreadable (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  struct stat st;

  fsc_test_stage_run (stage, "cd $S; echo secret >file; chown 12:34 file; chmod 600 file");
  g_assert_no_errno (stat (file, &st));
  g_assert_cmpint (st.st_size, ==, 7);
  fsc_test_stage_assert_open (file, O_RDONLY, EACCES);
  fsc_test_stage_assert_open (file, O_WRONLY, EACCES);
}

/* What the service says of a way that leaves and enters a mount so many times: an errno. */
static int
open_after_hops (FscTestStage *stage, int n, const char *name)
{
  FscacheClient *client = fsc_test_service_connect (stage->service);
  g_autoptr (GString) path = g_string_new (stage->source);
  FscacheReply reply;
  int error;

  for (int i = 0; i < n; i++)
    g_string_append (path, "/hop/..");
  g_string_append_printf (path, "/%s", name);
  fscache_open (client, path->str, O_RDONLY, &reply);
  error = reply.error;
  fscache_reply_clear (client, &reply);
  fscache_disconnect (client);
  return error;
}

/* The view itself can be seen in it, but not entered: whoever walks through all of it comes to an
 * end. So it is with what the service does not serve. */
static void
test_itself (FscTestStage *stage)
{
  g_autofree char *inner = g_strconcat (stage->mount, "/open/file", stage->mount, NULL);
  g_autofree char *deeper = g_build_filename (inner, "status.json", NULL);
  g_autofree char *proc = fsc_test_stage_at (stage, "open/file/proc");
  g_autofree char *unpacked = g_strconcat (stage->mount, "/open/unpack", stage->mount, NULL);
  g_autofree char *bound = fsc_test_stage_source (stage, "bound");
  g_autofree char *through = fsc_test_stage_through (stage, "bound");
  g_autofree char *link = fsc_test_stage_through (stage, "link/open");
  struct stat st;

  g_assert_no_errno (stat (inner, &st));
  g_assert_true (S_ISDIR (st.st_mode));
  fsc_test_stage_assert_open (inner, O_RDONLY, ELOOP);
  fsc_test_stage_assert_open (deeper, O_RDONLY, ELOOP);
  fsc_test_stage_assert_open (proc, O_RDONLY, EOPNOTSUPP);
  fsc_test_stage_assert_open (unpacked, O_RDONLY, ELOOP);

  g_assert_no_errno (g_mkdir (bound, 0755));
  g_assert_no_errno (mount (stage->mount, bound, NULL, MS_BIND, NULL));
  fsc_test_stage_assert_open (through, O_RDONLY, ELOOP);
  fsc_test_stage_run (stage, "! find $V -name status.json | grep .");
  g_assert_no_errno (umount (bound));

  /* However long the way to it: after so many mounts an opener may go to any. */
  fsc_test_stage_run (stage, "echo text >$S/text; ln -s $M/status.json $S/status; ln -s $V $S/back;"
                             " mkdir $S/hop; mount -t tmpfs none $S/hop");
  for (int n = 1; n < 100; n *= 7)
    {
      g_assert_cmpint (open_after_hops (stage, n, "text"), ==, 0);
      g_assert_cmpint (open_after_hops (stage, n, "status"), ==, ELOOP);
      g_assert_cmpint (open_after_hops (stage, n, "back/text"), ==, ELOOP);
      g_assert_cmpint (open_after_hops (stage, n, "../view/status.json"), ==, ELOOP);
      g_assert_cmpint (open_after_hops (stage, n, "../view"), ==, ELOOP);
    }
  fsc_test_stage_run (stage, "umount $S/hop; rm $S/back $S/status");

  /* A symlink that leads there is followed by the kernel, outside: that is no loop. */
  fsc_test_stage_run (stage, "ln -s $M $S/link");
  fsc_test_stage_assert_open (link, O_RDONLY, 0);
  fsc_test_stage_run (stage, "find $M/open/file$(dirname $S) -ls >$M/../walked 2>&1 || true;"
                             " test $(grep -c /status.json $M/../walked) = 0");
}

/* Who walks through all there is comes to an end, though the view and a view of it are in there,
 * and symlinks that lead back. */
static void
test_walk (FscTestStage *stage)
{
  g_autofree char *bound = fsc_test_stage_source (stage, "bound");

  fsc_test_stage_run (stage, "cd $S; mkdir -p a/b/c; echo text >a/b/c/file; ln -s ../../.. a/b/up;"
                             " ln -s . a/self");
  g_assert_no_errno (g_mkdir (bound, 0755));
  g_assert_no_errno (mount (stage->mount, bound, NULL, MS_BIND, NULL));
  for (int i = 0; i < 3; i++) /* and what was walked through is cached then, and walked through */
    fsc_test_stage_run (
        stage, "W=$M/open/file$(dirname $S); T='timeout 60';"
               " $T du -a $M/cached $W >/dev/null 2>&1 || test $? = 1;"
               " $T find -L $M/cached $W/src/a/b -name file >/dev/null 2>&1 || test $? = 1;"
               " $T grep -rsl text $W/src $M/cached | grep -qx $W/src/a/b/c/file");
  fsc_test_stage_run (stage, "test \"$(timeout 60 find $M -maxdepth 4 2>/dev/null |"
                             " grep ^$M/open/file/proc)\" = $M/open/file/proc");
  g_assert_no_errno (umount (bound));
}

static void
test_access (FscTestStage *stage)
{
  g_autofree char *file = fsc_test_stage_through (stage, "file");
  g_autofree char *script = fsc_test_stage_through (stage, "script");
  g_autofree char *top = fsc_test_stage_at (stage, "open");

  fsc_test_stage_run (stage, "cd $S; echo >file; printf '#!/bin/sh\\nexit 0\\n' >script;"
                             " chmod +x script; $V/script");
  g_assert_no_errno (access (script, X_OK));
  g_assert_cmpint (access (file, X_OK), ==, -1);
  g_assert_no_errno (access (file, R_OK | W_OK));
  g_assert_cmpint (access (top, W_OK), ==, -1);
}

/* Opens a name in a directory that is open, until that gives this errno, for a moment at most. */
static void
assert_opens (int directory, const char *name, int flags, int error)
{
  int found = -1;

  for (int i = 0; i < 200 && found != error; i++)
    {
      int fd = openat (directory, name, flags | O_CLOEXEC, 0644);

      found = fd < 0 ? errno : 0;
      if (fd >= 0)
        close (fd);
      g_usleep (1000);
    }
  g_assert_cmpint (found, ==, error);
}

/* Who has a directory open that has been renamed is not given what is in another one. */
static void
check_directory (FscTestStage *stage, gulong moment)
{
  g_autofree char *path = fsc_test_stage_through (stage, "dir");
  int directory;

  fsc_test_stage_run (stage, "cd $S; rm -rf dir old other; mkdir dir other; echo >dir/file;"
                             " echo >other/file; echo >other/more; cat $V/dir/file >/dev/null");
  directory = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  g_assert_no_errno (directory);
  g_usleep (moment); /* not only at first */
  assert_opens (directory, "file", O_RDONLY, 0);
  fsc_test_stage_run (stage, "cd $S; mv dir old; mv other dir");
  g_usleep (moment);
  assert_opens (directory, "file", O_RDONLY, ESTALE);
  assert_opens (directory, "more", O_RDONLY, ESTALE);
  assert_opens (directory, "new", O_WRONLY | O_CREAT, ESTALE);
  fsc_test_stage_run (stage,
                      "cat $V/dir/more; test ! -e $S/dir/new; cd $S; mv dir other; mv old dir");
  g_usleep (moment);
  assert_opens (directory, "file", O_RDONLY, 0);
  assert_opens (directory, "new", O_WRONLY | O_CREAT, 0);
  fsc_test_stage_run (stage, "test -e $S/dir/new; rm -r $S/dir");
  g_usleep (moment);
  assert_opens (directory, "file", O_RDONLY, ESTALE);
  close (directory);
}

static void
test_directory (FscTestStage *stage)
{
  check_directory (stage, 150000);
  fsc_test_stage_stop (stage);
  fsc_test_stage_start (stage, "exact");
  check_directory (stage, 0);
}

int
main (int argc, char **argv)
{
  fsc_test_stage_init (&argc, &argv);
  FSC_STAGE_ADD ("/view-look/layout", test_layout);
  FSC_STAGE_ADD ("/view-look/types", test_types);
  FSC_STAGE_ADD_CLOSED ("/view-look/no-text", test_name_that_is_no_text);
  FSC_STAGE_ADD ("/view-look/attributes", test_attributes);
  FSC_STAGE_ADD ("/view-look/listing", test_listing);
  FSC_STAGE_ADD ("/view-look/seek", test_seek);
  FSC_STAGE_ADD ("/view-look/errors", test_errors);
  FSC_STAGE_ADD ("/view-look/unreadable", test_unreadable);
  FSC_STAGE_ADD ("/view-look/itself", test_itself);
  FSC_STAGE_ADD ("/view-look/walk", test_walk);
  FSC_STAGE_ADD ("/view-look/access", test_access);
  FSC_STAGE_ADD ("/view-look/directory", test_directory);
  return g_test_run ();
}
