/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Content that never changes: in a cache of its own, whose jobs the test does. What is equal is
 * kept once, as the table of descriptors and the count of bytes show; what is demanded is given,
 * and nothing else; and who waits is told how far it is.
 */
#include "fscache/content.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fscache/cache.h"
#include "tests/harness/descriptors.h"
#include "tests/harness/tap.h"

#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define URI_A "unpack:///a.zst"
#define URI_B "unpack:///b.zst"

typedef struct
{
  FscCache *cache;
  FscJob *job; /* the one under way */
  gint64 time;
  FscProgress progress; /* what was told last */
  guint n_told;
  char *descriptors;
} Stage;

/* The answer to one request. */
typedef struct
{
  Stage *stage;
  guint n_answers;
  FscCode code;
  int error;
  char text[256];
  FscHandle *handle; /* a reference */
  guint64 lease;
  FscSource source;
  FscSharing sharing;
} Asked;

static void
start_job (FscJob *job, gpointer data)
{
  Stage *stage = data;

  g_assert_null (stage->job);
  stage->job = job;
}

static gint64
get_time (gpointer data)
{
  return ((Stage *) data)->time;
}

static gboolean
is_content (FscBytes uri, gpointer data)
{
  return uri.length == strlen (URI_B) && memcmp (uri.data, URI_B, uri.length) == 0;
}

static void
tell_progress (gpointer asker, guint index, const FscProgress *progress)
{
  Asked *asked = asker;

  g_assert_cmpuint (asked->n_answers, ==, 0);
  asked->stage->progress = *progress;
  asked->stage->n_told++;
}

static void
stage_init (Stage *stage, guint64 max_bytes)
{
  const FscCacheFuncs provider = {
    .start = start_job, .now = get_time, .is_content = is_content, .tell_progress = tell_progress
  };
  const FscLimits limits = { .max_handles = 100, .max_bytes = max_bytes };

  *stage = (Stage){ .time = G_USEC_PER_SEC, .descriptors = fsc_test_list_descriptors () };
  stage->cache = fsc_cache_new (&provider, stage, &limits);
}

static void
stage_clear (Stage *stage)
{
  g_assert_null (stage->job);
  fsc_cache_free (stage->cache);
  fsc_test_assert_descriptors (stage->descriptors);
}

static guint64
get_bytes (const Stage *stage)
{
  return fsc_cache_get_counters (stage->cache)->bytes;
}

/* Asking */

static void
answered (const FscAnswer *answer, gpointer data, guint index)
{
  Asked *asked = data;

  asked->n_answers++;
  asked->code = answer->code;
  asked->error = answer->error;
  asked->handle = answer->handle != NULL ? fsc_handle_ref (answer->handle) : NULL;
  asked->lease = answer->lease;
  asked->source = answer->source;
  asked->sharing = answer->sharing;
  g_strlcpy (asked->text, answer->text != NULL ? answer->text : "", sizeof asked->text);
}

static void
ask_item (Stage *stage, Asked *asked, const char *uri, FscItem item, guint32 credential)
{
  *asked = (Asked){ .stage = stage };
  item.uri = (FscBytes){ uri, strlen (uri) };
  fsc_cache_open (stage->cache, credential, &item, NULL, answered, asked, 0);
}

static void
ask (Stage *stage, Asked *asked, const char *uri)
{
  ask_item (stage, asked, uri, (FscItem){ .sharing = FSC_SHARING_SHARED }, 0);
}

/* Demands that all bytes of the digest are `digest`. */
static void
demand (Stage *stage, Asked *asked, const char *uri, guint8 digest)
{
  char bytes[FSC_DIGEST_SIZE];

  memset (bytes, digest, sizeof bytes);
  ask_item (stage, asked, uri,
            (FscItem){ .sharing = FSC_SHARING_SHARED,
                       .options = FSC_OPTION_DIGEST,
                       .validator = { bytes, sizeof bytes } },
            0);
}

