/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * PUT; see put.h.
 */
#include "fscache/put.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fscache/request.h"
#include "protocol/uri.h"

/* One PUT, from its request to its answer. */
typedef struct
{
  FscJob job; /* first, so that it is found by it */
  FscPuts *puts;
  GList link;
  FscConnection *connection; /* NULL: it is gone */
  guint32 serial;
  FscPut what; /* its URI is the job's */
} Putting;

struct FscPuts
{
  FscServer *server;
  GQueue under_way; /* of Putting */
  GSource *timer;   /* for those that were put for a time */
};

static guint
count_under_way (const FscPuts *puts, guint32 credential)
{
  guint n = 0;

  for (const GList *l = puts->under_way.head; l != NULL; l = l->next)
    n += ((const Putting *) l->data)->job.credential == credential;
  return n;
}

static void
refuse (FscConnection *connection, guint32 serial, FscBytes uri, FscCode code, int error,
        const char *phrase)
{
  char name[FSC_NAME_IN_TEXT_MAX];

  fsc_connection_send_error (connection, serial, code, error, "cannot put %s: %s",
                             fsc_uri_abbreviate (uri, name), phrase);
}

/* Whether it can be put, as far as is known now; if not, the client is told. The URI must be
 * canonical. */
static gboolean
may_be_put (FscConnection *connection, guint32 serial, const FscPut *what, guint n_more)
{
  FscAnswer answer;
  g_autofree char *fault = fsc_cache_find_put_fault (
      connection->server->cache, connection->credential->number, what, n_more, &answer);

  if (fault != NULL)
    refuse (connection, serial, what->uri, answer.code, answer.error, fault);
  return fault == NULL;
}

static void
start (FscPuts *puts, FscConnection *connection, guint32 serial, const FscPut *what)
{
  Putting *putting = g_new0 (Putting, 1);

  putting->what = *what;
  putting->what.uri.data = g_memdup2 (what->uri.data, what->uri.length);
  putting->job.item.uri = putting->what.uri;
  putting->job.credential = connection->credential->number;
  putting->job.since = fsc_loop_get_time (puts->server->loop);
  putting->job.is_put = TRUE;
  putting->puts = puts;
  putting->connection = connection;
  putting->serial = serial;
  putting->link.data = putting;
  g_queue_push_tail_link (&puts->under_way, &putting->link);
  fsc_connection_expect (connection, 1);
  fsc_lanes_start (puts->server->lanes, &putting->job);
}

gboolean
fsc_puts_take (FscPuts *puts, FscConnection *connection, guint32 serial, FscReader *reader)
{
  char canonical[FSC_URI_MAX + 1];
  const char *reason;
  FscPut what;
  int length;

  if (!fsc_codec_get_put (reader, &what) || fsc_reader_finish (reader) < 0)
    return FALSE;
  length = fsc_uri_canonicalize (what.uri, canonical, sizeof canonical, &reason);
  if (length < 0)
    {
      g_autofree char *phrase = g_strconcat ("it ", reason, NULL);

      refuse (connection, serial, what.uri, FSC_CODE_BAD_URI, -length, phrase);
      return TRUE;
    }
  what.uri = (FscBytes){ canonical, (size_t) length };
  if (!fsc_uri_has_scheme (what.uri, FSC_PUT_SCHEME))
    refuse (connection, serial, what.uri, FSC_CODE_BAD_REQUEST, EINVAL,
            "a descriptor can be put under a name of handle: only");
  else if (!fsc_connection_is_refused (connection, serial, "put", what.uri)
           && may_be_put (connection, serial, &what,
                          count_under_way (puts, connection->credential->number)))
    start (puts, connection, serial, &what);
  return TRUE;
}

void
fsc_puts_receiving (FscJob *job, int socket)
{
  const Putting *putting = (Putting *) job;
  guint8 buffer[64];
  FscWriter writer;

  if (putting->connection == NULL)
    {
      close (socket);
      return;
    }
  fsc_writer_begin (&writer, buffer, sizeof buffer);
  fsc_connection_send_packet_taking (putting->connection, &writer, FSC_OP_GIVE, putting->serial,
                                     socket);
}

static void
arm (FscPuts *puts)
{
  gint64 due = fsc_cache_get_put_due (puts->server->cache);

  g_source_set_ready_time (puts->timer, due != 0 ? due : -1);
}

static void
put (Putting *putting, FscHandle *handle)
{
  FscPuts *puts = putting->puts;
  guint64 generation;

  generation = fsc_cache_put (puts->server->cache, putting->job.credential, &putting->what, handle);
  arm (puts);
  fsc_connection_send_done (putting->connection, putting->serial, generation);
}

/* Others may have put meanwhile, so it is asked once more whether this may be. */
void
fsc_puts_finish (FscJob *job, FscOutcome *outcome)
{
  Putting *putting = (Putting *) job;
  FscConnection *connection = putting->connection;

  g_queue_unlink (&putting->puts->under_way, &putting->link);
  if (connection != NULL)
    fsc_connection_answered (connection, 1);
  if (connection != NULL && outcome->code != FSC_CODE_OK)
    fsc_connection_send_error (connection, putting->serial, outcome->code, outcome->error, "%s",
                               outcome->text);
  else if (connection != NULL && may_be_put (connection, putting->serial, &putting->what, 0))
    put (putting, g_steal_pointer (&outcome->handle));
  g_clear_pointer (&outcome->handle, fsc_handle_unref);
  g_free ((char *) putting->what.uri.data);
  g_free (putting);
}

void
fsc_puts_forget (FscPuts *puts, const FscConnection *connection)
{
  for (GList *l = puts->under_way.head; l != NULL; l = l->next)
    {
      Putting *putting = l->data;

      if (putting->connection == connection)
        putting->connection = NULL;
    }
}

/* Life */

static gboolean
timer_due (gpointer data)
{
  FscPuts *puts = data;

  fsc_cache_end_put (puts->server->cache);
  arm (puts);
  return G_SOURCE_CONTINUE;
}

static gboolean
dispatch_timer (GSource *source, GSourceFunc callback, gpointer data)
{
  return callback (data);
}

FscPuts *
fsc_puts_new (FscServer *server)
{
  static GSourceFuncs timer_funcs = { .dispatch = dispatch_timer };
  FscPuts *puts = g_new0 (FscPuts, 1);

  puts->server = server;
  g_queue_init (&puts->under_way);
  puts->timer = g_source_new (&timer_funcs, sizeof (GSource));
  g_source_set_callback (puts->timer, timer_due, puts, NULL);
  g_source_attach (puts->timer, NULL);
  return puts;
}

void
fsc_puts_free (FscPuts *puts)
{
  g_assert (puts->under_way.length == 0);
  g_source_destroy (puts->timer);
  g_source_unref (puts->timer);
  g_free (puts);
}
