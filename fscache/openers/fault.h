/* SPDX-License-Identifier: LGPL-2.1-or-later
 *
 * Why something failed, before it is put into a reply.
 */
#pragma once

#define FSC_PHRASE_MAX 256

/* An errno, and a phrase that continues "cannot open NAME: ". All zero: it has not failed. */
typedef struct
{
  int error;
  char phrase[FSC_PHRASE_MAX];
} FscFault;

/* The first one is kept: those that follow are its consequences. */
void fsc_fault_set (FscFault *fault, int error, const char *format, ...)
    __attribute__ ((format (printf, 3, 4)));
