"""Puts the results into words: tables for the terminal and the page docs/benchmarks.md."""

import os
import platform
import statistics
import time

from inputs import PACKAGE, VERSIONS
from jobs import EMPTY, EXTRACT, MAIN, PRESENT, VERIFY

# How many times as fast as the peer each job shall be.
GOALS = [
    (PRESENT, "casync", 10.0), (PRESENT, "desync", 6.0),
    (EMPTY, "casync", 3.5), (EMPTY, "desync", 2.4),
    (EXTRACT, "casync", 3.0), (EXTRACT, "desync", 3.0),
    (VERIFY, "desync", 5.0),
]
VERIFY_GOAL = 2.0e9
SIZE_GOAL = 0.02
PEAK_GOAL = 160 << 20
MIB = 1 << 20
# The vector and hash instructions that decide which kernel runs.
FLAGS = ("avx2", "avx512f", "avx512bw", "avx512vbmi", "sha_ni", "sha512")

TEXT = """\
# Benchmarks

This page is written by `benches/compare --write`; please do not edit it by hand.

![Seconds per job, shorter is better](benchmarks.svg)

## What was measured

The input is the tar of {package} {one} ({size:.0f} MB), a real distribution of source files and large binaries; the
update job then makes {two} into a store that already holds {one}. Input, stores and output lie in memory (a tmpfs), so
that the programs are compared and not the disk. All programs run with their defaults: 64 KiB chunks on average,
SHA-512/256, zstd.

For each job the programs run in turn, once to warm up and then {rounds} times. The times are medians with the least and
the greatest in brackets. "Times as fast" is the peer's time divided by cairn's, taken round by round between neighbouring
runs, and the median of those. CPU time is the median, peak memory the greatest, of the process as the kernel accounts it; a
peak at or below {floor:.0f} MiB cannot be told from that of the measuring script. "One core" means that the program may use
a single processor.

Every run is checked: the programs must end without an error, what they extract must equal the input, all must write the
same index byte for byte, and each must be able to read the other's store.

{repeat}
## Jobs

{jobs}
## Stores

Sizes are the sums of the chunk files.

{stores}
## Goals

{goals}
{micro}## Not measured

{missing}
## Machine and versions

{machine}"""

REPEAT = """\
## How to repeat it

```sh
cargo build --release
benches/compare            # prints the tables
benches/compare --write    # and writes this page and the chart
```

It needs Python 3 with pip, GNU tar, `taskset`, 3 GiB of free memory, and casync and desync on `PATH`; a missing peer is left
out. The input is fetched once and kept in `target/compare`. Use an otherwise idle machine.
"""