static void
asked_clear (Asked *asked)
{
  g_clear_pointer (&asked->handle, fsc_handle_unref);
}

/* A memfd of that size with all seals. */
static FscContent *
make_content (gsize size, guint8 digest)
{
  FscContentInfo info = { .is_known = true, .size = size };
  int fd = memfd_create ("content", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  const char *fault;
  FscContent *content;

  g_assert_cmpint (ftruncate (fd, (off_t) size), ==, 0);
  g_assert_cmpint (fcntl (fd, F_ADD_SEALS, SEALS), ==, 0);
  memset (info.digest, digest, sizeof info.digest);
  content = fsc_content_new (fd, &info, &fault);
  g_assert_null (fault);
  return content;
}

/* Takes the handle. */
static void
finish (Stage *stage, FscHandle *handle, FscCoherence coherence)
{
  FscOutcome outcome = { .handle = handle, .coherence = coherence, .ttl_ms = 1000 };
  FscJob *job = g_steal_pointer (&stage->job);

  g_assert_nonnull (job);
  job->begun = stage->time++;
  fsc_cache_finish (stage->cache, job, &outcome);
}

static void
serve (Stage *stage, gsize size, guint8 digest, const char *validator)
{
  finish (stage,
          fsc_handle_new_content (make_content (size, digest),
                                  (FscBytes){ validator, strlen (validator) }),
          FSC_COHERENCE_TTL);
}

/* Has it cached. Returns its descriptor. */
static int
cache_uri (Stage *stage, const char *uri, gsize size, guint8 digest)
{
  Asked asked;
  int fd;

  ask (stage, &asked, uri);
  serve (stage, size, digest, uri);
  g_assert_cmpint (asked.source, ==, FSC_SOURCE_OPENED);
  fd = asked.handle->fd;
  asked_clear (&asked);
  return fd;
}

static void
drop_entry (FscCache *cache, FscEntry *entry, gpointer data)
{
  fsc_cache_drop (cache, entry);
}

static void
drop (Stage *stage, const char *uri)
{
  FscTarget target = { .uri = { uri, strlen (uri) } };

  g_assert_cmpuint (fsc_cache_foreach (stage->cache, 0, &target, drop_entry, NULL), ==, 1);
}

static guint
count_descriptors (void)
{
  g_autofree char *list = fsc_test_list_descriptors ();
  g_auto (GStrv) lines = g_strsplit (list, "\n", -1);

  return g_strv_length (lines);
}

/* Kept once */

static void
test_equal (void)
{
  Stage stage;
  guint n;
  int fd;

  stage_init (&stage, 0);
  fd = cache_uri (&stage, URI_A, 1000, 1);
  n = count_descriptors ();
  g_assert_cmpint (cache_uri (&stage, URI_B, 1000, 1), ==, fd);
  g_assert_cmpuint (count_descriptors (), ==, n);
  g_assert_cmpuint (get_bytes (&stage), ==, 1000);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->handles, ==, 2);

  drop (&stage, URI_A);
  g_assert_cmpuint (get_bytes (&stage), ==, 1000);
  g_assert_cmpint (fcntl (fd, F_GETFD), >=, 0);
  drop (&stage, URI_B);
  g_assert_cmpuint (get_bytes (&stage), ==, 0);
  g_assert_cmpint (fcntl (fd, F_GETFD), <, 0);
  stage_clear (&stage);
}

/* Each resource has its own validator all the same. */
static void
test_validators (void)
{
  Stage stage;
  Asked asked;

  stage_init (&stage, 0);
  cache_uri (&stage, URI_A, 10, 1);
  cache_uri (&stage, URI_B, 10, 1);
  ask (&stage, &asked, URI_B);
  g_assert_cmpmem (asked.handle->validator, asked.handle->validator_length, URI_B, strlen (URI_B));
  asked_clear (&asked);
  ask (&stage, &asked, URI_A);
  g_assert_cmpmem (asked.handle->validator, asked.handle->validator_length, URI_A, strlen (URI_A));
  asked_clear (&asked);
  stage_clear (&stage);
}

