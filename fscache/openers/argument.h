/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * What of the configuration is an opener's: the service starts it with --KEY=VALUE for each key of
 * its provider that has a value (fscache/provider.c), numbers in the unit of their type.
 */
#pragma once

#include <stdint.h>

/* The value of a key, or NULL. */
const char *fsc_argument_get (char *const *argv, const char *key);

/* 0 if there is none, or if it is no number. */
uint64_t fsc_argument_get_number (char *const *argv, const char *key);
