/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Lanes with real processes: a real spawner starts fake-opener.c under the name of a real opener.
 * What is promised is that each job is answered exactly once, whatever openers do, that one that
 * misbehaves costs one request, and that neither process nor descriptor is left.
 */
#include "fscache/lanes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/channel.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

/* For what must happen: valgrind is slow. */
#define PATIENCE (30 * G_USEC_PER_SEC)

typedef struct
{
  FscConfig config;
  FscLoop *loop;
  FscSpawner *spawner;
  FscMounts *mounts;
  FscCredentials *credentials;
  FscLanes *lanes;
  char *dir;                         /* of openers */
  char *local_mount, *foreign_mount; /* their paths */
  guint n_asked, n_answered, n_lost;
  char *descriptors;
} Stage;

typedef struct
{
  FscJob job; /* first */
  Stage *stage;
  gboolean is_answered;
  guint order; /* of its answer */
  FscCode code;
  int error;
  char *text;
  FscHandle *handle;
  guint32 ttl_ms;
  guint n_steps;
  int socket; /* of a put: where to send it */
  guint n_progressed;
  FscProgress progress; /* the last */
} Asked;

/* What a good answer of the fake opener says of itself. */
typedef struct
{
  int pid;
  unsigned n_items, number, mount_length, resume_length;
} Told;

/* The stage */

static gboolean
before_wait (gpointer data)
{
  Stage *stage = data;

  while (stage->lanes != NULL && fsc_lanes_flush (stage->lanes))
    ;
  return FALSE;
}

static void
job_done (FscJob *job, FscOutcome *outcome, gpointer data)
{
  Stage *stage = data;
  Asked *asked = (Asked *) job;

  g_assert_false (asked->is_answered);
  asked->is_answered = TRUE;
  asked->order = stage->n_answered++;
  asked->code = outcome->code;
  asked->error = outcome->error;
  asked->text = g_strdup (outcome->text);
  asked->handle = g_steal_pointer (&outcome->handle);
  asked->ttl_ms = outcome->ttl_ms;
  asked->n_steps = outcome->n_steps;
  g_assert_cmpint (asked->handle != NULL, ==, asked->code == FSC_CODE_OK);
}

static void
job_progressed (FscJob *job, const FscProgress *progress, gpointer data)
{
  Asked *asked = (Asked *) job;

  g_assert_false (asked->is_answered);
  g_assert_cmpuint (progress->total, ==, 100);
  asked->progress = *progress;
  asked->n_progressed++;
}

static void
job_receiving (FscJob *job, int socket, gpointer data)
{
  Asked *asked = (Asked *) job;

  g_assert_cmpint (asked->socket, ==, 0);
  asked->socket = socket;
}

static void
opener_lost (gpointer data)
{
  ((Stage *) data)->n_lost++;
}

static void
turn (void)
{
  if (!g_main_context_iteration (NULL, FALSE))
    g_usleep (1000);
}

#define wait_for(condition)                                                                        \
  G_STMT_START                                                                                     \
  {                                                                                                \
    gint64 end = g_get_monotonic_time () + PATIENCE;                                               \
    while (!(condition))                                                                           \
      {                                                                                            \
        g_assert_cmpint (g_get_monotonic_time (), <, end);                                         \
        turn ();                                                                                   \
      }                                                                                            \
  }                                                                                                \
  G_STMT_END

static void
run_for (double seconds)
{
  gint64 end = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);

  while (g_get_monotonic_time () < end)
    turn ();
}

static char *
get_fake_opener (void)
{
  g_autofree char *self = g_file_read_link ("/proc/self/exe", NULL);
  g_autofree char *dir = g_path_get_dirname (self);

  return g_build_filename (dir, "fake-opener", NULL);
}

/* Puts the fake opener, or a shell script, where the lanes look for a program. */
static void
install_as (Stage *stage, const char *name, const char *script)
{
  g_autofree char *path = g_build_filename (stage->dir, name, NULL);
  g_autofree char *fake = get_fake_opener ();

  g_unlink (path);
  if (script == NULL)
    g_assert_cmpint (symlink (fake, path), ==, 0);
  else
    {
      g_assert_true (g_file_set_contents (path, script, -1, NULL));
      g_assert_cmpint (g_chmod (path, 0700), ==, 0);
    }
}

static void
install_opener (Stage *stage, const char *script)
{
  install_as (stage, "open-file", script);
}

/* The path of one, but not "/", or NULL. */
static char *
find_local_mount (Stage *stage)
{
  static const char *const paths[] = { "/dev/shm", "/tmp", "/run", "/home" };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++)
    {
      const FscMount *mount = fsc_mounts_find (stage->mounts, paths[i]);

      if (mount->is_local && mount->length > 1)
        return g_strdup (mount->path);
    }
  return NULL;
}

static void
no_watches (FscCredential *credential, gpointer data)
{
}

static void
stage_init (Stage *stage, guint n_openers, double deadline)
{
  g_autoptr (GError) error = NULL;

  *stage = (Stage){ .descriptors = fsc_test_list_descriptors () };
  stage->config = (FscConfig){ .providers = fsc_providers_new (geteuid () == 0),
                               .lane_openers = n_openers,
                               .lane_queue = 1000,
                               .lane_deadline = (gint64) (deadline * G_USEC_PER_SEC),
                               .lane_idle_time = 600 * G_USEC_PER_SEC };
  fsc_providers_find_group (stage->config.providers, "file")->ttl_ms = 1234;
  stage->dir = g_dir_make_tmp ("fscache-lane-XXXXXX", &error);
  g_assert_no_error (error);
  install_opener (stage, NULL);
  stage->spawner = fsc_spawner_new (&error);
  g_assert_no_error (error);
  stage->loop = fsc_loop_new (before_wait, stage, &error);
  g_assert_no_error (error);
  stage->mounts = fsc_mounts_new (stage->loop, &error);
  stage->credentials = fsc_credentials_new (no_watches, NULL);
  g_assert_no_error (error);
  stage->local_mount = find_local_mount (stage);
  stage->foreign_mount = g_strdup ("/proc");
  g_assert_cmpstr (fsc_mounts_find (stage->mounts, "/proc")->path, ==, "/proc");
  g_assert_false (fsc_mounts_find (stage->mounts, "/proc")->is_local);
}

static void
stage_start (Stage *stage)
{
  static const FscLanesFuncs funcs = {
    .done = job_done, .progressed = job_progressed, .receiving = job_receiving, .lost = opener_lost
  };
  g_autoptr (GError) error = NULL;

  stage->lanes = fsc_lanes_new (stage->loop, stage->spawner, stage->mounts, stage->credentials,
                                &stage->config, stage->dir, &funcs, stage);
  fsc_spawner_attach (stage->spawner, stage->loop,
                      &(FscSpawnerFuncs){ .exited = fsc_lanes_opener_exited }, stage->lanes,
                      &error);
  g_assert_no_error (error);
}

/* Waits until no child is left: orphans of the spawner are this process's, see main(). */
static void
assert_no_processes (void)
{
  gint64 end = g_get_monotonic_time () + PATIENCE;
  pid_t pid;

  while ((pid = waitpid (-1, NULL, WNOHANG)) >= 0)
    if (pid == 0)
      {
        g_assert_cmpint (g_get_monotonic_time (), <, end);
        g_usleep (1000);
      }
  g_assert_cmpint (errno, ==, ECHILD);
}

static void
stage_clear (Stage *stage)
{
  g_autofree char *program = g_build_filename (stage->dir, "open-file", NULL);

  g_clear_pointer (&stage->lanes, fsc_lanes_free);
  g_assert_cmpuint (stage->n_answered, ==, stage->n_asked);
  fsc_mounts_free (stage->mounts);
  fsc_credentials_free (stage->credentials);
  fsc_spawner_free (stage->spawner);
  fsc_loop_free (stage->loop);
  fsc_providers_free (stage->config.providers);
  g_unlink (program);
  g_assert_cmpint (g_rmdir (stage->dir), ==, 0);
  g_free (stage->dir);
  g_free (stage->local_mount);
  g_free (stage->foreign_mount);
  assert_no_processes ();
  fsc_test_assert_descriptors (stage->descriptors);
}

static const FscLaneCounters *
counters (const Stage *stage)
{
  return fsc_lanes_get_counters (stage->lanes);
}

/* Asking */

/* `uri` is given as if the mount were at "/". */
static Asked *
make_job (Stage *stage, const char *uri, const char *mount, gboolean is_check)
{
  Asked *asked = g_new0 (Asked, 1);
  size_t n = strlen ("file://");
  char *full = g_str_has_prefix (uri, "file://") ? g_strconcat ("file://", mount, uri + n, NULL)
                                                 : g_strdup (uri);

  asked->stage = stage;
  asked->job.item.uri = (FscBytes){ full, strlen (full) };
  if (is_check)
    asked->job.item.validator = (FscBytes){ g_strdup ("valid"), 5 };
  asked->job.since = g_get_monotonic_time ();
  return asked;
}

static void
start (Asked *asked)
{
  guint before = asked->stage->n_answered;

  asked->stage->n_asked++;
  g_queue_push_tail (&asked->job.waiters, asked); /* somebody does */
  fsc_lanes_start (asked->stage->lanes, &asked->job);
  g_assert_cmpuint (asked->stage->n_answered, ==, before); /* never from within */
}

static Asked *
ask (Stage *stage, const char *uri)
{
  Asked *asked = make_job (stage, uri, stage->foreign_mount, FALSE);

  start (asked);
  return asked;
}

static Asked *
ask_locally (Stage *stage, const char *uri, gboolean is_check)
{
  Asked *asked = make_job (stage, uri, stage->local_mount, is_check);

  start (asked);
  return asked;
}

