#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Counts the TAP results of all tests of a meson run, from its meson-logs/testlog.json, names those
# that failed or were skipped and why, and ends with the line "N passed, N failed, N skipped". The
# exit status is 0 if some have passed and none has failed.
#
# It is stricter than TAP's usual consumers: a program that crashed, ran out of time, bailed out, or
# has not run as many tests as it planned counts as a failure (one, in one line), whatever it said
# before.
#
# Of several logs, what a later one says of a program replaces what an earlier one said; a program
# that passed only then is named. --again prints which programs are worth that: those that failed, but
# for what crashed or was found by a sanitizer, which no second run makes good.
#
#   tests/tap-count.py TESTLOG.json...
#   tests/tap-count.py --again TESTLOG.json
#   tests/tap-count.py --self-test
import json
import re
import signal
import sys

LINE = re.compile(r"^(not )?ok\b\s*(\d+)?\s*(?:-\s*)?((?:\\#|[^#])*)(?:#\s*(\w+)\b\S*\s*(.*))?$")
PLAN = re.compile(r"^1\.\.(\d+)\s*(?:#\s*SKIP\b\s*(.*))?$", re.I)


class Count:
    def __init__(self):
        self.passed, self.failures, self.skips = 0, [], []

    def add(self, other):
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips


def count_result(count, name, match):
    is_bad, _, title, directive, reason = match.groups()
    title = "%s: %s" % (name, title.strip())
    directive = (directive or "").upper()
    if directive.startswith("SKIP") and not is_bad:
        count.skips.append("%s (%s)" % (title, reason or "no reason given"))
    elif bool(is_bad) != (directive == "TODO"):
        # A test that is still to do and passes has been done: its mark is wrong.
        count.failures.append(title if is_bad else title + ": passed, although marked TODO")
    else:
        count.passed += 1


def count_tap(name, output):
    """Returns what was counted, and what is wrong with the output as a whole."""
    count, faults, planned, seen = Count(), [], None, 0
    for line in output.splitlines():
        plan, result = PLAN.match(line), LINE.match(line)
        if plan and planned is None:
            planned = int(plan.group(1))
            if planned == 0 and plan.group(2) is not None:
                count.skips.append("%s (%s)" % (name, plan.group(2) or "no reason given"))
        elif plan:
            faults.append("two plans")
        elif result:
            seen += 1
            count_result(count, name, result)
        elif line.startswith("Bail out!"):
            faults.append(line)
    if planned is None:
        faults.append("no plan")
    elif seen != planned:
        faults.append("planned %d, ran %d" % (planned, seen))
    return count, faults


def describe_end(result, status):
    """How the program ended, if that was not by itself."""
    if result in ("TIMEOUT", "INTERRUPT"):
        return [result.lower()]
    if status >= 0:
        return []
    try:
        return ["killed by " + signal.Signals(-status).name]
    except ValueError:
        return ["killed by signal %d" % -status]


def count_test(test):
    name, result, status = test["name"], test["result"], test.get("returncode", 0)
    output = test.get("stdout") or ""
    if "1.." not in output and result == "SKIP":
        count = Count()
        count.skips.append("%s (the whole program)" % name)
        return count
    count, faults = count_tap(name, output)
    faults = describe_end(result, status) + faults
    # One failure, whatever it led to: how many tests a crash kept from running says nothing of them.
    if faults:
        count.failures.append("%s: %s" % (name, "; ".join(faults)))
    elif status != 0 and not count.failures:
        count.failures.append("%s: exit status %s" % (name, status))
    elif result in ("FAIL", "ERROR", "UNEXPECTEDPASS") and not count.failures:
        count.failures.append("%s: meson says %s" % (name, result))
    return count


def may_pass_alone(test):
    """Whether it is a failure that other work on the machine may be to blame for."""
    text = (test.get("stdout") or "") + (test.get("stderr") or "")
    if "Sanitizer" in text or "runtime error:" in text:
        return False
    # An assertion of a test aborts.
    return test.get("returncode", 0) >= 0 or -test["returncode"] in (signal.SIGABRT, signal.SIGTERM, signal.SIGKILL)


def get_target(name):
    """What meson takes for "project:suite+suite / target"."""
    return name.rsplit(" / ", 1)[-1]


