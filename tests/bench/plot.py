#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Draws what `fscache-bench --json` has measured: latency against the number of idle clients, of
entries, and of handles in a batch. The drawing is SVG and needs nothing but a place to be shown: its
background is that of the page, and its colours can be read on a light and on a dark one.

    fscache-bench --json > result.json
    tests/bench/plot.py result.json > tests/bench/latency.svg
"""

import json
import math
import sys
from xml.sax.saxutils import escape

INK = "#6e7781"  # text and axes: as far from white as from black
GRID = "#6e778140"

# Name, colour, dashes, marker: each can be told from the others without its colour.
SERIES = {
    "open": ("open() and close()", "#a05fd0", "", "diamond"),
    "floor": ("the floor: a server that does nothing else", "#2a9d5c", "2 3", "triangle"),
    "unchecked": ("fscache, no check", "#e07b1a", "7 4", "square"),
    "watched": ("fscache, watched (the default)", "#2683d6", "", "circle"),
}

# Title, and for each series the rows by what is on the x axis; one row alone is a level line.
PANELS = [
    ("idle clients", {
        "open": {None: "open"},
        "floor": {None: "floor"},
        "unchecked": {1: "idle-1", 100: "idle-100", 10000: "idle-10000"},
        "watched": {1: "idle-1-watched", 100: "idle-100-watched", 10000: "idle-10000-watched"},
    }),
    ("files, one at random", {
        "open": {100: "open-of-100", 1000: "open-of-1000", 15000: "open-of-15000"},
        "floor": {100: "floor-of-100", 1000: "floor-of-1000", 15000: "floor-of-15000"},
        "unchecked": {100: "entries-100", 1000: "entries-1000", 15000: "entries-15000"},
        "watched": {100: "entries-100-watched", 1000: "entries-1000-watched",
                    15000: "entries-15000-watched"},
    }),
    ("files in a batch, time of one", {
        "open": {None: "open"},
        "floor": {1: "floor", 8: "floor-8", 64: "floor-64", 253: "floor-253"},
        "unchecked": {1: "batch-1-unchecked", 8: "batch-8-unchecked", 64: "batch-64-unchecked",
                      253: "batch-253-unchecked"},
        "watched": {1: "batch-1-watched", 8: "batch-8-watched", 64: "batch-64-watched",
                    253: "batch-253-watched"},
    }),
]

WIDTH, HEIGHT = 860, 370
LEFT, TOP, BOTTOM, GAP, RIGHT = 56, 72, 76, 26, 14
PANEL_WIDTH = (WIDTH - LEFT - RIGHT - GAP * (len(PANELS) - 1)) / len(PANELS)
INSET = 18  # between a panel's edge and its first and last point


class Scale:
    """Logarithmic: from values to pixels."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value):
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)


def text(x, y, content, anchor="start", extra=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>'
            f"{escape(content)}</text>")


def marker(shape, x, y, colour):
    half = {"circle": 3.6, "square": 4.6, "triangle": 5, "diamond": 5}[shape]
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{half}" fill="{colour}"/>'
    corners = {
        "square": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "triangle": [(0, -1), (1, 0.8), (-1, 0.8)],
        "diamond": [(0, -1), (1, 0), (0, 1), (-1, 0)],
    }[shape]
    points = " ".join(f"{x + half * dx:.1f},{y + half * dy:.1f}" for dx, dy in corners)
    # Hollow, so that what lies beneath is seen.
    return f'<polygon points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def line(points, series):
    _, colour, dashes, _ = series
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def get_ticks(low, high):
    return [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)
            if low <= digit * 10.0**power <= high]


def format_count(value):
    return f"{value:,}"


def find_range(rows):
    """The powers between which all times lie, in µs."""
    times = [rows[name] for _, series in PANELS for points in series.values()
             for name in points.values() if name in rows]
    if not times:
        sys.exit("plot.py: there is none of the rows to be drawn")
    return min(times) / 1.35, max(times) * 1.35


def draw_panel(title, series, rows, left, y, is_first):
    counts = sorted({n for points in series.values() for n in points if n is not None})
    right = left + PANEL_WIDTH
    x = Scale(counts[0], counts[-1], left + INSET, right - INSET)
    out = []

    for tick in get_ticks(y.low, y.high):
        out.append(f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" '
                   f'stroke="{GRID}"/>')
        if is_first:
            out.append(text(left - 7, y(tick) + 4, f"{tick:g}", "end"))
    for count in counts:
        out.append(f'<line x1="{x(count):.1f}" x2="{x(count):.1f}" y1="{y.start:.1f}" '
                   f'y2="{y.start + 5:.1f}" stroke="{INK}"/>')
        out.append(text(x(count), y.start + 19, format_count(count), "middle"))
    out.append(f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y.start:.1f}" y2="{y.start:.1f}" '
               f'stroke="{INK}"/>')
    out.append(text((left + right) / 2, y.start + 39, f"number of {title}", "middle"))

    for key, points in series.items():
        known = {n: rows[name] for n, name in points.items() if name in rows}
        if list(known) == [None]:
            out.append(line([(left, y(known[None])), (right, y(known[None]))], SERIES[key]))
            continue
        places = [(x(n), y(time)) for n, time in sorted(known.items())]
        out.append(line(places, SERIES[key]))
        out += [marker(SERIES[key][3], *place, SERIES[key][1]) for place in places]
    return out


def draw_legend():
    out = []
    for i, series in enumerate(reversed(SERIES.values())):
        x, y = LEFT + (i % 2) * 300, 34 + (i // 2) * 19
        out.append(line([(x, y), (x + 34, y)], series))
        out.append(marker(series[3], x + 17, y, series[1]))
        out.append(text(x + 42, y + 4, series[0]))
    return out


def draw(result):
    rows = {row["name"]: row["p50_ns"] / 1000 for row in result["rows"] if row["p50_ns"]}
    low, high = find_range(rows)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12" '
           f'fill="{INK}" role="img">',
           "<title>Latency of fscache against the number of clients, entries, and handles in a "
           "batch</title>",
           text(LEFT - 40, 16, "Time to get one descriptor and close it: median, both axes logarithmic", "start",
                ' font-size="13" font-weight="bold"')]

    out += draw_legend()
    for i, (title, series) in enumerate(PANELS):
        out += draw_panel(title, series, rows, LEFT + i * (PANEL_WIDTH + GAP), y, i == 0)
    middle = (y.start + y.end) / 2
    out.append(text(16, middle, "µs", "middle"))
    out.append(text(LEFT, HEIGHT - 10,
                    f"{result['machine']}; pinned to CPU {result['cpus']}; files on "
                    f"{result['file_system']}; lines without marks: one client, one file", "start",
                    ' font-size="10.5"'))
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__, file=sys.stdout if "--help" in sys.argv else sys.stderr)
        return 0 if "--help" in sys.argv else 2
    with open(sys.argv[1], encoding="utf-8") as file:
        sys.stdout.write(draw(json.load(file)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