static void
asked_free (Asked *asked)
{
  if (asked->handle != NULL)
    fsc_handle_unref (asked->handle);
  g_queue_clear (&asked->job.waiters);
  g_free ((char *) asked->job.item.uri.data);
  g_free ((char *) asked->job.item.validator.data);
  g_free (asked->text);
  g_free (asked);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC (Asked, asked_free)

static void
assert_answer (const Asked *asked, FscCode code, int error, const char *part)
{
  g_test_message ("%.60s: %s", asked->job.item.uri.data, asked->text);
  g_assert_true (asked->is_answered);
  g_assert_cmpint (asked->code, ==, code);
  g_assert_cmpint (asked->error, ==, error);
  if (part != NULL)
    g_assert_nonnull (strstr (asked->text, part));
}

static Told
get_told (const Asked *asked)
{
  char text[FSC_VALIDATOR_MAX + 1] = "";
  Told told;

  assert_answer (asked, FSC_CODE_OK, 0, NULL);
  memcpy (text, asked->handle->validator, asked->handle->validator_length);
  g_assert_cmpint (sscanf (text, "%d %u %u %u %u", &told.pid, &told.n_items, &told.number,
                           &told.mount_length, &told.resume_length),
                   ==, 5);
  return told;
}

/* Asks for something ordinary, and gets it: the lane works. */
static Told
assert_works (Stage *stage)
{
  g_autoptr (Asked) asked = ask (stage, "file:///answer/ordinary");

  wait_for (asked->is_answered);
  return get_told (asked);
}

static void
wait_for_all (Stage *stage)
{
  wait_for (stage->n_answered == stage->n_asked);
}

static gboolean
skip_without_local_mount (Stage *stage)
{
  if (stage->local_mount == NULL)
    g_test_skip ("no mount of a local file system here: nothing goes in batches");
  return stage->local_mount == NULL;
}

/* Tests: what goes well */

static void
test_normal (void)
{
  Stage stage;
  struct stat st;

  stage_init (&stage, 4, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) good = ask (&stage, "file:///answer/1");
    g_autoptr (Asked) missing = ask (&stage, "file:///missing/1");
    g_autoptr (Asked) check = make_job (&stage, "file:///check/1", stage.foreign_mount, TRUE);

    start (check);
    wait_for_all (&stage);
    assert_answer (good, FSC_CODE_OK, 0, NULL);
    g_assert_cmpint (fstat (good->handle->fd, &st), ==, 0);
    g_assert_true (S_ISCHR (st.st_mode));
    g_assert_null (good->handle->holder);
    g_assert_cmpint (good->handle->kind, ==, FSC_KIND_REGULAR);
    g_assert_cmpint (good->handle->most_sharing, ==, FSC_SHARING_INDEPENDENT);
    g_assert_cmpuint (good->handle->mount_id, ==, 42);
    g_assert_cmpuint (good->ttl_ms, ==, 1234);
    g_assert_cmpint (good->job.begun, >=, good->job.since);
    assert_answer (missing, FSC_CODE_SYSTEM, ENOENT, "told to fail");
    assert_answer (check, FSC_CODE_UNCHANGED, 0, NULL);
  }
  g_assert_cmpuint (counters (&stage)->lanes, ==, 1);
  g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
  g_assert_cmpuint (counters (&stage)->timeouts, ==, 0);
  stage_clear (&stage);
}

/* Different mounts and credentials have lanes of their own. */
static void
test_lanes_apart (void)
{
  FscUser user
      = { .uid = geteuid (), .gid = getegid (), .n_groups = 1, .groups = &(gid_t){ 54321 } };
  Stage stage;

  stage_init (&stage, 1, 60);
  if (!fsc_spawner_is_privileged (stage.spawner))
    {
      g_test_skip ("only root can open for others");
      stage_clear (&stage);
      return;
    }
  stage_start (&stage);
  {
    g_autoptr (Asked) slow = ask (&stage, "file:///sleep/1");
    g_autoptr (Asked) other = make_job (&stage, "file:///answer/1", stage.foreign_mount, FALSE);
    g_autoptr (Asked) here = make_job (&stage, "file:///answer/2", "", FALSE); /* by its path */

    other->job.credential = fsc_credentials_find (stage.credentials, &user)->number;
    start (other);
    start (here);
    wait_for (other->is_answered && here->is_answered);
    g_assert_false (slow->is_answered);
    g_assert_cmpint (get_told (other).pid, !=, get_told (here).pid);
    g_assert_cmpuint (counters (&stage)->lanes, ==, 3);
    g_clear_pointer (&stage.lanes, fsc_lanes_free);
    assert_answer (slow, FSC_CODE_OPENER_FAILED, EIO, "ended with the service");
  }
  stage_clear (&stage);
}

/* Providers that exist only here, with the same program. */

static const FscParameter odd_parameters[] = {
  { "limit", FSC_PARAMETER_BYTES, 0, 1e9, FSC_PARAMETER_ARGUMENT, "1K" },
  { "unset", FSC_PARAMETER_PATH, 0, 0, FSC_PARAMETER_ARGUMENT, NULL },
  { "place", FSC_PARAMETER_PATH, 0, 0, FSC_PARAMETER_ARGUMENT, "/a b" },
  { "deadline", FSC_PARAMETER_MICROSECONDS, 0.01, 10, offsetof (FscProvider, deadline), NULL },
  { 0 },
};

static const FscProvider remote
    = { .schemes = { "odd", "even" }, .program = "open-file", .scope = FSC_SCOPE_HOST };
static const FscProvider single = { .schemes = { "one" },
                                    .program = "open-file",
                                    .scope = FSC_SCOPE_ALL,
                                    .group = "one",
                                    .parameters = odd_parameters,
                                    .openers = 1 };

/* Each host has a lane of its own, port and all; a provider without places has one. */
static void
test_places (void)
{
  Stage stage;

  stage_init (&stage, 2, 60);
  fsc_providers_add (stage.config.providers, &remote);
  fsc_providers_add (stage.config.providers, &single);
  stage_start (&stage);
  {
    g_autoptr (Asked) slow = ask (&stage, "odd://slow.example/sleep/1");
    g_autoptr (Asked) slow_too = ask (&stage, "even://slow.example/sleep/2");
    g_autoptr (Asked) other = ask (&stage, "odd://other.example/answer/1");
    g_autoptr (Asked) port = ask (&stage, "even://slow.example:81/answer/1");
    g_autoptr (Asked) one = ask (&stage, "one:/answer/1");

    wait_for (other->is_answered && port->is_answered && one->is_answered);
    g_assert_cmpint (get_told (other).pid, !=, get_told (port).pid);
    g_assert_cmpuint (get_told (other).mount_length, ==, 0);
    g_assert_cmpuint (other->ttl_ms, ==, 0);
    {
      g_autoptr (Asked) again = ask (&stage, "odd://other.example/answer/2");
      g_autoptr (Asked) elsewhere = ask (&stage, "one:elsewhere/answer/1");

      wait_for (again->is_answered && elsewhere->is_answered);
      g_assert_cmpint (get_told (again).pid, ==, get_told (other).pid);
      g_assert_cmpint (get_told (elsewhere).pid, ==, get_told (one).pid);
    }
    g_assert_cmpuint (counters (&stage)->lanes, ==, 4);
    g_assert_false (slow->is_answered || slow_too->is_answered);
    g_clear_pointer (&stage.lanes, fsc_lanes_free);
  }
  stage_clear (&stage);
}

/* What a host leads to is opened in the lane of where that is, by the same program. */
static void
test_redirect (void)
{
  static const char *const wrong[] = { "odd://a.example/redirect/file:+++answer+1",
                                       "odd://a.example/redirect/tcp:++b.example:1" };
  Stage stage;

  stage_init (&stage, 1, 60);
  fsc_providers_add (stage.config.providers, &remote);
  stage_start (&stage);
  {
    g_autoptr (Asked) there = ask (&stage, "odd://b.example/answer/1");
    g_autoptr (Asked) redirected
        = ask (&stage, "odd://a.example/redirect/even:++b.example+answer+1");
    g_autoptr (Asked) missing
        = ask (&stage, "odd://a.example/redirect/odd:++b.example+missing-by-name+1");

    wait_for (there->is_answered && redirected->is_answered && missing->is_answered);
    g_assert_cmpint (get_told (redirected).pid, ==, get_told (there).pid);
    g_assert_cmpuint (get_told (redirected).resume_length, ==, 1);
    assert_answer (missing, FSC_CODE_SYSTEM, ENOENT,
                   "cannot open odd://a.example/redirect/odd:++b.example+missing-by-name+1, which "
                   "leads to odd://b.example/missing-by-name/1: ");
    g_assert_cmpuint (counters (&stage)->hops, ==, 2);
  }
  for (guint i = 0; i < G_N_ELEMENTS (wrong); i++)
    {
      g_autoptr (Asked) asked = ask (&stage, wrong[i]);

      wait_for (asked->is_answered);
      assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, "answered");
    }
  stage_clear (&stage);
}

/* An opener may say how long its answer holds; else it is as its provider has it. */
static void
test_ttl (void)
{
  Stage stage;

  stage_init (&stage, 2, 60);
  fsc_providers_add (stage.config.providers, &remote)->ttl_ms = 5;
  stage_start (&stage);
  {
    g_autoptr (Asked) plain = ask (&stage, "odd://a.example/answer/1");
    g_autoptr (Asked) own = ask (&stage, "odd://a.example/answer-for/70000");
    g_autoptr (Asked) none = ask (&stage, "odd://a.example/answer-for/0");

    wait_for (plain->is_answered && own->is_answered && none->is_answered);
    g_assert_cmpuint (plain->ttl_ms, ==, 5);
    g_assert_cmpuint (own->ttl_ms, ==, 70000);
    g_assert_cmpuint (none->ttl_ms, ==, 0);
  }
  stage_clear (&stage);
}

/* A provider may have its own deadline, and number of openers. */
static void
test_own_limits (void)
{
  Stage stage;
  FscProvider *provider;
  gint64 began = g_get_monotonic_time ();

  stage_init (&stage, 4, 600);
  provider = fsc_providers_add (stage.config.providers, &single);
  g_assert_null (
      fsc_provider_set (provider, fsc_parameter_find (odd_parameters, "deadline"), "0.2"));
  stage_start (&stage);
  {
    g_autoptr (Asked) hangs = ask (&stage, "one:/sleep/1");
    g_autoptr (Asked) waits = ask (&stage, "one:/sleep/2");
    g_autoptr (Asked) there = ask (&stage, "file:///answer/1");

    wait_for (stage.n_answered == 3);
    assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT,
                   "no answer from the provider of one: within the deadline of 0.2 s");
    assert_answer (waits, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
    assert_answer (there, FSC_CODE_OK, 0, NULL);
    g_assert_cmpint (g_get_monotonic_time () - began, <, PATIENCE);
    g_assert_cmpuint (counters (&stage)->openers_started, ==, 2);
  }
  stage_clear (&stage);
}

/* What was made of a file is checked, and watched, as that file, in a lane of files; if the file is
 * another one, or gone, the job goes where it is made. */