def self_test():
    cases = [
        ("all pass", "1..2\nok 1 /a\nok 2 /b\n", "OK", 0, (2, 0, 0)),
        ("a skip", "# random seed: x\n1..2\n# Start of a\nok 1 /a # SKIP no reason\nok 2 /b\n", "OK", 0, (1, 0, 1)),
        ("plan at the end", "ok 1\nok 2\n1..2\n", "OK", 0, (2, 0, 0)),
        ("a failure", "1..2\nok 1 /a\nnot ok 2 /b\n", "FAIL", 1, (1, 1, 0)),
        ("a failure still to do", "1..2\nok 1 /a\nnot ok 2 /b # TODO\n", "OK", 0, (2, 0, 0)),
        ("to do but done", "1..1\nok 1 /a # TODO\n", "UNEXPECTEDPASS", 0, (0, 1, 0)),
        ("a program skipped", "1..0 # SKIP no sshfs\n", "SKIP", 0, (0, 0, 1)),
        ("a program skipped by its status", "", "SKIP", 77, (0, 0, 1)),
        ("nothing at all", "", "ERROR", 0, (0, 1, 0)),
        ("a crash at once", "", "ERROR", -11, (0, 1, 0)),
        ("no plan", "hello\n", "OK", 0, (0, 1, 0)),
        ("a crash half way", "1..3\nok 1 /a\n", "ERROR", -6, (1, 1, 0)),
        ("a bail-out", "1..3\nok 1 /a\nBail out! ERROR:x\n", "ERROR", -6, (1, 1, 0)),
        ("a crash after a failure", "1..3\nnot ok 1 /a\n", "ERROR", -11, (0, 2, 0)),
        ("a crash when all was done", "1..1\nok 1 /a\n", "ERROR", -11, (1, 1, 0)),
        ("an unknown signal", "1..1\nok 1 /a\n", "ERROR", -99, (1, 1, 0)),
        ("more than planned", "1..1\nok 1 /a\nok 2 /b\n", "ERROR", 0, (2, 1, 0)),
        ("out of time", "1..2\nok 1 /a\n", "TIMEOUT", -15, (1, 1, 0)),
        ("an exit status", "1..1\nok 1 /a\n", "FAIL", 23, (1, 1, 0)),
        ("what only meson saw", "1..1\nok 1 /a\n", "ERROR", 0, (1, 1, 0)),
        ("inner results", "1..1\n    1..1\n    not ok 1 inner\nok 1 /a\n", "OK", 0, (1, 0, 0)),
        ("a failure marked as skipped", "1..1\nnot ok 1 /a # SKIP it cannot be had both ways\n", "FAIL", 0, (0, 1, 0)),
        ("words that look like results", "1..1\nokay, so it goes\nok 1 /a#b\n", "OK", 0, (1, 0, 0)),
    ]
    failures = [
        ("an assertion is run again", {"returncode": -6, "stderr": "ERROR:a.c:1: x"}, True),
        ("out of time is run again", {"returncode": -15}, True),
        ("a crash is not", {"returncode": -11}, False),
        ("what a sanitizer found is not", {"returncode": -6, "stderr": "==1==ERROR: AddressSanitizer: x"}, False),
        ("nor is undefined behaviour", {"returncode": 1, "stdout": "a.c:1: runtime error: x"}, False),
    ]
    print("1..%d" % (len(cases) + len(failures)))
    for i, (title, output, result, status, expected) in enumerate(cases):
        count = count_test({"name": "t", "result": result, "returncode": status, "stdout": output})
        got = (count.passed, len(count.failures), len(count.skips))
        print("%s %d - %s" % ("ok" if got == expected else "not ok", i + 1, title))
        if got != expected:
            print("# counted %s, not %s" % (got, expected))
    for i, (title, test, expected) in enumerate(failures):
        print("%s %d - %s" % ("ok" if may_pass_alone(test) == expected else "not ok", len(cases) + i + 1, title))


def read_log(path):
    with open(path) as log:
        return {test["name"]: test for test in map(json.loads, log)}


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    if sys.argv[1] == "--again":
        for test in read_log(sys.argv[2]).values():
            if count_test(test).failures and may_pass_alone(test):
                print(get_target(test["name"]))
        return 0
    total, tests, second = Count(), {}, []
    for path in sys.argv[1:]:
        log = read_log(path)
        second += [name for name in log if name in tests and not count_test(log[name]).failures]
        tests.update(log)
    for test in tests.values():
        total.add(count_test(test))
    for name in second:
        print("passed only by itself: " + name)
    for skip in total.skips:
        print("skipped: " + skip)
    for failure in total.failures:
        print("FAILED: " + failure)
    print("%d passed, %d failed, %d skipped" % (total.passed, len(total.failures), len(total.skips)))
    return 0 if total.passed > 0 and not total.failures else 1


if __name__ == "__main__":
    sys.exit(main())
