/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * How bytes are written in a URI: paths and names in their canonical form. Part of uri.c, and used
 * by nobody else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "protocol/codec.h"

/* Appends to a buffer; the first byte that does not fit makes it fail. */
typedef struct
{
  char *data;
  size_t size, length;
  bool overflow;
} FscUriOutput;

void fsc_uri_append (FscUriOutput *output, char c);
void fsc_uri_append_bytes (FscUriOutput *output, const char *bytes, size_t length);

/* Appends a path without empty components, and without '.' but at its end: there open() wants to
 * search the directory. Returns 0, or -EINVAL with a phrase in *reason. */
int fsc_uri_append_path (FscUriOutput *output, FscBytes path, bool is_escaped, const char **reason);

/* Appends a name that is nothing but its bytes, some of which are escaped. The same. */
int fsc_uri_append_name (FscUriOutput *output, FscBytes name, const char **reason);

/* The bytes that a canonical text stands for, with a zero byte at their end. Returns their length,
 * -EINVAL or -ENAMETOOLONG. */
int fsc_uri_decode (FscBytes text, char *buffer, size_t size);

/* Writes a zero byte behind it. Returns its length, or -ENAMETOOLONG. */
int fsc_uri_finish (FscUriOutput *output);

/* Decodes one byte at *position. Returns it, or -EINVAL. */
int fsc_uri_next_byte (FscBytes text, size_t *position, const char **reason);