static void
test_made_of_file (void)
{
  static const char unchanged[] = "unpack:///proc/check-content/1#a/b";
  FscProvider *unpack;
  Stage stage;

  stage_init (&stage, 1, 60);
  unpack = fsc_providers_find_group (stage.config.providers, "unpack");
  unpack->program = "open-file";
  unpack->left_out = NULL;
  stage_start (&stage);
  {
    g_autoptr (Asked) made = ask (&stage, "unpack:///proc/answer/1");
    g_autoptr (Asked) same = make_job (&stage, unchanged, NULL, TRUE);
    g_autoptr (Asked) led
        = make_job (&stage, "unpack:///proc/leads/+tmp+check-content+1#a/b", NULL, TRUE);
    g_autoptr (Asked) other = make_job (&stage, "unpack:///proc/answer/1", NULL, TRUE);
    g_autoptr (Asked) gone = make_job (&stage, "unpack:///proc/missing/1#m", NULL, TRUE);
    g_autoptr (Asked) watch = make_job (&stage, "unpack:///proc/way/1#a/b", NULL, TRUE);

    wait_for_all (&stage);
    g_assert_cmpuint (counters (&stage)->lanes, ==, 1);
    start (same);
    start (led);
    start (other);
    start (gone);
    watch->job.is_watch = TRUE;
    watch->job.item.options = FSC_OPTION_WATCH;
    start (watch);
    wait_for_all (&stage);

    assert_answer (same, FSC_CODE_UNCHANGED, 0, NULL);
    g_assert_cmpmem (same->job.item.uri.data, same->job.item.uri.length, unchanged,
                     strlen (unchanged));
    g_assert_cmpuint (same->job.item.options, ==, 0);
    g_assert_null (same->job.provider_data);
    assert_answer (led, FSC_CODE_UNCHANGED, 0, NULL);
    g_assert_cmpint (get_told (other).pid, ==, get_told (made).pid);
    assert_answer (gone, FSC_CODE_SYSTEM, ENOENT, "told to fail");
    assert_answer (watch, FSC_CODE_UNCHANGED, 0, NULL);
    g_assert_cmpuint (watch->n_steps, ==, 3);
    g_assert_cmpuint (watch->job.item.options, ==, FSC_OPTION_WATCH);
    g_assert_cmpuint (counters (&stage)->lanes, ==, 3); /* of files there are two */
    g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
  }
  stage_clear (&stage);
}

/* An opener is told its provider's parameters. */
static void
test_arguments (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  fsc_providers_add (stage.config.providers, &single);
  stage_start (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, "one:/arguments/1");
    g_autoptr (Asked) none = ask (&stage, "file:///arguments/1");

    wait_for_all (&stage);
    assert_answer (asked, FSC_CODE_SYSTEM, E2BIG, "open-file|--limit=1024|--place=/a b|");
    g_assert_cmpstr (none->text, ==, "open-file|");
  }
  stage_clear (&stage);
}

/* More than can be told. */
static void
test_long_command (void)
{
  g_autofree char *path = g_strnfill (9000, '/');
  FscProvider *provider;
  Stage stage;

  stage_init (&stage, 1, 60);
  provider = fsc_providers_add (stage.config.providers, &single);
  g_assert_null (fsc_provider_set (provider, fsc_parameter_find (odd_parameters, "place"), path));
  stage_start (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, "one:/answer/1");

    wait_for_all (&stage);
    assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, "cannot be started");
    g_assert_nonnull (strstr (asked->text, g_strerror (E2BIG)));
  }
  stage_clear (&stage);
}

static void
test_batch (void)
{
  Stage stage;
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  guint most = 0;

  stage_init (&stage, 4, 60);
  stage_start (&stage);
  if (!skip_without_local_mount (&stage))
    {
      for (guint i = 0; i < 300; i++)
        g_ptr_array_add (all, ask_locally (&stage, "file:///answer/1", i % 2 == 0));
      wait_for_all (&stage);
      for (guint i = 0; i < all->len; i++)
        most = MAX (most, get_told (all->pdata[i]).n_items);
      g_assert_cmpuint (most, >=, 16);
      g_assert_cmpuint (counters (&stage)->openers_started, <=, 4);
    }
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* More than a packet can carry. */
static void
test_long_names (void)
{
  Stage stage;
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  g_autofree char *fill = g_strnfill (12000, 'x');
  g_autofree char *uri = g_strconcat ("file:///answer/", fill, NULL);

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  if (!skip_without_local_mount (&stage))
    {
      for (guint i = 0; i < 40; i++)
        g_ptr_array_add (all, ask_locally (&stage, uri, TRUE));
      wait_for_all (&stage);
      for (guint i = 0; i < all->len; i++)
        {
          g_assert_cmpuint (get_told (all->pdata[i]).n_items, <=, 5);
          g_assert_cmpuint (get_told (all->pdata[i]).number, ==, i);
        }
    }
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* First come, first served; and on a mount that may hang, each alone. */
static void
test_order (void)
{
  Stage stage;
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  for (guint i = 0; i < 50; i++)
    g_ptr_array_add (all, ask (&stage, "file:///answer/1"));
  wait_for_all (&stage);
  for (guint i = 0; i < all->len; i++)
    {
      const Asked *asked = all->pdata[i];

      g_assert_cmpuint (asked->order, ==, i);
      g_assert_cmpuint (get_told (asked).number, ==, i);
      g_assert_cmpuint (get_told (asked).n_items, ==, 1);
    }
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

static void
test_unknown_scheme (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, "nosuch:thing");

    wait_for_all (&stage);
    assert_answer (asked, FSC_CODE_UNKNOWN_SCHEME, EPROTONOSUPPORT, "\"nosuch\"");
  }
  g_assert_cmpuint (counters (&stage)->openers_started, ==, 0);
  stage_clear (&stage);
}

static void
test_full_queue (void)
{
  Stage stage;
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);

  stage_init (&stage, 1, 60);
  stage.config.lane_queue = 3;
  stage_start (&stage);
  for (guint i = 0; i < 5; i++)
    g_ptr_array_add (all, ask (&stage, "file:///answer/1"));
  wait_for_all (&stage);
  for (guint i = 0; i < 3; i++)
    get_told (all->pdata[i]);
  for (guint i = 3; i < 5; i++)
    {
      assert_answer (all->pdata[i], FSC_CODE_LIMIT, EAGAIN, "[lanes] queue=3");
      assert_answer (all->pdata[i], FSC_CODE_LIMIT, EAGAIN, "/proc");
      assert_answer (all->pdata[i], FSC_CODE_LIMIT, EAGAIN, "/answer/1");
    }
  assert_works (&stage);
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* Tests: what goes wrong */

static void
test_crash (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) crash = ask (&stage, "file:///crash/1");
    g_autoptr (Asked) leaves = ask (&stage, "file:///exit/1");
    g_autoptr (Asked) next = ask (&stage, "file:///answer/1");
    g_autoptr (Asked) after = NULL;

    wait_for_all (&stage);
    assert_answer (crash, FSC_CODE_OPENER_FAILED, EIO, "the opener open-file has ended");
    assert_answer (crash, FSC_CODE_OPENER_FAILED, EIO, "file:///proc/crash/1");
    assert_answer (leaves, FSC_CODE_OPENER_FAILED, EIO, "the opener open-file has ended");
    get_told (next);
    after = ask (&stage, "file:///crash-after/1");
    wait_for (counters (&stage)->openers_failed == 3);
    get_told (after); /* it had been answered */
  }
  assert_works (&stage);
  g_assert_cmpuint (stage.n_lost, ==, 3);
  wait_for (counters (&stage)->stuck == 0);
  stage_clear (&stage);
}

/* One of a batch crashes: the others are served, with as few openers as there may be. */
static void
test_crash_in_batch (void)
{
  for (guint n_openers = 1; n_openers <= 4; n_openers += 3)
    {
      g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
      Stage stage;

      stage_init (&stage, n_openers, 60);
      stage_start (&stage);
      if (!skip_without_local_mount (&stage))
        {
          for (guint i = 0; i < 10; i++)
            g_ptr_array_add (
                all, ask_locally (&stage, i == 4 ? "file:///crash/1" : "file:///answer/1", TRUE));
          wait_for_all (&stage);
          for (guint i = 0; i < all->len; i++)
            if (i == 4)
              assert_answer (all->pdata[i], FSC_CODE_OPENER_FAILED, EIO, "has ended");
            else
              g_assert_cmpuint (get_told (all->pdata[i]).n_items, ==, 1);
          g_assert_cmpuint (counters (&stage)->openers_failed, ==, 2);
        }
      g_ptr_array_set_size (all, 0);
      stage_clear (&stage);
    }
}

static void
test_hang (void)
{
  Stage stage;
  gint64 started;

  stage_init (&stage, 1, 0.3);
  stage_start (&stage);
  assert_works (&stage);
  started = g_get_monotonic_time ();
  {
    g_autoptr (Asked) hangs = ask (&stage, "file:///sleep/1");
    g_autoptr (Asked) next = make_job (&stage, "file:///answer/1", stage.foreign_mount, FALSE);

    next->job.since += 20 * G_USEC_PER_SEC; /* it has time */
    start (next);
    wait_for_all (&stage);
    assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, "0.3 s");
    assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, "/proc");
    g_assert_cmpint (g_get_monotonic_time () - started, >=, 300000);
    get_told (next);
  }
  g_assert_cmpuint (counters (&stage)->timeouts, ==, 1);
  g_assert_cmpuint (counters (&stage)->openers_failed, ==, 1);
  stage_clear (&stage);
}

/* All that is left of a batch when its opener is ended is one that has time yet: it is not to blame
 * for the one that hangs. */
static void
test_innocent (void)
{
  Stage stage;

  stage_init (&stage, 1, 1);
  stage_start (&stage);
  if (!skip_without_local_mount (&stage))
    {
      g_autoptr (Asked) hangs = make_job (&stage, "file:///sleep/1", stage.local_mount, TRUE);
      g_autoptr (Asked) innocent = make_job (&stage, "file:///answer/1", stage.local_mount, TRUE);

      innocent->job.since += 20 * G_USEC_PER_SEC;
      start (hangs);
      start (innocent);
      wait_for_all (&stage);
      assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
      get_told (innocent);
    }
  stage_clear (&stage);
}

