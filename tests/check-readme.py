#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Compares the C program in the README with the example that is built: somebody will copy it. Only
# the comment at the head of the example is not in the README.
#
#   tests/check-readme.py README.md examples/minimal.c
import difflib
import re
import sys


def get_programs(text):
    return [block for block in re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S) if "main (" in block]


def main():
    with open(sys.argv[1]) as readme, open(sys.argv[2]) as example:
        programs = get_programs(readme.read())
        expected = re.sub(r"\A/\*.*?\*/\n", "", example.read(), flags=re.S)
    print("1..1")
    print("%s 1 - the README has %s" % ("ok" if programs == [expected] else "not ok", sys.argv[2]))
    for program in programs:
        for line in difflib.unified_diff(
            program.splitlines(), expected.splitlines(), "README.md", sys.argv[2], lineterm=""
        ):
            print("# " + line)
    if len(programs) != 1:
        print("# it has %d programs in C" % len(programs))


if __name__ == "__main__":
    main()
