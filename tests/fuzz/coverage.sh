#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Tells how many lines of what reads a peer's bytes, or a user's file, the corpora of the fuzzers
# reach: a table of files, and their sum. Fails if that is less than LEAST percent of what decodes. Needs clang and
# llvm-cov.
#
#   tests/fuzz/coverage.sh BUILD-FOLDER [LEAST]       (the folder is made if it is not there)
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: $0 BUILD-FOLDER [LEAST]" >&2
  exit 2
fi
source=$(cd "$(dirname "$0")/../.." && pwd)
least=${2:-95}
targets=(codec uri config state service reply)
decoders=(protocol/{codec,text,uri,uri-path}.c fscache/{config,parameter,rules,request,state}.c libclient/receive.c)
beside=(protocol/channel.c fscache/{admin,connection,opener}.c)

if [ ! -d "$1" ]; then
  CC=clang meson setup "$1" "$source" --buildtype=debug \
    -Dc_args='-fprofile-instr-generate -fcoverage-mapping' -Dc_link_args=-fprofile-instr-generate >&2
fi
ninja -C "$1" "${targets[@]/#/tests/fuzz/replay-}" >&2

cd "$1/tests/fuzz"
objects=()
for target in "${targets[@]}"; do
  LLVM_PROFILE_FILE=$target.profraw "./replay-$target" >&2
  objects+=(-object="replay-$target")
done
llvm-profdata merge -o fuzz.profdata "${targets[@]/%/.profraw}"

# Reads a report, in whose lines a name is followed thrice by how many there are, how many were missed,
# and a percentage; the third is of lines.
sum_up() { # LEAST FILE...
  awk -v least="$1" -v names="${*:2}" '
    BEGIN {
      n = split(names, list, " ")
    }
    {
      for (i = 1; i <= n; i++)
        if (index($1, "/" list[i]) > 0) {
          printf "%-24s %5d lines, %4d of them not reached\n", list[i], $8, $9
          all += $8
          missed += $9
        }
    }
    END {
      if (all == 0)
        exit 1
      reached = 100 * (1 - missed / all)
      printf "%.2f %% of %d lines are reached\n\n", reached, all
      exit reached < least
    }' table
}

llvm-cov report "replay-${targets[0]}" "${objects[@]:1}" -instr-profile=fuzz.profdata >table
echo "Beside decoding they do much else:"
sum_up 0 "${beside[@]}"
echo "What decodes:"
sum_up "$least" "${decoders[@]}"