/* One of a batch hangs: all have the same deadline, and the others are served all the same. */
static void
test_hang_in_batch (void)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  Stage stage;

  stage_init (&stage, 4, 4);
  stage_start (&stage);
  if (!skip_without_local_mount (&stage))
    {
      for (guint i = 0; i < 20; i++)
        g_ptr_array_add (
            all, ask_locally (&stage, i == 7 ? "file:///sleep/1" : "file:///answer/1", TRUE));
      wait_for_all (&stage);
      for (guint i = 0; i < all->len; i++)
        if (i == 7)
          assert_answer (all->pdata[i], FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
        else
          get_told (all->pdata[i]);
      g_assert_cmpuint (counters (&stage)->timeouts, ==, 1);
    }
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* A job that has waited for long is overdue soon after it was given: its answer is not wanted any
 * more, but the opener has done nothing wrong. */
static void
test_overdue_but_working (void)
{
  Stage stage;
  int pid;

  stage_init (&stage, 1, 10);
  stage_start (&stage);
  pid = assert_works (&stage).pid;
  {
    g_autoptr (Asked) slow = make_job (&stage, "file:///nap/1", stage.foreign_mount, FALSE);

    slow->job.since -= (gint64) (9.95 * G_USEC_PER_SEC);
    start (slow);
    wait_for_all (&stage);
    assert_answer (slow, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
  }
  g_assert_cmpint (assert_works (&stage).pid, ==, pid);
  g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
  stage_clear (&stage);
}

static void
test_nonsense (void)
{
  static const struct
  {
    const char *what;
    const char *text;
  } kinds[] = {
    { "wrong-index", "answered what it was not asked" },
    { "wrong-serial", "answered what it was not asked" },
    { "no-handle", "answered without a handle" },
    { "handle-and-id", "answered without a handle" },
    { "too-many-descriptors", "answered nonsense" },
    { "no-errno", "answered nonsense" },
    { "unchanged", "answered nonsense" },
    { "again", "answered nonsense" }, /* it was not told where to go on */
    { "leads-oddly", "answered nonsense" },
    { "leads-out", "answered nonsense" },
    { "leads-to-errno", "answered nonsense" },
    { "too-many-results", "answered what it was not asked" },
    { "greeting", "sent what it was not asked for" },
    { "ping", "sent what it was not asked for" },
    { "done", "answered what it was not asked" },
    { "bytes", "sent nonsense" },
    { "truncated", "sent nonsense" },
    { "content-unsealed", "gave out content that can be written to" },
    { "content-may-be-unsealed", "gave out content that can be written to" },
    { "content-of-other-size", "gave out content of another size than it says" },
    { "content-says-sealed", "answered nonsense" },
    { "progress-of-other", "told of what it was not asked" },
  };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      g_autofree char *uri = g_strdup_printf ("file:///%s/1", kinds[i].what);
      Stage stage;

      stage_init (&stage, 1, 60);
      stage_start (&stage);
      {
        g_autoptr (Asked) asked = ask (&stage, uri);

        wait_for_all (&stage);
        if (asked->code == FSC_CODE_OK) /* the second half of the packet was at fault */
          g_assert_cmpstr (kinds[i].what, ==, "too-many-descriptors");
        else
          assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, kinds[i].text);
        wait_for (counters (&stage)->openers_failed == 1);
        assert_works (&stage);
      }
      stage_clear (&stage);
    }
}

/* Content that never changes: the kernel says whether that is so. */
static void
test_content (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) sealed = ask (&stage, "file:///content/1");
    g_autoptr (Asked) empty = ask (&stage, "file:///content-empty/1");
    g_autoptr (Asked) file = ask (&stage, "file:///content-in-file/1");
    g_autoptr (Asked) other = ask (&stage, "file:///answer/1");

    wait_for_all (&stage);
    assert_answer (sealed, FSC_CODE_OK, 0, NULL);
    g_assert_true (sealed->handle->content->info.is_known);
    g_assert_true (sealed->handle->content->info.is_sealed);
    g_assert_cmpuint (sealed->handle->content->info.size, ==, 5);
    g_assert_cmpuint (sealed->handle->content->info.digest[31], ==, 5);
    g_assert_cmpuint (sealed->handle->bytes, ==, 5);
    g_assert_cmpint (sealed->handle->fd, ==, sealed->handle->content->fd);
    g_assert_cmpuint (sealed->handle->validator_length, ==, 1);
    assert_answer (empty, FSC_CODE_OK, 0, NULL);
    g_assert_true (empty->handle->content->info.is_sealed);
    g_assert_cmpuint (empty->handle->bytes, ==, 0);
    assert_answer (file, FSC_CODE_OK, 0, NULL);
    g_assert_false (file->handle->content->info.is_sealed);
    g_assert_cmpuint (file->handle->content->info.size, ==, 5);
    assert_answer (other, FSC_CODE_OK, 0, NULL);
    g_assert_null (other->handle->content);
  }
  g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
  stage_clear (&stage);
}

/* An opener that has not said that it knows of them tells of neither content nor progress. */
static void
test_without_features (void)
{
  static const char *const uris[] = { "file:///content/1", "file:///progress/1" };
  g_autofree char *fake = get_fake_opener ();
  g_autofree char *script = g_strdup_printf ("#!/bin/sh\nexec %s old\n", fake);

  for (guint i = 0; i < G_N_ELEMENTS (uris); i++)
    {
      Stage stage;

      stage_init (&stage, 1, 60);
      install_opener (&stage, script);
      stage_start (&stage);
      {
        g_autoptr (Asked) asked = ask (&stage, uris[i]);

        wait_for_all (&stage);
        assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, i == 0 ? "nonsense" : "not asked");
        g_assert_cmpuint (asked->n_progressed, ==, 0);
        assert_works (&stage);
      }
      stage_clear (&stage);
    }
}

/* What gets on is not late, however long it takes; what only says so is. */
static void
test_progress (void)
{
  Stage stage;

  stage_init (&stage, 2, 1);
  stage_start (&stage);
  {
    g_autoptr (Asked) long_one = ask (&stage, "file:///progress/1");
    g_autoptr (Asked) stuck = ask (&stage, "file:///no-progress/1");

    wait_for_all (&stage);
    get_told (long_one);
    g_assert_cmpuint (long_one->n_progressed, ==, 20);
    g_assert_cmpuint (long_one->progress.done, ==, 100);
    assert_answer (stuck, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
    g_assert_cmpuint (stuck->n_progressed, >, 1);
    g_assert_cmpuint (stuck->progress.done, ==, 5);
    g_assert_cmpuint (stuck->order, <, long_one->order);
  }
  stage_clear (&stage);
}

/* What begins again has not come to a stop, although it is long before it has more than before. */
static void
test_progress_again (void)
{
  Stage stage;

  stage_init (&stage, 1, 1);
  stage_start (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, "file:///progress-again/1");

    wait_for_all (&stage);
    assert_answer (asked, FSC_CODE_OK, 0, NULL);
    g_assert_cmpuint (asked->progress.done, ==, 100);
  }
  stage_clear (&stage);
}

/* Of what is answered nothing more can be told. */
static void
test_progress_after (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) asked = ask (&stage, "file:///progress-unasked/1");

    wait_for_all (&stage);
    assert_answer (asked, FSC_CODE_SYSTEM, ENOENT, NULL);
    wait_for (counters (&stage)->openers_failed == 1);
  }
  if (!skip_without_local_mount (&stage))
    {
      g_autoptr (Asked) first = ask_locally (&stage, "file:///progress-after/1", TRUE);
      g_autoptr (Asked) second = ask_locally (&stage, "file:///mute/1", TRUE);

      wait_for_all (&stage);
      assert_answer (first, FSC_CODE_SYSTEM, ENOENT, NULL);
      assert_answer (second, FSC_CODE_OPENER_FAILED, EIO, "told of what it had answered");
    }
  stage_clear (&stage);
}

/* An opener that answers one of two items twice has not answered the other. */
static void
test_answered_twice (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  if (!skip_without_local_mount (&stage))
    {
      g_autoptr (Asked) twice = ask_locally (&stage, "file:///twice/1", TRUE);
      g_autoptr (Asked) mute = ask_locally (&stage, "file:///mute/1", TRUE);

      wait_for_all (&stage);
      assert_answer (twice, FSC_CODE_SYSTEM, ENOENT, NULL);
      assert_answer (mute, FSC_CODE_OPENER_FAILED, EIO, "answered the same question twice");
    }
  stage_clear (&stage);
}

static void
test_missing_program (void)
{
  static const char *const scripts[] = { NULL, "#!/bin/sh\nexit 1\n", "#!/no/such/shell\n",
                                         "#!/bin/sh\nprintf '?' >&3\nexec sleep 1000\n" };

  for (guint i = 0; i < G_N_ELEMENTS (scripts); i++)
    {
      g_autofree char *program = NULL;
      Stage stage;

      stage_init (&stage, 2, 60);
      program = g_build_filename (stage.dir, "open-file", NULL);
      if (scripts[i] != NULL)
        install_opener (&stage, scripts[i]);
      else
        g_assert_cmpint (g_unlink (program), ==, 0);
      stage_start (&stage);
      {
        g_autoptr (Asked) first = ask (&stage, "file:///answer/1");
        g_autoptr (Asked) second = ask (&stage, "file:///answer/2");

        wait_for_all (&stage);
        assert_answer (first, FSC_CODE_OPENER_FAILED, EIO, "the opener open-file does not start");
        assert_answer (second, FSC_CODE_OPENER_FAILED, EIO, "the opener open-file does not start");
        g_assert_cmpuint (counters (&stage)->openers_started, <=, 6);
      }
      wait_for (counters (&stage)->openers == 0 && counters (&stage)->stuck == 0);
      install_opener (&stage, NULL);
      assert_works (&stage);
      stage_clear (&stage);
    }
}

