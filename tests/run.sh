#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs what is missing (Debian 12), builds, and runs the tests. The last line is always
# "N passed, N failed, N skipped", counted from the TAP results; see --help.
set -eu
shopt -s inherit_errexit

root=$(cd "$(dirname "$0")/.." && pwd)

usage () {
  cat <<EOF
usage: tests/run.sh [OPTION...] [TEST...]

Builds in build/ (or \$BUILD_DIR), and runs all tests, or those named.

  --suite NAME           only the tests of this suite (may be repeated): unit, integration,
                         view, fuzz
  --sanitize LIST        with sanitizers: address,undefined or thread; builds in build-LIST-COMPILER
  --cc COMPILER          with this compiler: gcc, clang
  --build-dir DIR        builds in DIR
  --option NAME=VALUE    an option for meson setup (may be repeated): werror=true, bench=disabled
  --timeout-multiplier N the tests may take N times as long
  --again                what fails beside others is run once more, by itself, and named if it passes then;
                         not what has crashed, nor what a sanitizer has found
  --no-install           installs nothing
  --install-only         nothing but that
  --build-only           does not run the tests
  --target NAME          builds only this, of all that there is (may be repeated)
  --help                 this text

The last line of the output is "N passed, N failed, N skipped"; the exit status is 0 if none has
failed, 1 if one has or the build has failed, 2 for wrong usage.
EOF
}

# What Debian 12 calls what is needed. The last line is for tests, which say so when they skip.
packages=(
  gcc libc6-dev dpkg-dev meson ninja-build pkg-config python3 libglib2.0-dev libjson-glib-dev
  libfuse3-dev libarchive-dev libcurl4-openssl-dev zlib1g-dev nettle-dev libseccomp-dev libsystemd-dev systemd fuse3 attr git sqlite3
  scdoc nginx-light openssl redis-server
  sshfs openssh-sftp-server procps xfsprogs btrfs-progs zstd xz-utils bzip2 lz4 zip p7zip-full cpio
)

suites=()
targets=()
tests=()
options=()
sanitize=
compiler=
build=
multiplier=1
install=yes
again=
what=run

wrong_usage () {
  echo "tests/run.sh: $1 (--help tells more)" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  # --name=value is --name value.
  case $1 in
  --*=*)
    name=${1%%=*}
    value=${1#*=}
    shift
    set -- "$name" "$value" "$@"
    ;;
  esac
  case $1 in
  --suite | --target | --sanitize | --cc | --build-dir | --option | --timeout-multiplier)
    [ $# -ge 2 ] || wrong_usage "$1 needs a value"
    ;;
  esac
  case $1 in
  --target) targets+=("$2") && shift 2 ;;
  --suite) suites+=(--suite "$2") && shift 2 ;;
  --sanitize) sanitize=$2 && shift 2 ;;
  --cc) compiler=$2 && shift 2 ;;
  --build-dir) build=$2 && shift 2 ;;
  --option) options+=("-D$2") && shift 2 ;;
  --timeout-multiplier) multiplier=$2 && shift 2 ;;
  --again) again=yes && shift ;;
  --no-install) install=no && shift ;;
  --install-only) what=install && shift ;;
  --build-only) what=build && shift ;;
  --help | -h) usage && exit 0 ;;
  -*) wrong_usage "there is no option $1" ;;
  *) tests+=("$1") && shift ;;
  esac
done

# Whatever goes wrong before there are results is one failure.
finished=
at_exit () {
  status=$?
  [ -n "$finished" ] || echo "0 passed, 1 failed, 0 skipped"
  exit "$status"
}
trap at_exit EXIT

if [ "$compiler" = clang ]; then
  packages+=(clang)
fi
if [ "$compiler" = clang ] && [ -n "$sanitize" ]; then
  packages+=(libclang-rt-14-dev llvm-14)
fi
if [ "$install" = yes ]; then
  "$root/tests/packages.sh" "${packages[@]}" || { echo "tests/run.sh: cannot go on" >&2 && exit 1; }
fi
if [ "$what" = install ]; then
  finished=yes
  exit 0
fi

# Building

if [ -z "$build" ]; then
  build=${BUILD_DIR:-$root/build}
  variant=${sanitize:+-${sanitize//,/-}}${compiler:+-$compiler}
  build=$build$variant
fi
if [ -n "$sanitize" ]; then
  # clang's libraries do not link the sanitizers' run time, which the programs bring.
  options+=("-Db_sanitize=$sanitize" -Db_lundef=false)
  case $sanitize in
  *undefined*) options+=(-Dc_args=-fno-sanitize-recover=all) ;;
  esac
fi
if [ -n "$compiler" ]; then
  export CC=$compiler
fi

cd "$root"
echo "Building in $build"
if [ -e "$build/build.ninja" ]; then
  # Options given now hold from now on; others stay.
  [ ${#options[@]} -eq 0 ] || meson configure "$build" "${options[@]}"
else
  meson setup "$build" "${options[@]}" >"${TMPDIR:-/tmp}/fscache-setup.$$" ||
    { cat "${TMPDIR:-/tmp}/fscache-setup.$$" >&2 && rm -f "${TMPDIR:-/tmp}/fscache-setup.$$" && exit 1; }
  rm -f "${TMPDIR:-/tmp}/fscache-setup.$$"
fi
meson compile -C "$build" "${targets[@]}" || { echo "tests/run.sh: the build has failed" >&2 && exit 1; }
if [ "$what" = build ]; then
  finished=yes
  exit 0
fi

# Testing

# The sanitizers' own defaults are to go on after the first error, and to exit with 0 of it.
export ASAN_OPTIONS=${ASAN_OPTIONS:-halt_on_error=1:abort_on_error=1:detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:abort_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:abort_on_error=1:second_deadlock_stack=1}
# 'thread' knows no address space that is laid out at random in more than 28 bits.
wrapper=()
if [ "$sanitize" = thread ] && setarch -R true 2>/dev/null; then
  wrapper=(setarch -R)
fi

# They mostly wait.
log=$build/meson-logs/testlog.json
run () {
  "${wrapper[@]}" meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier "$multiplier" \
    --num-processes "$@" || true # the log says all, and more exactly
}

rm -f "$log"
run $(($(nproc) * 2)) "${suites[@]}" "${tests[@]}"
if [ ! -e "$log" ]; then
  echo "tests/run.sh: no test has been run" >&2
  exit 1
fi
logs=("$log")
mapfile -t failed < <([ -z "$again" ] || python3 tests/tap-count.py --again "$log")
if [ ${#failed[@]} -gt 0 ]; then
  echo "Once more, each by itself: ${failed[*]}"
  mv "$log" "$log.first"
  run 1 "${failed[@]}"
  logs=("$log.first" "$log")
fi
finished=yes
python3 tests/tap-count.py "${logs[@]}"