/* What is opened again and is as it was keeps its descriptor. */
static void
test_again (void)
{
  Stage stage;
  Asked asked;
  int fd;

  stage_init (&stage, 0);
  fd = cache_uri (&stage, URI_A, 10, 1);
  stage.time += 2 * G_USEC_PER_SEC;
  ask (&stage, &asked, URI_A);
  serve (&stage, 10, 1, "touched");
  g_assert_cmpint (asked.handle->fd, ==, fd);
  g_assert_cmpuint (get_bytes (&stage), ==, 10);
  asked_clear (&asked);
  stage_clear (&stage);
}

/* Ten bytes in a file without a name. */
static int
make_file (void)
{
  g_autofree char *path = NULL;
  int fd = g_file_open_tmp (NULL, &path, NULL);
  int own = open (path, O_RDONLY | O_CLOEXEC);

  g_assert_cmpint (write (fd, "0123456789", 10), ==, 10);
  close (fd);
  g_assert_no_errno (unlink (path));
  return own;
}

/* Another size, another digest, another user; not sealed; exclusive; or gone meanwhile. */
static void
test_not_equal (void)
{
  FscContentInfo unsealed = { .is_known = true, .size = 10 };
  const char *fault;
  Stage stage;
  Asked asked;
  int fd;

  stage_init (&stage, 0);
  fd = cache_uri (&stage, URI_A, 10, 1);
  g_assert_cmpint (cache_uri (&stage, "unpack:///size", 11, 1), !=, fd);
  g_assert_cmpint (cache_uri (&stage, "unpack:///digest", 10, 2), !=, fd);

  ask_item (&stage, &asked, URI_A, (FscItem){ .sharing = FSC_SHARING_SHARED }, 1);
  serve (&stage, 10, 1, "");
  g_assert_cmpint (asked.handle->fd, !=, fd);
  asked_clear (&asked);

  ask_item (&stage, &asked, URI_A, (FscItem){ .sharing = FSC_SHARING_EXCLUSIVE }, 0);
  serve (&stage, 10, 1, "");
  g_assert_cmpint (asked.handle->fd, !=, fd);
  fsc_cache_give_back (stage.cache, asked.lease, NULL, FALSE);
  asked_clear (&asked);

  memset (unsealed.digest, 1, sizeof unsealed.digest);
  ask (&stage, &asked, URI_B);
  finish (&stage,
          fsc_handle_new_content (fsc_content_new (make_file (), &unsealed, &fault),
                                  (FscBytes){ "", 0 }),
          FSC_COHERENCE_TTL);
  g_assert_cmpint (asked.handle->fd, !=, fd);
  g_assert_false (asked.handle->content->info.is_sealed);
  asked_clear (&asked);
  g_assert_cmpuint (get_bytes (&stage), ==, 10 + 11 + 10 + 10 + 10); /* what was lent is gone */
  stage_clear (&stage);
}

/* What a client is still to be given is shared as well: it is there. */
static void
test_in_flight (void)
{
  Stage stage;
  Asked asked;
  int fd;

  stage_init (&stage, 0);
  ask (&stage, &asked, URI_A);
  serve (&stage, 10, 1, "");
  fd = asked.handle->fd;
  drop (&stage, URI_A);
  g_assert_cmpuint (get_bytes (&stage), ==, 0);
  g_assert_cmpint (cache_uri (&stage, URI_B, 10, 1), ==, fd);
  g_assert_cmpuint (get_bytes (&stage), ==, 10);
  asked_clear (&asked);
  stage_clear (&stage);
}