/* Programs that start and say nothing are ended like those that hang, and make room. */
static void
test_hang_at_start (void)
{
  Stage stage;

  stage_init (&stage, 2, 0.3);
  install_opener (&stage, "#!/bin/sh\nexec sleep 1000\n");
  stage_start (&stage);
  {
    g_autoptr (Asked) first = ask (&stage, "file:///answer/1");
    g_autoptr (Asked) second = ask (&stage, "file:///answer/2");
    g_autoptr (Asked) third = ask (&stage, "file:///answer/3");

    wait_for_all (&stage);
    assert_answer (first, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
    assert_answer (second, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
    assert_answer (third, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
  }
  wait_for (counters (&stage)->openers == 0 && counters (&stage)->stuck == 0);
  g_assert_cmpuint (counters (&stage)->openers_failed, ==, 2);
  install_opener (&stage, NULL);
  stage.config.lane_deadline = 60 * G_USEC_PER_SEC;
  assert_works (&stage);
  stage_clear (&stage);
}

/* The spawner */

static pid_t
find_spawner (void)
{
  g_autoptr (GDir) dir = g_dir_open ("/proc", 0, NULL);
  const char *name;

  while ((name = g_dir_read_name (dir)) != NULL)
    {
      g_autofree char *path = g_build_filename ("/proc", name, "stat", NULL);
      g_autofree char *stat = NULL;
      char state;
      int parent;

      if (g_ascii_isdigit (name[0]) && g_file_get_contents (path, &stat, NULL, NULL)
          && strstr (stat, "(fscached-spawn)") != NULL
          && sscanf (strrchr (stat, ')'), ") %c %d", &state, &parent) == 2 && state != 'Z'
          && parent == getpid ())
        return atoi (name);
    }
  return 0;
}

static void
test_spawner_killed (void)
{
  Stage stage;
  int pid;

  stage_init (&stage, 2, 60);
  stage_start (&stage);
  pid = assert_works (&stage).pid;
  for (guint i = 0; i < 3; i++)
    {
      g_autoptr (Asked) asked = ask (&stage, "file:///sleep/1");
      g_autoptr (Asked) next = NULL;

      wait_for (asked->job.begun != 0);
      g_assert_cmpint (kill (find_spawner (), SIGKILL), ==, 0);
      next = ask (&stage, "file:///answer/1"); /* it is not known yet */
      wait_for (asked->is_answered);
      assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, "has ended");
      wait_for (next->is_answered && counters (&stage)->stuck == 0);
      if (next->code != FSC_CODE_OK) /* it may have been given to one that was dying */
        assert_answer (next, FSC_CODE_OPENER_FAILED, EIO, "has ended");
      g_assert_cmpint (assert_works (&stage).pid, !=, pid);
    }
  stage_clear (&stage);
}

/* Openers that cannot be killed, because the spawner is stopped: they are counted, the lane refuses
 * at once, and works again when they are gone. */
static void
test_stuck (void)
{
  Stage stage;
  gint64 asked_at;
  pid_t spawner;

  stage_init (&stage, 1, 0.3);
  stage_start (&stage);
  assert_works (&stage);
  spawner = find_spawner ();
  g_assert_cmpint (kill (spawner, SIGSTOP), ==, 0);
  {
    g_autoptr (Asked) hangs = ask (&stage, "file:///sleep/1");
    g_autoptr (Asked) refused = NULL;

    wait_for_all (&stage);
    assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, "deadline");
    wait_for (counters (&stage)->stuck == 1);
    run_for (1.1);
    asked_at = g_get_monotonic_time ();
    stage.config.lane_deadline = 60 * G_USEC_PER_SEC;
    refused = ask (&stage, "file:///answer/1");
    wait_for_all (&stage);
    assert_answer (refused, FSC_CODE_TIMED_OUT, ETIMEDOUT, "1 openers are stuck");
    g_assert_cmpint (g_get_monotonic_time () - asked_at, <, 20 * G_USEC_PER_SEC);
  }
  g_assert_cmpint (kill (spawner, SIGCONT), ==, 0);
  wait_for (counters (&stage)->stuck == 0);
  assert_works (&stage);
  stage_clear (&stage);
}

static void
test_idle (void)
{
  Stage stage;

  stage_init (&stage, 3, 60);
  stage.config.lane_idle_time = (gint64) (0.2 * G_USEC_PER_SEC);
  stage_start (&stage);
  {
    g_autoptr (Asked) held = ask (&stage, "file:///hold/1");

    g_autoptr (Asked) other = ask (&stage, "file:///answer/1");

    wait_for_all (&stage);
    assert_answer (held, FSC_CODE_OK, 0, NULL);
    get_told (other);
    wait_for (counters (&stage)->openers == 1);
    run_for (0.7);
    g_assert_cmpuint (counters (&stage)->openers, ==, 1); /* it holds something */
  }
  wait_for (counters (&stage)->openers == 0 && counters (&stage)->lanes == 0);
  assert_works (&stage);
  stage_clear (&stage);
}

/* Handles that are held */

static const char packet[] = "at least as long as a header";

typedef struct
{
  gboolean is_called;
  int error;
} Handed;

static void
handed (int error, gpointer data)
{
  Handed *result = data;

  g_assert_false (result->is_called);
  *result = (Handed){ TRUE, error };
}

static void
hand (FscHolder *holder, const guint64 *ids, guint n_ids, int socket, Handed *result)
{
  *result = (Handed){ FALSE, -1 };
  holder->hand (holder, ids, n_ids, (FscBytes){ packet, strlen (packet) }, socket, handed, result);
  g_assert_false (result->is_called);
}

static void
test_hand (void)
{
  Stage stage;
  int sockets[2];

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
  {
    g_autoptr (Asked) first = ask (&stage, "file:///hold/1");
    g_autoptr (Asked) second = ask (&stage, "file:///hold/2");
    FscHolder *holder;
    Handed result, other;
    guint64 ids[2];
    char buffer[64] = "";
    FscFds fds;
    struct stat st, zero;

    wait_for_all (&stage);
    assert_answer (first, FSC_CODE_OK, 0, NULL);
    holder = first->handle->holder;
    g_assert_nonnull (holder);
    g_assert_true (second->handle->holder == holder);
    g_assert_cmpint (first->handle->fd, ==, -1);
    g_assert_true (fsc_handle_is_alive (first->handle));
    ids[0] = first->handle->id;
    ids[1] = second->handle->id;

    hand (holder, ids, 2, sockets[0], &result);
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, 0);
    g_assert_cmpint (
        fsc_channel_receive (sockets[1], buffer, sizeof buffer, &fds, 4, NULL, MSG_DONTWAIT), ==,
        strlen (packet));
    g_assert_cmpmem (buffer, strlen (packet), packet, strlen (packet));
    g_assert_cmpuint (fds.n, ==, 2);
    g_assert_cmpint (fstat (fds.fds[1], &st), ==, 0);
    g_assert_cmpint (stat ("/dev/zero", &zero), ==, 0);
    g_assert_cmpuint (st.st_rdev, ==, zero.st_rdev);
    fsc_fds_clear (&fds);

    /* A client that does not read. */
    while (fsc_channel_send (sockets[0], buffer, sizeof buffer, NULL, 0, MSG_DONTWAIT) == 0)
      ;
    hand (holder, ids, 1, sockets[0], &result);
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, EAGAIN);

    /* One that was released. */
    g_clear_pointer (&second->handle, fsc_handle_unref);
    hand (holder, &ids[1], 1, sockets[0], &result);
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, ENOENT);

    /* A client that is gone, and had not read all. */
    close (sockets[1]);
    hand (holder, ids, 1, sockets[0], &result);
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, ECONNRESET);

    /* Many at once: each has its answer. */
    hand (holder, ids, 1, sockets[0], &result);
    hand (holder, &ids[1], 1, sockets[0], &other);
    wait_for (result.is_called && other.is_called);
    g_assert_cmpint (result.error, ==, EPIPE);
    g_assert_cmpint (other.error, ==, ENOENT);
  }
  close (sockets[0]);
  g_assert_cmpuint (stage.n_lost, ==, 0);
  stage_clear (&stage);
}

static void
test_holder_dies (void)
{
  Stage stage;
  int sockets[2];

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
  {
    g_autoptr (Asked) held = ask (&stage, "file:///hold-deaf/1");
    g_autoptr (Asked) crash = NULL;
    Handed result;

    wait_for_all (&stage);
    hand (held->handle->holder, &held->handle->id, 1, sockets[0], &result);
    crash = ask (&stage, "file:///crash/1");
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, EIO);
    g_assert_cmpuint (stage.n_lost, ==, 1);
    g_assert_false (fsc_handle_is_alive (held->handle));
    assert_works (&stage);
    g_assert_true (crash->is_answered);
  }
  close (sockets[0]);
  close (sockets[1]);
  stage_clear (&stage);
}

/* A holder that does not hand out is late, with no job there to have set the timer. */
static void
test_deaf_holder (void)
{
  Stage stage;

  stage_init (&stage, 1, 0.5);
  stage_start (&stage);
  {
    g_autoptr (Asked) held = ask (&stage, "file:///hold-deaf/1");
    gint64 started;
    Handed result;

    wait_for_all (&stage);
    assert_answer (held, FSC_CODE_OK, 0, NULL);
    run_for (0.6); /* the timer of that job is over */
    started = g_get_monotonic_time ();
    hand (held->handle->holder, &held->handle->id, 1, STDIN_FILENO, &result);
    wait_for (result.is_called);
    g_assert_cmpint (result.error, ==, EIO);
    g_assert_cmpint (g_get_monotonic_time () - started, >=, 500000);
    g_assert_false (fsc_handle_is_alive (held->handle));
  }
  stage_clear (&stage);
}

/* Ways that lead over several mounts */

static gboolean
skip_without_second_mount (Stage *stage)
{
  if (stage->local_mount == NULL)
    g_test_skip ("no mount of a local file system here, but that of /");
  return stage->local_mount == NULL;
}

/* The mount's path in a last component of the fake opener's. */
static char *
encode (const char *path, char slash)
{
  char *encoded = g_strdup (path);

  return g_strdelimit (encoded, "/", slash);
}

/* A job that hops is answered in the last lane, and is the same job as ever. */
static void
test_hops (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  if (!skip_without_second_mount (&stage))
    {
      g_autofree char *here = encode (stage.local_mount, '+');
      g_autofree char *there = encode (stage.foreign_mount, '=');
      g_autofree char *once = g_strconcat ("file:///leads/", here, "+answer+1", NULL);
      g_autofree char *twice
          = g_strconcat ("file:///leads/", here, "+leads+", there, "=answer=1", NULL);
      g_autofree char *check = g_strconcat ("file:///leads/", here, "+check+1", NULL);
      g_autofree char *missing = g_strconcat ("file:///leads/", here, "+missing+1", NULL);
      g_autofree char *named = g_strconcat ("file:///leads/", here, "+missing-by-name+1", NULL);
      g_autofree char *original = g_strconcat ("file://", stage.foreign_mount, once + 7, NULL);
      g_autofree char *full
          = g_strconcat ("cannot open ", stage.foreign_mount, named + 7, ", which leads to ",
                         stage.local_mount, "/missing-by-name/1: it was told to fail", NULL);
      g_autoptr (Asked) first = ask (&stage, once);
      g_autoptr (Asked) second = ask (&stage, twice);
      g_autoptr (Asked) third = make_job (&stage, check, stage.foreign_mount, TRUE);
      g_autoptr (Asked) fourth = ask (&stage, missing);
      g_autoptr (Asked) fifth = ask (&stage, named);
      g_autoptr (Asked) direct = ask_locally (&stage, "file:///answer/1", FALSE);
      gint64 begun;

      start (third);
      wait_for (first->job.begun != 0);
      begun = first->job.begun;
      wait_for_all (&stage);
      g_assert_cmpint (first->job.begun, ==, begun);
      g_assert_cmpint (get_told (first).pid, ==, get_told (direct).pid);
      g_assert_cmpuint (get_told (first).mount_length, ==, strlen (stage.local_mount));
      g_assert_cmpuint (get_told (first).resume_length, ==, 1);
      g_assert_cmpint (get_told (second).pid, !=, get_told (direct).pid);
      g_assert_cmpuint (get_told (second).mount_length, ==, strlen (stage.foreign_mount));
      g_assert_cmpuint (get_told (second).resume_length, ==, 2);
      assert_answer (third, FSC_CODE_UNCHANGED, 0, NULL);
      assert_answer (fourth, FSC_CODE_SYSTEM, ENOENT, "cannot open it: it was told to fail");
      assert_answer (fifth, FSC_CODE_SYSTEM, ENOENT, full);

      g_assert_cmpmem (first->job.item.uri.data, first->job.item.uri.length, original,
                       strlen (original));
      g_assert_null (first->job.provider_data);
      g_assert_cmpuint (first->job.item.mount_length, ==, 0);
      g_assert_cmpuint (first->job.item.resume.length, ==, 0);
      g_assert_cmpuint (counters (&stage)->lanes, ==, 2);
      g_assert_cmpuint (counters (&stage)->hops, ==, 6);
      g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
    }
  stage_clear (&stage);
}

