"""Runs each job with each program in turn, measures the child process and checks what it made."""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

CHILD = Path(__file__).with_name("child.py")


class Failure(Exception):
    """A program ended with an error, so there is nothing to compare."""


@dataclass
class Tool:
    name: str
    path: Path

    def make(self, store, index, file):
        if self.name == "casync":
            return [self.path, "make", f"--store={store}", index, file]
        return [self.path, "make", "-s", store, index, file]

    def extract(self, store, index, out):
        if self.name == "casync":
            # No seeds: chunks must come out of the store and nowhere else.
            return [self.path, "extract", "--seed-output=no", f"--store={store}", index, out]
        return [self.path, "extract", "-s", store, index, out]

    def extract_seeded(self, store, index, out, seed, seed_index):
        if self.name == "casync":
            return [self.path, "extract", "--seed-output=no", f"--seed={seed}", f"--store={store}", index, out]
        return [self.path, "extract", "-s", store, "--seed", f"{seed_index}:{seed}", index, out]

    def cat(self, store, index):
        # As users do it; the exit code is that of the program.
        words = [self.path, "cat", "-s", store, index]
        return ["bash", "-c", 'set -o pipefail; "$@" | cat >/dev/null', "cat", *words]

    def check(self, store):
        return [self.path, "verify", "-s", store]

    def verify(self, index, file):
        return [self.path, "verify-index", index, file]

    def version(self):
        if self.name == "desync":
            # It has no such option. Go puts the module's version into the program; Debian does not let it.
            stated = re.search(rb"/desync\tv?([0-9][^\t\n]*)", self.path.read_bytes())
            asked = ["dpkg-query", "-W", "-f", "${Version}, Debian's", "desync"]
            packaged = shutil.which(asked[0]) and subprocess.run(asked, capture_output=True, text=True, check=False).stdout
            return f"desync {stated[1].decode() if stated else packaged or 'of unknown version'}"
        return subprocess.run([self.path, "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]


class Lane:
    """One program's own directory: `full` keeps the first version's chunks, `store` is made anew for each run."""

    def __init__(self, tool, directory):
        self.tool = tool
        self.full = directory / "full"
        self.both = directory / "both"
        self.second = directory / "second.caibx"
        self.index = directory / "one.caibx"
        self.store = directory / "store"
        self.new = directory / "new.caibx"
        self.update = directory / "two.caibx"
        self.out = directory / "out"

    def renew(self, store_from=None):
        for path in (self.new, self.update, self.out):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.store, ignore_errors=True)
        if store_from:
            shutil.copytree(store_from, self.store, copy_function=shutil.copy)
        else:
            self.store.mkdir()


@dataclass
class Job:
    title: str
    command: Callable
    # The file made and the file it must equal, given the lane.
    outcome: Callable = lambda lane: None
    holds_first: bool = False
    # casync has no verify-index, cat and verify.
    without: tuple = ()
    one_core: bool = False


@dataclass
class Sample:
    wall: float
    cpu: float
    peak: int


@dataclass
class Results:
    """The samples by job title and program name, in rounds; sizes are (bytes, chunks) of the chunk files."""

    samples: dict = field(default_factory=dict)
    stores: dict = field(default_factory=dict)
    added: dict = field(default_factory=dict)
    wrong: list = field(default_factory=list)
    input_bytes: int = 0
    index_bytes: int = 0
    # Chunks that cairn takes from the store where it has a seed.
    taken: int = 0
    # The least peak that can be told: that of `true`.
    floor: int = 0
    load: float = 0

    def complain(self, text):
        if text not in self.wrong:
            self.wrong.append(text)

    def wall(self, title, name):
        return statistics.median(sample.wall for sample in self.samples[title][name])

    def ratio(self, title, peer):
        """Returns how many times as fast cairn is as the peer: the median over rounds, each a ratio of neighbours."""
        pairs = zip(self.samples[title]["cairn"], self.samples[title][peer])
        return statistics.median(theirs.wall / ours.wall for ours, theirs in pairs)

    def measured(self, title, name):
        return name in self.samples.get(title, {})


EMPTY, PRESENT, UPDATE = "make, empty store", "make, all chunks present", "make, next version"
EXTRACT, VERIFY = "extract to a new file", "verify-index"
SEEDED, CAT, CHECK = "extract with a seed", "cat to a pipe", "verify a store"
MAIN = (EMPTY, PRESENT, UPDATE, EXTRACT, SEEDED, VERIFY, CAT, CHECK)


def plan(one, two):
    """Lists the jobs on the two versions: each on all cores, then the heavy ones once more on a single core."""
    first = [
        Job(EMPTY, lambda l: l.tool.make(l.store, l.new, one), lambda l: (l.new, l.index)),
        Job(PRESENT, lambda l: l.tool.make(l.full, l.new, one), lambda l: (l.new, l.index)),
        Job(EXTRACT, lambda l: l.tool.extract(l.full, l.index, l.out), lambda l: (l.out, one)),
        Job(VERIFY, lambda l: l.tool.verify(l.index, one), without=("casync",)),
    ]
    others = [
        Job(SEEDED, lambda l: l.tool.extract_seeded(l.both, l.second, l.out, one, l.index), lambda l: (l.out, two)),
        Job(CAT, lambda l: l.tool.cat(l.full, l.index), without=("casync",)),
        Job(CHECK, lambda l: l.tool.check(l.full), without=("casync",)),
    ]
    update = Job(UPDATE, lambda l: l.tool.make(l.store, l.update, two), holds_first=True)
    single = [Job(f"{j.title}, one core", j.command, j.outcome, without=j.without, one_core=True) for j in first]
    return [*first[:2], update, *first[2:], *others, *single]


def compare(tools, tars, work, rounds):
    one, two = (Path(shutil.copy(tar, work)) for tar in tars)
    (work / "home").mkdir()
    results = Results(input_bytes=one.stat().st_size, floor=run(["true"], work).peak,
                      load=os.getloadavg()[0])
    lanes = [Lane(tool, work / tool.name) for tool in tools]
    for lane in lanes:
        lane.full.mkdir(parents=True)
        run(lane.tool.make(lane.full, lane.index, one), work)
        results.stores[lane.tool.name] = store_size(lane.full)
        shutil.copytree(lane.full, lane.both, copy_function=shutil.copy)
        run(lane.tool.make(lane.both, lane.second, two), work)
    results.taken = taken_with_seed(lanes[0], one, work)
    results.index_bytes = lanes[0].index.stat().st_size
    check_same_index(lanes, "index", results)
    check_stores_readable(lanes, one, work, results)
    for job in plan(one, two):
        measure(job, lanes, work, rounds, results)
        if job.title == UPDATE:
            check_same_index(lanes, "update", results)
    return results


def measure(job, lanes, work, rounds, results):
    """Runs the job in every lane, round by round, so that a slow minute of the machine hits all programs alike."""
    lanes = [lane for lane in lanes if lane.tool.name not in job.without]
    taken = results.samples[job.title] = {lane.tool.name: [] for lane in lanes}
    for number in range(rounds + 1):
        for lane in lanes:
            progress(f"{job.title}: {number}/{rounds} {lane.tool.name}")
            lane.renew(lane.full if job.holds_first else None)
            prefix = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if job.one_core else []
            sample = run([*prefix, *job.command(lane)], work)
            # The first round warms caches and is not counted.
            if number > 0:
                taken[lane.tool.name].append(sample)
            outcome = job.outcome(lane)
            if outcome and not same(*outcome):
                results.complain(f"{lane.tool.name}: {job.title}: the result differs from what it should be")
            if job.holds_first:
                results.added[lane.tool.name] = [a - b for a, b in zip(store_size(lane.store), store_size(lane.full))]
    progress("")


def run(command, work):
    """Runs a program to its end and returns what it used; its own error text goes into the failure."""
    words = [str(word) for word in command]
    # A bare environment and home: no program finds a configuration or a cache left by an earlier run.
    environment = {"PATH": os.environ["PATH"], "HOME": str(work / "home"), "LANG": "C"}
    child = subprocess.Popen([sys.executable, "-I", "-S", CHILD, *words], env=environment, start_new_session=True,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        used, errors = child.communicate()
    except BaseException:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        raise
    code, wall, cpu, peak = used.decode().split() if child.returncode == 0 else ("not started", 0, 0, 0)
    if code != "0":
        raise Failure(f"`{' '.join(words)}` failed ({code}):\n{errors.decode(errors='replace')[-2000:]}")
    return Sample(float(wall), float(cpu), int(peak))


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def same(left, right):
    return subprocess.run(["cmp", "-s", left, right], check=False).returncode == 0


def store_size(store):
    sizes = [path.stat().st_size for path in store.rglob("*.cacnk")]
    return sum(sizes), len(sizes)


def check_same_index(lanes, name, results):
    """Every program must cut the same chunks and write the same bytes as cairn; but desync's releases up to 1.0.4
    have their own word of feature flags, which no reader minds."""
    ours = getattr(lanes[0], name)
    for lane in lanes[1:]:
        theirs = getattr(lane, name)
        without_flags = lane.tool.name == "desync"
        if indexed(ours, without_flags) != indexed(theirs, without_flags):
            results.complain(f"cairn's and {lane.tool.name}'s {ours.name} differ")


def taken_with_seed(lane, seed, work):
    """Returns how many chunks come from the store when the first version is a seed for the second."""
    command = lane.tool.extract_seeded(lane.both, lane.second, lane.out, seed, lane.index)
    printed = subprocess.run([*command, "--print-stats"], capture_output=True, check=True, cwd=work).stdout
    lane.renew()
    return json.loads(printed)["chunks-from-store"]


def indexed(index, without_flags):
    content = index.read_bytes()
    return content[:16] + content[24:] if without_flags else content


def check_stores_readable(lanes, file, work, results):
    """Each program must read each other's store; not timed."""
    for reader in lanes:
        for writer in lanes:
            reader.renew()
            run(reader.tool.extract(writer.full, writer.index, reader.out), work)
            if not same(reader.out, file):
                results.complain(f"{reader.tool.name} reads something else out of {writer.tool.name}'s store")
        reader.renew()


def filesystem(path):
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()