/* Room is needed for what is new only, and made by what frees some. */
static void
test_room (void)
{
  Stage stage;
  Asked asked;

  stage_init (&stage, 1000);
  cache_uri (&stage, URI_A, 900, 1);
  cache_uri (&stage, URI_B, 900, 1);
  g_assert_cmpuint (get_bytes (&stage), ==, 900);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->evictions, ==, 0);

  cache_uri (&stage, "unpack:///c", 200, 2); /* both have to go */
  g_assert_cmpuint (get_bytes (&stage), ==, 200);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->evictions, ==, 2);

  ask (&stage, &asked, "unpack:///d");
  serve (&stage, 1001, 3, "");
  g_assert_cmpint (asked.source, ==, FSC_SOURCE_PASSED);
  asked_clear (&asked);
  g_assert_cmpuint (get_bytes (&stage), ==, 200);
  stage_clear (&stage);
}

/* Demanded */

static void
assert_given (Asked *asked, FscSource source)
{
  g_assert_cmpint (asked->code, ==, FSC_CODE_OK);
  g_assert_cmpint (asked->source, ==, source);
  asked_clear (asked);
}

static void
assert_refused (const Asked *asked, FscCode code, int error, const char *part)
{
  g_assert_cmpuint (asked->n_answers, ==, 1);
  g_assert_null (asked->handle);
  g_assert_cmpint (asked->code, ==, code);
  g_assert_cmpint (asked->error, ==, error);
  g_test_message ("%s", asked->text);
  g_assert_nonnull (strstr (asked->text, part));
}

static void
test_demand (void)
{
  Stage stage;
  Asked right, wrong;

  stage_init (&stage, 0);
  demand (&stage, &right, URI_A, 0xab);
  g_assert_cmpuint (stage.job->item.options, ==, 0);
  g_assert_cmpuint (stage.job->item.validator.length, ==, 0);
  serve (&stage, 10, 0xab, "");
  assert_given (&right, FSC_SOURCE_OPENED);
  demand (&stage, &right, URI_A, 0xab);
  assert_given (&right, FSC_SOURCE_CACHE);

  demand (&stage, &wrong, URI_B, 0xcd);
  serve (&stage, 10, 0xab, "");
  assert_refused (&wrong, FSC_CODE_OTHER_CONTENT, EBADMSG,
                  "unpack:///b.zst has other content: its "
                  "SHA-256 is abababab");
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->handles, ==, 2); /* others may want it */
  stage_clear (&stage);
}

/* Of those who wait for one open, each gets what it has demanded. */
static void
test_demand_together (void)
{
  Stage stage;
  Asked any, right, wrong;

  stage_init (&stage, 0);
  ask (&stage, &any, URI_A);
  demand (&stage, &wrong, URI_A, 2);
  demand (&stage, &right, URI_A, 1);
  serve (&stage, 10, 1, "");
  assert_given (&any, FSC_SOURCE_OPENED);
  assert_given (&right, FSC_SOURCE_OPENED);
  assert_refused (&wrong, FSC_CODE_OTHER_CONTENT, EBADMSG, "other content");
  stage_clear (&stage);
}

/* Within a time-to-live the source is asked before a demand is refused. */
static void
test_demand_of_source (void)
{
  Stage stage;
  Asked asked;

  stage_init (&stage, 0);
  cache_uri (&stage, URI_A, 10, 1);
  demand (&stage, &asked, URI_A, 2);
  g_assert_nonnull (stage.job);
  g_assert_cmpmem (stage.job->item.validator.data, stage.job->item.validator.length, URI_A,
                   strlen (URI_A));
  serve (&stage, 20, 2, "new");
  assert_given (&asked, FSC_SOURCE_OPENED);

  demand (&stage, &asked, URI_A, 1);
  {
    FscOutcome unchanged = { .code = FSC_CODE_UNCHANGED };

    fsc_cache_finish (stage.cache, g_steal_pointer (&stage.job), &unchanged);
  }
  assert_refused (&asked, FSC_CODE_OTHER_CONTENT, EBADMSG, "other content");
  stage_clear (&stage);
}

