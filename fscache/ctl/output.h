/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What fscachectl writes: one-line complaints on stderr, JSON and human forms on stdout. JSON is
 * one object a line, so that a list of a million entries is written as it comes.
 */
#pragma once

#include <glib.h>
#include <json-glib/json-glib.h>

#include "libclient/fscache.h"

/* Names of files may contain control characters, and a terminal obeys those: it is a copy, in
 * UTF-8, without them. To be freed. */
char *fsc_output_make_printable (const char *text);

/* Writes "fscachectl: MESSAGE" to stderr, in one line whatever the message holds. */
void fsc_output_complain (const char *format, ...) G_GNUC_PRINTF (1, 2);

/* The same for a request that failed. */
void fsc_output_complain_reply (const char *object, const FscacheReply *reply, int result);

/* Sends complaints to `fd` (borrowed) from now on: exec may have given stderr away. */
void fsc_output_set_complaints_fd (int fd);

/* Ends an object that was begun with json_builder_begin_object() and prints it, followed by `end`.
 */
void fsc_output_print_json (JsonBuilder *builder, const char *end);

/* `value`, or NULL, may be any bytes. */
void fsc_output_add_string (JsonBuilder *builder, const char *name, const char *value);
void fsc_output_add_int (JsonBuilder *builder, const char *name, gint64 value);
void fsc_output_add_boolean (JsonBuilder *builder, const char *name, gboolean value);

/* A short human duration: "350us", "12ms", "3s", "5m", "2h", "9d". In memory of the caller's. */
const char *fsc_output_format_us (guint64 us, char buffer[static 32]);

/* The same of bytes: "512", "12K", "1.5G", where K is 1,024. */
const char *fsc_output_format_bytes (guint64 bytes, char buffer[static 32]);

/* "sha256:" and 64 hexadecimal digits; to be freed. */
char *fsc_output_format_digest (const FscacheContent *content);

/* Adds "digest", "sealed" and "validator", null where it is not known. */
void fsc_output_add_content (JsonBuilder *builder, const FscacheContent *content);

/* As text if it is some, else as hexadecimal digits after "0x"; to be freed. */
char *fsc_output_format_validator (const FscacheContent *content);

/* Returns what the command should exit with: `status`, or FSC_EXIT_FAILED, after having said so, if
 * what was printed could not all be written (a full disk, a closed stdout). */
int fsc_output_finish (int status);
