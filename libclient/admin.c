/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Requests about the cache rather than for a resource; see fscache.h. Each is one packet and one
 * answer, which is kept as a packet and read here, without the lock, so that the caller's functions
 * may do what they like.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libclient/client.h"
#include "libclient/finish.h"
#include "libclient/message.h"
#include "libclient/prepare.h"
#include "libclient/wait.h"

#define PACKET_MAX (sizeof (FscWireHeader) + sizeof (FscWireList) + FSC_URI_MAX + 4)

/* One request, from its name to its answer. */
typedef struct
{
  FscCall call;
  FscOpening opening;
  FscWriter writer;
  FscacheReply own, *reply;
  char name[FSC_URI_MAX + 1];
  uint8_t packet[PACKET_MAX];
} Admin;

static void
begin (Admin *admin, const char *verb, FscacheReply *reply)
{
  fsc_client_call_init (&admin->call, &admin->opening, 1, verb);
  admin->call.kind = FSC_CALL_PACKET;
  admin->reply = reply != NULL ? reply : &admin->own;
  admin->name[0] = '\0';
  admin->opening.uri = (FscBytes){ admin->name, 0 };
  fsc_writer_begin (&admin->writer, admin->packet, sizeof admin->packet);
}

static void
end (Admin *admin)
{
  fsc_client_call_clear (&admin->call);
}

static void
set_uri (Admin *admin, const char *uri)
{
  fsc_client_prepare_name (&admin->opening, uri, admin->name, sizeof admin->name);
}

static void
set_pattern (Admin *admin, const char *pattern)
{
  size_t length = pattern == NULL ? 0 : strlen (pattern);

  if (length > FSC_URI_MAX)
    {
      fsc_client_answer_fail (&admin->opening.answer, FSCACHE_ERROR_BAD_REQUEST, ENAMETOOLONG,
                              (FscBytes){ 0 });
      admin->opening.state = FSC_OPENING_ANSWERED;
      length = 0;
    }
  if (length > 0)
    memcpy (admin->name, pattern, length);
  admin->name[length] = '\0';
  admin->opening.uri = (FscBytes){ admin->name, length };
}

static void
put_target (Admin *admin, bool is_pattern, bool pinned)
{
  FscTarget target = { .uri = admin->opening.uri, .is_pattern = is_pattern, .pinned = pinned };

  fsc_codec_put_target (&admin->writer, &target);
}

/* Sends the request and waits. Returns 0, with the reader at the body of the answer, or a negative
 * errno, with the reason in the reply. */
static int
ask (FscacheClient *client, Admin *admin, FscOpcode opcode, FscOpcode expected, FscReader *reader)
{
  FscHeader header;
  int length = fsc_writer_finish (&admin->writer, opcode, 0, 0);

  admin->call.packet = admin->packet;
  admin->call.packet_length = length > 0 ? (size_t) length : 0;
  admin->call.expected = expected;
  if (length < 0)
    fsc_client_answer_fail (&admin->opening.answer, FSCACHE_ERROR_BAD_REQUEST, -length,
                            (FscBytes){ 0 });
  else
    fsc_client_wait (client, &admin->call);

  if (admin->opening.answer.code != FSCACHE_OK)
    {
      fsc_client_explain (admin->reply, admin->call.verb, &admin->opening);
      return -admin->reply->error;
    }
  fsc_client_fail_reply (admin->reply, FSCACHE_OK, 0);
  return fsc_reader_begin (reader, &header, admin->call.result, admin->call.result_length, 0);
}

static int
fail (Admin *admin, FscacheCode code, int error)
{
  fsc_client_answer_fail (&admin->opening.answer, code, error, (FscBytes){ 0 });
  fsc_client_explain (admin->reply, admin->call.verb, &admin->opening);
  return -error;
}

/* Entries */

static void
show_entry (const FscEntryInfo *info, FscacheEntryFunc func, void *data)
{
  char uri[FSC_URI_MAX + 1];
  FscacheEntry entry = {
    .uri = uri,
    .kind = (FscacheKind) info->kind,
    .coherence = (FscacheCoherence) info->coherence,
    .sharing = (FscacheSharing) info->sharing,
    .flags = (int) info->flags,
    .is_pinned = info->state & FSC_ENTRY_PINNED,
    .is_held = info->state & FSC_ENTRY_HELD,
    .is_lent = info->state & FSC_ENTRY_LENT,
    .is_negative = info->state & FSC_ENTRY_NEGATIVE,
    .mount_id = info->mount_id,
    .ttl_ms = info->ttl_ms,
    .cost_us = info->cost_us,
    .checked_ms = info->checked_ms,
    .hits = info->hits,
    .age_ms = info->age_ms,
    .idle_ms = info->idle_ms,
    .content = { .is_known = info->content.is_known,
                 .is_sealed = info->content.is_sealed,
                 .size = info->content.size },
    .generation = info->generation,
  };

  memcpy (entry.content.digest, info->content.digest, sizeof info->content.digest);
  memcpy (uri, info->uri.data, info->uri.length);
  uri[info->uri.length] = '\0';
  func (&entry, data);
}

