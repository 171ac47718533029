"""Puts the results into words: tables for the terminal and the page docs/benchmarks.md."""

import os
import platform
import statistics
import time
from pathlib import Path

from inputs import PACKAGE, VERSIONS
from jobs import CAT, CHECK, EMPTY, EXTRACT, PRESENT, SEEDED, VERIFY

# How many times as fast as the peer each job shall be.
GOALS = [
    (PRESENT, "casync", 10.0), (PRESENT, "desync", 6.0),
    (EMPTY, "casync", 3.5), (EMPTY, "desync", 2.4),
    (EXTRACT, "casync", 3.0), (EXTRACT, "desync", 3.0),
    (VERIFY, "desync", 5.0), (SEEDED, "desync", 3.0), (CAT, "desync", 4.0), (CHECK, "desync", 4.0),
]
# What is known of goals that may be missed; said only where they are.
REASONS = {
    (VERIFY, "desync"): "Hashing is nearly all there is to do: three quarters of cairn's time go into the hash kernel, which runs at "
        "what the processor's vector units can do, and a seventh into mapping the file and unmapping it. The goal was set where "
        "desync took 0.55 s.",
    (EXTRACT, "desync"): "About 45 % of cairn's time is decompression in libzstd, 20 % hashing and a quarter the system's writing of "
        "pages, which is much the same work for every program.",
    (CHECK, "desync"): "About 57 % of cairn's time is decompression in libzstd and 23 % hashing. The goal was set where desync took "
        "1.36 s.",
    (CAT, "desync"): "About a third of cairn's time is decompression in libzstd, a quarter hashing, and the rest mostly the copy "
        "into the pipe.",
}
VERIFY_GOAL = 2.0e9
SIZE_GOAL = 0.02
PEAK_GOAL = 160 << 20
MIB = 1 << 20
# The vector and hash instructions that decide which kernel runs.
FLAGS = ("avx2", "avx512f", "avx512bw", "avx512vbmi", "sha_ni", "sha512")


class Report:
    def __init__(self, results, tools, absent, rounds):
        self.results, self.absent, self.rounds = results, absent, rounds
        self.flags, self.model = processor()
        self.versions = [tool.version() for tool in tools]
        self.title = f"{PACKAGE} {VERSIONS[0]} as a tar, {results.input_bytes / 1e6:.0f} MB"

    def summary(self):
        return "\n".join([self.jobs(), self.stores(), self.goals(), self.missing(), self.machine()])

    def markdown(self, parts):
        return Path(__file__).with_name("page.md").read_text().format(
            package=PACKAGE, one=VERSIONS[0], two=VERSIONS[1], size=self.results.input_bytes / 1e6, rounds=self.rounds,
            floor=self.results.floor / MIB, jobs=self.jobs(), stores=self.stores(), goals=self.goals(),
            why=self.why(), parts="".join(f"{part.strip()}\n\n" for part in parts), missing=self.missing(),
            machine=self.machine())

    def jobs(self):
        rows = []
        for title, by_tool in self.results.samples.items():
            for name, samples in by_tool.items():
                wall = [sample.wall for sample in samples]
                ratio = "" if name == "cairn" else f"{self.results.ratio(title, name):.2f}"
                cpu = statistics.median(sample.cpu for sample in samples)
                peak = max(sample.peak for sample in samples)
                known = "" if peak > self.results.floor * 1.02 else "≤ "
                spread = f"{statistics.median(wall):.3f} ({min(wall):.3f}-{max(wall):.3f})"
                rows.append([title if name == "cairn" else "", name, spread, ratio, f"{cpu:.2f}", f"{known}{peak / MIB:.0f}"])
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
        fresh = self.results.added["cairn"][1]
        rows.append([f"{SEEDED}: chunks taken from the store", f"{fresh}, the difference of the two", str(self.results.taken),
                     reached(self.results.taken <= fresh)])
        if "casync" in self.results.stores:
            ratio = self.results.stores["cairn"][0] / self.results.stores["casync"][0]
            rows.append(["store size to casync's", "within 2 %", f"{(ratio - 1) * 100:+.2f} %", reached(abs(ratio - 1) <= SIZE_GOAL)])
        peak = max(s.peak for by_tool in self.results.samples.values() for s in by_tool["cairn"])
        limit = PEAK_GOAL + 2 * self.results.index_bytes
        rows.append(["peak memory of every job", f"at most {limit / MIB:.1f} MiB (160 MiB and twice the index)",
                     f"{peak / MIB:.0f} MiB", f"{reached(peak <= limit)}, {abs(1 - peak / limit) * 100:.0f} % "
                     f"{'below' if peak <= limit else 'above'} the limit"])
        return table(["what", "goal", "measured", "outcome"], rows)

    def speed_goal(self, title, peer, goal):
        what, wanted = f"{title}, against {peer}", f"{goal:g} times as fast"
        if not self.results.measured(title, peer):
            return [what, wanted, "not measured", f"no {peer} on this machine"]
        ratio = self.results.ratio(title, peer)
        return [what, wanted, f"{ratio:.2f} times", over(ratio, goal)]

    def why(self):
        """Says why goals were missed."""
        missed = [f"- {title}, against {peer}: {REASONS[title, peer]}\n" for title, peer, goal in GOALS
                  if (title, peer) in REASONS and self.results.measured(title, peer)
                  and self.results.ratio(title, peer) < goal]
        text = "Why goals were missed:\n\n" + "".join(missed) + "\n" if missed else ""
        return text + self.why_slow_here()

    def why_slow_here(self):
        """Says what holds back where the processor lacks what the goals were set for."""
        if "avx512bw" in self.flags:
            return ""
        cpu = {title: statistics.median(sample.cpu for sample in by_tool["cairn"])
               for title, by_tool in self.results.samples.items()}
        naming = cpu[f"{VERIFY}, one core"]
        return (f"The goals were set for processors with AVX-512, where eight chunks are named at once, about twice as fast as "
                f"the four of AVX2 that ran here. Naming is what the missed goals hang on: {VERIFY} on one core, which is little "
                f"else, takes {naming:.2f} CPU seconds, against {cpu[f'{PRESENT}, one core']:.2f} for all of \"{PRESENT}\" and "
                f"{cpu[f'{EXTRACT}, one core']:.2f} for all of \"{EXTRACT}\".\n\n")

    def missing(self):
        lines = [f"- {name}: not on `PATH`, so every comparison with it is open." for name in self.absent]
        if "casync" not in self.absent:
            lines.append("- verify-index, cat and verify with casync, which has no such jobs.")
        if "avx512bw" not in self.flags:
            lines.append("- The AVX-512 kernels: this processor has none, the AVX2 or portable ones ran.")
        else:
            lines.append("- The AVX2 and portable kernels: this processor has AVX-512; without it cairn is slower.")
        lines.append("- Disks and real networks: everything lay in memory, and servers ran on the same machine.")
        return "\n".join(lines) + "\n"

    def machine(self):
        rows = [["programs", "; ".join(self.versions)],
                ["processor", f"{self.model}, {len(os.sched_getaffinity(0))} cores"],
                ["instructions", ", ".join(self.flags) or "none of " + ", ".join(FLAGS)],
                ["kernel", f"{platform.system()} {platform.release().split('-')[0]}"],
                ["load before", f"{self.results.load:.1f} processes"],
                ["date", time.strftime("%Y-%m-%d", time.gmtime())]]
        return table(["", ""], rows)


def reached(yes):
    return "reached" if yes else "**missed**"


def over(value, goal):
    return f"{reached(value >= goal)}, by {abs(value / goal - 1) * 100:.0f} %"


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
