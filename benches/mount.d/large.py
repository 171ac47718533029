"""Rows about what is very large: an index of a million chunks, a tree of a million files."""

import os
import random
import shutil
import subprocess

import large_index
from setting import MIB, Failure, judged, median, time_of

INDEX_SECONDS = 1.0
TREE_SECONDS, TREE_AGAIN_SECONDS = 3.0, 0.3
MEMORY, MEMORY_PER_ENTRY = 256 * MIB, 120
# Files of a directory.
WIDTH = 1000


def ready_index(setting):
    """Until the file is there; nothing is read, so the store has nothing."""
    index = setting.work / "large.caibx"
    count = setting.options.chunks
    generator = random.Random(1)
    large_index.write(index, (generator.randbytes(32) for _ in range(count)))
    samples = {program: [] for program in ("cairn", "desync") if program not in setting.absent}
    (setting.work / "nothing").mkdir()
    for _ in setting.rounds:
        for program, times in samples.items():
            with setting.mounted(program, index, store=setting.work / "nothing") as mount:
                size = mount.file.stat().st_size
                times.append(mount.seconds())
                if size != count * large_index.CHUNK:
                    raise Failure(f"{program} shows a file of {size} bytes")
    index.unlink()
    ours = samples.pop("cairn")
    beside = "".join(f"{program}: {time_of(times)}" for program, times in samples.items())
    what = f"ready, {count:,} chunks"
    yield judged(what, time_of(ours), f"{INDEX_SECONDS:g} s", median(ours) <= INDEX_SECONDS, beside=beside)


def ready_tree(setting):
    """Until a file is there, without and with what an earlier mount noted of the tree."""
    index, store, last = large_tree(setting)
    samples = ([], [])
    for _ in setting.rounds:
        shutil.rmtree(setting.work / "noted", ignore_errors=True)
        for times in samples:
            with setting.mounted("cairn", index, store=store, cache="noted") as mount:
                (mount.point / last).stat()
                times.append(mount.seconds())
    goals = {"": TREE_SECONDS, ", with the metadata cache": TREE_AGAIN_SECONDS}
    for times, (how, goal) in zip(samples, goals.items()):
        what = f"ready, a tree of {setting.options.files:,} files{how}"
        yield judged(what, time_of(times), f"{goal:g} s", median(times) <= goal)


def memory(setting):
    """The most a mount of the tree has once everything in it was looked at."""
    index, store, _ = large_tree(setting)
    entries = entries_of(setting.options.files)
    limit = MEMORY + MEMORY_PER_ENTRY * entries
    for how in ("", ", with the metadata cache"):
        if not how:
            shutil.rmtree(setting.work / "noted", ignore_errors=True)
        with setting.mounted("cairn", index, store=store, cache="noted") as mount:
            # With the size of each: else nobody asks for more than names.
            walk = 'set -o pipefail; find "$1" -printf "%s\\n" | wc -l'
            seen = subprocess.run(["bash", "-c", walk, "bash", mount.point], check=True, capture_output=True).stdout
            if int(seen) != entries:
                raise Failure(f"there are {int(seen)} entries, not {entries}")
            most = mount.memory()
        what = f"memory after {entries:,} entries were looked at{how}"
        yield judged(what, f"{most // MIB} MiB", f"{limit // MIB} MiB", most <= limit)


def entries_of(files):
    return 1 + -(-files // WIDTH) + files


def name_of(number):
    return f"d{number // WIDTH:05}/file-{number:08}"


def large_tree(setting):
    """The index of a tree of empty files, its store, and the last file. Made once."""
    files = setting.options.files
    index, store = setting.work / "many.caidx", setting.work / "many.castr"
    if not index.exists():
        many = setting.work / "many"
        for number in range(files):
            if number % WIDTH == 0:
                (many / name_of(number)).parent.mkdir(parents=True)
            os.close(os.open(many / name_of(number), os.O_CREAT | os.O_WRONLY, 0o644))
        setting.run(setting.options.cairn, "tar", "-i", "-s", store, index, many)
        # It takes a gigabyte of memory.
        shutil.rmtree(many)
    return index, store, name_of(files - 1)