/* Whose way leads to a mount that hangs is late; openers of no other mount are kept busy by it. */
static void
test_hop_to_hang (void)
{
  Stage stage;

  stage_init (&stage, 1, 1);
  stage_start (&stage);
  if (!skip_without_second_mount (&stage))
    {
      g_autofree char *here = encode (stage.local_mount, '+');
      g_autofree char *hang = g_strconcat ("file:///leads/", here, "+sleep+1", NULL);
      gint64 started = g_get_monotonic_time ();
      g_autoptr (Asked) hangs = ask (&stage, hang);
      g_autofree char *name = g_strconcat (stage.foreign_mount, hang + 7, NULL);
      g_autofree char *mount = g_strdup_printf ("from the mount %s within", stage.local_mount);

      for (guint i = 0; i < 50; i++)
        {
          g_autoptr (Asked) other = ask (&stage, "file:///answer/1");

          wait_for (other->is_answered);
          get_told (other);
        }
      g_assert_cmpint (g_get_monotonic_time () - started, <, 1000000);
      g_assert_false (hangs->is_answered);
      wait_for_all (&stage);
      assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, name);
      assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, mount);
      g_assert_cmpint (g_get_monotonic_time () - started, >=, 1000000);
    }
  stage_clear (&stage);
}

/* The deadline is one for all hops. */
static void
test_hop_deadline (void)
{
  Stage stage;

  stage_init (&stage, 1, 10);
  stage_start (&stage);
  if (!skip_without_second_mount (&stage))
    {
      g_autofree char *here = encode (stage.local_mount, '+');
      g_autofree char *hang = g_strconcat ("file:///leads/", here, "+sleep+1", NULL);
      g_autoptr (Asked) hangs = make_job (&stage, hang, stage.foreign_mount, FALSE);
      gint64 started = g_get_monotonic_time ();

      hangs->job.since -= (gint64) (9.5 * G_USEC_PER_SEC);
      start (hangs);
      wait_for_all (&stage);
      assert_answer (hangs, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
      g_assert_cmpint (g_get_monotonic_time () - started, <, 5 * G_USEC_PER_SEC);
    }
  stage_clear (&stage);
}

/* Where hopping does not help, any mount may be entered: to and fro without end; to where it came
 * from; from the beginning again and again. */
static void
test_hop_freely (void)
{
  Stage stage;

  stage_init (&stage, 2, 60);
  stage_start (&stage);
  if (!skip_without_second_mount (&stage))
    {
      g_autofree char *here = encode (stage.local_mount, '+');
      g_autofree char *to_and_fro = g_strconcat ("file:///bounce/", here, NULL);
      g_autofree char *anew = g_strconcat ("file:///leads/", here, "+again+1", NULL);
      g_autoptr (Asked) bounce = ask (&stage, to_and_fro);
      g_autoptr (Asked) again = ask (&stage, anew);
      g_autoptr (Asked) same = ask (&stage, "file:///same/1");
      Told told;

      wait_for_all (&stage);
      told = get_told (bounce);
      g_assert_cmpuint (told.mount_length, ==, 0);
      g_assert_cmpuint (told.resume_length, ==, 0);
      told = get_told (again);
      g_assert_cmpuint (told.mount_length, ==, 0);
      told = get_told (same);
      g_assert_cmpuint (told.mount_length, ==, 0);
      g_assert_cmpuint (told.resume_length, ==, 1);
      g_assert_cmpuint (counters (&stage)->hops, ==, 41 + 41 + 1);
      g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);
    }
  stage_clear (&stage);
}

/* An opener fails at the end of the way: the job is tried again there, alone, and its name is its
 * own. */
static void
test_hop_and_fail (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage.config.lane_queue = 2;
  stage_start (&stage);
  if (!skip_without_second_mount (&stage))
    {
      g_autofree char *here = encode (stage.local_mount, '+');
      g_autofree char *crash = g_strconcat ("file:///leads/", here, "+crash+1", NULL);
      g_autofree char *odd = g_strconcat ("file:///leads/", here, "+leads-oddly+1", NULL);
      g_autofree char *sleep = g_strconcat ("file:///leads/", here, "+sleep+1", NULL);
      g_autofree char *name = g_strconcat ("file://", stage.foreign_mount, crash + 7, NULL);
      g_autoptr (Asked) first = ask (&stage, crash);
      g_autoptr (Asked) second = ask (&stage, odd);
      Asked *sleeps[4];

      wait_for_all (&stage);
      assert_answer (first, FSC_CODE_OPENER_FAILED, EIO, name);
      assert_answer (second, FSC_CODE_OPENER_FAILED, EIO, "answered nonsense");

      /* The other lane's queue is full. */
      for (guint i = 0; i < G_N_ELEMENTS (sleeps); i++)
        {
          sleeps[i] = ask (&stage, sleep);
          wait_for (counters (&stage)->hops == 3 + i);
          run_for (0.05);
        }
      wait_for (sleeps[3]->is_answered);
      assert_answer (sleeps[3], FSC_CODE_LIMIT, EAGAIN, "[lanes] queue=2");
      assert_answer (sleeps[3], FSC_CODE_LIMIT, EAGAIN, stage.local_mount);

      /* And the service ends while some are on their way. */
      g_clear_pointer (&stage.lanes, fsc_lanes_free);
      for (guint i = 0; i < G_N_ELEMENTS (sleeps); i++)
        {
          g_assert_true (sleeps[i]->is_answered);
          g_assert_null (sleeps[i]->job.provider_data);
          asked_free (sleeps[i]);
        }
    }
  stage_clear (&stage);
}

/* Starting and ending */

/* Openers that take longer to start than the deadline make late who waits for them, and nobody
 * else: who comes when three have been ended for that has a deadline of their own. */
static void
test_slow_start (void)
{
  g_autofree char *fake = get_fake_opener ();
  g_autofree char *script = g_strdup_printf ("#!/bin/sh\nsleep 0.5\nexec %s\n", fake);
  Stage stage;

  stage_init (&stage, 4, 0.3);
  install_opener (&stage, script);
  stage_start (&stage);
  for (guint i = 0; i < 4; i++)
    {
      g_autoptr (Asked) first = ask (&stage, "file:///answer/1");
      g_autoptr (Asked) second = ask (&stage, "file:///answer/2");
      g_autoptr (Asked) third = ask (&stage, "file:///answer/3");
      g_autoptr (Asked) fresh = NULL;

      run_for (0.25);
      fresh = ask (&stage, "file:///answer/4");
      wait_for (first->is_answered && second->is_answered && third->is_answered);
      assert_answer (first, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
      g_assert_false (fresh->is_answered);
      wait_for_all (&stage);
      assert_answer (fresh, FSC_CODE_TIMED_OUT, ETIMEDOUT, NULL);
    }
  stage.config.lane_deadline = 60 * G_USEC_PER_SEC;
  assert_works (&stage);
  stage_clear (&stage);
}

static gboolean
end_turn (gpointer data)
{
  return G_SOURCE_REMOVE;
}

/* How often the loop wakes up in this time. */
static guint
count_turns (double seconds)
{
  gint64 end = g_get_monotonic_time () + (gint64) (seconds * G_USEC_PER_SEC);
  guint source = g_timeout_add ((guint) (seconds * 1000), G_SOURCE_FUNC (end_turn), NULL);
  guint n = 0;

  while (g_get_monotonic_time () < end)
    {
      g_main_context_iteration (NULL, TRUE);
      n++;
    }
  if (g_main_context_find_source_by_id (NULL, source) != NULL)
    g_source_remove (source);
  return n;
}

/* Who has nothing to do sleeps: with no openers, with one that is idle, and with one that holds
 * something. */
static void
test_sleep (void)
{
  Stage stage;

  stage_init (&stage, 1, 0.5);
  stage.config.lane_idle_time = (gint64) (0.5 * G_USEC_PER_SEC);
  stage_start (&stage);
  g_assert_cmpuint (count_turns (1), <=, 3);
  {
    g_autoptr (Asked) held = ask (&stage, "file:///hold/1");

    wait_for (held->is_answered);
    run_for (1.2);
    g_assert_cmpuint (counters (&stage)->openers, ==, 1);
    g_assert_cmpuint (count_turns (2), <=, 3);
  }
  wait_for (counters (&stage)->openers == 0 && counters (&stage)->lanes == 0);
  run_for (0.2);
  g_assert_cmpuint (count_turns (2), <=, 3);
  stage_clear (&stage);
}

static gboolean
has_exited (GHashTable *exited, guint32 id)
{
  return g_hash_table_contains (exited, GUINT_TO_POINTER (id));
}

static void
note_exit (guint32 id, int status, gpointer exited)
{
  g_assert_true (g_hash_table_add (exited, GUINT_TO_POINTER (id)));
}

/* Processes are started and ended even if the spawner could not be told at once. */
static void
test_kill_when_full (void)
{
  g_autoptr (GHashTable) exited = g_hash_table_new (NULL, NULL);
  g_autoptr (GArray) ids = g_array_new (FALSE, FALSE, sizeof (guint32));
  g_autoptr (GError) error = NULL;
  g_autofree char *fake = get_fake_opener ();
  char *const command[] = { fake, NULL };
  Stage stage;
  int sockets[2];
  guint32 id;
  pid_t spawner;

  stage_init (&stage, 1, 60);
  fsc_spawner_attach (stage.spawner, stage.loop, &(FscSpawnerFuncs){ .exited = note_exit }, exited,
                      &error);
  g_assert_no_error (error);
  wait_for ((spawner = find_spawner ()) != 0); /* it has a name of its own by now */
  g_assert_cmpint (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets), ==, 0);
  for (guint i = 0; i < 4; i++)
    {
      id = fsc_spawner_start (stage.spawner, command, NULL, sockets[1], &error);
      g_assert_no_error (error);
      g_array_append_val (ids, id);
    }
  g_usleep (200000);
  g_assert_cmpint (kill (spawner, SIGSTOP), ==, 0);
  for (guint i = 0; i < 100; i++) /* much more than the socket has room for */
    {
      id = fsc_spawner_start (stage.spawner, command, NULL, sockets[1], &error);
      g_assert_no_error (error);
      g_array_append_val (ids, id);
    }
  for (guint i = 0; i < ids->len; i++)
    fsc_spawner_kill (stage.spawner, g_array_index (ids, guint32, i));
  run_for (0.1);
  g_assert_cmpuint (g_hash_table_size (exited), ==, 0);
  g_assert_cmpint (kill (spawner, SIGCONT), ==, 0);
  for (guint i = 0; i < ids->len; i++)
    wait_for (has_exited (exited, g_array_index (ids, guint32, i)));
  close (sockets[0]);
  close (sockets[1]);
  stage_clear (&stage);
}

