#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Shows that the tests write plain TAP: runs those that have been built, gives what they say to prove
# and to automake's tap-driver.sh, which whoever has no meson may use, and compares what these count.
# Then it shows that both would have noticed: programs that fail, crash, or stop half way must be
# reported as such.
#
#   tests/tap-check.sh [BUILD-FOLDER [SUITE...]]      (build, and the suites unit and fuzz)
#
# TAP_CHECK_SKIP names tests to leave out.
#
# The last line is "N passed, N failed, N skipped": each program under each of the two is one test.
set -eu
shopt -s inherit_errexit nullglob

root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-${BUILD_DIR:-$root/build}}
shift $(($# > 0 ? 1 : 0))
[ $# -gt 0 ] || set -- unit fuzz

drivers=(/usr/share/automake-*/tap-driver.sh)
if ! command -v prove >/dev/null || [ ${#drivers[@]} -eq 0 ]; then
  "$root/tests/packages.sh" perl automake
  drivers=(/usr/share/automake-*/tap-driver.sh)
fi
driver=${drivers[0]}

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0

# Writes a program for each test of the suites, that runs it as meson would: NAME.t.
python3 - "$build" "$dir" "$@" <<'EOF'
import json, os, shlex, subprocess, sys

build, folder, suites = sys.argv[1], sys.argv[2], set(sys.argv[3:])
tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", build]))
for test in tests:
    if test["protocol"] != "tap" or not suites & {s.split(":")[-1] for s in test["suite"]}:
        continue
    if test["name"] in os.environ.get("TAP_CHECK_SKIP", "").split():
        continue
    path = os.path.join(folder, test["name"] + ".t")
    with open(path, "w") as out:
        out.write("#!/bin/sh\n")
        if test["workdir"]:
            out.write("cd %s || exit\n" % shlex.quote(test["workdir"]))
        for name, value in test["env"].items():
            out.write("export %s=%s\n" % (name, shlex.quote(value)))
        out.write("exec %s\n" % shlex.join(test["cmd"]))
    os.chmod(path, 0o755)
EOF

# result WHAT HOW 0-or-other
result () {
  if [ "$3" -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok: $1 under $2"
  else
    failed=$((failed + 1))
    echo "FAILED: $1 under $2"
  fi
}

files=$dir # what each run leaves

# How many results prove has seen, if all were good.
run_prove () {
  prove --norc --merge "$1" >"$files/prove" 2>&1 || return 1
  sed -n 's/^Files=1, Tests=\([0-9]*\),.*/\1/p' "$files/prove"
}

# The same of tap-driver.sh, whose verdicts are in the .trs file. It writes a line for each result.
run_driver () {
  "$driver" --test-name "$(basename "$1" .t)" --log-file "$files/log" --trs-file "$files/trs" \
    --color-tests no --enable-hard-errors yes --expect-failure no -- "$1" >"$files/driver" 2>&1 || return 1
  ! grep -Eq '^:test-result: (FAIL|XPASS|ERROR)' "$files/trs" || return 1
  grep -Ec '^:test-result: (PASS|SKIP|XFAIL)' "$files/trs"
}

# Runs a test once, and makes a program that says and exits the same.
record () {
  local status=0
  "$1" >"$files/out" 2>"$files/err" || status=$?
  printf '#!/bin/sh\ncat %q\ncat %q >&2\nexit %d\n' "$files/out" "$files/err" "$status" >"$2"
  chmod +x "$2"
}

check () {
  local name by_prove by_driver files=$1.files recorded
  name=$(basename "$1" .t)
  mkdir "$files"
  recorded=$files/$name.t
  record "$1" "$recorded"
  by_prove=$(run_prove "$recorded") || { cat "$files/prove" && by_prove=none; }
  by_driver=$(run_driver "$recorded") || { cat "$files/driver" && by_driver=none; }
  result "$name ($by_prove tests)" prove "$([ "$by_prove" != none ] && [ "$by_prove" -gt 0 ] && echo 0 || echo 1)"
  result "$name ($by_driver tests)" tap-driver.sh "$([ "$by_driver" = "$by_prove" ] && [ "$by_driver" != none ] && echo 0 || echo 1)"
}

programs=("$dir"/*.t)
if [ ${#programs[@]} -eq 0 ]; then
  echo "$0: $build has no tests of the suites $*; build it with tests/run.sh" >&2
  failed=1
fi
# Some at a time, each with files of its own: most of them mostly wait.
for program in "${programs[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge 3 ]; do
    wait -n
  done
  check "$program" >"$program.out" 2>&1 &
done
wait
for program in "${programs[@]}"; do
  cat "$program.out"
  passed=$((passed + $(grep -c '^ok: ' "$program.out" || true)))
  failed=$((failed + $(grep -c '^FAILED: ' "$program.out" || true)))
done

# What must be noticed.
must_fail () {
  printf '#!/bin/sh\n%s\n' "$2" >"$dir/bad"
  chmod +x "$dir/bad"
  result "notices $1" prove "$(run_prove "$dir/bad" >/dev/null && echo 1 || echo 0)"
  result "notices $1" tap-driver.sh "$(run_driver "$dir/bad" >/dev/null && echo 1 || echo 0)"
}
must_fail "a test that fails" 'printf "1..2\nok 1 a\nnot ok 2 b\n"'
must_fail "a test that does not run" 'printf "1..2\nok 1 a\n"'
must_fail "a missing plan" 'printf "ok 1 a\n"'
must_fail "a crash" 'printf "1..1\nok 1 a\n"; kill -SEGV $$'
must_fail "a bail-out" 'printf "1..1\nBail out! no\n"'

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
