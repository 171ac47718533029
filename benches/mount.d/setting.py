"""What all rows share: programs, what was stored, mounts that always end, and the lines of the table."""

import os
import select
import shutil
import statistics
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property

MIB = 1 << 20
READY_SECONDS = 120


class Failure(Exception):
    """A program failed or read something wrong, so there is nothing to compare."""


@dataclass
class Row:
    what: str
    figure: str
    beside: str = ""
    ratio: str = ""
    goal: str = ""
    outcome: str = ""


def judged(what, figure, goal, is_reached, **cells):
    return Row(what, figure, goal=goal, outcome="reached" if is_reached else "**missed**", **cells)


class Setting:
    """Inputs and stores, made when a row first asks for them."""

    def __init__(self, options, tars, work, disk):
        self.options, self.tars, self.work, self.disk = options, tars, work, disk
        self.on_disk = tars[0]
        self.store = work / "store"
        self.absent = [name for name in ("desync", "casync", "nginx") if not shutil.which(name)]

    @property
    def rounds(self):
        return range(self.options.rounds)

    @cached_property
    def blob(self):
        shutil.copy(self.on_disk, self.work / "blob")
        return self.work / "blob"

    @cached_property
    def blob_index(self):
        self.run(self.options.cairn, "make", "-s", self.store, "blob.caibx", self.blob)
        return self.work / "blob.caibx"

    @cached_property
    def both_index(self):
        """Of two versions behind each other."""
        both = self.work / "both"
        with both.open("wb") as file:
            for tar in self.tars:
                with tar.open("rb") as part:
                    shutil.copyfileobj(part, file, MIB)
        self.run(self.options.cairn, "make", "-s", self.store, "both.caibx", both)
        both.unlink()
        return self.work / "both.caibx"

    @cached_property
    def tree(self):
        (self.work / "tree").mkdir()
        self.run("tar", "-xf", self.blob, "-C", "tree")
        return self.work / "tree"

    @cached_property
    def names(self):
        return listing(self.tree)

    @cached_property
    def tree_index(self):
        self.run(self.options.cairn, "tar", "-i", "-s", self.store, "tree.caidx", self.tree)
        return self.work / "tree.caidx"

    def run(self, *command):
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=self.work, capture_output=True, text=True, check=False, env=self.environment())
        if done.returncode:
            raise Failure(f"{' '.join(words)}: {done.stderr.strip()}")

    def environment(self, cache="cache"):
        """Nobody's own configuration and caches."""
        return {**os.environ, "HOME": str(self.work), "XDG_CACHE_HOME": str(self.work / cache)}

    def mounted(self, program, index, *flags, store=None, cache="cache"):
        """The index of a blob or a tree, mounted by a program, from the store of this setting if none is given."""
        store = store or self.store
        is_tree = index.suffix == ".caidx"
        if program == "casync":
            command = ["casync", "mount", f"--store={store}"]
        else:
            path = self.options.cairn if program == "cairn" else program
            command = [path, "mount" if is_tree else "mount-index", "-s", store]
        return Mounted(self, [*command, *flags, index], self.environment(cache), is_tree)


class Mounted:
    """A mount while the block lasts, unmounted and its program ended whatever happens in it."""

    def __init__(self, setting, command, environment, is_tree):
        self.point = setting.work / "mounted"
        self.file = None if is_tree else self.point / command[-1].stem
        self.command = [str(word) for word in [*command, self.point]]
        self.said = setting.work / "said"
        self.environment = environment
        self.process = None

    def __enter__(self):
        self.point.mkdir(exist_ok=True)
        with self.said.open("wb") as said:
            self.began = time.monotonic()
            self.process = subprocess.Popen(self.command, stdout=said, stderr=said, env=self.environment)
        try:
            self.wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait(self):
        """The table of mounts tells when it changes."""
        with open("/proc/self/mountinfo") as table:
            changes = select.poll()
            changes.register(table, select.POLLERR | select.POLLPRI)
            while not any(line.split(" ")[4] == str(self.point) for line in table):
                if self.process.poll() is not None:
                    raise Failure(f"{' '.join(self.command)}: {self.said.read_text(errors='replace').strip()}")
                if time.monotonic() - self.began > READY_SECONDS:
                    raise Failure(f"{' '.join(self.command)}: not mounted after {READY_SECONDS} s")
                changes.poll(20)
                table.seek(0)

    def seconds(self):
        """Since its program was started."""
        return time.monotonic() - self.began

    def memory(self):
        """The most its program had in memory so far, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM:"))

    def __exit__(self, *_):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
        # Before it is mounted there is nothing to unmount, and afterwards the program ends by itself.
        subprocess.run(["fusermount3", "-uz", self.point], **silent)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            subprocess.run(["umount", "-l", self.point], **silent)


def listing(directory):
    """All names below a directory, with kind, mode, size of what is no directory, time and target."""
    command = ["find", ".", "-type", "d", "-printf", "%P %y %m %T@\\n", "-o", "-printf", "%P %y %m %s %T@ %l\\n"]
    return sorted(subprocess.run(command, cwd=directory, check=True, capture_output=True).stdout.splitlines())


def read(path):
    """Reads a file in order; returns its bytes per second."""
    buffer = bytearray(MIB)
    size = 0
    began = time.monotonic()
    with open(path, "rb", buffering=0) as file:
        while length := file.readinto(buffer):
            size += length
    return size / (time.monotonic() - began)


def same(one, other):
    """Whether two files have the same bytes."""
    return subprocess.run(["cmp", "-s", one, other], check=False).returncode == 0


def median(samples):
    return statistics.median(samples)


def ratio(ours, theirs):
    """The median of the rounds' ratios, and not the ratio of the medians: neighbours had the same noise."""
    return statistics.median(one / other for one, other in zip(ours, theirs))


def speed(samples):
    return f"{median(samples) / 1e6:,.0f} MB/s"


def time_of(samples):
    seconds = median(samples)
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