class Report:
    def __init__(self, results, tools, absent, tars, rounds):
        self.results, self.tools, self.absent, self.tars, self.rounds = results, tools, absent, tars, rounds
        self.flags, self.model = processor()
        self.versions = [tool.version() for tool in tools]
        self.peers = [tool.name for tool in tools[1:]]
        self.title = f"{PACKAGE} {VERSIONS[0]} as a tar, {results.input_bytes / 1e6:.0f} MB"

    def summary(self):
        return "\n".join([self.jobs(), self.stores(), self.goals(), self.missing(), self.machine()])

    def markdown(self, micro):
        return TEXT.format(
            package=PACKAGE, one=VERSIONS[0], two=VERSIONS[1], size=self.results.input_bytes / 1e6, rounds=self.rounds,
            floor=self.results.floor / MIB, repeat=REPEAT, jobs=self.jobs(), stores=self.stores(), goals=self.goals(),
            micro=f"## Building blocks\n\n{micro.strip()}\n\n" if micro else "", missing=self.missing(),
            machine=self.machine())

    def jobs(self):
        rows = []
        for title, by_tool in self.results.samples.items():
            for name, samples in by_tool.items():
                wall = [sample.wall for sample in samples]
                ratio = "" if name == "cairn" else f"{self.results.ratio(title, name):.2f}"
                cpu = statistics.median(sample.cpu for sample in samples)
                peak = max(sample.peak for sample in samples) / MIB
                spread = f"{statistics.median(wall):.3f} ({min(wall):.3f}-{max(wall):.3f})"
                rows.append([title if name == "cairn" else "", name, spread, ratio, f"{cpu:.2f}", f"{peak:.0f}"])
        return table(["job", "program", "seconds", "cairn is times as fast", "CPU seconds", "peak MiB"], rows)

    def stores(self):
        ours, rows = self.results.stores["cairn"][0], []
        for name, (size, chunks) in self.results.stores.items():
            added, fresh = self.results.added[name]
            rows.append([name, f"{size:,}", f"{chunks:,}", f"{ours / size:.4f}", f"{added:,}", f"{fresh:,}"])
        return table(["program", f"bytes for {VERSIONS[0]}", "chunks", "cairn's size to it",
                      f"bytes added by {VERSIONS[1]}", "chunks added"], rows)

    def goals(self):
        rows = [self.speed_goal(*goal) for goal in GOALS]
        if self.results.measured(VERIFY, "cairn"):
            rate = self.results.input_bytes / self.results.wall(VERIFY, "cairn")
            rows.append([f"{VERIFY}, bytes a second", "over 2 GB/s", f"{rate / 1e9:.2f} GB/s", over(rate, VERIFY_GOAL)])
        if "casync" in self.results.stores:
            ratio = self.results.stores["cairn"][0] / self.results.stores["casync"][0]
            rows.append(["store size to casync's", "within 2 %", f"{ratio - 1:+.2%}", reached(abs(ratio - 1) <= SIZE_GOAL)])
        peak = max(s.peak for by_tool in self.results.samples.values() for s in by_tool["cairn"])
        limit = PEAK_GOAL + 2 * self.results.index_bytes
        rows.append(["peak memory of every job", f"at most {limit / MIB:.0f} MiB (160 MiB and twice the index)",
                     f"{peak / MIB:.0f} MiB", f"{reached(peak <= limit)}, {abs(1 - peak / limit):.0%} "
                     f"{'below' if peak <= limit else 'above'} the limit"])
        return table(["what", "goal", "measured", "outcome"], rows)

    def speed_goal(self, title, peer, goal):
        what, wanted = f"{title}, against {peer}", f"{goal:g} times as fast"
        if not self.results.measured(title, peer):
            return [what, wanted, "not measured", f"no {peer} on this machine"]
        ratio = self.results.ratio(title, peer)
        return [what, wanted, f"{ratio:.2f} times", over(ratio, goal)]

    def missing(self):
        lines = [f"- {name}: not on `PATH`, so every comparison with it is open." for name in self.absent]
        if "desync" not in self.absent or "casync" not in self.absent:
            lines.append("- verify-index with casync, which has no such job.")
        if "avx512bw" not in self.flags:
            lines.append("- The AVX-512 kernels: this processor has none, the AVX2 or portable ones ran.")
        else:
            lines.append("- The AVX2 and portable kernels: this processor has AVX-512; without it cairn is slower.")
        lines.append("- Disks and networks: everything lay in memory.")
        return "\n".join(lines) + "\n"

    def machine(self):
        load = os.getloadavg()[0]
        rows = [["programs", "; ".join(self.versions)],
                ["processor", f"{self.model}, {len(os.sched_getaffinity(0))} cores"],
                ["instructions", ", ".join(self.flags) or "none of " + ", ".join(FLAGS)],
                ["kernel", f"{platform.system()} {platform.release()}"],
                ["load at the end", f"{load:.1f} processes"],
                ["date", time.strftime("%Y-%m-%d", time.gmtime())]]
        return table(["", ""], rows)


def reached(yes):
    return "reached" if yes else "**missed**"


def over(value, goal):
    return f"{reached(value >= goal)}, by {abs(value / goal - 1):.0%}"


def table(head, rows):
    """Returns a Markdown table whose columns line up, so that it reads as well in a terminal."""
    widths = [max(3, *(len(row[i]) for row in [head, *rows])) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |\n" for line in lines)


def processor():
    """Returns the flags of note and the model name; other systems than Linux on x86 name neither."""
    with open("/proc/cpuinfo", encoding="utf-8") as text:
        facts = dict(line.split(":", 1) for line in text.read().split("\n\n")[0].splitlines() if ":" in line)
    facts = {key.strip(): value.strip() for key, value in facts.items()}
    flags = facts.get("flags", "").split()
    return [flag for flag in FLAGS if flag in flags], facts.get("model name", platform.machine())
