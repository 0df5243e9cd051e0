/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What a pool of processes pays that all need the same large object of a web server (nginx, on this
 * machine): each fetches it with libcurl, or fscache once for all.
 */
#include <curl/curl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/client.h"
#include "tests/bench/pool.h"

#define SIZE (100u << 20)
#define RUNS_MAX 5

/* The server */

typedef struct
{
  BenchProcess nginx;
  unsigned port;
  char *log; /* the bytes of an answer in each line */
} Site;

static void
free_site (void *data)
{
  Site *site = data;

  bench_process_stop (&site->nginx);
  g_free (site->log);
  g_free (site);
}

static unsigned
find_free_port (void)
{
  struct sockaddr_in address
      = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  socklen_t length = sizeof address;
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool is_good = bind (fd, (struct sockaddr *) &address, sizeof address) == 0
                 && getsockname (fd, (struct sockaddr *) &address, &length) == 0;

  close (fd);
  return is_good ? ntohs (address.sin_port) : 0;
}

static bool
is_listening (unsigned port)
{
  const struct sockaddr_in address = { .sin_family = AF_INET,
                                       .sin_port = htons ((uint16_t) port),
                                       .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
  int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool is_there = connect (fd, (const struct sockaddr *) &address, sizeof address) == 0;

  close (fd);
  return is_there;
}

static bool
write_site (const char *directory, unsigned port, size_t size, GError **error)
{
  g_autofree char *config = g_build_filename (directory, "nginx.conf", NULL);
  g_autofree char *path = g_build_filename (directory, "object", NULL);
  g_autofree char *content = g_malloc (size);
  g_autofree char *text = g_strdup_printf (
      "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log error.log;\nevents {}\n"
      "http {\n  log_format sent '$bytes_sent';\n  access_log access.log sent;\n  sendfile on;\n"
      "  client_body_temp_path tmp;\n  proxy_temp_path tmp;\n  fastcgi_temp_path tmp;\n"
      "  uwsgi_temp_path tmp;\n  scgi_temp_path tmp;\n"
      "  server {\n    listen 127.0.0.1:%u;\n    root %s;\n    expires 1h;\n  }\n}\n",
      port, directory);
  uint64_t random = BENCH_RANDOM_SEED;

  for (size_t i = 0; i + sizeof random <= size; i += sizeof random)
    memcpy (content + i, (uint64_t[]){ bench_random (&random) }, sizeof random);
  return g_file_set_contents (config, text, -1, error)
         && g_file_set_contents_full (path, content, (gssize) size, G_FILE_SET_CONTENTS_NONE, 0644,
                                      error);
}

/* NULL if there is no nginx. */
static Site *
start_site (Bench *bench, const char *name, GError **error)
{
  g_autofree char *found = g_find_program_in_path ("nginx");
  const char *program = found != NULL ? found : "/usr/sbin/nginx";
  g_autofree char *directory
      = g_build_filename (bench->memory != NULL ? bench->memory : bench->directory, name, NULL);
  Site *site;

  if (!g_file_test (program, G_FILE_TEST_IS_EXECUTABLE))
    {
      g_set_error (error, BENCH_ERROR, BENCH_ERROR_UNAVAILABLE, "nginx is not installed");
      return NULL;
    }
  site = g_new0 (Site, 1);
  site->nginx = BENCH_PROCESS_NONE;
  site->port = find_free_port ();
  site->log = g_build_filename (directory, "access.log", NULL);
  bench_defer (bench, free_site, site);

  const char *argv[] = { program, "-p", directory, "-c", "nginx.conf", "-e", "error.log", NULL };

  if (g_mkdir_with_parents (directory, 0755) < 0
      || !write_site (directory, site->port, bench_scale (bench, SIZE), error)
      || !bench_process_start (&site->nginx, argv, NULL, -1, 0, error))
    return NULL;
  for (unsigned i = 0; i < 500 && !is_listening (site->port); i++)
    g_usleep (10000);
  return site;
}

/* All bytes that it has sent. */
static uint64_t
count_sent (const Site *site)
{
  g_autofree char *log = NULL;
  g_auto (GStrv) lines = NULL;
  uint64_t sent = 0;

  if (!g_file_get_contents (site->log, &log, NULL, NULL))
    return 0;
  lines = g_strsplit (log, "\n", -1);
  for (char **line = lines; *line != NULL; line++)
    sent += g_ascii_strtoull (*line, NULL, 10);
  return sent;
}

/* The pool */

typedef struct
{
  BenchPool pool;
  Site *site;
  char *uri;
  const char *socket; /* NULL: without fscache */
  BenchClient *client;
  unsigned n_runs;
} Object;

static void
object_free (void *data)
{
  Object *object = data;

  g_free (object->uri);
  g_free (object);
}

typedef struct
{
  char *bytes;
  gsize length, size;
} Content;

static size_t
take_bytes (char *bytes, size_t size, size_t n, void *data)
{
  Content *content = data;

  if (n > content->size - content->length)
    return 0;
  memcpy (content->bytes + content->length, bytes, n);
  content->length += n;
  return n;
}

static const char *
fetch (const void *data)
{
  const Object *object = data;
  Content content = { .bytes = malloc (object->pool.size), .size = object->pool.size };
  CURL *curl = curl_easy_init ();
  CURLcode code;

  curl_easy_setopt (curl, CURLOPT_URL, object->uri);
  curl_easy_setopt (curl, CURLOPT_PROXY, "");
  curl_easy_setopt (curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt (curl, CURLOPT_WRITEFUNCTION, take_bytes);
  curl_easy_setopt (curl, CURLOPT_WRITEDATA, &content);
  code = curl_easy_perform (curl);
  curl_easy_cleanup (curl);
  return code == CURLE_OK && content.length == content.size ? content.bytes : NULL;
}

static const char *
map (const void *data)
{
  const Object *object = data;

  return bench_pool_map (object->socket, object->uri, object->pool.size);
}

/* The rows */

static bool
set_up_alone (BenchRow *row, GError **error)
{
  Object *object = g_new0 (Object, 1);

  row->state = object;
  bench_defer (row->bench, object_free, object);
  object->site = start_site (row->bench, row->spec->name, error);
  if (object->site == NULL)
    return false;
  object->uri = g_strdup_printf ("http://127.0.0.1:%u/object", object->site->port);
  object->pool.get = fetch;
  object->pool.data = object;
  object->pool.size = bench_scale (row->bench, SIZE);
  return true;
}

static bool
set_up_shared (BenchRow *row, GError **error)
{
  static const FscacheRequest shared = { .sharing = FSCACHE_SHARED };
  BenchService *service = bench_service_get_main (row->bench, BENCH_SERVICE_ANY_CPU, error);
  const char *uris[1];
  Object *object;

  if (service == NULL || !set_up_alone (row, error))
    return false;
  object = row->state;
  object->socket = service->socket;
  object->pool.get = map;
  uris[0] = object->uri;
  object->client = bench_client_new_for_paths (row->bench, service, uris, 1, &shared, error);
  return object->client != NULL;
}

static bool
run_pool (BenchRow *row, GError **error)
{
  Object *object = row->state;

  object->n_runs++;
  return bench_pool_run (&object->pool, error);
}

static void
end_pool (BenchRow *row)
{
  Object *object = row->state;

  bench_pool_end (&object->pool);
  if (object->client != NULL)
    fscache_drop (object->client->client, object->uri, NULL);
}

static void
tell_costs (BenchRow *row)
{
  const Object *object = row->state;
  bool is_alone = object->socket == NULL;

  if (object->n_runs == 0)
    return;
  bench_add_fact (row->bench, is_alone ? "memory-http-alone" : "memory-http-shared",
                  is_alone ? "memory of 32 processes, each with the same object of a web server"
                           : "the same, if fscache has fetched it",
                  "MiB", object->pool.memory);
  bench_add_fact (row->bench, is_alone ? "sent-http-alone" : "sent-http-shared",
                  is_alone ? "what the server sends to 32 processes" : "the same, to fscache",
                  "MiB", (double) count_sent (object->site) / object->n_runs / (1 << 20));
}

const BenchRowSpec bench_rows_http[] = {
  { .name = "http-alone",
    .title = "100 MiB of a web server for 32 processes, each by itself",
    .handles = BENCH_POOL_PROCESSES,
    .slice_max = 1,
    .total_max = RUNS_MAX,
    .has_no_warm_up = true,
    .set_up = set_up_alone,
    .run = run_pool,
    .after = end_pool,
    .finish = tell_costs },
  { .name = "http-shared",
    .title = "the same, fetched once by fscache, which did not have it",
    .baseline = "http-alone",
    .handles = BENCH_POOL_PROCESSES,
    .slice_max = 1,
    .total_max = RUNS_MAX,
    .has_no_warm_up = true,
    .set_up = set_up_shared,
    .run = run_pool,
    .after = end_pool,
    .finish = tell_costs },
  { 0 },
};
