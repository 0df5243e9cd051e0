#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs the service in a copy of this system, boots that with its own systemd, in namespaces of
# its own, and tries the unit for all users: started by its first client, killed while there are
# clients, stopped. Then a user's own, started and killed. Nothing of this system is changed. As root; needs systemd 252 or newer, cgroup2
# and overlayfs. Ends with how long clients waited for a service that was killed, and
# "N passed, N failed, 0 skipped".
#
#   tests/under-systemd.sh [BUILD-DIRECTORY]
set -eu

fail () {
  echo "$0: $1" >&2
  exit 1
}

# In the new system, as root

n_passed=0
n_failed=0
check () {
  local name=$1
  shift
  if "$@" >>/tmp/log 2>&1; then
    echo "ok - $name"
    n_passed=$((n_passed + 1))
  else
    echo "not ok - $name: $*"
    n_failed=$((n_failed + 1))
  fi
}
is () { [ "$1" = "$2" ]; }
fails () { ! "$@"; }
show () { systemctl show -P "$1" fscached; }
as_nobody () { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }
ask () { fscachectl cat /srv/file; }

ask_always () {
  while [ ! -e /tmp/stop ]; do
    if ask >/dev/null; then echo >>/tmp/asked; else echo >>/tmp/refused; fi
  done
}

kill_often () {
  local since
  for ((i = 0; i < 20; i++)); do
    since=$(date +%s%N)
    kill -KILL "$(show MainPID)"
    ask >/dev/null || echo >>/tmp/refused
    echo $((($(date +%s%N) - since) / 1000000)) >>/tmp/waited
    sleep 0.2
  done
}

# A user without a session has a systemd if root starts it.
as_user () {
  local place=/run/own
  setpriv --reuid nobody --regid nogroup --init-groups env XDG_RUNTIME_DIR=$place HOME=$place "$@"
}
ask_own () { as_user fscachectl --socket /run/own/fscache/socket cat /srv/secret; }

try_own () {
  local pid
  mkdir -m 700 /run/own
  chown nobody /run/own
  systemd-run -q --unit own -p User=nobody -p Delegate=yes -p Type=notify \
    -E XDG_RUNTIME_DIR=/run/own -E HOME=/run/own /lib/systemd/systemd --user
  check "a user's socket is there" as_user systemctl --user enable --now fscached.socket
  check "the user's service comes" ask_own
  pid=$(as_user systemctl --user show -P MainPID fscached)
  check "it is the user's" is "$(ps -o user= -p "$pid")" nobody
  kill -KILL "$pid"
  check "and comes again" ask_own
  check "being another one" fails is "$(as_user systemctl --user show -P MainPID fscached)" "$pid"
}

try () {
  touch /tmp/refused
  echo content >/srv/file
  echo secret >/srv/secret
  chown nobody /srv/secret
  chmod 600 /srv/secret
  systemd-sysusers
  check "the socket is there" systemctl enable --now fscached.socket
  check "the service is not" is "$(show ActiveState)" inactive
  check "a client starts it" as_nobody fscachectl cat /srv/file
  check "it has said so" is "$(show StatusText | cut -d, -f1)" "Serving /run/fscache/socket"
  check "it is fscache" is "$(ps -o user= -p "$(show MainPID)")" fscache
  check "a user opens as that user" as_nobody fscachectl cat /srv/secret
  check "and no other does" fails fscachectl cat /srv/secret
  ask_always &
  kill_often
  touch /tmp/stop
  wait
  check "it was started again each time" is "$(show NRestarts)" 20
  check "no call has failed" is "$(wc -l </tmp/refused)" 0
  check "it stops" systemctl stop fscached.service
  check "cleanly" is "$(show Result)" success
  check "and comes again" ask
  try_own
  echo "killed 20 times, $(wc -l </tmp/asked) calls meanwhile; ms until the next answer: p50" \
    "$(sort -n /tmp/waited | sed -n 10p), at most $(sort -n /tmp/waited | tail -n 1)"
  [ "$n_failed" -eq 0 ] || cat /tmp/log
  echo "$n_passed passed, $n_failed failed, 0 skipped"
}

# In its namespaces, before its systemd runs

boot () {
  local root=$dir/root device
  mount --make-rprivate /
  mount -t tmpfs none "$dir"
  mkdir "$dir"/{upper,work,root}
  mount -t overlay none -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
  mount -t proc none "$root/proc"
  mount -t tmpfs none "$root/sys"
  mkdir -p "$root/sys/fs/cgroup"
  mount -t cgroup2 none "$root/sys/fs/cgroup"
  mount -t tmpfs none "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  for device in run tmp srv; do mount -t tmpfs none "$root/$device"; done
  DESTDIR=$root meson install --no-rebuild -C "$build" >/dev/null
  rm -rf "$root"/etc/systemd/system/*.wants
  printf '[Unit]\nRequires=basic.target\nAfter=basic.target\n' >"$root/etc/systemd/system/try.target"
  cp "$0" "$root/run/try"
  ldconfig -r "$root"
  cd "$root"
  pivot_root . mnt
  umount -l /mnt
  exec env -i container=other PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    /lib/systemd/systemd --unit=try.target --show-status=no
}

case ${1-} in
--try) try && exit ;;
--boot) build=$2 dir=$3 && boot ;;
esac

[ "$(id -u)" -eq 0 ] || fail "only root can do this"
build=$(realpath "${1-build}")
groups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$groups" ] || fail "there is no cgroup2"
group=$groups/fscache-systemd-$$
dir=$(mktemp -d)
mkdir "$group"
script=$(realpath "$0")
(
  echo "$BASHPID" >"$group/cgroup.procs"
  exec unshare --kill-child -m -p -f -C -u -i bash "$script" --boot "$build" "$dir" </dev/null
) &
outer=$!
finish () {
  kill -KILL $outer 2>/dev/null || true
  wait $outer 2>/dev/null || true
  sleep 0.5
  find "$group" -depth -type d -exec rmdir {} + || true
  rmdir "$dir"
}
trap finish EXIT

for ((i = 0; i < 100; i++)); do
  sleep 0.1
  inner=$(pgrep -P $outer || true)
  enter=(nsenter -t "${inner:-$outer}" -m -p -C -u -i -r -w env "PATH=/usr/local/bin:$PATH")
  [ "$("${enter[@]}" systemctl is-active try.target 2>/dev/null)" != active ] || break
done
"${enter[@]}" bash /run/try --try | tee "$dir.out"
result=$(tail -n 1 "$dir.out")
rm "$dir.out"
[[ $result == *" 0 failed"* ]]
