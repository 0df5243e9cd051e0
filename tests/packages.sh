#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs Debian packages, those of the arguments that are missing, as root or with sudo. Says what
# it does, and what somebody else has to do if it cannot.
#
#   tests/packages.sh PACKAGE...
set -eu

is_installed () {
  case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
  *' installed') return 0 ;;
  *) return 1 ;;
  esac
}

if ! command -v dpkg-query apt-get >/dev/null; then
  echo "$0: this is no Debian, so nothing is installed; needed are what Debian calls: $*" >&2
  exit 0
fi

missing=()
for package; do
  is_installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
  root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  root=(sudo -n)
elif command -v sudo >/dev/null && [ -t 0 ]; then
  root=(sudo)
else
  echo "$0: packages are missing, and this is neither root nor may it use sudo. Let root run:" >&2
  echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "Installing what is missing: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { "${root[@]}" apt-get update -q &&
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  cat "$log" >&2
  echo "$0: could not install ${missing[*]}" >&2
  exit 1
fi
