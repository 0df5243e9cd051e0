#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Builds and tests in Debian 13, whose libfuse has FUSE passthrough, which that of Debian 12 has not;
# the kernel is that of this machine. See --help.
#
# All of it happens in a mount and a process namespace of its own: what is mounted and what runs
# there goes with them, however this ends.
set -eu
shopt -s inherit_errexit

checkout=$(cd "$(dirname "$0")/.." && pwd)
dir=${TMPDIR:-/tmp}/fscache-trixie-$(id -u)
run=(tests/run.sh --no-install --again --build-dir build-trixie --option bench=disabled)
tests=(--suite view --suite unit)

# What --bench runs in there. What is measured is built for it, and sshfs rows want an sshd, which
# nobody starts.
# shellcheck disable=SC2016 # the variables are those of the shell in there
bench='
  tests/packages.sh openssh-server && mkdir -p /run/sshd || exit
  tests/run.sh --no-install --build-dir build-trixie-release --option bench=enabled \
    --option buildtype=release --build-only || exit
  exec build-trixie-release/tests/bench/fscache-bench "$@"'

usage () {
  cat <<EOH
usage: tests/trixie.sh [--dir DIR] [ARGUMENT...]
       tests/trixie.sh [--dir DIR] --bench ROWS [ARGUMENT...]
       tests/trixie.sh [--dir DIR] --exec COMMAND [ARGUMENT...]

Makes a Debian 13 (trixie) root file system with debootstrap, if there is none yet (a minute or two,
700 MB), and runs tests/run.sh in it: the suites view and unit, or what the arguments say. There,
the checkout is /src; it is built in build-trixie/. Only root can do that.

  --dir DIR  where the root file system is kept for the next time, outside of the checkout
             ($dir)
  --bench    builds the benchmark in build-trixie-release/, and runs these rows of it, instead;
             the arguments are fscache-bench's
  --exec     runs a command in /src there, instead of tests/run.sh
  --help     this text

  ARGUMENT   for tests/run.sh; the first that is not for this script, and all after it

Examples:
  tests/trixie.sh
  tests/trixie.sh --dir /var/cache/trixie view-read
  tests/trixie.sh --sanitize address,undefined --build-dir build-trixie-asan --suite view
  tests/trixie.sh --bench 'view-*'
  tests/trixie.sh --exec build-trixie/tests/view/test-view-read -p /view-read/transport

To be rid of the root file system, remove the directory; nothing is mounted in it. The last line of
the output and the exit status are those of tests/run.sh; for others than root it is one test that
was skipped.
EOH
}

wrong_usage () {
  echo "tests/trixie.sh: $1 (--help tells more)" >&2
  exit 2
}

arguments=("$@")
while [ $# -gt 0 ]; do
  case $1 in
  --dir)
    [ $# -ge 2 ] || wrong_usage "--dir needs a value"
    dir=$2 && shift 2
    ;;
  --dir=*) dir=${1#*=} && shift ;;
  --bench)
    [ $# -ge 2 ] || wrong_usage "--bench needs the names of rows"
    run=(bash -c "$bench" fscache-bench --rows "${@:2}")
    tests=()
    break
    ;;
  --exec)
    [ $# -ge 2 ] || wrong_usage "--exec needs a command"
    shift
    run=("$@")
    tests=()
    break
    ;;
  --help | -h) usage && exit 0 ;;
  *) tests=("$@") && break ;;
  esac
done

# Outside of the namespaces: starts the inside, and ends it.

run_outside () {
  local status=0

  if [ "$(id -u)" -ne 0 ]; then
    echo "skipped: tests/trixie.sh (only root can make a root file system)"
    echo "0 passed, 0 failed, 1 skipped"
    exit 0
  fi
  # The first process in there dies with unshare, and all others with that.
  FSC_TRIXIE_INSIDE=yes setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child \
    "$0" "${arguments[@]}" &
  inside=$!
  trap 'kill -KILL "$inside" 2>/dev/null || true; wait "$inside" 2>/dev/null || true' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  wait "$inside" || status=$?
  trap - EXIT
  exit "$status"
}

# Inside.

fail () {
  echo "tests/trixie.sh: $1" >&2
  exit 1
}

# The archive that apt uses here, or nothing: then debootstrap uses its own.
find_mirror () {
  apt-get indextargets --format "\$(ORIGIN) \$(LABEL) \$(REPO_URI)" 'Created-By: Packages' |
    sed -n 's/^Debian Debian //p' | head -n 1
}

# And the proxy.
export_proxy () {
  local apt_proxy=
  eval "$(apt-config shell apt_proxy Acquire::http::Proxy)"
  [ -z "$apt_proxy" ] || export http_proxy=$apt_proxy
}

# Under another name until it is whole.
make_root () {
  local mirror
  "$checkout/tests/packages.sh" debootstrap
  echo "Making a Debian 13 root file system in $dir"
  mirror=$(find_mirror)
  rm -rf --one-file-system "$root.new"
  debootstrap --variant=minbase trixie "$root.new" ${mirror:+"$mirror"} >"$dir/log" 2>&1 || {
    tail -n 20 "$dir/log" >&2
    fail "debootstrap has failed; $dir/log says more"
  }
  # It need not survive a power cut.
  echo force-unsafe-io >"$root.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
  mkdir "$root.new/src"
  ln -sf ../proc/self/mounts "$root.new/etc/mtab" # what an installed system has, and fusermount3 wants
  mv "$root.new" "$root"
}

# Onto itself first: so / is in the table of mounts, as it is elsewhere, and what the file system
# below forbids (set-user-ID programs, in many a /tmp) does not count.
mount_all () {
  mount --bind "$root" "$root"
  mount -o remount,bind,suid,exec,rw "$root"
  mount -t proc proc "$root/proc"
  mount --rbind /sys "$root/sys"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount --bind "$checkout" "$root/src"
  cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
}

# By pivot_root, and not only chroot: who is in a chroot cannot make a user namespace.
enter () {
  cd "$root"
  pivot_root . .
  umount -l .
  exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
    LANG=C.UTF-8 ${http_proxy:+http_proxy="$http_proxy"} "$@"
}

# The lock keeps others from installing at the same time.
# shellcheck disable=SC2016 # the variables are those of the shell in there
in_root='
  cd /src
  tests/run.sh --install-only || exit
  exec 9>&-
  if ! pkg-config --atleast-version=3.17 fuse3; then
    echo "tests/trixie.sh: this libfuse has no passthrough" >&2
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
  fi
  exec "$@"'

run_inside () {
  # Whatever goes wrong before tests/run.sh takes over is one failure.
  trap 'echo "0 passed, 1 failed, 0 skipped"' EXIT
  [ -d "$dir" ] || mkdir -m 700 "$dir"
  [ -O "$dir" ] || fail "$dir belongs to somebody else"
  dir=$(cd "$dir" && pwd -P)
  root=$dir/root
  exec 9>"$dir/lock"
  flock 9
  export_proxy
  [ -d "$root" ] || make_root
  mount_all
  enter bash -c "$in_root" sh "${run[@]}" "${tests[@]}"
}

case ${FSC_TRIXIE_INSIDE-} in
yes) run_inside ;;
*) run_outside ;;
esac