/* The end */

/* What nobody waits for any more is not begun: it might make a file. */
static void
test_unwanted (void)
{
  Stage stage;

  stage_init (&stage, 1, 60);
  stage_start (&stage);
  {
    g_autoptr (Asked) wanted = ask (&stage, "file:///answer/1");
    g_autoptr (Asked) unwanted = ask (&stage, "file:///answer/2");

    g_queue_clear (&unwanted->job.waiters);
    wait_for (stage.n_answered == 2);
    g_assert_cmpint (wanted->code, ==, FSC_CODE_OK);
    g_assert_cmpint (unwanted->code, ==, FSC_CODE_CANCELLED);
    g_assert_cmpint (unwanted->job.begun, ==, 0);
  }
  stage_clear (&stage);
}

/* Of a provider whose jobs are long, an opener is ended that does what nobody waits for, and no
 * other. */
static void
test_end_unwanted (void)
{
  static const FscProvider slow = { .schemes = { "slow" },
                                    .program = "open-file",
                                    .scope = FSC_SCOPE_ALL,
                                    .is_slow = TRUE,
                                    .ends_unwanted = TRUE,
                                    .openers = 2 };
  Stage stage;

  stage_init (&stage, 4, 60);
  fsc_providers_add (stage.config.providers, &slow);
  stage_start (&stage);
  {
    g_autoptr (Asked) unwanted = ask (&stage, "slow:/sleep/1");
    g_autoptr (Asked) late = ask (&stage, "slow:/sleep/2");
    g_autoptr (Asked) other = ask (&stage, "file:///sleep/3");
    g_autoptr (Asked) next = ask (&stage, "slow:/answer/1");

    wait_for (unwanted->job.begun != 0 && late->job.begun != 0 && other->job.begun != 0);
    g_queue_clear (&unwanted->job.waiters);
    g_queue_clear (&other->job.waiters);
    g_queue_clear (&late->job.waiters);
    fsc_lanes_withdraw (stage.lanes, &unwanted->job);
    g_queue_push_tail (&late->job.late, late); /* somebody came */
    wait_for (next->is_answered);
    assert_answer (unwanted, FSC_CODE_CANCELLED, ECANCELED, "nobody waits for it any more");
    get_told (next);
    g_assert_false (late->is_answered || other->is_answered);
    g_assert_cmpuint (counters (&stage)->openers_failed, ==, 0);

    /* Nor does it begin with what nobody waits for. */
    {
      g_autoptr (Asked) unasked = ask (&stage, "slow:/answer/2");

      unasked->job.entry = (FscEntry *) unasked;
      g_queue_clear (&unasked->job.waiters);
      wait_for (unasked->is_answered);
      g_assert_cmpint (unasked->code, ==, FSC_CODE_CANCELLED);
      g_assert_cmpint (unasked->job.begun, ==, 0);
    }
    g_clear_pointer (&stage.lanes, fsc_lanes_free);
    g_queue_clear (&late->job.late);
  }
  stage_clear (&stage);
}

/* Of a provider whose jobs are long, a list of them takes as long as it takes: who waits for an
 * opener is not late as long as something comes of others. */
static const FscProvider patient = { .schemes = { "patient" },
                                     .program = "open-file",
                                     .scope = FSC_SCOPE_ALL,
                                     .is_slow = TRUE,
                                     .openers = 2 };

static void
test_long_queue (void)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  gint64 began = g_get_monotonic_time ();
  Stage stage;

  stage_init (&stage, 4, 2);
  fsc_providers_add (stage.config.providers, &patient);
  stage_start (&stage);
  for (guint i = 0; i < 40; i++)
    g_ptr_array_add (all, ask (&stage, i == 2 ? "patient:/progress/1" : "patient:/nap/1"));
  wait_for_all (&stage);
  for (guint i = 0; i < all->len; i++)
    get_told (all->pdata[i]);
  g_assert_cmpint (g_get_monotonic_time () - began, >, 2 * G_USEC_PER_SEC);
  g_assert_cmpuint (counters (&stage)->timeouts, ==, 0);
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* But nobody waits for ever where nothing is answered. */
static void
test_long_queue_hangs (void)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  Stage stage;

  stage_init (&stage, 4, 0.5);
  fsc_providers_add (stage.config.providers, &patient);
  stage_start (&stage);
  for (guint i = 0; i < 40; i++)
    g_ptr_array_add (all, ask (&stage, "patient:/sleep/1"));
  wait_for_all (&stage);
  for (guint i = 0; i < all->len; i++)
    assert_answer (all->pdata[i], FSC_CODE_TIMED_OUT, ETIMEDOUT, "within the deadline of 0.5 s");
  g_assert_cmpuint (counters (&stage)->openers_started, <=, 4); /* one deadline, or two */
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* What nobody waits for leaves its place in the queue to others, however long openers are busy. */
static void
test_withdraw (void)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  Asked *again, *gone, *last, *late;
  Stage stage;

  stage_init (&stage, 1, 60);
  stage.config.lane_queue = 2;
  stage_start (&stage);
  g_ptr_array_add (all, ask (&stage, "file:///sleep/1"));
  wait_for (((Asked *) all->pdata[0])->job.begun != 0);
  g_ptr_array_add (all, again = ask (&stage, "file:///answer/1"));
  g_ptr_array_add (all, gone = ask (&stage, "file:///answer/2"));
  g_ptr_array_add (all, last = ask (&stage, "file:///answer/3"));
  wait_for (last->is_answered);
  assert_answer (last, FSC_CODE_LIMIT, EAGAIN, "[lanes] queue=2");
  g_assert_cmpuint (counters (&stage)->queued, ==, 2);

  g_queue_clear (&gone->job.waiters);
  fsc_lanes_withdraw (stage.lanes, &gone->job);
  g_assert_false (gone->is_answered); /* never from within */
  wait_for (gone->is_answered);
  g_assert_cmpint (gone->code, ==, FSC_CODE_CANCELLED);
  g_assert_cmpuint (counters (&stage)->queued, ==, 1);

  /* One that somebody waits for again, and one that an opener has. */
  fsc_lanes_withdraw (stage.lanes, &again->job);
  fsc_lanes_withdraw (stage.lanes, &((Asked *) all->pdata[0])->job);
  run_for (0.05);
  g_assert_false (again->is_answered);
  g_assert_false (((Asked *) all->pdata[0])->is_answered);
  g_ptr_array_add (all, late = ask (&stage, "file:///answer/4"));
  run_for (0.05);
  g_assert_false (late->is_answered);
  g_assert_cmpuint (counters (&stage)->queued, ==, 2);
  g_clear_pointer (&stage.lanes, fsc_lanes_free);
  g_assert_cmpint (late->code, ==, FSC_CODE_OPENER_FAILED);
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

static void
test_free (void)
{
  g_autoptr (GPtrArray) all = g_ptr_array_new_with_free_func ((GDestroyNotify) asked_free);
  Stage stage;
  Handed result;

  stage_init (&stage, 2, 60);
  stage.config.lane_queue = 20;
  stage_start (&stage);
  g_ptr_array_add (all, ask (&stage, "file:///hold-deaf/1"));
  wait_for_all (&stage);
  {
    const FscHandle *handle = ((Asked *) all->pdata[0])->handle;

    hand (handle->holder, &handle->id, 1, STDIN_FILENO, &result);
  }
  g_ptr_array_add (all, ask (&stage, "file:///sleep/1"));
  wait_for (((Asked *) all->pdata[1])->job.begun != 0);
  for (guint i = 0; i < 30; i++)
    {
      g_ptr_array_add (all, ask (&stage, "file:///answer/1"));
      g_ptr_array_add (all, ask (&stage, "nosuch:thing"));
      g_ptr_array_add (all, ask_locally (&stage, "file:///answer/1", TRUE));
    }
  {
    FscBytes *validator = &((Asked *) all->pdata[all->len - 1])->job.item.validator;

    g_free ((char *) validator->data);
    *validator = (FscBytes){ g_malloc0 (24), 24 };
  }
  g_clear_pointer (&stage.lanes, fsc_lanes_free);
  g_assert_true (result.is_called);
  for (guint i = 0; i < all->len; i++)
    g_assert_true (((Asked *) all->pdata[i])->is_answered);
  g_ptr_array_set_size (all, 0);
  stage_clear (&stage);
}

/* Warnings about openers are what these tests are about. */
static GLogWriterOutput
write_log (GLogLevelFlags level, const GLogField *fields, gsize n_fields, gpointer data)
{
  for (gsize i = 0; i < n_fields; i++)
    if (g_str_equal (fields[i].key, "GLIB_DOMAIN") && g_str_equal (fields[i].value, "fscached")
        && (level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR)) == 0)
      return G_LOG_WRITER_HANDLED;
  return g_log_writer_default (level, fields, n_fields, data);
}

/* An opener reports a way that it has watched: once, for what it was asked to, before the result.
 */
