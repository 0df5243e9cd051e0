#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Records which files and directories a command opens for reading, in which order, as a trace for
# fscache-simulate. Names are not recorded, only numbers; README.md describes the file. Needs strace.
set -eu
shopt -s inherit_errexit

if [ $# -lt 3 ] || [ "$1" = --help ]; then
  cat <<'END'
usage: record-trace.sh FILE TITLE COMMAND [ARGUMENT...]

Runs COMMAND under strace and writes the trace to FILE, compressed if it ends with .gz. TITLE says in
the reports what was done; it and the types of file systems are all that is readable in FILE.

  ./record-trace.sh build.trace.gz 'a build of fscache' ninja -C build
  fscache-simulate --trace build.trace.gz
END
  [ "${1-}" = --help ] && exit 0
  exit 2
fi
file=$1
title=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# -y shows what a descriptor is open on: the path without links and relative parts. A command that
# fails is a trace all the same.
strace -f -y -qq -s 4096 -e trace=open,openat,openat2 -e signal=none -e status=successful,unfinished \
  -o "$work/strace" "$@" || echo "record-trace.sh: the command ended with status $?" >&2

# One line for each open that the cache could have answered: it succeeded, and was for reading.
# "PID openat(...O_RDONLY...) = 3</path>", or, where processes overlap, in two parts.
awk '
  / <unfinished \.\.\.>$/ { pending[$1] = $0; next }
  / resumed>/ { $0 = pending[$1] " " $0 }
  !/O_RDONLY/ || /O_CREAT|O_TRUNC|O_TMPFILE/ { next }
  match ($0, / = [0-9]+<\/[^>]*>$/) {
    path = substr ($0, RSTART, RLENGTH)
    sub (/^ = [0-9]+</, "", path)
    sub (/(\(deleted\))?>$/, "", path)
    print path
  }' "$work/strace" >"$work/paths"

# On which file system each directory is; procfs and the like are never cached.
sed 's,/[^/]*$,,; s,^$,/,' "$work/paths" | sort -u >"$work/directories"
tr '\n' '\0' <"$work/directories" | xargs -0 -r stat -f -c '%T %n' >"$work/mounts" 2>"$work/gone" || true

{
  echo 'fscache-trace 1'
  echo "# $title"
  awk '
    function flush () {
      if (n_known > 0)
        print "r" n_known
      if (n_new > 0)
        print "p" n_new
      n_known = n_new = 0
    }
    FILENAME != paths { type = $1; sub (/^[^ ]+ /, ""); types[$0] = type; next }
    {
      directory = $0
      sub (/\/[^\/]*$/, "", directory)
      if (directory == "")
        directory = "/"
      type = directory in types ? types[directory] : "gone"
      if (type ~ /^(proc|sysfs|devpts|cgroup.*|UNKNOWN.*)$/ || directory ~ /^\/dev(\/|$)/)
        next
      if ($0 in objects) {
        is_known = last in followers && followers[last] == objects[$0]
        if (n_new > 0 || !is_known)
          flush ()
        if (is_known)
          n_known++
        else
          print objects[$0]
      } else {
        if (!(directory in directories)) {
          flush ()
          if (!(type in mounts)) {
            mounts[type] = n_mounts++ + 0
            print "m" type
          }
          directories[directory] = n_directories++ + 0
          print "d" mounts[type]
        }
        if (directory == last_directory) {
          if (n_known > 0)
            flush ()
          n_new++
        } else {
          flush ()
          print "o" directories[directory]
        }
        last_directory = directory
        objects[$0] = n_objects++ + 0
      }
      n_opens++
      if (n_opens > 1)
        followers[last] = objects[$0]
      last = objects[$0]
    }
    END {
      flush ()
      printf "%d opens of %d objects", n_opens, n_objects >"/dev/stderr"
    }' paths="$work/paths" "$work/mounts" "$work/paths"
} >"$work/trace"

case $file in
*.gz) gzip -9 -n <"$work/trace" >"$file" ;;
*) cp "$work/trace" "$file" ;;
esac
echo " in $file, $(stat -c %s "$file") bytes" >&2