static uint32_t
show_entries (FscReader *reader, uint64_t *next, FscacheEntryFunc func, void *data)
{
  FscEntryInfo info;
  uint32_t n = 0;

  fsc_codec_get_entries (reader, next, &n);
  for (uint32_t i = 0; i < n && fsc_codec_get_entry (reader, &info); i++)
    if (func != NULL)
      show_entry (&info, func, data);
  return n;
}

int
fscache_info (FscacheClient *client, const char *uri, FscacheEntryFunc func, void *data,
              FscacheReply *reply)
{
  Admin admin;
  FscReader reader;
  uint64_t next;
  int r;

  begin (&admin, "look up", reply);
  set_uri (&admin, uri);
  put_target (&admin, false, false);
  r = ask (client, &admin, FSC_OP_INFO, FSC_OP_ENTRIES, &reader);
  if (r == 0)
    {
      r = (int) show_entries (&reader, &next, func, data);
      if (r == 0)
        r = fail (&admin, FSCACHE_ERROR_NOT_CACHED, ENOENT);
    }
  end (&admin);
  return r;
}

/* Who was given what */

static void
show_holding (const FscHolding *holding, FscacheHoldingFunc func, void *data)
{
  char uri[FSC_URI_MAX + 1], name[FSC_NAME_MAX + 1];
  FscacheHolding shown = {
    .uri = uri,
    .client_name = name,
    .client = holding->client,
    .pid = (pid_t) holding->pid,
    .uid = (uid_t) holding->uid,
    .sharing = (FscacheSharing) holding->sharing,
    .mount_id = holding->mount_id,
    .n_lent = holding->lent,
    .n_given = holding->given,
    .first_ms = holding->first_ms,
    .last_ms = holding->last_ms,
  };

  memcpy (uri, holding->uri.data, holding->uri.length);
  uri[holding->uri.length] = '\0';
  memcpy (name, holding->name.data, holding->name.length);
  name[holding->name.length] = '\0';
  func (&shown, data);
}

static uint32_t
show_holdings (FscReader *reader, uint64_t *next, FscacheHoldingFunc func, void *data)
{
  FscHolding holding;
  uint32_t n = 0;

  fsc_codec_get_holdings (reader, next, &n);
  for (uint32_t i = 0; i < n && fsc_codec_get_holding (reader, &holding); i++)
    if (func != NULL)
      show_holding (&holding, func, data);
  return n;
}

/* Page by page */

/* What calls for each: one of the two functions, or none. */
typedef struct
{
  FscacheEntryFunc entry;
  FscacheHoldingFunc holding;
  void *data;
} Listener;

/* Lists entries, or HOLDERS. `name` is a pattern or a URI, as the list says, or NULL. */
static ssize_t
list_all (FscacheClient *client, FscOpcode opcode, const char *name, FscList *list,
          const Listener *listener, FscacheReply *reply)
{
  bool is_list = opcode == FSC_OP_LIST;
  ssize_t total = 0;

  do
    {
      Admin admin;
      FscReader reader;
      uint64_t next;
      int r;

      begin (&admin, is_list ? "list" : "list the holders", reply);
      if (list->is_pattern)
        set_pattern (&admin, name);
      else if (name != NULL)
        set_uri (&admin, name);
      list->uri = admin.opening.uri;
      fsc_codec_put_list (&admin.writer, list);
      r = ask (client, &admin, opcode, is_list ? FSC_OP_ENTRIES : FSC_OP_HOLDINGS, &reader);
      if (r == 0)
        {
          total += is_list ? show_entries (&reader, &next, listener->entry, listener->data)
                           : show_holdings (&reader, &next, listener->holding, listener->data);
          if (next == list->cursor && next != 0)
            r = fail (&admin, FSCACHE_ERROR_PROTOCOL, EPROTO); /* it would never end */
          list->cursor = next;
        }
      end (&admin);
      if (r < 0)
        return r;
    }
  while (list->cursor != 0);
  return total;
}

ssize_t
fscache_list (FscacheClient *client, const char *pattern, FscacheEntryFunc func, void *data,
              FscacheReply *reply)
{
  FscList list = { .is_pattern = true };

  return list_all (client, FSC_OP_LIST, pattern, &list, &(Listener){ .entry = func, .data = data },
                   reply);
}

