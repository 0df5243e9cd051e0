#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Shows what fscache is for, on real files of this machine, with what it measures here. Installs
# what is missing (Debian; it says what), builds into build/ (or $BUILD_DIR), starts a private
# service in a temporary directory, and leaves nothing behind but the build.
#
#     examples/quickstart.sh

set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD_DIR:-$root/build}
dir=
service=
sshfs_pid=

say () {
  printf '\n%s\n' "$*"
}

# Shows a command as one would type it, and runs it.
run () {
  printf '  $ %s\n' "$*"
  "$@"
}

die () {
  printf 'quickstart: %s\n' "$*" >&2
  exit 1
}

# A measurement that does not end is a fault, and is not to keep anybody waiting.
measure () {
  timeout 60 "$build/examples/measure" "$@" || die "measure $* failed (exit status $?)"
}

# Ends and reaps a process that this script started.
stop () {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

clean_up () {
  status=$?
  trap - EXIT INT TERM HUP
  # The service first: it holds handles on the mount.
  [ -z "$service" ] || stop "$service"
  if [ -n "$sshfs_pid" ]; then
    fusermount3 -u "$dir/mount" 2>/dev/null || fusermount3 -uz "$dir/mount" 2>/dev/null || true
    stop "$sshfs_pid"
  fi
  [ -z "$dir" ] || rm -rf --one-file-system "$dir"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# Setting up

set_up () {
  # dpkg-dev tells meson where libraries belong.
  "$root/tests/packages.sh" gcc libc6-dev dpkg-dev meson ninja-build pkg-config libglib2.0-dev \
    libjson-glib-dev nettle-dev || die "what is needed to build could not be installed"
  # Without these show_sshfs says what it lacks.
  "$root/tests/packages.sh" sshfs openssh-sftp-server || true
}

build () {
  say "Building in $build"
  if ! { [ -f "$build/build.ninja" ] || meson setup "$build" "$root"; } >"$dir/log" 2>&1 ||
    ! ninja -C "$build" >>"$dir/log" 2>&1; then
    tail -n 40 "$dir/log" >&2
    die "the build failed"
  fi
}

# A directory of our own where files are cached: what lies on an overlay (the root of a container)
# is opened anew for each request, and would show nothing.
make_directory () {
  for parent in "${TMPDIR:-/tmp}" /var/tmp /dev/shm; do
    if [ -w "$parent" ] && [ "$(stat -f -c %T "$parent")" != overlayfs ]; then
      break
    fi
  done
  dir=$(mktemp -d "$parent/fscache-quickstart.XXXXXX")
}

start_service () {
  export FSCACHE_SOCKET="$dir/socket"
  export FSCACHE_OPENER_DIR="$build/fscache/openers"
  : >"$dir/fscached.conf"
  # All on the CPU that is measured on: so the figures do not depend on where the scheduler puts
  # each process.
  taskset -c "$cpu" "$build/fscache/fscached" --config "$dir/fscached.conf" 2>"$dir/service.log" &
  service=$!
  tries=0
  until fscachectl ping >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 "$service" 2>/dev/null; then
      cat "$dir/service.log" >&2
      die "the service did not start"
    fi
    sleep 0.05
  done
  say "A private service: $(fscachectl ping)"
}

# What there is to see

show_local () {
  say "1. A local file whose name the kernel has in its cache"
  head -c 1048576 /dev/urandom >"$dir/local.bin"
  measure -c "$cpu" open "$dir/local.bin"
  echo "  Such an open() is cheaper than a round trip to any other process. fscache is not for it."
}

# A mount that is served by this machine's own sftp-server, without network, sshd or login: all that
# it costs is two more processes on the way.
mount_sshfs () {
  server=
  for candidate in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server \
    /usr/lib/ssh/sftp-server; do
    [ ! -x "$candidate" ] || server=$candidate
  done
  why=
  if ! command -v sshfs >/dev/null; then
    why="sshfs is not installed"
  elif [ -z "$server" ]; then
    why="there is no sftp-server"
  elif [ ! -c /dev/fuse ]; then
    why="there is no /dev/fuse here"
  fi
  [ -z "$why" ] || return 1

  mkdir "$dir/remote" "$dir/mount"
  head -c 1048576 /dev/urandom >"$dir/remote/model.bin"
  printf '#!/bin/sh\nexec %s\n' "$server" >"$dir/as-ssh"
  taskset -c "$cpu" sshfs -f -o ssh_command="/bin/sh $dir/as-ssh" "this:$dir/remote" \
    "$dir/mount" 2>"$dir/sshfs.log" &
  sshfs_pid=$!
  tries=0
  until mountpoint -q "$dir/mount"; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ] || ! kill -0 "$sshfs_pid" 2>/dev/null; then
      why="sshfs could not mount: $(tail -n 1 "$dir/sshfs.log")"
      stop "$sshfs_pid"
      sshfs_pid=
      return 1
    fi
    sleep 0.05
  done
}

show_sshfs () {
  say "2. A file that is expensive to open: the same, through sshfs"
  expensive=$dir/local.bin
  if ! mount_sshfs; then
    echo "  Skipped: $why."
    return
  fi
  expensive=$dir/mount/model.bin
  measure -c "$cpu" open "$expensive"
  echo "  A shared handle is sent without asking the server. An independent one is opened there anew,"
  echo "  because an offset of one's own needs that (fscache_fopen() does not). Each close() is a"
  echo "  request to sshfs, however the handle was had."
}

show_clients () {
  say "3. Many clients, one open: $expensive"
  measure clients "$expensive"
}

show_replaced () {
  say "4. A file that is replaced is noticed, by the next request"
  cd "$dir"
  echo "the old content" >file
  echo "the new content" >file.new
  run fscachectl cat file
  run fscachectl cat file
  fscachectl info file | sed -n 's/^hits/    (handed out again without opening it; hits:/p' | sed 's/$/)/'
  run mv file.new file
  run fscachectl cat file
  run rm file
  run fscachectl cat file || true
  cd "$root"
}

show_offset () {
  say "5. An offset is shared only by those who ask for that"
  offset "$dir/local.bin" | sed 's/^/  /'
}

show_status () {
  say "What the service did for all this (fscachectl status):"
  fscachectl status |
    awk '$1 ~ /^(handles|hits|misses|opens|open_errors|coalesced|invalidations)$/ { print "  " $0 }'
}

make_directory
set_up
build
PATH=$build/fscache/ctl:$build/examples:$PATH
cpu=$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')
start_service
show_local
show_sshfs
show_clients
show_replaced
show_offset
show_status
say "Done: the service is stopped, and $dir is gone. Next: README.md, and $build/examples"
