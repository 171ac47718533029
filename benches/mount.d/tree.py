"""Rows about a tree of files, mounted."""

import hashlib
import subprocess
import time

from inputs import TAR
from setting import Failure, judged, listing, median, ratio, time_of

FIND_SECONDS, FIND_AGAIN_SECONDS = 0.3, 0.05
TAR_TIMES = 20.0


def find(setting):
    """All names of a new mount, and once more."""
    samples = alternate(setting, "the names", lambda mount: (seconds_of(mount, FIND), seconds_of(mount, FIND)),
                        lambda mount: listing(mount.point) == setting.names)
    for title, at, goal in (("first", 0, FIND_SECONDS), ("second", 1, FIND_AGAIN_SECONDS)):
        times = {program: [sample[at] for sample in both] for program, both in samples.items()}
        yield against(f"`find`, the {title} time", times, f"{goal:g} s", lambda took, _, goal=goal: took <= goal)


def tar(setting):
    """All bytes of a new mount. `tar` would not read what goes to /dev/null, hence the pipe."""
    samples = alternate(setting, "the bytes", lambda mount: seconds_of(mount, PIPED), lambda mount: packs(setting, mount))
    yield against("`tar cf - \\| cat`, cold", samples, f"{TAR_TIMES:g}", lambda _, times: times is None or times >= TAR_TIMES)


FIND = 'find "$1"'
PIPED = 'set -o pipefail; tar cf - -C "$1" . | cat'


def alternate(setting, what, measure, is_right):
    """Samples by program. Looked at by another mount: who was checked is not new any more."""
    programs = ["cairn", *(name for name in ("casync",) if name not in setting.absent)]
    samples = {program: [] for program in programs}
    for program in programs:
        with setting.mounted(program, setting.tree_index) as mount:
            if not is_right(mount):
                raise Failure(f"{program} does not show {what} that were stored")
    for _ in setting.rounds:
        for program in programs:
            with setting.mounted(program, setting.tree_index) as mount:
                samples[program].append(measure(mount))
    return samples


def seconds_of(mount, script):
    began = time.monotonic()
    done = subprocess.run(["bash", "-c", script, "bash", mount.point], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise Failure(f"{script}: failed at a mount")
    return time.monotonic() - began


def packs(setting, mount):
    """Packed as the tar was from which the tree came, it must be that tar again."""
    command = [*TAR, "-cf", "-", "-C", mount.point, "."]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as packing, setting.blob.open("rb") as blob:
        digests = [hashlib.file_digest(file, "sha256").digest() for file in (packing.stdout, blob)]
    return packing.returncode == 0 and digests[0] == digests[1]


def against(what, samples, goal, is_reached):
    ours = samples["cairn"]
    times = None
    cells = {}
    if "casync" in samples:
        times = ratio(samples["casync"], ours)
        cells = {"beside": f"casync: {time_of(samples['casync'])}", "ratio": f"{times:.1f}"}
    return judged(what, time_of(ours), goal, is_reached(median(ours), times), **cells)
