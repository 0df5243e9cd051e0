/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Which hosts may be asked: a list of names as the configuration has it, with spaces in between.
 * "example.org" is that host at the port that the scheme of the URI has, "example.org:8080" at this
 * one, "example.org:*" at any; "*.example.org" is all hosts whose name ends so, but not
 * example.org;
 * "*:8080" is any host at this port, "*" any at any.
 */
#pragma once

#include <stdbool.h>

#include "protocol/codec.h"

/* Whether the host of a canonical URI is in it. */
bool fsc_allow_has (const char *list, FscBytes uri);