ssize_t
fscache_holders (FscacheClient *client, const char *uri, FscacheHoldingFunc func, void *data,
                 FscacheReply *reply)
{
  FscList list = { 0 };

  return list_all (client, FSC_OP_HOLDERS, uri, &list, &(Listener){ .holding = func, .data = data },
                   reply);
}

/* Says so, if there is no mount to speak of. */
static bool
has_mount (const char *mount, const char *verb, FscacheReply *reply)
{
  Admin admin;

  if (mount != NULL)
    return true;
  begin (&admin, verb, reply);
  fail (&admin, FSCACHE_ERROR_BAD_REQUEST, EINVAL);
  end (&admin);
  return false;
}

ssize_t
fscache_holders_on_mount (FscacheClient *client, const char *mount, bool is_recursive,
                          FscacheHoldingFunc func, void *data, FscacheReply *reply)
{
  FscList list = { .is_mount = true, .is_deep = is_recursive };

  if (!has_mount (mount, "list the holders", reply))
    return -EINVAL;
  return list_all (client, FSC_OP_HOLDERS, mount, &list,
                   &(Listener){ .holding = func, .data = data }, reply);
}

/* What is answered by DONE */

static ssize_t
ask_for_done (FscacheClient *client, Admin *admin, FscOpcode opcode)
{
  FscReader reader;
  uint64_t count = 0;
  int r = ask (client, admin, opcode, FSC_OP_DONE, &reader);

  if (r == 0)
    fsc_codec_get_done (&reader, &count);
  end (admin);
  return r < 0 ? r : (ssize_t) count;
}

ssize_t
fscache_drop (FscacheClient *client, const char *uri, FscacheReply *reply)
{
  Admin admin;

  begin (&admin, "drop", reply);
  set_uri (&admin, uri);
  put_target (&admin, false, false);
  return ask_for_done (client, &admin, FSC_OP_DROP);
}

ssize_t
fscache_drop_matching (FscacheClient *client, const char *pattern, FscacheReply *reply)
{
  Admin admin;

  begin (&admin, "drop", reply);
  if (pattern == NULL)
    {
      ssize_t r = fail (&admin, FSCACHE_ERROR_BAD_REQUEST, EINVAL);

      end (&admin);
      return r;
    }
  set_pattern (&admin, pattern);
  put_target (&admin, true, false);
  return ask_for_done (client, &admin, FSC_OP_DROP);
}

static void
note_released (const FscCounter *counter, FscacheReleased *released)
{
  const struct
  {
    const char *name;
    uint64_t *value;
  } values[] = {
    { "mounts", &released->n_mounts },       { "handles", &released->n_handles },
    { "openers", &released->n_openers },     { "stuck", &released->n_stuck },
    { "failed", &released->n_failed },       { "given", &released->n_given },
    { "lent", &released->n_lent },           { "clients", &released->n_clients },
    { "forgotten", &released->n_forgotten },
  };

  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
    if (strlen (values[i].name) == counter->name.length
        && memcmp (values[i].name, counter->name.data, counter->name.length) == 0)
      *values[i].value = counter->value;
}

int
fscache_drop_mount (FscacheClient *client, const char *mount, bool is_recursive,
                    FscacheReleased *released, FscacheReply *reply)
{
  Admin admin;
  FscReader reader;
  FscCounter counter;
  FscacheReleased unwanted;
  uint32_t n = 0;
  int r;

  if (released == NULL)
    released = &unwanted;
  memset (released, 0, sizeof *released);
  if (!has_mount (mount, "drop", reply))
    return -EINVAL;
  begin (&admin, "drop", reply);
  set_uri (&admin, mount);
  fsc_codec_put_target (
      &admin.writer,
      &(FscTarget){ .uri = admin.opening.uri, .is_mount = true, .is_deep = is_recursive });
  r = ask (client, &admin, FSC_OP_DROP, FSC_OP_COUNTERS, &reader);
  if (r == 0)
    fsc_codec_get_counters (&reader, &n);
  for (uint32_t i = 0; i < n && fsc_codec_get_counter (&reader, &counter); i++)
    note_released (&counter, released);
  end (&admin);
  return r;
}

static int
pin (FscacheClient *client, const char *verb, const char *uri, bool pinned, FscacheReply *reply)
{
  Admin admin;
  ssize_t r;

  begin (&admin, verb, reply);
  set_uri (&admin, uri);
  put_target (&admin, false, pinned);
  r = ask_for_done (client, &admin, FSC_OP_PIN);
  return r < 0 ? (int) r : 0;
}

int
fscache_pin (FscacheClient *client, const char *uri, FscacheReply *reply)
{
  return pin (client, "pin", uri, true, reply);
}

int
fscache_unpin (FscacheClient *client, const char *uri, FscacheReply *reply)
{
  return pin (client, "unpin", uri, false, reply);
}

