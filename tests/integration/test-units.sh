#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The units are what systemd takes them for, without a warning, and the service for all users is no
# more exposed than it has been (systemd-analyze's measure, times ten). As TAP.
#
#   test-units.sh SOURCES BUILT FSCACHED
set -eu
sources=$1 built=$2 fscached=$(realpath "$3")
exposure=54
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# verify KIND: the units by the names that they have when they are installed.
verify () {
  mkdir "$dir/$1"
  cp "$sources/$1.socket" "$dir/$1/fscached.socket"
  sed "s,^ExecStart=[^ ]*,ExecStart=$fscached," "$built/$1.service" >"$dir/$1/fscached.service"
  said=$(XDG_RUNTIME_DIR=$dir systemd-analyze verify --man=no "--$1" \
    "$dir/$1/fscached.service" "$dir/$1/fscached.socket" 2>&1) || return 1
  [ -z "$said" ]
}

# check NAME COMMAND...
n=0
check () {
  n=$((n + 1))
  name=$1 said=
  shift
  if "$@"; then
    echo "ok $n - $name"
  else
    echo "not ok $n - $name"
    printf '%s\n' "$said" | sed 's/^/# /'
  fi
}

is_confined () {
  said=$(systemd-analyze security --offline=true --threshold=$exposure \
    "$dir/system/fscached.service" 2>&1)
}

echo 1..3
check system verify system
check user verify user
check exposure is_confined