/* What is not known to stay as it is cannot be demanded; nor what is to be written to. */
static void
test_demand_of_file (void)
{
  char digest[FSC_DIGEST_SIZE] = { 0 };
  FscItem item = { .sharing = FSC_SHARING_SHARED,
                   .options = FSC_OPTION_DIGEST,
                   .validator = { digest, sizeof digest } };
  Stage stage;
  Asked asked;

  stage_init (&stage, 0);
  demand (&stage, &asked, "file:///a", 1);
  finish (&stage,
          fsc_handle_new_local (open ("/dev/null", O_RDONLY | O_CLOEXEC), (FscBytes){ "", 0 }),
          FSC_COHERENCE_CHECKED);
  assert_refused (&asked, FSC_CODE_BAD_REQUEST, EOPNOTSUPP, "file:///a has no digest");
  item.flags = O_RDWR;
  ask_item (&stage, &asked, "file:///a", item, 0);
  assert_refused (&asked, FSC_CODE_BAD_REQUEST, EINVAL, "cannot be written to");

  /* Passed, for it is not to be reopened. */
  item.flags = O_RDONLY;
  item.sharing = FSC_SHARING_INDEPENDENT;
  ask_item (&stage, &asked, URI_A, item, 0);
  g_assert_cmpuint (stage.job->item.options, ==, 0);
  serve (&stage, 10, 1, "");
  assert_refused (&asked, FSC_CODE_OTHER_CONTENT, EBADMSG, "other content");
  ask_item (&stage, &asked, URI_A, item, 0);
  serve (&stage, 10, 0, "");
  assert_given (&asked, FSC_SOURCE_PASSED);
  stage_clear (&stage);
}

/* Told */

static void
test_progress (void)
{
  const FscItem item = { .sharing = FSC_SHARING_SHARED, .options = FSC_OPTION_PROGRESS };
  FscProgress progress = { .index = 5, .done = 30, .total = 100 };
  Stage stage;
  Asked first, quiet, late;

  stage_init (&stage, 0);
  ask_item (&stage, &first, URI_A, item, 0);
  ask (&stage, &quiet, URI_A);
  fsc_cache_progress (stage.cache, stage.job, &progress);
  g_assert_cmpuint (stage.n_told, ==, 1);
  g_assert_cmpuint (stage.progress.done, ==, 30);
  g_assert_cmpuint (stage.progress.total, ==, 100);

  stage.job->begun = stage.time++; /* who comes now will be served by another job */
  ask_item (&stage, &late, URI_A, item, 0);
  fsc_cache_progress (stage.cache, stage.job, &progress);
  g_assert_cmpuint (stage.n_told, ==, 3);
  serve (&stage, 10, 1, "");
  assert_given (&first, FSC_SOURCE_OPENED);
  assert_given (&quiet, FSC_SOURCE_OPENED);
  assert_given (&late, FSC_SOURCE_CACHE);
  stage_clear (&stage);
}