int
fscache_ping (FscacheClient *client, FscacheReply *reply)
{
  Admin admin;
  ssize_t r;

  begin (&admin, "reach the service", reply);
  r = ask_for_done (client, &admin, FSC_OP_PING);
  return r < 0 ? (int) r : 0;
}

/* Putting */

/* Returns 0, or a negative errno with a phrase. */
static int
check_put (const FscachePut *put, const char **phrase)
{
  *phrase = "there is no such descriptor";
  if (put->fd < 0 || fcntl (put->fd, F_GETFD) < 0)
    return -EBADF;
  *phrase = "there is no such mode";
  if (put->mode != FSCACHE_PUT_NEW && put->mode != FSCACHE_PUT_REPLACE
      && put->mode != FSCACHE_PUT_EXCHANGE)
    return -EINVAL;
  *phrase = "who exchanges expects something, and nobody else does";
  if ((put->expected != 0) != (put->mode == FSCACHE_PUT_EXCHANGE))
    return -EINVAL;
  *phrase = "a reserved field of the request is not 0";
  for (size_t i = 0; i < sizeof put->reserved / sizeof put->reserved[0]; i++)
    if (put->reserved[i] != 0)
      return -EINVAL;
  return 0;
}

int
fscache_put (FscacheClient *client, const FscachePut *put, FscacheReply *reply)
{
  const char *phrase;
  FscReader reader;
  Admin admin;
  int r;

  begin (&admin, "put", reply);
  set_uri (&admin, put->uri);
  r = check_put (put, &phrase);
  if (r < 0)
    {
      fsc_client_answer_fail (&admin.opening.answer, FSCACHE_ERROR_BAD_REQUEST, -r,
                              (FscBytes){ phrase, strlen (phrase) });
      admin.opening.answer.is_phrase = true;
      admin.opening.state = FSC_OPENING_ANSWERED;
    }
  if (put->timeout_ms > 0)
    {
      admin.opening.timeout_ms = put->timeout_ms;
      admin.opening.deadline = fsc_client_get_time () + put->timeout_ms * FSC_MILLISECOND;
    }
  admin.opening.happens_once = true;
  admin.call.give_fd = put->fd;
  fsc_codec_put_put (&admin.writer, &(FscPut){ .uri = admin.opening.uri,
                                               .mode = (FscPutMode) put->mode,
                                               .expected = put->expected,
                                               .ttl_ms = put->ttl_ms });
  r = ask (client, &admin, FSC_OP_PUT, FSC_OP_DONE, &reader);
  if (r == 0)
    fsc_codec_get_done (&reader, &admin.reply->generation);
  end (&admin);
  return r;
}

/* Asks for what is answered by COUNTERS. */
static int
ask_for_counters (FscacheClient *client, Admin *admin, FscOpcode opcode, FscacheCounterFunc func,
                  void *data)
{
  FscReader reader;
  FscCounter counter;
  uint32_t n = 0;
  int r = ask (client, admin, opcode, FSC_OP_COUNTERS, &reader);

  if (r == 0)
    fsc_codec_get_counters (&reader, &n);
  for (uint32_t i = 0; i < n && fsc_codec_get_counter (&reader, &counter); i++)
    {
      char name[FSC_NAME_MAX + 1];

      memcpy (name, counter.name.data, counter.name.length);
      name[counter.name.length] = '\0';
      if (func != NULL)
        func (name, counter.value, data);
    }
  end (admin);
  return r;
}

int
fscache_status (FscacheClient *client, FscacheCounterFunc func, void *data, FscacheReply *reply)
{
  Admin admin;

  begin (&admin, "get the counters", reply);
  return ask_for_counters (client, &admin, FSC_OP_STATUS, func, data);
}

int
fscache_set (FscacheClient *client, const char *name, uint64_t value, FscacheCounterFunc func,
             void *data, FscacheReply *reply)
{
  FscCounter limit = { .name = { name, name != NULL ? strlen (name) : 0 }, .value = value };
  Admin admin;

  begin (&admin, name != NULL ? "set a limit" : "get the limits", reply);
  if (limit.name.length > FSC_NAME_MAX || (limit.name.length == 0 && value != 0))
    {
      static const char text[] = "there is no limit of such a name";

      fsc_client_answer_fail (&admin.opening.answer, FSCACHE_ERROR_BAD_REQUEST, EINVAL,
                              (FscBytes){ text, sizeof text - 1 });
      fsc_client_explain (admin.reply, admin.call.verb, &admin.opening);
      end (&admin);
      return -EINVAL;
    }
  fsc_codec_put_set (&admin.writer, &limit);
  return ask_for_counters (client, &admin, FSC_OP_SET, func, data);
}
