#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs a fuzzer of a build with -Dfuzz=true for some seconds, starting from its corpus. What it finds
# is left in the build folder as crash-*, with a line that says how to repeat it.
#
#   tests/fuzz/run-fuzzer.sh BUILD-FOLDER codec|uri|config|state|service|reply|unpack SECONDS
set -eu

if [ $# -ne 3 ]; then
  echo "usage: $0 BUILD-FOLDER codec|uri|config|state|service|reply|unpack SECONDS" >&2
  exit 2
fi
folder=$(cd "$1" && pwd)/tests/fuzz
fuzzer=$folder/fuzz-$2

if [ ! -x "$fuzzer" ]; then
  echo "$0: no $fuzzer: build with CC=clang meson setup BUILD-FOLDER -Dfuzz=true" >&2
  exit 2
fi
corpus=$folder/corpus-$2
mkdir -p "$corpus" "$folder/seeds-$2"
"$folder/replay-$2" --write "$folder/seeds-$2" >&2

if ! "$fuzzer" -max_total_time="$3" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=0 -max_len=16384 -print_final_stats=1 \
     -artifact_prefix="$folder/" "$corpus" "$folder/seeds-$2"; then
  echo "$0: found something; repeat it with: $fuzzer $folder/crash-..." >&2
  exit 1
fi