static void
test_watched (void)
{
  static const struct
  {
    const char *what;
    guint32 options;
    const char *text; /* NULL: nothing is wrong with its answer */
  } kinds[] = {
    { "way", FSC_OPTION_WATCH, NULL },
    { "check", FSC_OPTION_WATCH, NULL }, /* it knows nothing of watching */
    { "way-unasked", 0, "watched what it was not asked to" },
    { "way-twice", FSC_OPTION_WATCH, "watched what it was not asked to" },
    { "way-of-other", FSC_OPTION_WATCH, "watched what it was not asked to" },
    { "way-of-one", FSC_OPTION_WATCH, "answered nonsense" },
    { "way-named", FSC_OPTION_WATCH, "answered nonsense" },
    { "way-endless", FSC_OPTION_WATCH, "answered nonsense" },
    { "way-after", FSC_OPTION_WATCH, NULL }, /* but with it itself */
  };

  for (guint i = 0; i < G_N_ELEMENTS (kinds); i++)
    {
      gboolean is_good = g_str_equal (kinds[i].what, "way") || g_str_equal (kinds[i].what, "check");
      g_autofree char *uri = g_strdup_printf ("file:///%s/1", kinds[i].what);
      Stage stage;

      stage_init (&stage, 1, 60);
      stage_start (&stage);
      {
        g_autoptr (Asked) asked = make_job (&stage, uri, stage.foreign_mount, TRUE);

        asked->job.item.options = kinds[i].options;
        asked->job.is_watch = kinds[i].options != 0;
        start (asked);
        wait_for_all (&stage);
        if (kinds[i].text != NULL)
          assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, kinds[i].text);
        else
          assert_answer (asked, FSC_CODE_UNCHANGED, 0, NULL);
        g_assert_cmpuint (asked->n_steps, ==, g_str_equal (kinds[i].what, "way") ? 3 : 0);
        wait_for (counters (&stage)->openers_failed == !is_good);
        assert_works (&stage);
      }
      stage_clear (&stage);
    }
}

/* Puts */

static void
store_init (Stage *stage, double deadline)
{
  stage_init (stage, 4, deadline);
  install_as (stage, "open-handle", NULL);
  stage_start (stage);
}

static void
store_clear (Stage *stage)
{
  g_autofree char *path = g_build_filename (stage->dir, "open-handle", NULL);

  g_unlink (path);
  stage_clear (stage);
}

/* Begins to put something. What is to become of it says tell(). */
static Asked *
begin_put (Stage *stage)
{
  Asked *asked = make_job (stage, "handle:x", NULL, FALSE);

  asked->job.is_put = TRUE;
  start (asked);
  return asked;
}

static void
tell (Asked *asked, const char *what)
{
  wait_for (asked->socket > 0);
  g_assert_cmpint (send (asked->socket, what, strlen (what), MSG_NOSIGNAL), ==, strlen (what));
}

static void
put_free (Asked *asked)
{
  if (asked->socket > 0)
    close (asked->socket);
  asked_free (asked);
}

static void
assert_puts (Stage *stage)
{
  Asked *good = begin_put (stage);

  tell (good, "good");
  wait_for (good->is_answered);
  assert_answer (good, FSC_CODE_OK, 0, NULL);
  g_assert_nonnull (good->handle->holder);
  put_free (good);
}

/* All go to one process, which is at several of them at once; as they come, they are answered. */
static void
test_put (void)
{
  Stage stage;
  Asked *puts[5];
  FscHolder *holder;

  store_init (&stage, 60);
  for (guint i = 0; i < G_N_ELEMENTS (puts); i++)
    puts[i] = begin_put (&stage);
  tell (puts[3], "good");
  wait_for (puts[3]->is_answered);
  g_assert_cmpuint (stage.n_answered, ==, 1);
  holder = puts[3]->handle->holder;
  for (guint i = 0; i < G_N_ELEMENTS (puts); i++)
    if (i != 3)
      tell (puts[i], "good");
  wait_for_all (&stage);
  g_assert_cmpuint (counters (&stage)->openers_started, ==, 1);
  for (guint i = 0; i < G_N_ELEMENTS (puts); i++)
    {
      assert_answer (puts[i], FSC_CODE_OK, 0, NULL);
      g_assert_true (puts[i]->handle->holder == holder);
      put_free (puts[i]);
    }
  store_clear (&stage);
}

/* Who sends nothing any more. */
static void
test_put_fails (void)
{
  Stage stage;
  Asked *asked;

  store_init (&stage, 60);
  asked = begin_put (&stage);
  wait_for (asked->socket > 0);
  close (asked->socket);
  asked->socket = -1;
  wait_for (asked->is_answered);
  assert_answer (asked, FSC_CODE_SYSTEM, ECANCELED, "cannot put handle:x: ");
  assert_puts (&stage);
  g_assert_cmpuint (counters (&stage)->openers_started, ==, 1);
  put_free (asked);
  store_clear (&stage);
}

/* A holder that crashes or talks nonsense is ended, and all that it was to receive fails, once. */
static void
test_put_nonsense (void)
{
  static const char *const cases[]
      = { "crash", "descriptor", "other-index", "unchanged", "two-results" };

  for (guint i = 0; i < G_N_ELEMENTS (cases); i++)
    {
      Stage stage;
      Asked *other, *bad;

      store_init (&stage, 60);
      other = begin_put (&stage);
      bad = begin_put (&stage);
      wait_for (other->socket > 0);
      tell (bad, cases[i]);
      wait_for_all (&stage);
      assert_answer (bad, FSC_CODE_OPENER_FAILED, EIO, "the process that was to hold it has ended");
      assert_answer (other, FSC_CODE_OPENER_FAILED, EIO,
                     "the process that was to hold it has ended");
      g_assert_cmpuint (counters (&stage)->openers_failed, ==, 1);
      assert_puts (&stage);
      g_assert_cmpuint (counters (&stage)->openers_started, ==, 2);
      put_free (bad);
      put_free (other);
      store_clear (&stage);
    }
}

/* An answer to what is answered is nonsense as well. */
static void
test_put_twice (void)
{
  Stage stage;
  Asked *asked;

  store_init (&stage, 60);
  asked = begin_put (&stage);
  tell (asked, "twice");
  wait_for (counters (&stage)->openers_failed == 1);
  assert_answer (asked, FSC_CODE_SYSTEM, ENOENT, "cannot put handle:x: ");
  assert_puts (&stage);
  put_free (asked);
  store_clear (&stage);
}

/* The client has the time of a lane, and then the holder has, to say that it has not sent. */
static void
test_put_silent (void)
{
  Stage stage;
  Asked *asked;
  gint64 since = g_get_monotonic_time ();

  store_init (&stage, 0.3);
  assert_puts (&stage);
  asked = begin_put (&stage);
  tell (asked, "mute");
  wait_for_all (&stage);
  assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, NULL);
  g_assert_cmpint (g_get_monotonic_time () - since, >=, 600 * 1000);
  assert_puts (&stage);
  put_free (asked);
  store_clear (&stage);
}

/* The service ends, or there is no such program. */
static void
test_put_ended (void)
{
  Stage stage;
  Asked *asked;

  store_init (&stage, 60);
  asked = begin_put (&stage);
  wait_for (asked->socket > 0);
  close (asked->socket);
  asked->socket = -1;
  store_clear (&stage);
  assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, NULL);
  put_free (asked);

  stage_init (&stage, 4, 60);
  stage_start (&stage);
  asked = begin_put (&stage);
  wait_for_all (&stage);
  assert_answer (asked, FSC_CODE_OPENER_FAILED, EIO, "cannot put handle:x: the opener open-handle");
  g_assert_cmpint (asked->socket, ==, 0);
  put_free (asked);
  stage_clear (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_log_set_writer_func (write_log, NULL, NULL);
  prctl (PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* no opener is out of sight */
  g_main_context_default ();                  /* its descriptor is not a test's */
  g_test_add_func ("/lane/normal", test_normal);
  g_test_add_func ("/lane/lanes-apart", test_lanes_apart);
  g_test_add_func ("/lane/places", test_places);
  g_test_add_func ("/lane/redirect", test_redirect);
  g_test_add_func ("/lane/ttl", test_ttl);
  g_test_add_func ("/lane/own-limits", test_own_limits);
  g_test_add_func ("/lane/made-of-file", test_made_of_file);
  g_test_add_func ("/lane/arguments", test_arguments);
  g_test_add_func ("/lane/long-command", test_long_command);
  g_test_add_func ("/lane/batch", test_batch);
  g_test_add_func ("/lane/long-names", test_long_names);
  g_test_add_func ("/lane/order", test_order);
  g_test_add_func ("/lane/unknown-scheme", test_unknown_scheme);
  g_test_add_func ("/lane/full-queue", test_full_queue);
  g_test_add_func ("/lane/crash", test_crash);
  g_test_add_func ("/lane/crash-in-batch", test_crash_in_batch);
  g_test_add_func ("/lane/hang", test_hang);
  g_test_add_func ("/lane/innocent", test_innocent);
  g_test_add_func ("/lane/hang-in-batch", test_hang_in_batch);
  g_test_add_func ("/lane/overdue-but-working", test_overdue_but_working);
  g_test_add_func ("/lane/nonsense", test_nonsense);
  g_test_add_func ("/lane/content", test_content);
  g_test_add_func ("/lane/without-features", test_without_features);
  g_test_add_func ("/lane/progress", test_progress);
  g_test_add_func ("/lane/progress-again", test_progress_again);
  g_test_add_func ("/lane/progress-after", test_progress_after);
  g_test_add_func ("/lane/answered-twice", test_answered_twice);
  g_test_add_func ("/lane/watched", test_watched);
  g_test_add_func ("/lane/missing-program", test_missing_program);
  g_test_add_func ("/lane/hang-at-start", test_hang_at_start);
  g_test_add_func ("/lane/spawner-killed", test_spawner_killed);
  g_test_add_func ("/lane/stuck", test_stuck);
  g_test_add_func ("/lane/idle", test_idle);
  g_test_add_func ("/lane/hand", test_hand);
  g_test_add_func ("/lane/holder-dies", test_holder_dies);
  g_test_add_func ("/lane/deaf-holder", test_deaf_holder);
  g_test_add_func ("/lane/hops", test_hops);
  g_test_add_func ("/lane/hop-to-hang", test_hop_to_hang);
  g_test_add_func ("/lane/hop-deadline", test_hop_deadline);
  g_test_add_func ("/lane/hop-freely", test_hop_freely);
  g_test_add_func ("/lane/hop-and-fail", test_hop_and_fail);
  g_test_add_func ("/lane/slow-start", test_slow_start);
  g_test_add_func ("/lane/sleep", test_sleep);
  g_test_add_func ("/lane/kill-when-full", test_kill_when_full);
  g_test_add_func ("/lane/unwanted", test_unwanted);
  g_test_add_func ("/lane/end-unwanted", test_end_unwanted);
  g_test_add_func ("/lane/long-queue", test_long_queue);
  g_test_add_func ("/lane/long-queue-hangs", test_long_queue_hangs);
  g_test_add_func ("/lane/withdraw", test_withdraw);
  g_test_add_func ("/lane/free", test_free);
  g_test_add_func ("/lane/put", test_put);
  g_test_add_func ("/lane/put-fails", test_put_fails);
  g_test_add_func ("/lane/put-nonsense", test_put_nonsense);
  g_test_add_func ("/lane/put-twice", test_put_twice);
  g_test_add_func ("/lane/put-silent", test_put_silent);
  g_test_add_func ("/lane/put-ended", test_put_ended);
  return g_test_run ();
}
