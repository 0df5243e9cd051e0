/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which hosts may be asked: a list of names as the configuration has it, with spaces in between.
 * "example.org" is that host at the port that its scheme has, "example.org:8080" at this one,
 * "example.org:*" at any; "*.example.org" is all hosts whose name ends so, but not example.org;
 * "*:8080" is any host at this port, "*" any at any.
 */
#pragma once

#include <stdbool.h>

#include "protocol/codec.h"

/* `host` is as fsc_uri_get_host() has it: in lower case, with the port unless it is that of the
 * scheme. */
bool fsc_allow_has (const char *list, FscBytes host);