/* Who cannot reopen it gets a description of its own all the same, and nothing is made anew. */
static void
test_reopened (void)
{
  const FscItem independent = { .sharing = FSC_SHARING_INDEPENDENT };
  Stage stage;
  Asked first, second;
  guint8 digest[FSC_DIGEST_SIZE];

  stage_init (&stage, 0);
  memset (digest, 1, sizeof digest);
  ask_item (&stage, &first, URI_B, independent, 0);
  ask_item (&stage, &second, URI_B, independent, 0); /* one job for both */
  serve (&stage, 10, 1, "");
  for (guint i = 0; i < 3; i++)
    {
      g_assert_cmpuint (first.n_answers, ==, 1);
      g_assert_cmpint (first.sharing, ==, FSC_SHARING_INDEPENDENT);
      g_assert_nonnull (first.handle->content);
      g_assert_cmpmem (first.handle->content->info.digest, FSC_DIGEST_SIZE, digest, sizeof digest);
      g_assert_cmpint (
          syscall (SYS_kcmp, getpid (), getpid (), KCMP_FILE, first.handle->fd, second.handle->fd),
          >, 0);
      g_assert_cmpint (fcntl (first.handle->fd, F_GETFL) & O_ACCMODE, ==, O_RDONLY);
      asked_clear (&first);
      ask_item (&stage, &first, URI_B, independent, 0);
      g_assert_cmpint (first.source, ==, FSC_SOURCE_CACHE);
    }
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->opens, ==, 1);
  g_assert_cmpuint (get_bytes (&stage), ==, 10);
  asked_clear (&first);
  asked_clear (&second);

  /* What may be a file, is opened. */
  ask_item (&stage, &first, URI_A, independent, 0);
  serve (&stage, 10, 2, "");
  assert_given (&first, FSC_SOURCE_PASSED);
  g_assert_cmpuint (get_bytes (&stage), ==, 10);
  stage_clear (&stage);
}

/* What is being made counts as what is kept. */
static void
test_making (void)
{
  FscProgress progress = { .memory = 60 };
  FscOutcome cancelled = { .code = FSC_CODE_CANCELLED, .error = ECANCELED };
  Stage stage;
  Asked asked;

  stage_init (&stage, 100);
  cache_uri (&stage, URI_A, 50, 1);
  ask (&stage, &asked, URI_B);
  fsc_cache_progress (stage.cache, stage.job, &progress);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->making, ==, 60);
  g_assert_cmpuint (get_bytes (&stage), ==, 0); /* the other one has gone for it */
  progress.memory = 10;
  fsc_cache_progress (stage.cache, stage.job, &progress);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->making, ==, 10);
  progress.memory = 101;
  fsc_cache_progress (stage.cache, stage.job, &progress);
  g_assert_cmpuint (asked.n_answers, ==, 1);
  g_assert_cmpint (asked.code, ==, FSC_CODE_LIMIT);
  g_assert_cmpint (asked.error, ==, ENOMEM);
  g_assert_cmpstr (asked.text, ==,
                   "cannot make the content of " URI_B ": [cache] max-bytes=100 is reached: 0 "
                   "bytes are kept and may not go, 101 are being made");
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->making, ==, 0);
  fsc_cache_progress (stage.cache, stage.job, &progress); /* nobody wants it any more */
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->making, ==, 0);
  fsc_cache_finish (stage.cache, g_steal_pointer (&stage.job), &cancelled);

  /* What is whole is not counted twice. */
  ask (&stage, &asked, URI_B);
  progress.memory = 100;
  fsc_cache_progress (stage.cache, stage.job, &progress);
  serve (&stage, 100, 2, "");
  assert_given (&asked, FSC_SOURCE_OPENED);
  g_assert_cmpuint (get_bytes (&stage), ==, 100);
  g_assert_cmpuint (fsc_cache_get_counters (stage.cache)->making, ==, 0);
  stage_clear (&stage);
}

int
main (int argc, char **argv)
{
  fsc_test_init (&argc, &argv);
  g_test_add_func ("/content/equal", test_equal);
  g_test_add_func ("/content/validators", test_validators);
  g_test_add_func ("/content/again", test_again);
  g_test_add_func ("/content/not-equal", test_not_equal);
  g_test_add_func ("/content/in-flight", test_in_flight);
  g_test_add_func ("/content/room", test_room);
  g_test_add_func ("/content/demand", test_demand);
  g_test_add_func ("/content/demand-together", test_demand_together);
  g_test_add_func ("/content/demand-of-source", test_demand_of_source);
  g_test_add_func ("/content/demand-of-file", test_demand_of_file);
  g_test_add_func ("/content/progress", test_progress);
  g_test_add_func ("/content/reopened", test_reopened);
  g_test_add_func ("/content/making", test_making);
  return g_test_run ();
}
